//! `.BTF.ext`: which function, source line or CO-RE relocation belongs to which instruction, section by section.

use crate::btf::Btf;
use crate::error::BtfError;
use crate::name::Name;
use crate::parse::{Reader, preamble, section};
use crate::types::TypeId;

/// Header without, and with, the CO-RE part; and with a table after it that clang 9 has and nobody reads.
const HEADER_LEN: u32 = 24;
const HEADER_LEN_CORE: u32 = 32;
const HEADER_LEN_CLANG_9: u32 = 40;

/// The records about one section of the object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionRecords<T> {
    /// The section's name.
    pub section: Name,
    /// Its records, in the order of the file.
    pub records: Vec<T>,
}

/// Where a function starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// Offset in the section, in bytes.
    pub insn_off: u32,
    /// The function ([`Func`](crate::Func)).
    pub func: TypeId,
}

/// Where a source line starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Offset in the section, in bytes.
    pub insn_off: u32,
    /// File name as the compiler recorded it.
    pub file: Name,
    /// The text of the line.
    pub text: Name,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
}

/// A CO-RE relocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreRelo {
    /// Offset of the instruction in the section, in bytes.
    pub insn_off: u32,
    /// The root type of the access.
    pub ty: TypeId,
    /// Which member, as "0:1:2".
    pub access: Name,
    /// What is asked of it (`enum bpf_core_relo_kind`).
    pub kind: u32,
}

/// The contents of a `.BTF.ext` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// Function starts.
    pub funcs: Vec<SectionRecords<FuncInfo>>,
    /// Source lines.
    pub lines: Vec<SectionRecords<LineInfo>>,
    /// CO-RE relocations.
    pub core_relos: Vec<SectionRecords<CoreRelo>>,
}

impl BtfExt {
    /// Parses a `.BTF.ext` section; `btf` is the `.BTF` of the same object, parsed from bytes.
    ///
    /// # Errors
    /// [`BtfError::OutOfBounds`], [`BtfError::Magic`], [`BtfError::Version`], [`BtfError::Flags`],
    /// [`BtfError::HeaderLength`], [`BtfError::TooLarge`] as for [`Btf::parse`]; [`BtfError::BadRecordSize`] for records
    /// shorter than this version's; [`BtfError::BadExtString`] and [`BtfError::BadTypeId`] for strings and types that
    /// `btf` does not have.
    pub fn parse(bytes: &[u8], btf: &Btf) -> Result<BtfExt, BtfError> {
        let mut r = Reader::new(bytes, ".BTF.ext header");
        let hdr_len = preamble(&mut r, bytes, HEADER_LEN, HEADER_LEN_CLANG_9)?;
        let (func_off, func_len, line_off, line_len) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let (core_off, core_len) = if hdr_len >= HEADER_LEN_CORE {
            (r.u32()?, r.u32()?)
        } else {
            (0, 0)
        };
        if hdr_len >= HEADER_LEN_CLANG_9 {
            let (_, len) = (r.u32()?, r.u32()?);
            if len != 0 {
                return Err(BtfError::HeaderLength {
                    found: hdr_len,
                    expected: HEADER_LEN_CORE,
                });
            }
        }
        let funcs = section(bytes, hdr_len, func_off, func_len, "function records")?;
        let lines = section(bytes, hdr_len, line_off, line_len, "line records")?;
        let core = section(bytes, hdr_len, core_off, core_len, "CO-RE records")?;
        let name = |offset| btf.strings().get(offset).ok_or(BtfError::BadExtString { offset });
        let known = |id: TypeId| {
            let count = btf.len() as u32;
            if id.0 < count {
                Ok(id)
            } else {
                Err(BtfError::BadTypeId {
                    id: TypeId::VOID,
                    target: id,
                    count,
                })
            }
        };
        Ok(BtfExt {
            funcs: records(funcs, "function", 8, name, |r| {
                Ok(FuncInfo {
                    insn_off: r.u32()?,
                    func: known(TypeId(r.u32()?))?,
                })
            })?,
            lines: records(lines, "line", 16, name, |r| {
                let (insn_off, file, text, place) = (r.u32()?, name(r.u32()?)?, name(r.u32()?)?, r.u32()?);
                Ok(LineInfo {
                    insn_off,
                    file,
                    text,
                    line: place >> 10,
                    column: place & 0x3ff,
                })
            })?,
            core_relos: records(core, "CO-RE", 16, name, |r| {
                let (insn_off, ty, access, kind) = (r.u32()?, known(TypeId(r.u32()?))?, name(r.u32()?)?, r.u32()?);
                Ok(CoreRelo {
                    insn_off,
                    ty,
                    access,
                    kind,
                })
            })?,
        })
    }
}

/// A size of record, then for each section its name, the number of records, and the records.
fn records<T>(
    bytes: &[u8],
    what: &'static str,
    min: u32,
    name: impl Fn(u32) -> Result<Name, BtfError>,
    mut record: impl FnMut(&mut Reader<'_>) -> Result<T, BtfError>,
) -> Result<Vec<SectionRecords<T>>, BtfError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(bytes, what);
    let size = r.u32()?;
    if size < min || size % 4 != 0 {
        return Err(BtfError::BadRecordSize { what, size, min });
    }
    let mut out = Vec::new();
    while !r.is_empty() {
        let section = name(r.u32()?)?;
        let count = r.u32()?;
        let mut records = Vec::new();
        for _ in 0..count {
            records.push(record(&mut Reader::new(r.take(size as usize)?, what))?);
        }
        out.push(SectionRecords { section, records });
    }
    Ok(out)
}
