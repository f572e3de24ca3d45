//! What is simplified while the code is made.
//!
//! clang has optimised the program, so the code generator's own optimiser is off: it would move computations away from where
//! they were put, and step loop counters in ways that need another register and another jump. What is left is what BPF cannot
//! say: that a 32-bit register has no upper half, a rotation, a zero-extension, a product's upper half.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Type, Value, ValueDef};

use super::function::Translator;

impl Translator<'_> {
    /// The instruction that a value comes from.
    fn source(&self, value: Value) -> Option<&InstructionData> {
        let dfg = &self.builder.func.dfg;
        match dfg.value_def(value) {
            ValueDef::Result(inst, _) => Some(&dfg.insts[inst]),
            _ => None,
        }
    }

    /// The operand of the instruction that a value comes from, if it is this one.
    fn operand_of(&self, value: Value, expected: Opcode) -> Option<Value> {
        match *self.source(value)? {
            InstructionData::Unary { opcode, arg } if opcode == expected => Some(arg),
            _ => None,
        }
    }

    /// Likewise of two operands, the second of which is a constant.
    fn by_constant(&self, value: Value, expected: Opcode) -> Option<(Value, u64)> {
        match *self.source(value)? {
            InstructionData::Binary {
                opcode,
                args: [left, right],
            } if opcode == expected => Some((left, self.known(right)?)),
            _ => None,
        }
    }

    /// The number that a value is.
    pub(super) fn known(&self, value: Value) -> Option<u64> {
        match *self.source(value)? {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                imm,
            } => Some(imm.bits().cast_unsigned()),
            _ => None,
        }
    }

    /// The low bits of a 64-bit value.
    pub(super) fn narrowed(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            return value;
        }
        for extension in [Opcode::Uextend, Opcode::Sextend] {
            if let Some(narrow) = self.operand_of(value, extension)
                && self.builder.func.dfg.value_type(narrow) == ty
            {
                return narrow;
            }
        }
        match self.known(value) {
            Some(number) => self.constant(ty, number.cast_signed()),
            None => self.builder.ins().ireduce(ty, value),
        }
    }

    /// A narrow value as one of 64 bits, with zeroes above.
    pub(super) fn zero_extended(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            return value;
        }
        if let Some(number) = self.known(value) {
            return self.constant(I64, number.cast_signed());
        }
        if let Some(wide) = self.operand_of(value, Opcode::Ireduce)
            && ty == I32
            && self.has_no_upper_half(wide)
        {
            return wide;
        }
        self.builder.ins().uextend(I64, value)
    }

    fn has_no_upper_half(&self, value: Value) -> bool {
        match self.source(value) {
            Some(InstructionData::Unary {
                opcode: Opcode::Uextend,
                ..
            }) => true,
            Some(InstructionData::Load { opcode, .. }) => {
                matches!(opcode, Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32)
            }
            _ => false,
        }
    }

    /// Whether two values are the same, or the low bits of the same.
    fn same(&self, a: Value, b: Value) -> bool {
        let whole = |value| self.operand_of(value, Opcode::Ireduce).unwrap_or(value);
        a == b || whole(a) == whole(b)
    }

    /// `left + right`: one addition, if two are of constants.
    pub(super) fn sum(&mut self, left: Value, right: Value, ty: Type) -> Value {
        let (value, right) = match (self.by_constant(left, Opcode::Iadd), self.known(right)) {
            (Some((value, first)), Some(second)) => {
                let both = first.wrapping_add(second).cast_signed();
                (value, self.constant(ty, both))
            }
            _ => (left, right),
        };
        match self.known(right) {
            Some(0) => value,
            _ => self.builder.ins().iadd(value, right),
        }
    }

    /// `left | right`: a rotation, if these are the two parts of one.
    pub(super) fn or(&mut self, left: Value, right: Value, ty: Type) -> Value {
        for (up, down) in [(left, right), (right, left)] {
            if let (Some((high, by)), Some((low, rest))) =
                (self.by_constant(up, Opcode::Ishl), self.by_constant(down, Opcode::Ushr))
                && self.same(high, low)
                && by + rest == u64::from(ty.bits())
            {
                return self.builder.ins().rotl_imm_u(high, by.cast_signed());
            }
        }
        self.builder.ins().bor(left, right)
    }

    /// `value << 32 >> 32`, either way: an extension of the low half.
    pub(super) fn extension(&mut self, left: Value, right: Value, signed: bool) -> Option<Value> {
        let (value, 32) = self.by_constant(left, Opcode::Ishl)? else {
            return None;
        };
        if self.known(right)? != 32 || self.builder.func.dfg.value_type(value) != I64 {
            return None;
        }
        let low = self.narrowed(value, I32);
        Some(match signed {
            true => self.builder.ins().sextend(I64, low),
            false => self.zero_extended(low, I32),
        })
    }

    /// `value / divisor`, unsigned, without dividing, for a divisor other than 0.
    pub(super) fn divided(&mut self, value: Value, divisor: u64, ty: Type) -> Value {
        if divisor.is_power_of_two() {
            return self
                .builder
                .ins()
                .ushr_imm_u(value, i64::from(divisor.trailing_zeros()));
        }
        if ty == I32 {
            // With m = 2^64 / d, rounded up, the product's upper half is off by less than value / 2^64 * d / d < 1 / d.
            let wide = self.zero_extended(value, I32);
            let factor = self.constant(I64, (u64::MAX / divisor + 1).cast_signed());
            let quotient = self.builder.ins().umulhi(wide, factor);
            return self.narrowed(quotient, I32);
        }
        // Granlund and Montgomery, "Division by Invariant Integers using Multiplication", figure 4.1: the factor has 65
        // bits, of which the first is added by hand.
        let shift = 64 - (divisor - 1).leading_zeros();
        let above = (1u128 << shift) - u128::from(divisor);
        let factor = ((above << 64) / u128::from(divisor)) as u64 + 1;
        let factor = self.constant(I64, factor.cast_signed());
        let upper = self.builder.ins().umulhi(value, factor);
        let rest = self.builder.ins().isub(value, upper);
        let half = self.builder.ins().ushr_imm_u(rest, 1);
        let sum = self.builder.ins().iadd(upper, half);
        self.builder.ins().ushr_imm_u(sum, i64::from(shift - 1))
    }
}
