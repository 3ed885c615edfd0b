/*
 * The floor: what a jail with its own network stack costs when nothing but the kernel has to be paid.
 *
 *   floor run NUMBER CGROUP PATH PROGRAM [ARGUMENT...]   a jail of one program: made, run, gone
 *   floor hold NUMBER CGROUP PATH COUNT                  COUNT jails without processes, until standard input ends
 *
 * CGROUP is a directory of a cgroup2 file system, below which a jail's own is made. NUMBER is not used twice
 * while the kernel still takes an earlier jail down, which it does behind our back: link names and addresses
 * come from it.
 *
 * There is no record here, nothing is checked or undone on an error, no process is kept from anything. But each
 * call that can fail is looked at: a floor that does not do its work would be too low.
 *
 * The child runs in our memory and beside us, until exec: while it brings up its network and mounts its file
 * systems we map its ids, build its /dev and make its link. Since both would use one errno, the child makes raw
 * system calls.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/if_link.h>
#include <linux/mount.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of <sys/mount.h>, which cannot be included beside <linux/mount.h> everywhere. */
#define S_NOSUID 2
#define S_NODEV 4
#define S_NOEXEC 8
#define S_RDONLY 1
#define S_SLAVE (1 << 19)

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

/* The first of the ids on the host; a range of 65,536 is enough, since no two jails share a file. */
#define BASE 0x6f000000u
/* Our links' indexes: above all that the kernel chooses. */
#define INDEX 0x20000000u
#define INNER 16

#if defined(__x86_64__)
static long call(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static long start(struct clone_args *args, void (*child)(void))
{
	long ret;
	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tcall *%4\n\tud2\n1:"
			 : "=a"(ret) : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(child)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static long call(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
		      x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}

static long start(struct clone_args *args, void (*child)(void))
{
	register long x8 __asm__("x8") = SYS_clone3, x0 __asm__("x0") = (long)args, x1 __asm__("x1") = sizeof *args;
	__asm__ volatile("svc 0\n\tcbnz x0, 1f\n\tmov x29, xzr\n\tblr %3\n\tbrk 0\n1:"
			 : "+r"(x0) : "r"(x8), "r"(x1), "r"(child) : "memory", "x30");
	return x0;
}
#else
#error "no floor for this machine"
#endif

#define CALL0(n) call(n, 0, 0, 0, 0, 0, 0)
#define CALL1(n, a) call(n, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(n, a, b) call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(n, a, b, c) call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(n, a, b, c, d) call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define CALL5(n, a, b, c, d, e) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* What a jail and its maker share. */
static struct jail {
	uint32_t number;
	char cgroup[4096];
	int pidfd;
	pid_t pid;
	int root, dev;
	uint32_t mapped, furnished, connected, unshared;
	const char *failed;
	long error;
} jail;
static char **program;
static int holding;
static char stack[64 << 10] __attribute__((aligned(64)));

/* Our own failures: the child dies with us. */
static void fail(const char *doing)
{
	fprintf(stderr, "floor: %s: %s\n", doing, strerror(errno));
	if (jail.pid > 0) {
		kill(jail.pid, SIGKILL);
		waitpid(jail.pid, NULL, 0);
	}
	rmdir(jail.cgroup);
	exit(1);
}

static int check(long done, const char *doing)
{
	if (done < 0)
		fail(doing);
	return (int)done;
}

static void open_gate(uint32_t *gate)
{
	__atomic_store_n(gate, 1, __ATOMIC_SEQ_CST);
	CALL3(SYS_futex, gate, FUTEX_WAKE_PRIVATE, 1);
}

static void wait_gate(uint32_t *gate)
{
	while (!__atomic_load_n(gate, __ATOMIC_SEQ_CST))
		CALL4(SYS_futex, gate, FUTEX_WAIT_PRIVATE, 0, 0);
}

/* The child's failures: it says which and leaves. We may be waiting for it. */
static long must(long done, const char *doing)
{
	if (done < 0) {
		jail.failed = doing;
		jail.error = -done;
		open_gate(&jail.unshared);
		CALL1(SYS_exit_group, 1);
	}
	return done;
}

/* rtnetlink(7) messages, several in one sendmsg(2). */
struct batch {
	char buf[1024];
	size_t len, last;
	uint32_t seq;
};

static void *grow(struct batch *b, size_t len)
{
	void *at = b->buf + b->len;
	b->len += (len + 3) & ~3ul;
	return at;
}

static void *begin(struct batch *b, int type, int flags, size_t len)
{
	struct nlmsghdr *h;
	b->len = (b->len + 3) & ~3ul;
	b->last = b->len;
	h = grow(b, sizeof *h);
	h->nlmsg_type = (uint16_t)type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++b->seq;
	return grow(b, len);
}

static void end(struct batch *b)
{
	((struct nlmsghdr *)(b->buf + b->last))->nlmsg_len = (uint32_t)(b->len - b->last);
}

static struct rtattr *put(struct batch *b, int type, const void *data, size_t len)
{
	struct rtattr *a = grow(b, RTA_LENGTH(len));
	a->rta_type = (uint16_t)type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	return a;
}

static void close_nest(struct batch *b, struct rtattr *a)
{
	a->rta_len = (uint16_t)(b->buf + b->len - (char *)a);
}

/* Sends all and reads the answer to the last; the kernel has worked them off when sendto(2) returns. Only
 * errors come before it. */
static long talk(int socket, struct batch *b)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	struct { struct nlmsghdr h; struct nlmsgerr e; char rest[1024]; } answer;
	long n;
	((struct nlmsghdr *)(b->buf + b->last))->nlmsg_flags |= NLM_F_ACK;
	n = call(SYS_sendto, socket, (long)b->buf, (long)b->len, 0, (long)&to, sizeof to);
	if (n < 0)
		return n;
	do {
		n = call(SYS_recvfrom, socket, (long)&answer, sizeof answer, 0, 0, 0);
		if (n < 0)
			return n;
		if (answer.h.nlmsg_type != NLMSG_ERROR)
			return -EPROTO;
		if (answer.e.error)
			return answer.e.error;
	} while (answer.h.nlmsg_seq != b->seq);
	return 0;
}

static void add_up(struct batch *b, int index)
{
	struct ifinfomsg *m = begin(b, RTM_NEWLINK, 0, sizeof *m);
	m->ifi_index = index;
	m->ifi_flags = m->ifi_change = 1; /* IFF_UP */
	end(b);
}

static void add_address(struct batch *b, uint32_t index, uint32_t address)
{
	struct ifaddrmsg *m = begin(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
	m->ifa_family = AF_INET;
	m->ifa_prefixlen = 30;
	m->ifa_index = index;
	put(b, IFA_LOCAL, &address, 4);
	put(b, IFA_ADDRESS, &address, 4);
	end(b);
}

static void add_route(struct batch *b, uint32_t gateway)
{
	struct rtmsg *m = begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
	m->rtm_family = AF_INET;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	put(b, RTA_GATEWAY, &gateway, 4);
	end(b);
}

/* Both ends in one message, each born where it belongs, with indexes of our choice: so the address can follow
 * in the same system call. The peer cannot be up before it has joined its stack. */
static void add_veth(struct batch *b, uint32_t number, pid_t peer)
{
	struct rtattr *info, *data, *other;
	struct ifinfomsg *m = begin(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
	char name[16];
	m->ifi_index = (int)(INDEX + number);
	m->ifi_flags = m->ifi_change = 1;
	snprintf(name, sizeof name, "f%u", number);
	put(b, IFLA_IFNAME, name, strlen(name) + 1);
	info = put(b, IFLA_LINKINFO, NULL, 0);
	put(b, IFLA_INFO_KIND, "veth", 4);
	data = put(b, IFLA_INFO_DATA, NULL, 0);
	other = put(b, VETH_INFO_PEER, NULL, 0);
	m = grow(b, sizeof *m);
	m->ifi_index = INNER;
	put(b, IFLA_IFNAME, "eth0", 5);
	put(b, IFLA_NET_NS_PID, &peer, 4);
	close_nest(b, other);
	close_nest(b, data);
	close_nest(b, info);
	end(b);
}

/* A /30 a jail; end 1 is outside, 2 inside. */
static uint32_t address(uint32_t number, uint32_t end)
{
	return htonl(0x0a620000u + (number & 0x3fff) * 4 + end);
}

static struct batch ours, its;

/* What the child does, from birth to exec. */
static void child(void)
{
	int socket;
	must(CALL2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL), "cannot tie it to its parent");
	/* Now that it is in its cgroup, that is the namespace's root. */
	must(CALL1(SYS_unshare, CLONE_NEWCGROUP), "cannot make a cgroup namespace");
	open_gate(&jail.unshared);
	socket = (int)must(CALL3(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "cannot open rtnetlink");
	add_up(&its, 1);
	must(talk(socket, &its), "cannot bring up lo");
	its.len = 0;

	wait_gate(&jail.mapped);
	must(CALL3(SYS_setresgid, 0, 0, 0), "cannot become group 0");
	must(CALL2(SYS_setgroups, 0, 0), "cannot drop groups");
	must(CALL3(SYS_setresuid, 0, 0, 0), "cannot become user 0");
	/* The change of ids has untied it. */
	must(CALL2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL), "cannot tie it to its parent");
	if (!holding) {
		/* In a mount namespace of another user namespace nothing is shared with the host any more. */
		const long flags = S_NOSUID | S_NODEV | S_NOEXEC;
		must(CALL5(SYS_move_mount, jail.root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), "cannot mount the root");
		must(CALL1(SYS_fchdir, jail.root), "cannot enter the root");
		must(CALL1(SYS_chroot, "."), "cannot change the root");
		must(CALL5(SYS_mount, "proc", "/proc", "proc", flags, 0), "cannot mount /proc");
		must(CALL5(SYS_mount, "sysfs", "/sys", "sysfs", flags | S_RDONLY, 0), "cannot mount /sys");
		wait_gate(&jail.furnished);
		must(CALL5(SYS_move_mount, jail.dev, "", AT_FDCWD, "/dev", MOVE_MOUNT_F_EMPTY_PATH), "cannot mount /dev");
		must(CALL5(SYS_mount, "devpts", "/dev/pts", "devpts", S_NOSUID | S_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"),
		     "cannot mount /dev/pts");
		must(CALL5(SYS_mount, "tmpfs", "/dev/shm", "tmpfs", S_NOSUID | S_NODEV, "mode=1777"), "cannot mount /dev/shm");
		must(CALL5(SYS_mount, "mqueue", "/dev/mqueue", "mqueue", flags, 0), "cannot mount /dev/mqueue");
	}
	wait_gate(&jail.connected);
	add_address(&its, INNER, address(jail.number, 2));
	add_up(&its, INNER);
	add_route(&its, address(jail.number, 1));
	must(talk(socket, &its), "cannot configure eth0");
	must(CALL1(SYS_close, socket), "cannot close rtnetlink");
	if (holding)
		CALL1(SYS_exit_group, 0);
	must(CALL2(SYS_prctl, PR_SET_PDEATHSIG, 0), "cannot untie it");
	must(CALL3(SYS_execve, program[0], program, environ), "cannot execute the program");
}

static void write_map(const char *file)
{
	char path[64], map[64];
	int fd, len = snprintf(map, sizeof map, "0 %u 65536\n", BASE);
	snprintf(path, sizeof path, "/proc/%d/%s", jail.pid, file);
	fd = check(open(path, O_WRONLY | O_CLOEXEC), path);
	check(write(fd, map, (size_t)len), path);
	close(fd);
}

/* A namespace of the child's: by ioctl on its pidfd (Linux 6.11), else by /proc. */
static int namespace(unsigned long number, const char *name)
{
	char path[64];
	int fd = ioctl(jail.pidfd, _IO(0xff, number), 0);
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof path, "/proc/%d/ns/%s", jail.pid, name);
	return check(open(path, O_RDONLY | O_CLOEXEC), path);
}

static void map_mount(int tree, int user, const char *doing)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .propagation = S_SLAVE, .userns_fd = (uint64_t)user };
	check(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr), doing);
}

static int new_fs(const char *kind, const char *const options[][2], unsigned attributes)
{
	int tree, fs = check(syscall(SYS_fsopen, kind, FSOPEN_CLOEXEC), kind);
	for (; (*options)[0]; options++)
		check(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, (*options)[0], (*options)[1], 0), kind);
	check(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), kind);
	tree = check(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes), kind);
	close(fs);
	return tree;
}

/* Nodes cannot be made in a user namespace: so by us, and shown inside by the map. */
static int new_dev(int user)
{
	static const struct { const char *name; unsigned major, minor; } nodes[] = {
		{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
	};
	static const char *const links[][2] = {
		{ "fd", "/proc/self/fd" }, { "stdin", "fd/0" }, { "stdout", "fd/1" }, { "stderr", "fd/2" }, { "ptmx", "pts/ptmx" },
	};
	static const char *const dirs[] = { "pts", "shm", "mqueue" };
	static const char *const options[][2] = { { "mode", "755" }, { "size", "64k" }, { NULL, NULL } };
	int dev = new_fs("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
		check(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].name);
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		check(symlinkat(links[i][1], dev, links[i][0]), links[i][0]);
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		check(mkdirat(dev, dirs[i], 0755), dirs[i]);
	map_mount(dev, user, "cannot map /dev");
	return dev;
}

/* Makes one jail, and waits for its program. */
static void make(const char *base, uint32_t number, const char *path)
{
	static int route = -1;
	int cgroup, user, status;
	siginfo_t info;
	struct clone_args args;
	memset(&jail, 0, sizeof jail);
	memset(&ours, 0, sizeof ours);
	memset(&its, 0, sizeof its);
	jail.number = number;
	snprintf(jail.cgroup, sizeof jail.cgroup, "%s/floor-%u", base, number);
	check(mkdir(jail.cgroup, 0755), jail.cgroup);
	cgroup = check(open(jail.cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC), jail.cgroup);
	memset(&args, 0, sizeof args);
	args.flags = CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_INTO_CGROUP | CLONE_NEWUSER | CLONE_NEWNET |
		     CLONE_NEWIPC | CLONE_NEWUTS;
	/* As with a jail that persists: mounts and pids come with a first process. */
	if (!holding)
		args.flags |= CLONE_NEWNS | CLONE_NEWPID;
	args.pidfd = (uintptr_t)&jail.pidfd;
	args.exit_signal = SIGCHLD;
	args.stack = (uintptr_t)stack;
	args.stack_size = sizeof stack;
	args.cgroup = (uint64_t)cgroup;
	errno = (int)-(jail.pid = (pid_t)start(&args, child));
	if (jail.pid < 0)
		fail("clone3");

	write_map("uid_map");
	write_map("gid_map");
	user = namespace(9, "user");
	jail.root = check(syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC), path);
	map_mount(jail.root, user, "cannot map the root's ids");
	open_gate(&jail.mapped);
	jail.dev = new_dev(user);
	open_gate(&jail.furnished);
	if (route < 0)
		route = check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "cannot open rtnetlink");
	add_veth(&ours, number, jail.pid);
	add_address(&ours, INDEX + number, address(number, 1));
	errno = (int)-talk(route, &ours);
	if (errno)
		fail("cannot make the link");
	if (holding) {
		static const char *const pts[][2] = { { "mode", "620" }, { "ptmxmode", "666" }, { NULL, NULL } };
		static const char *const shm[][2] = { { "mode", "1777" }, { NULL, NULL } };
		wait_gate(&jail.unshared);
		namespace(1, "cgroup");
		namespace(2, "ipc");
		namespace(4, "net");
		namespace(10, "uts");
		new_fs("devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
		new_fs("tmpfs", shm, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	}
	open_gate(&jail.connected);
	check(waitid(P_PIDFD, (id_t)jail.pidfd, &info, WEXITED), "cannot wait");
	jail.pid = 0;
	if (jail.failed) {
		errno = (int)jail.error;
		fail(jail.failed);
	}
	status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	if (status) {
		fprintf(stderr, "floor: %s: ended with %d\n", program[0], status);
		rmdir(jail.cgroup);
		exit(1);
	}
	close(jail.pidfd);
	close(cgroup);
}

int main(int argc, char **argv)
{
	uint32_t number;
	holding = argc == 6 && !strcmp(argv[1], "hold");
	if (!holding && (argc < 6 || strcmp(argv[1], "run"))) {
		fprintf(stderr, "usage: floor run NUMBER CGROUP PATH PROGRAM [ARGUMENT...]\n"
				"       floor hold NUMBER CGROUP PATH COUNT\n");
		return 2;
	}
	number = (uint32_t)strtoul(argv[2], NULL, 10);
	umask(0);
	if (!holding) {
		program = argv + 5;
		make(argv[3], number, argv[4]);
		check(rmdir(jail.cgroup), jail.cgroup);
		return 0;
	}
	uint32_t count = (uint32_t)strtoul(argv[5], NULL, 10);
	struct rlimit files;
	char byte;
	check(getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
	files.rlim_cur = files.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	for (uint32_t i = 0; i < count; i++)
		make(argv[3], number + i, argv[4]);
	check(write(1, "ready\n", 6), "standard output");
	while (read(0, &byte, 1) > 0)
		;
	for (uint32_t i = 0; i < count; i++) {
		snprintf(jail.cgroup, sizeof jail.cgroup, "%s/floor-%u", argv[3], number + i);
		check(rmdir(jail.cgroup), jail.cgroup);
	}
	return 0;
}
