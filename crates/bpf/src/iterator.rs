//! Programs that the kernel runs once for each thing of a kind, when what they write is read.

use std::{ffi::CStr, os::fd::OwnedFd};

use kernel::bpf::{Program, iter_create, link_create};
use rustix::io::{Errno, read};

use crate::{
    btf::Id,
    program::load,
    unavailable::{Result, Unavailable},
};

/// A program at its iterator; it is gone from the kernel when this is dropped.
#[derive(Debug)]
pub(crate) struct Attached(OwnedFd);

impl Attached {
    /// Loads a program for the iterator with this id among the kernel's types.
    pub(crate) fn load(of: Id, name: &CStr, code: &[[u8; 8]]) -> Result<Self> {
        const BPF_PROG_TYPE_TRACING: u32 = 26;
        const BPF_TRACE_ITER: u32 = 28;
        let program = Program {
            kind: BPF_PROG_TYPE_TRACING,
            attach: BPF_TRACE_ITER,
            attach_btf_id: of,
            name,
            // Ours, in the words by which the kernel lets a program read its structures.
            license: c"Dual BSD/GPL",
            code,
        };
        let program = load(&program)?;
        Ok(Self(link_create(program, BPF_TRACE_ITER).map_err(Unavailable::Failed)?))
    }

    /// Runs the program for each thing that there is. Returns all that it writes.
    pub(crate) fn run(&self) -> Result<Vec<u8>> {
        let output = iter_create(&self.0).map_err(Unavailable::Failed)?;
        let mut all = Vec::new();
        loop {
            // The kernel hands out 32 KiB at a time.
            all.reserve(1 << 16);
            match read(&output, rustix::buffer::spare_capacity(&mut all)) {
                Ok(0) => return Ok(all),
                // It has gone through a million things for which nothing was written, and will go on from there.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(Unavailable::Failed(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        btf::{self, Btf, Kind},
        instruction::Instruction,
    };

    #[test]
    fn a_refusal_says_what_the_verifier_says() {
        let Ok(bytes) = btf::of_kernel() else { return println!("SKIP a_refusal: no types") };
        let [target] = Btf::parse(&bytes).unwrap().find([(Kind::Function, "bpf_iter_task_file")]);
        let Some(target) = target else { return println!("SKIP a_refusal: no such iterator") };
        let code = [Instruction::exit().bytes()];
        match Attached::load(target, c"wrong", &code).unwrap_err() {
            Unavailable::Refused { errno: Errno::PERM | Errno::NOSYS, .. } => {
                println!("SKIP a_refusal: not allowed");
            }
            Unavailable::Refused { log, .. } => assert!(log.contains("R0 !read_ok"), "{log}"),
            error => panic!("{error}"),
        }
    }
}
