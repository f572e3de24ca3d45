//! The maps of an object: made, and filled with what it says that they hold from the start.

use std::collections::HashSet;
use std::sync::Arc;

use hitless_btf::Btf;
use hitless_object::{Element, InitialValue, MapSpec, ObjectSpec, Pinning, ProgramSpec, map_type_name};
use hitless_verifier::MapKind;

use crate::facts::{used_maps, value_fields, whole};
use crate::load::LoadError;
use crate::load_options::LoadOptions;
use crate::map::{
    KINDS, Map, MapCreateError, MapDef, MapError, MapFlags, MapHandle, MapSource, UpdateFlags, kind_name,
};
use crate::objects::{Describe, Fields, Owned};
use crate::program::Program;
use crate::program_type::ProgramType;
use crate::runtime::Runtime;

impl Runtime {
    /// Makes the maps of a relocated object.
    pub(crate) fn make_maps(
        &self,
        spec: &ObjectSpec,
        btf: Option<&Arc<Btf>>,
        options: &LoadOptions,
    ) -> Result<Vec<MapHandle>, LoadError> {
        let host = self.btf();
        let defs = map_defs(spec, self.inner().slots.count())?;
        let mut maps = Vec::with_capacity(spec.maps.len());
        for (map, def) in spec.maps.iter().zip(defs) {
            if let Some(given) = options.replacements.get(&map.name) {
                if given.runtime() != self.id() {
                    return Err(LoadError::OtherRuntime { map: map.name.clone() });
                }
                check_replacement(given, &def)?;
                let found = given.owned().map_or("", Owned::description);
                let expected = owned_fields(spec.btf.as_ref(), map, host.btf());
                check_same_objects(map, found, expected.as_ref().map_or("", |(_, text)| text))?;
                maps.push(MapHandle::new(Arc::clone(given), self.inner()));
                continue;
            }
            let content = map.data.as_ref().map(|data| whole(data, map.value_size));
            let frozen = content.clone().filter(|_| map.frozen);
            let owned = owned_fields(spec.btf.as_ref(), map, host.btf()).map(|fields| {
                let heap = self.inner().start_objects();
                heap.map(|heap| Arc::new(Owned::new(heap, fields)))
            });
            let owned = owned.transpose().map_err(|source| MapCreateError::Memory {
                name: map.name.clone(),
                bytes: 0,
                source,
            })?;
            let source = MapSource {
                owned,
                btf: btf.cloned(),
                key_type: map.key_type,
                value_type: map.value_type,
                frozen,
                timer: map.timer,
            };
            let made = self.inner().create_map(def, source)?;
            if let Some(content) = &content {
                let stored = made.set_initial_content(content);
                stored.map_err(|source| content_error(map, source))?;
            }
            maps.push(MapHandle::new(made, self.inner()));
        }
        // A map that was given in place of one keeps what it holds.
        for (outer, made) in spec.maps.iter().zip(&maps) {
            if options.replacements.contains_key(&outer.name) {
                continue;
            }
            for value in &outer.values {
                if let Element::Map(inner) = value.element {
                    let inner = maps.get(inner).ok_or_else(|| missing(outer, value, "a map"))?;
                    let put = made.insert_map(&value.index.to_ne_bytes(), inner, UpdateFlags::ANY);
                    put.map_err(|source| content_error(outer, source))?;
                }
            }
        }
        Ok(maps)
    }
}

/// The fields of a map's values that refer to objects of programs, and what they look like; none if there are none.
pub(crate) fn owned_fields(btf: Option<&Btf>, map: &MapSpec, host: &Btf) -> Option<(Fields, String)> {
    let btf = btf?;
    let found = value_fields(Some(btf), map.value_type, Some(host));
    // Most maps have none.
    if found.kptrs.is_empty() && found.graph.is_empty() {
        return None;
    }
    Describe::new(btf, host).value(&found, map.spin_lock)
}

/// Refuses a map that was given in place of one of the object's if its values refer to other objects.
fn check_same_objects(map: &MapSpec, found: &str, expected: &str) -> Result<(), LoadError> {
    if found == expected {
        return Ok(());
    }
    let lines = |text: &str| match text {
        "" => "nothing".to_owned(),
        text => text.trim().replace('\n', "; "),
    };
    Err(LoadError::Replacement {
        map: map.name.clone(),
        what: "values that refer to objects,",
        found: lines(found),
        expected: lines(expected),
    })
}

fn content_error(map: &MapSpec, source: MapError) -> LoadError {
    LoadError::Content {
        map: map.name.clone(),
        source,
    }
}

fn missing(map: &MapSpec, value: &InitialValue, what: &str) -> LoadError {
    LoadError::Element {
        map: map.name.clone(),
        index: value.index,
        what: what.to_owned(),
    }
}

/// Puts programs where the object says that prog arrays hold them.
pub(crate) fn fill_prog_arrays(
    spec: &ObjectSpec,
    maps: &[MapHandle],
    programs: &[Arc<Program>],
) -> Result<(), LoadError> {
    for (map, made) in spec.maps.iter().zip(maps) {
        for value in &map.values {
            let Element::Program(index) = value.element else {
                continue;
            };
            let name = spec.programs.get(index).map_or("a program", |program| &program.name);
            let program = programs.iter().find(|program| program.name() == name);
            let program = program.ok_or_else(|| missing(map, value, name))?;
            let put = made.insert_program(value.index, program);
            put.map_err(|source| content_error(map, source))?;
        }
    }
    Ok(())
}

/// Refuses a program that uses a prog array for programs of another type; it says what fits in if the array has none.
pub(crate) fn check_prog_arrays(
    spec: &ProgramSpec,
    program_type: &ProgramType,
    maps: &[MapHandle],
) -> Result<(), LoadError> {
    let mut used = used_maps(&spec.insns).filter_map(|index| maps.get(index));
    let refused = used.find(|map| map.programs().is_some_and(|programs| !programs.admits(program_type)));
    match refused {
        None => Ok(()),
        Some(map) => Err(LoadError::ProgArray {
            program: spec.name.clone(),
            map: map.name().to_owned(),
        }),
    }
}

impl Map {
    /// Stores what the object says the map contains: the one value of a global-data array.
    fn set_initial_content(&self, content: &[u8]) -> Result<(), MapError> {
        if self.is_frozen() {
            self.fill_frozen(content)
        } else {
            self.update(&0u32.to_ne_bytes(), content, UpdateFlags::ANY)
        }
    }
}

/// What the maps of an object are to be; refuses all that the runtime does not have before any of them is made.
fn map_defs(spec: &ObjectSpec, slots: usize) -> Result<Vec<MapDef>, LoadError> {
    let mut names = HashSet::new();
    let def = |map| {
        let def = map_def(map, slots)?;
        if !names.insert(map.name.as_str()) {
            return Err(LoadError::MapName { map: map.name.clone() });
        }
        Ok(def)
    };
    spec.maps.iter().map(def).collect()
}

/// What a map of an object is to be, in a runtime with so many slots.
pub(crate) fn map_def(spec: &MapSpec, slots: usize) -> Result<MapDef, LoadError> {
    let Some(known) = KINDS.iter().find(|known| known.kind.number() == spec.map_type) else {
        return Err(LoadError::MapType {
            map: spec.name.clone(),
            map_type: spec.map_type,
        });
    };
    if !known.flags.contains(MapFlags::from_bits(spec.flags)) {
        return Err(LoadError::MapFlags {
            map: spec.name.clone(),
            flags: spec.flags,
            known: known.flags.bits(),
        });
    }
    let kind = known.kind;
    let holds_maps = matches!(kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
    let fits = |value: &InitialValue| match value.element {
        Element::Map(_) => holds_maps,
        Element::Program(_) => kind == MapKind::ProgArray,
    };
    let unsupported = [
        (
            spec.pinning != Pinning::None,
            "pinning",
            "declare the map without it, and hand it to other objects when they are loaded",
        ),
        (
            spec.map_extra != 0 && kind != MapKind::BloomFilter,
            "map_extra",
            "maps of this type have none, as in the kernel; declare the map without it",
        ),
        (
            (spec.inner.is_some() && !holds_maps) || !spec.values.iter().all(fits),
            "values",
            "only maps of maps and prog arrays have them",
        ),
    ];
    if let Some((_, attribute, remedy)) = unsupported.into_iter().find(|(found, ..)| *found) {
        return Err(LoadError::MapAttribute {
            map: spec.name.clone(),
            attribute,
            remedy,
        });
    }
    let inner = spec.inner.as_deref().map(|inner| map_def(inner, slots)).transpose()?;
    Ok(MapDef {
        flags: MapFlags::from_bits(spec.flags),
        map_extra: spec.map_extra,
        numa_node: spec.numa_node,
        spin_lock: spec.spin_lock,
        inner: inner.map(Box::new),
        global_data: spec.data.is_some(),
        ..MapDef::new(
            &spec.name,
            kind,
            spec.key_size,
            spec.value_size,
            max_entries(spec, kind, slots),
        )
    })
}

/// How many elements a map has, where the object leaves that to the machine: a perf event array of none has one for each
/// slot, and the size of a ring buffer is rounded up, as libbpf does.
fn max_entries(spec: &MapSpec, kind: MapKind, slots: usize) -> u32 {
    match kind {
        MapKind::PerfEventArray if spec.max_entries == 0 => slots as u32,
        MapKind::Ringbuf | MapKind::UserRingbuf if spec.max_entries > 0 => {
            let page = rustix::param::page_size() as u32;
            let rounded = spec.max_entries.max(page).checked_next_power_of_two();
            rounded.unwrap_or(spec.max_entries)
        }
        _ => spec.max_entries,
    }
}

/// "ringbuf (27)"; only the number if it has no name.
pub(crate) fn type_name(map_type: u32) -> String {
    match map_type_name(map_type) {
        Some(name) => format!("{name} ({map_type})"),
        None => map_type.to_string(),
    }
}

/// Why there are no such maps, to follow that: ": inodes belong to the kernel".
pub(crate) fn reason(map_type: u32) -> String {
    let known = hitless_verifier::tables::map_types::by_number(map_type);
    let reason = known.and_then(|known| known.excluded);
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

fn check_replacement(given: &Map, def: &MapDef) -> Result<(), LoadError> {
    let attributes = |def: &MapDef| {
        [
            ("type", kind_name(def.kind).to_owned()),
            ("key_size", def.key_size.to_string()),
            ("value_size", def.value_size.to_string()),
            ("max_entries", def.max_entries.to_string()),
        ]
    };
    let pairs = attributes(given.def()).into_iter().zip(attributes(def));
    match pairs.into_iter().find(|(found, expected)| found != expected) {
        None => Ok(()),
        Some(((what, found), (_, expected))) => Err(LoadError::Replacement {
            map: def.name.clone(),
            what,
            found,
            expected,
        }),
    }
}
