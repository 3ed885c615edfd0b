//! Filters, run by an interpreter of classic BPF.

use kernel::seccomp::{Abi, ArgEq, BadRule, Rule, SockFilter, deny, names, syscall_number};
use rustix::io::Errno;

const ALLOW: u32 = 0x7fff_0000;

const fn errno(errno: Errno) -> u32 {
    0x5_0000 | errno.raw_os_error() as u32
}

/// Runs a filter on `struct seccomp_data` as the kernel does; checks what its checker checks.
fn run(filter: &[SockFilter], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let mut data = [nr.to_le_bytes(), arch.to_le_bytes()].concat();
    data.extend([0; 8]);
    data.extend(args.iter().flat_map(|arg| arg.to_le_bytes()));
    let (mut at, mut a) = (0, 0);
    loop {
        let SockFilter { code, jt, jf, k } = filter[at];
        at += 1;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                assert!(k % 4 == 0);
                a = u32::from_le_bytes(data[k as usize..k as usize + 4].try_into().unwrap());
            }
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(a == k),
            0x35 => at += jump(a >= k),
            0x45 => at += jump(a & k != 0),
            0x06 => return k,
            _ => panic!("code {code:#x}"),
        }
    }
}

fn rule<'a>(syscalls: &'a [&'a str], errno: Errno) -> Rule<'a> {
    Rule { syscalls, condition: None, errno }
}

const SYSV: &[&str] = &[
    "shmget",
    "shmat",
    "shmctl",
    "shmdt",
    "semget",
    "semop",
    "semtimedop",
    "semctl",
    "msgget",
    "msgsnd",
    "msgrcv",
    "msgctl",
];
const MQ: &[&str] =
    &["mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"];
const ABIS: [(Abi, Abi); 2] = [(Abi::X86_64, Abi::I386), (Abi::Aarch64, Abi::Arm)];

/// Every number that any rule could be about, and some around and far away.
fn numbers() -> impl Iterator<Item = u32> {
    (0..600).chain([0x4000_0000 - 1, u32::MAX])
}

#[test]
fn every_number_of_both_instruction_sets_is_decided_by_the_rules() {
    let all: Vec<&str> = names().filter(|name| !["ipc", "socketcall"].contains(name)).collect();
    // Every second, third, ... name; with two errnos taking turns, so that ranges break up.
    for step in 1..6 {
        let some: Vec<&str> = all.iter().copied().step_by(step).collect();
        let (even, odd): (Vec<_>, Vec<_>) = some.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        let names =
            |of: Vec<(usize, &&'static str)>| of.into_iter().map(|(_, name)| *name).collect::<Vec<_>>();
        let (even, odd) = (names(even), names(odd));
        let rules = [rule(&even, Errno::PERM), rule(&odd, Errno::NOSYS)];
        for (native, compat) in ABIS {
            let filter = deny(native, &rules).unwrap();
            for abi in [native, compat] {
                for nr in numbers().filter(|nr| abi != Abi::I386 || ![102, 117].contains(nr)) {
                    if native == Abi::X86_64 && abi == native && nr >= 0x4000_0000 {
                        continue;
                    }
                    let named = |list: &[&str]| list.iter().any(|name| means(name, nr, abi));
                    let expected = match () {
                        () if named(&even) && named(&odd) => continue, // A twin is on the other list.
                        () if named(&even) => errno(Errno::PERM),
                        () if named(&odd) => errno(Errno::NOSYS),
                        () => ALLOW,
                    };
                    let got = run(&filter, abi.audit_arch(), nr, [0; 6]);
                    assert_eq!(got, expected, "step {step}, {abi:?} {nr}");
                }
            }
        }
    }
}

/// Whether `nr` is the call `name`, or one that does the same.
fn means(name: &str, nr: u32, abi: Abi) -> bool {
    let twin = match name {
        "settimeofday" => "stime".into(),
        "umount2" => "umount".into(),
        "clock_settime" | "clock_adjtime" => format!("{name}64"),
        _ => format!("{name}_time64"),
    };
    [name, &twin].iter().any(|name| syscall_number(name, abi) == Some(nr))
}

#[test]
fn x32_and_unknown_instruction_sets_have_no_calls() {
    for (native, _) in ABIS {
        let filter = deny(native, &[rule(SYSV, Errno::PERM)]).unwrap();
        assert_eq!(run(&filter, 0xc000_0015, 1, [0; 6]), errno(Errno::NOSYS));
    }
    let filter = deny(Abi::X86_64, &[rule(SYSV, Errno::PERM)]).unwrap();
    for nr in [0x4000_0000, 0x4000_0000 + 29, u32::MAX] {
        assert_eq!(run(&filter, Abi::X86_64.audit_arch(), nr, [0; 6]), errno(Errno::NOSYS));
    }
}

#[test]
fn ipc_is_decided_by_its_first_argument() {
    let shm = &SYSV[..4];
    let filter = deny(Abi::X86_64, &[rule(shm, Errno::NOSYS), rule(&SYSV[8..], Errno::PERM)]).unwrap();
    for call in 0..70_000u64 {
        let expected = match call & 0xffff {
            11..=14 => errno(Errno::PERM),
            21..=24 => errno(Errno::NOSYS),
            _ => ALLOW,
        };
        let got = run(&filter, Abi::I386.audit_arch(), 117, [call, 0, 0, 0, 0, 0]);
        assert_eq!(got, expected, "{call}");
    }
    // The number means something else to 64 bits.
    assert_eq!(run(&filter, Abi::X86_64.audit_arch(), 117, [21, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn ipc_is_denied_as_a_whole_when_all_its_parts_are() {
    let filter = deny(Abi::X86_64, &[rule(SYSV, Errno::NOSYS)]).unwrap();
    for call in 0..30 {
        assert_eq!(run(&filter, Abi::I386.audit_arch(), 117, [call, 0, 0, 0, 0, 0]), errno(Errno::NOSYS));
    }
}

#[test]
fn a_rule_for_ipc_itself_comes_first_or_fills_in_the_rest() {
    let shm = rule(&SYSV[..4], Errno::NOSYS);
    let ipc = rule(&["ipc"], Errno::PERM);
    let ask = |rules: &[Rule<'_>], call| {
        run(&deny(Abi::X86_64, rules).unwrap(), Abi::I386.audit_arch(), 117, [call, 0, 0, 0, 0, 0])
    };
    assert_eq!((ask(&[shm, ipc], 21), ask(&[shm, ipc], 1)), (errno(Errno::NOSYS), errno(Errno::PERM)));
    assert_eq!((ask(&[ipc, shm], 21), ask(&[ipc, shm], 1)), (errno(Errno::PERM), errno(Errno::PERM)));
}

#[test]
fn conditions_look_at_all_the_bits_of_the_mask() {
    let masks = [u64::MAX, 0xffff_ffff, 0xff00, 0xff_0000_0000, 0xff_0000_00ff, 0];
    let value = 0x0000_0012_0000_3456;
    for mask in masks {
        for (native, _) in ABIS {
            let condition = Some(ArgEq { index: 2, value, mask });
            let rules = [Rule { syscalls: &["ioctl"], condition, errno: Errno::ACCESS }];
            let filter = deny(native, &rules).unwrap();
            let nr = syscall_number("ioctl", native).unwrap();
            for arg in (0..64).map(|bit| value ^ 1 << bit).chain([value, 0, u64::MAX]) {
                let expected = if arg & mask == value & mask { errno(Errno::ACCESS) } else { ALLOW };
                let got = run(&filter, native.audit_arch(), nr, [!0, 7, arg, 1, 2, 3]);
                assert_eq!(got, expected, "{mask:#x} {arg:#x}");
            }
        }
    }
}

#[test]
fn the_first_rule_that_applies_wins() {
    let domain = |value| Some(ArgEq { index: 0, value, mask: 0xffff_ffff });
    let rules = [
        Rule { syscalls: &["socket"], condition: domain(17), errno: Errno::PERM },
        Rule { syscalls: &["socket"], condition: domain(16), errno: Errno::AFNOSUPPORT },
        Rule { syscalls: &["socket"], condition: domain(17), errno: Errno::NOSYS },
        Rule { syscalls: &["clone"], condition: domain(5), errno: Errno::PERM },
        Rule { syscalls: &["clone"], condition: None, errno: Errno::NOSYS },
    ];
    let filter = deny(Abi::X86_64, &rules).unwrap();
    let ask = |abi: Abi, nr, arg| run(&filter, abi.audit_arch(), nr, [arg, 0, 0, 0, 0, 0]);
    assert_eq!(ask(Abi::X86_64, 41, 17), errno(Errno::PERM));
    assert_eq!(ask(Abi::X86_64, 41, 16), errno(Errno::AFNOSUPPORT));
    assert_eq!(ask(Abi::X86_64, 41, 2), ALLOW);
    assert_eq!(ask(Abi::I386, 359, 16), errno(Errno::AFNOSUPPORT));
    // Its arguments are out of sight; other socket calls pass.
    assert_eq!((ask(Abi::I386, 102, 1), ask(Abi::I386, 102, 2)), (errno(Errno::PERM), ALLOW));
    assert_eq!((ask(Abi::X86_64, 56, 5), ask(Abi::X86_64, 56, 4)), (errno(Errno::PERM), errno(Errno::NOSYS)));
}

#[test]
fn bad_rules_are_named() {
    assert_eq!(deny(Abi::X86_64, &[rule(&["shmget", "shmgot"], Errno::PERM)]), Err(BadRule("shmgot".into())));
    let condition = Some(ArgEq { index: 6, value: 0, mask: 0 });
    let rules = [Rule { syscalls: &["shmget"], condition, errno: Errno::PERM }];
    assert_eq!(deny(Abi::X86_64, &rules), Err(BadRule("shmget".into())));
}

#[test]
fn filters_are_short() {
    let ipc = [rule(SYSV, Errno::NOSYS), rule(MQ, Errno::NOSYS)];
    let lengths = ABIS.map(|(native, _)| deny(native, &ipc).unwrap().len());
    println!("System V and POSIX ipc: {lengths:?}");
    assert!(lengths.iter().all(|length| *length <= 28), "{lengths:?}");

    let host = [
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "bpf",
        "reboot",
        "swapon",
        "swapoff",
        "settimeofday",
        "clock_settime",
        "clock_adjtime",
        "adjtimex",
        "syslog",
        "acct",
        "iopl",
        "ioperm",
        "open_by_handle_at",
        "perf_event_open",
        "keyctl",
        "add_key",
        "request_key",
    ];
    let lengths = ABIS.map(|(native, _)| deny(native, &[rule(&host, Errno::PERM)]).unwrap().len());
    println!("what is the host's: {lengths:?}");
    assert!(lengths.iter().all(|length| *length <= 64), "{lengths:?}");

    // None takes more than a binary search and a few comparisons.
    let all: Vec<&str> = names().collect();
    let lengths = ABIS.map(|(native, _)| deny(native, &[rule(&all, Errno::PERM)]).unwrap().len());
    println!("all: {lengths:?}");
}

#[test]
fn far_jumps_reach() {
    // As many different answers as there are names: no return is shared.
    let all: Vec<&str> = names().filter(|name| *name != "ipc").collect();
    let rules: Vec<Rule<'_>> = all
        .iter()
        .enumerate()
        .flat_map(|(at, name)| {
            let syscalls = std::slice::from_ref(name);
            let errno = |n: usize| Errno::from_raw_os_error(n as i32);
            [1, 2, 3].map(|turn| Rule {
                syscalls,
                condition: (turn < 3).then_some(ArgEq { index: 1, value: turn, mask: 0xffff }),
                errno: errno(1 + at * 3 + turn as usize),
            })
        })
        .collect();
    let filter = deny(Abi::X86_64, &rules).unwrap();
    assert!(filter.len() > 512);
    for (at, name) in all.iter().enumerate() {
        // A twin that has a rule of its own answers by whichever came first.
        let Some(nr) = syscall_number(name, Abi::X86_64) else { continue };
        for turn in [1, 2, 3] {
            let got = run(&filter, Abi::X86_64.audit_arch(), nr, [0, turn, 0, 0, 0, 0]);
            assert_eq!(got, 0x5_0000 | (1 + at as u32 * 3 + turn as u32), "{name}");
        }
    }
}

/// Installs a filter for the calling thread: seccomp(2).
fn install(filter: &[SockFilter]) {
    rustix::thread::set_no_new_privs(true).unwrap();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points to as many instructions as it says, of the kernel's layout.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program) };
    assert_eq!(ret, 0, "{}", std::io::Error::last_os_error());
}

/// Makes a call that cannot do harm with these arguments.
fn call(number: i64, arg: i64) -> Result<(), Errno> {
    // SAFETY: the callers name calls that fail, or that take no pointer here.
    match unsafe { libc::syscall(number, arg, 0, 0, 0, 0, 0) } {
        0.. => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap()),
    }
}

#[test]
fn the_kernel_takes_the_filter_and_obeys() {
    let rules = [
        rule(&SYSV[..4], Errno::NOSYS),
        rule(MQ, Errno::PERM),
        Rule {
            syscalls: &["socket"],
            condition: Some(ArgEq { index: 0, value: 17, mask: 0xffff_ffff }),
            errno: Errno::AFNOSUPPORT,
        },
    ];
    let filter = deny(Abi::NATIVE, &rules).unwrap();
    let thread = std::thread::spawn(move || {
        install(&filter);
        assert_eq!(call(libc::SYS_shmdt, 1), Err(Errno::NOSYS));
        assert_eq!(call(libc::SYS_mq_unlink, 0), Err(Errno::PERM));
        assert_eq!(call(libc::SYS_socket, 17), Err(Errno::AFNOSUPPORT));
        assert_ne!(call(libc::SYS_socket, 16), Err(Errno::AFNOSUPPORT));
        assert_eq!(call(libc::SYS_semctl, -1), Err(Errno::INVAL));
        assert_eq!(call(libc::SYS_getpid, 0), Ok(()));
        #[cfg(target_arch = "x86_64")]
        {
            // shmdt(1) by ipc(2), semctl(-1), getpid(2): as a 32-bit program would.
            let (shmdt, semctl, getpid) = (i386([117, 22, 0, 0]), i386([117, 3, -1, 0]), i386([20, 0, 0, 0]));
            if getpid == -38 {
                return eprintln!("SKIP i386 calls: the kernel has none");
            }
            assert_eq!((shmdt, semctl), (-38, -22));
            assert!(getpid > 0);
            assert_eq!(call(0x4000_0000 + 39, 0), Err(Errno::NOSYS), "x32");
        }
    });
    thread.join().unwrap();
}

#[cfg(target_arch = "x86_64")]
fn i386([number, first, second, third]: [i32; 4]) -> i32 {
    let answer;
    // SAFETY: a system call that takes no pointer with these arguments; rbx is put back.
    unsafe {
        std::arch::asm!(
            "xchg {first:r}, rbx", "int 0x80", "xchg {first:r}, rbx",
            first = inout(reg) i64::from(first) => _,
            inlateout("eax") number => answer,
            in("ecx") second, in("edx") third, in("esi") 0, in("edi") 0,
        );
    }
    answer
}

/// Prints what installing costs; `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_installing() {
    let some: Vec<&str> = names().filter(|name| *name != "seccomp").step_by(4).collect();
    let all: Vec<&str> = names().filter(|name| !["ioctl", "clone", "clone3"].contains(name)).collect();
    for (name, list) in [("ipc", &SYSV.to_vec()), ("a quarter", &some), ("all", &all)] {
        let filter = deny(Abi::NATIVE, &[rule(list, Errno::PERM)]).unwrap();
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let filter = filter.clone();
                let time = move || {
                    let start = std::time::Instant::now();
                    install(&filter);
                    start.elapsed()
                };
                std::thread::spawn(time).join().unwrap()
            })
            .collect();
        times.sort_unstable();
        println!("{name}: {} instructions, {:?}", filter.len(), times[100]);
    }
}

#[test]
fn one_bit_of_an_argument_is_one_comparison() {
    for bit in [0x20, 1 << 40] {
        let condition = Some(ArgEq { index: 0, value: bit, mask: bit });
        let filter =
            deny(Abi::X86_64, &[Rule { syscalls: &["socket"], condition, errno: Errno::PERM }]).unwrap();
        assert!(filter.iter().all(|f| f.code != 0x54), "nothing is masked");
        let answer = |value| run(&filter, Abi::X86_64.audit_arch(), 41, [value, 0, 0, 0, 0, 0]);
        for (value, denied) in [(bit, true), (bit | 7, true), (bit << 1, false), (0, false), (!bit, false)] {
            let wanted = if denied { errno(Errno::PERM) } else { ALLOW };
            assert_eq!(answer(value), wanted, "{bit:#x}: {value:#x}");
        }
    }
}
