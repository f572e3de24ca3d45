//! C headers for the sources of programs.
//!
//! A hook of the host's own is recorded in BTF as a declaration tag on the struct that its programs are given, "hook:NAME",
//! and what of it they may write as a tag on a member, "writable". So whoever has the types, in memory or in a file, knows
//! what may be attached where, and can verify it.

use std::fmt::Write;

use hitless_btf::dump::{DumpError, c_guarded};
use hitless_btf::{Btf, Builder, DeclTag, Type, TypeId};

const TAG: &str = "hook:";
const WRITABLE: &str = "writable";

/// Records that programs at the hook `name` are given the struct `context`.
pub(crate) fn tag_hook(types: &mut Builder, name: &str, context: TypeId) {
    tag(types, &format!("{TAG}{name}"), context, None);
}

/// Records that programs may write these members of the struct `context`.
pub(crate) fn tag_writable(types: &mut Builder, context: TypeId, writable: &[&str]) {
    let Some(Type::Struct(ty)) = types.get(context) else {
        return;
    };
    let members = (0..).zip(&ty.members);
    let members = members.filter(|(_, member)| writable.contains(&member.name.as_str()));
    for index in members.map(|(index, _)| index).collect::<Vec<_>>() {
        tag(types, WRITABLE, context, Some(index));
    }
}

fn tag(types: &mut Builder, text: &str, ty: TypeId, component: Option<u32>) {
    types.add(Type::DeclTag(DeclTag {
        tag: text.into(),
        ty,
        component,
        attribute: false,
    }));
}

/// Whether programs may write the member at an index of a struct.
pub(crate) fn is_writable(btf: &Btf, context: TypeId, member: u32) -> bool {
    btf.decl_tags(context, Some(member)).any(|tag| tag == WRITABLE)
}

/// The hooks that types name, with the structs that programs are given there.
///
/// # Examples
/// ```
/// # #[derive(hitless::Ctx)] #[repr(C)] struct Request { method: u32 }
/// let runtime = hitless::Runtime::default();
/// let _hook = runtime.hook::<Request>("request");
/// let types = runtime.btf();
/// let hooks: Vec<_> = hitless::hooks_of(types.btf()).collect();
/// assert_eq!((hooks.len(), hooks[0].0), (1, "request"));
/// assert_eq!(types.btf().type_name(hooks[0].1), "struct request");
/// ```
pub fn hooks_of(btf: &Btf) -> impl Iterator<Item = (&str, TypeId)> {
    btf.types().filter_map(|(_, ty)| match ty {
        Type::DeclTag(tag) => Some((tag.tag.as_str().strip_prefix(TAG)?, tag.ty)),
        _ => None,
    })
}

/// Types, and those that they need, as a C header with this include guard, an identifier of C. The hooks at which
/// programs are given one of them stand in a comment at its top.
///
/// The header stands by itself, and goes beside `vmlinux.h` or the kernel's headers. Accesses to its structs are relocated when
/// a program is loaded (CO-RE), so that a member may move in the host.
///
/// # Errors
/// [`DumpError`]: types that no C compiler has made and that C cannot declare.
pub fn c_header(btf: &Btf, roots: &[TypeId], guard: &str) -> Result<String, DumpError> {
    let mut out = String::from("// Made by hitless.\n");
    let mut hooks: Vec<_> = hooks_of(btf).filter(|(_, context)| roots.contains(context)).collect();
    hooks.sort_unstable();
    if !hooks.is_empty() {
        out.push_str("//\n// Programs:\n//\n");
    }
    for (hook, context) in hooks {
        let _ = writeln!(
            out,
            "//\tSEC(\"hook/{hook}\") int NAME({} *ctx)",
            btf.type_name(context)
        );
    }
    out.push_str(&c_guarded(btf, roots, guard)?);
    Ok(out)
}
