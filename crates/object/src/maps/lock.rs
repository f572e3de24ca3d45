//! `struct bpf_spin_lock` and `struct bpf_timer` in the values of maps.

use std::cell::Cell;

use hitless_btf::{Btf, Type, TypeId};

use super::bad;
use crate::error::ObjectError;

/// The struct that is a lock.
const LOCK: &str = "bpf_spin_lock";
/// The struct that is a timer.
const TIMER: &str = "bpf_timer";
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
        let locks = self.structs(btf, value, LOCK)?;
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

    /// Where the timer of a value is, if it has one that the kernel would take for one.
    pub(crate) fn find_timer(&self, value: Option<TypeId>) -> Result<Option<u32>, ObjectError> {
        let Some((btf, value)) = self.btf.zip(value) else {
            return Ok(None);
        };
        match self.structs(btf, value, TIMER)?[..] {
            [(offset, 1)] if offset.is_multiple_of(8) => Ok(Some(offset)),
            _ => Ok(None),
        }
    }

    /// Offset of each struct of that name in a value, and how many there are side by side.
    fn structs(&self, btf: &Btf, value: TypeId, name: &str) -> Result<Vec<(u32, u64)>, ObjectError> {
        let mut found = Vec::new();
        let mut todo = vec![(value, 0u32, 1u64)];
        while let Some((id, base, count)) = todo.pop() {
            match btf.resolve(id) {
                Some((_, Type::Struct(t))) if t.name == *name => found.push((base, count)),
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

#[cfg(test)]
mod tests {
    use hitless_btf::{Composite, Member};

    use super::*;

    fn composite(name: &str, size: u32, members: &[(TypeId, u32)]) -> Type {
        let member = |&(ty, offset): &(TypeId, u32)| Member {
            name: "".into(),
            ty,
            bit_offset: 8 * offset,
            bitfield_size: 0,
        };
        Type::Struct(Composite {
            name: name.into(),
            size,
            members: members.iter().map(member).collect(),
        })
    }

    #[test]
    fn timers_are_found() {
        let timer = TypeId(1);
        let types = vec![
            Type::Void,
            composite(TIMER, 16, &[]),
            composite("one", 32, &[(timer, 8)]),
            composite("two", 32, &[(timer, 0), (timer, 16)]),
            composite("none", 32, &[]),
        ];
        let btf = Btf::new(types).unwrap();
        let find = |id| Locks::new(Some(&btf)).find_timer(Some(TypeId(id))).unwrap();
        assert_eq!([find(2), find(3), find(4)], [Some(8), None, None]);
        assert_eq!(Locks::new(None).find_timer(Some(timer)).unwrap(), None);
    }
}
