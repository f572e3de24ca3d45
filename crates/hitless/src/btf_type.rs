//! Rust types that programs share with their host, as BTF describes them.
//!
//! Programs know the layout of their maps' keys and values by BTF; the host knows its structs by Rust. [`BtfType`] gives a
//! Rust type the same description, so that the two are compared, field by field, before a value is read with the wrong
//! one.

use bytemuck::Pod;
use hitless_btf::dump::DumpError;
use hitless_btf::layout::{FieldPlace, compare};
use hitless_btf::{Btf, BtfError, Builder, Type, TypeId};

use crate::header::c_header;

/// A type with a description in BTF. Made by `#[derive(BtfType)]` for `#[repr(C)]` structs; `#[derive(Value)]` makes it,
/// too.
///
/// The struct's name in C is that of the Rust type in lower case with underscores, `FlowStats` becoming
/// `struct flow_stats`; `#[hitless(name = "...")]` on the struct or a field says otherwise.
///
/// # Safety
/// [`describe`](BtfType::describe) says what lies where in a value of the type, and all that it describes is initialised in
/// every value.
///
/// # Examples
/// ```
/// use hitless::BtfType;
///
/// #[derive(BtfType)]
/// #[repr(C)]
/// struct FlowStats {
///     packets: u64,
///     #[hitless(name = "octets")]
///     bytes: u64,
/// }
///
/// let (btf, id) = hitless::btf_of::<FlowStats>()?;
/// assert_eq!(btf.type_name(id), "struct flow_stats");
/// assert_eq!(btf.members(id)[1].name.as_str(), "octets");
/// let header = FlowStats::c_header("FLOW_STATS_H").unwrap();
/// assert!(header.contains("struct flow_stats {\n\tu64 packets;\n\tu64 octets;\n};\n"));
/// # Ok::<(), hitless::btf::BtfError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description in BTF",
    note = "derive it on a `#[repr(C)]` struct: `#[derive(Clone, Copy, hitless::Value)]`"
)]
pub unsafe trait BtfType {
    /// Adds the type, and those that it needs, to `types`, and returns its id there.
    fn describe(types: &mut Builder) -> TypeId;

    /// The type and those that it needs as a C header with this include guard, for the sources of programs. That of all hooks
    /// of a runtime is [`Runtime::header`](crate::Runtime::header).
    ///
    /// # Errors
    /// [`DumpError`] if C cannot declare it.
    ///
    /// # Panics
    /// If a description that was written by hand describes what cannot be.
    fn c_header(guard: &str) -> Result<String, DumpError>
    where
        Self: Sized,
    {
        let (btf, id) = btf_of::<Self>().expect("types describe what can be");
        c_header(&btf, &[id], guard)
    }
}

/// What keys and values of maps can be: plain data of which every bit pattern is valid, without padding.
///
/// Whatever is [`Pod`] and [`BtfType`]: integers, arrays of them, and structs with `#[derive(Clone, Copy, Value)]`.
///
/// # Examples
/// ```
/// use hitless::Value;
///
/// #[derive(Clone, Copy, PartialEq, Debug, Value)]
/// #[repr(C)]
/// struct FlowKey {
///     addresses: [u32; 2],
///     ports: [u16; 2],
///     protocol: u8,
///     // Padding would be bytes without a value; C has them here, too.
///     _pad: [u8; 3],
/// }
/// ```
///
/// Without the last field it would not compile, nor would a struct with a reference or a `bool` in it:
///
/// ```compile_fail,E0080
/// #[derive(Clone, Copy, hitless::Value)]
/// #[repr(C)]
/// struct FlowKey {
///     addresses: [u32; 2],
///     protocol: u8,
/// }
/// ```
///
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, hitless::Value)]
/// #[repr(C)]
/// struct Flag {
///     set: bool,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key or value of a map",
    note = "derive it on a `#[repr(C)]` struct: `#[derive(Clone, Copy, hitless::Value)]`"
)]
pub trait Value: Pod + BtfType {}

impl<T: Pod + BtfType> Value for T {}

/// A type's description, by itself.
///
/// # Errors
/// [`BtfError`] if a hand-written [`BtfType`] describes what cannot be.
pub fn btf_of<T: BtfType>() -> Result<(Btf, TypeId), BtfError> {
    let mut types = Builder::new();
    let id = T::describe(&mut types);
    Ok((types.finish()?, id))
}

macro_rules! integers {
    ($($rust:ty: $method:ident),*) => {$(
        // SAFETY: an integer of that size.
        unsafe impl BtfType for $rust {
            fn describe(types: &mut Builder) -> TypeId {
                types.$method(size_of::<$rust>() as u32)
            }
        }
    )*};
}

integers!(u8: unsigned, u16: unsigned, u32: unsigned, u64: unsigned, i8: signed, i16: signed, i32: signed, i64: signed);

// SAFETY: one byte, 0 or 1.
unsafe impl BtfType for bool {
    fn describe(types: &mut Builder) -> TypeId {
        types.boolean()
    }
}

// SAFETY: the elements lie side by side.
unsafe impl<T: BtfType, const N: usize> BtfType for [T; N] {
    fn describe(types: &mut Builder) -> TypeId {
        let elem = T::describe(types);
        types.array(elem, u32::try_from(N).unwrap_or(u32::MAX))
    }
}

/// How a Rust type differs from what a program says of the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutMismatch {
    /// They have different sizes.
    #[error("size {found}, expected {expected}")]
    Size {
        /// The program's, in bytes.
        found: usize,
        /// The Rust type's, in bytes.
        expected: usize,
    },
    /// A field is elsewhere, of another type, or missing on one side.
    #[error("field {field}: {}, expected {}", place(found), place(expected))]
    Field {
        /// Path of the field ("inner.count").
        field: String,
        /// Where the program has it, as what.
        found: Option<Box<FieldPlace>>,
        /// Where the Rust type has it, as what.
        expected: Option<Box<FieldPlace>>,
    },
}

fn place(place: &Option<Box<FieldPlace>>) -> String {
    match place {
        None => "none".into(),
        Some(place) => format!("{} at offset {} ({} bytes)", place.type_name, place.offset, place.size),
    }
}

/// Compares `T` with the type that a program gives the same bytes, if that is known. Fields whose names begin with `_` are
/// padding and match anything; so do numbers and arrays of them, if only the size is right.
pub(crate) fn check_layout<T: BtfType>(found: Option<(&Btf, TypeId)>, size: usize) -> Result<(), LayoutMismatch> {
    let expected = size_of::<T>();
    if size != expected {
        return Err(LayoutMismatch::Size { found: size, expected });
    }
    let (Some(found), Ok(own)) = (found, btf_of::<T>()) else {
        return Ok(());
    };
    if !(is_struct(found) && is_struct((&own.0, own.1))) {
        return Ok(());
    }
    // Too large to compare, or not a type of values: the size has to do.
    let Ok(diff) = compare(found, (&own.0, own.1)) else {
        return Ok(());
    };
    if diff.is_identity() {
        return Ok(());
    }
    let is_padding = |path: &str| path.rsplit('.').next().is_some_and(|name| name.starts_with('_'));
    let moved = diff.fields.into_iter().find(|field| {
        let same = |place: &Option<FieldPlace>| place.as_ref().map(|place| (place.offset, place.size));
        let reinitialised = field.fate == hitless_btf::layout::Fate::Reinitialised;
        let stays =
            field.fate == hitless_btf::layout::Fate::Same || reinitialised && same(&field.old) == same(&field.new);
        !stays && !is_padding(&field.path)
    });
    match moved {
        None => Ok(()),
        Some(field) => Err(LayoutMismatch::Field {
            field: field.path,
            found: field.old.map(Box::new),
            expected: field.new.map(Box::new),
        }),
    }
}

fn is_struct((btf, id): (&Btf, TypeId)) -> bool {
    matches!(btf.resolve(id), Some((_, Type::Struct(_))))
}
