//! One instruction and its bytes: Documentation/bpf/standardization/instruction-set.rst of the kernel.

/// A register: `R0` has what a call or the program returns, `R1` to `R5` have arguments and are lost in a call,
/// `R6` to `R9` survive it, and `R10` is the end of the stack, which grows down from there.
#[allow(missing_docs)] // They are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much is loaded or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte,
    /// Two bytes.
    Half,
    /// Four bytes.
    Word,
    /// Eight bytes.
    Double,
}

impl Size {
    /// The size of so many bytes, if there is one.
    #[must_use]
    pub const fn of(bytes: u32) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Half),
            4 => Some(Self::Word),
            8 => Some(Self::Double),
            _ => None,
        }
    }

    /// The bits of the operation code.
    const fn bits(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    to: Register,
    from: Register,
    offset: i16,
    immediate: i32,
}

// Classes of instructions, and the mode `MEM` of those for memory.
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const ALU64: u8 = 0x07;
const MEM: u8 = 0x60;
/// The operand is `from` and not the immediate.
const X: u8 = 0x08;

use Register::R0;

impl Instruction {
    /// `to = *(size *)(from + offset)`, without sign.
    #[must_use]
    pub const fn load(size: Size, to: Register, from: Register, offset: i16) -> Self {
        Self { code: MEM | size.bits() | LDX, to, from, offset, immediate: 0 }
    }

    /// `*(size *)(to + offset) = from`.
    #[must_use]
    pub const fn store(size: Size, to: Register, offset: i16, from: Register) -> Self {
        Self { code: MEM | size.bits() | STX, to, from, offset, immediate: 0 }
    }

    /// `*(size *)(to + offset) = value`.
    #[must_use]
    pub const fn store_value(size: Size, to: Register, offset: i16, value: i32) -> Self {
        Self { code: MEM | size.bits() | ST, to, from: R0, offset, immediate: value }
    }

    /// `to = from`, all 64 bits.
    #[must_use]
    pub const fn copy(to: Register, from: Register) -> Self {
        Self { code: 0xb0 | X | ALU64, to, from, offset: 0, immediate: 0 }
    }

    /// `to = value`, extended by its sign to 64 bits.
    #[must_use]
    pub const fn set(to: Register, value: i32) -> Self {
        Self { code: 0xb0 | ALU64, to, from: R0, offset: 0, immediate: value }
    }

    /// `to += value`, in 64 bits.
    #[must_use]
    pub const fn add(to: Register, value: i32) -> Self {
        Self { code: ALU64, to, from: R0, offset: 0, immediate: value }
    }

    /// `to = from`, the lower 32 bits; the upper ones become 0, as in all that is done with words.
    #[must_use]
    pub const fn copy_word(to: Register, from: Register) -> Self {
        Self { code: 0xb0 | X | ALU, to, from, offset: 0, immediate: 0 }
    }

    /// `to = value`, in 32 bits.
    #[must_use]
    pub const fn set_word(to: Register, value: i32) -> Self {
        Self { code: 0xb0 | ALU, to, from: R0, offset: 0, immediate: value }
    }

    /// `to |= from`, in 32 bits.
    #[must_use]
    pub const fn or_word(to: Register, from: Register) -> Self {
        Self { code: 0x40 | X | ALU, to, from, offset: 0, immediate: 0 }
    }

    /// `to &= value`, in 32 bits.
    #[must_use]
    pub const fn and_word(to: Register, value: i32) -> Self {
        Self { code: 0x50 | ALU, to, from: R0, offset: 0, immediate: value }
    }

    /// `to ^= value`, in 32 bits.
    #[must_use]
    pub const fn xor_word(to: Register, value: i32) -> Self {
        Self { code: 0xa0 | ALU, to, from: R0, offset: 0, immediate: value }
    }

    /// Goes on `offset` instructions behind the next.
    #[must_use]
    pub const fn jump(offset: i16) -> Self {
        Self { code: JMP, to: R0, from: R0, offset, immediate: 0 }
    }

    /// `if register == value`, by the lower 32 bits, goes on `offset` instructions behind the next. Linux 5.1.
    #[must_use]
    pub const fn jump_if_word_equal(register: Register, value: i32, offset: i16) -> Self {
        Self { code: 0x10 | JMP32, to: register, from: R0, offset, immediate: value }
    }

    /// `if register != value`, by the lower 32 bits, goes on `offset` instructions behind the next. Linux 5.1.
    #[must_use]
    pub const fn jump_unless_word_equal(register: Register, value: i32, offset: i16) -> Self {
        Self { code: 0x50 | JMP32, to: register, from: R0, offset, immediate: value }
    }

    /// `if register == value`, goes on `offset` instructions behind the next.
    #[must_use]
    pub const fn jump_if_equal(register: Register, value: i32, offset: i16) -> Self {
        Self { code: 0x10 | JMP, to: register, from: R0, offset, immediate: value }
    }

    /// `if register > other`, without sign, goes on `offset` instructions behind the next.
    #[must_use]
    pub const fn jump_if_greater(register: Register, other: Register, offset: i16) -> Self {
        Self { code: 0x20 | X | JMP, to: register, from: other, offset, immediate: 0 }
    }

    /// Calls a helper of the kernel by its number: bpf-helpers(7), `enum bpf_func_id` of linux/bpf.h.
    #[must_use]
    pub const fn call(helper: i32) -> Self {
        Self { code: 0x80 | JMP, to: R0, from: R0, offset: 0, immediate: helper }
    }

    /// Ends the program with the value in `R0`.
    #[must_use]
    pub const fn exit() -> Self {
        Self { code: 0x90 | JMP, to: R0, from: R0, offset: 0, immediate: 0 }
    }

    /// The instruction with another offset.
    pub(crate) const fn at(self, offset: i16) -> Self {
        Self { offset, ..self }
    }

    /// Its eight bytes as the kernel of this machine reads them.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        let (to, from) = (self.to as u8, self.from as u8);
        // They are bit fields, which begin at the other end on a machine of the other byte order.
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_ne_bytes();
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::{Register::*, *};

    #[test]
    fn bytes_are_those_of_the_instruction_set() {
        for (instruction, bytes) in [
            (Instruction::load(Size::Byte, R1, R2, 3), [0x71, 0x21, 3, 0, 0, 0, 0, 0]),
            (Instruction::load(Size::Half, R1, R2, 3), [0x69, 0x21, 3, 0, 0, 0, 0, 0]),
            (Instruction::load(Size::Word, R1, R2, 3), [0x61, 0x21, 3, 0, 0, 0, 0, 0]),
            (Instruction::load(Size::Double, R9, R10, -8), [0x79, 0xa9, 0xf8, 0xff, 0, 0, 0, 0]),
            (Instruction::jump_if_greater(R1, R2, 5), [0x2d, 0x21, 5, 0, 0, 0, 0, 0]),
            (Instruction::store(Size::Word, R10, -4, R3), [0x63, 0x3a, 0xfc, 0xff, 0, 0, 0, 0]),
            (Instruction::store(Size::Double, R10, -16, R0), [0x7b, 0x0a, 0xf0, 0xff, 0, 0, 0, 0]),
            (Instruction::store_value(Size::Word, R10, -12, 7), [0x62, 0x0a, 0xf4, 0xff, 7, 0, 0, 0]),
            (Instruction::copy(R6, R1), [0xbf, 0x16, 0, 0, 0, 0, 0, 0]),
            (Instruction::set(R3, 0x0102_0304), [0xb7, 0x03, 0, 0, 4, 3, 2, 1]),
            (Instruction::add(R2, -32), [0x07, 0x02, 0, 0, 0xe0, 0xff, 0xff, 0xff]),
            (Instruction::copy_word(R6, R1), [0xbc, 0x16, 0, 0, 0, 0, 0, 0]),
            (Instruction::set_word(R3, 0x0102_0304), [0xb4, 0x03, 0, 0, 4, 3, 2, 1]),
            (Instruction::or_word(R3, R4), [0x4c, 0x43, 0, 0, 0, 0, 0, 0]),
            (Instruction::and_word(R3, -2), [0x54, 0x03, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
            (Instruction::xor_word(R3, 7), [0xa4, 0x03, 0, 0, 7, 0, 0, 0]),
            (Instruction::jump(-2), [0x05, 0, 0xfe, 0xff, 0, 0, 0, 0]),
            (Instruction::jump_if_word_equal(R7, -1, 2), [0x16, 0x07, 2, 0, 0xff, 0xff, 0xff, 0xff]),
            (Instruction::jump_unless_word_equal(R7, 1, 2), [0x56, 0x07, 2, 0, 1, 0, 0, 0]),
            (Instruction::jump_if_equal(R7, 0, 258), [0x15, 0x07, 2, 1, 0, 0, 0, 0]),
            (Instruction::call(127), [0x85, 0, 0, 0, 127, 0, 0, 0]),
            (Instruction::exit(), [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(instruction.bytes(), bytes, "{instruction:?}");
        }
    }

    #[test]
    fn a_size_has_a_power_of_two_of_bytes() {
        let sizes = [1, 2, 4, 8].map(|bytes| Size::of(bytes).unwrap());
        assert_eq!(sizes, [Size::Byte, Size::Half, Size::Word, Size::Double]);
        assert!([0, 3, 16].into_iter().all(|bytes| Size::of(bytes).is_none()));
    }
}
