//! The `.BTF` and `.BTF.ext` sections, completed with what only symbols say.

use std::collections::HashMap;

use hitless_btf::{Btf, BtfExt, Linkage, Type, TypeId};

use crate::elf::{Elf, SymbolKind};
use crate::error::ObjectError;

/// Parses the type information of the object.
pub(crate) fn parse(elf: &Elf<'_>) -> Result<(Option<Btf>, Option<BtfExt>), ObjectError> {
    let ext = elf.section(".BTF.ext");
    let Some((_, section)) = elf.section(".BTF") else {
        return match ext {
            None => Ok((None, None)),
            Some(_) => Err(ObjectError::MissingSection {
                section: ".BTF",
                because: "section .BTF.ext".into(),
            }),
        };
    };
    let btf = Btf::parse(section.data).map_err(|source| ObjectError::Btf {
        section: ".BTF",
        source,
    })?;
    let ext = ext
        .map(|(_, section)| BtfExt::parse(section.data, &btf))
        .transpose()
        .map_err(|source| ObjectError::Btf {
            section: ".BTF.ext",
            source,
        })?;
    Ok((Some(btf), ext))
}

/// Fills in the sizes of data sections and the offsets of global variables. Offsets of static ones are there already. As in
/// libbpf, hidden variables become static: they are nobody else's.
pub(crate) fn fix_datasecs(elf: &Elf<'_>, btf: &mut Btf) -> Result<(), ObjectError> {
    let places: HashMap<(usize, &str), (u64, bool)> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.kind == SymbolKind::Object && !symbol.local)
        .filter_map(|symbol| Some(((symbol.section?, symbol.name), (symbol.value, symbol.hidden))))
        .collect();
    let sections: Vec<(TypeId, String)> = btf
        .types()
        .filter_map(|(id, ty)| match ty {
            Type::Datasec(sec) => Some((id, sec.name.to_string())),
            _ => None,
        })
        .collect();
    for (id, name) in sections {
        let Some((index, section)) = elf.section(&name) else {
            continue;
        };
        let too_large = |what: &str, found| ObjectError::TooLarge {
            what: format!("{what} {name}"),
            found,
            max: u32::MAX.into(),
        };
        let size = u32::try_from(section.size).map_err(|_| too_large("bytes in section", section.size))?;
        let place_of = |var: &hitless_btf::Var| match var.linkage {
            Linkage::Global => places.get(&(index, var.name.as_str())).map(|&(at, hidden)| {
                // A value that does not fit cannot lie in the section either.
                let offset = u32::try_from(at).unwrap_or(u32::MAX);
                (offset, if hidden { Linkage::Static } else { Linkage::Global })
            }),
            Linkage::Static | Linkage::Extern => None,
        };
        btf.fix_datasec(id, size, place_of)
            .map_err(|source| ObjectError::Datasec {
                section: name.clone(),
                source,
            })?;
    }
    Ok(())
}
