//! Type information as it stands in a file.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hitless_btf::{Btf, core};
use object::elf::FileHeader64;
use object::read::elf::{ElfFile64, FileHeader};
use object::{LittleEndian, Object, ObjectSection};

use crate::host::read_object_bytes;

const ELF_MAGIC: &[u8] = b"\x7fELF";
/// How bare types start, in either byte order.
const BTF_MAGIC: [&[u8]; 2] = [&[0x9f, 0xeb], &[0xeb, 0x9f]];

/// The sections of type information of an ELF file; empty if there are none.
#[derive(Default)]
pub(crate) struct BtfSections<'a> {
    /// `.BTF`.
    pub(crate) btf: &'a [u8],
    /// `.BTF.ext`.
    pub(crate) ext: &'a [u8],
}

impl BtfSections<'_> {
    /// Looks them up.
    pub(crate) fn find(bytes: &[u8]) -> Result<BtfSections<'_>> {
        FileHeader64::<LittleEndian>::parse(bytes)
            .and_then(FileHeader::endian)
            .context("not a 64-bit little-endian ELF file")?;
        let file = ElfFile64::<LittleEndian>::parse(bytes).context("malformed ELF file")?;
        let data = |name: &'static str| match file.section_by_name(name) {
            Some(section) => section.data().with_context(|| format!("section {name}")),
            None => Ok(&[][..]),
        };
        Ok(BtfSections {
            btf: data(".BTF")?,
            ext: data(".BTF.ext")?,
        })
    }
}

/// Reads type information from an ELF file, or from a file that is nothing else (`/sys/kernel/btf/vmlinux`). If it continues
/// that of another file, that is its `base`.
pub(crate) fn read_btf(path: &Path, base: Option<Arc<Btf>>) -> Result<Btf> {
    let context = || format!("cannot read types of {}", path.display());
    let bytes = read_object_bytes(path)?;
    let elf = bytes.starts_with(ELF_MAGIC);
    let section = if elf {
        let btf = BtfSections::find(&bytes).with_context(context)?.btf;
        if btf.is_empty() {
            bail!("{}: no section .BTF, expected one: compile with -g", context());
        }
        btf
    } else {
        &bytes
    };
    let parsed = match base {
        Some(base) => Btf::parse_split(section, base),
        None => Btf::parse(section),
    };
    if elf || BTF_MAGIC.iter().any(|magic| section.starts_with(magic)) {
        parsed.with_context(context)
    } else {
        parsed
            .context("neither an ELF file nor bare types")
            .with_context(context)
    }
}

/// Reads the types that programs are relocated against.
pub(crate) fn read_target(path: &Path) -> Result<Arc<core::Target>> {
    let btf = read_btf(path, None)?;
    Ok(Arc::new(core::Target::new(Arc::new(btf))))
}
