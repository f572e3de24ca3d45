//! One subprogram: its frame, its blocks, and its operations one by one.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{Block, FuncRef, InstBuilder, SigRef, StackSlotData, StackSlotKind, TrapCode, Type, Value};
use cranelift_frontend::{FunctionBuilder, Variable};
use hitless_isa::{CallTarget, Cond, Imm64, Instruction, Operand, Reg};

use super::{MEMORY, Program, int, of_size, of_width};
use crate::callee::ARGUMENTS;
use crate::native::calls;
use crate::{Frame, Op, Vm};

/// Translates one subprogram.
pub(super) struct Translator<'a> {
    pub(super) program: &'a Program<'a>,
    /// The operations of this one.
    ops: Range<usize>,
    pub(super) builder: FunctionBuilder<'a>,
    /// The run's [`Vm`].
    pub(super) vm: Value,
    /// Its zero.
    zero: Value,
    regs: [Variable; 11],
    /// The block that begins at each operation of this subprogram that jumps go to.
    blocks: Vec<Option<Block>>,
    /// The subprograms that this one calls.
    pub(super) callees: Vec<Option<FuncRef>>,
    /// The signatures of functions of the runtime that it calls: how many arguments, and whether something is returned.
    pub(super) signatures: Vec<((usize, bool), SigRef)>,
    /// The subprogram whose address each register holds, as far as the operations since the last target of a jump say.
    pub(super) functions: [Option<usize>; 11],
    /// Whether the current block has ended.
    pub(super) ended: bool,
}

impl<'a> Translator<'a> {
    pub(super) fn new(program: &'a Program<'a>, ops: Range<usize>, mut builder: FunctionBuilder<'a>) -> Translator<'a> {
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let params = builder.block_params(entry).to_vec();
        let regs = [(); 11].map(|()| builder.declare_var(I64));
        for (reg, param) in ARGUMENTS.into_iter().zip(&params[1..]) {
            builder.def_var(regs[reg.index()], *param);
        }
        let zero = builder.ins().load(I64, MEMORY, params[0], Vm::ZERO);
        Translator {
            program,
            zero,
            blocks: vec![None; ops.len()],
            callees: vec![None; program.ranges.len()],
            ops,
            builder,
            vm: params[0],
            signatures: Vec::new(),
            functions: [None; 11],
            regs,
            ended: false,
        }
    }

    pub(super) fn translate(mut self, frame: &Frame) -> Result<(), String> {
        self.enter(frame);
        for index in self.ops.clone() {
            if let Op::Insn(
                Instruction::Jump { off, .. } | Instruction::Goto { off, .. } | Instruction::MayGoto { off },
            ) = self.program.image.ops[index]
            {
                self.make_block(index, off)?;
            }
        }
        for index in self.ops.clone() {
            if let Some(block) = self.blocks[index - self.ops.start] {
                if !self.ended {
                    self.builder.ins().jump(block, &[]);
                }
                self.builder.switch_to_block(block);
                self.functions = [None; 11];
                self.ended = false;
            }
            if !self.ended {
                self.operation(index)?;
            }
        }
        if !self.ended {
            return Err("a subprogram that runs out of its end".to_owned());
        }
        self.builder.seal_all_blocks();
        self.builder.finalize(self.program.isa.frontend_config());
        Ok(())
    }

    /// Makes the frame: `r10` points to its end.
    fn enter(&mut self, frame: &Frame) {
        let size = frame.stack_depth.next_multiple_of(8);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3);
        let slot = self.builder.create_sized_stack_slot(slot);
        if frame.clear {
            let zero = self.builder.ins().iconst(I64, 0);
            let start = self.builder.ins().stack_addr(I64, slot, 0);
            for off in (0..size).step_by(8) {
                self.builder.ins().store(MEMORY, zero, start, off as i32);
            }
        }
        let end = self.builder.ins().stack_addr(I64, slot, size as i32);
        self.set(Reg::R10, end);
    }

    /// The index, in this subprogram, of the operation that a jump goes to.
    fn target(&self, index: usize, off: i32) -> Result<usize, String> {
        let target = (index + 1).checked_add_signed(off as isize);
        target
            .filter(|target| self.ops.contains(target))
            .map(|target| target - self.ops.start)
            .ok_or_else(|| format!("operation {index}: a jump out of the subprogram"))
    }

    fn make_block(&mut self, index: usize, off: i32) -> Result<(), String> {
        let target = self.target(index, off)?;
        if self.blocks[target].is_none() {
            self.blocks[target] = Some(self.builder.create_block());
        }
        Ok(())
    }

    fn block(&self, index: usize, off: i32) -> Result<Block, String> {
        let target = self.target(index, off)?;
        Ok(self.blocks[target].expect("targets of jumps have blocks"))
    }

    pub(super) fn get(&mut self, reg: Reg) -> Value {
        self.builder.use_var(self.regs[reg.index()])
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        self.functions[reg.index()] = None;
        self.builder.def_var(self.regs[reg.index()], value);
    }

    /// An operand, at a width.
    pub(super) fn operand(&mut self, operand: Operand, ty: Type) -> Value {
        match operand {
            Operand::Reg(reg) => {
                let value = self.get(reg);
                self.narrowed(value, ty)
            }
            Operand::Imm(imm) => self.constant(ty, i64::from(imm)),
        }
    }

    /// A constant, cut to the width.
    pub(super) fn constant(&mut self, ty: Type, value: i64) -> Value {
        let value = match ty {
            I8 => i64::from(value as u8),
            I16 => i64::from(value as u16),
            I32 => i64::from(value as u32),
            _ => value,
        };
        self.builder.ins().iconst(ty, value)
    }

    /// A constant that the code generator does not see as one. It would turn the comparison at a loop's end, of the counter
    /// just stepped, into one of the counter before; then both are live, and going back takes a move and one more jump.
    fn unseen(&mut self, ty: Type, value: i64) -> Value {
        let zero = self.narrowed(self.zero, ty);
        let value = self.constant(ty, value);
        self.builder.ins().bxor(zero, value)
    }

    pub(super) fn narrowed(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            value
        } else {
            self.builder.ins().ireduce(ty, value)
        }
    }

    pub(super) fn zero_extended(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            value
        } else {
            self.builder.ins().uextend(I64, value)
        }
    }

    pub(super) fn set_extended(&mut self, reg: Reg, value: Value, ty: Type) {
        let value = self.zero_extended(value, ty);
        self.set(reg, value);
    }

    fn operation(&mut self, index: usize) -> Result<(), String> {
        let services = &self.program.image.services;
        match self.program.image.ops[index] {
            Op::Insn(insn) => return self.instruction(index, insn),
            Op::Call { callee, .. } => self.call_function(callee),
            Op::TailCall { callee } => self.tail_call(callee),
            Op::Function { dst, frame } => {
                let func = self.callee_ref(frame);
                let address = self.builder.ins().func_addr(I64, func);
                self.set(dst, address);
                self.functions[dst.index()] = Some(frame);
            }
            Op::Probe {
                size,
                signed,
                dst,
                base,
                off,
            } => self.probe(size, signed, dst, base, off),
            Op::LoadPacket {
                size,
                index,
                off,
                flush,
            } => self.load_packet(size, index, off, flush),
            Op::TraceUpdate => drop(self.call_runtime(calls::trace_update(services), &[self.vm])),
            Op::TraceDelete => drop(self.call_runtime(calls::trace_delete(services), &[self.vm])),
            Op::FlushPointers => drop(self.call_runtime(calls::flush_pointers(services), &[self.vm])),
            Op::RegisterPointer { base, off } => {
                let base = self.get(base);
                let addr = self.builder.ins().iadd_imm_s(base, i64::from(off));
                self.call_runtime(calls::register_pointer(services), &[self.vm, addr]);
            }
            Op::Unreachable => {
                if let Some(block) = self.builder.current_block() {
                    self.builder.set_cold_block(block);
                }
                let pc = self.builder.ins().iconst(I64, self.program.image.pcs[index] as i64);
                self.call_runtime(calls::unreachable(), &[pc]);
                self.builder.ins().trap(TrapCode::unwrap_user(1));
                self.ended = true;
            }
        }
        Ok(())
    }

    fn instruction(&mut self, index: usize, insn: Instruction) -> Result<(), String> {
        match insn {
            Instruction::Alu { width, op, dst, src } => self.alu(width, op, dst, src),
            Instruction::MovSx { width, bits, dst, src } => {
                let value = self.get(src);
                let narrow = self.narrowed(value, int(bits));
                let ty = of_width(width);
                let extended = self.builder.ins().sextend(ty, narrow);
                self.set_extended(dst, extended, ty);
            }
            Instruction::Neg { width, dst } => {
                let ty = of_width(width);
                let value = self.operand(Operand::Reg(dst), ty);
                let value = self.builder.ins().ineg(value);
                self.set_extended(dst, value, ty);
            }
            Instruction::End { op, bits, dst } => self.end(op, bits, dst),
            Instruction::LoadImm64 {
                dst,
                imm: Imm64::Value(value),
            } => {
                let value = self.builder.ins().iconst(I64, value.cast_signed());
                self.set(dst, value);
            }
            Instruction::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let value = self.load(size, signed, base, off);
                self.set(dst, value);
            }
            Instruction::Store { size, base, off, src } => {
                let value = self.operand(src, of_size(size));
                let base = self.get(base);
                self.builder.ins().store(MEMORY, value, base, i32::from(off));
            }
            Instruction::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => self.atomic(of_size(size), op, base, off, src),
            Instruction::LoadAcquire { size, dst, base, off } => {
                let (ty, addr) = (of_size(size), self.address(base, off));
                let value = self.builder.ins().atomic_load(ty, MEMORY, addr);
                self.set_extended(dst, value, ty);
            }
            Instruction::StoreRelease { size, base, off, src } => {
                let value = self.operand(Operand::Reg(src), of_size(size));
                let addr = self.address(base, off);
                self.builder.ins().atomic_store(MEMORY, value, addr);
            }
            Instruction::Jump {
                width,
                cond,
                dst,
                src,
                off,
            } => {
                let ty = of_width(width);
                let left = self.operand(Operand::Reg(dst), ty);
                let right = match src {
                    Operand::Imm(imm) if off < 0 && matches!(cond, Cond::Eq | Cond::Ne) => self.unseen(ty, imm.into()),
                    src => self.operand(src, ty),
                };
                let holds = match int_cc(cond) {
                    Some(cc) => self.builder.ins().icmp(cc, left, right),
                    None => self.builder.ins().band(left, right),
                };
                let taken = self.block(index, off)?;
                self.branch(holds, taken);
            }
            Instruction::Goto { off, .. } => {
                let target = self.block(index, off)?;
                self.builder.ins().jump(target, &[]);
                self.ended = true;
            }
            Instruction::MayGoto { off } => {
                let target = self.block(index, off)?;
                let turns = self.builder.ins().load(I32, MEMORY, self.vm, Vm::TURNS);
                let left = self.builder.ins().iadd_imm_s(turns, -1);
                let spent = self.builder.ins().icmp_imm_s(IntCC::Equal, turns, 0);
                self.branch(spent, target);
                self.builder.ins().store(MEMORY, left, self.vm, Vm::TURNS);
            }
            Instruction::Call(CallTarget::Register(reg)) => {
                let Some(dispatch) = self.program.image.dispatch else {
                    return Err(format!("operation {index}: a call by number"));
                };
                let mut args = vec![self.vm, self.get(reg)];
                args.extend(ARGUMENTS.map(|reg| self.get(reg)));
                let result = self.call_runtime(calls::dispatch(dispatch), &args);
                self.set_result(result);
            }
            Instruction::Call(CallTarget::Subprog(off)) => self.call_subprog(index, off)?,
            Instruction::Exit => {
                let result = self.get(Reg::R0);
                self.builder.ins().return_(&[result]);
                self.ended = true;
            }
            Instruction::LoadImm64 { .. }
            | Instruction::Call(CallTarget::Helper(_) | CallTarget::Kfunc { .. })
            | Instruction::LoadPacket { .. }
            | Instruction::AddrSpaceCast { .. } => {
                return Err(format!("operation {index} has no native form"));
            }
        }
        Ok(())
    }

    pub(super) fn address(&mut self, base: Reg, off: i16) -> Value {
        let base = self.get(base);
        self.builder.ins().iadd_imm_s(base, i64::from(off))
    }

    /// To `taken` if the condition is not zero, else on.
    pub(super) fn branch(&mut self, condition: Value, taken: Block) {
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, taken, &[], next, &[]);
        self.builder.switch_to_block(next);
    }
}

/// The comparison, or `None` for a test of bits.
fn int_cc(cond: Cond) -> Option<IntCC> {
    Some(match cond {
        Cond::Eq => IntCC::Equal,
        Cond::Ne => IntCC::NotEqual,
        Cond::Gt => IntCC::UnsignedGreaterThan,
        Cond::Ge => IntCC::UnsignedGreaterThanOrEqual,
        Cond::Lt => IntCC::UnsignedLessThan,
        Cond::Le => IntCC::UnsignedLessThanOrEqual,
        Cond::Sgt => IntCC::SignedGreaterThan,
        Cond::Sge => IntCC::SignedGreaterThanOrEqual,
        Cond::Slt => IntCC::SignedLessThan,
        Cond::Sle => IntCC::SignedLessThanOrEqual,
        Cond::Set => return None,
    })
}
