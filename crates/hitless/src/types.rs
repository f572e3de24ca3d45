//! The runtime's own types: what it hands to programs, as BTF.
//!
//! Programs are relocated against them if no other BTF is given, so `bpf_core_field_exists()` and the like tell a program what
//! the runtime has. They are made from the tables that the verifier and the runtime work by: what is not in those, such as
//! `xdp_md.egress_ifindex`, is not here either.

use std::sync::{Arc, OnceLock};

use hitless_btf::{
    Btf, Composite, Enum, Enumerator, Func, FuncProto, Int, IntEncoding, Linkage, Member, Param, Type, TypeId, Typedef,
    core,
};
use hitless_verifier::{ContextFacts, ContextFieldKind, tables};

use crate::env::HELPERS;
use crate::hook::XdpAction;
use crate::load::MAP_TYPES;
use crate::map::kind_name;
use crate::program::ProgramType;
use crate::trace::TraceEvent;

/// The runtime's types, with their index.
pub(crate) fn target() -> &'static Arc<core::Target> {
    static TARGET: OnceLock<Arc<core::Target>> = OnceLock::new();
    TARGET.get_or_init(|| Arc::new(core::Target::new(Arc::new(btf()))))
}

fn btf() -> Btf {
    let mut types = Types(vec![Type::Void]);
    let ints = types.ints();
    let pointer = types.add(Type::Ptr(TypeId::VOID));
    types.context(&ProgramType::Xdp.context(), &ints, pointer);
    types.enumeration(
        "xdp_action",
        XdpAction::ALL.map(|action| (action.name().to_owned(), action as i64)),
    );
    types.structure("bpf_spin_lock", 4, vec![("val".to_owned(), ints.u32, 0)]);
    types.enumeration(
        "bpf_map_type",
        MAP_TYPES.map(|(number, kind)| {
            let name = format!("BPF_MAP_TYPE_{}", kind_name(kind).to_uppercase());
            (name, number.into())
        }),
    );
    types.enumeration(
        "bpf_func_id",
        HELPERS.iter().filter_map(|&id| {
            let name = tables::helpers::name(id)?;
            Some((name.replacen("bpf_", "BPF_FUNC_", 1), id.into()))
        }),
    );
    for event in [TraceEvent::UpdateElem, TraceEvent::DeleteElem] {
        let context = ProgramType::MapTrace(event).context();
        types.context(&context, &ints, pointer);
        types.hook(&format!("bpf_map_trace__{}", event.name()), &context, &ints, pointer);
    }
    Btf::new(types.0).expect("the runtime's types refer to each other only")
}

/// The integers that other types are made of.
struct Ints {
    int: TypeId,
    u32: TypeId,
    u64: TypeId,
}

/// Types under construction.
struct Types(Vec<Type>);

impl Types {
    fn add(&mut self, ty: Type) -> TypeId {
        self.0.push(ty);
        TypeId(self.0.len() as u32 - 1)
    }

    /// The integers of C, and the kernel's names for them.
    fn ints(&mut self) -> Ints {
        use IntEncoding::{Bool, Signed, Unsigned};
        let mut int = |name: &str, size: u32, encoding| {
            self.add(Type::Int(Int {
                name: name.into(),
                size,
                encoding,
                bit_offset: 0,
                bits: (size * 8) as u8,
            }))
        };
        int("char", 1, Signed);
        int("long int", 8, Signed);
        int("long unsigned int", 8, Unsigned);
        int("_Bool", 1, Bool);
        let pairs = [
            (8, int("signed char", 1, Signed), int("unsigned char", 1, Unsigned)),
            (16, int("short int", 2, Signed), int("short unsigned int", 2, Unsigned)),
            (32, int("int", 4, Signed), int("unsigned int", 4, Unsigned)),
            (
                64,
                int("long long int", 8, Signed),
                int("long long unsigned int", 8, Unsigned),
            ),
        ];
        let mut typedef = |name: String, ty| {
            self.add(Type::Typedef(Typedef {
                name: name.as_str().into(),
                ty,
            }))
        };
        let short_names = pairs.map(|(bits, signed, unsigned)| {
            let signed = typedef(format!("__s{bits}"), signed);
            let unsigned = typedef(format!("__u{bits}"), unsigned);
            typedef(format!("s{bits}"), signed);
            typedef(format!("u{bits}"), unsigned)
        });
        Ints {
            int: pairs[2].1,
            u32: short_names[2],
            u64: short_names[3],
        }
    }

    fn structure(&mut self, name: &str, size: u32, members: Vec<(String, TypeId, u32)>) {
        let members = members.into_iter().map(|(name, ty, offset)| Member {
            name: name.as_str().into(),
            ty,
            bit_offset: offset * 8,
            bitfield_size: 0,
        });
        let members = members.collect();
        self.add(Type::Struct(Composite {
            name: name.into(),
            size,
            members,
        }));
    }

    fn enumeration(&mut self, name: &str, variants: impl IntoIterator<Item = (String, i64)>) {
        let variants = variants.into_iter().map(|(name, value)| Enumerator {
            name: name.as_str().into(),
            value,
        });
        let variants = variants.collect();
        self.add(Type::Enum(Enum {
            name: name.into(),
            size: 4,
            signed: false,
            variants,
        }));
    }

    /// The struct that a context is to programs.
    fn context(&mut self, context: &ContextFacts, ints: &Ints, pointer: TypeId) {
        let fields = context.fields.iter();
        let members = fields.map(|field| {
            (
                field.name.clone(),
                field_type(field.size, field.kind, ints, pointer),
                field.off,
            )
        });
        self.structure(&context.name, context.size, members.collect());
    }

    /// The function that a hook is, with the fields of the context as parameters.
    fn hook(&mut self, name: &str, context: &ContextFacts, ints: &Ints, pointer: TypeId) {
        let params = context.fields.iter().map(|field| Param {
            name: field.name.as_str().into(),
            ty: field_type(field.size, field.kind, ints, pointer),
        });
        let params = params.collect();
        let proto = self.add(Type::FuncProto(FuncProto { ret: ints.int, params }));
        self.add(Type::Func(Func {
            name: name.into(),
            proto,
            linkage: Linkage::Static,
        }));
    }
}

fn field_type(size: u32, kind: ContextFieldKind, ints: &Ints, pointer: TypeId) -> TypeId {
    match (kind, size) {
        (ContextFieldKind::Memory, _) => pointer,
        (_, 4) => ints.u32,
        _ => ints.u64,
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use hitless_btf::Kind;

    fn members(name: &str) -> Vec<(String, u32, String)> {
        let btf = target().btf();
        let id = target().find(Kind::Struct, name).expect("the struct is there");
        let members = btf.members(id).iter();
        members
            .map(|member| (member.name.to_string(), member.bit_offset / 8, btf.type_name(member.ty)))
            .collect()
    }

    fn value(enumeration: &str, name: &str) -> Option<i64> {
        let id = target().find(Kind::Enum, enumeration)?;
        let Some(Type::Enum(t)) = target().btf().get(id) else {
            return None;
        };
        t.variants.iter().find(|variant| variant.name == *name).map(|v| v.value)
    }

    #[test]
    fn contexts_are_what_programs_see() {
        let names = ["data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index"];
        let expected: Vec<_> = (0..)
            .step_by(4)
            .zip(names)
            .map(|(off, name)| (name.to_owned(), off, "u32".to_owned()))
            .collect();
        assert_eq!(members("xdp_md"), expected);
        let update = members("bpf_map_trace_ctx__update_elem");
        assert_eq!(update[1], ("value".to_owned(), 8, "void *".to_owned()));
        assert_eq!(update[2], ("flags".to_owned(), 16, "u64".to_owned()));
        assert_eq!(members("bpf_map_trace_ctx__delete_elem").len(), 1);
    }

    #[test]
    fn enumerators_are_what_the_runtime_has() {
        assert_eq!(value("xdp_action", "XDP_REDIRECT"), Some(4));
        assert_eq!(value("xdp_action", "XDP_ABORTED"), Some(0));
        assert_eq!(value("bpf_map_type", "BPF_MAP_TYPE_HASH"), Some(1));
        assert_eq!(value("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"), None);
        assert_eq!(value("bpf_func_id", "BPF_FUNC_map_lookup_elem"), Some(1));
        assert_eq!(value("bpf_func_id", "BPF_FUNC_ringbuf_output"), None);
    }

    #[test]
    fn map_tracing_hooks_are_functions() {
        let btf = target().btf();
        for (name, params) in [("UPDATE_ELEM", 3), ("DELETE_ELEM", 1)] {
            let name = format!("bpf_map_trace__BPF_MAP_TRACE_{name}");
            let id = target().find(Kind::Func, &name).expect("the function is there");
            let Some(Type::Func(func)) = btf.get(id) else {
                panic!("{name}")
            };
            let Some(Type::FuncProto(proto)) = btf.get(func.proto) else {
                panic!("{name}")
            };
            assert_eq!((proto.params.len(), btf.type_name(proto.ret).as_str()), (params, "int"));
        }
    }
}
