//! Lowering: from a verified program to an [`Image`].
//!
//! Two passes. The first emits the operations of each instruction in slot order, and notes where they start: what is
//! inserted *before* an instruction belongs to it, so that a jump to the instruction runs it; what is inserted *after* a
//! call belongs to nobody, so that a jump to the next instruction leaves it out. The second pass turns the offsets of
//! jumps and calls from slots into operations.
//!
//! The plain variant takes the same way with the insertions left out; nothing of tracing is in it.

use hitless_isa::{CallTarget, DecodeError, Imm64, Instruction, Size, decode};
use hitless_verifier::{ArgType, ContextFieldKind, InsnFacts, Region, tables::helpers};

use crate::callee::{ARGUMENTS, CallSite, Callee};
use crate::{Frame, HostField, Image, LowerError, LowerInput, Op, Replaced, Variant};

/// Lowers one variant of a verified program.
///
/// # Errors
/// See [`LowerError`]; none occurs for programs and tables that belong together.
pub fn lower(input: LowerInput<'_>) -> Result<Image, LowerError> {
    let mut lowering = Lowering {
        input,
        ops: Vec::new(),
        pcs: Vec::new(),
        callees: Vec::new(),
        first: Vec::new(),
    };
    lowering.emit_all()?;
    lowering.retarget_all()?;
    let Lowering {
        ops,
        pcs,
        callees,
        first,
        ..
    } = lowering;
    let mut frames = Vec::with_capacity(input.verified.subprogs.len());
    for subprog in &input.verified.subprogs {
        let Some(&Some(op)) = first.get(subprog.start) else {
            return Err(LowerError::Unsupported {
                pc: subprog.start,
                what: "a subprogram outside of the program",
            });
        };
        let is_replaced = matches!(ops.get(op), Some(Op::Replaced { .. }));
        frames.push(Frame {
            first: op,
            stack_depth: if is_replaced { 0 } else { subprog.stack_depth },
            clear: subprog.clear_stack && !is_replaced,
        });
    }
    let field = |field: &hitless_verifier::ContextField| HostField {
        off: field.host_off,
        len: field.host_len(),
    };
    let fields = input.context.fields.iter().map(field).collect();
    Ok(Image {
        name: input.name.to_owned(),
        ops,
        pcs,
        facts: input.verified.facts.clone(),
        frames,
        arguments: input.arguments,
        fields,
        callees,
        services: input.services,
        dispatch: input.resolve.dispatch(),
    })
}

struct Lowering<'a> {
    input: LowerInput<'a>,
    ops: Vec<Op>,
    pcs: Vec<usize>,
    callees: Vec<Callee>,
    /// The first operation of the instruction at each slot; `None` inside of wide immediates.
    first: Vec<Option<usize>>,
}

impl Lowering<'_> {
    fn emit_all(&mut self) -> Result<(), LowerError> {
        let verified = self.input.verified;
        let mut pc = 0;
        while pc < verified.insns.len() {
            if let Some(end) = self.replaced(pc) {
                self.first.extend((pc + 1..end).map(|_| None));
                pc = end;
                continue;
            }
            self.first.push(Some(self.ops.len()));
            let facts = verified.facts.at(pc);
            let decoded = decode(&verified.insns, pc);
            let slots = decoded.as_ref().map_or(1, Instruction::slots);
            if facts.reachable {
                self.emit(pc, &facts, decoded)?;
            } else {
                self.push(pc, Op::Unreachable);
            }
            self.first.extend((1..slots).map(|_| None));
            pc += slots;
        }
        Ok(())
    }

    /// Emits what stands for the subprogram that begins here, if another program takes its place; returns where it ends.
    fn replaced(&mut self, pc: usize) -> Option<usize> {
        let subprogs = &self.input.verified.subprogs;
        let is_here = |replaced: &&Replaced| {
            subprogs
                .get(replaced.subprog)
                .is_some_and(|subprog| subprog.start == pc)
        };
        let replaced = self.input.replaced.iter().find(is_here)?;
        let end = subprogs[replaced.subprog].end;
        let callee = self.add_callee(replaced.callee.clone());
        self.first.push(Some(self.ops.len()));
        let args = replaced.args;
        self.push(pc, Op::Replaced { callee, args });
        Some(end)
    }

    fn emit(
        &mut self,
        pc: usize,
        facts: &InsnFacts<'_>,
        decoded: Result<Instruction, DecodeError>,
    ) -> Result<(), LowerError> {
        let unsupported = |what| LowerError::Unsupported { pc, what };
        let instruction = decoded.map_err(|_| unsupported("an undefined instruction"))?;
        let op = self.resolve(pc, facts, instruction)?;
        if self.input.variant == Variant::Plain {
            self.push(pc, op);
            return Ok(());
        }
        self.trace_before(pc, facts, &instruction);
        self.push(pc, op);
        match instruction {
            Instruction::Call(CallTarget::Helper(helpers::MAP_UPDATE_ELEM)) => self.push(pc, Op::TraceUpdate),
            Instruction::Call(CallTarget::Helper(helpers::MAP_DELETE_ELEM)) => self.push(pc, Op::TraceDelete),
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, pc: usize, op: Op) {
        self.ops.push(op);
        self.pcs.push(pc);
    }

    /// What the traced variant does before an instruction.
    fn trace_before(&mut self, pc: usize, facts: &InsnFacts<'_>, instruction: &Instruction) {
        let fields = &self.input.context.fields;
        let is_buffer = |field: u16| {
            let field = fields.get(usize::from(field));
            field.is_some_and(|field| matches!(field.kind, ContextFieldKind::Buffer { .. }))
        };
        // A buffer that a context lends is a value of a map, too: an iterator's.
        let in_map = |region: &Region| match *region {
            Region::MapValue { .. } | Region::InnerMapValue { .. } => true,
            Region::ContextMemory { field } => is_buffer(field),
            _ => false,
        };
        match *instruction {
            Instruction::Store { base, off, .. }
            | Instruction::Atomic { base, off, .. }
            | Instruction::StoreRelease { base, off, .. }
                if facts.access.iter().any(in_map) =>
            {
                self.push(pc, Op::RegisterPointer { base, off });
            }
            Instruction::Call(CallTarget::Helper(helpers::SPIN_LOCK | helpers::SPIN_UNLOCK)) => {}
            Instruction::Call(CallTarget::Helper(helpers::TAIL_CALL)) => self.push(pc, Op::FlushPointers),
            Instruction::Call(CallTarget::Helper(_) | CallTarget::Kfunc { .. }) => {
                for (base, memory) in ARGUMENTS.into_iter().zip(&facts.memory) {
                    if memory.is_some_and(|memory| memory.write && memory.regions.iter().any(in_map)) {
                        self.push(pc, Op::RegisterPointer { base, off: 0 });
                    }
                }
            }
            Instruction::Exit if self.in_main(pc) => self.push(pc, Op::FlushPointers),
            _ => {}
        }
    }

    fn in_main(&self, pc: usize) -> bool {
        self.input
            .verified
            .subprogs
            .first()
            .is_none_or(|main| (main.start..main.end).contains(&pc))
    }

    /// Replaces what only the runtime knows: addresses of maps and functions, places of context fields.
    fn resolve(&mut self, pc: usize, facts: &InsnFacts<'_>, instruction: Instruction) -> Result<Op, LowerError> {
        let unsupported = |what| Err(LowerError::Unsupported { pc, what });
        let resolved = match instruction {
            Instruction::Call(target @ CallTarget::Helper(id)) => {
                let site = self.site(pc, id, facts);
                let callee = self.input.resolve.helper(&site);
                let callee = callee.ok_or(LowerError::NoSuchFunction { pc, what: "helper", id })?;
                let callee = self.add_callee(callee.takes(helper_args(id)));
                return Ok(match id {
                    helpers::TAIL_CALL => Op::TailCall { callee },
                    _ => Op::Call { target, callee },
                });
            }
            Instruction::Call(target @ CallTarget::Kfunc { id, .. }) => {
                let id = id.cast_unsigned();
                let callee = self.input.resolve.kfunc(&self.site(pc, id, facts));
                let what = "kernel function";
                let callee = callee.ok_or(LowerError::NoSuchFunction { pc, what, id })?;
                let callee = self.add_callee(callee);
                return Ok(Op::Call { target, callee });
            }
            Instruction::LoadPacket { size, index, imm } => {
                return Ok(Op::LoadPacket {
                    size,
                    index,
                    off: imm,
                    flush: self.input.variant == Variant::Traced && self.in_main(pc),
                });
            }
            Instruction::Load {
                size,
                signed,
                dst,
                base,
                off,
            } if facts.access.contains(&Region::Object) => {
                return Ok(Op::Probe {
                    size,
                    signed,
                    dst,
                    base,
                    off,
                });
            }
            Instruction::LoadImm64 {
                dst,
                imm: Imm64::Func(off),
            } => {
                return Ok(Op::Function {
                    dst,
                    frame: self.frame(pc, off)?,
                });
            }
            Instruction::LoadImm64 { dst, imm } => {
                let value = match imm {
                    Imm64::Value(value) => value,
                    Imm64::MapIdx(index) => self.map(pc, index)?.map,
                    Imm64::MapValueIdx { index, off } => {
                        let map = self.map(pc, index)?;
                        if map.value == 0 {
                            return unsupported("the address of a value of a map without a fixed one");
                        }
                        map.value.wrapping_add(off.into())
                    }
                    Imm64::MapFd(_) | Imm64::MapValueFd { .. } => return unsupported("a map by descriptor"),
                    Imm64::BtfId { .. } | Imm64::Func(_) => return unsupported("the address of a kernel variable"),
                };
                Instruction::LoadImm64 {
                    dst,
                    imm: Imm64::Value(value),
                }
            }
            Instruction::AddrSpaceCast { .. } => return unsupported("a cast between address spaces"),
            Instruction::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let (size, off) = self.host_access(pc, facts, size, off)?;
                Instruction::Load {
                    size,
                    signed,
                    dst,
                    base,
                    off,
                }
            }
            Instruction::Store { size, base, off, src } => {
                let (size, off) = self.host_access(pc, facts, size, off)?;
                Instruction::Store { size, base, off, src }
            }
            Instruction::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => {
                let (size, off) = self.host_access(pc, facts, size, off)?;
                Instruction::Atomic {
                    size,
                    op,
                    base,
                    off,
                    src,
                }
            }
            Instruction::LoadAcquire { size, dst, base, off } => {
                let (size, off) = self.host_access(pc, facts, size, off)?;
                Instruction::LoadAcquire { size, dst, base, off }
            }
            Instruction::StoreRelease { size, base, off, src } => {
                let (size, off) = self.host_access(pc, facts, size, off)?;
                Instruction::StoreRelease { size, base, off, src }
            }
            _ => instruction,
        };
        Ok(Op::Insn(resolved))
    }

    fn site<'f>(&self, pc: usize, id: u32, facts: &InsnFacts<'f>) -> CallSite<'f> {
        CallSite {
            pc,
            id,
            facts: *facts,
            variant: self.input.variant,
        }
    }

    fn add_callee(&mut self, callee: Callee) -> usize {
        self.callees.push(callee);
        self.callees.len() - 1
    }

    fn map(&self, pc: usize, index: u32) -> Result<crate::MapAddresses, LowerError> {
        let maps = self.input.maps;
        let found = usize::try_from(index).ok().and_then(|index| maps.get(index)).copied();
        found.ok_or(LowerError::NoSuchMap {
            pc,
            index,
            count: maps.len(),
        })
    }

    /// The subprogram that begins `off` slots behind the instruction at `pc`.
    fn frame(&self, pc: usize, off: i32) -> Result<usize, LowerError> {
        let start = (pc + 1).checked_add_signed(off as isize);
        let mut subprogs = self.input.verified.subprogs.iter();
        let found = subprogs.position(|subprog| Some(subprog.start) == start);
        found.ok_or(LowerError::Unsupported {
            pc,
            what: "the address of something other than a subprogram",
        })
    }

    /// Size and offset of an access in the runtime's layout. A context access moves by as much as its field does, so an
    /// offset inside the field, or in the address register, stays what it is.
    fn host_access(&self, pc: usize, facts: &InsnFacts<'_>, size: Size, off: i16) -> Result<(Size, i16), LowerError> {
        let unsupported = |what| LowerError::Unsupported { pc, what };
        let mut host = None;
        for region in facts.access {
            let access = match region {
                Region::Context { field } => {
                    let facts = self.input.context.fields.get(usize::from(*field));
                    let field = facts.ok_or(unsupported("access to an unknown context field"))?;
                    let moved = i64::from(off) + i64::from(field.host_off) - i64::from(field.off);
                    let off = i16::try_from(moved).map_err(|_| unsupported("access to a context field that far"))?;
                    (if field.kind.is_number() { size } else { Size::Dw }, off)
                }
                _ => (size, off),
            };
            if host.is_some_and(|host| host != access) {
                return Err(unsupported("access to different places of the context"));
            }
            host = Some(access);
        }
        Ok(host.unwrap_or((size, off)))
    }

    fn retarget_all(&mut self) -> Result<(), LowerError> {
        for index in 0..self.ops.len() {
            let pc = self.pcs[index];
            let first = &self.first;
            let Op::Insn(instruction) = &mut self.ops[index] else {
                continue;
            };
            match instruction {
                Instruction::Jump { off, .. }
                | Instruction::Goto { off, .. }
                | Instruction::MayGoto { off }
                | Instruction::Call(CallTarget::Subprog(off)) => *off = retarget(first, pc, index, *off)?,
                _ => {}
            }
        }
        Ok(())
    }
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

/// The offset, in operations, from the operation at `index` to the instruction `off` slots behind the one at `pc`.
fn retarget(first: &[Option<usize>], pc: usize, index: usize, off: i32) -> Result<i32, LowerError> {
    let target = isize::try_from(off)
        .ok()
        .and_then(|off| (pc + 1).checked_add_signed(off));
    let op = target.and_then(|target| first.get(target).copied().flatten());
    let relative = op.and_then(|op| i32::try_from(op as i64 - index as i64 - 1).ok());
    relative.ok_or(LowerError::Unsupported {
        pc,
        what: "a jump out of the program",
    })
}
