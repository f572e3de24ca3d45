//! Values: bytes read as a type, as a tree that can be printed or turned into another format.
//!
//! Members of anonymous structs and unions appear as members of the struct around them, as in C. Arrays of `char` that hold
//! a NUL-terminated printable string become [`Value::Str`]; other arrays of single bytes become [`Value::Bytes`].

use std::fmt::{self, Write};

use crate::btf::Btf;
use crate::name::Name;
use crate::types::*;

/// Bytes read as a type.
///
/// `Display` writes the value as bpftool writes map elements (JSON on one line); with `{:#}`, indented over several lines.
/// Pointers and 128-bit integers are written in hexadecimal, in quotes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// An integer of more than 64 bits, not sign-extended.
    Wide(u128),
    /// A boolean.
    Bool(bool),
    /// A `char`.
    Char(u8),
    /// A floating-point number of 4 or 8 bytes.
    Float(f64),
    /// An enum: the name of the value, if it has one, and the value, to be read `as u64` if the enum is unsigned.
    Enum {
        /// The enumerator.
        name: Option<Name>,
        /// The value.
        value: i64,
        /// Whether the enum is signed.
        signed: bool,
    },
    /// A pointer.
    Pointer(u64),
    /// A NUL-terminated string in an array of `char`, without the NUL.
    Str(String),
    /// An array of bytes, or something without a better reading.
    Bytes(Vec<u8>),
    /// An array.
    Array(Vec<Value>),
    /// A struct or union, or the variables of a data section: members by name, in the order of declaration.
    Struct(Vec<(Name, Value)>),
}

/// Why bytes cannot be read as a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The type has no size: `void`, a function, a forward declaration, or no type of this BTF.
    #[error("type {id} has no values")]
    NoSize {
        /// The type.
        id: TypeId,
    },
    /// Fewer bytes than the type takes.
    #[error("{found} bytes for {name}, expected {expected}")]
    Short {
        /// The type's name.
        name: String,
        /// How many bytes were given.
        found: usize,
        /// How many it takes.
        expected: u64,
    },
    /// Overlapping or empty members that would make the tree far larger than the bytes.
    #[error("the value of type {id} has too many parts")]
    TooLarge {
        /// The type.
        id: TypeId,
    },
}

impl Btf {
    /// Reads `bytes` as a value of type `id`. Bytes beyond its size are ignored.
    ///
    /// # Errors
    /// [`ValueError::NoSize`] if the type has no values, [`ValueError::Short`] if there are not enough bytes,
    /// [`ValueError::TooLarge`] if the tree would be out of proportion to the bytes.
    pub fn value(&self, id: TypeId, bytes: &[u8]) -> Result<Value, ValueError> {
        let size = self.size_of(id).ok_or(ValueError::NoSize { id })?;
        let bytes = self.part(id, bytes, 0, size)?;
        let mut reader = ValueReader {
            btf: self,
            root: id,
            budget: bytes.len().saturating_mul(8).saturating_add(1 << 16),
        };
        reader.value(id, bytes)
    }

    fn part<'a>(&self, id: TypeId, bytes: &'a [u8], offset: u64, size: u32) -> Result<&'a [u8], ValueError> {
        let expected = offset + u64::from(size);
        usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get(offset..)?.get(..size as usize))
            .ok_or_else(|| ValueError::Short {
                name: self.type_name(id),
                found: bytes.len(),
                expected,
            })
    }
}

struct ValueReader<'a> {
    btf: &'a Btf,
    root: TypeId,
    budget: usize,
}

impl ValueReader<'_> {
    fn spend(&mut self, parts: usize) -> Result<(), ValueError> {
        self.budget = self
            .budget
            .checked_sub(parts)
            .ok_or(ValueError::TooLarge { id: self.root })?;
        Ok(())
    }

    /// `bytes` are exactly those of the value.
    fn value(&mut self, id: TypeId, bytes: &[u8]) -> Result<Value, ValueError> {
        self.spend(1)?;
        let Some((id, ty)) = self.btf.resolve(id) else {
            return Err(ValueError::NoSize { id });
        };
        Ok(match ty {
            Type::Int(int) => integer(
                int,
                bits_of(bytes, int.bit_offset.into(), int.bits.into()),
                int.bits.into(),
            ),
            Type::Enum(t) | Type::Enum64(t) => {
                // Its names are searched one by one.
                self.spend(t.variants.len() / 64)?;
                enumerator(t, bits_of(bytes, 0, t.size * 8), t.size * 8)
            }
            Type::Ptr(_) => Value::Pointer(bits_of(bytes, 0, 64) as u64),
            Type::Float(t) => match (t.size, bits_of(bytes, 0, (t.size * 8).min(128))) {
                (4, bits) => Value::Float(f32::from_bits(bits as u32).into()),
                (8, bits) => Value::Float(f64::from_bits(bits as u64)),
                _ => Value::Bytes(bytes.to_vec()),
            },
            Type::Array(array) => self.array(array, bytes)?,
            Type::Struct(t) | Type::Union(t) => {
                let mut members = Vec::new();
                self.members(t, bytes, &mut members)?;
                Value::Struct(members)
            }
            Type::Datasec(sec) => {
                let mut members = Vec::new();
                for entry in &sec.vars {
                    let Some(Type::Var(var)) = self.btf.get(entry.ty) else {
                        continue;
                    };
                    let size = self.btf.size_of(var.ty).ok_or(ValueError::NoSize { id: var.ty })?;
                    let part = self.btf.part(id, bytes, entry.offset.into(), size)?;
                    members.push((var.name.clone(), self.value(var.ty, part)?));
                }
                Value::Struct(members)
            }
            Type::Var(var) => self.value(var.ty, bytes)?,
            _ => return Err(ValueError::NoSize { id }),
        })
    }

    fn array(&mut self, array: &Array, bytes: &[u8]) -> Result<Value, ValueError> {
        let size = self.btf.size_of(array.elem).unwrap_or(0) as usize;
        if let Some((_, Type::Int(int))) = self.btf.resolve(array.elem)
            && int.size == 1
            && int.encoding != IntEncoding::Bool
        {
            return Ok(match printable(bytes) {
                Some(text) if is_char(int) => Value::Str(text.to_string()),
                _ => Value::Bytes(bytes.to_vec()),
            });
        }
        if size == 0 {
            return Ok(Value::Array(Vec::new()));
        }
        self.spend(bytes.len() / size)?;
        Ok(Value::Array(
            bytes
                .chunks_exact(size)
                .map(|bytes| self.value(array.elem, bytes))
                .collect::<Result<_, _>>()?,
        ))
    }

    fn members(&mut self, t: &Composite, bytes: &[u8], out: &mut Vec<(Name, Value)>) -> Result<(), ValueError> {
        self.spend(t.members.len())?;
        for member in &t.members {
            let Some((id, ty)) = self.btf.resolve(member.ty) else {
                return Err(ValueError::NoSize { id: member.ty });
            };
            if member.bitfield_size != 0 {
                let width = member.bitfield_size.into();
                let bits = bits_of(bytes, member.bit_offset, width);
                let value = match ty {
                    Type::Int(int) => integer(int, bits, width),
                    Type::Enum(t) | Type::Enum64(t) => enumerator(t, bits, width),
                    _ => return Err(ValueError::NoSize { id }),
                };
                out.push((member.name.clone(), value));
                continue;
            }
            if let Type::Int(int) = ty
                && u32::from(int.bits) != int.size * 8
            {
                // A bitfield of an old compiler: its bytes may reach over the end of the struct.
                let bits = bits_of(bytes, member.bit_offset + u32::from(int.bit_offset), int.bits.into());
                out.push((member.name.clone(), integer(int, bits, int.bits.into())));
                continue;
            }
            let size = self.btf.size_of(id).ok_or(ValueError::NoSize { id })?;
            let part = self.btf.part(id, bytes, u64::from(member.bit_offset / 8), size)?;
            match ty {
                Type::Struct(inner) | Type::Union(inner) if member.name.is_empty() => self.members(inner, part, out)?,
                _ => out.push((member.name.clone(), self.value(id, part)?)),
            }
        }
        Ok(())
    }
}

/// Whether this is C's `char`, which clang tells from `signed char` by name only.
pub(crate) fn is_char(int: &Int) -> bool {
    int.size == 1 && (int.encoding == IntEncoding::Char || int.name == "char")
}

/// At most 128 bits from `first` on, least significant first. Bits past the end read as 0.
fn bits_of(bytes: &[u8], first: u32, count: u32) -> u128 {
    let mut value = 0;
    for bit in (0..count.min(128)).rev() {
        let at = first as usize + bit as usize;
        let byte = bytes.get(at / 8).copied().unwrap_or(0);
        value = value << 1 | u128::from(byte >> (at % 8) & 1);
    }
    value
}

fn sign_extend(bits: u128, width: u32) -> i64 {
    let unused = 64u32.saturating_sub(width).min(63);
    ((bits as u64) << unused).cast_signed() >> unused
}

fn integer(int: &Int, bits: u128, width: u32) -> Value {
    match int.encoding {
        IntEncoding::Bool => Value::Bool(bits != 0),
        _ if width > 64 => Value::Wide(bits),
        _ if is_char(int) && width == 8 => Value::Char(bits as u8),
        IntEncoding::Signed | IntEncoding::Char => Value::Int(sign_extend(bits, width)),
        IntEncoding::Unsigned => Value::UInt(bits as u64),
    }
}

fn enumerator(t: &Enum, bits: u128, width: u32) -> Value {
    let value = if t.signed {
        sign_extend(bits, width)
    } else {
        (bits as u64).cast_signed()
    };
    let name = t.variants.iter().find(|v| v.value == value).map(|v| v.name.clone());
    Value::Enum {
        name,
        value,
        signed: t.signed,
    }
}

/// The string in a NUL-padded array, if that is what it holds.
fn printable(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&b| b == 0)?;
    if bytes[end..].iter().any(|&b| b != 0) {
        return None;
    }
    std::str::from_utf8(&bytes[..end])
        .ok()
        .filter(|text| !text.chars().any(char::is_control))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, if f.alternate() { Some(0) } else { None })
    }
}

impl Value {
    /// `indent` is the depth of nesting, or `None` for all on one line.
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: Option<usize>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::UInt(value) => write!(f, "{value}"),
            Value::Wide(value) => write!(f, "\"{value:#x}\""),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Char(byte) if matches!(byte, 0x20..=0x7e) => quote(f, char::from(*byte).encode_utf8(&mut [0; 4])),
            Value::Char(byte) => write!(f, "{byte}"),
            Value::Float(value) if value.is_finite() => write!(f, "{value}"),
            Value::Float(value) => write!(f, "\"{value}\""),
            Value::Enum { name: Some(name), .. } => quote(f, name),
            Value::Enum {
                value, signed: true, ..
            } => write!(f, "{value}"),
            Value::Enum { value, .. } => write!(f, "{}", value.cast_unsigned()),
            Value::Pointer(value) => write!(f, "\"{value:#x}\""),
            Value::Str(text) => quote(f, text),
            Value::Bytes(bytes) => {
                f.write_char('[')?;
                for (index, byte) in bytes.iter().enumerate() {
                    write!(f, "{}{byte}", if index == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Value::Array(values) => {
                let scalars = !values.iter().any(|v| matches!(v, Value::Struct(_) | Value::Array(_)));
                let inner = if scalars { None } else { indent.map(|depth| depth + 1) };
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    separate(f, index, inner)?;
                    value.write(f, inner)?;
                }
                close(f, values.is_empty(), inner, ']')
            }
            Value::Struct(members) => {
                let inner = indent.map(|depth| depth + 1);
                f.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(f, index, inner)?;
                    quote(f, name)?;
                    f.write_str(": ")?;
                    value.write(f, inner)?;
                }
                close(f, members.is_empty(), inner, '}')
            }
        }
    }
}

fn separate(f: &mut fmt::Formatter<'_>, index: usize, indent: Option<usize>) -> fmt::Result {
    if index > 0 {
        f.write_char(',')?;
    }
    match indent {
        Some(depth) => write!(f, "\n{:width$}", "", width = depth * 4),
        None => Ok(()),
    }
}

fn close(f: &mut fmt::Formatter<'_>, empty: bool, indent: Option<usize>, bracket: char) -> fmt::Result {
    if let (Some(depth), false) = (indent, empty) {
        write!(f, "\n{:width$}", "", width = (depth - 1) * 4)?;
    }
    f.write_char(bracket)
}

/// A JSON string.
fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
