//! The integration tests: one binary, so that it is linked once; one module for each concern.

/// Privileges of a jail.
mod allow;
/// Cables between jails.
mod boot;
mod cable;
/// Jails in the host's network stack.
mod classic;
/// A jail's root tries to get out.
mod escape;
/// Virtual machines on a segment.
mod guest;
/// A store of a test's own.
mod house;
/// The lab itself: it is a machine of its own, and notices what is left behind.
mod lab;
/// How the tests of jails speak to the product.
mod shell;

/// What is left over, and what was made and freed.
mod audit;
/// What is refused.
mod bad_input;
/// Jails are changed.
mod change;
/// Jails of a configuration.
mod configured;
/// Hosts and moments out of the ordinary.
mod corners;
/// Commands are killed, or fail, at every point of their way.
mod crash;
/// Jails are made.
mod create;
/// Records are damaged.
mod damage;
/// Which devices a jail has.
mod devices;
/// Who keeps a removed jail from being gone.
mod holders;
/// Interfaces of others come home.
mod home;
/// Commands around a jail's life.
mod hooks;
/// Jails that jails make.
mod inside;
/// Interprocess communication, System V's and POSIX's.
mod ipc;
/// What is not ours is kept.
mod keep;
/// Limits.
mod limits;
/// Many jails.
mod many;
/// Strings that go with a jail.
mod member;
mod meta;
/// Jails in jails.
mod nested;
/// What connects jails with each other and with the world.
mod net;
/// What people see.
mod parallel;
/// What people see.
mod people;
/// PostgreSQL, the job that System V IPC of a jail's own is for.
mod postgres;
mod published;
/// Rules that limit what jails use.
mod rctl;
/// Jails are removed and renamed.
mod remove;
/// Segments of many links.
mod segment;
/// File trees.
mod trees;
/// nginx, reached from the host and from other jails.
mod web;
