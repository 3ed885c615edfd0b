//! Shapes of ioctl(2) that rustix has no pattern for: an answer in the return value.

use std::ffi::{c_int, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::null_mut;

use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// `_IO(0xb7, number)`: a request to a namespace, ioctl_nsfs(2).
pub(crate) const fn nsfs(number: u8) -> Opcode {
    opcode::none(0xb7, number)
}

/// `_IO(0xff, number)`: a request to a pidfd, ioctl_pidfd(2).
pub(crate) const fn pidfs(number: u8) -> Opcode {
    opcode::none(0xff, number)
}

/// A request without argument that returns a new file descriptor.
pub(crate) struct NewFd(Opcode);

impl NewFd {
    /// # Safety
    ///
    /// `request` must take no argument and return a new file descriptor.
    pub(crate) const unsafe fn new(request: Opcode) -> Self {
        Self(request)
    }
}

// SAFETY: no pointer is passed, and the output is the descriptor that `new` was promised.
unsafe impl Ioctl for NewFd {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.0
    }

    fn as_ptr(&mut self) -> *mut c_void {
        null_mut()
    }

    unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut c_void) -> Result<OwnedFd> {
        // SAFETY: the kernel made this descriptor for this call; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// A request without argument that returns a number.
pub(crate) struct Number(Opcode);

impl Number {
    /// # Safety
    ///
    /// `request` must take no argument and return a number.
    pub(crate) const unsafe fn new(request: Opcode) -> Self {
        Self(request)
    }
}

// SAFETY: no pointer is passed.
unsafe impl Ioctl for Number {
    type Output = c_int;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.0
    }

    fn as_ptr(&mut self) -> *mut c_void {
        null_mut()
    }

    unsafe fn output_from_ptr(number: IoctlOutput, _: *mut c_void) -> Result<c_int> {
        Ok(number)
    }
}

/// A request whose argument is a `T` that the kernel reads and fills in.
pub(crate) struct Exchange<T>(Opcode, T);

impl<T: Copy> Exchange<T> {
    /// # Safety
    ///
    /// `request` must read and write no more than a `T`, and any bytes it writes must be a valid `T`.
    pub(crate) const unsafe fn new(request: Opcode, argument: T) -> Self {
        Self(request, argument)
    }
}

// SAFETY: the pointer is to a `T` that lives as long as the call; `new` was promised that it fits.
unsafe impl<T: Copy> Ioctl for Exchange<T> {
    type Output = (IoctlOutput, T);
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.0
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.1).cast()
    }

    unsafe fn output_from_ptr(value: IoctlOutput, argument: *mut c_void) -> Result<Self::Output> {
        // SAFETY: `argument` is what `as_ptr` returned.
        Ok((value, unsafe { *argument.cast::<T>() }))
    }
}
