//! The ELF file as sections and symbols. All offsets and sizes have been checked against the file when [`Elf::parse`]
//! returns; names are cut out of string tables only up to a limit, so that overlapping names cost nothing.

use std::collections::HashMap;

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, Rel, Rela, SectionHeader, Sym};

use crate::error::ObjectError;

type Header = elf::FileHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// Largest file that is read.
const MAX_FILE_SIZE: u64 = 256 << 20;
/// Longest name of a section or symbol, in bytes.
const MAX_NAME: usize = 512;

pub(crate) struct Elf<'a> {
    /// Size of the file in bytes.
    pub(crate) len: usize,
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// The first section of each name.
    by_name: HashMap<&'a str, usize>,
}

pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    /// What the section holds; empty for `.bss`.
    pub(crate) data: &'a [u8],
    /// Its size, that of `.bss` included.
    pub(crate) size: u64,
    pub(crate) executable: bool,
    /// Whether it is loaded, as opposed to debug information.
    pub(crate) alloc: bool,
    pub(crate) relocs: Vec<Reloc>,
}

pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    /// Index of the section it is in, if it is in one.
    pub(crate) section: Option<usize>,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: SymbolKind,
    /// Where it is if it is in no section.
    pub(crate) place: Place,
    pub(crate) local: bool,
    /// Whether it may be missing, or is replaced by another definition (`__weak`).
    pub(crate) weak: bool,
    /// Whether it is for this object and those linked with it only.
    pub(crate) hidden: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SymbolKind {
    /// Not said.
    None,
    Func,
    Object,
    Section,
    Other,
}

/// Where a symbol is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Section,
    /// In another object.
    Undefined,
    /// Nowhere yet (a "common" symbol).
    Common,
    /// At a fixed address.
    Absolute,
}

#[derive(Clone, Copy)]
pub(crate) struct Reloc {
    /// Where it applies, in bytes from the start of the section.
    pub(crate) offset: u64,
    /// Index of the symbol.
    pub(crate) symbol: usize,
    pub(crate) kind: u32,
    /// What to add to the symbol's value, in bytes, if it is not in the bytes that are relocated.
    pub(crate) addend: Option<i64>,
}

impl<'a> Elf<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Elf<'a>, ObjectError> {
        let header = header(bytes)?;
        let malformed = |error: object::Error| {
            let mut reason = error.to_string();
            reason.get_mut(..1).map(str::make_ascii_lowercase);
            ObjectError::Elf {
                len: bytes.len(),
                reason,
            }
        };
        let table = header.sections(LE, bytes).map_err(malformed)?;
        let names = match header.shstrndx(LE, bytes).map_err(malformed)? {
            0 => &[][..],
            index => contents(
                bytes,
                table.section(object::SectionIndex(index as usize)).map_err(malformed)?,
                ".shstrtab",
            )?,
        };
        let mut sections = Vec::with_capacity(table.len());
        let mut total = 0u64;
        for header in table.iter() {
            let name = name(names, header.sh_name(LE), "section")?;
            let data = contents(bytes, header, name)?;
            total += data.len() as u64;
            let flags = header.sh_flags(LE).0;
            if flags & elf::SHF_COMPRESSED.0 != 0 && !name.starts_with(".debug") {
                return Err(ObjectError::Section {
                    section: name.into(),
                    reason: "is compressed, which is not supported: build without --compress-debug-sections".into(),
                });
            }
            sections.push(Section {
                name,
                data,
                size: if header.sh_type(LE) == elf::SHT_NULL {
                    0
                } else {
                    header.sh_size(LE)
                },
                executable: header.sh_type(LE) == elf::SHT_PROGBITS && flags & elf::SHF_EXECINSTR.0 != 0,
                alloc: flags & elf::SHF_ALLOC.0 != 0,
                relocs: Vec::new(),
            });
        }
        if total > bytes.len() as u64 {
            return Err(ObjectError::Overlap {
                total,
                len: bytes.len(),
            });
        }

        let symbols = table.symbols(LE, bytes, elf::SHT_SYMTAB).map_err(malformed)?;
        if symbols.is_empty() {
            return Err(ObjectError::MissingSection {
                section: ".symtab",
                because: "the file being an object".into(),
            });
        }
        let symbol_table = symbols.section();
        let names = sections
            .get(symbols.string_section().0)
            .map_or(&[][..], |section| section.data);
        let symbols = symbols
            .enumerate()
            .map(|(index, symbol)| {
                let section = symbols
                    .symbol_section(LE, symbol, index)
                    .map_err(malformed)?
                    .map(|index| index.0);
                Ok(Symbol {
                    name: name(names, symbol.st_name(LE), "symbol")?,
                    section: section.filter(|&index| index < sections.len()),
                    value: symbol.st_value(LE),
                    size: symbol.st_size(LE),
                    kind: match symbol.st_type() {
                        elf::STT_NOTYPE => SymbolKind::None,
                        elf::STT_FUNC => SymbolKind::Func,
                        elf::STT_OBJECT => SymbolKind::Object,
                        elf::STT_SECTION => SymbolKind::Section,
                        _ => SymbolKind::Other,
                    },
                    place: match symbol.st_shndx(LE) {
                        elf::SHN_UNDEF => Place::Undefined,
                        elf::SHN_ABS => Place::Absolute,
                        elf::SHN_COMMON => Place::Common,
                        _ => Place::Section,
                    },
                    local: symbol.st_bind() == elf::STB_LOCAL,
                    weak: symbol.st_bind() == elf::STB_WEAK,
                    hidden: matches!(symbol.st_visibility(), elf::STV_HIDDEN | elf::STV_INTERNAL),
                })
            })
            .collect::<Result<Vec<_>, ObjectError>>()?;

        for header in table.iter() {
            let mut relocs = Vec::new();
            let mut used = None;
            if let Some((rels, table)) = header.rel(LE, bytes).map_err(malformed)? {
                used = Some(table);
                relocs.extend(rels.iter().map(|r| (r.r_offset(LE), r.r_sym(LE), r.r_type(LE).0, None)));
            }
            if let Some((relas, table)) = header.rela(LE, bytes).map_err(malformed)? {
                used = Some(table);
                let rela = |r: &elf::Rela64<_>| {
                    (
                        r.r_offset(LE),
                        r.r_sym(LE, false),
                        r.r_type(LE, false).0,
                        Some(r.r_addend(LE)),
                    )
                };
                relocs.extend(relas.iter().map(rela));
            }
            // Relocations of sections that do not exist belong to nobody.
            let Some(section) = sections.get_mut(header.sh_info(LE) as usize) else {
                continue;
            };
            if let Some(used) = used.filter(|used| *used != symbol_table) {
                let reason =
                    format!("relocations with the symbols of section {used}, expected those of {symbol_table}");
                return Err(ObjectError::Section {
                    section: section.name.into(),
                    reason,
                });
            }
            for (offset, symbol, kind, addend) in relocs {
                if symbol as usize >= symbols.len() {
                    let reason = format!("relocation names symbol {symbol}, but there are only {}", symbols.len());
                    return Err(ObjectError::Section {
                        section: section.name.into(),
                        reason,
                    });
                }
                section.relocs.push(Reloc {
                    offset,
                    symbol: symbol as usize,
                    kind,
                    addend,
                });
            }
        }
        let by_name = sections
            .iter()
            .enumerate()
            .rev()
            .map(|(index, section)| (section.name, index))
            .collect();
        Ok(Elf {
            len: bytes.len(),
            sections,
            symbols,
            by_name,
        })
    }

    /// The first section with this name.
    pub(crate) fn section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        self.by_name.get(name).map(|&index| (index, &self.sections[index]))
    }

    /// What to call a symbol in messages: its name, or that of its section.
    pub(crate) fn symbol_name(&self, symbol: &Symbol<'a>) -> &'a str {
        match symbol.section {
            Some(section) if symbol.name.is_empty() => self.sections[section].name,
            _ => symbol.name,
        }
    }
}

/// The header, if it is that of a BPF object.
fn header(bytes: &[u8]) -> Result<&Header, ObjectError> {
    let len = bytes.len();
    if let Some(&found) = bytes.first_chunk::<4>()
        && found != elf::ELFMAG
    {
        return Err(ObjectError::NotElf { found });
    }
    if len < size_of::<Header>() {
        return Err(ObjectError::Short {
            len,
            expected: size_of::<Header>(),
        });
    }
    if len as u64 > MAX_FILE_SIZE {
        return Err(ObjectError::TooLarge {
            what: "file size in bytes".into(),
            found: len as u64,
            max: MAX_FILE_SIZE,
        });
    }
    let field = |field, found, meaning, expected| {
        Err(ObjectError::Header {
            field,
            found,
            meaning,
            expected,
        })
    };
    match bytes[4] {
        2 => {}
        1 => return field("class", 1, " (32 bits)", "2 (64 bits)"),
        found => return field("class", found.into(), "", "2 (64 bits)"),
    }
    match bytes[5] {
        1 => {}
        2 => {
            return field(
                "data encoding",
                2,
                " (big-endian)",
                "1 (little-endian): build with -target bpfel",
            );
        }
        found => return field("data encoding", found.into(), "", "1 (little-endian)"),
    }
    let (kind, machine) = (
        u16::from_le_bytes([bytes[16], bytes[17]]),
        u16::from_le_bytes([bytes[18], bytes[19]]),
    );
    if machine != 247 {
        return field(
            "machine",
            machine.into(),
            machine_name(machine),
            "247 (BPF): build with -target bpf",
        );
    }
    if kind != 1 {
        let meaning = match kind {
            2 => " (executable)",
            3 => " (shared object)",
            4 => " (core file)",
            _ => "",
        };
        return field("file type", kind.into(), meaning, "1 (relocatable)");
    }
    let header = Header::parse(bytes).map_err(|error| ObjectError::Elf {
        len,
        reason: error.to_string().to_ascii_lowercase(),
    })?;
    let start = header.e_shoff(LE);
    let end = start.saturating_add(u64::from(header.e_shnum(LE)) * u64::from(header.e_shentsize(LE)));
    if end > len as u64 {
        return Err(ObjectError::Truncated {
            what: "section header table".into(),
            start,
            end,
            len,
        });
    }
    if start == 0 {
        return Err(ObjectError::Elf {
            len,
            reason: "no section header table".into(),
        });
    }
    Ok(header)
}

fn machine_name(machine: u16) -> &'static str {
    match machine {
        0 => " (none)",
        3 => " (i386)",
        8 => " (MIPS)",
        20 | 21 => " (PowerPC)",
        22 => " (S390)",
        40 => " (ARM)",
        62 => " (x86-64)",
        183 => " (AArch64)",
        243 => " (RISC-V)",
        258 => " (LoongArch)",
        _ => "",
    }
}

/// The bytes of a section; none for sections without any in the file.
fn contents<'a>(
    bytes: &'a [u8],
    header: &elf::SectionHeader64<LittleEndian>,
    name: &str,
) -> Result<&'a [u8], ObjectError> {
    let Some((start, size)) = header.file_range(LE) else {
        return Ok(&[]);
    };
    // The null section may use its size for the number of sections.
    if header.sh_type(LE) == elf::SHT_NULL {
        return Ok(&[]);
    }
    let end = start.saturating_add(size);
    usize::try_from(start)
        .ok()
        .zip(usize::try_from(end).ok())
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or_else(|| ObjectError::Truncated {
            what: format!("section {name:?}"),
            start,
            end,
            len: bytes.len(),
        })
}

/// The name at `offset` of a string table.
fn name<'a>(table: &'a [u8], offset: u32, what: &str) -> Result<&'a str, ObjectError> {
    if offset == 0 {
        return Ok("");
    }
    let bad = |reason: &str| ObjectError::Section {
        section: "string table".into(),
        reason: format!("{what} name at offset {offset} {reason}"),
    };
    let rest = table.get(offset as usize..).ok_or_else(|| bad("is past its end"))?;
    let rest = &rest[..rest.len().min(MAX_NAME)];
    let end = rest.iter().position(|&b| b == 0).ok_or_else(|| bad("is too long"))?;
    std::str::from_utf8(&rest[..end]).map_err(|_| bad("is not UTF-8"))
}
