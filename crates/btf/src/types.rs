//! The kinds of type that BTF has, with their names resolved and their flags unpacked.

use std::fmt;

use crate::name::Name;

/// A type's id: its index, 0 being `void`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// How the bits of an integer are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum IntEncoding {
    /// No flag set.
    #[default]
    Unsigned,
    /// `BTF_INT_SIGNED`.
    Signed,
    /// `BTF_INT_CHAR`. Clang does not set it, it calls the type `char`.
    Char,
    /// `BTF_INT_BOOL`.
    Bool,
}

impl IntEncoding {
    /// As bpftool writes it ("SIGNED"); "(none)" for [`IntEncoding::Unsigned`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IntEncoding::Unsigned => "(none)",
            IntEncoding::Signed => "SIGNED",
            IntEncoding::Char => "CHAR",
            IntEncoding::Bool => "BOOL",
        }
    }
}

/// `BTF_KIND_INT`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Int {
    /// C name.
    pub name: Name,
    /// Size in bytes: 1, 2, 4, 8 or 16.
    pub size: u32,
    /// How it is read.
    pub encoding: IntEncoding,
    /// First bit of the value inside the bytes; 0 but for bitfields of old compilers.
    pub bit_offset: u8,
    /// Bits of the value.
    pub bits: u8,
}

/// `BTF_KIND_ARRAY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array {
    /// Element type.
    pub elem: TypeId,
    /// Index type.
    pub index: TypeId,
    /// Number of elements; 0 for a flexible array.
    pub len: u32,
}

/// `BTF_KIND_STRUCT` and `BTF_KIND_UNION`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Composite {
    /// Tag; empty if anonymous.
    pub name: Name,
    /// Size in bytes.
    pub size: u32,
    /// Members in the order of declaration.
    pub members: Vec<Member>,
}

/// A member of a struct or union.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Name; empty for an anonymous struct or union.
    pub name: Name,
    /// Its type.
    pub ty: TypeId,
    /// First bit, from the start of the struct; the least significant bit of a byte is its first.
    pub bit_offset: u32,
    /// Width in bits if it is a bitfield, else 0.
    pub bitfield_size: u8,
}

/// `BTF_KIND_ENUM` and `BTF_KIND_ENUM64`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Enum {
    /// Tag; empty if anonymous.
    pub name: Name,
    /// Size in bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// Whether values are signed.
    pub signed: bool,
    /// The named values.
    pub variants: Vec<Enumerator>,
}

/// A named value of an enum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enumerator {
    /// C name.
    pub name: Name,
    /// Its value. For an unsigned enum above `i64::MAX` the same bits, to be read `as u64`.
    pub value: i64,
}

/// `BTF_KIND_FWD`: a struct or union that is declared only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fwd {
    /// Tag.
    pub name: Name,
    /// Whether it is a union.
    pub union: bool,
}

/// `BTF_KIND_TYPEDEF`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Typedef {
    /// C name.
    pub name: Name,
    /// What it stands for.
    pub ty: TypeId,
}

/// Linkage of functions and variables.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Linkage {
    /// `static`.
    #[default]
    Static,
    /// Defined here, visible elsewhere.
    Global,
    /// Defined elsewhere.
    Extern,
}

impl Linkage {
    /// As C and bpftool write it ("static", "global", "extern").
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Linkage::Static => "static",
            Linkage::Global => "global",
            Linkage::Extern => "extern",
        }
    }
}

/// `BTF_KIND_FUNC`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Func {
    /// C name.
    pub name: Name,
    /// Its [`FuncProto`].
    pub proto: TypeId,
    /// Linkage.
    pub linkage: Linkage,
}

/// `BTF_KIND_FUNC_PROTO`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FuncProto {
    /// Return type.
    pub ret: TypeId,
    /// Parameters. The last one has no name and type `void` if more may follow (`...`).
    pub params: Vec<Param>,
}

/// A parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// C name; may be empty.
    pub name: Name,
    /// Its type.
    pub ty: TypeId,
}

/// `BTF_KIND_VAR`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Var {
    /// C name; `function.name` for a static variable of a function.
    pub name: Name,
    /// Its type.
    pub ty: TypeId,
    /// Linkage.
    pub linkage: Linkage,
}

/// `BTF_KIND_DATASEC`: a section of global data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Datasec {
    /// Section name.
    pub name: Name,
    /// Size in bytes. Compilers leave it 0: see [`Btf::fix_datasec`](crate::Btf::fix_datasec).
    pub size: u32,
    /// The variables in it.
    pub vars: Vec<DatasecVar>,
}

/// A variable in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatasecVar {
    /// The [`Var`] (or, among extern symbols, the [`Func`]).
    pub ty: TypeId,
    /// Offset in the section, in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// `BTF_KIND_FLOAT`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Float {
    /// C name.
    pub name: Name,
    /// Size in bytes: 2, 4, 8, 12 or 16.
    pub size: u32,
}

/// `BTF_KIND_DECL_TAG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclTag {
    /// The tag's text.
    pub tag: Name,
    /// What it is attached to: a struct, union, typedef, variable or function.
    pub ty: TypeId,
    /// Which member or parameter of it; `None` for the whole.
    pub component: Option<u32>,
    /// Whether the text is an attribute of its own (`__attribute__((text))`) instead of a `btf_decl_tag`.
    pub attribute: bool,
}

/// `BTF_KIND_TYPE_TAG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeTag {
    /// The tag's text.
    pub tag: Name,
    /// The type it is attached to.
    pub ty: TypeId,
    /// Whether the text is an attribute of its own (`__attribute__((text))`) instead of a `btf_type_tag`.
    pub attribute: bool,
}

/// A type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// `void`, which has id 0 and only that.
    Void,
    /// An integer.
    Int(Int),
    /// A pointer to a type.
    Ptr(TypeId),
    /// An array.
    Array(Array),
    /// A struct.
    Struct(Composite),
    /// A union.
    Union(Composite),
    /// An enum with values of 32 bits.
    Enum(Enum),
    /// A forward declaration.
    Fwd(Fwd),
    /// A typedef.
    Typedef(Typedef),
    /// `volatile`.
    Volatile(TypeId),
    /// `const`.
    Const(TypeId),
    /// `restrict`.
    Restrict(TypeId),
    /// A function.
    Func(Func),
    /// A function's type.
    FuncProto(FuncProto),
    /// A global variable.
    Var(Var),
    /// A section of global data.
    Datasec(Datasec),
    /// A floating-point number.
    Float(Float),
    /// A tag on a declaration.
    DeclTag(DeclTag),
    /// A tag on a type.
    TypeTag(TypeTag),
    /// An enum with values of 64 bits.
    Enum64(Enum),
}

/// The kinds of type; the numbers are those of the encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of `Type`")]
pub enum Kind {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
}

impl Kind {
    /// The kernel's name for it ("FUNC_PROTO").
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Void => "VOID",
            Kind::Int => "INT",
            Kind::Ptr => "PTR",
            Kind::Array => "ARRAY",
            Kind::Struct => "STRUCT",
            Kind::Union => "UNION",
            Kind::Enum => "ENUM",
            Kind::Fwd => "FWD",
            Kind::Typedef => "TYPEDEF",
            Kind::Volatile => "VOLATILE",
            Kind::Const => "CONST",
            Kind::Restrict => "RESTRICT",
            Kind::Func => "FUNC",
            Kind::FuncProto => "FUNC_PROTO",
            Kind::Var => "VAR",
            Kind::Datasec => "DATASEC",
            Kind::Float => "FLOAT",
            Kind::DeclTag => "DECL_TAG",
            Kind::TypeTag => "TYPE_TAG",
            Kind::Enum64 => "ENUM64",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Void => "void",
            Kind::Int => "int",
            Kind::Ptr => "pointer",
            Kind::Array => "array",
            Kind::Struct => "struct",
            Kind::Union => "union",
            Kind::Enum => "enum",
            Kind::Fwd => "forward declaration",
            Kind::Typedef => "typedef",
            Kind::Volatile => "volatile",
            Kind::Const => "const",
            Kind::Restrict => "restrict",
            Kind::Func => "function",
            Kind::FuncProto => "function prototype",
            Kind::Var => "variable",
            Kind::Datasec => "data section",
            Kind::Float => "float",
            Kind::DeclTag => "declaration tag",
            Kind::TypeTag => "type tag",
            Kind::Enum64 => "enum64",
        })
    }
}

impl Type {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Type::Void => Kind::Void,
            Type::Int(_) => Kind::Int,
            Type::Ptr(_) => Kind::Ptr,
            Type::Array(_) => Kind::Array,
            Type::Struct(_) => Kind::Struct,
            Type::Union(_) => Kind::Union,
            Type::Enum(_) => Kind::Enum,
            Type::Fwd(_) => Kind::Fwd,
            Type::Typedef(_) => Kind::Typedef,
            Type::Volatile(_) => Kind::Volatile,
            Type::Const(_) => Kind::Const,
            Type::Restrict(_) => Kind::Restrict,
            Type::Func(_) => Kind::Func,
            Type::FuncProto(_) => Kind::FuncProto,
            Type::Var(_) => Kind::Var,
            Type::Datasec(_) => Kind::Datasec,
            Type::Float(_) => Kind::Float,
            Type::DeclTag(_) => Kind::DeclTag,
            Type::TypeTag(_) => Kind::TypeTag,
            Type::Enum64(_) => Kind::Enum64,
        }
    }

    /// Its name: a tag's text for tags, empty for kinds without one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name_in_table().map_or("", Name::as_str)
    }

    /// Its name; `None` for kinds without one.
    pub(crate) fn name_in_table(&self) -> Option<&Name> {
        match self {
            Type::Int(t) => Some(&t.name),
            Type::Struct(t) | Type::Union(t) => Some(&t.name),
            Type::Enum(t) | Type::Enum64(t) => Some(&t.name),
            Type::Fwd(t) => Some(&t.name),
            Type::Typedef(t) => Some(&t.name),
            Type::Func(t) => Some(&t.name),
            Type::Var(t) => Some(&t.name),
            Type::Datasec(t) => Some(&t.name),
            Type::Float(t) => Some(&t.name),
            Type::DeclTag(t) => Some(&t.tag),
            Type::TypeTag(t) => Some(&t.tag),
            Type::Void
            | Type::Ptr(_)
            | Type::Array(_)
            | Type::Volatile(_)
            | Type::Const(_)
            | Type::Restrict(_)
            | Type::FuncProto(_) => None,
        }
    }

    /// How many members, values, parameters or variables are listed with it.
    pub(crate) fn items(&self) -> usize {
        match self {
            Type::Struct(t) | Type::Union(t) => t.members.len(),
            Type::Enum(t) | Type::Enum64(t) => t.variants.len(),
            Type::FuncProto(t) => t.params.len(),
            Type::Datasec(t) => t.vars.len(),
            _ => 0,
        }
    }

    /// Bytes that it takes in a type section.
    pub(crate) fn encoded_len(&self) -> usize {
        let item = match self {
            Type::Void => return 0,
            Type::Int(_) | Type::Var(_) | Type::DeclTag(_) => return 16,
            Type::Array(_) => return 24,
            Type::Enum(_) | Type::FuncProto(_) => 8,
            _ => 12,
        };
        12 + item * self.items()
    }

    /// What a typedef, modifier or type tag stands for.
    pub(crate) fn alias_of(&self) -> Option<TypeId> {
        match self {
            Type::Typedef(t) => Some(t.ty),
            Type::TypeTag(t) => Some(t.ty),
            Type::Volatile(ty) | Type::Const(ty) | Type::Restrict(ty) => Some(*ty),
            _ => None,
        }
    }
}
