//! Maps declared in `.maps`. Each is a variable whose type spells out the map: `__uint(name, n)` is a pointer to an array of
//! `n` elements, `__type(name, T)` a pointer to `T`.

use std::collections::HashSet;

use hitless_btf::{Btf, Member, Type, TypeId};

use crate::elf::Elf;
use crate::error::ObjectError;
use crate::spec::{MapSpec, Pinning};

/// Most maps of an object; and most sections of global data.
pub(crate) const MAX_MAPS: usize = 4096;

/// A declared map.
pub(crate) struct DeclaredMap {
    /// Index of the section.
    pub(crate) section: usize,
    /// Offset of the variable in it, by which instructions refer to the map.
    pub(crate) offset: u32,
    pub(crate) spec: MapSpec,
}

/// Reads all declarations, in the order of their offsets.
pub(crate) fn declared(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Vec<DeclaredMap>, ObjectError> {
    if elf.section("maps").is_some_and(|(_, section)| section.size > 0) {
        let reason = "legacy map definitions are not supported, declare maps in .maps".to_string();
        return Err(ObjectError::Section {
            section: "maps".into(),
            reason,
        });
    }
    let Some((section, header)) = elf.section(".maps").filter(|(_, section)| section.size > 0) else {
        return Ok(Vec::new());
    };
    let Some(btf) = btf else {
        return Err(ObjectError::MissingSection {
            section: ".BTF",
            because: "section .maps (build with -g)".into(),
        });
    };
    let Some((_, datasec)) = btf.datasec(".maps") else {
        let reason = format!("{} bytes, but .BTF does not describe them", header.size);
        return Err(ObjectError::Section {
            section: ".maps".into(),
            reason,
        });
    };
    if datasec.vars.len() > MAX_MAPS {
        let (what, found) = ("maps".to_string(), datasec.vars.len() as u64);
        return Err(ObjectError::TooLarge {
            what,
            found,
            max: MAX_MAPS as u64,
        });
    }
    let mut maps: Vec<DeclaredMap> = Vec::new();
    let mut names = HashSet::new();
    for entry in &datasec.vars {
        let Some(Type::Var(var)) = btf.get(entry.ty) else {
            continue;
        };
        let name = var.name.to_string();
        if maps.last().is_some_and(|last| last.offset == entry.offset) || !names.insert(name.clone()) {
            return Err(ObjectError::Map {
                map: name,
                reason: "is declared twice".into(),
            });
        }
        let spec = map(btf, name, var.ty)?;
        maps.push(DeclaredMap {
            section,
            offset: entry.offset,
            spec,
        });
    }
    Ok(maps)
}

fn map(btf: &Btf, name: String, ty: TypeId) -> Result<MapSpec, ObjectError> {
    let bad = |reason: String| ObjectError::Map {
        map: name.clone(),
        reason,
    };
    let Some((_, Type::Struct(def))) = btf.resolve(ty) else {
        return Err(bad(format!("type {}, expected a struct", btf.type_name(ty))));
    };
    let mut spec = MapSpec {
        name: name.clone(),
        ..MapSpec::default()
    };
    let mut seen = HashSet::new();
    for member in &def.members {
        let attribute = member.name.as_str();
        if !seen.insert(attribute) {
            return Err(bad(format!("attribute {attribute:?} is there twice")));
        }
        let number = || number(btf, member).ok_or_else(|| bad(format!("attribute {attribute:?} is not a number")));
        let small = || {
            let value = number()?;
            u32::try_from(value).map_err(|_| bad(format!("attribute {attribute:?} is {value}, at most {}", u32::MAX)))
        };
        let pointee = || {
            let (id, size) = pointee(btf, member)
                .and_then(|id| Some((id, btf.size_of(id)?)))
                .ok_or_else(|| bad(format!("attribute {attribute:?} is not a type with a size")))?;
            Ok((id, size))
        };
        match attribute {
            "type" => spec.map_type = small()?,
            "max_entries" => spec.max_entries = small()?,
            "map_flags" => spec.flags = small()?,
            "numa_node" => spec.numa_node = Some(small()?),
            "map_extra" => spec.map_extra = number()?,
            "pinning" => {
                spec.pinning = match number()? {
                    0 => Pinning::None,
                    1 => Pinning::ByName,
                    other => return Err(bad(format!("pinning {other}, expected 0 or 1"))),
                }
            }
            "key_size" => agree(&bad, "key", seen.contains("key"), &mut spec.key_size, small()?)?,
            "value_size" => agree(&bad, "value", seen.contains("value"), &mut spec.value_size, small()?)?,
            "key" => {
                let (id, size) = pointee()?;
                spec.key_type = Some(id);
                agree(&bad, "key", seen.contains("key_size"), &mut spec.key_size, size)?;
            }
            "value" => {
                let (id, size) = pointee()?;
                spec.value_type = Some(id);
                agree(&bad, "value", seen.contains("value_size"), &mut spec.value_size, size)?;
            }
            _ => {
                return Err(ObjectError::MapAttribute {
                    map: name,
                    attribute: attribute.into(),
                });
            }
        }
    }
    if spec.map_type == 0 {
        return Err(bad("no type".into()));
    }
    spec.spin_lock = spin_lock(&name, Some(btf), spec.value_type)?;
    Ok(spec)
}

/// Stores a size that may have been given in two ways.
fn agree(
    bad: &impl Fn(String) -> ObjectError,
    what: &str,
    given: bool,
    size: &mut u32,
    new: u32,
) -> Result<(), ObjectError> {
    if given && *size != new {
        return Err(bad(format!("{what} of {size} bytes and of {new} bytes")));
    }
    *size = new;
    Ok(())
}

fn pointee(btf: &Btf, member: &Member) -> Option<TypeId> {
    match btf.resolve(member.ty) {
        Some((_, Type::Ptr(to))) => Some(*to),
        _ => None,
    }
}

/// `__uint`: a pointer to an array; `__ulong`: an enum with one value.
fn number(btf: &Btf, member: &Member) -> Option<u64> {
    match btf.resolve(member.ty)? {
        (_, Type::Ptr(to)) => match btf.resolve(*to)? {
            (_, Type::Array(array)) => Some(array.len.into()),
            _ => None,
        },
        (_, Type::Enum(t) | Type::Enum64(t)) => Some(t.variants.first()?.value.cast_unsigned()),
        _ => None,
    }
}

/// Where the `struct bpf_spin_lock` of a value is, if it has one.
pub(crate) fn spin_lock(map: &str, btf: Option<&Btf>, value: Option<TypeId>) -> Result<Option<u32>, ObjectError> {
    let Some((btf, value)) = btf.zip(value) else {
        return Ok(None);
    };
    let bad = |reason| ObjectError::Map {
        map: map.to_string(),
        reason,
    };
    match btf.embedded(value, "bpf_spin_lock")[..] {
        [] => Ok(None),
        [offset] if offset.is_multiple_of(4) => Ok(Some(offset)),
        [offset] => Err(bad(format!(
            "bpf_spin_lock at offset {offset}, expected a multiple of 4"
        ))),
        [..] => {
            let count = btf.embedded(value, "bpf_spin_lock").len();
            Err(bad(format!(
                "{count} bpf_spin_locks in the value, at most one is supported"
            )))
        }
    }
}
