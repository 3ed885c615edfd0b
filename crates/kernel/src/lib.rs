//! System calls that rustix lacks, and the small machines that are built from them.
//!
//! The one crate with `unsafe`: a function makes one system call, takes borrowed file descriptors and
//! returns owned ones. What rustix has is used from there and not wrapped again. Errors are the kernel's
//! ([`rustix::io::Errno`]): saying what was being done is the caller's part.

pub mod act;
pub mod affinity;
pub mod below;
pub mod bpf;
pub mod capability;
pub mod clock;
mod errno;
pub mod fork;
pub mod init;
mod ioctl;
pub mod kcmp;
pub mod limit;
pub mod mount;
pub mod namespace;
pub mod pidfd;
pub mod probe;
mod raw;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod start;
pub mod step;
