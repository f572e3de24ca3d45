//! From the description of an object to maps and programs of a runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use hitless_object::{MapEvent, MapSpec, ObjectSpec, ProgramSpec, SectionKind};
use hitless_verifier::{HelperProto, MapFacts, MapKind, ProgramInput, Rejection, SourceLine, tables, verify};

use crate::env::HELPERS;
use crate::map::{Map, MapCreateError, MapDef, MapError, MapSource, UpdateFlags, kind_name};
use crate::program::{BuildError, Program, ProgramType};
use crate::runtime::Runtime;
use crate::trace::TraceEvent;

/// The maps and programs of a loaded object.
#[derive(Clone, Debug)]
pub struct Collection {
    programs: Vec<Arc<Program>>,
    maps: Vec<Arc<Map>>,
}

impl Collection {
    /// The programs, in the order of the object.
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
}

/// Why an object could not be loaded. Nothing of it stays behind.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A map of a type that the runtime does not have.
    #[error("map {map}: type {map_type} is not supported, expected hash (1) or array (2)")]
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
    /// A program in a section that names no program type that the runtime has.
    #[error(
        "program {program}: section {section} is not supported, expected xdp or map_trace/<map>/<UPDATE_ELEM|DELETE_ELEM>"
    )]
    Section {
        /// The program.
        program: String,
        /// Its section.
        section: String,
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

/// `BPF_F_RDONLY_PROG`.
const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`.
const F_MMAPABLE: u32 = 1 << 10;
/// `BPF_F_NO_PREALLOC`: every map is reserved at once and paid for page by page, so the flag asks for nothing more.
const F_NO_PREALLOC: u32 = 1;
const KNOWN_FLAGS: u32 = F_RDONLY_PROG | F_MMAPABLE | F_NO_PREALLOC;

impl Runtime {
    /// Loads an object: makes its maps, verifies and compiles its programs. Nothing is attached.
    ///
    /// # Errors
    /// [`LoadError`], by variant; then nothing of the object stays behind.
    pub fn load(&self, spec: &ObjectSpec) -> Result<Collection, LoadError> {
        self.load_with(spec, &BTreeMap::new())
    }

    /// Loads an object, with some of its maps replaced by existing ones, by name.
    ///
    /// # Errors
    /// [`LoadError`], by variant; [`LoadError::Replacement`] if a given map does not fit.
    pub fn load_with(
        &self,
        spec: &ObjectSpec,
        replacements: &BTreeMap<String, Arc<Map>>,
    ) -> Result<Collection, LoadError> {
        let btf = spec.btf.clone().map(Arc::new);
        let mut maps = Vec::with_capacity(spec.maps.len());
        for map in &spec.maps {
            let def = map_def(map)?;
            if let Some(given) = replacements.get(&map.name) {
                if given.runtime() != self.id() {
                    return Err(LoadError::OtherRuntime { map: map.name.clone() });
                }
                check_replacement(given, &def)?;
                maps.push(Arc::clone(given));
                continue;
            }
            let content = map.data.clone().map(|mut data| {
                // What the object leaves out (all of `.bss`) is zero.
                data.resize(map.value_size as usize, 0);
                data
            });
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
        let facts: Vec<MapFacts> = maps.iter().map(|map| map.facts()).collect();
        let programs = spec
            .programs
            .iter()
            .map(|program| self.load_program(spec, program, &maps, &facts));
        Ok(Collection {
            programs: programs.collect::<Result<_, _>>()?,
            maps,
        })
    }

    fn load_program(
        &self,
        object: &ObjectSpec,
        spec: &ProgramSpec,
        maps: &[Arc<Map>],
        facts: &[MapFacts],
    ) -> Result<Arc<Program>, LoadError> {
        let program_type = program_type(spec)?;
        let context = program_type.context();
        let prototypes = match program_type {
            ProgramType::Xdp => tables::helpers::xdp(),
            ProgramType::MapTrace(_) => tables::helpers::map_trace(),
        };
        let helpers: Vec<HelperProto> = prototypes
            .iter()
            .filter(|proto| HELPERS.contains(&proto.id))
            .copied()
            .collect();
        let lines: Vec<SourceLine> = spec
            .lines
            .iter()
            .map(|line| SourceLine {
                pc: line.pc,
                file: line.file.to_string(),
                line: line.line,
                text: line.text.trim().to_owned(),
            })
            .collect();
        let verified = verify(&ProgramInput {
            name: &spec.name,
            insns: &spec.insns,
            maps: facts,
            context: &context,
            helpers: &helpers,
            gpl_compatible: is_gpl_compatible(&object.license),
            lines: &lines,
            poisoned: &[],
        })
        .map_err(|source| LoadError::Rejected {
            program: spec.name.clone(),
            source,
        })?;
        self.inner()
            .create_program(&spec.name, &spec.section, program_type, verified, maps.to_vec())
            .map_err(|source| LoadError::Build {
                program: spec.name.clone(),
                source,
            })
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

pub(crate) fn map_def(spec: &MapSpec) -> Result<MapDef, LoadError> {
    let kind = match spec.map_type {
        1 => MapKind::Hash,
        2 => MapKind::Array,
        map_type => {
            return Err(LoadError::MapType {
                map: spec.name.clone(),
                map_type,
            });
        }
    };
    if spec.flags & !KNOWN_FLAGS != 0 {
        return Err(LoadError::MapFlags {
            map: spec.name.clone(),
            flags: spec.flags,
            known: KNOWN_FLAGS,
        });
    }
    Ok(MapDef {
        name: spec.name.clone(),
        kind,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        spin_lock: spec.spin_lock,
        readonly_prog: spec.flags & F_RDONLY_PROG != 0,
        global_data: spec.data.is_some(),
    })
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

pub(crate) fn program_type(spec: &ProgramSpec) -> Result<ProgramType, LoadError> {
    match spec.kind() {
        SectionKind::Xdp { .. } => Ok(ProgramType::Xdp),
        SectionKind::MapTrace {
            event: MapEvent::Update,
            ..
        } => Ok(ProgramType::MapTrace(TraceEvent::UpdateElem)),
        SectionKind::MapTrace {
            event: MapEvent::Delete,
            ..
        } => Ok(ProgramType::MapTrace(TraceEvent::DeleteElem)),
        SectionKind::MapTrace {
            event: MapEvent::Evict, ..
        }
        | SectionKind::Other(_) => Err(LoadError::Section {
            program: spec.name.clone(),
            section: spec.section.clone(),
        }),
    }
}

/// Licenses under which the kernel lets programs call GPL-only helpers (`license_is_gpl_compatible`).
fn is_gpl_compatible(license: &str) -> bool {
    [
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
    ]
    .contains(&license)
}
