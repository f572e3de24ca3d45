//! Arithmetic.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use hitless_isa::{AluOp, EndOp, Operand, Reg, Width};

use super::function::Translator;
use super::{int, of_width};

impl Translator<'_> {
    pub(super) fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: Operand) {
        let ty = of_width(width);
        let right = self.operand(src, ty);
        if op == AluOp::Mov {
            return self.set_extended(dst, right, ty);
        }
        let left = self.operand(Operand::Reg(dst), ty);
        let ins = self.builder.ins();
        let result = match op {
            AluOp::Add => ins.iadd(left, right),
            AluOp::Sub => ins.isub(left, right),
            AluOp::Mul => ins.imul(left, right),
            AluOp::Or => ins.bor(left, right),
            AluOp::And => ins.band(left, right),
            AluOp::Xor => ins.bxor(left, right),
            AluOp::Lsh => ins.ishl(left, right),
            AluOp::Rsh => ins.ushr(left, right),
            AluOp::Arsh => ins.sshr(left, right),
            AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => self.divide(ty, op, left, right, src),
            AluOp::Mov => right,
        };
        self.set_extended(dst, result, ty);
    }

    /// Division of `left` by `right`, which is `operand`. The processor's own traps where BPF's has a result.
    fn divide(&mut self, ty: Type, op: AluOp, left: Value, right: Value, operand: Operand) -> Value {
        let signed = matches!(op, AluOp::SDiv | AluOp::SMod);
        let quotient = matches!(op, AluOp::Div | AluOp::SDiv);
        let zero = self.builder.ins().iconst(ty, 0);
        let one = self.builder.ins().iconst(ty, 1);
        // What dividing by zero and by -1 yields.
        let by_zero = if quotient { zero } else { left };
        let by_minus_one = if quotient { self.builder.ins().ineg(left) } else { zero };
        let divide = |translator: &mut Self, right| {
            let ins = translator.builder.ins();
            match op {
                AluOp::Div => ins.udiv(left, right),
                AluOp::SDiv => ins.sdiv(left, right),
                AluOp::Mod => ins.urem(left, right),
                _ => ins.srem(left, right),
            }
        };
        match operand {
            Operand::Imm(0) => by_zero,
            Operand::Imm(-1) if signed => by_minus_one,
            Operand::Imm(_) => divide(self, right),
            Operand::Reg(_) => {
                let is_zero = self.builder.ins().icmp_imm_s(IntCC::Equal, right, 0);
                let mut divisor = self.builder.ins().select(is_zero, one, right);
                if !signed {
                    let result = divide(self, divisor);
                    return self.builder.ins().select(is_zero, by_zero, result);
                }
                let is_minus_one = self.builder.ins().icmp_imm_s(IntCC::Equal, right, -1);
                divisor = self.builder.ins().select(is_minus_one, one, divisor);
                let result = divide(self, divisor);
                let result = self.builder.ins().select(is_minus_one, by_minus_one, result);
                self.builder.ins().select(is_zero, by_zero, result)
            }
        }
    }

    pub(super) fn end(&mut self, op: EndOp, bits: u8, dst: Reg) {
        let swaps = match op {
            EndOp::ToLe => cfg!(target_endian = "big"),
            EndOp::ToBe => cfg!(target_endian = "little"),
            EndOp::Swap => true,
        };
        let ty = int(bits);
        let mut value = self.operand(Operand::Reg(dst), ty);
        if swaps {
            value = self.builder.ins().bswap(value);
        }
        self.set_extended(dst, value, ty);
    }
}
