//! Instructions put one behind the other, with jumps to places that are known later.

use crate::instruction::{Instruction, Register};

/// A place in a program that is jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// A program being written.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    /// Which instruction jumps where.
    jumps: Vec<(usize, Label)>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
}

impl Assembler {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an instruction.
    pub fn push(&mut self, instruction: Instruction) -> &mut Self {
        self.code.push(instruction);
        self
    }

    /// A label whose place is not known yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub fn place(&mut self, label: Label) -> &mut Self {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.code.len());
        }
        self
    }

    /// Appends a jump to a label, which is taken if the register has that value.
    pub fn jump_if_equal(&mut self, register: Register, value: i32, to: Label) -> &mut Self {
        self.jump_by(Instruction::jump_if_equal(register, value, 0), to)
    }

    /// Appends a jump to a label, which is taken if the lower 32 bits of the register have that value.
    pub fn jump_if_word_equal(&mut self, register: Register, value: i32, to: Label) -> &mut Self {
        self.jump_by(Instruction::jump_if_word_equal(register, value, 0), to)
    }

    /// Appends a jump to a label, which is taken if the lower 32 bits of the register have another value.
    pub fn jump_unless_word_equal(&mut self, register: Register, value: i32, to: Label) -> &mut Self {
        self.jump_by(Instruction::jump_unless_word_equal(register, value, 0), to)
    }

    /// Appends a jump to a label, which is taken if the register has more than the other, without sign.
    pub fn jump_if_greater(&mut self, register: Register, other: Register, to: Label) -> &mut Self {
        self.jump_by(Instruction::jump_if_greater(register, other, 0), to)
    }

    /// Appends a jump to a label, which is always taken.
    pub fn jump(&mut self, to: Label) -> &mut Self {
        self.jump_by(Instruction::jump(0), to)
    }

    /// Appends a jump, to be sent to a label.
    fn jump_by(&mut self, jump: Instruction, to: Label) -> &mut Self {
        self.jumps.push((self.code.len(), to));
        self.push(jump)
    }

    /// The bytes of the program. `None`: a label that is jumped to was never placed, or is too far from a jump.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<[u8; 8]>> {
        for (at, label) in self.jumps {
            let place = isize::try_from((*self.labels.get(label.0)?)?).ok()?;
            // The processor has gone on to the next instruction when it jumps.
            let distance = place - isize::try_from(at).ok()? - 1;
            let jump = &mut self.code[at];
            *jump = jump.at(distance.try_into().ok()?);
        }
        Some(self.code.into_iter().map(Instruction::bytes).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::Register::{R0, R1};

    #[test]
    fn jumps_go_forward_and_back_to_where_the_label_is() {
        let mut program = Assembler::new();
        let (start, end) = (program.label(), program.label());
        program
            .place(start)
            .jump_if_equal(R1, 0, end)
            .jump_if_equal(R1, 1, start)
            .push(Instruction::set(R0, 0));
        program.place(end).push(Instruction::exit());
        let wanted = [
            Instruction::jump_if_equal(R1, 0, 2),
            Instruction::jump_if_equal(R1, 1, -2),
            Instruction::set(R0, 0),
            Instruction::exit(),
        ];
        assert_eq!(program.finish().unwrap(), wanted.map(Instruction::bytes));
    }

    #[test]
    fn jumps_of_all_kinds_find_their_label() {
        let mut program = Assembler::new();
        let end = program.label();
        program.jump(end).jump_if_word_equal(R1, 7, end).jump_unless_word_equal(R1, 8, end);
        program.place(end).push(Instruction::exit());
        let wanted = [
            Instruction::jump(2),
            Instruction::jump_if_word_equal(R1, 7, 1),
            Instruction::jump_unless_word_equal(R1, 8, 0),
            Instruction::exit(),
        ];
        assert_eq!(program.finish().unwrap(), wanted.map(Instruction::bytes));
    }

    #[test]
    fn a_jump_to_nowhere_or_too_far_is_no_program() {
        let mut program = Assembler::new();
        let nowhere = program.label();
        program.jump_if_equal(R1, 0, nowhere);
        assert_eq!(program.finish(), None);

        for (far, fits) in [(32_767, true), (32_768, false)] {
            let mut program = Assembler::new();
            let end = program.label();
            program.jump_if_equal(R1, 0, end);
            for _ in 0..far {
                program.push(Instruction::exit());
            }
            program.place(end).push(Instruction::exit());
            assert_eq!(program.finish().is_some(), fits, "{far}");
        }
    }
}
