/*
 * Uses what a jail has of the kernel and leaves all of it behind: connections with data that nobody reads and that
 * nobody will take, datagrams for a neighbour who does not answer, System V and POSIX objects, a file in /dev/shm.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int check(int done, const char *doing)
{
	if (done < 0) {
		fprintf(stderr, "busy: %s: %s\n", doing, strerror(errno));
		exit(1);
	}
	return done;
}

static void connections(int count)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof here;
	int server = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
	char data[4096] = "unread";
	check(bind(server, (struct sockaddr *)&here, size), "bind");
	check(listen(server, 64), "listen");
	check(getsockname(server, (struct sockaddr *)&here, &size), "getsockname");
	for (int i = 0; i < count; i++) {
		int client = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
		check(connect(client, (struct sockaddr *)&here, size), "connect");
		check((int)write(client, data, sizeof data), "write");
	}
}

/* To an address of the jail's network that nobody has. */
static void datagrams(const char *to)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(9) };
	int socket_ = check(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	int stream = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
	check(inet_pton(AF_INET, to, &there.sin_addr) - 1, to);
	for (int i = 0; i < 4; i++)
		check((int)sendto(socket_, "x", 1, 0, (struct sockaddr *)&there, sizeof there), "sendto");
	if (connect(stream, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS)
		check(-1, "connect");
}

static const in_port_t port = 4711;

static int serve(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int server = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
	check(bind(server, (struct sockaddr *)&any, sizeof any), "bind");
	check(listen(server, 8), "listen");
	while (check(accept(server, NULL, NULL), "accept") >= 0)
		;
	return 0;
}

/* What it sends last nobody acknowledges, if the server is cut off by then. */
static int orphan(const char *to)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port) };
	int client = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
	char byte;
	check(inet_pton(AF_INET, to, &there.sin_addr) - 1, to);
	check(connect(client, (struct sockaddr *)&there, sizeof there), "connect");
	check((int)write(1, "connected\n", 10), "standard output");
	while (read(0, &byte, 1) > 0)
		;
	return write(client, "last words", 10) != 10;
}

static int hold(int processes, int count, int sockets)
{
	struct rlimit files;
	int ready[2];
	char byte;
	check(getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
	files.rlim_cur = files.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	check(pipe(ready), "pipe");
	for (int i = 0; i < processes; i++) {
		if (check(fork(), "fork"))
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int j = 0; j < count; j++)
			check(sockets ? socket(AF_UNIX, SOCK_STREAM, 0) : open("/dev/null", O_RDONLY), "open");
		check((int)write(ready[1], "", 1), "write");
		pause();
		return 0;
	}
	for (int i = 0; i < processes; i++)
		check((int)read(ready[0], &byte, 1), "read");
	check((int)write(1, "ready\n", 6), "standard output");
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}

static int connected(int count)
{
	connections(count);
	check((int)write(1, "ready\n", 6), "standard output");
	return pause();
}

/* A file handle of a namespace, which holds it not: Linux 6.18. */
struct handle {
	struct file_handle head;
	char rest[16];
};

static void up_lo(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int any = check(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	check(ioctl(any, SIOCSIFFLAGS, &lo), "cannot bring up lo");
	close(any);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* A file of a process or of a cgroup, written at once. */
static void put(const char *path, const char *text)
{
	int fd = check(open(path, O_WRONLY | O_CLOEXEC), path);
	check((int)write(fd, text, strlen(text)), path);
	close(fd);
}

/* What a jail mounts, in a mount namespace of its own. */
static void mounts(void)
{
	static const char *const all[][2] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "tmpfs", "/dev" }, { "tmpfs", "/run" }, { "tmpfs", "/tmp" },
	};
	static const char *const dev[][2] = { { "devpts", "/dev/pts" }, { "tmpfs", "/dev/shm" }, { "mqueue", "/dev/mqueue" } };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		check(mount(all[i][0], all[i][1], all[i][0], 0, NULL), all[i][1]);
	for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) {
		check(mkdir(dev[i][1], 0755), dev[i][1]);
		check(mount(dev[i][0], dev[i][1], dev[i][0], 0, NULL), dev[i][1]);
	}
}

/* So many network stacks with connections, each of a process; with a cgroup, each process in all that a jail has: a
 * cgroup below it, pids and mounts of its own. Prints how long they take to be gone once the input ends. */
static int stacks(int count, int connections_each, const char *base)
{
	const int all = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (base ? CLONE_NEWNS | CLONE_NEWPID : 0);
	pid_t *pids = calloc(count, sizeof *pids);
	struct handle *handles = calloc(count, sizeof *handles);
	int ready[2], go[2], mount_id;
	char byte, path[4096], text[32];
	double start;
	check(pipe(ready), "pipe");
	check(pipe(go), "pipe");
	for (int i = 0; i < count; i++) {
		pids[i] = check((int)syscall(SYS_clone, all | SIGCHLD, 0, 0, 0, 0), "clone");
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			check((int)read(go[0], &byte, 1), "read");
			if (base)
				mounts();
			up_lo();
			connections(connections_each);
			check((int)write(ready[1], "", 1), "write");
			for (;;)
				pause();
		}
		if (base) {
			static const char *const maps[] = { "uid_map", "gid_map" };
			for (int j = 0; j < 2; j++) {
				snprintf(path, sizeof path, "/proc/%d/%s", pids[i], maps[j]);
				put(path, "0 0 1");
			}
			snprintf(path, sizeof path, "%s/stack-%d", base, i);
			check(mkdir(path, 0755), path);
			strcat(path, "/cgroup.procs");
			snprintf(text, sizeof text, "%d", pids[i]);
			put(path, text);
		}
		check((int)write(go[1], "", 1), "write");
		check((int)read(ready[0], &byte, 1), "read");
		snprintf(path, sizeof path, "/proc/%d/ns/net", pids[i]);
		handles[i].head.handle_bytes = sizeof handles[i].rest;
		check(name_to_handle_at(AT_FDCWD, path, &handles[i].head, &mount_id, AT_SYMLINK_FOLLOW), "name_to_handle_at");
	}
	check((int)write(1, "ready\n", 6), "standard output");
	while (read(0, &byte, 1) > 0)
		;
	start = now();
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/stack-%d/cgroup.kill", base ? base : "", i);
		if (base)
			put(path, "1");
		else
			check(kill(pids[i], SIGKILL), "kill");
	}
	for (int i = 0; i < count; i++)
		check(waitpid(pids[i], NULL, 0), "waitpid");
	for (int i = 0; base && i < count; i++) {
		snprintf(path, sizeof path, "%s/stack-%d", base, i);
		check(rmdir(path), path);
	}
	for (int i = 0; i < count; i++) {
		int fd;
		while ((fd = open_by_handle_at(-10003, &handles[i].head, O_RDONLY | O_CLOEXEC)) >= 0) {
			close(fd);
			usleep(500);
		}
	}
	printf("%.0f\n", now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	struct { long type; char text[512]; } message = { 1, "left" };
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 64 };
	int id;
	mqd_t queue;
	char *memory;
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc == 3 && !strcmp(argv[1], "connected"))
		return connected(atoi(argv[2]));
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "stacks"))
		return stacks(atoi(argv[2]), atoi(argv[3]), argv[4]);
	if (argc == 5 && !strcmp(argv[1], "hold"))
		return hold(atoi(argv[2]), atoi(argv[3]), !strcmp(argv[4], "sockets"));
	if (argc == 3 && !strcmp(argv[1], "orphan"))
		return orphan(argv[2]);
	connections(4);
	if (argc > 1)
		datagrams(argv[1]);
	id = check(shmget(0x4711, 1 << 20, IPC_CREAT | 0600), "shmget");
	memory = shmat(id, NULL, 0);
	check(memory == (void *)-1 ? -1 : 0, "shmat");
	memset(memory, 1, 1 << 20);
	check(semget(0x4711, 16, IPC_CREAT | 0600), "semget");
	id = check(msgget(0x4711, IPC_CREAT | 0600), "msgget");
	check(msgsnd(id, &message, sizeof message.text, 0), "msgsnd");
	queue = check(mq_open("/left", O_CREAT | O_RDWR, 0600, &attr), "mq_open");
	check(mq_send(queue, "left", 4, 0), "mq_send");
	id = check(shm_open("/left", O_CREAT | O_RDWR, 0600), "shm_open");
	check(ftruncate(id, 1 << 16), "ftruncate");
	check((int)write(id, memory, 1 << 16), "write");
	return 0;
}
