//! One subprogram: its frame, its blocks, and its operations one by one.

use std::mem;
use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{
    Block, BlockArg, FuncRef, InstBuilder, SigRef, SourceLoc, StackSlotData, StackSlotKind, TrapCode, Type, Value,
};
use cranelift_frontend::{FunctionBuilder, Variable};
use hitless_isa::{CallTarget, Cond, Imm64, Instruction, Operand, Reg};
use hitless_verifier::Branch;

use super::{MEMORY, Program, int, of_size, of_width};
use crate::callee::ARGUMENTS;
use crate::native::calls;
use crate::{Frame, Op, Vm};

/// Makes one native function: of a subprogram, and of small ones that it calls.
pub(super) struct Translator<'a> {
    pub(super) program: &'a Program<'a>,
    pub(super) builder: FunctionBuilder<'a>,
    /// The run's [`Vm`].
    pub(super) vm: Value,
    /// The subprograms that this one calls.
    pub(super) callees: Vec<Option<FuncRef>>,
    /// The signatures of functions of the runtime that it calls: how many arguments, and whether something is returned.
    pub(super) signatures: Vec<((usize, bool), SigRef)>,
    /// The subprogram that is being translated.
    pub(super) body: Body,
    /// Calls around that one, and how many calls have been replaced by what they call.
    pub(super) depth: usize,
    pub(super) inlined: usize,
}

/// A subprogram that is being translated.
pub(super) struct Body {
    /// Its operations.
    pub(super) ops: Range<usize>,
    regs: [Variable; 11],
    /// The block that begins at each operation that jumps go to.
    blocks: Vec<Option<Block>>,
    /// Whether something goes to the block at each operation, or may yet.
    used: Vec<bool>,
    /// Whether a jump comes back to each operation.
    loops: Vec<bool>,
    /// The subprogram whose address each register holds, as far as the operations since the last target of a jump say.
    pub(super) functions: [Option<usize>; 11],
    /// Whether the current block has ended.
    pub(super) ended: bool,
    /// Where it goes when it ends, with its result; if nowhere, the function returns.
    exit: Option<Block>,
}

impl Body {
    fn new(ops: Range<usize>, builder: &mut FunctionBuilder<'_>, exit: Option<Block>) -> Body {
        Body {
            regs: [(); 11].map(|()| builder.declare_var(I64)),
            blocks: vec![None; ops.len()],
            used: vec![false; ops.len()],
            loops: vec![false; ops.len()],
            functions: [None; 11],
            ended: false,
            ops,
            exit,
        }
    }
}

/// Subprograms of so many operations and so much stack are put in place of their calls, so often and so deep.
const MAX_INLINED_OPS: usize = 32;
const MAX_INLINED_STACK: u32 = 64;
const MAX_INLINED: usize = 16;
const MAX_DEPTH: usize = 3;

impl<'a> Translator<'a> {
    pub(super) fn new(program: &'a Program<'a>, ops: Range<usize>, mut builder: FunctionBuilder<'a>) -> Translator<'a> {
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let params = builder.block_params(entry).to_vec();
        let body = Body::new(ops, &mut builder, None);
        for (reg, param) in ARGUMENTS.into_iter().zip(&params[1..]) {
            builder.def_var(body.regs[reg.index()], *param);
        }
        Translator {
            program,
            builder,
            vm: params[0],
            callees: vec![None; program.ranges.len()],
            signatures: Vec::new(),
            body,
            depth: 0,
            inlined: 0,
        }
    }

    pub(super) fn translate(mut self, frame: &Frame) -> Result<(), String> {
        self.operations(frame)?;
        self.builder.seal_all_blocks();
        self.builder.finalize(self.program.isa.frontend_config());
        Ok(())
    }

    /// Calls a subprogram with these arguments (those that it does not take are left out), or does what it does.
    pub(super) fn invoke(&mut self, subprog: usize, args: &[Value]) -> Result<Value, String> {
        let frame = &self.program.image.frames[subprog];
        let ops = self.program.ranges[subprog].clone();
        let small = ops.len() <= MAX_INLINED_OPS && frame.stack_depth <= MAX_INLINED_STACK;
        let many = self.inlined == MAX_INLINED || self.depth == MAX_DEPTH;
        if !small || many || self.program.tail_calls[subprog] {
            return Ok(self.call_known(subprog, args));
        }
        self.inlined += 1;
        self.depth += 1;
        let exit = self.builder.create_block();
        let result = self.builder.append_block_param(exit, I64);
        let body = Body::new(ops, &mut self.builder, Some(exit));
        let caller = mem::replace(&mut self.body, body);
        for (reg, arg) in ARGUMENTS.into_iter().zip(args) {
            self.set(reg, *arg);
        }
        self.operations(frame)?;
        self.body = caller;
        self.depth -= 1;
        self.continue_in(exit);
        Ok(result)
    }

    /// Goes on in a block that everything that goes to it is known of.
    pub(super) fn continue_in(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
    }

    /// Ends the subprogram.
    pub(super) fn leave(&mut self, result: Value) {
        match self.body.exit {
            Some(exit) => {
                self.builder.ins().jump(exit, &[BlockArg::Value(result)]);
            }
            None => {
                self.builder.ins().return_(&[result]);
            }
        }
    }

    /// The operations of the subprogram.
    fn operations(&mut self, frame: &Frame) -> Result<(), String> {
        self.enter(frame);
        for index in self.body.ops.clone() {
            if let Op::Insn(
                Instruction::Jump { off, .. } | Instruction::Goto { off, .. } | Instruction::MayGoto { off },
            ) = self.program.image.ops[index]
            {
                let target = self.target(index, off)?;
                self.block_at(target);
                // What is behind comes later; what jumps forward says so then.
                self.body.loops[target] |= off < 0;
            }
        }
        for index in self.body.ops.clone() {
            let at = index - self.body.ops.start;
            let used = self.body.used[at] || self.body.loops[at] || !self.body.ended;
            if let Some(block) = self.body.blocks[at].filter(|_| used) {
                if !self.body.ended {
                    self.builder.ins().jump(block, &[]);
                }
                self.builder.switch_to_block(block);
                if !self.body.loops[at] {
                    self.builder.seal_block(block);
                }
                self.body.functions = [None; 11];
                self.body.ended = false;
            }
            if !self.body.ended {
                self.builder.set_srcloc(SourceLoc::new(index as u32));
                self.operation(index)?;
            }
        }
        if !self.body.ended {
            return Err("a subprogram that runs out of its end".to_owned());
        }
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
            .filter(|target| self.body.ops.contains(target))
            .map(|target| target - self.body.ops.start)
            .ok_or_else(|| format!("operation {index}: a jump out of the subprogram"))
    }

    /// The block that begins at an operation, by its index in this subprogram.
    fn block_at(&mut self, at: usize) -> Block {
        match self.body.blocks[at] {
            Some(block) => block,
            None => {
                let block = self.builder.create_block();
                self.body.blocks[at] = Some(block);
                block
            }
        }
    }

    /// Likewise, for a jump to it.
    fn block(&mut self, index: usize, off: i32) -> Result<Block, String> {
        let at = self.target(index, off)?;
        self.body.used[at] = true;
        Ok(self.block_at(at))
    }

    pub(super) fn get(&mut self, reg: Reg) -> Value {
        self.builder.use_var(self.body.regs[reg.index()])
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        self.body.functions[reg.index()] = None;
        self.builder.def_var(self.body.regs[reg.index()], value);
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

    pub(super) fn set_extended(&mut self, reg: Reg, value: Value, ty: Type) {
        let value = self.zero_extended(value, ty);
        self.set(reg, value);
    }

    pub(super) fn operation(&mut self, index: usize) -> Result<(), String> {
        let services = &self.program.image.services;
        match self.program.image.ops[index] {
            Op::Insn(insn) => return self.instruction(index, insn),
            Op::Call { callee, .. } => return self.call_function(callee),
            Op::TailCall { callee } => self.tail_call(callee),
            Op::Replaced { callee, args } => {
                self.replacement(callee, args);
                self.body.ended = true;
            }
            Op::Function { dst, frame } => {
                let func = self.callee_ref(frame);
                let address = self.builder.ins().func_addr(I64, func);
                self.set(dst, address);
                self.body.functions[dst.index()] = Some(frame);
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
                // A subprogram that nothing calls is there from its first operation on.
                let entry = self.builder.func.layout.entry_block();
                if let Some(block) = self.builder.current_block().filter(|block| Some(*block) != entry) {
                    self.builder.set_cold_block(block);
                }
                let pc = self.builder.ins().iconst(I64, self.program.image.pcs[index] as i64);
                self.call_runtime(calls::unreachable(), &[pc]);
                self.builder.ins().trap(TrapCode::unwrap_user(1));
                self.body.ended = true;
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
            Instruction::Jump { off, .. } => self.jump(index, off)?,
            Instruction::Goto { off, .. } => self.goto_block(index, off)?,
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
                self.leave(result);
                self.body.ended = true;
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

    /// Whether a conditional jump goes one way only, as the verifier has found.
    pub(super) fn branch_of(&self, index: usize) -> Option<bool> {
        match self.program.image.facts.at(self.program.image.pcs[index]).branch {
            Some(Branch::Always) => Some(true),
            Some(Branch::Never) => Some(false),
            _ => None,
        }
    }

    /// The condition of the jump at `index`.
    pub(super) fn condition(&mut self, index: usize) -> Value {
        let Op::Insn(Instruction::Jump {
            width, cond, dst, src, ..
        }) = self.program.image.ops[index]
        else {
            unreachable!("asked of conditional jumps only");
        };
        let ty = of_width(width);
        let left = self.operand(Operand::Reg(dst), ty);
        let right = self.operand(src, ty);
        match int_cc(cond) {
            Some(cc) => self.builder.ins().icmp(cc, left, right),
            None => self.builder.ins().band(left, right),
        }
    }

    /// A conditional jump.
    fn jump(&mut self, index: usize, off: i32) -> Result<(), String> {
        match self.branch_of(index) {
            Some(false) => return Ok(()),
            Some(true) => return self.goto_block(index, off),
            None => {}
        }
        if let Some(join) = self.selected(index)? {
            let at = join - self.body.ops.start;
            self.body.used[at] = true;
            let join = self.block_at(at);
            self.builder.ins().jump(join, &[]);
            self.body.ended = true;
            return Ok(());
        }
        let holds = self.condition(index);
        let taken = self.block(index, off)?;
        self.branch(holds, taken);
        Ok(())
    }

    fn goto_block(&mut self, index: usize, off: i32) -> Result<(), String> {
        let target = self.block(index, off)?;
        self.builder.ins().jump(target, &[]);
        self.body.ended = true;
        Ok(())
    }

    /// To `taken` if the condition is not zero, else on.
    pub(super) fn branch(&mut self, condition: Value, taken: Block) {
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, taken, &[], next, &[]);
        self.continue_in(next);
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
