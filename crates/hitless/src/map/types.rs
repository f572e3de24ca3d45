//! Maps whose keys and values have BTF types, as `bpf(2)` makes them: the types have the sizes that the map has, and say where in
//! a value there is a spin lock or a timer.

use std::sync::Arc;

use hitless_btf::{Btf, Type, TypeId};
use hitless_verifier::MapKind;

use super::{MapCreateError, MapDef, MapFlags, MapSource};

/// The types of a map's keys and values.
#[derive(Clone, Debug)]
pub struct MapTypes {
    /// Where they are from.
    pub btf: Arc<Btf>,
    /// Of keys. Bloom filters have none, and maps of global data.
    pub key: Option<TypeId>,
    /// Of values.
    pub value: TypeId,
}

/// What a struct in a value is to the kernel: at most one, so aligned, in maps of these types.
struct Field {
    name: &'static str,
    align: u32,
    kinds: &'static [MapKind],
}

/// The types of maps whose values may have a spin lock.
pub(super) const LOCKED_KINDS: &[MapKind] = &[
    MapKind::Hash,
    MapKind::Array,
    MapKind::CgroupStorage,
    MapKind::SkStorage,
    MapKind::InodeStorage,
    MapKind::TaskStorage,
    MapKind::CgrpStorage,
];
const LOCK: Field = Field {
    name: "bpf_spin_lock",
    align: 4,
    kinds: LOCKED_KINDS,
};
const TIMER: Field = Field {
    name: "bpf_timer",
    align: 8,
    kinds: &[MapKind::Hash, MapKind::LruHash, MapKind::Array],
};

impl MapTypes {
    /// Whether they fit such a map, and what it is with them.
    pub(crate) fn apply(self, def: MapDef) -> Result<(MapDef, MapSource), MapCreateError> {
        let invalid = |what, found, expected| MapCreateError::Invalid {
            name: def.name.clone(),
            what,
            found,
            expected,
        };
        let size = |ty| self.btf.size_of(ty).map_or(u64::MAX, u64::from);
        if self.key.is_some_and(|key| size(key) != def.key_size.into()) {
            return Err(invalid(
                "size of the key's type",
                size(self.key.unwrap_or(TypeId(0))),
                "the key size",
            ));
        }
        if self.key.is_none() && !matches!(def.kind, MapKind::Array | MapKind::BloomFilter) && has_rules(def.kind) {
            return Err(invalid("type of keys", 0, "one, with maps of this type"));
        }
        if size(self.value) != def.value_size.into() {
            return Err(invalid("size of the value's type", size(self.value), "the value size"));
        }
        let lock = self.find(&def, &LOCK)?;
        let timer = self.find(&def, &TIMER)?;
        self.check_kind(&def)?;
        let source = MapSource {
            btf: Some(self.btf),
            key_type: self.key,
            value_type: Some(self.value),
            frozen: None,
            timer,
            owned: None,
        };
        let def = MapDef { spin_lock: lock, ..def };
        Ok((def, source))
    }

    /// Where the value has such a field.
    fn find(&self, def: &MapDef, field: &Field) -> Result<Option<u32>, MapCreateError> {
        let found = self.btf.embedded(self.value, field.name);
        let at = match found[..] {
            [] => return Ok(None),
            [at] if at.is_multiple_of(field.align) => at,
            _ => {
                return Err(MapCreateError::Invalid {
                    name: def.name.clone(),
                    what: field.name,
                    found: found.len() as u64,
                    expected: "one in a value, aligned",
                });
            }
        };
        if def.flags.bits() & (MapFlags::RDONLY_PROG | MapFlags::WRONLY_PROG).bits() != 0 {
            return Err(MapCreateError::Protected {
                name: def.name.clone(),
                field: field.name,
            });
        }
        if !field.kinds.contains(&def.kind) {
            return Err(MapCreateError::Field {
                name: def.name.clone(),
                kind: def.kind,
                field: field.name,
            });
        }
        Ok(Some(at))
    }

    /// What maps of a type ask of the types beside their sizes.
    fn check_kind(&self, def: &MapDef) -> Result<(), MapCreateError> {
        let invalid = |what, expected| {
            Err(MapCreateError::Invalid {
                name: def.name.clone(),
                what,
                found: self.key.map_or(0, |key| key.0.into()),
                expected,
            })
        };
        let key = self.key.and_then(|key| self.btf.get(key));
        let is_section = matches!(self.btf.get(self.value), Some(Type::Datasec(_)));
        match (def.kind, key) {
            (MapKind::Array, None) if def.max_entries == 1 && is_section => Ok(()),
            (MapKind::Array | MapKind::PercpuArray, key) => match key {
                Some(Type::Int(int)) if int.bits == 32 && int.bit_offset == 0 => Ok(()),
                _ => invalid("type of keys", "a 32-bit integer"),
            },
            (MapKind::LpmTrie, key) if !matches!(key, Some(Type::Struct(_))) => invalid("type of keys", "a struct"),
            (MapKind::BloomFilter, Some(_)) => invalid("type of keys", "none"),
            (kind, _) if !has_rules(kind) => Err(MapCreateError::Untyped {
                name: def.name.clone(),
                kind,
            }),
            _ => Ok(()),
        }
    }
}

/// Whether keys and values of such maps may have types.
fn has_rules(kind: MapKind) -> bool {
    !matches!(
        kind,
        MapKind::ProgArray
            | MapKind::PerfEventArray
            | MapKind::ArrayOfMaps
            | MapKind::HashOfMaps
            | MapKind::Devmap
            | MapKind::DevmapHash
            | MapKind::Cpumap
            | MapKind::Xskmap
    )
}
