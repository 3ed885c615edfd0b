//! The tool jdb.

#![no_main]

kernel::main!(cli::status(&[]));
