//! The tool jexec.

#![no_main]

kernel::main!(cli::status(&[]));
