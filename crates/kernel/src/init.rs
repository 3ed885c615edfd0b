//! The init of a pid namespace, as a program of a few hundred bytes.
//!
//! A pid namespace lives as long as its first process, and what it has to do is little: it reads
//! descriptor 0 to the end of the file (its maker holds the other end of a pipe until the first command
//! is in), closes everything, reaps whatever becomes its child, and exits with 0 when alone. Alone is who
//! finds nobody to signal: one that was put into the namespace from outside is not its child, or not yet,
//! and is looked for five times a second as long as it has no other. It handles
//! no signal: the kernel drops those that the first process of a pid namespace does not handle,
//! pid_namespaces(7). Being assembled here, it needs no file, no libc and two pages of memory.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, Result, write};

/// A machine that the program is assembled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// AMD64.
    X86_64,
    /// ARM, 64 bits.
    Aarch64,
}

impl Arch {
    /// The machine that this is compiled for.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("no init for this machine");

#[rustfmt::skip]
const X86_64: [u8; 96] = [
    0x31, 0xc0, // again: xor eax, eax ; read
    0x31, 0xff, // xor edi, edi ; descriptor 0
    0x54, // push rsp
    0x5e, // pop rsi ; one byte, over the argument count
    0x6a, 0x01, // push 1
    0x5a, // pop rdx
    0x0f, 0x05, // syscall
    0x83, 0xf8, 0xfc, // cmp eax, -4 ; EINTR
    0x74, 0xf0, // je again
    0x85, 0xc0, // test eax, eax
    0x7f, 0xec, // jg again ; what was read is of no interest
    0xb8, 0xb4, 0x01, 0x00, 0x00, // mov eax, 436 ; close_range; before Linux 5.9 it fails, which does no harm
    0x31, 0xff, // xor edi, edi
    0x83, 0xce, 0xff, // or esi, -1
    0x31, 0xd2, // xor edx, edx
    0x0f, 0x05, // syscall
    0x6a, 0x3d, // wait: push 61 ; wait4
    0x58, // pop rax
    0x83, 0xcf, 0xff, // or edi, -1 ; any child
    0x31, 0xf6, // xor esi, esi
    0xba, 0x00, 0x00, 0x00, 0x40, // mov edx, 0x40000000 ; __WALL
    0x45, 0x31, 0xd2, // xor r10d, r10d
    0x0f, 0x05, // syscall
    0x85, 0xc0, // test eax, eax
    0x7f, 0xea, // jg wait ; reaped one
    0x83, 0xf8, 0xfc, // cmp eax, -4 ; EINTR
    0x74, 0xe5, // je wait
    0x6a, 0x3e, // push 62 ; kill, for ECHILD: all that can be seen, with no signal
    0x58, // pop rax
    0x0f, 0x05, // syscall
    0x83, 0xf8, 0xfd, // cmp eax, -3 ; ESRCH: alone
    0x74, 0x12, // je leave
    0x68, 0x00, 0xc2, 0xeb, 0x0b, // push 200000000 ; nanoseconds
    0x6a, 0x00, // push 0 ; seconds
    0x54, // push rsp
    0x5f, // pop rdi
    0x6a, 0x23, // push 35 ; nanosleep
    0x58, // pop rax
    0x0f, 0x05, // syscall
    0x58, // pop rax
    0x58, // pop rax
    0xeb, 0xc9, // jmp wait
    0x6a, 0x3c, // leave: push 60 ; exit
    0x58, // pop rax
    0x31, 0xff, // xor edi, edi
    0x0f, 0x05, // syscall
];

#[rustfmt::skip]
const AARCH64: [u32; 42] = [
    0xd280_0000, // again: mov x0, #0 ; descriptor 0
    0x9100_03e1, // mov x1, sp ; one byte, over the argument count
    0xd280_0022, // mov x2, #1
    0xd280_07e8, // mov x8, #63 ; read
    0xd400_0001, // svc #0
    0xb100_101f, // cmn x0, #4 ; EINTR
    0x54ff_ff40, // b.eq again
    0xf100_001f, // cmp x0, #0
    0x54ff_ff0c, // b.gt again ; what was read is of no interest
    0xd280_0000, // mov x0, #0
    0x9280_0001, // mov x1, #-1
    0xd280_0002, // mov x2, #0
    0xd280_3688, // mov x8, #436 ; close_range; before Linux 5.9 it fails, which does no harm
    0xd400_0001, // svc #0
    0x9280_0000, // wait: mov x0, #-1 ; any child
    0xd280_0001, // mov x1, #0
    0xd2a8_0002, // mov x2, #0x40000000 ; __WALL
    0xd280_0003, // mov x3, #0
    0xd280_2088, // mov x8, #260 ; wait4
    0xd400_0001, // svc #0
    0xf100_001f, // cmp x0, #0
    0x54ff_ff2c, // b.gt wait ; reaped one
    0xb100_101f, // cmn x0, #4 ; EINTR
    0x54ff_fee0, // b.eq wait
    0x9280_0000, // mov x0, #-1 ; for ECHILD: all that can be seen
    0xd280_0001, // mov x1, #0 ; no signal
    0xd280_1028, // mov x8, #129 ; kill
    0xd400_0001, // svc #0
    0xb100_0c1f, // cmn x0, #3 ; ESRCH: alone
    0x5400_0140, // b.eq leave
    0xd298_4001, // mov x1, #0xc200
    0xf2a1_7d61, // movk x1, #0xbeb, lsl #16 ; 200000000 nanoseconds
    0xa9bf_07ff, // stp xzr, x1, [sp, #-16]!
    0x9100_03e0, // mov x0, sp
    0xd280_0001, // mov x1, #0
    0xd280_0ca8, // mov x8, #101 ; nanosleep
    0xd400_0001, // svc #0
    0x9100_43ff, // add sp, sp, #16
    0x17ff_ffe8, // b wait
    0xd280_0000, // leave: mov x0, #0
    0xd280_0ba8, // mov x8, #93 ; exit
    0xd400_0001, // svc #0
];

/// Where the file is mapped: a multiple of the largest page, 64 KiB.
const BASE: u64 = 0x40_0000;
const EHDR: u16 = 64;
const PHDR: u16 = 56;
const HEADERS: u16 = EHDR + 2 * PHDR;

/// Returns the program for `arch`: an ELF file, elf(5), of less than 400 bytes that is mapped whole,
/// readable and executable, and asks for a stack that is not executable.
pub fn image(arch: Arch) -> Vec<u8> {
    const EM_X86_64: u16 = 62;
    const EM_AARCH64: u16 = 183;
    let (machine, code) = match arch {
        Arch::X86_64 => (EM_X86_64, X86_64.to_vec()),
        Arch::Aarch64 => (EM_AARCH64, AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect()),
    };
    let mut image = header(machine);
    let size = u64::from(HEADERS) + code.len() as u64;
    const PT_LOAD: u32 = 1;
    const PT_GNU_STACK: u32 = 0x6474_e551;
    const R_X: u32 = 4 | 1;
    const R_W: u32 = 4 | 2;
    image.extend(segment(PT_LOAD, R_X, BASE, size, 0x1_0000));
    // Without this, older kernels make every readable page executable.
    image.extend(segment(PT_GNU_STACK, R_W, 0, 0, 16));
    image.extend(code);
    image
}

fn header(machine: u16) -> Vec<u8> {
    const ET_EXEC: u16 = 2;
    let mut header = b"\x7fELF\x02\x01\x01".to_vec(); // 64 bits, little-endian, version 1.
    header.resize(16, 0);
    for half in [ET_EXEC, machine, 1, 0] {
        header.extend(half.to_le_bytes()); // With the version, a word.
    }
    for address in [BASE + u64::from(HEADERS), u64::from(EHDR), 0] {
        header.extend(address.to_le_bytes()); // Entry, program headers, section headers.
    }
    for half in [0, 0, EHDR, PHDR, 2, 0, 0, 0] {
        header.extend(half.to_le_bytes()); // Flags, sizes and numbers of the headers.
    }
    header
}

fn segment(kind: u32, flags: u32, address: u64, size: u64, align: u64) -> Vec<u8> {
    let mut segment = kind.to_le_bytes().to_vec();
    segment.extend(flags.to_le_bytes());
    for value in [0, address, address, size, size, align] {
        segment.extend(value.to_le_bytes());
    }
    segment
}

/// Returns a file in memory with the program for this machine, sealed against every change and
/// close-on-exec, for execveat(2): memfd_create(2).
///
/// `EACCES`: the sysctl `vm.memfd_noexec` is 2.
pub fn memfd() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match memfd_create("init", flags | MemfdFlags::EXEC) {
        // Linux before 6.3 knows no MFD_EXEC.
        Err(Errno::INVAL) => memfd_create("init", flags),
        other => other,
    }?;
    let image = image(Arch::NATIVE);
    if write(&file, &image)? != image.len() {
        return Err(Errno::IO);
    }
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}
