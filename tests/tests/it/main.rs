//! The integration tests: one binary, so that it is linked once; one module for each concern.

/// Cables between jails.
mod cable;
/// The lab itself: it is a machine of its own, and notices what is left behind.
mod lab;
