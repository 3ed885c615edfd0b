//! The tool jail.

#![no_main]

kernel::main!(cli::status(&[]));
