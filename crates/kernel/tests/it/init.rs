use std::fs::{read_dir, read_to_string};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kernel::init::{Arch, image, memfd};
use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::io::{Errno, FdFlags, fcntl_getfd, write};
use rustix::thread::UnshareFlags;

use crate::lab::apart;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Runs `body` with an init in a new pid namespace, which `body`'s later children will be in.
fn with_init(body: impl FnOnce(Child) + Send + 'static) {
    apart(UnshareFlags::NEWPID, || {
        let memfd = memfd().unwrap();
        let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        body(Command::new(path).stdin(Stdio::piped()).spawn().unwrap());
    });
}

fn shell(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
}

fn children(init: &Child) -> Vec<String> {
    let list = read_to_string(format!("/proc/{0}/task/{0}/children", init.id())).unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn it_stays_until_the_pipe_is_closed_and_leaves_when_alone() {
    with_init(|mut init| {
        write(init.stdin.as_ref().unwrap(), b"what it reads does not matter").unwrap();
        sleep(100 * MILLISECOND);
        assert_eq!(init.try_wait().unwrap(), None);
        drop(init.stdin.take());
        assert_eq!(init.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn it_waits_for_one_that_is_not_its_child() {
    with_init(|mut init| {
        // Our child, in its namespace: as a command is that came in from outside.
        let mut other = Command::new("sleep").arg("0.6").spawn().unwrap();
        drop(init.stdin.take());
        sleep(300 * MILLISECOND);
        assert!(children(&init).is_empty());
        assert_eq!(init.try_wait().unwrap(), None);
        assert_eq!(other.wait().unwrap().code(), Some(0), "it is not killed");
        assert_eq!(init.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn it_adopts_and_reaps_orphans() {
    with_init(|mut init| {
        shell("sleep 0.6 & for i in 1 2 3 4 5; do sleep 0.1 & done");
        assert_eq!(children(&init).len(), 6);
        let start = Instant::now();
        drop(init.stdin.take());
        sleep(300 * MILLISECOND);
        assert_eq!(children(&init).len(), 1, "the others are reaped");
        assert_eq!(read_dir(format!("/proc/{}/fd", init.id())).unwrap().count(), 0, "all is closed");
        assert_eq!(init.wait().unwrap().code(), Some(0));
        assert!(start.elapsed() > 400 * MILLISECOND, "it waits for the last");
    });
}

#[test]
fn signals_from_inside_do_nothing() {
    with_init(|mut init| {
        shell("sleep 0.4 &");
        for signal in ["TERM", "INT", "HUP", "KILL", "CHLD", "STOP", "USR1"] {
            shell(&format!("kill -{signal} 1"));
        }
        drop(init.stdin.take());
        shell("kill -TERM 1; kill -KILL 1");
        assert_eq!(init.try_wait().unwrap(), None);
        assert_eq!(init.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn it_is_small() {
    with_init(|mut init| {
        shell("sleep 0.2 &");
        drop(init.stdin.take());
        sleep(50 * MILLISECOND);
        let status = read_to_string(format!("/proc/{}/status", init.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
        let kib: u32 = resident.trim_end_matches(" kB").parse().unwrap();
        println!("init: {kib} KiB resident, {} bytes", image(Arch::NATIVE).len());
        assert!(kib <= 16, "{resident}");
        let maps = read_to_string(format!("/proc/{}/maps", init.id())).unwrap();
        assert!(!maps.contains("wx"), "{maps}");
        assert!(maps.contains("[stack]") && !maps.contains("rwxp"), "{maps}");
        init.wait().unwrap();
    });
}

#[test]
fn the_file_cannot_be_changed() {
    let memfd = memfd().unwrap();
    assert_eq!(write(&memfd, b"x"), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&memfd, 0), Err(Errno::PERM));
    assert!(fcntl_get_seals(&memfd).unwrap().contains(SealFlags::SEAL));
    assert!(fcntl_getfd(&memfd).unwrap().contains(FdFlags::CLOEXEC));
}

fn u16_at(image: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(image[at..at + 2].try_into().unwrap())
}

fn u32_at(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
}

fn u64_at(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(image[at..at + 8].try_into().unwrap())
}

#[test]
fn both_files_are_sound() {
    for (arch, machine) in [(Arch::X86_64, 62), (Arch::Aarch64, 183)] {
        let image = image(arch);
        assert!(image.len() < 400, "{arch:?}: {}", image.len());
        assert_eq!(&image[..7], b"\x7fELF\x02\x01\x01");
        assert_eq!((u16_at(&image, 16), u16_at(&image, 18), u32_at(&image, 20)), (2, machine, 1));
        let (entry, headers) = (u64_at(&image, 24), u64_at(&image, 32) as usize);
        assert_eq!((headers, u16_at(&image, 52), u16_at(&image, 54), u16_at(&image, 56)), (64, 64, 56, 2));
        // PT_LOAD, readable and executable, all of the file.
        assert_eq!((u32_at(&image, headers), u32_at(&image, headers + 4)), (1, 5));
        let [offset, address, _, in_file, in_memory, align] =
            [8, 16, 24, 32, 40, 48].map(|at| u64_at(&image, headers + at));
        assert_eq!((offset, address % align, in_file, in_memory), (0, 0, in_memory, image.len() as u64));
        assert!((address..address + in_file).contains(&entry));
        // PT_GNU_STACK, not executable.
        assert_eq!((u32_at(&image, headers + 56), u32_at(&image, headers + 60)), (0x6474_e551, 6));
        assert_eq!(entry - address, 64 + 2 * 56);
    }
}

/// Reads the little of the instruction set that is in use, and follows it.
#[test]
fn the_words_for_aarch64_do_what_they_should() {
    let code: Vec<u32> = image(Arch::Aarch64)[176..]
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let mut calls = Vec::new();
    let mut x = [0u64; 9];
    let mut compared = None;
    let mut jumps = Vec::new();
    for (at, word) in code.iter().enumerate() {
        let (register, half) = ((word & 31) as usize, u64::from(word >> 5 & 0xffff));
        let shift = 16 * (word >> 21 & 3);
        match word {
            _ if word >> 23 == 0b1_1010_0101 => x[register] = half << shift, // movz
            _ if word >> 23 == 0b1_0010_0101 => x[register] = !(half << shift), // movn
            _ if word >> 23 == 0b1_1110_0101 => x[register] |= half << shift, // movk
            0x9100_03e1 => x[1] = 0x57ac,                                    // mov x1, sp
            0x9100_03e0 => x[0] = 0x57ac,                                    // mov x0, sp
            0xa9bf_07ff => assert_eq!(x[1], 200_000_000, "what is pushed beside a zero"), // stp xzr, x1, [sp, #-16]!
            0x9100_43ff => {}                                                             // add sp, sp, #16
            0xd400_0001 => calls.push((x[8], [x[0], x[1], x[2], x[3]])),                  // svc
            0xb100_101f | 0xb100_0c1f | 0xf100_001f => compared = Some((*word, at)), // cmn x0, #4, #3; cmp x0, #0
            _ if word >> 24 == 0x54 => {
                let (with, compare) = compared.take().unwrap();
                assert_eq!(compare + 1, at, "compares before it jumps");
                assert_eq!(word & 31, if with == 0xf100_001f { 12 } else { 0 }, "b.gt or b.eq");
                jumps.push((with, at as i64 + i64::from((*word as i32) << 8 >> 13)));
            }
            _ if word >> 26 == 0b0_00101 => jumps.push((0, at as i64 + i64::from((*word as i32) << 6 >> 6))), // b
            _ => panic!("{word:#x}"),
        }
    }
    let (read, wait, leave) = (0, 14, code.len() as i64 - 3);
    let (eintr, esrch, more, always) = (0xb100_101f, 0xb100_0c1f, 0xf100_001f, 0);
    assert_eq!(
        jumps,
        [(eintr, read), (more, read), (more, wait), (eintr, wait), (esrch, leave), (always, wait)]
    );
    assert_eq!(calls[0], (63, [0, 0x57ac, 1, 0]), "read");
    assert_eq!(calls[1].0, 436, "close_range");
    assert_eq!(calls[1].1[..3], [0, u64::MAX, 0]);
    assert_eq!(calls[2], (260, [u64::MAX, 0, 0x4000_0000, 0]), "wait4");
    assert_eq!((calls[3].0, calls[3].1[..2].to_vec()), (129, vec![u64::MAX, 0]), "kill");
    assert_eq!((calls[4].0, calls[4].1[..2].to_vec()), (101, vec![0x57ac, 0]), "nanosleep");
    assert_eq!((calls[5].0, calls[5].1[0]), (93, 0), "exit");
    assert_eq!(calls.len(), 6);
}
