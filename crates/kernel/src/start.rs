//! How a tool starts: from the C runtime at once.
//!
//! What the standard library does first for every Rust program takes a tenth of a tool's start, most of it to find the
//! limits of a stack that nobody overflows (it reads /proc/self/maps). What of it matters is in [`begin`].

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_getfd};
use rustix::stdio;

use crate::signal;

/// Makes a program's `main` of an expression that is its status, exit(3): `kernel::main!(run())`.
///
/// The program needs `#![no_main]`. Unlike with the standard library's own `main`, nothing that was printed by `print!`
/// is flushed at the end.
#[macro_export]
macro_rules! main {
    ($status:expr) => {
        // SAFETY: the one `main` of the program, with the C ABI and a signature that C knows.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> i32 {
            $crate::start::begin();
            let status: u8 = $status;
            i32::from(status)
        }
    };
}

/// Makes sure of what every Rust program counts on: standard input, output and error are open, so that no other file
/// gets one of their numbers; a write to a pipe that nobody reads fails, and does not kill.
pub fn begin() {
    for stream in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
        if fcntl_getfd(stream) == Err(Errno::BADF) {
            let Ok(null) = open("/dev/null", OFlags::RDWR, Mode::empty()) else { std::process::abort() };
            // The lowest number that is free: that of the stream.
            std::mem::forget(null);
        }
    }
    signal::ignore_broken_pipes();
    keep_memory();
}

/// mallopt(3): memory is asked for in large pieces, and kept. A tool ends soon; what it gives back meanwhile it would
/// soon take again, page by page.
fn keep_memory() {
    const PIECE: i32 = 512 << 10;
    const KEPT: i32 = 64 << 20;
    /// The most that it takes. By itself it would adapt, but not any more when others are set.
    const LARGE: i32 = 32 << 20;
    let numbers = [(libc::M_TOP_PAD, PIECE), (libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, LARGE)];
    for (what, bytes) in numbers {
        // SAFETY: it sets a number of the allocator, and nothing else runs yet.
        unsafe { libc::mallopt(what, bytes) };
    }
}
