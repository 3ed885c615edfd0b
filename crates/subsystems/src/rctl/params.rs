//! The parameters of [`super::Rctl`].

use vimage::{Child, Kind, Param, When};

use super::{
    limit::LAST_CPU,
    resource::{TASKS, TERMINALS, count, size},
    rule::RULES,
};
use crate::root::terminals;

/// All of them.
pub(super) static PARAMS: [Param; 19] = [
    Param {
        name: RULES,
        kind: Kind::List { commas: true },
        when: When::Read,
        help: "the rules that the jail is under",
        doc: "The rules of rctl(8) that the jail is under, those of a jail that it is in among them where they are of what \
              each process uses, or of System V objects. Of a parameter and the rules of its resource the strictest counts.",
        ..Param::BASE
    },
    size(
        "rctl.memoryuse",
        "how much memory the jail may use",
        "The greatest amount of memory of all the jail's processes together, page cache and /dev/shm \
         included, swap not: memory.max, or memory.limit_in_bytes. What is above is reclaimed; if it cannot \
         be, the kernel kills processes of the jail.",
    ),
    size(
        "rctl.swapuse",
        "how much swap the jail may use",
        "The greatest amount of swap of all the jail's processes together: memory.swap.max. Refused where the controller \
         is of version 1, which limits memory and swap together alone.",
    ),
    count(
        "rctl.maxproc",
        (1, TASKS),
        "how many processes the jail may have",
        "The greatest number of the jail's processes, threads counted: pids.max. At the limit fork(2) fails \
         with EAGAIN. Linux has one limit for this and rctl.nthr, and the smaller counts: a jail has at most so many \
         processes, and fewer if they have threads.",
    ),
    count(
        "rctl.nthr",
        (1, TASKS),
        "how many threads the jail may have",
        "The greatest number of threads of all the jail's processes together, a process without others being one: pids.max.",
    ),
    Param {
        name: "rctl.pcpu",
        kind: Kind::Percent { min: 1, max: 1_000_000 },
        child: Child::AtMost,
        help: "how much processor time the jail may use, in percent of one processor",
        doc: "The share of processor time of all the jail's processes together in percent; 100 is one processor, \
              200 two: cpu.max, or cpu.cfs_quota_us, over a tenth of a second. What is above \
              waits. 50 and 50% are the same.",
        ..Param::BASE
    },
    Param {
        name: "cpuset.cpus",
        kind: Kind::Numbers { max: LAST_CPU },
        child: Child::Subset,
        help: "which processors the jail may use",
        doc: "The processors that the jail's processes run on, a list such as 0-3,8: cpuset.cpus. They can choose \
              among these and no others, sched_setaffinity(2). What cpuset -l is on FreeBSD.",
        ..Param::BASE
    },
    size(
        "rctl.readbps",
        "how many bytes a second the jail may read",
        "How many bytes all the jail's processes together may read in a second from each block device of the machine: io.max, or \
         blkio.throttle.read_bps_device. What is above waits. What is in the page cache is not read. Linux limits each \
         device by itself: two disks give twice that. A device that comes later is limited with the next change of a limit. \
         In version 1 a jail in another that has a limit of its own is not counted in the other's.",
    ),
    size(
        "rctl.writebps",
        "how many bytes a second the jail may write",
        "As rctl.readbps, of what is written: io.max, or blkio.throttle.write_bps_device. In version 1 the kernel counts \
         what a process writes itself (O_DIRECT, O_SYNC, fsync(2)), and not what it writes back later from the page cache.",
    ),
    count(
        "rctl.readiops",
        (1, i64::MAX),
        "how many times a second the jail may read",
        "As rctl.readbps, in requests a second: io.max, or blkio.throttle.read_iops_device.",
    ),
    count(
        "rctl.writeiops",
        (1, i64::MAX),
        "how many times a second the jail may write",
        "As rctl.writebps, in requests a second: io.max, or blkio.throttle.write_iops_device.",
    ),
    count(
        TERMINALS,
        (0, terminals::MOST),
        "how many pseudo-terminals the jail may have",
        "The greatest number of terminals of the jail's own /dev/pts: max of its file system, pts(4), and in Documentation/\
         filesystems/devpts.rst of the kernel. At the limit posix_openpt(3) fails with ENOSPC, in jexec(8), too. A jail in \
         another has a /dev/pts, and so many, of its own.",
    ),
    count(
        "rctl.cputime",
        (1, i64::MAX),
        "how many seconds of processor time each process may use",
        "The greatest processor time of each process in seconds: RLIMIT_CPU of setrlimit(2). A process that has used it is \
         killed. A rule is jail:NAME:cputime:sigkill=SECONDS/process.",
    ),
    size(
        "rctl.datasize",
        "how much data each process may have",
        "The greatest size of the data of each process: RLIMIT_DATA, which is of all its private writable memory but its stack. \
         At the limit brk(2) and mmap(2) fail with ENOMEM. A rule is jail:NAME:datasize:deny=BYTES/process.",
    ),
    size(
        "rctl.stacksize",
        "how large the stack of each process may be",
        "The greatest size of the main thread's stack of each process: RLIMIT_STACK. What goes beyond gets SIGSEGV. A rule is \
         jail:NAME:stacksize:deny=BYTES/process.",
    ),
    size(
        "rctl.coredumpsize",
        "how large a core dump of each process may be",
        "The greatest size of a core dump: RLIMIT_CORE; with 0 there is none. Where core_pattern of core(5) names a \
         program, the kernel hands it whatever there is, but for a limit of 1. A rule is \
         jail:NAME:coredumpsize:deny=BYTES/process.",
    ),
    size(
        "rctl.memorylocked",
        "how much memory each process may lock",
        "How much memory each process may keep from being swapped out: RLIMIT_MEMLOCK. At the limit mlock(2) fails with ENOMEM. \
         No limit to who has the host's CAP_IPC_LOCK: allow.mlock. A rule is jail:NAME:memorylocked:deny=BYTES/process.",
    ),
    count(
        "rctl.openfiles",
        (8, i64::MAX),
        "how many files each process may have open",
        "One more than the greatest number of a descriptor of each process: RLIMIT_NOFILE. At the limit open(2) fails with \
         EMFILE. A rule is jail:NAME:openfiles:deny=NUMBER/process: Linux has no limit of the open files of a jail.",
    ),
    size(
        "rctl.vmemoryuse",
        "how large the address space of each process may be",
        "The greatest size of the address space of each process: RLIMIT_AS. At the limit mmap(2) fails with ENOMEM. A rule is \
         jail:NAME:vmemoryuse:deny=BYTES/process.",
    ),
];
