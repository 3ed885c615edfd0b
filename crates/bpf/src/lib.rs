//! BPF programs: what we have the kernel run for us, from raw instructions, without a compiler.
//!
//! A program is put together by the [`Assembler`] as plain data, with the places of the kernel's fields from its
//! own [types](btf) where it looks into those. Loading needs privileges that few callers have, and a kernel that was
//! built for it: whoever asks what there is has another way, and takes any [`Unavailable`] as the word to go it. Whoever
//! [confines] a jail has none.
//!
//! [confines]: confine

mod assembler;
pub mod btf;
pub mod confine;
mod instruction;
mod iterator;
mod owners;
mod program;
mod sockets;
mod task_file;
mod unavailable;

pub use crate::{
    assembler::{Assembler, Label},
    instruction::{Instruction, Register, Size},
    owners::{OwnedFile, owners},
    sockets::{SocketFile, Sockets, sockets},
    unavailable::{Result, Unavailable},
};
