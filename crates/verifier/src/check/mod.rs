//! Whether a requirement holds in a state.
//!
//! A check looks at the state and never changes it; what it learns about the instruction (which memory, which map) goes
//! to the recorder, and what it took notice of (numbers, stack slots) to the uses. Checks of one instruction run in the order of its requirements and stop at the first that fails.

mod arithmetic;
mod call;
mod dynptr;
mod func;
mod graph;
mod kfunc;
mod kptr;
mod memory;
mod object;
mod region;
mod text;

use hitless_isa::{CallTarget, Instruction, Reg};

use crate::domain::pointer::PointerKind;
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::HelperProto;
use crate::program::{Program, target};
use crate::record::Recorder;
use crate::requirements::Requirement;
use crate::state::{Callback, LockOwner, MAX_FRAMES, MAX_REFERENCES, State};
use crate::tables::{helpers, map_types};
use crate::uses::Uses;

pub(crate) use call::{arg_reg, function, lock_at, map_argument, mem_size};
pub(crate) use dynptr::{dynptr_at, dynptr_place};
pub(crate) use graph::{contained_at, own_struct};
pub(crate) use kfunc::{cast_type, iterator_at, iterator_place, slice_buffer};
pub(crate) use kptr::field_at;

/// Where a requirement is to hold.
pub(crate) struct Context<'a, 'p> {
    pub(crate) program: &'a Program<'p>,
    pub(crate) pc: usize,
    pub(crate) state: &'a State,
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) uses: &'a mut Uses,
}

/// Fails if `requirement` may not hold.
pub(crate) fn check(cx: &mut Context<'_, '_>, requirement: &Requirement) -> Result<(), Failure> {
    match *requirement {
        // Held since the program was found to be well-formed, or watched by the search itself.
        Requirement::ProgramSize
        | Requirement::Decodable
        | Requirement::JumpTarget
        | Requirement::CallTarget
        | Requirement::SubprogEnd
        | Requirement::StaticallyReachable
        | Requirement::NoRecursion
        | Requirement::CombinedStack
        | Requirement::Termination
        | Requirement::Complexity
        | Requirement::PendingBranches => Ok(()),
        Requirement::Supported => Err(unsupported(cx)),
        Requirement::Exists => match cx.program.missing(cx.pc) {
            None => Ok(()),
            Some(missing) => Err(does_not_exist(missing)),
        },
        Requirement::CallDepth => call_depth(cx.state),
        Requirement::GlobalArguments { subprog } => func::arguments(cx, subprog),
        Requirement::Initialized { reg } => match cx.state.reg(reg) {
            Value::Uninit => Err(Failure::new("nothing", format!("R{} !read_ok", reg.index()))),
            _ => Ok(()),
        },
        Requirement::WritableReg { reg } if reg == Reg::R10 => {
            Err(Failure::new("the frame pointer", "frame pointer is read only"))
        }
        Requirement::WritableReg { .. } => Ok(()),
        Requirement::Divisor { divisor: 0 } => Err(Failure::new("0", "div by zero")),
        Requirement::Divisor { .. } => Ok(()),
        Requirement::ShiftCount { bits, count } => {
            if u32::try_from(count).is_ok_and(|count| count < bits) {
                Ok(())
            } else {
                Err(Failure::new(count.to_string(), format!("invalid shift {count}")))
            }
        }
        Requirement::Arithmetic { width, op, dst, src } => arithmetic::defined(cx, width, op, dst, src),
        Requirement::MapReference { map, value_off } => map_reference(cx, map, value_off),
        Requirement::HostSymbol { id } => match cx.program.host_symbol(id) {
            Some(_) => Ok(()),
            None => Err(unsupported(cx)),
        },
        Requirement::StaticFunction { off } => {
            let subprog = target(cx.pc, off).and_then(|start| cx.program.subprog_at(start));
            match subprog {
                Some(subprog) if subprog != 0 && cx.program.global(subprog).is_none() => Ok(()),
                _ => Err(Failure::new("a global function", "callback function not static")),
            }
        }
        Requirement::Accessible {
            access,
            size,
            base,
            off,
        } => memory::accessible(cx, access, size, base, off),
        Requirement::Storable { src, size, base } => memory::storable(cx, src, size, base),
        Requirement::KnownHelper { id } => match cx.program.helper(id) {
            Some(proto) if proto.excluded.is_none() => object::result_is_known(cx, proto),
            Some(_) => Ok(()),
            None => Err(Failure::new(format!("helper {id}"), unknown_helper(id))),
        },
        Requirement::GplCompatible { .. } => {
            if cx.program.input.gpl_compatible {
                return Ok(());
            }
            let message = "cannot call GPL-restricted function from non-GPL compatible program";
            Err(Failure::new("another license", message))
        }
        Requirement::MaySleep { id } => {
            if !cx.program.input.context.sleepable {
                let message = "helper call might sleep in a non-sleepable prog";
                return Err(Failure::new("one that may not", message));
            }
            let name = helpers::name(id).unwrap_or_default();
            region::may_sleep(cx, |region| format!("sleepable helper {name}#{id} in {region} region"))
        }
        Requirement::HostedHelper { id } => Err(excluded_helper(cx, id)),
        Requirement::NoLockAtCall { .. } => match cx.program.insn(cx.pc) {
            Instruction::Call(CallTarget::Subprog(_)) if cx.program.global_callee(cx.pc).is_none() => Ok(()),
            Instruction::Call(CallTarget::Subprog(_)) => no_lock(
                cx,
                "global function calls are not allowed while holding a lock, use static function instead",
            ),
            _ => no_lock(cx, "function calls are not allowed while holding a lock"),
        },
        Requirement::ReferenceCount => reference_count(cx.state),
        Requirement::NoReferenceAtEnd => no_reference(cx),
        Requirement::NoRegionAtEnd => region::ended(cx),
        Requirement::NotCalledBack => match cx.state.frame().callback {
            None => Ok(()),
            Some(_) => Err(Failure::new(
                "a callback",
                "tail_call is not allowed in callbacks: what called back expects the callback to return",
            )),
        },
        // A static function may leave to its caller what it took.
        Requirement::NoLockAtExit
            if cx.state.depth() > 0 && cx.state.frame().callback.is_none_or(|callback| callback.locked) =>
        {
            Ok(())
        }
        Requirement::NoLockAtExit => no_lock(
            cx,
            "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
        ),
        Requirement::LegacyPacketAccess => legacy_packet_access(cx),
        Requirement::NoLockAtPacketAccess => {
            no_lock(cx, "BPF_LD_[ABS|IND] cannot be used inside bpf_spin_lock-ed region")
        }
        Requirement::ContextInR6 => match cx.state.reg(Reg::R6) {
            value
                if value
                    .as_pointer()
                    .is_some_and(|pointer| pointer.kind == PointerKind::Context) =>
            {
                call::context(&value, Reg::R6)
            }
            value => {
                let message = "at the time of BPF_LD_ABS|IND R6 != pointer to skb";
                Err(Failure::new(value.to_string(), message))
            }
        },
        Requirement::Argument { helper, index, ty } => call::argument(cx, helper, index, ty),
        Requirement::HostedKfunc => kfunc::hosted(cx),
        Requirement::CallableKfunc if cx.program.called_kfunc(cx.pc).is_none() => Err(unsupported(cx)),
        Requirement::CallableKfunc => kfunc::callable(cx),
        Requirement::KfuncArgument { index } => kfunc::argument(cx, index),
        Requirement::SuitableMap { helper } => call::suitable_map(cx, helper),
        Requirement::Format { text, size } => text::format(cx, text, size),
        Requirement::ReturnValue => return_value(cx),
    }
}

fn unsupported(cx: &Context<'_, '_>) -> Failure {
    use hitless_isa::Imm64;
    let (found, message) = match cx.program.insn(cx.pc) {
        Instruction::LoadImm64 {
            imm: Imm64::MapFd(fd) | Imm64::MapValueFd { fd, .. },
            ..
        } => ("a map descriptor", format!("fd {fd} is not pointing to valid bpf_map")),
        Instruction::LoadImm64 {
            imm: Imm64::BtfId { id, .. },
            ..
        } => ("a kernel variable", format!("unknown BTF id {id}")),
        Instruction::Call(CallTarget::Helper(id)) => {
            let proto = cx.program.helper(*id);
            let what = proto.and_then(HelperProto::unsupported).unwrap_or("this helper");
            let name = proto.map_or("helper", |proto| proto.name);
            (what, format!("{name}#{id}: {what} are not supported"))
        }
        Instruction::Call(CallTarget::Kfunc { id, .. }) => {
            ("a kfunc", format!("calling kernel function {id} is not allowed"))
        }
        Instruction::Call(_) => ("a call through a register", "unknown opcode 8d".to_owned()),
        Instruction::AddrSpaceCast { .. } => (
            "a cast between address spaces",
            "addr_space_cast insn can only be used in a program that has an associated arena".to_owned(),
        ),
        _ => ("this instruction", "unknown insn".to_owned()),
    };
    Failure::new(found, message)
}

fn legacy_packet_access(cx: &Context<'_, '_>) -> Result<(), Failure> {
    if !cx.program.input.context.legacy_packet_access {
        let message = "BPF_LD_[ABS|IND] instructions not allowed for this program type";
        return Err(Failure::new(cx.program.input.context.name.clone(), message));
    }
    if cx.state.frame().subprog != 0 {
        let message = "LD_ABS is not allowed in subprogs without BTF";
        return Err(Failure::new("a subprogram", message));
    }
    Ok(())
}

fn does_not_exist(missing: &str) -> Failure {
    let (place, test) = match missing.split(' ').next() {
        Some("kfunc") => ("here", "call it only after a test with bpf_ksym_exists()"),
        Some("enum") => ("in the target BTF", "guard its use with bpf_core_enum_value_exists()"),
        _ => ("in the target BTF", "guard the access with bpf_core_field_exists()"),
    };
    Failure::new("nothing", format!("{missing} does not exist {place}; {test}"))
}

fn unknown_helper(id: u32) -> String {
    // Linux has a name for the number that is no helper's.
    match helpers::name(id).or((id == 0).then_some("bpf_unspec")) {
        Some(name) => format!("program of this type cannot use helper {name}#{id}"),
        None => format!("invalid func unknown#{id}"),
    }
}

fn excluded_helper(cx: &Context<'_, '_>, id: u32) -> Failure {
    let (name, reason) = match cx.program.helper(id) {
        Some(proto) => (proto.name, proto.excluded.unwrap_or("it is not offered")),
        None => ("helper", "it is not known"),
    };
    Failure::new(
        reason,
        format!("helper {name}#{id} is not available in user space: {reason}"),
    )
}

fn call_depth(state: &State) -> Result<(), Failure> {
    let frames = state.frames().len();
    if frames < MAX_FRAMES {
        return Ok(());
    }
    let message = format!("the call stack of {} frames is too deep", frames + 1);
    Err(Failure::new(format!("{} frames", frames + 1), message))
}

fn no_lock(cx: &Context<'_, '_>, message: &str) -> Result<(), Failure> {
    match cx.state.lock {
        None => Ok(()),
        Some(lock) => {
            let owner = match lock.owner {
                LockOwner::Map(map) => format!("the lock of map {}", cx.program.map(map).name),
                LockOwner::Object => "the lock of an object".to_owned(),
            };
            Err(Failure::new(owner, message))
        }
    }
}

fn reference_count(state: &State) -> Result<(), Failure> {
    let count = state.references().len();
    if count < MAX_REFERENCES {
        return Ok(());
    }
    let message = format!("more than {MAX_REFERENCES} references are held");
    Err(Failure::new(format!("{count} references"), message))
}

/// The exit of a subprogram ends nothing; a tail call does, wherever it is.
fn no_reference(cx: &Context<'_, '_>) -> Result<(), Failure> {
    // A subprogram that ends, or that another program replaces, leaves them to its caller.
    let returns = cx.state.depth() > 0;
    match cx.state.references().first() {
        Some(reference) if !returns => Err(Failure::new(
            format!("what the call at insn {} returned", reference.pc),
            format!("Unreleased reference id={} alloc_insn={}", reference.id, reference.pc),
        )),
        _ => Ok(()),
    }
}

fn map_reference(cx: &Context<'_, '_>, map: u32, value_off: Option<u32>) -> Result<(), Failure> {
    let Some(facts) = cx.program.input.maps.get(map as usize) else {
        let found = format!("map {map} of {}", cx.program.input.maps.len());
        return Err(Failure::new(
            found,
            format!("fd_idx {map} is not pointing to valid bpf_map"),
        ));
    };
    let Some(off) = value_off else { return Ok(()) };
    if !map_types::of(facts.kind).has_direct_values() {
        let found = format!("map {} of type {}", facts.name, map_types::of(facts.kind).name);
        return Err(Failure::new(found, "no direct value access support for this map type"));
    }
    if facts.max_entries != 1 {
        let found = format!("map {} of {} elements", facts.name, facts.max_entries);
        return Err(Failure::new(
            found,
            "invalid access to map value pointer, map has more than one element",
        ));
    }
    if off >= facts.value_size {
        let message = format!(
            "invalid access to map value pointer, value_size={} off={off}",
            facts.value_size
        );
        return Err(Failure::new(
            format!("offset {off} in a value of {} bytes", facts.value_size),
            message,
        ));
    }
    Ok(())
}

/// A callback tells the helper whether to go on.
fn callback_value(cx: &mut Context<'_, '_>, callback: Callback) -> Result<(), Failure> {
    let value = cx.state.reg(Reg::R0);
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let scalar = match value {
        Value::Scalar(scalar, _) => scalar,
        Value::Uninit => return fail("R0 !read_ok".to_owned()),
        Value::Pointer(pointer) if matches!(pointer.kind, PointerKind::Stack { .. }) && !callback.asynchronous => {
            return fail("cannot return stack pointer to the caller".to_owned());
        }
        Value::Pointer(pointer) if callback.asynchronous => {
            let name = pointer.kind.name();
            return fail(format!(
                "At async callback return the register R0 is not a known value ({name})"
            ));
        }
        Value::Pointer(_) => return fail("R0 not a scalar value".to_owned()),
    };
    cx.uses.value(Reg::R0);
    let (min, max) = callback.returns;
    let known = scalar.s64;
    if i64::from(min) <= known.min && known.max <= i64::from(max) {
        return Ok(());
    }
    let mut has = String::new();
    if known.min > i64::MIN {
        has += &format!(" smin={}", known.min);
    }
    if known.max < i64::MAX {
        has += &format!(" smax={}", known.max);
    }
    if has.is_empty() {
        has += " unknown scalar value";
    }
    let when = if callback.asynchronous {
        "async callback"
    } else {
        "callback"
    };
    fail(format!(
        "At {when} return the register R0 has{has} should have been in [{min}, {max}]"
    ))
}

fn return_value(cx: &mut Context<'_, '_>) -> Result<(), Failure> {
    if let Some(callback) = cx.state.frame().callback {
        return callback_value(cx, callback);
    }
    let value = cx.state.reg(Reg::R0);
    if cx.state.depth() > 0 {
        return match value.as_pointer().map(|pointer| pointer.kind) {
            // Not even to the caller's own stack, as in Linux.
            Some(PointerKind::Stack { .. }) => Err(Failure::new(
                value.to_string(),
                "cannot return stack pointer to the caller",
            )),
            _ => Ok(()),
        };
    }
    if cx.state.frame().subprog != 0 {
        return match value {
            Value::Uninit => Err(Failure::new("nothing", "R0 !read_ok")),
            Value::Scalar(..) => Ok(()),
            Value::Pointer(pointer) => {
                let name = pointer.kind.name();
                let message = format!("At subprogram exit the register R0 is not a scalar value ({name})");
                Err(Failure::new(value.to_string(), message))
            }
        };
    }
    let range = cx.program.input.context.return_range;
    let (scalar, (min, max)) = match (value, range) {
        (_, None) if cx.program.input.context.returns_nothing => return Ok(()),
        (Value::Uninit, _) => return Err(Failure::new("nothing", "R0 !read_ok")),
        (_, None) => return Ok(()),
        (Value::Pointer(pointer), _) => {
            let message = format!(
                "At program exit the register R0 is not a known value ({})",
                pointer.kind.name()
            );
            return Err(Failure::new(value.to_string(), message));
        }
        (Value::Scalar(scalar, _), Some(range)) => (scalar, range),
    };
    cx.uses.value(Reg::R0);
    if min <= scalar.s32.min && scalar.s32.max <= max {
        return Ok(());
    }
    let message = format!(
        "At program exit the register R0 has smin={} smax={} should have been in [{min}, {max}]",
        scalar.s32.min, scalar.s32.max
    );
    Err(Failure::new(value.to_string(), message))
}
