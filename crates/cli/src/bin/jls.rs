//! The tool jls.

#![no_main]

kernel::main!(cli::status(&[]));
