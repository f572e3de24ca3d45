//! From the description of an object to maps and programs of a runtime.

use std::collections::HashSet;
use std::sync::Arc;

use hitless_btf::core;
use hitless_object::{MapSpec, ObjectSpec, Pinning, ProgramSpec, RelocateError, map_type_name};
use hitless_verifier::tables::program_types::ContextError;
use hitless_verifier::{ContextFacts, HelperProto, KfuncProto, MapFacts, ProgramKind, Rejection, tables};

use crate::Value;
use crate::facts::{ProgramFacts, Sort, whole};
use crate::helpers::HELPERS;
use crate::load_options::LoadOptions;
use crate::map::{KINDS, Map, MapCreateError, MapDef, MapError, MapFlags, MapSource, UpdateFlags, kind_name};
use crate::maps::{GetMapError, Global, TypedMap, find_global, known_globals};
use crate::program::{BuildError, Program, ProgramParts};
use crate::program_type::ProgramType;
use crate::runtime::Runtime;

/// The maps and programs of a loaded object.
#[derive(Clone, Debug)]
pub struct Collection {
    programs: Vec<Arc<Program>>,
    maps: Vec<Arc<Map>>,
}

impl Collection {
    /// The programs, in the order of the object, but for those that are not to be loaded by default (`SEC("?...")`).
    #[must_use]
    pub fn programs(&self) -> &[Arc<Program>] {
        &self.programs
    }

    /// The maps, global data included (`.bss`, `.data`, `.rodata`), in the order of the object.
    #[must_use]
    pub fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }

    /// The program with this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&Arc<Program>> {
        self.programs.iter().find(|program| program.name() == name)
    }

    /// The map with this name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&Arc<Map>> {
        self.maps.iter().find(|map| map.name() == name)
    }

    /// The map with this name, with the types of its keys and values: [`HashMap`](crate::maps::HashMap),
    /// [`Array`](crate::maps::Array) and the others of [`maps`](crate::maps).
    ///
    /// # Errors
    /// [`GetMapError::NotFound`]; [`GetMapError::Type`] if the map is of another kind, or its keys or values have another
    /// layout than the Rust types.
    pub fn get<M: TypedMap>(&self, name: &str) -> Result<M, GetMapError> {
        let map = self.map(name).ok_or_else(|| GetMapError::NotFound {
            what: "map",
            name: name.to_owned(),
            known: self.maps.iter().map(|map| map.name().to_owned()).collect(),
        })?;
        Ok(M::from_map(map)?)
    }

    /// The global variable with this name.
    ///
    /// # Errors
    /// [`GetMapError::NotFound`], also for variables without BTF; [`GetMapError::Global`] if it is of another type.
    ///
    /// # Examples
    /// ```
    /// # use hitless::{Object, Runtime};
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    /// let counting = Object::open("bpf/flows_v1.bpf.o")?.load(&Runtime::default())?;
    /// let seen = counting.global::<u64>("packets_seen")?;
    /// assert_eq!(seen.get()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn global<T: Value>(&self, name: &str) -> Result<Global<T>, GetMapError> {
        let sections = || self.maps.iter().filter(|map| map.def().global_data);
        let sections = || sections().filter_map(|map| Some((map, map.btf()?, map.value_type()?)));
        for (map, btf, section) in sections() {
            if let Some(place) = find_global(btf, section, name) {
                return Global::new(map, &place).map_err(|source| GetMapError::Global {
                    name: name.to_owned(),
                    source,
                });
            }
        }
        Err(GetMapError::NotFound {
            what: "variable",
            name: name.to_owned(),
            known: sections()
                .flat_map(|(_, btf, section)| known_globals(btf, section))
                .collect(),
        })
    }
}

/// Why an object could not be loaded. Nothing of it stays behind.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object needs something that does not exist here.
    #[error(transparent)]
    Relocate(#[from] RelocateError),
    /// A map of a type that the runtime does not have.
    #[error("map {map}: type {} is not supported", type_name(*map_type))]
    MapType {
        /// The map.
        map: String,
        /// Its type (`enum bpf_map_type`).
        map_type: u32,
    },
    /// Map flags that the runtime does not have.
    #[error("map {map}: flags {flags:#x} are not supported, expected no other than {known:#x}")]
    MapFlags {
        /// The map.
        map: String,
        /// Its flags.
        flags: u32,
        /// Those that are known.
        known: u32,
    },
    /// A map has something that the runtime, or maps of its type, do not have.
    #[error("map {map}: attribute \"{attribute}\" is not supported; {remedy}")]
    MapAttribute {
        /// The map.
        map: String,
        /// What it has.
        attribute: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Two maps that cannot be told apart.
    #[error("map {map}: two maps of the object have this name; rename one of them, also if they are static")]
    MapName {
        /// Their name.
        map: String,
    },
    /// A map could not be made.
    #[error(transparent)]
    CreateMap(#[from] MapCreateError),
    /// A map's initial content could not be stored.
    #[error("map {map}: initial content")]
    Content {
        /// The map.
        map: String,
        /// The reason.
        source: MapError,
    },
    /// A map given in place of one of the object's differs from it.
    #[error("map {map}: the map given in its place has {what} {found}, expected {expected}")]
    Replacement {
        /// The map.
        map: String,
        /// Which attribute.
        what: &'static str,
        /// What the given map has.
        found: String,
        /// What the object says.
        expected: String,
    },
    /// A map given in place of one of the object's belongs to another runtime.
    #[error("map {map}: the map given in its place belongs to another runtime")]
    OtherRuntime {
        /// The map.
        map: String,
    },
    /// A program of a type that cannot run here.
    #[error("program {program}: section {section}: programs of type {program_type} cannot run here: {reason}")]
    ProgramType {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// What the section says that it is.
        program_type: String,
        /// Why.
        reason: &'static str,
    },
    /// It is not known what the program is given.
    #[error("program {program}: section {section}: what it is given is not known")]
    Context {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// Why.
        source: ContextError,
    },
    /// A program for a hook that the host does not have.
    #[error(
        "program {program}: section {section}: the host has no such hook, only {}",
        hook_list(known)
    )]
    Hook {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// The hooks of the host's own that there are.
        known: Vec<String>,
    },
    /// A program in a section whose name does not say what it is.
    #[error("program {program}: section {section} {reason}")]
    Section {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// Why.
        reason: &'static str,
    },
    /// The verifier refused a program.
    #[error("program {program}: the verifier refuses it")]
    Rejected {
        /// The program.
        program: String,
        /// Why.
        source: Rejection,
    },
    /// An engine refused a verified program.
    #[error("program {program}")]
    Build {
        /// The program.
        program: String,
        /// Why.
        source: BuildError,
    },
}

impl Runtime {
    /// Loads an object: makes its maps, verifies and compiles its programs. Nothing is attached. The NUMA node of a map is
    /// accepted and has no effect.
    ///
    /// # Errors
    /// [`LoadError`], by variant; then nothing of the object stays behind.
    pub fn load(&self, spec: &ObjectSpec) -> Result<Collection, LoadError> {
        self.load_with(spec, &LoadOptions::default())
    }

    /// Loads an object in another way than the default: with some of its maps replaced by existing ones, or relocated
    /// against other types.
    ///
    /// # Errors
    /// [`LoadError`], by variant; [`LoadError::Replacement`] if a given map does not fit, [`LoadError::Relocate`] if the
    /// object needs something that there is not.
    pub fn load_with(&self, spec: &ObjectSpec, options: &LoadOptions) -> Result<Collection, LoadError> {
        let types = options.types_or(self.btf());
        let spec = &*options.relocate_against(spec, &types)?;
        let maps = self.make_maps(spec, options)?;
        let facts: Vec<MapFacts> = maps.iter().map(|map| map.facts()).collect();
        let programs = spec
            .programs
            .iter()
            .filter(|program| program.autoload)
            .map(|program| self.load_program(spec, program, &types, &maps, &facts));
        Ok(Collection {
            programs: programs.collect::<Result<_, _>>()?,
            maps,
        })
    }

    /// Makes the maps of a relocated object.
    pub(crate) fn make_maps(&self, spec: &ObjectSpec, options: &LoadOptions) -> Result<Vec<Arc<Map>>, LoadError> {
        let btf = spec.btf.clone().map(Arc::new);
        let defs = map_defs(spec)?;
        let mut maps = Vec::with_capacity(spec.maps.len());
        for (map, def) in spec.maps.iter().zip(defs) {
            if let Some(given) = options.replacements.get(&map.name) {
                if given.runtime() != self.id() {
                    return Err(LoadError::OtherRuntime { map: map.name.clone() });
                }
                check_replacement(given, &def)?;
                maps.push(Arc::clone(given));
                continue;
            }
            let content = map.data.as_ref().map(|data| whole(data, map.value_size));
            let frozen = content.clone().filter(|_| map.frozen);
            let source = MapSource {
                btf: btf.clone(),
                key_type: map.key_type,
                value_type: map.value_type,
                frozen,
            };
            let made = self.inner().create_map(def, source)?;
            if let Some(content) = &content {
                made.set_initial_content(content).map_err(|source| LoadError::Content {
                    map: map.name.clone(),
                    source,
                })?;
            }
            maps.push(made);
        }
        Ok(maps)
    }

    fn load_program(
        &self,
        object: &ObjectSpec,
        spec: &ProgramSpec,
        types: &core::Target,
        maps: &[Arc<Map>],
        facts: &[MapFacts],
    ) -> Result<Arc<Program>, LoadError> {
        let program_type = ProgramType::of(spec)?;
        let kind = program_type.kind();
        let context = self.context(spec, &program_type, types)?;
        let helpers = tables::helpers::of(kind).iter().map(offered).collect();
        let excluded = |proto: &KfuncProto| proto.excluded.or(Some(NOT_HERE));
        let verified = ProgramFacts::new(object, spec, kind, context.clone(), helpers, excluded, None)
            .verify(facts, None)
            .map_err(|source| LoadError::Rejected {
                program: spec.name.clone(),
                source,
            })?;
        let parts = ProgramParts {
            name: spec.name.clone(),
            section: spec.section.clone(),
            program_type,
            context,
            verified,
            maps: maps.to_vec(),
        };
        self.inner().create_program(parts).map_err(|source| LoadError::Build {
            program: spec.name.clone(),
            source,
        })
    }

    /// What the program is given.
    fn context(
        &self,
        spec: &ProgramSpec,
        program_type: &ProgramType,
        types: &core::Target,
    ) -> Result<ContextFacts, LoadError> {
        match program_type {
            ProgramType::Bound {
                kind: ProgramKind::Hook,
                target,
            } => self.host_context(target).map_err(|known| LoadError::Hook {
                program: spec.name.clone(),
                section: spec.section.clone(),
                known,
            }),
            ProgramType::Plain(_) | ProgramType::Bound { .. } | ProgramType::MapTrace(_) => Sort::of(spec.kind())
                .map_err(|reason| LoadError::Section {
                    program: spec.name.clone(),
                    section: spec.section.clone(),
                    reason,
                })?
                .context(program_type.target(), Some(types.btf()))
                .map_err(|source| LoadError::Context {
                    program: spec.name.clone(),
                    section: spec.section.clone(),
                    source,
                }),
        }
    }
}

/// Why what the verifier knows, and user space could offer, is refused.
const NOT_HERE: &str = "the runtime does not have it";

/// A helper as it is here: what the runtime lacks is refused by name.
fn offered(proto: &HelperProto) -> HelperProto {
    let lacking = proto.excluded.is_none() && !HELPERS.contains(&proto.id);
    HelperProto {
        excluded: if lacking { Some(NOT_HERE) } else { proto.excluded },
        ..*proto
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
fn map_defs(spec: &ObjectSpec) -> Result<Vec<MapDef>, LoadError> {
    let mut names = HashSet::new();
    let def = |map| {
        let def = map_def(map)?;
        if !names.insert(map.name.as_str()) {
            return Err(LoadError::MapName { map: map.name.clone() });
        }
        Ok(def)
    };
    spec.maps.iter().map(def).collect()
}

pub(crate) fn map_def(spec: &MapSpec) -> Result<MapDef, LoadError> {
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
    let unsupported = [
        (
            spec.pinning != Pinning::None,
            "pinning",
            "declare the map without it, and hand it to other objects when they are loaded",
        ),
        (
            spec.map_extra != 0,
            "map_extra",
            "maps of this type have none, as in the kernel; declare the map without it",
        ),
        (
            spec.inner.is_some() || !spec.values.is_empty(),
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
    Ok(MapDef {
        flags: MapFlags::from_bits(spec.flags),
        map_extra: spec.map_extra,
        numa_node: spec.numa_node,
        spin_lock: spec.spin_lock,
        global_data: spec.data.is_some(),
        ..MapDef::new(&spec.name, known.kind, spec.key_size, spec.value_size, spec.max_entries)
    })
}

/// "hook/request, hook/reply".
fn hook_list(known: &[String]) -> String {
    if known.is_empty() {
        return "those of Linux".to_owned();
    }
    let sections: Vec<_> = known.iter().map(|name| format!("hook/{name}")).collect();
    sections.join(", ")
}

/// "ringbuf (27)"; only the number if it has no name.
fn type_name(map_type: u32) -> String {
    match map_type_name(map_type) {
        Some(name) => format!("{name} ({map_type})"),
        None => map_type.to_string(),
    }
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
