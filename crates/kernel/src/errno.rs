//! The result of a C library's system call wrapper as the crate's `Result`.

use libc::c_long;
use rustix::io::{Errno, Result};

/// Returns `value`, or the calling thread's `errno` when `value` is -1.
pub(crate) fn check(value: impl Into<c_long>) -> Result<usize> {
    usize::try_from(value.into())
        .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
