//! C headers for the sources of programs.
//!
//! A hook of the host's own is recorded in BTF as a declaration tag on the struct that its programs are given, "hook:NAME". So
//! whoever has the types, in memory or in a file, knows what may be attached where.

use std::fmt::Write;

use hitless_btf::dump::{DumpError, c_guarded};
use hitless_btf::{Btf, Builder, DeclTag, Type, TypeId};

const TAG: &str = "hook:";

/// Records that programs at the hook `name` are given the struct `context`.
pub(crate) fn tag_hook(types: &mut Builder, name: &str, context: TypeId) {
    types.add(Type::DeclTag(DeclTag {
        tag: format!("{TAG}{name}").as_str().into(),
        ty: context,
        component: None,
        attribute: false,
    }));
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
