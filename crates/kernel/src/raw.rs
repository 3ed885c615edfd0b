//! A system call without errno, thread-local storage or allocator, for code that runs between clone3 and exec.

use std::arch::asm;

/// Makes a system call. Returns what the kernel returned: a value, or the negative error number.
///
/// # Safety
/// The arguments must be valid for the call: pointers live and of the right type for as long as the kernel
/// uses them.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn syscall(number: u32, a: [usize; 6]) -> isize {
    let returned: isize;
    // SAFETY: the caller vouches for the arguments; the kernel clobbers rcx and r11 alone.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => returned,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack),
        );
    }
    returned
}

/// Makes a system call. Returns what the kernel returned: a value, or the negative error number.
///
/// # Safety
/// The arguments must be valid for the call: pointers live and of the right type for as long as the kernel
/// uses them.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn syscall(number: u32, a: [usize; 6]) -> isize {
    let returned: isize;
    // SAFETY: the caller vouches for the arguments; the kernel preserves all registers but x0.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") a[0] => returned,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack),
        );
    }
    returned
}

/// The argument of clone3(2), Linux 5.7.
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(crate) struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 88);

/// clone3(2) with a stack of the child's own, on which it calls `entry(argument)`. Returns the child's pid to
/// the parent, or the negative error number.
///
/// # Safety
/// `args.stack` is memory that nothing else uses until the child has ended or called exec; `entry` does not
/// return and, where the address space is shared, neither allocates, panics nor touches thread-local storage.
pub(crate) unsafe fn clone3(args: &CloneArgs, entry: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let call = [(args as *const CloneArgs) as usize, size_of::<CloneArgs>(), 0, 0, 0];
    // SAFETY: passed on to the caller, whose arguments these are.
    unsafe { start(linux_raw_sys::general::__NR_clone3, call, entry, argument) }
}

/// clone(2) with a stack of the child's own: for what was filtered and has no clone3(2), whose arguments a
/// filter cannot see. Namespaces and a cgroup are not to be had with it.
///
/// # Safety
/// As [`clone3`].
pub(crate) unsafe fn clone(args: &CloneArgs, entry: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let flags = (args.flags | args.exit_signal) as usize;
    let top = (args.stack + args.stack_size) as usize;
    // The pidfd comes where the parent's copy of the pid would.
    let (pidfd, tid) = (args.pidfd as usize, args.child_tid as usize);
    let call =
        if cfg!(target_arch = "x86_64") { [flags, top, pidfd, tid, 0] } else { [flags, top, pidfd, 0, tid] };
    // SAFETY: passed on to the caller, whose arguments these are.
    unsafe { start(linux_raw_sys::general::__NR_clone, call, entry, argument) }
}
/// The system call of a clone, in whose child `entry(argument)` is called on the new stack.
///
/// # Safety
/// As [`clone3`].
#[cfg(target_arch = "x86_64")]
unsafe fn start(number: u32, call: [usize; 5], entry: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let returned: isize;
    // SAFETY: the child starts on its own stack, aligned by the caller, with the registers of this place: it
    // takes the branch that never comes back here.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") number as isize => returned,
            in("rdi") call[0], in("rsi") call[1], in("rdx") call[2], in("r10") call[3], in("r8") call[4],
            in("r12") argument, in("r13") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    returned
}

/// The system call of a clone, in whose child `entry(argument)` is called on the new stack.
///
/// # Safety
/// As [`clone3`].
#[cfg(target_arch = "aarch64")]
unsafe fn start(number: u32, call: [usize; 5], entry: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let returned: isize;
    // SAFETY: the child starts on its own stack, aligned by the caller, with the registers of this place: it
    // takes the branch that never comes back here.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") number as usize,
            inlateout("x0") call[0] => returned,
            in("x1") call[1], in("x2") call[2], in("x3") call[3], in("x4") call[4],
            in("x20") argument, in("x21") entry,
        );
    }
    returned
}
