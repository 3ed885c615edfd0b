//! Makes the system calls that lines on standard input describe, and says what the kernel answered.
//!
//! A line is a list of calls, separated by `;`. A call is a name and its arguments:
//!
//! | word | argument |
//! |---|---|
//! | `12`, `-1`, `0x10` | the number |
//! | `$1` | what the second call of the line returned |
//! | `%b:64` | the address of a buffer, named b, of 64 bytes of zeroes; `%b` is the same one again |
//! | `[1,%b]` | the address of such words of 64 bits |
//! | `{1,2}` | the address of such words of 32 bits |
//! | `~00ff` | the address of such bytes |
//! | `/tmp`, `'1` | the address of the text, which ends in a null |
//!
//! A name may be a number; `int80:310` is a call by the entry of 32-bit programs; `answer` reads from a netlink
//! socket, and fails as the request did. Each line is run in a process of its own. The answer is `ok`, or the last call's error; of a call before, with its name.

use std::{
    collections::HashMap,
    env,
    io::{self, BufRead as _},
    process::Command,
};

use kernel::seccomp::{Abi, syscall_number};

fn main() {
    if let Some(line) = env::args().nth(1) {
        println!("{}", Attempt::default().run(&line));
        return;
    }
    let exe = env::current_exe().expect("/proc/self/exe can be read");
    for line in io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let status = Command::new(&exe).arg(&line).status().expect("the attempt can be started");
        // One that was killed has said nothing.
        if !status.success() {
            println!("{status}");
        }
    }
}

/// What a line has at hand.
#[derive(Default)]
struct Attempt {
    returned: Vec<i64>,
    buffers: HashMap<String, usize>,
}

impl Attempt {
    fn run(&mut self, line: &str) -> String {
        let calls: Vec<_> = line.split(';').map(str::trim).collect();
        for (at, call) in calls.iter().enumerate() {
            let mut words = call.split_whitespace();
            let name = words.next().expect("a call has a name");
            let mut arguments = [0; 6];
            for (argument, word) in arguments.iter_mut().zip(words) {
                *argument = self.value(word);
            }
            let returned = match name.strip_prefix("int80:") {
                Some(number) => int80(self.value(number), arguments),
                None if name == "answer" => answer(arguments[0]),
                None => native(self.number(name), arguments),
            };
            if returned < 0 {
                let error = errno(-returned);
                return if at + 1 == calls.len() { error } else { format!("{name}: {error}") };
            }
            self.returned.push(returned);
        }
        "ok".to_owned()
    }

    fn number(&mut self, name: &str) -> i64 {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return self.value(name);
        }
        let other = OTHERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let known = syscall_number(name, Abi::NATIVE).map(i64::from);
        known.or(other).unwrap_or_else(|| panic!("no number of {name} is known here"))
    }

    /// The value of a word. What has an address is never freed: the process ends soon.
    fn value(&mut self, word: &str) -> i64 {
        let inner = word.get(1..).unwrap_or_default();
        let list = |until: char| inner.trim_end_matches(until).split(',').filter(|w| !w.is_empty());
        let bytes: Vec<u8> = match word.chars().next() {
            Some('$') => return self.returned[inner.parse::<usize>().expect("the number of a call")],
            Some('%') => {
                let (name, size) = inner.split_once(':').unwrap_or((inner, "0"));
                let size = size.parse::<usize>().expect("a size");
                let made = self.buffers.entry(name.to_owned()).or_insert_with(|| keep(vec![0; size]));
                return *made as i64;
            }
            Some('[') => list(']').flat_map(|w| self.value(w).to_le_bytes()).collect(),
            Some('{') => list('}').flat_map(|w| (self.value(w) as u32).to_le_bytes()).collect(),
            Some('~') => (0..inner.len() / 2)
                .map(|n| u8::from_str_radix(&inner[2 * n..2 * n + 2], 16).expect("hexadecimal digits"))
                .collect(),
            Some('\'') => [inner.as_bytes(), b"\0"].concat(),
            Some('0'..='9' | '-') => {
                let hex = word.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
                return hex.unwrap_or_else(|| word.parse()).expect("a number");
            }
            _ => [word.as_bytes(), b"\0"].concat(),
        };
        keep(bytes) as i64
    }
}

fn keep(bytes: Vec<u8>) -> usize {
    bytes.leak().as_mut_ptr() as usize
}

fn native(number: i64, a: [i64; 6]) -> i64 {
    // SAFETY: the pointers are to buffers that are never freed. What the call does to this process beyond them
    // is what the attempt is about; it ends right after.
    let returned = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if returned == -1 { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { returned }
}

/// Reads the answer to a netlink request: its error, or 0. netlink(7).
fn answer(socket: i64) -> i64 {
    const NLMSG_ERROR: u8 = 2;
    let bytes = [0_u8; 4096].to_vec().leak();
    let received =
        native(libc::SYS_recvfrom, [socket, bytes.as_mut_ptr() as i64, bytes.len() as i64, 0, 0, 0]);
    match bytes[4] {
        _ if received < 20 => received.min(0),
        NLMSG_ERROR => i64::from(i32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]])),
        _ => 0,
    }
}

/// A call as 32-bit programs make it. Arguments are 32 bits, so none is a pointer.
#[cfg(target_arch = "x86_64")]
fn int80(number: i64, a: [i64; 6]) -> i64 {
    let returned: i64;
    // SAFETY: no argument is a pointer. The compiler keeps rbx for itself, so it is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, r12d",
            "int 0x80",
            "pop rbx",
            inlateout("rax") number => returned,
            in("r12") a[0], in("rcx") a[1], in("rdx") a[2], in("rsi") a[3], in("rdi") a[4],
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    i64::from(returned as i32)
}

#[cfg(not(target_arch = "x86_64"))]
fn int80(_: i64, _: [i64; 6]) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// The calls that no jail denies, so that [`kernel::seccomp`] has no number of them.
const OTHERS: &[(&str, i64)] = &[
    ("capset", libc::SYS_capset),
    ("chdir", libc::SYS_chdir),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("close_range", libc::SYS_close_range),
    ("connect", libc::SYS_connect),
    ("bind", libc::SYS_bind),
    ("fchdir", libc::SYS_fchdir),
    ("fchmodat", libc::SYS_fchmodat),
    ("fchownat", libc::SYS_fchownat),
    ("fsetxattr", libc::SYS_fsetxattr),
    ("getdents64", libc::SYS_getdents64),
    ("getpid", libc::SYS_getpid),
    ("kill", libc::SYS_kill),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
    ("mkdirat", libc::SYS_mkdirat),
    ("mknodat", libc::SYS_mknodat),
    ("openat", libc::SYS_openat),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("prctl", libc::SYS_prctl),
    ("pread64", libc::SYS_pread64),
    ("read", libc::SYS_read),
    ("readlinkat", libc::SYS_readlinkat),
    ("recvfrom", libc::SYS_recvfrom),
    ("sched_setattr", libc::SYS_sched_setattr),
    ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("sendto", libc::SYS_sendto),
    ("setpriority", libc::SYS_setpriority),
    ("setresuid", libc::SYS_setresuid),
    ("setrlimit", libc::SYS_setrlimit),
    ("setsockopt", libc::SYS_setsockopt),
    ("setxattr", libc::SYS_setxattr),
    ("shmat", libc::SYS_shmat),
    ("shmget", libc::SYS_shmget),
    ("socket", libc::SYS_socket),
    ("statmount", 457),
    ("listmount", 458),
    ("symlinkat", libc::SYS_symlinkat),
    ("umount2", libc::SYS_umount2),
    ("unlinkat", libc::SYS_unlinkat),
    ("unshare", libc::SYS_unshare),
    ("vhangup", libc::SYS_vhangup),
    ("write", libc::SYS_write),
];

fn errno(number: i64) -> String {
    let known = ERRORS.iter().find(|(_, n)| i64::from(*n) == number);
    known.map_or_else(|| format!("error {number}"), |(name, _)| (*name).to_owned())
}

macro_rules! errors {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

const ERRORS: &[(&str, i32)] = errors! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR
    EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY ENOSPC EROFS ENOSYS ELOOP ENODATA EOVERFLOW EOPNOTSUPP ECONNREFUSED
    EAFNOSUPPORT EPROTONOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETUNREACH ESTALE ENOKEY ENOTSOCK EDQUOT ENOTCONN
    EHOSTUNREACH
};
