//! What the bytes of an old definition mean. All kinds begin with type, key size, value size and number of elements, and
//! nearly all go on with flags. What follows differs, so it is read by the names of the struct's members where BTF
//! has them. Otherwise the size has to tell:
//!
//! | bytes | struct | after the flags |
//! |---|---|---|
//! | 16, 20 | `bpf_map_def` of libbpf (16: without flags) | |
//! | 24 | `bpf_map_def` of the kernel's samples | `inner_map_idx` |
//! | 28 | the same, later | `inner_map_idx`, `numa_node` |
//! | 28 | `bpf_map_def` of aya, and `bpf_elf_map` of old iproute2 | `id`, `pinning` |
//! | 36 | `bpf_elf_map` of iproute2 and Cilium | `id`, `pinning`, `inner_id`, `inner_idx` |
//! | 280 | `bpf_map_def` of gobpf | `pinning`, `namespace` |

use hitless_btf::{Btf, Type, TypeId};

use crate::maps::is_map_in_map;
use crate::spec::Pinning;

const BPF_F_NUMA_NODE: u32 = 1 << 2;
/// Size of `namespace` in gobpf's definitions.
const NAMESPACE: usize = 256;

/// More members than this no definition has.
const MAX_MEMBERS: usize = 64;

/// An old definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
    pub(super) numa_node: Option<u32>,
    pub(super) pinning: Pinning,
    pub(super) inner: Inner,
    /// For definitions that have one, the number by which others refer to the map.
    pub(super) id: Option<u32>,
    /// Which element of the map that contains it this map is.
    pub(super) inner_idx: u32,
}

/// What the maps in a map are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inner {
    /// The definition does not say it.
    #[default]
    Unknown,
    /// Like the map at this position.
    Index(u32),
    /// Like the map with this id; all maps with this id are in it from the start.
    Id(u32),
}

/// Values of the members, of whatever kind of struct.
#[derive(Default)]
struct Members {
    first: [Option<u32>; 4],
    flags: u32,
    id: Option<u32>,
    pinning: u32,
    inner_id: Option<u32>,
    inner_idx: u32,
    inner_map_idx: Option<u32>,
    numa_node: u32,
    /// Whether 1 is `PIN_OBJECT_NS` and 2 `PIN_GLOBAL_NS`, rather than 1 `LIBBPF_PIN_BY_NAME`.
    namespaces: bool,
}

/// Reads a definition, given its type if it is known.
pub(super) fn read(bytes: &[u8], btf: Option<(&Btf, TypeId)>) -> Result<Definition, String> {
    let members = match btf {
        Some((btf, ty)) => by_name(bytes, btf, ty)?,
        None => None,
    };
    let members = match members {
        Some(members) => members,
        None => by_size(bytes)?,
    };
    let [Some(map_type), Some(key_size), Some(value_size), Some(max_entries)] = members.first else {
        return Err("at least 16 bytes are expected".into());
    };
    let inner = match (members.inner_id, members.inner_map_idx) {
        _ if !is_map_in_map(map_type) => Inner::Unknown,
        (Some(id), _) => Inner::Id(id),
        (None, Some(index)) => Inner::Index(index),
        (None, None) => Inner::Unknown,
    };
    Ok(Definition {
        map_type,
        key_size,
        value_size,
        max_entries,
        flags: members.flags,
        numa_node: (members.flags & BPF_F_NUMA_NODE != 0).then_some(members.numa_node),
        pinning: pinning(members.pinning, members.namespaces)?,
        inner,
        id: members.id,
        inner_idx: members.inner_idx,
    })
}

fn pinning(number: u32, namespaces: bool) -> Result<Pinning, String> {
    match (number, namespaces) {
        (0, _) => Ok(Pinning::None),
        (1, false) | (2, true) => Ok(Pinning::ByName),
        (1, true) => Ok(Pinning::InObject),
        (_, false) => Err(format!("pinning {number}, expected 0 or 1")),
        (_, true) => Err(format!(
            "pinning {number}, expected 0 (PIN_NONE), 1 (PIN_OBJECT_NS) or 2 (PIN_GLOBAL_NS)"
        )),
    }
}

/// Reads a definition by the names of its members; `None` if they are not those of a map's definition.
fn by_name(bytes: &[u8], btf: &Btf, ty: TypeId) -> Result<Option<Members>, String> {
    let Some((_, Type::Struct(def))) = btf.resolve(ty) else {
        return Ok(None);
    };
    if def.members.len() > MAX_MEMBERS {
        return Ok(None);
    }
    let has = |names: &[&str]| def.members.iter().any(|member| names.contains(&member.name.as_str()));
    let first = [
        &["type", "type_"][..],
        &["key_size", "size_key"],
        &["value_size", "size_value"],
        &["max_entries", "max_elem"],
    ];
    if !first.iter().all(|names| has(names)) {
        return Ok(None);
    }
    let mut members = Members {
        namespaces: has(&["size_key", "inner_id", "namespace"]),
        ..Members::default()
    };
    for member in &def.members {
        let (start, size) = (
            member.bit_offset as usize / 8,
            btf.size_of(member.ty).unwrap_or(0) as usize,
        );
        let name = member.name.as_str();
        let value = bytes.get(start..start.saturating_add(size));
        let value = value.ok_or_else(|| format!("member {name:?} is not in it"))?;
        let number = || match <[u8; 4]>::try_from(value) {
            Ok(number) if member.bitfield_size == 0 => Ok(u32::from_le_bytes(number)),
            _ => Err(format!("member {name:?} of {size} bytes, expected 4")),
        };
        if let Some(index) = first.iter().position(|names| names.contains(&name)) {
            members.first[index] = Some(number()?);
            continue;
        }
        match name {
            "map_flags" | "flags" => members.flags = number()?,
            "id" => members.id = Some(number()?),
            "pinning" => members.pinning = number()?,
            "inner_id" => members.inner_id = Some(number()?),
            "inner_idx" => members.inner_idx = number()?,
            "inner_map_idx" => members.inner_map_idx = Some(number()?),
            "numa_node" => members.numa_node = number()?,
            // Where gobpf pins; maps are pinned by name here.
            "namespace" => {}
            _ if value.iter().all(|&byte| byte == 0) => {}
            _ => return Err(format!("member {name:?} is not zero and not known")),
        }
    }
    Ok(Some(members))
}

/// Reads a definition of unknown type.
fn by_size(bytes: &[u8]) -> Result<Members, String> {
    let (words, _) = bytes.as_chunks::<4>();
    let word = |index: usize| words.get(index).map(|&word| u32::from_le_bytes(word));
    let at = |index: usize| word(index).unwrap_or(0);
    let mut members = Members {
        first: [0, 1, 2, 3].map(word),
        flags: at(4),
        ..Members::default()
    };
    match bytes.len() {
        24 => members.inner_map_idx = Some(at(5)),
        28 => {
            let in_samples = is_map_in_map(at(0)) || members.flags & BPF_F_NUMA_NODE != 0;
            if in_samples {
                (members.inner_map_idx, members.numa_node) = (Some(at(5)), at(6));
            } else {
                // The same number, 1, is by name for aya; 2 is the same for iproute2.
                members.id = Some(at(5));
                (members.pinning, members.namespaces) = (at(6), at(6) == 2);
            }
        }
        36 => {
            (members.id, members.pinning, members.namespaces) = (Some(at(5)), at(6), true);
            (members.inner_id, members.inner_idx) = (Some(at(7)), at(8));
        }
        size if size == 24 + NAMESPACE => (members.pinning, members.namespaces) = (at(5), true),
        _ => {
            let tail = bytes.get(20..).unwrap_or_default();
            if let Some(at) = tail.iter().position(|&byte| byte != 0) {
                return Err(format!("byte {} is not zero, and what it means is not known", 20 + at));
            }
        }
    }
    if bytes.len() == 24 && at(5) != 0 && !is_map_in_map(at(0)) {
        return Err("byte 20 is not zero, and what it means is not known".into());
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(words: &[u32], size: usize) -> Result<Definition, String> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(size, 0);
        read(&bytes, None)
    }

    fn plain(map_type: u32) -> Definition {
        Definition {
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries: 10,
            ..Definition::default()
        }
    }

    #[test]
    fn size_tells() {
        assert_eq!(definition(&[1, 4, 8, 10], 16), Ok(plain(1)));
        let flags = Definition { flags: 1, ..plain(1) };
        for size in [20, 24, 32, 40, 64] {
            assert_eq!(definition(&[1, 4, 8, 10, 1], size), Ok(flags.clone()), "{size}");
        }
        let by_index = |inner| Definition {
            inner: Inner::Index(inner),
            ..plain(12)
        };
        assert_eq!(definition(&[12, 4, 8, 10, 0, 3], 24), Ok(by_index(3)));
        assert_eq!(definition(&[12, 4, 8, 10, 0, 3], 28), Ok(by_index(3)));
        let node = Definition {
            flags: 4,
            numa_node: Some(1),
            ..plain(1)
        };
        assert_eq!(definition(&[1, 4, 8, 10, 4, 0, 1], 28), Ok(node));
        let pinned = Definition {
            id: Some(7),
            pinning: Pinning::ByName,
            ..plain(1)
        };
        assert_eq!(definition(&[1, 4, 8, 10, 0, 7, 1], 28), Ok(pinned.clone()));
        assert_eq!(definition(&[1, 4, 8, 10, 0, 7, 2], 28), Ok(pinned.clone()));
        assert_eq!(definition(&[1, 4, 8, 10, 0, 7, 2], 36), Ok(pinned.clone()));
        let element = Definition {
            pinning: Pinning::InObject,
            inner_idx: 5,
            ..pinned
        };
        assert_eq!(definition(&[1, 4, 8, 10, 0, 7, 1, 0, 5], 36), Ok(element));
        let by_id = Definition {
            id: Some(0),
            inner: Inner::Id(7),
            ..plain(13)
        };
        assert_eq!(definition(&[13, 4, 8, 10, 0, 0, 0, 7], 36), Ok(by_id));
        let gobpf = Definition {
            pinning: Pinning::ByName,
            ..plain(1)
        };
        assert_eq!(definition(&[1, 4, 8, 10, 0, 2, 0x6f6c67], 280), Ok(gobpf));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let refused = |words: &[u32], size| definition(words, size).unwrap_err();
        assert_eq!(refused(&[1, 4, 8], 12), "at least 16 bytes are expected");
        let unknown = |byte: usize| format!("byte {byte} is not zero, and what it means is not known");
        assert_eq!(refused(&[1, 4, 8, 10, 0, 3], 24), unknown(20));
        assert_eq!(refused(&[1, 4, 8, 10, 0, 0, 0x100], 32), unknown(25));
        assert_eq!(refused(&[1, 4, 8, 10, 0, 0, 3], 28), "pinning 3, expected 0 or 1");
        let expected = "pinning 3, expected 0 (PIN_NONE), 1 (PIN_OBJECT_NS) or 2 (PIN_GLOBAL_NS)";
        assert_eq!(refused(&[1, 4, 8, 10, 0, 0, 3], 36), expected);
    }
}
