//! The integration tests: one binary, so that it is linked once; one module for each concern.

/// A jail's root tries to get out.
mod escape;
/// The lab itself: it is a machine of its own, and notices what is left behind.
mod lab;
/// How the tests of jails speak to the product.
mod shell;

/// Jails are made.
mod create;
/// Jails are removed and renamed.
mod remove;
