//! `BPF_MAP_CREATE`.

use std::sync::Arc;

use hitless::{MapCreateError, MapDef, MapFlags, MapKind, MapTypes};
use hitless_btf::TypeId;
use hitless_verifier::tables::map_types;
use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;
use crate::object::{Access, Object, OpenMap};

const MAP_TYPE: Field<u32> = Field::at(0);
const KEY_SIZE: Field<u32> = Field::at(4);
const VALUE_SIZE: Field<u32> = Field::at(8);
const MAX_ENTRIES: Field<u32> = Field::at(12);
const MAP_FLAGS: Field<u32> = Field::at(16);
const INNER_MAP_FD: Field<u32> = Field::at(20);
const NUMA_NODE: Field<u32> = Field::at(24);
const MAP_NAME: usize = 28;
const MAP_IFINDEX: Field<u32> = Field::at(44);
const BTF_FD: Field<u32> = Field::at(48);
const KEY_TYPE: Field<u32> = Field::at(52);
const VALUE_TYPE: Field<u32> = Field::at(56);
const VMLINUX_VALUE_TYPE: Field<u32> = Field::at(60);
const MAP_EXTRA: Field<u64> = Field::at(64);
const TOKEN_FD: Field<u32> = Field::at(76);

/// `BPF_F_TOKEN_FD`: an attribute names a token.
const F_TOKEN_FD: u32 = 1 << 16;
const STRUCT_OPS: u32 = 26;

/// Makes a map. Tokens and devices to make it for there are none of; a NUMA node is accepted if there is a node 0 only.
pub(crate) fn create(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let (key_type, value_type) = (attr.get(KEY_TYPE), attr.get(VALUE_TYPE));
    let number = attr.get(MAP_TYPE);
    if attr.get(VMLINUX_VALUE_TYPE) != 0 {
        // Values that are structs of the host's: of struct_ops only.
        if number != STRUCT_OPS || key_type != 0 || value_type != 0 {
            return Err(Errno::INVAL);
        }
    } else if key_type != 0 && value_type == 0 {
        return Err(Errno::INVAL);
    }
    let flags = MapFlags::from_bits(attr.get(MAP_FLAGS) & !F_TOKEN_FD);
    let access = Access::of(flags.bits())?;
    let has_node = flags.contains(MapFlags::NUMA_NODE);
    let node = attr.get(NUMA_NODE);
    if has_node && node != 0 {
        return Err(Errno::INVAL);
    }
    let kind = map_types::by_number(number).ok_or(Errno::INVAL)?.kind;
    if attr.get(MAP_IFINDEX) != 0 {
        // No device takes a map.
        let may_be_offered = matches!(kind, MapKind::Hash | MapKind::Array);
        return Err(if may_be_offered { Errno::OPNOTSUPP } else { Errno::INVAL });
    }
    if attr.get(MAP_FLAGS) & F_TOKEN_FD != 0 {
        // Whatever it is, it is no token.
        return Err(call.object(attr.get(TOKEN_FD)).err().unwrap_or(Errno::INVAL));
    }
    let def = MapDef {
        flags,
        map_extra: attr.get(MAP_EXTRA),
        numa_node: has_node.then_some(node),
        ..MapDef::new(
            "",
            kind,
            attr.get(KEY_SIZE),
            attr.get(VALUE_SIZE),
            attr.get(MAX_ENTRIES),
        )
    };
    let inner = match kind {
        MapKind::ArrayOfMaps | MapKind::HashOfMaps => Some(call.open_map(attr.get(INNER_MAP_FD))?),
        _ => None,
    };
    let def = MapDef {
        name: attr.name(MAP_NAME)?,
        inner: inner.map(|inner| Box::new(inner.map().def().clone())),
        ..def
    };
    let runtime = call.bpf.runtime();
    let made = if value_type == 0 {
        runtime.create_map(def)
    } else {
        let btf = call.btf(attr.get(BTF_FD))?;
        let types = MapTypes {
            btf: Arc::clone(&btf.btf),
            key: (key_type != 0).then_some(TypeId(key_type)),
            value: TypeId(value_type),
        };
        runtime.create_typed_map(def, types)
    };
    let map = made.map_err(|error: MapCreateError| Errno::from_raw_os_error(error.errno()))?;
    call.open(Object::Map(Arc::new(OpenMap::new(map, access))))
}
