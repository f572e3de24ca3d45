//! From the bytes of a `.BTF` section to types. What the types mean together is checked afterwards, in `check`.

use std::sync::Arc;

use crate::error::BtfError;
use crate::name::{Name, Strings};
use crate::types::*;

pub(crate) const MAGIC: u16 = 0xeb9f;
pub(crate) const HEADER_LEN: u32 = 24;
/// The kernel's `BTF_MAX_SIZE`.
pub(crate) const MAX_SIZE: u64 = 16 << 20;
/// The kernel's `BTF_MAX_TYPE`.
pub(crate) const MAX_TYPES: u32 = 0xf_ffff;

/// The kernel's `KSYM_NAME_LEN`. Tags, which are texts rather than names, may be longer.
pub(crate) const MAX_NAME: usize = 512;
pub(crate) const MAX_TAG: usize = 4096;

pub(crate) const INT_SIGNED: u8 = 1;
pub(crate) const INT_CHAR: u8 = 2;
pub(crate) const INT_BOOL: u8 = 4;

/// Reads little-endian numbers, never past the end.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { bytes, pos: 0, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], BtfError> {
        let end = self.pos.checked_add(len).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(BtfError::OutOfBounds {
                what: self.what,
                start: self.pos as u64,
                end: (self.pos as u64).saturating_add(len as u64),
                len: self.bytes.len() as u64,
            });
        };
        let taken = &self.bytes[self.pos..end];
        self.pos = end;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BtfError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, BtfError> {
        let b = self.take(2)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BtfError> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn i32(&mut self) -> Result<i32, BtfError> {
        Ok(self.u32()?.cast_signed())
    }
}

/// Takes `len` bytes at `off` behind a header of `hdr_len` bytes.
pub(crate) fn section<'a>(
    bytes: &'a [u8],
    hdr_len: u32,
    off: u32,
    len: u32,
    what: &'static str,
) -> Result<&'a [u8], BtfError> {
    let start = u64::from(hdr_len) + u64::from(off);
    let end = start + u64::from(len);
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(s), Ok(e)) if e <= bytes.len() => Ok(&bytes[s..e]),
        _ => Err(BtfError::OutOfBounds {
            what,
            start,
            end,
            len: bytes.len() as u64,
        }),
    }
}

/// Checks what `.BTF` and `.BTF.ext` have in common at their start and returns the header's length.
pub(crate) fn preamble(r: &mut Reader<'_>, bytes: &[u8], min: u32, known: u32) -> Result<u32, BtfError> {
    if bytes.len() as u64 > MAX_SIZE {
        return Err(BtfError::TooLarge {
            what: r.what,
            len: bytes.len() as u64,
            max: MAX_SIZE,
        });
    }
    match r.u16()? {
        MAGIC => {}
        found if found == MAGIC.swap_bytes() => return Err(BtfError::BigEndian),
        found => return Err(BtfError::Magic { found }),
    }
    match r.u8()? {
        1 => {}
        found => return Err(BtfError::Version { found }),
    }
    match r.u8()? {
        0 => {}
        flags => {
            return Err(BtfError::Flags {
                what: r.what,
                flags: flags.into(),
            });
        }
    }
    let hdr_len = r.u32()?;
    if hdr_len < min {
        return Err(BtfError::HeaderLength {
            found: hdr_len,
            expected: min,
        });
    }
    let header = section(bytes, 0, 0, hdr_len, r.what)?;
    // A longer header of a later version is fine as long as it says nothing.
    if header.iter().skip(known as usize).any(|&b| b != 0) {
        return Err(BtfError::HeaderLength {
            found: hdr_len,
            expected: known,
        });
    }
    Ok(hdr_len)
}

/// The types of a `.BTF` section and its strings. `first` is the id of the first type (0: `void`, which has no
/// bytes), and `base` are the strings before these.
pub(crate) fn parse(bytes: &[u8], first: u32, base: Option<Arc<Strings>>) -> Result<(Vec<Type>, Strings), BtfError> {
    let mut r = Reader::new(bytes, "header");
    let hdr_len = preamble(&mut r, bytes, HEADER_LEN, HEADER_LEN)?;
    let (type_off, type_len, str_off, str_len) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    let types = section(bytes, hdr_len, type_off, type_len, "type section")?;
    let strings = section(bytes, hdr_len, str_off, str_len, "string section")?;
    let overlap = type_off.max(str_off) < (type_off + type_len).min(str_off + str_len);
    if overlap {
        return Err(BtfError::Overlap {
            types: type_off,
            strings: str_off,
        });
    }
    // Without types of its own that have names, a split BTF may have no strings.
    let whole = match strings {
        [] => base.is_some(),
        [start, ..] => strings.ends_with(&[0]) && (base.is_some() || *start == 0),
    };
    if !whole {
        return Err(BtfError::Strings);
    }
    let strings = Strings::new(strings, base);
    let mut decoder = Decoder {
        r: Reader::new(types, "type section"),
        strings: &strings,
        id: TypeId(first),
    };
    let mut out = Vec::new();
    if first == 0 {
        out.push(Type::Void);
        decoder.id = TypeId(1);
    }
    while !decoder.r.is_empty() {
        if decoder.id.0 > MAX_TYPES {
            return Err(BtfError::TooManyTypes { max: MAX_TYPES });
        }
        out.push(decoder.ty()?);
        decoder.id.0 += 1;
    }
    Ok((out, strings))
}

struct Decoder<'a> {
    r: Reader<'a>,
    strings: &'a Strings,
    id: TypeId,
}

impl Decoder<'_> {
    fn name(&mut self) -> Result<Name, BtfError> {
        let name = self.string()?;
        self.short(&name, MAX_NAME)?;
        Ok(name)
    }

    fn string(&mut self) -> Result<Name, BtfError> {
        let offset = self.r.u32()?;
        self.strings
            .get(offset)
            .ok_or(BtfError::BadString { id: self.id, offset })
    }

    fn short(&self, name: &Name, max: usize) -> Result<(), BtfError> {
        if name.len() < max {
            Ok(())
        } else {
            Err(BtfError::LongName {
                id: self.id,
                len: name.len(),
                max: max - 1,
            })
        }
    }

    fn type_id(&mut self) -> Result<TypeId, BtfError> {
        Ok(TypeId(self.r.u32()?))
    }

    fn linkage(&self, linkage: u32) -> Result<Linkage, BtfError> {
        match linkage {
            0 => Ok(Linkage::Static),
            1 => Ok(Linkage::Global),
            2 => Ok(Linkage::Extern),
            _ => Err(BtfError::BadLinkage { id: self.id, linkage }),
        }
    }

    /// `vlen` items of `size` bytes each, whose room is checked before any is kept.
    fn items<T>(
        &mut self,
        vlen: u16,
        size: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, BtfError>,
    ) -> Result<Vec<T>, BtfError> {
        let left = self.r.bytes.len() - self.r.pos;
        if left < usize::from(vlen) * size {
            self.r.take(usize::from(vlen) * size)?;
        }
        (0..vlen).map(|_| item(self)).collect()
    }

    fn ty(&mut self) -> Result<Type, BtfError> {
        let name = self.string()?;
        let info = self.r.u32()?;
        let size_or_type = self.r.u32()?;
        let ty = TypeId(size_or_type);
        let vlen = (info & 0xffff) as u16;
        let kind = ((info >> 24) & 0x1f) as u8;
        let kflag = info >> 31 == 1;
        let meaningless = if matches!(kind, 4..=7 | 17..=19) {
            0x60ff_0000
        } else {
            0xe0ff_0000
        };
        if info & meaningless != 0 {
            return Err(BtfError::Flags {
                what: "type",
                flags: info & meaningless,
            });
        }
        self.short(&name, if matches!(kind, 17 | 18) { MAX_TAG } else { MAX_NAME })?;
        Ok(match kind {
            1 => self.int(name, size_or_type)?,
            2 => Type::Ptr(ty),
            3 => Type::Array(Array {
                elem: self.type_id()?,
                index: self.type_id()?,
                len: self.r.u32()?,
            }),
            4 => Type::Struct(self.composite(name, size_or_type, vlen, kflag)?),
            5 => Type::Union(self.composite(name, size_or_type, vlen, kflag)?),
            6 => {
                let variants = self.items(vlen, 8, |d| {
                    let name = d.name()?;
                    let value = d.r.i32()?;
                    let value = if kflag {
                        value.into()
                    } else {
                        value.cast_unsigned().into()
                    };
                    Ok(Enumerator { name, value })
                })?;
                Type::Enum(Enum {
                    name,
                    size: size_or_type,
                    signed: kflag,
                    variants,
                })
            }
            7 => Type::Fwd(Fwd { name, union: kflag }),
            8 => Type::Typedef(Typedef { name, ty }),
            9 => Type::Volatile(ty),
            10 => Type::Const(ty),
            11 => Type::Restrict(ty),
            // A function keeps its linkage where others keep the number of items.
            12 => Type::Func(Func {
                name,
                proto: ty,
                linkage: self.linkage(vlen.into())?,
            }),
            13 => {
                let params = self.items(vlen, 8, |d| {
                    Ok(Param {
                        name: d.name()?,
                        ty: d.type_id()?,
                    })
                })?;
                Type::FuncProto(FuncProto { ret: ty, params })
            }
            14 => {
                let linkage = self.r.u32()?;
                Type::Var(Var {
                    name,
                    ty,
                    linkage: self.linkage(linkage)?,
                })
            }
            15 => {
                let vars = self.items(vlen, 12, |d| {
                    Ok(DatasecVar {
                        ty: d.type_id()?,
                        offset: d.r.u32()?,
                        size: d.r.u32()?,
                    })
                })?;
                Type::Datasec(Datasec {
                    name,
                    size: size_or_type,
                    vars,
                })
            }
            16 => Type::Float(Float {
                name,
                size: size_or_type,
            }),
            17 => {
                let component = self.r.i32()?;
                let component = match u32::try_from(component) {
                    Ok(component) => Some(component),
                    Err(_) if component == -1 => None,
                    Err(_) => {
                        return Err(BtfError::BadComponent {
                            id: self.id,
                            target: ty,
                            component,
                        });
                    }
                };
                Type::DeclTag(DeclTag {
                    tag: name,
                    ty,
                    component,
                    attribute: kflag,
                })
            }
            18 => Type::TypeTag(TypeTag {
                tag: name,
                ty,
                attribute: kflag,
            }),
            19 => {
                let variants = self.items(vlen, 12, |d| {
                    let name = d.name()?;
                    let (low, high) = (d.r.u32()?, d.r.u32()?);
                    Ok(Enumerator {
                        name,
                        value: (u64::from(high) << 32 | u64::from(low)).cast_signed(),
                    })
                })?;
                Type::Enum64(Enum {
                    name,
                    size: size_or_type,
                    signed: kflag,
                    variants,
                })
            }
            _ => return Err(BtfError::UnknownKind { id: self.id, kind }),
        })
    }

    fn int(&mut self, name: Name, size: u32) -> Result<Type, BtfError> {
        let word = self.r.u32()?;
        let (bits, bit_offset, encoding) = (word as u8, (word >> 16) as u8, ((word >> 24) & 0xf) as u8);
        let bad = BtfError::BadInt {
            id: self.id,
            size,
            encoding,
            bits,
            bit_offset,
        };
        if word & 0xf000_ff00 != 0 {
            return Err(bad);
        }
        let encoding = match encoding {
            0 => IntEncoding::Unsigned,
            INT_SIGNED => IntEncoding::Signed,
            // GCC before version 13 says both of a signed char.
            encoding if encoding == INT_SIGNED | INT_CHAR => IntEncoding::Char,
            INT_CHAR => IntEncoding::Char,
            INT_BOOL => IntEncoding::Bool,
            _ => return Err(bad),
        };
        Ok(Type::Int(Int {
            name,
            size,
            encoding,
            bit_offset,
            bits,
        }))
    }

    fn composite(&mut self, name: Name, size: u32, vlen: u16, kflag: bool) -> Result<Composite, BtfError> {
        let members = self.items(vlen, 12, |d| {
            let (name, ty, offset) = (d.name()?, d.type_id()?, d.r.u32()?);
            // With the flag set, the high byte of the offset is the width of a bitfield.
            let (bit_offset, bitfield_size) = if kflag {
                (offset & 0xff_ffff, (offset >> 24) as u8)
            } else {
                (offset, 0)
            };
            Ok(Member {
                name,
                ty,
                bit_offset,
                bitfield_size,
            })
        })?;
        Ok(Composite { name, size, members })
    }
}
