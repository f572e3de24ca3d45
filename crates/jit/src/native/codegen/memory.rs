//! Accesses of memory.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, Type, Value};
use hitless_isa::{AtomicOp, Operand, Reg, Size};

use super::MEMORY;
use super::function::Translator;
use crate::native::calls;
use crate::runtime::NO_PACKET;

impl Translator<'_> {
    /// What is at `base + off`, extended to 64 bits.
    pub(super) fn load(&mut self, size: Size, signed: bool, base: Reg, off: i16) -> Value {
        let (base, off) = (self.get(base), i32::from(off));
        let ins = self.builder.ins();
        match (size, signed) {
            (Size::B, false) => ins.uload8(I64, MEMORY, base, off),
            (Size::B, true) => ins.sload8(I64, MEMORY, base, off),
            (Size::H, false) => ins.uload16(I64, MEMORY, base, off),
            (Size::H, true) => ins.sload16(I64, MEMORY, base, off),
            (Size::W, false) => ins.uload32(MEMORY, base, off),
            (Size::W, true) => ins.sload32(MEMORY, base, off),
            (Size::Dw, _) => ins.load(I64, MEMORY, base, off),
        }
    }

    /// Loads from an address that may be anything.
    pub(super) fn probe(&mut self, size: Size, signed: bool, dst: Reg, base: Reg, off: i16) {
        let addr = self.address(base, off);
        let probe = calls::probe(&self.program.image.services, size);
        if let Some(value) = self.call_runtime(probe, &[addr]) {
            let value = match (size, signed) {
                (Size::Dw, _) | (_, false) => value,
                (size, true) => {
                    let narrow = self.narrowed(value, super::of_size(size));
                    self.builder.ins().sextend(I64, narrow)
                }
            };
            self.set(dst, value);
        }
    }

    /// Legacy packet access.
    pub(super) fn load_packet(&mut self, size: Size, index: Option<Reg>, off: i32, flush: bool) {
        let services = &self.program.image.services;
        let mut at = self.builder.ins().iconst(I64, i64::from(off));
        if let Some(index) = index {
            let index = self.get(index);
            at = self.builder.ins().iadd(at, index);
        }
        let bytes = self.builder.ins().iconst(I64, size.bytes() as i64);
        let Some(loaded) = self.call_runtime(calls::load_packet(services), &[self.vm, at, bytes]) else {
            return;
        };
        let none = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::Equal, loaded, NO_PACKET.cast_signed());
        let (short, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(short);
        self.builder.ins().brif(none, short, &[], next, &[]);
        self.continue_in(short);
        if flush {
            self.call_runtime(calls::flush_pointers(services), &[self.vm]);
        }
        let zero = self.builder.ins().iconst(I64, 0);
        self.leave(zero);
        self.continue_in(next);
        self.set(Reg::R0, loaded);
    }

    pub(super) fn atomic(&mut self, ty: Type, op: AtomicOp, base: Reg, off: i16, src: Reg) {
        let addr = self.address(base, off);
        let operand = self.operand(Operand::Reg(src), ty);
        let op = match op {
            AtomicOp::CmpXchg => {
                let expected = self.operand(Operand::Reg(Reg::R0), ty);
                let old = self.builder.ins().atomic_cas(MEMORY, addr, expected, operand);
                return self.set_extended(Reg::R0, old, ty);
            }
            op => op,
        };
        let rmw = match op {
            AtomicOp::Add { .. } => AtomicRmwOp::Add,
            AtomicOp::Or { .. } => AtomicRmwOp::Or,
            AtomicOp::And { .. } => AtomicRmwOp::And,
            AtomicOp::Xor { .. } => AtomicRmwOp::Xor,
            AtomicOp::Xchg | AtomicOp::CmpXchg => AtomicRmwOp::Xchg,
        };
        let old = self.builder.ins().atomic_rmw(ty, MEMORY, rmw, addr, operand);
        if op.fetches() {
            self.set_extended(src, old, ty);
        }
    }
}
