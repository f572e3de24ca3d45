//! Types as JSON, with bpftool's keys.

use hitless_btf::{Btf, Enumerator, Fwd, Member, Type, TypeId};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// A C header.
#[derive(Serialize)]
pub(super) struct Header<'a> {
    pub(super) c: &'a str,
}

/// Types.
#[derive(Serialize)]
pub(super) struct Types<'a> {
    types: Rows<'a>,
}

struct Rows<'a>(&'a Btf);

struct Row<'a>(TypeId, &'a Type);

impl<'a> Types<'a> {
    pub(super) fn new(btf: &'a Btf) -> Types<'a> {
        Types { types: Rows(btf) }
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for (id, ty) in self.0.own_types().filter(|(_, ty)| **ty != Type::Void) {
            seq.serialize_element(&Row(id, ty))?;
        }
        seq.end()
    }
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "(anon)" } else { name }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row(id, ty) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &id.0)?;
        map.serialize_entry("kind", ty.kind().name())?;
        map.serialize_entry("name", shown(ty.name()))?;
        match ty {
            Type::Void => {}
            Type::Int(t) => {
                map.serialize_entry("size", &t.size)?;
                map.serialize_entry("bits_offset", &t.bit_offset)?;
                map.serialize_entry("nr_bits", &t.bits)?;
                map.serialize_entry("encoding", t.encoding.name())?;
            }
            Type::Ptr(to) | Type::Volatile(to) | Type::Const(to) | Type::Restrict(to) => {
                map.serialize_entry("type_id", &to.0)?;
            }
            Type::Typedef(t) => map.serialize_entry("type_id", &t.ty.0)?,
            Type::TypeTag(t) => map.serialize_entry("type_id", &t.ty.0)?,
            Type::Array(t) => {
                map.serialize_entry("type_id", &t.elem.0)?;
                map.serialize_entry("index_type_id", &t.index.0)?;
                map.serialize_entry("nr_elems", &t.len)?;
            }
            Type::Struct(t) | Type::Union(t) => {
                map.serialize_entry("size", &t.size)?;
                map.serialize_entry("vlen", &t.members.len())?;
                let members: Vec<_> = t.members.iter().map(JsonMember::new).collect();
                map.serialize_entry("members", &members)?;
            }
            Type::Enum(t) | Type::Enum64(t) => {
                map.serialize_entry("encoding", if t.signed { "SIGNED" } else { "UNSIGNED" })?;
                map.serialize_entry("size", &t.size)?;
                map.serialize_entry("vlen", &t.variants.len())?;
                let values: Vec<_> = t.variants.iter().map(|value| JsonValue::new(value, t.signed)).collect();
                map.serialize_entry("values", &values)?;
            }
            Type::Fwd(Fwd { union, .. }) => {
                map.serialize_entry("fwd_kind", if *union { "union" } else { "struct" })?;
            }
            Type::Func(t) => {
                map.serialize_entry("type_id", &t.proto.0)?;
                map.serialize_entry("linkage", t.linkage.name())?;
            }
            Type::FuncProto(t) => {
                map.serialize_entry("ret_type_id", &t.ret.0)?;
                map.serialize_entry("vlen", &t.params.len())?;
                let params = t.params.iter().map(|param| Named {
                    name: shown(&param.name),
                    type_id: param.ty.0,
                });
                map.serialize_entry("params", &params.collect::<Vec<_>>())?;
            }
            Type::Var(t) => {
                map.serialize_entry("type_id", &t.ty.0)?;
                map.serialize_entry("linkage", t.linkage.name())?;
            }
            Type::Datasec(t) => {
                map.serialize_entry("size", &t.size)?;
                map.serialize_entry("vlen", &t.vars.len())?;
                let vars = t.vars.iter().map(|var| JsonVar {
                    type_id: var.ty.0,
                    offset: var.offset,
                    size: var.size,
                });
                map.serialize_entry("vars", &vars.collect::<Vec<_>>())?;
            }
            Type::Float(t) => map.serialize_entry("size", &t.size)?,
            Type::DeclTag(t) => {
                map.serialize_entry("type_id", &t.ty.0)?;
                let component = t.component.map_or(-1, i64::from);
                map.serialize_entry("component_idx", &component)?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    type_id: u32,
}

#[derive(Serialize)]
struct JsonMember<'a> {
    name: &'a str,
    type_id: u32,
    bits_offset: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitfield_size: Option<u8>,
}

impl<'a> JsonMember<'a> {
    fn new(member: &'a Member) -> JsonMember<'a> {
        JsonMember {
            name: shown(&member.name),
            type_id: member.ty.0,
            bits_offset: member.bit_offset,
            bitfield_size: (member.bitfield_size != 0).then_some(member.bitfield_size),
        }
    }
}

#[derive(Serialize)]
struct JsonValue<'a> {
    name: &'a str,
    val: i128,
}

impl<'a> JsonValue<'a> {
    fn new(value: &'a Enumerator, signed: bool) -> JsonValue<'a> {
        let val = if signed {
            value.value.into()
        } else {
            value.value.cast_unsigned().into()
        };
        JsonValue {
            name: shown(&value.name),
            val,
        }
    }
}

#[derive(Serialize)]
struct JsonVar {
    type_id: u32,
    offset: u32,
    size: u32,
}
