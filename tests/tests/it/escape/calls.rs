//! The calls, and what must come of each.

/// A try.
#[derive(Debug)]
pub(super) struct Call {
    /// What is tried.
    pub what: &'static str,
    /// The calls, in the words of the example `attempt`.
    pub calls: &'static str,
    /// What must come of it with `user=new`; several with `|`, where kernels differ.
    pub new: &'static str,
    /// The same with `user=inherit`.
    pub inherit: &'static str,
    /// The same with `user=inherit` and `vnet=inherit`.
    pub shared: &'static str,
}

/// The same in every kind of jail.
const fn all(what: &'static str, calls: &'static str, answer: &'static str) -> Call {
    Call { what, calls, new: answer, inherit: answer, shared: answer }
}

/// Another answer where ids are the host's.
const fn by_ids(what: &'static str, calls: &'static str, new: &'static str, inherit: &'static str) -> Call {
    Call { what, calls, new, inherit, shared: inherit }
}

/// Another answer in the host's user namespace.
const fn by_user(what: &'static str, calls: &'static str, own: &'static str, shared: &'static str) -> Call {
    Call { what, calls, new: own, inherit: own, shared }
}

/// All tries.
#[rustfmt::skip]
pub(super) const CALLS: &[Call] = &[
    // Mounts.
    all("mount a tmpfs", "mount tmpfs /tmp tmpfs 0 0", "EPERM"),
    all("mount a proc", "mount proc /tmp proc 0 0", "EPERM"),
    all("mount a sysfs", "mount sysfs /tmp sysfs 0 0", "EPERM"),
    all("mount the cgroups", "mount none /tmp cgroup2 0 0", "EPERM"),
    all("mount a legacy hierarchy, with its release_agent", "mount none /tmp cgroup 0 memory", "EPERM"),
    all("mount an overlay", "mount overlay /tmp overlay 0 lowerdir=/etc,upperdir=/tmp,workdir=/tmp", "EPERM"),
    all("mount a fuse", "mount none /tmp fuse 0 fd=0,rootmode=40000,user_id=0,group_id=0", "EPERM"),
    all("mount a disk", "mount /dev/sda /tmp ext4 0 0", "EPERM"),
    all("mount the root elsewhere", "mount / /tmp none 0x1000 0", "EPERM"),
    all("make the root writable", "mount none / none 0x20 0", "EPERM"),
    all("make /proc/sys writable", "mount none /proc/sys none 0x1020 0", "EPERM"),
    all("make the root's mount shared", "mount none / none 0x100000 0", "EPERM"),
    all("take the root's cover off", "umount2 / 2", "EPERM"),
    all("take /proc off", "umount2 /proc 2", "EPERM"),
    all("take /dev off", "umount2 /dev 2", "EPERM"),
    all("copy a mount", "open_tree -100 / 1", "EPERM"),
    all("move a mount", "open_tree -100 / 0; move_mount $0 ' -100 /tmp 4", "EPERM"),
    all("open a new file system", "fsopen tmpfs 0", "EPERM"),
    all("change a mount's attributes", "mount_setattr -100 / 0 [0,1,0,0] 32", "EPERM"),
    all("change the root", "pivot_root / /tmp", "EPERM"),
    // Namespaces.
    by_user("a user namespace by unshare", "unshare 0x10000000", "ENOSPC", "EPERM"),
    by_user("a user namespace by clone", "clone 0x10000011 0 0 0 0", "ENOSPC", "EPERM"),
    by_user("a user namespace by clone3", "clone3 [0x10000000,0,0,0,17,0,0,0] 64", "ENOSPC", "ENOSYS"),
    by_user("a user namespace by the 32-bit unshare", "int80:310 0x10000000", "ENOSPC|ENOSYS", "EPERM|ENOSYS"),
    by_user("a user namespace by the 32-bit clone", "int80:120 0x10000011", "ENOSPC|ENOSYS", "EPERM|ENOSYS"),
    all("a user namespace by the x32 unshare", "0x40000110 0x10000000", "ENOSYS"),
    all("a mount namespace", "unshare 0x20000", "EPERM"),
    all("a network namespace", "unshare 0x40000000", "EPERM"),
    all("a network namespace by clone", "clone 0x40000011 0 0 0 0", "EPERM"),
    all("a pid namespace", "unshare 0x20000000", "EPERM"),
    all("a host name of its own", "unshare 0x4000000", "EPERM"),
    all("an ipc namespace", "unshare 0x8000000", "EPERM"),
    all("a cgroup namespace", "unshare 0x2000000", "EPERM"),
    all("a time namespace", "unshare 0x80", "EPERM"),
    all("enter the init's mounts", "openat -100 /proc/1/ns/mnt 0; setns $0 0x20000", "ENOSYS"),
    all("enter the init's users", "openat -100 /proc/1/ns/user 0; setns $0 0x10000000", "ENOSYS"),
    // Its owner is the jail's root, who would have all capabilities there.
    all("enter the host name's users", "openat -100 /proc/self/ns/uts 0; ioctl $0 0xb701; setns $1 0", "ENOSYS"),
    all("enter the host name's users by the 32-bit setns", "openat -100 /proc/self/ns/uts 0; ioctl $0 0xb701; int80:346 $1 0x10000000", "ENOSYS"),
    all("enter the host name's users by the x32 setns", "openat -100 /proc/self/ns/uts 0; ioctl $0 0xb701; 0x40000134 $1 0x10000000", "ENOSYS"),
    by_user("a second user namespace for a host name", "clone 0x14000011 0 0 0 0", "ENOSPC", "EPERM"),
    all("enter the init's network", "openat -100 /proc/1/ns/net 0; setns $0 0x40000000", "ENOSYS"),
    all("enter the init's pids", "openat -100 /proc/1/ns/pid 0; setns $0 0x20000000", "ENOSYS"),
    all("enter all of the init's mounts and network by pidfd", "pidfd_open 1 0; setns $0 0x40020000", "ENOSYS"),
    all("the parent of the user namespace", "openat -100 /proc/self/ns/user 0; ioctl $0 0xb702", "EPERM"),
    all("the parent of the pid namespace", "openat -100 /proc/self/ns/pid 0; ioctl $0 0xb702", "EPERM"),
    all("the next mount namespace", "openat -100 /proc/self/ns/mnt 0; ioctl $0 0x8010b70b %i:16", "EPERM|ENOTTY"),
    all("the host's network by its handle", "open_by_handle_at -10003 {16,0xf1,3,0,0x40000000,0xf0000098} 0", "ESTALE|EPERM|EBADF"),
    all("a file by its handle", "openat -100 / 0; open_by_handle_at $0 {8,1,2,0} 0", "EPERM"),
    // The kernel.
    all("load a module", "init_module %m:64 64 '", "EPERM|ENOSYS"),
    all("load a module's file", "finit_module 0 ' 0", "EPERM|ENOSYS"),
    all("unload a module", "delete_module nothing 0", "EPERM|ENOSYS"),
    all("load a kernel", "kexec_load 0 0 0 0", "EPERM|ENOSYS"),
    all("load a kernel's file", "kexec_file_load -1 -1 0 0 4", "EPERM|ENOSYS"),
    by_user("load a BPF program", "bpf 5 %b:128 128", "EPERM", "ENOSYS"),
    by_user("make a BPF map", "bpf 0 {2,4,4,1} 16", "EPERM", "ENOSYS"),
    by_user("watch all of a processor", "perf_event_open %p:128 -1 0 -1 0", "EACCES|EPERM|ENOSYS", "ENOSYS"),
    all("reboot", "reboot 0xfee1dead 672274793 0x89abcdef 0", "EPERM"),
    all("swap to a file", "swapon /etc 0", "EPERM"),
    all("stop swapping", "swapoff /etc", "EPERM"),
    all("set the time zone of the kernel", "settimeofday 0 [0]", "EPERM"),
    all("set the time, to what it is", "clock_gettime 0 %t:16; clock_settime 0 %t", "EPERM"),
    all("adjust the time, not at all", "adjtimex {0x10,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}", "EPERM"),
    by_user("set the host name", "sethostname evil 4", "ok", "EPERM"),
    by_user("set the domain name", "setdomainname evil 4", "ok", "EPERM"),
    all("account for processes", "acct /tmp/acct", "EPERM|ENOSYS"),
    all("stop accounting", "acct 0", "EPERM|ENOSYS"),
    all("switch quotas on", "quotactl_fd 0 0x800002 0 0", "EPERM|ENOSYS"),
    all("read the kernel's messages", "syslog 3 %b:64 64", "ENOSYS"),
    all("clear the kernel's messages", "syslog 5 0 0", "ENOSYS"),
    all("reach all ports of the machine", "iopl 3", "EPERM|ENOSYS"),
    all("reach a port of the machine", "ioperm 128 1 1", "EPERM|ENOSYS"),
    all("hang the terminal up", "vhangup", "EPERM"),
    // Keys and terminals.
    all("the session's keyring", "keyctl 0 -3 0", "ENOSYS"),
    all("add a key", "add_key user x y 1 -3", "ENOSYS"),
    all("ask for a key", "request_key user x 0 -3", "ENOSYS"),
    all("type into the terminal", "ioctl 0 0x5412 x", "ENOSYS"),
    all("type into the terminal, by more bits", "ioctl 0 0x100005412 x", "ENOSYS"),
    all("type into the terminal, by the 32-bit ioctl", "int80:54 0 0x5412 0", "ENOSYS"),
    by_user("paste on the console", "ioctl 0 0x541c x", "ENOTTY|EPERM", "ENOSYS"),
    // Files of the kernel.
    by_ids("kernel.panic", "openat -100 /proc/sys/kernel/panic 1", "EACCES", "EROFS"),
    by_ids("kernel.core_pattern", "openat -100 /proc/sys/kernel/core_pattern 1", "EACCES", "EROFS"),
    by_ids("kernel.hostname", "openat -100 /proc/sys/kernel/hostname 1", "EACCES", "EROFS"),
    by_ids("vm.drop_caches", "openat -100 /proc/sys/vm/drop_caches 1", "EACCES", "EROFS"),
    by_ids("vm.overcommit_memory", "openat -100 /proc/sys/vm/overcommit_memory 1", "EACCES", "EROFS"),
    by_ids("fs.file-max", "openat -100 /proc/sys/fs/file-max 1", "EACCES", "EROFS"),
    by_ids("fs.protected_symlinks", "openat -100 /proc/sys/fs/protected_symlinks 1", "EACCES", "EROFS"),
    by_ids("the limit of user namespaces", "openat -100 /proc/sys/user/max_user_namespaces 1", "EACCES", "EACCES|EROFS"),
    by_ids("the kernel's memory", "openat -100 /proc/kcore 0", "EACCES|ENOENT", "EPERM|ENOENT"),
    by_ids("the kernel's log", "openat -100 /proc/kmsg 0", "EACCES|ENOENT", "EPERM|ENOENT"),
    by_ids("the emergency keys", "openat -100 /proc/sysrq-trigger 1", "EACCES|ENOENT", "EROFS|ENOENT"),
    by_ids("where interrupts go", "openat -100 /proc/irq/default_smp_affinity 1", "EACCES", "EROFS"),
    all("sleep states", "openat -100 /sys/power/state 1", "EROFS|ENOENT"),
    all("huge pages", "openat -100 /sys/kernel/mm/transparent_hugepage/enabled 1", "EROFS|ENOENT"),
    all("the program for hotplug", "openat -100 /sys/kernel/uevent_helper 1", "EROFS|ENOENT"),
    all("any file of sysfs", "openat -100 /sys/kernel/rcu_normal 1", "EROFS|ENOENT"),
    // Devices.
    all("make a disk's node", "mknodat -100 /tmp/disk 0x61b0 0x800", "EPERM"),
    all("make the node of the memory", "mknodat -100 /tmp/mem 0x21b0 0x101", "EPERM"),
    all("/dev/mem", "openat -100 /dev/mem 2", "ENOENT"),
    all("/dev/kmem", "openat -100 /dev/kmem 2", "ENOENT"),
    all("/dev/kmsg", "openat -100 /dev/kmsg 2", "ENOENT"),
    all("/dev/port", "openat -100 /dev/port 2", "ENOENT"),
    all("/dev/sda", "openat -100 /dev/sda 0", "ENOENT"),
    all("/dev/console", "openat -100 /dev/console 2", "ENOENT"),
    all("/dev/fuse", "openat -100 /dev/fuse 2", "ENOENT"),
    all("/dev/net/tun, for TUNSETIFF", "openat -100 /dev/net/tun 2", "ENOENT"),
    all("/dev/kvm", "openat -100 /dev/kvm 2", "ENOENT"),
    // Rights.
    all("all capabilities", "capset {0x20080522,0} {-1,-1,0,-1,-1,0}", "EPERM"),
    all("CAP_SYS_ADMIN", "capset {0x20080522,0} {0x200000,0x200000,0,0,0,0}", "EPERM"),
    all("CAP_SYS_ADMIN as ambient", "prctl 47 2 21 0 0", "EPERM"),
    all("another memory map", "prctl 35 13 0 0 0", "EPERM"),
    all("real-time scheduling", "sched_setscheduler 0 1 {1}", "EPERM"),
    all("a better priority", "setpriority 0 0 -20", "EACCES"),
    all("more than the limit of processes", "setrlimit 6 [-2,-2]", "EPERM"),
    all("faults of the kernel in user space", "openat -100 /dev/userfaultfd 2", "ENOENT"),
    all("the extended attributes of the host", "setxattr /tmp trusted.x v 1 0", "EPERM"),
    all("the kernel's extended attributes", "setxattr /tmp security.x v 1 0", "EPERM|EOPNOTSUPP"),
    all("an immutable file", "openat -100 /tmp/fixed 0x41 0x1a4; ioctl $0 0x40086602 [0x10]", "EPERM|ENOTTY|EOPNOTSUPP"),
    all("watch all of a mount", "300 0x10 0", "EPERM"),
    // Sockets.
    all("sockets to the hypervisor", "socket 40 1 0", "ENOSYS"),
    all("sockets of the kernel's ciphers", "socket 38 5 0", "ENOSYS"),
    all("sockets past the stack", "socket 44 3 0", "ENOSYS"),
    by_user("bluetooth of the host", "socket 31 3 1", "EAFNOSUPPORT", "ENOSYS"),
    all("the kernel's audit", "socket 16 3 9; sendto $0 {16,0x000503e8,1,0} 16 0 {16,0,0} 12; answer $0", "ECONNREFUSED|EPERM|socket: EPROTONOSUPPORT"),
    all("an io_uring, which makes any socket", "io_uring_setup 4 %p:120", "ENOSYS"),
    // Processes.
    all("the host's pids", "pidfd_open 99999 0", "ESRCH"),
    all("signal the host's pids", "kill 99999 0", "ESRCH"),
    all("the root of another root", "chroot /proc/1/root; openat -100 /.. 0; fchdir $1; mkdirat -100 /proc/1/x 0x1ed", "ENOENT"),
    // What is allowed: it gives the jail nothing that it has not.
    all("leave a directory that is the root", "mkdirat -100 /tmp/cell 0x1ed; openat -100 / 0; chroot /tmp/cell; fchdir $1; chdir ../../../../../../..; chroot .; openat -100 tmp/cell 0; unlinkat -100 tmp/cell 0x200", "ok"),
    all("the init's memory", "openat -100 /proc/1/mem 2", "ok"),
    all("debug the init", "ptrace 0x4206 1 0 0", "ok"),
    all("the init's root", "openat -100 /proc/1/root/proc/1/status 0", "ok"),
    all("kill the init, which handles no signal", "kill 1 9", "ok"),
    all("another personality", "personality 0x40000", "ok"),
    all("faults of its own memory", "userfaultfd 1", "ok|EPERM|ENOSYS"),
    all("chown", "openat -100 /tmp/own 0x41 0x1a4; fchownat -100 /tmp/own 1000 1000 0; unlinkat -100 /tmp/own 0", "ok"),
    all("become another user", "setresuid 1000 1000 1000", "ok"),
    by_user("a raw socket", "socket 2 3 1", "ok", "EPERM"),
    by_user("a packet socket", "socket 17 3 0x300", "ok", "EPERM"),
    all("a port below 1024", "socket 2 1 0; bind $0 ~02000050000000000000000000000000 16", "ok"),
];
