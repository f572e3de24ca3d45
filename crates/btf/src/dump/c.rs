//! Types as C declarations, in the format of `bpftool btf dump … format c`.
//!
//! Three parts: [`order`](super::order) says what has to be declared before what, [`fit`](super::fit) says which padding and
//! which attributes make a compiler arrive at the layout that BTF has, [`decl`](super::decl) writes the declarations.

use super::decl::Writer;
use super::order::order;
use crate::btf::Btf;
use crate::types::*;

/// The guard of a header of everything, as bpftool has it.
const GUARD: &str = "__VMLINUX_H__";

const PUSH: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

";

const POP: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

";

/// How much text there may be for a byte of BTF; a kernel's has about a half.
const EXPANSION: usize = 16;
const LEAST_BUDGET: usize = 1 << 20;

/// Why types cannot be written as C.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// A type that would have to be written inside itself, or declared before itself.
    #[error("type {id}: its declaration in C would have to contain itself")]
    Cycle {
        /// The type.
        id: TypeId,
    },
    /// Anonymous types and function prototypes nested too deeply in one another.
    #[error("type {id}: more than {max} types without a name inside each other")]
    TooDeep {
        /// A type among them.
        id: TypeId,
        /// The limit.
        max: usize,
    },
    /// Anonymous types that are written again and again.
    #[error("more than {max} bytes of C; types without a name are repeated too often")]
    TooLarge {
        /// The limit.
        max: usize,
    },
}

/// All types as a C header that compiles: what `bpftool btf dump file FILE format c` prints. Of split BTF, its own types and
/// what they need of the base.
///
/// Types come in an order in which they may be declared, with the padding and the attributes that give them the size and
/// the offsets that they have in BTF. Where a name occurs twice, the second one becomes `name___2`; what is no C identifier,
/// or is a keyword, is made one with underscores.
///
/// # Examples
/// ```
/// use hitless_btf::{Btf, Composite, Int, IntEncoding, Member, Type, TypeId, dump};
///
/// let int = Int { name: "int".into(), size: 4, encoding: IntEncoding::Signed, bit_offset: 0, bits: 32 };
/// let next = Member { name: "next".into(), ty: TypeId(2), bit_offset: 0, bitfield_size: 0 };
/// let n = Member { name: "n".into(), ty: TypeId(1), bit_offset: 64, bitfield_size: 0 };
/// let list = Composite { name: "list".into(), size: 16, members: vec![next, n] };
/// let types = vec![Type::Void, Type::Int(int), Type::Ptr(TypeId(3)), Type::Struct(list)];
/// let text = dump::c(&Btf::new(types)?)?;
/// assert!(text.contains("struct list {\n\tstruct list *next;\n\tint n;\n};\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DumpError`]: types that no C compiler has made and that C cannot declare, or whose text would be much longer than they
/// are.
pub fn c(btf: &Btf) -> Result<String, DumpError> {
    let declared = |ty: &Type| match ty {
        Type::Struct(_) | Type::Union(_) | Type::Fwd(_) | Type::Typedef(_) => !ty.name().is_empty(),
        Type::Enum(_) | Type::Enum64(_) => true,
        _ => false,
    };
    let roots: Vec<_> = btf
        .own_types()
        .filter(|(_, ty)| declared(ty))
        .map(|(id, _)| id)
        .collect();
    c_of(btf, &roots)
}

/// These types, and what they need, as a C header. What is needed only behind pointers is declared, not defined.
///
/// # Errors
/// As for [`c`].
pub fn c_of(btf: &Btf, roots: &[TypeId]) -> Result<String, DumpError> {
    c_guarded(btf, roots, GUARD)
}

/// The same with another include guard, an identifier of C: a header of its own, that goes beside others.
///
/// # Errors
/// As for [`c`].
pub fn c_guarded(btf: &Btf, roots: &[TypeId], guard: &str) -> Result<String, DumpError> {
    let len: usize = btf.types().map(|(_, ty)| ty.encoded_len()).sum();
    let mut writer = Writer::new(btf, len.saturating_mul(EXPANSION).max(LEAST_BUDGET));
    let mut out = format!("#ifndef {guard}\n#define {guard}\n\n{PUSH}");
    for id in order(btf, roots)? {
        writer.write(id, &mut out)?;
    }
    out.push_str(POP);
    out.push_str(&format!("#endif /* {guard} */\n"));
    Ok(out)
}
