//! Writing values into instructions, once it is certain that they are what they should be.

use hitless_btf::core::{AccessSize, Resolution};
use hitless_isa::Insn;

use super::error::InsnError;
use super::externs::Value;
use super::{POISON, POISON_KFUNC, call_of};

const LD_IMM64: u8 = 0x18;
pub(super) const CALL: u8 = 0x85;

/// The class of an opcode.
const CLASS: u8 = 0x07;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
/// The source bit of arithmetic: 0 for an immediate.
const BPF_X: u8 = 0x08;
/// The size of a load or store.
const SIZE: u8 = 0x18;

const BPF_PSEUDO_KFUNC_CALL: u8 = 2;
const BPF_PSEUDO_BTF_ID: u8 = 3;
const BPF_PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// What has become of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Patched {
    /// It holds the value for the target.
    Done,
    /// It must never run.
    Poisoned {
        /// What it needs.
        missing: String,
    },
}

/// Carries out a CO-RE relocation of the instruction at `pc`.
pub(super) fn core(insns: &mut [Insn], pc: usize, resolution: &Resolution) -> Result<Patched, InsnError> {
    let poison = |insns: &mut [Insn], missing| {
        let slots = 1 + usize::from(wide(insns, pc).is_some());
        for insn in insns.iter_mut().skip(pc).take(slots) {
            *insn = call_of(POISON);
        }
        Ok(Patched::Poisoned { missing })
    };
    let form = |code| InsnError::Form {
        code,
        expected: "arithmetic with an immediate, a load, a store, or a wide immediate",
    };
    let Some(value) = resolution.target else {
        if pc >= insns.len() {
            return Err(form(0));
        }
        return poison(insns, resolution.what.clone());
    };
    if let Some((low, high)) = wide(insns, pc) {
        let found = u64::from(insns[low].imm.cast_unsigned()) | u64::from(insns[high].imm.cast_unsigned()) << 32;
        check(resolution, found)?;
        insns[low].imm = value as i32;
        insns[high].imm = (value >> 32) as i32;
        return Ok(Patched::Done);
    }
    let insn = insns.get_mut(pc).ok_or_else(|| form(0))?;
    match insn.code & CLASS {
        ALU | ALU64 if insn.code & BPF_X == 0 => {
            check(resolution, i64::from(insn.imm).cast_unsigned())?;
            // As libbpf does: a value that needs more bits is cut off.
            insn.imm = value as i32;
        }
        LDX | ST | STX => {
            check(resolution, i64::from(insn.off).cast_unsigned())?;
            let too_far = InsnError::Offset {
                offset: value,
                max: i16::MAX as u64,
            };
            let off = i16::try_from(value).map_err(|_| too_far)?;
            if let Some(size) = resolution.access.filter(|size| size.local != size.target) {
                if !size.resizable {
                    return poison(insns, other_size(&resolution.what, size));
                }
                resize(insn, size)?;
            }
            insn.off = off;
        }
        _ => return Err(form(insn.code)),
    }
    Ok(Patched::Done)
}

fn check(resolution: &Resolution, found: u64) -> Result<(), InsnError> {
    match resolution.local {
        Some(expected) if expected != found => Err(InsnError::Value {
            found: found.cast_signed(),
            expected: expected.cast_signed(),
        }),
        _ => Ok(()),
    }
}

/// What is missing if there is a field, but of a size for which the access cannot be rewritten.
fn other_size(what: &str, size: AccessSize) -> String {
    match size {
        AccessSize { local: 0, .. } => format!("{what} that is a bitfield (but one that is none)"),
        AccessSize { local, target: 0, .. } => format!("{what} of {local} bytes (but one that is a bitfield)"),
        AccessSize { local, target, .. } => format!("{what} of {local} bytes (but one of {target})"),
    }
}

/// Makes a load or store access as many bytes as the field has in the target.
fn resize(insn: &mut Insn, size: AccessSize) -> Result<(), InsnError> {
    let found = match insn.code & SIZE {
        0x10 => 1,
        0x08 => 2,
        0x00 => 4,
        _ => 8,
    };
    if found != size.local {
        return Err(InsnError::Size {
            found,
            expected: size.local,
        });
    }
    let bits = match size.target {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        8 => 0x18,
        size => return Err(InsnError::TargetSize { size }),
    };
    insn.code = insn.code & !SIZE | bits;
    Ok(())
}

/// Makes a wide immediate that refers to an extern hold its value.
pub(super) fn address(insns: &mut [Insn], pc: usize, value: Value) -> Result<(), InsnError> {
    let (low, high) = wide(insns, pc).ok_or_else(|| InsnError::Form {
        code: insns.get(pc).map_or(0, |insn| insn.code),
        expected: "a wide immediate or a call",
    })?;
    let (src, first, second) = match value {
        Value::Missing => (0, 0, 0),
        Value::Address(address) => (0, address as i32, (address >> 32) as i32),
        Value::Type(id) => (BPF_PSEUDO_BTF_ID, id.0.cast_signed(), 0),
        Value::Option { map, offset } => (BPF_PSEUDO_MAP_IDX_VALUE, map as i32, offset.cast_signed()),
    };
    insns[low].src = src;
    insns[low].imm = first;
    insns[high].imm = second;
    Ok(())
}

/// Makes a call of an extern call what it stands for.
pub(super) fn call(insns: &mut [Insn], pc: usize, index: usize, value: Value) -> Result<(), InsnError> {
    let call = match value {
        Value::Type(id) => Insn {
            src: BPF_PSEUDO_KFUNC_CALL,
            ..call_of(id.0.cast_signed())
        },
        Value::Missing => call_of(POISON_KFUNC.wrapping_add(index as i32)),
        Value::Address(_) | Value::Option { .. } => {
            return Err(InsnError::Form {
                code: CALL,
                expected: "a wide immediate, as the symbol is a variable",
            });
        }
    };
    insns[pc] = call;
    Ok(())
}

pub(super) fn is_call(insn: &Insn) -> bool {
    insn.code == CALL
}

/// The slots of the wide immediate at `pc`, if there is a plain one.
fn wide(insns: &[Insn], pc: usize) -> Option<(usize, usize)> {
    let (low, high) = (insns.get(pc)?, insns.get(pc + 1)?);
    let whole = low.code == LD_IMM64
        && (low.src, low.off) == (0, 0)
        && high
            == &Insn {
                imm: high.imm,
                ..Insn::default()
            };
    whole.then_some((pc, pc + 1))
}
