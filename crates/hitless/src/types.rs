//! The runtime's own types: what it hands to programs, as BTF.
//!
//! Programs are relocated against them if no other BTF is given, so `bpf_core_field_exists()` and the like tell a program what
//! the runtime has. They are made from the tables that the verifier and the runtime work by: what is not in those, such as
//! `xdp_md.egress_ifindex`, is not here either.

use std::sync::{Arc, OnceLock};

use hitless_btf::{Btf, Builder, IntEncoding, TypeId, core};
use hitless_verifier::tables::map_trace;
use hitless_verifier::{ContextFacts, ContextField, ContextFieldKind, tables};

use crate::context::{Describe, XdpAction};
use crate::header::{tag_hook, tag_writable};
use crate::helpers::{HELPERS, kfuncs};
use crate::iter;
use crate::map::{KINDS, kind_name};
use crate::test_functions;

/// The runtime's types, with their index.
pub(crate) fn target() -> &'static Arc<core::Target> {
    static TARGET: OnceLock<Arc<core::Target>> = OnceLock::new();
    TARGET.get_or_init(|| Arc::new(core::Target::new(Arc::new(btf()))))
}

/// The runtime's types, and those of its host's hooks: their names, contexts, and which members are writable.
///
/// # Panics
/// If a context describes types that cannot be.
pub(crate) fn with<'a>(
    hosts: impl IntoIterator<Item = (&'a str, Describe, &'a [&'a str])>,
    described: &[fn(&mut Builder)],
) -> Arc<core::Target> {
    let mut types = Builder::with(target().btf());
    described.iter().for_each(|describe| describe(&mut types));
    for (hook, describe, writable) in hosts {
        if let Some(context) = describe(&mut types) {
            tag_hook(&mut types, hook, context);
            tag_writable(&mut types, context, writable);
        }
    }
    let btf = types.finish().expect("contexts describe types that can be");
    Arc::new(core::Target::new(Arc::new(btf)))
}

fn btf() -> Btf {
    let mut types = Builder::new();
    integers(&mut types);
    context(&mut types, &tables::program_types::xdp());
    types.enumeration(
        "xdp_action",
        XdpAction::ALL.map(|action| (action.name(), action as i64)),
    );
    let u32 = types.unsigned(4);
    types.structure("bpf_spin_lock", 4, &[("val", u32, 0)]);
    // What stands for a thread has an address, and no members.
    types.structure::<&str>("task_struct", 8, &[]);
    let map_type = types.enumeration(
        "bpf_map_type",
        KINDS.iter().map(|known| {
            let name = format!("BPF_MAP_TYPE_{}", kind_name(known.kind).to_uppercase());
            (name, known.kind.number().into())
        }),
    );
    iter::describe(&mut types, map_type);
    types.enumeration(
        "bpf_func_id",
        HELPERS.iter().filter_map(|&id| {
            let name = tables::helpers::name(id)?;
            Some((name.replacen("bpf_", "BPF_FUNC_", 1), id.into()))
        }),
    );
    for kfunc in kfuncs::prototypes() {
        function(&mut types, kfunc);
    }
    for tested in test_functions::all() {
        let params: Vec<_> = tested
            .params
            .iter()
            .map(|(name, ty)| (name, c_type(&mut types, ty)))
            .collect();
        let int = types.int("int", 4, IntEncoding::Signed);
        types.function(tested.name, int, &params);
    }
    for event in map_trace::EVENTS {
        let facts = event.facts();
        context(&mut types, &facts);
        hook(&mut types, &event.function(), &facts.fields[..event.arguments()]);
    }
    map_trace_links(&mut types);
    types.finish().expect("the runtime's types refer to each other only")
}

/// What links of map tracing are made by, but for what is among the enumerators that iterators see (`iter/objects.rs`). Linux' headers
/// lack all of this.
fn map_trace_links(types: &mut Builder) {
    let numbers = map_trace::EVENTS.map(|event| (event.enumerator(), event.number.into()));
    let event = types.enumeration("bpf_map_trace_type", numbers);
    let map_fd = types.unsigned(4);
    let members = [("map_fd", map_fd, 0), ("trace_type", event, 4)];
    types.structure("bpf_map_trace_link_info", 8, &members);
}

/// The integers of C, and the kernel's names for them.
fn integers(types: &mut Builder) {
    types.int("char", 1, IntEncoding::Signed);
    types.int("long int", 8, IntEncoding::Signed);
    types.int("long unsigned int", 8, IntEncoding::Unsigned);
    types.boolean();
    for size in [1, 2, 4, 8] {
        let (signed, unsigned) = (types.signed(size), types.unsigned(size));
        types.typedef(&format!("__s{}", size * 8), signed);
        types.typedef(&format!("__u{}", size * 8), unsigned);
    }
    // What libbpf's declarations of helpers mention beside them.
    for (name, size) in [("__be16", 2), ("__be32", 4), ("__wsum", 4)] {
        let unsigned = types.unsigned(size);
        types.typedef(name, unsigned);
    }
}

/// The struct that a context is to programs.
fn context(types: &mut Builder, context: &ContextFacts) -> TypeId {
    let fields = context.fields.iter();
    let members: Vec<_> = fields
        .map(|field| (&field.name, field_type(types, field.size, field.kind), field.off))
        .collect();
    types.structure(&context.name, context.size, &members)
}

/// The function that a hook is, with these fields of the context as parameters.
fn hook(types: &mut Builder, name: &str, arguments: &[ContextField]) {
    let params: Vec<_> = arguments
        .iter()
        .map(|field| (&field.name, field_type(types, field.size, field.kind)))
        .collect();
    let int = types.int("int", 4, IntEncoding::Signed);
    types.function(name, int, &params);
}

/// A function that programs call by its name.
fn function(types: &mut Builder, kfunc: &tables::kfuncs::Kfunc) {
    let params: Vec<_> = kfunc
        .params
        .iter()
        .map(|(name, ty)| match *name {
            "less" => (name, comparison(types)),
            _ => (name, c_type(types, ty)),
        })
        .collect();
    let ret = c_type(types, kfunc.ret);
    types.function(kfunc.name, ret, &params);
}

/// A pointer to a function that compares nodes of a tree.
fn comparison(types: &mut Builder) -> TypeId {
    let node = c_type(types, "struct bpf_rb_node *");
    let bool = types.boolean();
    let proto = types.prototype(bool, &[("a", node), ("b", node)]);
    types.pointer(proto)
}

/// The type that is written so in C, in the table of such functions.
///
/// # Panics
/// If it is none that they have.
fn c_type(types: &mut Builder, text: &str) -> TypeId {
    if let Some(pointee) = text.strip_suffix(" *") {
        let pointee = c_type(types, pointee);
        return types.pointer(pointee);
    }
    match text {
        "void" => TypeId::VOID,
        "bool" => types.boolean(),
        "int" => types.int("int", 4, IntEncoding::Signed),
        "char" => types.int("char", 1, IntEncoding::Signed),
        "short int" => types.int("short int", 2, IntEncoding::Signed),
        "struct bpf_fentry_test_t" => {
            // In Linux the member points to the same struct; nothing is there that it could point to.
            let pointer = types.pointer(TypeId::VOID);
            types.structure("bpf_fentry_test_t", 8, &[("a", pointer, 0)])
        }
        "u8" => types.unsigned(1),
        "u32" | "__u32" => types.unsigned(4),
        "u64" => types.unsigned(8),
        // Contexts. Each kind of program sees other fields of a packet of the network stack.
        "struct xdp_md" => context(types, &tables::program_types::xdp()),
        "struct __sk_buff" => types.structure::<&str>("__sk_buff", 192, &[]),
        // What const is about is not compared.
        _ => match text.strip_prefix("const ") {
            Some(text) => c_type(types, text),
            None => opaque(types, text),
        },
    }
}

/// A struct that only functions look into.
fn opaque(types: &mut Builder, text: &str) -> TypeId {
    let (name, words) = match text {
        "struct bpf_dynptr" => ("bpf_dynptr", 2),
        "struct bpf_iter_num" => ("bpf_iter_num", 1),
        "struct bpf_iter_bits" => ("bpf_iter_bits", 2),
        "struct bpf_list_head" => ("bpf_list_head", 2),
        "struct bpf_list_node" => ("bpf_list_node", 3),
        "struct bpf_rb_root" => ("bpf_rb_root", 2),
        "struct bpf_rb_node" => ("bpf_rb_node", 4),
        other => panic!("{other} is no type of a function that the runtime has"),
    };
    let word = types.unsigned(8);
    let members: Vec<_> = (0..words).map(|i| (format!("word{i}"), word, 8 * i)).collect();
    types.structure(name, 8 * words, &members)
}

fn field_type(types: &mut Builder, size: u32, kind: ContextFieldKind) -> TypeId {
    match (kind, size) {
        (ContextFieldKind::Memory, _) => types.pointer(TypeId::VOID),
        (_, 4) => types.unsigned(4),
        _ => types.unsigned(8),
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use hitless_btf::{Kind, Type};

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
        assert_eq!(update[3], ("slot".to_owned(), 24, "u64".to_owned()));
        assert_eq!(members("bpf_map_trace_ctx__delete_elem").len(), 1);
        assert_eq!(members("bpf_map_trace_ctx__evict_elem").len(), 1);
    }

    #[test]
    fn enumerators_are_what_the_runtime_has() {
        assert_eq!(value("xdp_action", "XDP_REDIRECT"), Some(4));
        assert_eq!(value("xdp_action", "XDP_ABORTED"), Some(0));
        assert_eq!(value("bpf_map_trace_type", "BPF_MAP_TRACE_DELETE_ELEM"), Some(1));
        assert_eq!(
            value("bpf_map_trace_type", "BPF_MAP_TRACE_EVICT_ELEM"),
            Some(0x8000_0000)
        );
        let ours = Some(0x8000_0000);
        assert_eq!(value("bpf_attach_type", "BPF_TRACE_MAP"), ours);
        assert_eq!(value("bpf_link_type", "BPF_LINK_TYPE_MAP_TRACE"), ours);
        let link = members("bpf_map_trace_link_info");
        assert_eq!((link[0].0.as_str(), link[0].1), ("map_fd", 0));
        assert_eq!((link[1].0.as_str(), link[1].1), ("trace_type", 4));
        assert_eq!(value("bpf_map_type", "BPF_MAP_TYPE_HASH"), Some(1));
        assert_eq!(value("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"), Some(27));
        assert_eq!(value("bpf_map_type", "BPF_MAP_TYPE_SOCKMAP"), None);
        assert_eq!(value("bpf_func_id", "BPF_FUNC_map_lookup_elem"), Some(1));
        assert_eq!(value("bpf_func_id", "BPF_FUNC_setsockopt"), None);
    }

    #[test]
    fn map_tracing_hooks_are_functions() {
        let btf = target().btf();
        for (name, params) in [("UPDATE_ELEM", 3), ("DELETE_ELEM", 1), ("EVICT_ELEM", 1)] {
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
