//! What maps of maps and prog arrays hold from the start.

use std::collections::HashMap;

use super::{DeclaredMap, SlotTarget, bad, is_map_in_map};
use crate::code::Programs;
use crate::elf::Elf;
use crate::error::ObjectError;
use crate::map_type::{self, describe};
use crate::pointer::{Names, Pointer};
use crate::spec::{Element, InitialValue, MapSpec};

/// Completes declared maps with what they hold from the start.
pub(crate) fn resolve(
    elf: &Elf<'_>,
    declared: Vec<DeclaredMap>,
    programs: &Programs,
) -> Result<Vec<MapSpec>, ObjectError> {
    if declared.iter().all(|map| map.slots.is_empty()) {
        return Ok(declared.into_iter().map(|map| map.spec).collect());
    }
    let names = Names::new(elf);
    let maps: HashMap<(usize, u64), usize> = declared
        .iter()
        .enumerate()
        .map(|(index, map)| ((map.section, u64::from(map.offset)), index))
        .collect();
    let mut specs = Vec::with_capacity(declared.len());
    for DeclaredMap {
        offset,
        mut spec,
        slots,
        ..
    } in declared
    {
        for slot in slots {
            let element = match slot.target {
                SlotTarget::Map(index) => Element::Map(index),
                SlotTarget::Section(section) => {
                    let program = programs.first(section);
                    Element::Program(program.ok_or_else(|| {
                        let section = elf.sections[section].name;
                        bad(
                            &spec.name,
                            format!("no program in section {section}, for its element {}", slot.index),
                        )
                    })?)
                }
                SlotTarget::Pointer(pointer) => {
                    element(&spec, &pointer, &maps, programs).map_err(|reason| ObjectError::MapValue {
                        map: spec.name.clone(),
                        at: pointer.at - u64::from(offset),
                        target: names.of(&pointer).into(),
                        reason,
                    })?
                }
            };
            spec.values.push(InitialValue {
                index: slot.index,
                element,
            });
        }
        check(&mut spec)?;
        specs.push(spec);
    }
    Ok(specs)
}

/// What a pointer in the declaration of a map points to.
fn element(
    spec: &MapSpec,
    pointer: &Pointer,
    maps: &HashMap<(usize, u64), usize>,
    programs: &Programs,
) -> Result<Element, String> {
    let Some(section) = pointer.section else {
        return Err("is not in the object".into());
    };
    let (found, expected) = if is_map_in_map(spec.map_type) {
        let map = maps.get(&(section, pointer.offset)).copied();
        (map.map(Element::Map), "is no map declared in .maps")
    } else {
        let program = programs.at(section, pointer.offset);
        (
            program.map(Element::Program),
            "is no program: expected a function that is not static, in a section of its type",
        )
    };
    found.ok_or_else(|| expected.into())
}

/// Whether the map has room for its elements, each of which is there once. Sorts them.
fn check(spec: &mut MapSpec) -> Result<(), ObjectError> {
    spec.values.sort_by_key(|value| value.index);
    let Some(last) = spec.values.last() else { return Ok(()) };
    if let Some(pair) = spec.values.windows(2).find(|pair| pair[0].index == pair[1].index) {
        return Err(bad(&spec.name, format!("element {} is there twice", pair[0].index)));
    }
    let hash = spec.map_type == map_type::HASH_OF_MAPS;
    if hash && spec.key_size != 4 {
        let (found, size) = (describe(spec.map_type), spec.key_size);
        let reason = format!("keys of {size} bytes, expected 4 for a map of type {found} with initial values");
        return Err(bad(&spec.name, reason));
    }
    let needs = if hash {
        spec.values.len() as u64
    } else {
        u64::from(last.index) + 1
    };
    if needs > u64::from(spec.max_entries) {
        let reason = format!(
            "max_entries {}, expected at least {needs} for its initial values",
            spec.max_entries
        );
        return Err(bad(&spec.name, reason));
    }
    Ok(())
}
