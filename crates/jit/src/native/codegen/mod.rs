//! From an image to native functions, one for each subprogram.

use std::ops::Range;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{
    self, AbiParam, AtomicRmwOp, Block, ExtFuncData, ExternalName, FuncRef, InstBuilder, MemFlagsData, SigRef,
    Signature, StackSlotData, StackSlotKind, TrapCode, Type, UserExternalName, UserFuncName, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{Context, FinalizedRelocTarget};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use hitless_isa::{AluOp, AtomicOp, CallTarget, Cond, EndOp, Imm64, Instruction, Operand, Reg, Size, Width};
use hitless_verifier::{ArgType, tables::helpers};

use super::calls::{self, EntryPoint};
use crate::{Callee, Frame, Image, Op, Vm};

/// A compiled subprogram.
pub(super) struct Function {
    pub(super) code: Vec<u8>,
    pub(super) calls: Vec<Call>,
}

/// A call of another subprogram, to be linked.
pub(super) struct Call {
    /// Offset of the field to be filled in, in bytes.
    pub(super) offset: usize,
    pub(super) kind: Reloc,
    /// Which subprogram.
    pub(super) callee: usize,
    /// Added to the distance from the field to the callee.
    pub(super) addend: i64,
}

/// The arguments of a subprogram.
const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// Memory that is there, as the verifier has proved.
const MEMORY: MemFlagsData = MemFlagsData::new().with_notrap();

/// Compiles every subprogram of an image, the main program first.
///
/// # Errors
/// What cannot be compiled, in words.
pub(super) fn functions(isa: &dyn TargetIsa, image: &Image) -> Result<Vec<Function>, String> {
    let mut context = Context::new();
    let mut builder_context = FunctionBuilderContext::new();
    let ends = image
        .frames
        .iter()
        .skip(1)
        .map(|frame| frame.first)
        .chain([image.ops.len()]);
    let ranges: Vec<Range<usize>> = image
        .frames
        .iter()
        .zip(ends)
        .map(|(frame, end)| frame.first..end)
        .collect();
    let args = arguments(image, &ranges)?;
    let mut functions = Vec::with_capacity(ranges.len());
    for (index, ops) in ranges.iter().enumerate() {
        context.clear();
        let signature = signature(isa, 1 + args[index], true);
        context.func = ir::Function::with_name_signature(UserFuncName::user(0, index as u32), signature);
        let builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let frame = &image.frames[index];
        Translator::new(isa, image, &ranges, &args, ops.clone(), builder).translate(frame)?;
        context
            .compile(isa, &mut ControlPlane::default())
            .map_err(|error| error.inner.to_string())?;
        let code = context.compiled_code().ok_or("no code")?;
        let mut calls = Vec::new();
        for reloc in code.buffer.relocs() {
            let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = reloc.target else {
                return Err(format!("a relocation of kind {:?}", reloc.kind));
            };
            calls.push(Call {
                offset: reloc.offset as usize,
                kind: reloc.kind,
                callee: context.func.params.user_named_funcs()[name].index as usize,
                addend: reloc.addend,
            });
        }
        functions.push(Function {
            code: code.code_buffer().to_vec(),
            calls,
        });
    }
    Ok(functions)
}

/// The subprogram, by index, that a call goes to.
fn callee(ranges: &[Range<usize>], index: usize, off: i32) -> Result<usize, String> {
    let target = (index + 1).checked_add_signed(off as isize);
    let found = ranges.iter().position(|range| Some(range.start) == target);
    found.ok_or_else(|| format!("operation {index}: a call into a subprogram"))
}

/// How many of `r1` to `r5` each subprogram is passed: up to the last that it may read. What it does not read would be kept
/// for it.
fn arguments(image: &Image, ranges: &[Range<usize>]) -> Result<Vec<usize>, String> {
    let mut args = vec![0; ranges.len()];
    // What a subprogram reads for those that it calls is known once theirs is; chains are as long as there are subprograms.
    for _ in 0..ranges.len() {
        let before = args.clone();
        for (subprog, range) in ranges.iter().enumerate() {
            for index in range.clone() {
                let reads = match image.ops[index] {
                    Op::Insn(Instruction::Call(CallTarget::Subprog(off))) => args[callee(ranges, index, off)?],
                    Op::Helper { id, .. } => helper_args(id),
                    Op::Insn(Instruction::Call(_)) => ARGUMENTS.len(),
                    Op::Insn(insn) => reads(&insn),
                    Op::RegisterPointer { base, .. } => base.index(),
                    _ => 0,
                };
                args[subprog] = args[subprog].max(reads.min(ARGUMENTS.len()));
            }
        }
        if args == before {
            break;
        }
    }
    // Helpers pass all of them.
    for op in &image.ops {
        if let Op::Function { frame, .. } = *op {
            args[frame] = ARGUMENTS.len();
        }
    }
    // The engine passes the context.
    args[0] = 1;
    Ok(args)
}

/// How many of `r1` to `r5` a helper takes.
fn helper_args(id: u32) -> usize {
    // What its format asks for is in the registers that the prototype leaves out.
    if id == helpers::TRACE_PRINTK {
        return ARGUMENTS.len();
    }
    let Some(proto) = helpers::by_id(id) else {
        return ARGUMENTS.len();
    };
    proto.args.iter().take_while(|arg| **arg != ArgType::None).count()
}

/// The greatest of `r1` to `r5` that an instruction other than a call reads; 0 if it reads none.
fn reads(insn: &Instruction) -> usize {
    let argument = |reg: Reg| if ARGUMENTS.contains(&reg) { reg.index() } else { 0 };
    let operand = |operand: Operand| match operand {
        Operand::Reg(reg) => argument(reg),
        Operand::Imm(_) => 0,
    };
    match *insn {
        Instruction::Alu {
            op: AluOp::Mov, src, ..
        } => operand(src),
        Instruction::Alu { dst, src, .. } | Instruction::Jump { dst, src, .. } => argument(dst).max(operand(src)),
        Instruction::MovSx { src, .. } | Instruction::AddrSpaceCast { src, .. } => argument(src),
        Instruction::Neg { dst, .. } | Instruction::End { dst, .. } => argument(dst),
        Instruction::Load { base, .. } | Instruction::LoadAcquire { base, .. } => argument(base),
        Instruction::Store { base, src, .. } => argument(base).max(operand(src)),
        Instruction::StoreRelease { base, src, .. } | Instruction::Atomic { base, src, .. } => {
            argument(base).max(argument(src))
        }
        Instruction::LoadImm64 { .. }
        | Instruction::LoadPacket { .. }
        | Instruction::Goto { .. }
        | Instruction::MayGoto { .. }
        | Instruction::Call(_)
        | Instruction::Exit => 0,
    }
}

/// Of so many 64-bit arguments, returning a 64-bit value or nothing.
fn signature(isa: &dyn TargetIsa, args: usize, returns: bool) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend((0..args).map(|_| AbiParam::new(I64)));
    signature.returns.extend(returns.then(|| AbiParam::new(I64)));
    signature
}

struct Translator<'a> {
    isa: &'a dyn TargetIsa,
    image: &'a Image,
    /// The operations of each subprogram.
    ranges: &'a [Range<usize>],
    /// How many arguments each takes.
    args: &'a [usize],
    /// The operations of this one.
    ops: Range<usize>,
    builder: FunctionBuilder<'a>,
    /// The run's [`Vm`].
    vm: Value,
    /// Its zero.
    zero: Value,
    regs: [Variable; 11],
    /// The block that begins at each operation of this subprogram that jumps go to.
    blocks: Vec<Option<Block>>,
    /// The subprograms that this one calls.
    callees: Vec<Option<FuncRef>>,
    /// The signatures of functions of the runtime that it calls: how many arguments, and whether something is returned.
    signatures: Vec<((usize, bool), SigRef)>,
    /// Whether the current block has ended.
    ended: bool,
}

impl<'a> Translator<'a> {
    fn new(
        isa: &'a dyn TargetIsa,
        image: &'a Image,
        ranges: &'a [Range<usize>],
        args: &'a [usize],
        ops: Range<usize>,
        mut builder: FunctionBuilder<'a>,
    ) -> Translator<'a> {
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
            isa,
            image,
            ranges,
            args,
            zero,
            blocks: vec![None; ops.len()],
            callees: vec![None; ranges.len()],
            ops,
            builder,
            vm: params[0],
            signatures: Vec::new(),
            regs,
            ended: false,
        }
    }

    fn translate(mut self, frame: &Frame) -> Result<(), String> {
        self.enter(frame);
        for index in self.ops.clone() {
            if let Op::Insn(
                Instruction::Jump { off, .. } | Instruction::Goto { off, .. } | Instruction::MayGoto { off },
            ) = self.image.ops[index]
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
        self.builder.finalize(self.isa.frontend_config());
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

    fn get(&mut self, reg: Reg) -> Value {
        self.builder.use_var(self.regs[reg.index()])
    }

    fn set(&mut self, reg: Reg, value: Value) {
        self.builder.def_var(self.regs[reg.index()], value);
    }

    /// An operand, at a width.
    fn operand(&mut self, operand: Operand, ty: Type) -> Value {
        match operand {
            Operand::Reg(reg) => {
                let value = self.get(reg);
                self.narrowed(value, ty)
            }
            Operand::Imm(imm) => self.constant(ty, i64::from(imm)),
        }
    }

    /// A constant, cut to the width.
    fn constant(&mut self, ty: Type, value: i64) -> Value {
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

    fn narrowed(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            value
        } else {
            self.builder.ins().ireduce(ty, value)
        }
    }

    fn zero_extended(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            value
        } else {
            self.builder.ins().uextend(I64, value)
        }
    }

    fn set_extended(&mut self, reg: Reg, value: Value, ty: Type) {
        let value = self.zero_extended(value, ty);
        self.set(reg, value);
    }

    fn call_runtime(&mut self, entry: EntryPoint, args: &[Value]) -> Option<Value> {
        debug_assert_eq!(args.len(), entry.args);
        let form = (entry.args, entry.returns);
        let signature = match self.signatures.iter().find(|known| known.0 == form) {
            Some(&(_, signature)) => signature,
            None => {
                let signature = signature(self.isa, entry.args, entry.returns);
                let signature = self.builder.import_signature(signature);
                self.signatures.push((form, signature));
                signature
            }
        };
        let address = self.builder.ins().iconst(I64, entry.address as i64);
        let call = self.builder.ins().call_indirect(signature, address, args);
        self.builder.inst_results(call).first().copied()
    }

    fn operation(&mut self, index: usize) -> Result<(), String> {
        let services = &self.image.services;
        match self.image.ops[index] {
            Op::Insn(insn) => return self.instruction(index, insn),
            Op::Helper { id, callee } => self.helper(helper_args(id), callee),
            Op::Function { dst, frame } => {
                let func = self.callee_ref(frame);
                let address = self.builder.ins().func_addr(I64, func);
                self.set(dst, address);
            }
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
                let pc = self.builder.ins().iconst(I64, self.image.pcs[index] as i64);
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
                let (base, off) = (self.get(base), i32::from(off));
                let ins = self.builder.ins();
                let value = match (size, signed) {
                    (Size::B, false) => ins.uload8(I64, MEMORY, base, off),
                    (Size::B, true) => ins.sload8(I64, MEMORY, base, off),
                    (Size::H, false) => ins.uload16(I64, MEMORY, base, off),
                    (Size::H, true) => ins.sload16(I64, MEMORY, base, off),
                    (Size::W, false) => ins.uload32(MEMORY, base, off),
                    (Size::W, true) => ins.sload32(MEMORY, base, off),
                    (Size::Dw, _) => ins.load(I64, MEMORY, base, off),
                };
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
                let Some(dispatch) = self.image.dispatch else {
                    return Err(format!("operation {index}: a call by number"));
                };
                let mut args = vec![self.vm, self.get(reg)];
                args.extend(ARGUMENTS.map(|reg| self.get(reg)));
                let result = self.call_runtime(calls::dispatch(dispatch), &args);
                self.set_result(result);
            }
            Instruction::Call(CallTarget::Subprog(off)) => self.call(index, off)?,
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

    fn address(&mut self, base: Reg, off: i16) -> Value {
        let base = self.get(base);
        self.builder.ins().iadd_imm_s(base, i64::from(off))
    }

    /// To `taken` if the condition is not zero, else on.
    fn branch(&mut self, condition: Value, taken: Block) {
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, taken, &[], next, &[]);
        self.builder.switch_to_block(next);
    }

    /// Calls a helper that takes so many arguments; it does not look at the others.
    fn helper(&mut self, count: usize, callee: Callee) {
        let mut args = vec![self.vm];
        args.extend(ARGUMENTS[..count].iter().map(|reg| self.get(*reg)));
        if let (Some(r1), true) = (callee.r1, count > 0) {
            args[1] = self.builder.ins().iconst(I64, r1.cast_signed());
        }
        let result = self.call_runtime(calls::helper(callee.function, args.len()), &args);
        self.set_result(result);
    }

    fn set_result(&mut self, result: Option<Value>) {
        if let Some(result) = result {
            self.set(Reg::R0, result);
        }
    }

    fn call(&mut self, index: usize, off: i32) -> Result<(), String> {
        let callee = callee(self.ranges, index, off)?;
        let func = self.callee_ref(callee);
        let mut args = vec![self.vm];
        args.extend(ARGUMENTS[..self.args[callee]].iter().map(|reg| self.get(*reg)));
        let call = self.builder.ins().call(func, &args);
        let result = self.builder.inst_results(call)[0];
        self.set(Reg::R0, result);
        Ok(())
    }

    fn callee_ref(&mut self, callee: usize) -> FuncRef {
        if let Some(func) = self.callees[callee] {
            return func;
        }
        let func = self.import(callee);
        self.callees[callee] = Some(func);
        func
    }

    fn import(&mut self, callee: usize) -> FuncRef {
        let signature = signature(self.isa, 1 + self.args[callee], true);
        let signature = self.builder.import_signature(signature);
        let name = UserExternalName::new(0, callee as u32);
        let name = self.builder.func.declare_imported_user_function(name);
        self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: Operand) {
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

    fn end(&mut self, op: EndOp, bits: u8, dst: Reg) {
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

    fn atomic(&mut self, ty: Type, op: AtomicOp, base: Reg, off: i16, src: Reg) {
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

fn of_width(width: Width) -> Type {
    match width {
        Width::W32 => I32,
        Width::W64 => I64,
    }
}

fn of_size(size: Size) -> Type {
    int(8 * size.bytes() as u8)
}

fn int(bits: u8) -> Type {
    match bits {
        8 => I8,
        16 => I16,
        32 => I32,
        _ => I64,
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
