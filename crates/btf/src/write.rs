//! From types to the bytes of `.BTF` and `.BTF.ext`, which share one string section.
//!
//! Names are parts of the tables that they were parsed from, and thousands may be ends of one long string. So what is
//! written for a name is the whole string that it is the end of, once; the result is never larger than what was parsed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::btf::Btf;
use crate::ext::{BtfExt, SectionRecords};
use crate::name::{Name, Strings};
use crate::parse::{HEADER_LEN, INT_BOOL, INT_CHAR, INT_SIGNED, MAGIC};
use crate::types::*;

/// Writes a [`Btf`], and whatever else refers to its string section.
///
/// # Examples
/// ```
/// use hitless_btf::{Btf, Encoder, Name, Type};
///
/// let btf = Btf::new(vec![Type::Void])?;
/// let mut encoder = Encoder::new(&btf);
/// let offset = encoder.string(&Name::from("return 0;"));
/// let bytes = encoder.finish();
/// assert!(bytes.ends_with(b"\0return 0;\0"));
/// assert_eq!(offset, 1);
/// # Ok::<(), hitless_btf::BtfError>(())
/// ```
#[derive(Debug)]
pub struct Encoder<'a> {
    types: Vec<u8>,
    strings: StringTable<'a>,
}

impl<'a> Encoder<'a> {
    /// Starts with the types of `btf` and their names.
    #[must_use]
    pub fn new(btf: &'a Btf) -> Encoder<'a> {
        let mut encoder = Encoder {
            types: Vec::new(),
            strings: StringTable::new(btf.base().map(|base| &**base.strings())),
        };
        for (_, ty) in btf.own_types() {
            encoder.ty(ty);
        }
        encoder
    }

    /// The offset of a string in the string section, to which it is added if it is new.
    pub fn string(&mut self, name: &Name) -> u32 {
        self.strings.offset(name)
    }

    /// The bytes of a `.BTF.ext` section whose strings are in this string section. `ext` must be about the types of this
    /// BTF.
    pub fn ext(&mut self, ext: &BtfExt) -> Vec<u8> {
        let funcs = self.records(&ext.funcs, 8, |_, out, r| words(out, [r.insn_off, r.func.0]));
        let lines = self.records(&ext.lines, 16, |encoder, out, r| {
            let (file, text) = (encoder.string(&r.file), encoder.string(&r.text));
            words(out, [r.insn_off, file, text, r.line << 10 | r.column.min(0x3ff)]);
        });
        let core_relos = self.records(&ext.core_relos, 16, |encoder, out, r| {
            let access = encoder.string(&r.access);
            words(out, [r.insn_off, r.ty.0, access, r.kind]);
        });
        let parts = [funcs, lines, core_relos];
        let mut out = header(HEADER_LEN + 8);
        let mut offset = 0;
        for part in &parts {
            words(&mut out, [offset, part.len() as u32]);
            offset += part.len() as u32;
        }
        out.extend(parts.into_iter().flatten());
        out
    }

    /// The bytes of the `.BTF` section.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut out = header(HEADER_LEN);
        let (types, strings) = (self.types.len() as u32, self.strings.bytes.len() as u32);
        words(&mut out, [0, types, types, strings]);
        out.extend(self.types);
        out.extend(self.strings.bytes);
        out
    }

    /// The bytes of the string section.
    pub(crate) fn into_strings(self) -> Vec<u8> {
        self.strings.bytes
    }

    /// The size of a record, then for each section its name, the number of records, and the records.
    fn records<T>(
        &mut self,
        sections: &[SectionRecords<T>],
        size: u32,
        mut record: impl FnMut(&mut Self, &mut Vec<u8>, &T),
    ) -> Vec<u8> {
        let mut out = Vec::new();
        if !sections.is_empty() {
            words(&mut out, [size]);
        }
        for section in sections {
            let name = self.string(&section.section);
            words(&mut out, [name, section.records.len() as u32]);
            for r in &section.records {
                record(self, &mut out, r);
            }
        }
        out
    }

    fn ty(&mut self, ty: &Type) {
        let name = ty.name_in_table().map_or(0, |name| self.string(name));
        let count = ty.items() as u32;
        // Every type starts with its name, what it is, and its size or the type that it is about.
        let mut start = |flag: bool, count: u32, size_or_type: u32| {
            let info = u32::from(flag) << 31 | (ty.kind() as u32) << 24 | count;
            words(&mut self.types, [name, info, size_or_type]);
        };
        match ty {
            Type::Void => {}
            Type::Int(t) => {
                start(false, 0, t.size);
                let encoding = match t.encoding {
                    IntEncoding::Unsigned => 0,
                    IntEncoding::Signed => INT_SIGNED,
                    IntEncoding::Char => INT_CHAR,
                    IntEncoding::Bool => INT_BOOL,
                };
                let word = u32::from(encoding) << 24 | u32::from(t.bit_offset) << 16 | u32::from(t.bits);
                words(&mut self.types, [word]);
            }
            Type::Ptr(to) | Type::Volatile(to) | Type::Const(to) | Type::Restrict(to) => start(false, 0, to.0),
            Type::Array(t) => {
                start(false, 0, 0);
                words(&mut self.types, [t.elem.0, t.index.0, t.len]);
            }
            Type::Struct(t) | Type::Union(t) => {
                let bitfields = t.members.iter().any(|m| m.bitfield_size != 0);
                start(bitfields, count, t.size);
                for m in &t.members {
                    // Without bitfields the width is 0.
                    let offset = m.bit_offset | u32::from(m.bitfield_size) << 24;
                    let name = self.string(&m.name);
                    words(&mut self.types, [name, m.ty.0, offset]);
                }
            }
            Type::Enum(t) => {
                start(t.signed, count, t.size);
                for v in &t.variants {
                    let name = self.string(&v.name);
                    words(&mut self.types, [name, v.value as u32]);
                }
            }
            Type::Enum64(t) => {
                start(t.signed, count, t.size);
                for v in &t.variants {
                    let name = self.string(&v.name);
                    words(&mut self.types, [name, v.value as u32, (v.value >> 32) as u32]);
                }
            }
            Type::Fwd(t) => start(t.union, 0, 0),
            Type::Typedef(t) => start(false, 0, t.ty.0),
            Type::TypeTag(t) => start(t.attribute, 0, t.ty.0),
            Type::Func(t) => start(false, linkage(t.linkage), t.proto.0),
            Type::FuncProto(t) => {
                start(false, count, t.ret.0);
                for p in &t.params {
                    let name = self.string(&p.name);
                    words(&mut self.types, [name, p.ty.0]);
                }
            }
            Type::Var(t) => {
                start(false, 0, t.ty.0);
                words(&mut self.types, [linkage(t.linkage)]);
            }
            Type::Datasec(t) => {
                start(false, count, t.size);
                for var in &t.vars {
                    words(&mut self.types, [var.ty.0, var.offset, var.size]);
                }
            }
            Type::Float(t) => start(false, 0, t.size),
            Type::DeclTag(t) => {
                start(t.attribute, 0, t.ty.0);
                words(&mut self.types, [t.component.unwrap_or(u32::MAX)]);
            }
        }
    }
}

fn linkage(linkage: Linkage) -> u32 {
    match linkage {
        Linkage::Static => 0,
        Linkage::Global => 1,
        Linkage::Extern => 2,
    }
}

fn words<const N: usize>(out: &mut Vec<u8>, words: [u32; N]) {
    for word in words {
        out.extend(word.to_le_bytes());
    }
}

/// Magic, version, flags and length of the header.
fn header(len: u32) -> Vec<u8> {
    let mut out = MAGIC.to_le_bytes().to_vec();
    out.extend([1, 0]);
    words(&mut out, [len]);
    out
}

/// A string section in the making.
#[derive(Debug)]
struct StringTable<'a> {
    /// The strings of the base, which need not be written.
    base: Option<&'a Strings>,
    /// Where the base's end.
    first: u32,
    bytes: Vec<u8>,
    /// Offsets of whole strings by what they say.
    texts: HashMap<Name, u32>,
    /// Where a string that ends at some place of some table, told by its address, was put.
    places: HashMap<(usize, u32), Place>,
}

/// Where the end of a string is in the string section.
#[derive(Debug)]
struct Place {
    end: u32,
    /// Keeps the table, whose address is the key, from being freed.
    _table: Arc<Box<str>>,
}

impl<'a> StringTable<'a> {
    fn new(base: Option<&'a Strings>) -> StringTable<'a> {
        let mut table = StringTable {
            base,
            first: base.map_or(0, Strings::end),
            bytes: Vec::new(),
            texts: HashMap::new(),
            places: HashMap::new(),
        };
        match base {
            Some(base) => {
                for strings in base.chain() {
                    table.texts.extend(strings.iter());
                }
            }
            // The empty string comes first.
            None => table.bytes.push(0),
        }
        table
    }

    fn offset(&mut self, name: &Name) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let (table, end) = name.end();
        let key = (table.as_ptr() as usize, end);
        let len = name.len() as u32;
        if let Some(place) = self.places.get(&key) {
            return place.end - len;
        }
        let end = self.end_of(name);
        let _table = Arc::clone(table);
        self.places.insert(key, Place { end, _table });
        end - len
    }

    /// Where `name` ends in the string section, to which it is added if need be.
    fn end_of(&mut self, name: &Name) -> u32 {
        let (table, end) = name.end();
        let chain = self.base.into_iter().flat_map(Strings::chain);
        for (known, first) in chain.map(Strings::table) {
            if Arc::ptr_eq(known, table) {
                return first + end;
            }
        }
        let whole = name.longest();
        let (len, next) = (whole.len() as u32, self.first + self.bytes.len() as u32);
        let text = whole.clone();
        let start = *self.texts.entry(whole).or_insert(next);
        if start == next {
            self.bytes.extend(text.as_bytes());
            self.bytes.push(0);
        }
        start + len
    }
}
