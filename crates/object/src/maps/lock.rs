//! `struct bpf_spin_lock` in the values of maps.

use std::cell::Cell;

use hitless_btf::{Btf, Type, TypeId};

use super::bad;
use crate::error::ObjectError;

/// The struct that is a lock.
const LOCK: &str = "bpf_spin_lock";
/// How many fields of values are looked at, for all maps of an object together.
const MAX_FIELDS: usize = 1 << 20;

/// Finds the locks in the values of an object's maps.
pub(crate) struct Locks<'b> {
    btf: Option<&'b Btf>,
    /// How many fields may still be looked at.
    budget: Cell<usize>,
}

impl<'b> Locks<'b> {
    pub(crate) fn new(btf: Option<&'b Btf>) -> Locks<'b> {
        Locks {
            btf,
            budget: Cell::new(MAX_FIELDS),
        }
    }

    /// Where the lock of a value is, if it has one. The kernel finds locks in structs at any depth, and in the variables
    /// of a section. It does not look into unions, and refuses arrays of locks, unless they are arrays of one.
    pub(crate) fn find(&self, map: &str, value: Option<TypeId>) -> Result<Option<u32>, ObjectError> {
        let Some((btf, value)) = self.btf.zip(value) else {
            return Ok(None);
        };
        let locks = self.locks(btf, value)?;
        match locks[..] {
            [] => Ok(None),
            [(offset, 1)] if offset.is_multiple_of(4) => Ok(Some(offset)),
            [(offset, 1)] => {
                let reason = format!("{LOCK} at offset {offset}, expected a multiple of 4");
                Err(bad(map, reason))
            }
            [(offset, count)] => {
                let reason = format!("array of {count} {LOCK}s at offset {offset}, at most one lock is supported");
                Err(bad(map, reason))
            }
            [..] => {
                let reason = format!("{} {LOCK}s in the value, at most one is supported", locks.len());
                Err(bad(map, reason))
            }
        }
    }

    /// Offset of each lock in a value, and how many there are side by side.
    fn locks(&self, btf: &Btf, value: TypeId) -> Result<Vec<(u32, u64)>, ObjectError> {
        let mut found = Vec::new();
        let mut todo = vec![(value, 0u32, 1u64)];
        while let Some((id, base, count)) = todo.pop() {
            match btf.resolve(id) {
                Some((_, Type::Struct(t))) if t.name == *LOCK => found.push((base, count)),
                Some((_, Type::Struct(t))) => {
                    self.pay(t.members.len())?;
                    let inside = |bits: u32| base.saturating_add(bits / 8);
                    todo.extend(t.members.iter().map(|m| (m.ty, inside(m.bit_offset), count)));
                }
                Some((_, Type::Datasec(sec))) => {
                    self.pay(sec.vars.len())?;
                    todo.extend(sec.vars.iter().map(|v| (v.ty, base.saturating_add(v.offset), count)));
                }
                Some((_, Type::Array(array))) if array.len > 0 => {
                    todo.push((array.elem, base, count.saturating_mul(array.len.into())));
                }
                Some((_, Type::Var(var))) => todo.push((var.ty, base, count)),
                _ => {}
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn pay(&self, fields: usize) -> Result<(), ObjectError> {
        let left = self.budget.get().checked_sub(fields).ok_or(ObjectError::TooLarge {
            what: "fields in the values of all maps".into(),
            found: MAX_FIELDS as u64 + 1,
            max: MAX_FIELDS as u64,
        })?;
        self.budget.set(left);
        Ok(())
    }
}
