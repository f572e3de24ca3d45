//! What the search claims of registers, for tests that run programs and compare. No part of the interface.

use crate::domain::pointer::PointerKind;
use crate::domain::scalar::Scalar;
use crate::domain::stack::DynptrMemory;
use crate::domain::value::Value;
use crate::facts::{ProgramInput, Verified};
use crate::state::State;
use crate::{Rejection, explore};

/// A set of numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number(Scalar);

impl Number {
    /// Whether the set has this number.
    #[must_use]
    pub fn admits(&self, x: u64) -> bool {
        let Scalar {
            bits,
            u64,
            s64,
            u32,
            s32,
        } = self.0;
        x & !bits.mask == bits.value
            && (u64.min..=u64.max).contains(&x)
            && (s64.min..=s64.max).contains(&(x as i64))
            && (u32.min..=u32.max).contains(&(x as u32))
            && (s32.min..=s32.max).contains(&(x as i32))
    }
}

/// What a pointer is claimed to point into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// The context.
    Context,
    /// The stack of a frame.
    Stack(u8),
    /// The packet, or its metadata, with so many bytes behind the unknown offset.
    Packet(u32),
    /// The metadata, likewise.
    PacketMeta(u32),
    /// The packet's end.
    PacketEnd,
    /// A map. After the named maps come, in this and in values, those that stand for the maps in them.
    Map(u32),
    /// The element of an iterator.
    Element,
    /// A subprogram.
    Func(u32),
    /// A key of a map.
    MapKey(u32),
    /// A map from a map of maps, or NULL.
    InnerMapOrNull(u32),
    /// A value of a map; the flag says that it may be NULL.
    MapValue(u32, bool),
    /// Memory behind a context field.
    ContextMemory(u16),
    /// So many bytes of a value of a map, or of a record of a ring buffer if the first flag says so. The second says that it
    /// may be NULL.
    Slice(u32, u32, bool, bool),
    /// A record of a ring buffer, of so many bytes; the flag says that it may be NULL.
    Record(u32, u32, bool),
}

/// What is claimed of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Nothing.
    Nothing,
    /// It is one of these numbers.
    Number(Number),
    /// It points to the start of the object, plus a constant, plus one of these numbers.
    Pointer(Object, i64, Number),
}

fn claim(value: &Value) -> Claim {
    let pointer = match value {
        Value::Uninit => return Claim::Nothing,
        Value::Scalar(scalar, _) => return Claim::Number(Number(*scalar)),
        Value::Pointer(pointer) => pointer,
    };
    let object = match pointer.kind {
        PointerKind::Context => Object::Context,
        PointerKind::Stack { frame } => Object::Stack(frame),
        PointerKind::Packet { range, .. } => Object::Packet(range),
        PointerKind::PacketMeta { range, .. } => Object::PacketMeta(range),
        PointerKind::PacketEnd => Object::PacketEnd,
        PointerKind::Map { map } => Object::Map(map),
        PointerKind::Element { .. } => Object::Element,
        PointerKind::Func { subprog } => Object::Func(subprog),
        PointerKind::MapKey { map } => Object::MapKey(map),
        PointerKind::InnerMapOrNull { map, .. } => Object::InnerMapOrNull(map),
        PointerKind::MapValue { map, nullable, .. } => Object::MapValue(map, nullable),
        PointerKind::ContextMemory { nullable: true, .. } | PointerKind::Symbol { .. } => return Claim::Nothing,
        PointerKind::ContextMemory { field, .. } => Object::ContextMemory(field),
        PointerKind::Slice {
            memory, size, nullable, ..
        } => match memory {
            DynptrMemory::MapValue { map } => Object::Slice(map, size, false, nullable),
            DynptrMemory::Record { map } => Object::Slice(map, size, true, nullable),
            DynptrMemory::Packet { .. } => return Claim::Nothing,
        },
        PointerKind::Record {
            map, size, nullable, ..
        } => Object::Record(map, size, nullable),
        PointerKind::Argument(_) | PointerKind::Object(_) | PointerKind::Dynptr { .. } => return Claim::Nothing,
    };
    Claim::Pointer(object, pointer.fixed, Number(pointer.var))
}

/// What is claimed at one step of the search.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The slot.
    pub pc: usize,
    at: u32,
    /// Where in [`Claims::all`] its claims are.
    first: usize,
    last: usize,
}

/// Claims of the steps of a search: of the registers that can still be read there, and of numbers only if they matter (see
/// `precision`).
#[derive(Debug, Default)]
pub struct Claims {
    /// In the order of the search.
    pub steps: Vec<Step>,
    /// With the index of the register.
    all: Vec<(u8, Claim)>,
    /// The most steps to be taken.
    limit: usize,
    /// The registers of each step that matter.
    precise: Vec<u16>,
}

impl Claims {
    /// What is claimed at a step of some of `r0` to `r9`.
    #[must_use]
    pub fn of(&self, step: &Step) -> &[(u8, Claim)] {
        &self.all[step.first..step.last]
    }

    fn clear(&mut self, limit: usize) {
        self.steps.clear();
        self.all.clear();
        self.precise.clear();
        self.limit = limit;
    }

    /// Leaves the claims out that are none.
    fn keep_what_matters(&mut self) {
        let mut kept = 0;
        for step in &mut self.steps {
            let precise = self.precise.get(step.at as usize).copied().unwrap_or(0);
            let claims = step.first..step.last;
            step.first = kept;
            for index in claims {
                let (reg, claim) = self.all[index];
                let matters = match claim {
                    Claim::Nothing => false,
                    Claim::Number(_) => precise & 1 << reg != 0,
                    Claim::Pointer(..) => true,
                };
                if matters {
                    self.all[kept] = (reg, claim);
                    kept += 1;
                }
            }
            step.last = kept;
        }
        self.all.truncate(kept);
    }
}

impl explore::Observer for Claims {
    fn limit(&self) -> usize {
        self.limit
    }

    fn step(&mut self, at: u32, pc: usize, state: &State, live: u16) {
        let first = self.all.len();
        let live = (0..10u8).filter(|index| live & 1 << index != 0);
        self.all
            .extend(live.map(|index| (index, claim(state.frame().reg(index.into())))));
        let last = self.all.len();
        self.steps.push(Step { pc, at, first, last });
    }

    fn precise(&mut self, at: u32, regs: u16) {
        let at = at as usize;
        if at >= self.precise.len() {
            self.precise.resize(at + 1, 0);
        }
        self.precise[at] |= regs;
    }
}

/// As [`verify`](crate::verify), returning the claims in `claims` as well. A program that takes more than `limit` steps is
/// refused.
///
/// # Errors
/// As for [`verify`](crate::verify).
pub fn verify_watched(input: &ProgramInput<'_>, limit: usize, claims: &mut Claims) -> Result<Verified, Rejection> {
    claims.clear(limit);
    let verified = explore::explore(input, Some(claims), None)?;
    claims.keep_what_matters();
    Ok(verified)
}
