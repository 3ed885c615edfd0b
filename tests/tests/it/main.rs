//! The integration tests: one binary, so that it is linked once; one module for each concern.

/// Interprocess communication, System V's and POSIX's.
mod ipc;
/// The lab itself: it is a machine of its own, and notices what is left behind.
mod lab;
/// What connects jails with each other and with the world.
mod net;
/// PostgreSQL, the job that System V IPC of a jail's own is for.
mod postgres;
/// nginx, reached from the host and from other jails.
mod web;
