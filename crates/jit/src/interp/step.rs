//! Steps: operations with everything looked up that can be looked up before a run.

use std::sync::Arc;

use hitless_isa::{AluOp, AtomicOp, CallTarget, Cond, EndOp, Imm64, Instruction, Operand, Reg, Size, Width};
use hitless_verifier::Region;

use crate::{Callee, DispatchFn, HostField, Image, Op, Services};

/// What the interpreter runs.
pub(super) struct Program {
    /// One step for each operation, and [`Step::Unreachable`] after the last.
    pub(super) steps: Box<[Step]>,
    /// For each step, the slot in the verified program.
    pub(super) pcs: Box<[usize]>,
    /// Where the steps with an `access` may reach.
    pub(super) accesses: Box<[Access]>,
    /// The first step of each subprogram.
    pub(super) functions: Box<[u32]>,
    /// What is called.
    pub(super) callees: Box<[Callee]>,
    /// The functions of the environment.
    pub(super) services: Services,
}

/// Memory that an instruction may access.
pub(super) struct Access {
    /// The stack of the frames in use.
    pub(super) stack: bool,
    /// Fields of the context.
    pub(super) fields: Box<[HostField]>,
    /// Regions that the runtime knows.
    pub(super) regions: Box<[Region]>,
    /// All of them, for the trap.
    pub(super) text: Arc<str>,
}

/// An address: register and offset, and what it may reach, by index into [`Program::accesses`].
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) access: u32,
    pub(super) off: i16,
    pub(super) base: Reg,
}

/// One step. Targets are indices of steps.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Set {
        dst: Reg,
        value: u64,
    },
    Alu64 {
        op: AluOp,
        dst: Reg,
        src: Reg,
    },
    Alu64Imm {
        op: AluOp,
        dst: Reg,
        imm: i32,
    },
    Alu32 {
        op: AluOp,
        dst: Reg,
        src: Reg,
    },
    Alu32Imm {
        op: AluOp,
        dst: Reg,
        imm: i32,
    },
    Extend {
        width: Width,
        bits: u8,
        dst: Reg,
        src: Reg,
    },
    Neg {
        width: Width,
        dst: Reg,
    },
    End {
        op: EndOp,
        bits: u8,
        dst: Reg,
    },
    Load {
        size: Size,
        dst: Reg,
        place: Place,
    },
    LoadSigned {
        size: Size,
        dst: Reg,
        place: Place,
    },
    Store {
        size: Size,
        src: Reg,
        place: Place,
    },
    StoreImm {
        size: Size,
        imm: i32,
        place: Place,
    },
    Atomic {
        size: Size,
        op: AtomicOp,
        src: Reg,
        place: Place,
    },
    LoadAcquire {
        size: Size,
        dst: Reg,
        place: Place,
    },
    StoreRelease {
        size: Size,
        src: Reg,
        place: Place,
    },
    Jump64 {
        cond: Cond,
        dst: Reg,
        src: Reg,
        target: u32,
    },
    Jump64Imm {
        cond: Cond,
        dst: Reg,
        imm: i32,
        target: u32,
    },
    Jump32 {
        cond: Cond,
        dst: Reg,
        src: Reg,
        target: u32,
    },
    Jump32Imm {
        cond: Cond,
        dst: Reg,
        imm: i32,
        target: u32,
    },
    Goto {
        target: u32,
    },
    MayGoto {
        target: u32,
    },
    CallFunction {
        callee: u32,
    },
    TailCall {
        callee: u32,
    },
    Replaced {
        callee: u32,
    },
    Probe {
        size: Size,
        signed: bool,
        dst: Reg,
        base: Reg,
        off: i16,
    },
    LoadPacket {
        size: Size,
        index: Option<Reg>,
        off: i32,
        flush: bool,
    },
    HelperInRegister {
        function: DispatchFn,
        reg: Reg,
    },
    Call {
        target: u32,
    },
    Exit,
    TraceUpdate,
    TraceDelete,
    RegisterPointer {
        base: Reg,
        off: i16,
    },
    FlushPointers,
    Unreachable,
}

/// Makes the steps of an image.
///
/// # Errors
/// The operation that has no step, in words.
pub(super) fn compile(image: &Image) -> Result<Program, String> {
    if image.pcs.len() != image.ops.len() {
        return Err(format!(
            "{} operations, but slots for {}",
            image.ops.len(),
            image.pcs.len()
        ));
    }
    let mut compiler = Compiler {
        image,
        accesses: Vec::new(),
    };
    let mut steps = Vec::with_capacity(image.ops.len() + 1);
    for (index, op) in image.ops.iter().enumerate() {
        steps.push(compiler.step(index, op)?);
    }
    steps.push(Step::Unreachable);
    let mut pcs = image.pcs.clone();
    pcs.push(image.facts.len());
    Ok(Program {
        steps: steps.into(),
        pcs: pcs.into(),
        accesses: compiler.accesses.into(),
        functions: image.frames.iter().map(|frame| frame.first as u32).collect(),
        callees: image.callees.as_slice().into(),
        services: image.services,
    })
}

struct Compiler<'a> {
    image: &'a Image,
    accesses: Vec<Access>,
}

impl Compiler<'_> {
    fn step(&mut self, index: usize, op: &Op) -> Result<Step, String> {
        let instruction = match *op {
            Op::Insn(instruction) => instruction,
            Op::Call { callee, .. } => return Ok(Step::CallFunction { callee: callee as u32 }),
            Op::TailCall { callee } => return Ok(Step::TailCall { callee: callee as u32 }),
            Op::Replaced { callee, .. } => return Ok(Step::Replaced { callee: callee as u32 }),
            Op::Probe {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                return Ok(Step::Probe {
                    size,
                    signed,
                    dst,
                    base,
                    off,
                });
            }
            Op::LoadPacket {
                size,
                index,
                off,
                flush,
            } => {
                return Ok(Step::LoadPacket {
                    size,
                    index,
                    off,
                    flush,
                });
            }
            Op::Function { dst, frame } => {
                return Ok(Step::Set {
                    dst,
                    value: super::function_value(frame),
                });
            }
            Op::TraceUpdate => return Ok(Step::TraceUpdate),
            Op::TraceDelete => return Ok(Step::TraceDelete),
            Op::RegisterPointer { base, off } => return Ok(Step::RegisterPointer { base, off }),
            Op::FlushPointers => return Ok(Step::FlushPointers),
            Op::Unreachable => return Ok(Step::Unreachable),
        };
        Ok(match instruction {
            Instruction::Alu { width, op, dst, src } => alu(width, op, dst, src),
            Instruction::MovSx { width, bits, dst, src } => Step::Extend { width, bits, dst, src },
            Instruction::AddrSpaceCast { .. } => {
                return Err("a cast between address spaces has no lowered form".to_owned());
            }
            Instruction::Neg { width, dst } => Step::Neg { width, dst },
            Instruction::End { op, bits, dst } => Step::End { op, bits, dst },
            Instruction::LoadImm64 {
                dst,
                imm: Imm64::Value(value),
            } => Step::Set { dst, value },
            Instruction::LoadImm64 { imm, .. } => return Err(format!("{imm} is not an address")),
            Instruction::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let place = self.place(index, base, off)?;
                if signed {
                    Step::LoadSigned { size, dst, place }
                } else {
                    Step::Load { size, dst, place }
                }
            }
            Instruction::Store { size, base, off, src } => {
                let place = self.place(index, base, off)?;
                match src {
                    Operand::Reg(src) => Step::Store { size, src, place },
                    Operand::Imm(imm) => Step::StoreImm { size, imm, place },
                }
            }
            Instruction::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => Step::Atomic {
                size,
                op,
                src,
                place: self.place(index, base, off)?,
            },
            Instruction::LoadAcquire { size, dst, base, off } => Step::LoadAcquire {
                size,
                dst,
                place: self.place(index, base, off)?,
            },
            Instruction::StoreRelease { size, base, off, src } => Step::StoreRelease {
                size,
                src,
                place: self.place(index, base, off)?,
            },
            Instruction::LoadPacket { .. } => return Err("legacy packet access was not lowered".to_owned()),
            Instruction::Jump {
                width,
                cond,
                dst,
                src,
                off,
            } => {
                let target = self.target(index, off)?;
                match (width, src) {
                    (Width::W64, Operand::Reg(src)) => Step::Jump64 { cond, dst, src, target },
                    (Width::W64, Operand::Imm(imm)) => Step::Jump64Imm { cond, dst, imm, target },
                    (Width::W32, Operand::Reg(src)) => Step::Jump32 { cond, dst, src, target },
                    (Width::W32, Operand::Imm(imm)) => Step::Jump32Imm { cond, dst, imm, target },
                }
            }
            Instruction::Goto { off, .. } => Step::Goto {
                target: self.target(index, off)?,
            },
            Instruction::MayGoto { off } => Step::MayGoto {
                target: self.target(index, off)?,
            },
            Instruction::Call(CallTarget::Helper(id)) => return Err(format!("helper {id} has no address")),
            Instruction::Call(CallTarget::Register(reg)) => Step::HelperInRegister {
                function: self.image.dispatch.ok_or("a call by number has no lowered form")?,
                reg,
            },
            Instruction::Call(CallTarget::Subprog(off)) => Step::Call {
                target: self.target(index, off)?,
            },
            Instruction::Call(CallTarget::Kfunc { id, .. }) => return Err(format!("kfunc {id} has no lowered form")),
            Instruction::Exit => Step::Exit,
        })
    }

    fn target(&self, index: usize, off: i32) -> Result<u32, String> {
        let target = isize::try_from(off)
            .ok()
            .and_then(|off| (index + 1).checked_add_signed(off));
        let inside = target.filter(|target| *target < self.image.ops.len());
        inside
            .and_then(|target| u32::try_from(target).ok())
            .ok_or_else(|| format!("operation {index} jumps by {off}, out of the program"))
    }

    fn place(&mut self, index: usize, base: Reg, off: i16) -> Result<Place, String> {
        let image = self.image;
        if image.pcs[index] >= image.facts.len() {
            return Err(format!("operation {index} has no facts"));
        };
        let access = self
            .access(image.facts.access(image.pcs[index]))
            .ok_or_else(|| format!("operation {index} has an unknown field"))?;
        let number = u32::try_from(self.accesses.len()).map_err(|_| "too many accesses".to_owned())?;
        self.accesses.push(access);
        Ok(Place {
            access: number,
            off,
            base,
        })
    }

    fn access(&self, facts: &[Region]) -> Option<Access> {
        let (mut stack, mut fields, mut regions) = (false, Vec::new(), Vec::new());
        for region in facts {
            match region {
                Region::Stack => stack = true,
                Region::Context { field } => fields.push(*self.image.fields.get(usize::from(*field))?),
                other => regions.push(*other),
            }
        }
        let text = match facts.len() {
            0 => "every region".to_owned(),
            _ => facts.iter().map(name).collect::<Vec<_>>().join(", "),
        };
        Some(Access {
            stack,
            fields: fields.into(),
            regions: regions.into(),
            text: text.into(),
        })
    }
}

/// A region in words.
fn name(region: &Region) -> String {
    match region {
        Region::Stack => "the stack".to_owned(),
        Region::Context { field } => format!("context field {field}"),
        Region::Packet => "the packet".to_owned(),
        Region::MapValue { map } => format!("a value of map {map}"),
        Region::ContextMemory { field } => format!("the memory behind context field {field}"),
        Region::MapKey { map } => format!("a key of map {map}"),
        Region::InnerMapKey { outer } => format!("a key of a map in map {outer}"),
        Region::InnerMapValue { outer } => format!("a value of a map in map {outer}"),
        Region::InnerRecord { outer } => format!("a record of a map in map {outer}"),
        Region::Record { map } => format!("a record of map {map}"),
        Region::Object => "an object".to_owned(),
        Region::Allocated => "an object of the program's".to_owned(),
    }
}

fn alu(width: Width, op: AluOp, dst: Reg, src: Operand) -> Step {
    match (width, src) {
        (Width::W64, Operand::Imm(imm)) if op == AluOp::Mov => Step::Set {
            dst,
            value: i64::from(imm).cast_unsigned(),
        },
        (Width::W32, Operand::Imm(imm)) if op == AluOp::Mov => Step::Set {
            dst,
            value: imm.cast_unsigned().into(),
        },
        (Width::W64, Operand::Reg(src)) => Step::Alu64 { op, dst, src },
        (Width::W64, Operand::Imm(imm)) => Step::Alu64Imm { op, dst, imm },
        (Width::W32, Operand::Reg(src)) => Step::Alu32 { op, dst, src },
        (Width::W32, Operand::Imm(imm)) => Step::Alu32Imm { op, dst, imm },
    }
}
