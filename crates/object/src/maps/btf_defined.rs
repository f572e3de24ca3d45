//! Maps in `.maps`. Each is a variable whose type spells out the map: `__uint(name, n)` is a pointer to an array of `n`
//! elements, `__type(name, T)` a pointer to `T`, `__array(values, T)` an array of pointers to `T` without a length, which
//! ends the struct. What that array is initialised with are pointers, hence relocations of the section.

use std::collections::HashSet;

use hitless_btf::{Btf, Composite, Linkage, Member, Type, TypeId};

use super::{DeclaredMap, Locks, Slot, SlotTarget, bad, check_count, inner_name, is_map_in_map};
use crate::elf::Elf;
use crate::error::ObjectError;
use crate::map_type::{self, describe};
use crate::pointer::{self, Names, Pointer, pointers};
use crate::spec::{MapSpec, Pinning};

const SECTION: &str = ".maps";
/// Size of what a map of maps or a prog array holds, as seen from the outside: an id, or a file descriptor.
const REFERENCE_SIZE: u32 = 4;

/// A declaration with what lies in its variable.
struct Declared {
    map: DeclaredMap,
    /// End of the variable.
    end: u64,
    /// Offset in the variable of the array `values`.
    values: Option<u64>,
}

/// Reads all declarations, in the order of their offsets.
pub(super) fn declared(elf: &Elf<'_>, btf: Option<&Btf>, locks: &Locks<'_>) -> Result<Vec<DeclaredMap>, ObjectError> {
    let Some((section, header)) = elf.section(SECTION).filter(|(_, section)| section.size > 0) else {
        return Ok(Vec::new());
    };
    let bad_section = |reason: String| ObjectError::Section {
        section: SECTION.into(),
        reason,
    };
    let Some(btf) = btf else {
        return Err(ObjectError::MissingSection {
            section: ".BTF",
            because: "section .maps (build with -g)".into(),
        });
    };
    let Some((_, datasec)) = btf.datasec(SECTION) else {
        let reason = format!("{} bytes, but .BTF does not describe them", header.size);
        return Err(bad_section(reason));
    };
    check_count("maps", datasec.vars.len())?;
    let mut maps: Vec<Declared> = Vec::with_capacity(datasec.vars.len());
    let mut names = HashSet::new();
    for entry in &datasec.vars {
        let Some(Type::Var(var)) = btf.get(entry.ty) else {
            return Err(bad_section(format!("{} is no variable", btf.type_name(entry.ty))));
        };
        let name = var.name.as_str();
        if name.is_empty() {
            return Err(bad_section(format!("a map at offset {} without a name", entry.offset)));
        }
        if var.linkage == Linkage::Extern {
            let reason = "is extern; link with the object that defines it (bpftool gen object)";
            return Err(bad(name, reason));
        }
        // Objects that were linked together may each have a static map of the same name.
        let again = var.linkage == Linkage::Global && !names.insert(name);
        if again || maps.last().is_some_and(|last| u64::from(entry.offset) < last.end) {
            return Err(bad(name, "is declared twice"));
        }
        let (spec, values) = map(btf, locks, name.to_string(), var.ty, Nesting::Outer)?;
        let size = btf.size_of(var.ty).unwrap_or(0).max(entry.size).max(1);
        maps.push(Declared {
            end: u64::from(entry.offset) + u64::from(size),
            values,
            map: DeclaredMap {
                section,
                offset: entry.offset,
                spec,
                slots: Vec::new(),
            },
        });
    }
    let names = Names::new(elf);
    for pointer in pointers(elf, section).map_err(bad_section)? {
        // The last map that starts before the pointer.
        let index = maps.partition_point(|map| u64::from(map.map.offset) <= pointer.at);
        let map = index.checked_sub(1).and_then(|index| maps.get_mut(index));
        let Some(map) = map.filter(|map| pointer.at < map.end) else {
            let reason = format!(
                "pointer to {:?} at offset {}, where no map is",
                names.of(&pointer),
                pointer.at
            );
            return Err(bad_section(reason));
        };
        let index = slot(map, &pointer).map_err(|reason| ObjectError::MapValue {
            map: map.map.spec.name.clone(),
            at: pointer.at - u64::from(map.map.offset),
            target: names.of(&pointer).into(),
            reason,
        })?;
        map.map.slots.push(Slot {
            index,
            target: SlotTarget::Pointer(pointer),
        });
    }
    Ok(maps.into_iter().map(|map| map.map).collect())
}

/// Which element of a map a pointer in its declaration is.
fn slot(declared: &Declared, pointer: &Pointer) -> Result<u32, String> {
    let spec = &declared.map.spec;
    let Some(values) = declared.values else {
        let found = describe(spec.map_type);
        return Err(format!(
            "only the values of a map of maps or prog array are initialised, this is a map of type {found}"
        ));
    };
    let inside = pointer.at - u64::from(declared.map.offset);
    let Some(index) = inside.checked_sub(values).filter(|at| at % pointer::SIZE == 0) else {
        return Err(format!("no element of \"values\", which start at offset {values}"));
    };
    u32::try_from(index / pointer::SIZE).map_err(|_| "too far into \"values\"".into())
}

/// Where a declaration stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outer,
    /// It describes the maps in a map.
    Inner,
}

/// Reads a declaration: the map, and the offset of `values` in the struct.
fn map(
    btf: &Btf,
    locks: &Locks<'_>,
    name: String,
    ty: TypeId,
    nesting: Nesting,
) -> Result<(MapSpec, Option<u64>), ObjectError> {
    let Some((_, Type::Struct(def))) = btf.resolve(ty) else {
        return Err(bad(&name, format!("type {}, expected a struct", btf.type_name(ty))));
    };
    let mut reader = Reader {
        btf,
        locks,
        nesting,
        seen: HashSet::new(),
        key_size: None,
        value_size: None,
        values: None,
        spec: MapSpec {
            name,
            ..MapSpec::default()
        },
    };
    for (index, member) in def.members.iter().enumerate() {
        reader.attribute(def, index, member)?;
    }
    let Reader {
        mut spec,
        values,
        key_size,
        value_size,
        ..
    } = reader;
    (spec.key_size, spec.value_size) = (key_size.unwrap_or(0), value_size.unwrap_or(0));
    if spec.map_type == 0 {
        return Err(bad(&spec.name, "no type"));
    }
    spec.spin_lock = locks.find(&spec.name, spec.value_type)?;
    spec.timer = locks.find_timer(spec.value_type)?;
    Ok((spec, values))
}

struct Reader<'b> {
    btf: &'b Btf,
    locks: &'b Locks<'b>,
    nesting: Nesting,
    /// Attributes so far.
    seen: HashSet<&'b str>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    values: Option<u64>,
    spec: MapSpec,
}

impl<'b> Reader<'b> {
    fn bad(&self, reason: impl Into<String>) -> ObjectError {
        bad(&self.spec.name, reason)
    }

    fn attribute(&mut self, def: &Composite, index: usize, member: &'b Member) -> Result<(), ObjectError> {
        let attribute = member.name.as_str();
        if !self.seen.insert(attribute) {
            return Err(self.bad(format!("attribute {attribute:?} is there twice")));
        }
        match attribute {
            "type" => self.spec.map_type = self.small(member)?,
            "max_entries" => self.spec.max_entries = self.small(member)?,
            "map_flags" => self.spec.flags = self.small(member)?,
            "numa_node" => self.spec.numa_node = Some(self.small(member)?),
            "map_extra" => self.spec.map_extra = self.number(member)?,
            "pinning" => self.pinning(member)?,
            "key_size" => self.key_size = self.agree("key", self.key_size, self.small(member)?)?,
            "value_size" => self.value_size = self.agree("value", self.value_size, self.small(member)?)?,
            "key" => {
                let (id, size) = self.pointee(member)?;
                self.spec.key_type = Some(id);
                self.key_size = self.agree("key", self.key_size, size)?;
            }
            "value" => {
                let (id, size) = self.pointee(member)?;
                self.spec.value_type = Some(id);
                self.value_size = self.agree("value", self.value_size, size)?;
            }
            "values" => {
                if index + 1 != def.members.len() {
                    return Err(self.bad("attribute \"values\", expected to be the last one"));
                }
                self.values(member)?;
            }
            _ => {
                return Err(ObjectError::MapAttribute {
                    map: self.spec.name.clone(),
                    attribute: attribute.into(),
                });
            }
        }
        Ok(())
    }

    /// `__uint`: a pointer to an array; `__ulong`: an enum with one value.
    fn number(&self, member: &Member) -> Result<u64, ObjectError> {
        let number = match self.btf.resolve(member.ty) {
            Some((_, Type::Ptr(to))) => match self.btf.resolve(*to) {
                Some((_, Type::Array(array))) => Some(array.len.into()),
                _ => None,
            },
            Some((_, Type::Enum(t) | Type::Enum64(t))) => match &t.variants[..] {
                [only] => Some(only.value.cast_unsigned()),
                _ => None,
            },
            _ => None,
        };
        number.ok_or_else(|| {
            let (attribute, found) = (member.name.as_str(), self.btf.type_name(member.ty));
            self.bad(format!(
                "attribute {attribute:?} is of type {found}, expected a number (__uint)"
            ))
        })
    }

    fn small(&self, member: &Member) -> Result<u32, ObjectError> {
        let value = self.number(member)?;
        u32::try_from(value).map_err(|_| {
            let attribute = member.name.as_str();
            self.bad(format!("attribute {attribute:?} is {value}, at most {}", u32::MAX))
        })
    }

    fn pinning(&mut self, member: &Member) -> Result<(), ObjectError> {
        if self.nesting == Nesting::Inner {
            return Err(self.bad("attribute \"pinning\", but the maps in a map cannot be pinned by its declaration"));
        }
        self.spec.pinning = match self.number(member)? {
            0 => Pinning::None,
            1 => Pinning::ByName,
            other => return Err(self.bad(format!("pinning {other}, expected 0 or 1"))),
        };
        Ok(())
    }

    /// `__type`: the type and its size.
    fn pointee(&self, member: &Member) -> Result<(TypeId, u32), ObjectError> {
        let sized = match self.btf.resolve(member.ty) {
            Some((_, Type::Ptr(to))) => self.btf.size_of(*to).map(|size| (*to, size)),
            _ => None,
        };
        sized.ok_or_else(|| {
            let (attribute, found) = (member.name.as_str(), self.btf.type_name(member.ty));
            self.bad(format!(
                "attribute {attribute:?} is of type {found}, expected a pointer to a type with a size (__type)"
            ))
        })
    }

    /// A size that may have been given before, in another way.
    fn agree(&self, what: &str, old: Option<u32>, new: u32) -> Result<Option<u32>, ObjectError> {
        match old {
            Some(old) if old != new => Err(self.bad(format!("{what} of {old} bytes and of {new} bytes"))),
            _ => Ok(Some(new)),
        }
    }

    fn values(&mut self, member: &Member) -> Result<(), ObjectError> {
        if self.nesting == Nesting::Inner {
            return Err(self.bad("attribute \"values\", but maps of maps cannot be nested further"));
        }
        let found = self.spec.map_type;
        if !is_map_in_map(found) && found != map_type::PROG_ARRAY {
            let found = match found {
                0 => "a map whose type is not given before".into(),
                _ => format!("a map of type {}", describe(found)),
            };
            let expected = [map_type::PROG_ARRAY, map_type::ARRAY_OF_MAPS, map_type::HASH_OF_MAPS].map(describe);
            return Err(self.bad(format!(
                "attribute \"values\" of {found}, expected {}",
                expected.join(", ")
            )));
        }
        self.value_size = self.agree("value", self.value_size, REFERENCE_SIZE)?;
        self.values = Some(u64::from(member.bit_offset / 8));
        let unexpected = || {
            let of = if found == map_type::PROG_ARRAY {
                "functions"
            } else {
                "maps"
            };
            let found = self.btf.type_name(member.ty);
            self.bad(format!(
                "attribute \"values\" is of type {found}, expected an array without a length of pointers to {of} (__array)"
            ))
        };
        let pointee = match self.btf.resolve(member.ty) {
            Some((_, Type::Array(array))) if array.len == 0 => match self.btf.resolve(array.elem) {
                Some((_, Type::Ptr(to))) => *to,
                _ => return Err(unexpected()),
            },
            _ => return Err(unexpected()),
        };
        match self.btf.resolve(pointee) {
            Some((_, Type::FuncProto(_))) if found == map_type::PROG_ARRAY => {}
            Some((_, Type::Struct(_))) if found != map_type::PROG_ARRAY => {
                let (inner, _) = map(
                    self.btf,
                    self.locks,
                    inner_name(&self.spec.name),
                    pointee,
                    Nesting::Inner,
                )?;
                self.spec.inner = Some(Box::new(inner));
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }
}
