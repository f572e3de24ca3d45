//! Maps in `maps` sections, as they were declared before BTF: each is a variable whose content describes the map. There
//! are several kinds of such definitions, see [`layout`].
//!
//! A section `maps` holds one definition for each of its symbols; `maps/NAME` (gobpf, old aya) holds that of one map.
//! Objects of that age need not have BTF at all; where they do, `BPF_ANNOTATE_KV_PAIR` may give the types of keys and
//! values.

mod layout;

use std::collections::{BTreeMap, HashMap};

use hitless_btf::{Btf, Type, TypeId};

use self::layout::{Definition, Inner};
use super::{DeclaredMap, Locks, Slot, SlotTarget, bad, check_count, inner_name, is_map_in_map};
use crate::elf::{Elf, Symbol, SymbolKind};
use crate::error::ObjectError;
use crate::map_type;
use crate::spec::MapSpec;

const SECTION: &str = "maps";
/// Most elements that ids give to maps of maps, all together: many maps may name the same id.
const MAX_SLOTS: usize = 1 << 16;
/// Prefix of the structs that `BPF_ANNOTATE_KV_PAIR` declares.
const ANNOTATION: &str = "____btf_map_";

/// Reads all definitions, in the order of their sections and offsets.
pub(super) fn declared(elf: &Elf<'_>, btf: Option<&Btf>, locks: &Locks<'_>) -> Result<Vec<DeclaredMap>, ObjectError> {
    let sections: BTreeMap<usize, Option<&str>> = (0..)
        .zip(&elf.sections)
        .filter(|(_, section)| section.alloc && !section.executable && section.size > 0)
        .filter_map(|(index, section)| {
            let rest = section.name.strip_prefix(SECTION)?;
            let name = rest.strip_prefix('/');
            (rest.is_empty() || name.is_some()).then_some((index, name))
        })
        .collect();
    if sections.is_empty() {
        return Ok(Vec::new());
    }
    let mut symbols: Vec<(usize, &Symbol<'_>)> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.kind != SymbolKind::Section && !symbol.name.is_empty())
        .filter_map(|symbol| Some((symbol.section.filter(|section| sections.contains_key(section))?, symbol)))
        .collect();
    symbols.sort_by_key(|(section, symbol)| (*section, symbol.value));
    check_count("maps", symbols.len())?;
    let mut count: HashMap<usize, u64> = HashMap::new();
    symbols
        .iter()
        .for_each(|(section, _)| *count.entry(*section).or_default() += 1);
    for &section in sections.keys() {
        if !count.contains_key(&section) {
            return Err(ObjectError::Section {
                section: elf.sections[section].name.into(),
                reason: format!(
                    "{} bytes, but no symbol names a map in them",
                    elf.sections[section].size
                ),
            });
        }
    }

    let types = Types::new(elf, btf);
    let mut definitions = Vec::with_capacity(symbols.len());
    let mut maps: Vec<DeclaredMap> = Vec::with_capacity(symbols.len());
    let mut end = (0, 0);
    for (section, symbol) in symbols {
        let header = &elf.sections[section];
        let name = match sections[&section] {
            Some(name) if count[&section] == 1 && !name.is_empty() => name,
            _ => symbol.name,
        };
        // Old compilers leave sizes of symbols out; libbpf has always divided.
        let size = match symbol.size {
            0 => header.size / count[&section],
            size => size,
        };
        let refuse = |reason: String| ObjectError::LegacyMap {
            map: name.into(),
            section: header.name.into(),
            size,
            reason,
        };
        if (section, symbol.value) < end {
            return Err(refuse(format!(
                "starts at offset {}, inside of the one before",
                symbol.value
            )));
        }
        let range = usize::try_from(symbol.value)
            .ok()
            .zip(usize::try_from(symbol.value.saturating_add(size)).ok());
        let bytes = range
            .and_then(|(start, end)| header.data.get(start..end))
            .ok_or_else(|| refuse(format!("ends after the section's {} bytes", header.data.len())))?;
        end = (section, symbol.value + size);
        let ty = types.variables.get(&(section, symbol.value)).copied();
        let definition = layout::read(bytes, btf.zip(ty)).map_err(refuse)?;
        let mut spec = spec(name, &definition)?;
        if let (Some(btf), Some(&annotation)) = (btf, types.annotations.get(symbol.name)) {
            (spec.key_type, spec.value_type) = key_and_value(btf, annotation, &spec);
            spec.spin_lock = locks.find(name, spec.value_type)?;
            spec.timer = locks.find_timer(spec.value_type)?;
        }
        definitions.push(definition);
        maps.push(DeclaredMap {
            section,
            // Inside of a section's data, of which there are at most 256 MiB.
            offset: symbol.value as u32,
            spec,
            slots: Vec::new(),
        });
    }
    maps_in_maps(&definitions, &mut maps)?;
    prog_arrays(elf, &definitions, &mut maps);
    Ok(maps)
}

fn spec(name: &str, definition: &Definition) -> Result<MapSpec, ObjectError> {
    if definition.map_type == 0 {
        return Err(bad(name, "no type"));
    }
    Ok(MapSpec {
        name: name.into(),
        map_type: definition.map_type,
        key_size: definition.key_size,
        value_size: definition.value_size,
        max_entries: definition.max_entries,
        flags: definition.flags,
        pinning: definition.pinning,
        numa_node: definition.numa_node,
        ..MapSpec::default()
    })
}

/// What BTF says about definitions.
struct Types<'b> {
    /// Types of variables, by section and offset.
    variables: HashMap<(usize, u64), TypeId>,
    /// The structs that `BPF_ANNOTATE_KV_PAIR` declares, by the map's name.
    annotations: HashMap<&'b str, TypeId>,
}

impl<'b> Types<'b> {
    fn new(elf: &Elf<'_>, btf: Option<&'b Btf>) -> Types<'b> {
        let mut types = Types {
            variables: HashMap::new(),
            annotations: HashMap::new(),
        };
        let Some(btf) = btf else { return types };
        for (id, ty) in btf.types() {
            match ty {
                Type::Struct(def) => {
                    if let Some(name) = def.name.as_str().strip_prefix(ANNOTATION) {
                        types.annotations.insert(name, id);
                    }
                }
                Type::Datasec(datasec) => {
                    let Some((section, _)) = elf.section(&datasec.name) else {
                        continue;
                    };
                    let vars = datasec.vars.iter().filter_map(|entry| match btf.get(entry.ty) {
                        Some(Type::Var(var)) => Some(((section, u64::from(entry.offset)), var.ty)),
                        _ => None,
                    });
                    types.variables.extend(vars);
                }
                _ => {}
            }
        }
        types
    }
}

/// The types of keys and values that an annotation gives; like libbpf, none if they do not fit the map.
fn key_and_value(btf: &Btf, annotation: TypeId, spec: &MapSpec) -> (Option<TypeId>, Option<TypeId>) {
    match btf.members(annotation) {
        [key, value]
            if btf.size_of(key.ty) == Some(spec.key_size) && btf.size_of(value.ty) == Some(spec.value_size) =>
        {
            (Some(key.ty), Some(value.ty))
        }
        _ => (None, None),
    }
}

/// Gives maps of maps their templates, and those whose definitions name an id also the maps with that id.
fn maps_in_maps(definitions: &[Definition], maps: &mut [DeclaredMap]) -> Result<(), ObjectError> {
    let mut by_id: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, definition) in definitions.iter().enumerate() {
        if let Some(id) = definition.id.filter(|_| !is_map_in_map(definition.map_type)) {
            by_id.entry(id).or_default().push(index);
        }
    }
    let mut slots = 0;
    // The first map of a section, by which positions count.
    let mut first = 0;
    for outer in 0..maps.len() {
        if maps[outer].section != maps[first].section {
            first = outer;
        }
        let (template, members, unknown) = match definitions[outer].inner {
            Inner::Unknown => continue,
            Inner::Index(index) => {
                let unknown = format!("inner_map_idx {index}, expected the position of a map in the section");
                (first.checked_add(index as usize), &[][..], unknown)
            }
            Inner::Id(id) => {
                let members = by_id.get(&id).filter(|_| id != 0).map_or(&[][..], Vec::as_slice);
                let unknown = format!("inner_id {id}, expected the id of another map of the section, and not 0");
                (members.first().copied(), members, unknown)
            }
        };
        let name = maps[outer].spec.name.clone();
        let template = template
            .and_then(|at| maps.get(at))
            .filter(|map| map.section == maps[outer].section);
        let Some(template) = template else {
            return Err(bad(&name, unknown));
        };
        if is_map_in_map(template.spec.map_type) {
            let reason = format!(
                "made of maps like {:?}, but maps of maps cannot be nested",
                template.spec.name
            );
            return Err(bad(&name, reason));
        }
        let inner = MapSpec {
            name: inner_name(&name),
            pinning: Default::default(),
            ..template.spec.clone()
        };
        slots += members.len();
        if slots > MAX_SLOTS {
            return Err(ObjectError::TooLarge {
                what: "initial values of maps of maps".into(),
                found: slots as u64,
                max: MAX_SLOTS as u64,
            });
        }
        let members = members.iter().map(|&map| Slot {
            index: definitions[map].inner_idx,
            target: SlotTarget::Map(map),
        });
        maps[outer].slots.extend(members);
        maps[outer].spec.inner = Some(Box::new(inner));
    }
    Ok(())
}

/// Fills prog arrays that have an id as iproute2 does: with the program of section "id/index".
fn prog_arrays(elf: &Elf<'_>, definitions: &[Definition], maps: &mut [DeclaredMap]) {
    let mut by_id = HashMap::new();
    for (index, definition) in definitions.iter().enumerate().rev() {
        if let Some(id) = definition.id.filter(|_| definition.map_type == map_type::PROG_ARRAY) {
            by_id.insert(id, index);
        }
    }
    for (index, section) in elf
        .sections
        .iter()
        .enumerate()
        .filter(|(_, section)| section.executable)
    {
        let Some((id, slot)) = section.name.split_once('/') else {
            continue;
        };
        let (Some(id), Some(slot)) = (number(id), number(slot)) else {
            continue;
        };
        if let Some(&map) = by_id.get(&id) {
            maps[map].slots.push(Slot {
                index: slot,
                target: SlotTarget::Section(index),
            });
        }
    }
}

/// A number as C has them: decimal, `0x` hexadecimal, or octal with a leading 0.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_in_section_names() {
        for (text, value) in [("0", Some(0)), ("12", Some(12)), ("0x1F", Some(31)), ("017", Some(15))] {
            assert_eq!(number(text), value);
        }
        for text in ["", "x", "0x", "+1", "-1", "08", "1 ", "4294967296", "0x100000000"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
