//! Sections of global data, each of which becomes an array map with one element; and the license.

use std::collections::{HashMap, HashSet};

use hitless_btf::{Btf, Datasec, DatasecVar, Linkage, Type, TypeId};

use crate::elf::{Elf, Reloc, Section};
use crate::error::ObjectError;
use crate::functions::is_text;
use crate::maps::{Locks, MAX_MAPS};
use crate::spec::MapSpec;

/// Largest section of global data, in bytes.
pub const MAX_DATA_SIZE: u32 = 1 << 30;

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_RDONLY_PROG: u32 = 1 << 7;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A map made of a section.
pub(crate) struct DataMap {
    /// Index of the section.
    pub(crate) section: usize,
    pub(crate) spec: MapSpec,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rodata,
    Data,
    Bss,
}

fn kind(section: &Section<'_>) -> Option<Kind> {
    let is = |name: &str| {
        section
            .name
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match section {
        Section { alloc: false, .. } | Section { executable: true, .. } | Section { size: 0, .. } => None,
        _ if is(".rodata") => Some(Kind::Rodata),
        _ if is(".data") => Some(Kind::Data),
        _ if is(".bss") => Some(Kind::Bss),
        _ => None,
    }
}

/// The maps of all sections of global data.
pub(crate) fn maps(elf: &Elf<'_>, btf: Option<&Btf>, locks: &Locks<'_>) -> Result<Vec<DataMap>, ObjectError> {
    let used = used(elf);
    let hidden = hidden(elf);
    let mut maps: Vec<DataMap> = Vec::new();
    let datasecs: HashMap<&str, (TypeId, &Datasec)> = btf
        .into_iter()
        .flat_map(Btf::types)
        .filter_map(|(id, ty)| {
            if let Type::Datasec(sec) = ty {
                Some((sec.name.as_str(), (id, sec)))
            } else {
                None
            }
        })
        .collect();
    for (index, section) in elf.sections.iter().enumerate() {
        let Some(kind) = kind(section) else { continue };
        let name = section.name.to_string();
        let value_size = u32::try_from(section.size)
            .ok()
            .filter(|&size| size <= MAX_DATA_SIZE)
            .ok_or_else(|| ObjectError::TooLarge {
                what: format!("bytes in section {name}"),
                found: section.size,
                max: MAX_DATA_SIZE.into(),
            })?;
        if let Some(reloc) = section
            .relocs
            .iter()
            .find(|reloc| used.contains(&index) && !to_program(elf, reloc))
        {
            let symbol = elf.symbol_name(&elf.symbols[reloc.symbol]);
            let reason = format!(
                "pointer to {symbol:?} at offset {}: pointers in global data are not supported, as no address is known \
                 before the object is loaded; use an array of characters for a text, an index for a pointer to data",
                reloc.offset
            );
            return Err(ObjectError::Section { section: name, reason });
        }
        if maps.iter().any(|map| map.spec.name == name) {
            return Err(ObjectError::Section {
                section: name,
                reason: "is there twice".into(),
            });
        }
        if maps.len() >= MAX_MAPS {
            let what = "sections of global data".to_string();
            return Err(ObjectError::TooLarge {
                what,
                found: maps.len() as u64 + 1,
                max: MAX_MAPS as u64,
            });
        }
        let datasec = datasecs.get(name.as_str());
        let value_type = datasec.map(|(id, _)| *id);
        // As in libbpf: static and hidden variables alone are nobody's interface, so user space does not map them. The
        // kernel does not let it, either, where there is a lock, a list or a tree among them.
        let named = |entry: &DatasecVar| match btf.and_then(|btf| btf.get(entry.ty)) {
            Some(Type::Var(var)) => var.linkage != Linkage::Static && !hidden.contains(&(index, var.name.as_str())),
            _ => false,
        };
        let mmapable = datasec.is_some_and(|(_, sec)| sec.vars.iter().any(named));
        let spin_lock = locks.find(&name, value_type)?;
        let timer = locks.find_timer(value_type)?;
        maps.push(DataMap {
            section: index,
            spec: MapSpec {
                name,
                map_type: BPF_MAP_TYPE_ARRAY,
                key_size: 4,
                value_size,
                max_entries: 1,
                flags: if mmapable { BPF_F_MMAPABLE } else { 0 }
                    | if kind == Kind::Rodata { BPF_F_RDONLY_PROG } else { 0 },
                value_type,
                data: Some(section.data.to_vec()),
                frozen: kind == Kind::Rodata,
                spin_lock,
                timer,
                ..MapSpec::default()
            },
        });
    }
    Ok(maps)
}

/// The sections that code refers to. Pointers in others harm nobody: no program sees them.
fn used(elf: &Elf<'_>) -> HashSet<usize> {
    let code = elf.sections.iter().filter(|section| section.executable);
    let relocs = code.flat_map(|section| &section.relocs);
    relocs.filter_map(|reloc| elf.symbols[reloc.symbol].section).collect()
}

/// Hidden variables, by section and name.
fn hidden<'a>(elf: &Elf<'a>) -> HashSet<(usize, &'a str)> {
    let hidden = elf.symbols.iter().filter(|symbol| symbol.hidden);
    hidden
        .filter_map(|symbol| Some((symbol.section?, symbol.name)))
        .collect()
}

/// Whether a pointer in data is one to a program. Nobody can call it, so that it may stay zero, as it does in libbpf.
fn to_program(elf: &Elf<'_>, reloc: &Reloc) -> bool {
    let target = elf.symbols[reloc.symbol].section.map(|index| &elf.sections[index]);
    target.is_some_and(|section| section.executable && !is_text(section))
}

/// The text of the `license` section.
pub(crate) fn license(elf: &Elf<'_>) -> Result<String, ObjectError> {
    const MAX: usize = 4096;
    let Some((_, section)) = elf.section("license") else {
        return Ok(String::new());
    };
    let bad = |reason: &str| ObjectError::Section {
        section: "license".into(),
        reason: reason.into(),
    };
    let data = &section.data[..section.data.len().min(MAX)];
    let end = data
        .iter()
        .position(|&b| b == 0)
        .ok_or_else(|| bad("does not end with a nul"))?;
    let text = std::str::from_utf8(&data[..end]).map_err(|_| bad("is not UTF-8"))?;
    Ok(text.to_string())
}

/// The number in the `version` section.
pub(crate) fn kernel_version(elf: &Elf<'_>) -> Result<Option<u32>, ObjectError> {
    let Some((_, section)) = elf.section("version") else {
        return Ok(None);
    };
    match section.data.try_into() {
        Ok(bytes) => Ok(Some(u32::from_le_bytes(bytes))),
        Err(_) => Err(ObjectError::Section {
            section: "version".into(),
            reason: format!("has {} bytes, expected the 4 of a kernel version", section.data.len()),
        }),
    }
}
