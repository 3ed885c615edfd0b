//! Pieces that all programs are made of.

use rustix::io::Errno;

use super::{
    context::SET_RETVAL,
    rule::{Net, Own},
};
use crate::{
    assembler::{Assembler, Label},
    instruction::{
        Instruction,
        Register::{self, R0, R1, R6},
        Size,
    },
};

/// How a program refuses a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// With the number of an error: Linux 5.18.
    Errno,
    /// So that it is `EPERM`.
    Plain,
}

/// A program being written. `R6` has its context, `R0` and `R1` are lost in each piece.
#[derive(Debug)]
pub(super) struct Code {
    program: Assembler,
    refusal: Refusal,
}

impl Code {
    pub(super) fn new(refusal: Refusal) -> Self {
        let mut program = Assembler::new();
        program.push(Instruction::copy(R6, R1));
        Self { program, refusal }
    }

    /// The bytes of the program.
    pub(super) fn finish(self) -> Vec<[u8; 8]> {
        // The longest, with 255 addresses of each family, is a third as long as a jump is far.
        self.program.finish().expect("a label that was not placed, or is too far")
    }

    pub(super) fn label(&mut self) -> Label {
        self.program.label()
    }

    pub(super) fn place(&mut self, label: Label) -> &mut Self {
        self.program.place(label);
        self
    }

    pub(super) fn push(&mut self, instruction: Instruction) -> &mut Self {
        self.program.push(instruction);
        self
    }

    pub(super) fn jump(&mut self, to: Label) -> &mut Self {
        self.program.jump(to);
        self
    }

    pub(super) fn jump_if(&mut self, word: Register, value: i32, to: Label) -> &mut Self {
        self.program.jump_if_word_equal(word, value, to);
        self
    }

    pub(super) fn jump_unless(&mut self, word: Register, value: i32, to: Label) -> &mut Self {
        self.program.jump_unless_word_equal(word, value, to);
        self
    }

    pub(super) fn jump_if_greater(&mut self, register: Register, other: Register, to: Label) -> &mut Self {
        self.program.jump_if_greater(register, other, to);
        self
    }

    /// Loads words that are one behind the other.
    pub(super) fn load(&mut self, words: &[Register], from: Register, at: i16) -> &mut Self {
        for (word, at) in words.iter().zip((at..).step_by(4)) {
            self.push(Instruction::load(Size::Word, *word, from, at));
        }
        self
    }

    /// Stores words one behind the other.
    pub(super) fn put(&mut self, words: &[i32], to: Register, at: i16) -> &mut Self {
        for (word, at) in words.iter().zip((at..).step_by(4)) {
            // Not as one instruction: in a context that is allowed from Linux 6.4 on.
            self.push(Instruction::set_word(R0, *word)).push(Instruction::store(Size::Word, to, at, R0));
        }
        self
    }

    /// Goes to a label if the address is within a network.
    pub(super) fn if_within(&mut self, words: &[Register], net: &Net, yes: Label) -> &mut Self {
        self.difference(words, net).jump_if(R0, 0, yes)
    }

    /// Goes to a label if the address is not within a network.
    pub(super) fn unless_within(&mut self, words: &[Register], net: &Net, no: Label) -> &mut Self {
        self.difference(words, net).jump_unless(R0, 0, no)
    }

    /// Leaves in `R0` the bits in which the address and the network differ. So there is one jump a network: with one a
    /// word, the verifier would follow each way on from each word, over all networks.
    fn difference(&mut self, words: &[Register], net: &Net) -> &mut Self {
        let mut to = R0;
        for ((word, value), mask) in words.iter().zip(&net.address).zip(&net.mask).filter(|part| *part.1 != 0)
        {
            self.push(Instruction::copy_word(to, *word));
            if *value != 0 {
                self.push(Instruction::xor_word(to, *value));
            }
            if *mask != -1 {
                self.push(Instruction::and_word(to, *mask));
            }
            if to == R1 {
                self.push(Instruction::or_word(R0, R1));
            }
            to = R1;
        }
        if to == R0 { self.push(Instruction::set_word(R0, 0)) } else { self }
    }

    /// Goes to a label if the address is one of these.
    pub(super) fn if_one_of(&mut self, words: &[Register], mut these: Vec<&[i32]>, yes: Label) -> &mut Self {
        these.sort_unstable();
        these.dedup();
        let no = self.label();
        self.branch(words, &these, yes, no);
        self.place(no)
    }

    /// Compares word by word, so that what many addresses have in common is compared once. Goes on behind if the first
    /// word is of none, and to `no` if it is and the others are not.
    fn branch(&mut self, words: &[Register], these: &[&[i32]], yes: Label, no: Label) {
        let Some((word, others)) = words.split_first() else { return };
        for alike in these.chunk_by(|one, next| one[0] == next[0]) {
            let value = alike[0][0];
            if others.is_empty() {
                self.jump_if(*word, value, yes);
                continue;
            }
            let next = self.label();
            self.jump_unless(*word, value, next);
            let rest: Vec<&[i32]> = alike.iter().map(|address| &address[1..]).collect();
            self.branch(others, &rest, yes, no);
            self.jump(no).place(next);
        }
    }

    /// Replaces the destination of what is sent, if it is the own machine or none, by the primary address.
    pub(super) fn destination(&mut self, words: &[Register], own: &Own, at: i16) -> &mut Self {
        let (primary, stays) = (self.label(), self.label());
        self.if_within(words, &Net::any(words.len()), primary);
        self.unless_within(words, &own.loopback, stays);
        self.if_one_of(words, own.loopbacks(), stays);
        self.place(primary).put(own.primary(), R6, at).place(stays)
    }

    /// Stores the address at which something for a destination begins.
    pub(super) fn source(&mut self, words: &[Register], own: &Own, to: Register, at: i16) -> &mut Self {
        let chosen = self.label();
        for net in own.choice() {
            let next = self.label();
            self.unless_within(words, net, next).put(&net.address, to, at).jump(chosen).place(next);
        }
        self.put(own.primary(), to, at).place(chosen)
    }

    /// Ends the program with a refusal.
    pub(super) fn refuse(&mut self, errno: Errno) -> &mut Self {
        if self.refusal == Refusal::Errno {
            self.push(Instruction::set(R1, -errno.raw_os_error())).push(Instruction::call(SET_RETVAL));
        }
        self.end(0)
    }

    /// Ends the program.
    pub(super) fn end(&mut self, value: i32) -> &mut Self {
        self.push(Instruction::set(R0, value)).push(Instruction::exit())
    }
}
