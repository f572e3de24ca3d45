//! Arithmetic.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Type, Value};
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
        if let AluOp::Rsh | AluOp::Arsh = op
            && let Some(value) = self.extension(left, right, op == AluOp::Arsh)
        {
            return self.set(dst, value);
        }
        let result = match op {
            AluOp::Add => self.sum(left, right, ty),
            AluOp::Sub => self.builder.ins().isub(left, right),
            AluOp::Mul => self.builder.ins().imul(left, right),
            AluOp::Or => self.or(left, right, ty),
            AluOp::And => self.builder.ins().band(left, right),
            AluOp::Xor => self.builder.ins().bxor(left, right),
            AluOp::Lsh => self.builder.ins().ishl(left, right),
            AluOp::Rsh => self.builder.ins().ushr(left, right),
            AluOp::Arsh => self.builder.ins().sshr(left, right),
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
            Operand::Imm(_) if signed => divide(self, right),
            Operand::Imm(imm) => {
                let divisor = match ty {
                    I32 => u64::from(imm.cast_unsigned()),
                    _ => i64::from(imm).cast_unsigned(),
                };
                let result = self.divided(left, divisor, ty);
                if quotient {
                    return result;
                }
                let whole = self.builder.ins().imul(result, right);
                self.builder.ins().isub(left, whole)
            }
            Operand::Reg(_) => {
                let [usual, unusual, done] = [(); 3].map(|()| self.builder.create_block());
                let result = self.builder.append_block_param(done, ty);
                self.builder.set_cold_block(unusual);
                self.builder.ins().brif(right, usual, &[], unusual, &[]);
                self.continue_in(unusual);
                self.builder.ins().jump(done, &[BlockArg::Value(by_zero)]);
                self.continue_in(usual);
                let mut divisor = right;
                let is_minus_one = self.builder.ins().icmp_imm_s(IntCC::Equal, right, -1);
                if signed {
                    divisor = self.builder.ins().select(is_minus_one, one, right);
                }
                let mut found = divide(self, divisor);
                if signed {
                    found = self.builder.ins().select(is_minus_one, by_minus_one, found);
                }
                self.builder.ins().jump(done, &[BlockArg::Value(found)]);
                self.continue_in(done);
                result
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
