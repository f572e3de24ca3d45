//! The types one by one, in the format of `bpftool btf dump`.

use std::fmt::{self, Display};

use crate::btf::Btf;
use crate::types::*;

/// Every type on a line of its own, its members, values or parameters indented below it: what `bpftool btf dump` prints. Of
/// split BTF, its own types.
///
/// # Examples
/// ```
/// use hitless_btf::{Btf, Int, IntEncoding, Type, TypeId, dump};
///
/// let int = Int { name: "int".into(), size: 4, encoding: IntEncoding::Signed, bit_offset: 0, bits: 32 };
/// let btf = Btf::new(vec![Type::Void, Type::Int(int), Type::Ptr(TypeId(1))])?;
/// assert_eq!(
///     dump::raw(&btf).to_string(),
///     "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED\n[2] PTR '(anon)' type_id=1\n"
/// );
/// # Ok::<(), hitless_btf::BtfError>(())
/// ```
#[must_use]
pub fn raw(btf: &Btf) -> Raw<'_> {
    Raw { btf }
}

/// What [`raw`] makes; print it.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    btf: &'a Btf,
}

impl Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, ty) in self.btf.own_types() {
            if *ty != Type::Void {
                write!(f, "{id} {} {}", ty.kind().name(), Quoted(ty.name()))?;
                self.details(f, ty)?;
            }
        }
        Ok(())
    }
}

impl Raw<'_> {
    fn details(&self, f: &mut fmt::Formatter<'_>, ty: &Type) -> fmt::Result {
        match ty {
            Type::Void => Ok(()),
            Type::Int(t) => writeln!(
                f,
                " size={} bits_offset={} nr_bits={} encoding={}",
                t.size,
                t.bit_offset,
                t.bits,
                t.encoding.name()
            ),
            Type::Ptr(to) | Type::Volatile(to) | Type::Const(to) | Type::Restrict(to) => {
                writeln!(f, " type_id={}", to.0)
            }
            Type::Typedef(t) => writeln!(f, " type_id={}", t.ty.0),
            Type::TypeTag(t) => writeln!(f, " type_id={}", t.ty.0),
            Type::Array(t) => writeln!(
                f,
                " type_id={} index_type_id={} nr_elems={}",
                t.elem.0, t.index.0, t.len
            ),
            Type::Struct(t) | Type::Union(t) => {
                writeln!(f, " size={} vlen={}", t.size, t.members.len())?;
                for m in &t.members {
                    write!(
                        f,
                        "\t{} type_id={} bits_offset={}",
                        Quoted(&m.name),
                        m.ty.0,
                        m.bit_offset
                    )?;
                    if m.bitfield_size != 0 {
                        write!(f, " bitfield_size={}", m.bitfield_size)?;
                    }
                    writeln!(f)?;
                }
                Ok(())
            }
            Type::Enum(t) | Type::Enum64(t) => {
                let encoding = if t.signed { "SIGNED" } else { "UNSIGNED" };
                writeln!(f, " encoding={encoding} size={} vlen={}", t.size, t.variants.len())?;
                let wide = ty.kind() == Kind::Enum64;
                for v in &t.variants {
                    write!(f, "\t{} val=", Quoted(&v.name))?;
                    match (t.signed, wide) {
                        (true, false) => writeln!(f, "{}", v.value)?,
                        (true, true) => writeln!(f, "{}LL", v.value)?,
                        (false, false) => writeln!(f, "{}", v.value.cast_unsigned())?,
                        (false, true) => writeln!(f, "{}ULL", v.value.cast_unsigned())?,
                    }
                }
                Ok(())
            }
            Type::Fwd(t) => writeln!(f, " fwd_kind={}", if t.union { "union" } else { "struct" }),
            Type::Func(t) => writeln!(f, " type_id={} linkage={}", t.proto.0, t.linkage.name()),
            Type::FuncProto(t) => {
                writeln!(f, " ret_type_id={} vlen={}", t.ret.0, t.params.len())?;
                t.params
                    .iter()
                    .try_for_each(|p| writeln!(f, "\t{} type_id={}", Quoted(&p.name), p.ty.0))
            }
            Type::Var(t) => writeln!(f, " type_id={}, linkage={}", t.ty.0, t.linkage.name()),
            Type::Datasec(t) => {
                writeln!(f, " size={} vlen={}", t.size, t.vars.len())?;
                for var in &t.vars {
                    write!(f, "\ttype_id={} offset={} size={}", var.ty.0, var.offset, var.size)?;
                    match self.btf.get(var.ty) {
                        Some(ty) => writeln!(f, " ({} {})", ty.kind().name(), Quoted(ty.name()))?,
                        None => writeln!(f)?,
                    }
                }
                Ok(())
            }
            Type::Float(t) => writeln!(f, " size={}", t.size),
            Type::DeclTag(t) => {
                let component = t.component.map_or(-1, i64::from);
                writeln!(f, " type_id={} component_idx={component}", t.ty.0)
            }
        }
    }
}

/// A name in quotes, on one line whatever it holds.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("'(anon)'");
        }
        f.write_str("'")?;
        for part in self.0.split_inclusive(char::is_control) {
            match part.strip_suffix(char::is_control) {
                Some(plain) => write!(f, "{plain}{}", part[plain.len()..].escape_default())?,
                None => f.write_str(part)?,
            }
        }
        f.write_str("'")
    }
}
