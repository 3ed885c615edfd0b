//! The tool rctl.

#![no_main]

kernel::main!(cli::status(&[]));
