//! What an instruction does to a state in which everything that it requires holds.
//!
//! Nothing is checked here. Where the requirements leave no doubt about a pointer's kind or offset, this relies on them.

mod branch;
pub(crate) mod call;
mod kfunc;
mod memory;
mod object;

use hitless_isa::{AluOp, CallTarget, Imm64, Instruction, Operand, Reg, Width};

use crate::domain::pointer::{Id, Pointer, PointerKind};
use crate::domain::scalar::{Scalar, arithmetic, byte_order, negate, sign_extend};
use crate::domain::value::{Link, Value};
use crate::program::{Program, target};
use crate::state::State;
use crate::tables::helpers;
use crate::uses::Uses;

/// Where control goes from an instruction.
#[derive(Debug)]
pub(crate) enum Flow {
    /// On at one place.
    To(usize),
    /// On at two: the state that was passed in goes on at `next`, the other one at `jump`.
    Fork {
        /// Where the jump goes.
        jump: usize,
        /// The state in which it does.
        taken: Box<State>,
        /// The following instruction.
        next: usize,
    },
    /// Out of a loop, or into its next turn: at run time something bounds how often.
    Turn {
        /// Where the loop is left.
        out: usize,
        /// Where its next turn begins.
        turn: usize,
    },
    /// On after a tail call that failed, and behind the call of the subprogram, which another program has replaced.
    Replaced {
        /// Where the caller goes on.
        back: usize,
        /// The state in which it does.
        state: Box<State>,
        /// The following instruction.
        next: usize,
    },
    /// On behind a helper in the state that was passed in, and into a function that it calls back.
    CallBack {
        /// The following instruction.
        next: usize,
        /// Where the function begins.
        start: usize,
        /// The state in which it does.
        entered: Box<State>,
    },
    /// On in the state that was passed in, in which an iterator has come to its end, and in that in which it has come to an
    /// element.
    Element {
        /// The following instruction.
        next: usize,
        /// The state with the element.
        taken: Box<State>,
    },
    /// From a callback to the call of the helper, which may call back again.
    Back(usize),
    /// Nowhere: the program ends, or no machine state gets here.
    End,
}

/// Names things apart; a name is never used twice in a verification.
#[derive(Debug, Default)]
pub(crate) struct Ids(Id);

impl Ids {
    pub(crate) fn fresh(&mut self) -> Id {
        self.0 += 1;
        self.0
    }
}

/// Runs the instruction at `pc`.
pub(crate) fn transfer(program: &Program<'_>, pc: usize, state: &mut State, ids: &mut Ids, uses: &mut Uses) -> Flow {
    let insn = program.insn(pc);
    let next = pc + insn.slots();
    match *insn {
        Instruction::Alu { width, op, dst, src } => alu(state, ids, width, op, dst, src),
        Instruction::MovSx { width, bits, dst, src } => {
            let value = sign_extended(state, ids, width, bits.into(), src);
            state.set(dst, value);
        }
        Instruction::Neg { width, dst } => map_scalar(state, dst, |scalar| negate(width, scalar)),
        Instruction::End { op, bits, dst } => map_scalar(state, dst, |scalar| byte_order(op, bits.into(), scalar)),
        Instruction::LoadImm64 { dst, imm } => state.set(dst, wide_immediate(program, pc, imm)),
        Instruction::Load {
            size,
            signed,
            dst,
            base,
            off,
        } => memory::load(program, state, ids, uses, size, signed, dst, base, off),
        Instruction::LoadAcquire { size, dst, base, off } => {
            memory::load(program, state, ids, uses, size, false, dst, base, off);
        }
        Instruction::Store { size, base, off, src } => memory::store(state, ids, uses, size, base, off, src),
        Instruction::StoreRelease { size, base, off, src } => {
            memory::store(state, ids, uses, size, base, off, Operand::Reg(src));
        }
        Instruction::Atomic {
            size,
            op,
            base,
            off,
            src,
        } => memory::atomic(state, uses, size, op, base, off, src),
        Instruction::Jump {
            width,
            cond,
            dst,
            src,
            off,
        } => {
            let jump = target(pc, off).expect("jump targets were checked");
            return branch::jump(state, uses, branch::Jump { width, cond, dst, src }, jump, next);
        }
        Instruction::Goto { off, .. } => return Flow::To(target(pc, off).expect("jump targets were checked")),
        Instruction::MayGoto { off } => {
            let out = target(pc, off).expect("jump targets were checked");
            return Flow::Turn { out, turn: next };
        }
        Instruction::Call(CallTarget::Subprog(off)) => {
            let start = target(pc, off).expect("call targets were checked");
            let subprog = program.subprog_at(start).expect("call targets start subprograms");
            if let Some(func) = program.global(subprog) {
                call::global(state, uses, func, program.changes_packet(subprog));
                return Flow::To(next);
            }
            call::enter(state, uses, subprog, pc);
            return Flow::To(start);
        }
        Instruction::Call(CallTarget::Helper(id)) => {
            if let Some(proto) = program.helper(id) {
                let again = call::back(program, pc, proto, state, ids, uses);
                call::helper(program, pc, proto, state, ids, uses);
                if let Some((start, entered)) = again {
                    return Flow::CallBack { next, start, entered };
                }
            }
            if id == helpers::TAIL_CALL
                && let Some((back, state)) = call::replaced(state)
            {
                return Flow::Replaced { back, state, next };
            }
        }
        Instruction::Exit => return call::exit(program, state, uses),
        Instruction::Call(CallTarget::Kfunc { .. }) => return kfunc::call(program, pc, next, state, ids, uses),
        // Never accepted.
        // If the packet is shorter the program ends here, with a zero that every hook of such programs takes.
        Instruction::LoadPacket { .. } => {
            state.frame_mut().clobber_caller_saved();
            state.set(Reg::R0, Value::UNKNOWN);
        }
        Instruction::Call(CallTarget::Register(_)) | Instruction::AddrSpaceCast { .. } => return Flow::End,
    }
    Flow::To(next)
}

/// The second operand. Immediates are sign-extended; 32-bit operations look at the low half only.
pub(crate) fn operand(state: &State, operand: Operand) -> Value {
    match operand {
        Operand::Reg(reg) => state.reg(reg),
        Operand::Imm(imm) => Value::constant(i64::from(imm) as u64),
    }
}

fn map_scalar(state: &mut State, reg: Reg, f: impl FnOnce(&Scalar) -> Scalar) {
    let result = state.reg(reg).as_scalar().map_or(Scalar::TOP, f);
    state.set(reg, Value::Scalar(result, Link::NONE));
}

fn wide_immediate(program: &Program<'_>, pc: usize, imm: Imm64) -> Value {
    match imm {
        Imm64::Value(value) => Value::constant(value),
        Imm64::MapIdx(map) => Value::Pointer(Pointer::to(PointerKind::Map { map })),
        Imm64::MapValueIdx { index, off } => {
            let kind = PointerKind::MapValue {
                map: index,
                id: 0,
                nullable: false,
            };
            Value::Pointer(Pointer {
                kind,
                fixed: off.into(),
                var: Scalar::constant(0),
            })
        }
        Imm64::Func(off) => {
            let subprog = target(pc, off).and_then(|start| program.subprog_at(start));
            let func = |subprog| {
                Value::Pointer(Pointer::to(PointerKind::Func {
                    subprog: subprog as u32,
                }))
            };
            subprog.map_or(Value::Uninit, func)
        }
        Imm64::BtfId { id, fd: 0 } => program
            .host_symbol(id)
            .map_or(Value::Uninit, |kind| Value::Pointer(Pointer::to(kind))),
        Imm64::MapFd(_) | Imm64::MapValueFd { .. } | Imm64::BtfId { .. } => Value::Uninit,
    }
}

/// Links a number to its copies before it is copied. Constants need no link.
fn linked(state: &mut State, reg: Reg, ids: &mut Ids) -> Value {
    match state.reg(reg) {
        Value::Scalar(scalar, Link { id: 0, .. }) if scalar.as_constant().is_none() => {
            let link = Link {
                id: ids.fresh(),
                off: 0,
            };
            let value = Value::Scalar(scalar, link);
            state.set(reg, value);
            value
        }
        value => value,
    }
}

fn alu(state: &mut State, ids: &mut Ids, width: Width, op: AluOp, dst: Reg, src: Operand) {
    if op == AluOp::Mov {
        let value = moved(state, ids, width, src);
        state.set(dst, value);
        return;
    }
    let result = match (state.reg(dst), operand(state, src)) {
        // Only a difference is defined of halves, and Linux knows nothing of it.
        (Value::Pointer(_), _) | (_, Value::Pointer(_)) if width == Width::W32 => Value::UNKNOWN,
        (Value::Pointer(pointer), Value::Scalar(scalar, _)) | (Value::Scalar(scalar, _), Value::Pointer(pointer)) => {
            let id = if scalar.as_constant().is_some() { 0 } else { ids.fresh() };
            Value::Pointer(offset_by(&pointer, op, &scalar, id))
        }
        // The distance between two pointers.
        (Value::Pointer(_), Value::Pointer(_)) => Value::UNKNOWN,
        (Value::Scalar(left, link), Value::Scalar(right, _)) => {
            let link = match (width, op, right.as_constant()) {
                (Width::W64, AluOp::Add, Some(by)) => link.plus(by as i64),
                (Width::W64, AluOp::Sub, Some(by)) => link.plus((by as i64).wrapping_neg()),
                _ => Link::NONE,
            };
            Value::Scalar(arithmetic(width, op, &left, &right), link)
        }
        (Value::Uninit, _) | (_, Value::Uninit) => Value::Uninit,
    };
    state.set(dst, result);
}

/// The result of a move. A number that is not changed by it stays the same number.
fn moved(state: &mut State, ids: &mut Ids, width: Width, src: Operand) -> Value {
    let value = operand(state, src);
    match (width, value, src) {
        (Width::W32, Value::Scalar(scalar, _), _) if scalar.u64.max > u32::MAX.into() => {
            Value::Scalar(scalar.truncated(32), Link::NONE)
        }
        (_, Value::Scalar(..), Operand::Reg(src)) => linked(state, src, ids),
        (Width::W32, Value::Pointer(_), _) => Value::Scalar(Scalar::loaded(4, false), Link::NONE),
        (_, value, _) => value,
    }
}

/// The low `bits` of a number, sign-extended. A number that is not changed by it stays the same number.
fn sign_extended(state: &mut State, ids: &mut Ids, width: Width, bits: u32, src: Reg) -> Value {
    let Value::Scalar(scalar, _) = state.reg(src) else {
        return Value::UNKNOWN;
    };
    let extended = sign_extend(&scalar, bits);
    let result = if width == Width::W32 {
        extended.truncated(32)
    } else {
        extended
    };
    if result == scalar {
        linked(state, src, ids)
    } else {
        Value::Scalar(result, Link::NONE)
    }
}

/// `pointer + scalar` or `pointer - scalar`. Constants change the fixed part; anything else makes a new unknown part,
/// named `id`, of which nothing is known to lie in the packet.
pub(crate) fn offset_by(pointer: &Pointer, op: AluOp, scalar: &Scalar, id: Id) -> Pointer {
    if pointer.kind.is_anywhere() {
        return *pointer;
    }
    if let Some(constant) = scalar.as_constant() {
        let constant = constant as i64;
        let fixed = if op == AluOp::Sub {
            pointer.fixed.wrapping_sub(constant)
        } else {
            pointer.fixed.wrapping_add(constant)
        };
        return Pointer { fixed, ..*pointer };
    }
    let kind = match pointer.kind {
        PointerKind::Packet { .. } => PointerKind::Packet { id, range: 0 },
        PointerKind::PacketMeta { .. } => PointerKind::PacketMeta { id, range: 0 },
        kind => kind,
    };
    Pointer {
        kind,
        fixed: pointer.fixed,
        var: arithmetic(Width::W64, op, &pointer.var, scalar),
    }
}
