//! The kernel's types, and offsets in them by name: they differ from kernel to kernel.

use std::sync::{Arc, OnceLock};

use hitless_btf::{Btf, Kind, Type};

/// The types of the running kernel, if it says.
pub fn kernel() -> Option<Arc<Btf>> {
    static TYPES: OnceLock<Option<Arc<Btf>>> = OnceLock::new();
    let read = || {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").ok()?;
        Some(Arc::new(Btf::parse(&bytes).expect("the kernel's types can be read")))
    };
    TYPES.get_or_init(read).clone()
}

/// Puts offsets in the place of `{STRUCT.MEMBER.MEMBER+NUMBER}`, and sizes in that of `{STRUCT}`. Type ids are written
/// `{#STRUCT}`, those of variables `{$VARIABLE}`, those of functions `{@FUNCTION}`.
pub fn resolve(text: &str, types: &Btf) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("names of offsets are in braces");
        out += before;
        out += &number(name, types).to_string();
        rest = after;
    }
    out + rest
}

fn number(name: &str, types: &Btf) -> i64 {
    let find = |kind, name: &str| {
        let found = types.find(kind, name);
        found.unwrap_or_else(|| panic!("the kernel has no {name}"))
    };
    if let Some(name) = name.strip_prefix('#') {
        return find(Kind::Struct, name).0.into();
    }
    if let Some(name) = name.strip_prefix('$') {
        return find(Kind::Var, name).0.into();
    }
    if let Some(name) = name.strip_prefix('@') {
        return find(Kind::Func, name).0.into();
    }
    let sign = name.find(['+', '-']);
    let (path, plus) = name.split_at(sign.unwrap_or(name.len()));
    let plus: i64 = if plus.is_empty() {
        0
    } else {
        plus.parse().expect("a number")
    };
    let mut members = path.split('.');
    let mut id = find(Kind::Struct, members.next().unwrap_or_default());
    let (mut bits, mut whole) = (0, true);
    for wanted in members {
        let (off, ty) = member(types, id, wanted).unwrap_or_else(|| panic!("{path}: no {wanted}"));
        bits += off;
        id = ty;
        whole = false;
    }
    match whole {
        true => i64::from(types.size_of(id).expect("structs have sizes")) + plus,
        false => i64::from(bits / 8) + plus,
    }
}

/// Offset in bits and type of a member, also of anonymous ones in it.
fn member(types: &Btf, id: hitless_btf::TypeId, wanted: &str) -> Option<(u32, hitless_btf::TypeId)> {
    types.members(id).iter().find_map(|member| {
        if member.name == *wanted {
            return Some((member.bit_offset, member.ty));
        }
        let is_anonymous = matches!(types.resolve(member.ty), Some((_, Type::Struct(_) | Type::Union(_))));
        let inner = (member.name.is_empty() && is_anonymous).then(|| self::member(types, member.ty, wanted))?;
        inner.map(|(off, ty)| (off + member.bit_offset, ty))
    })
}
