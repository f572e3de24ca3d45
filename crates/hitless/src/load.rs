//! From the description of an object to maps and programs of a runtime.

use std::collections::BTreeSet;
use std::sync::Arc;

use hitless_btf::{Btf, TypeId, core};
use hitless_isa::{Imm64, Insn, Instruction, Operand, decode};
use hitless_object::{ObjectSpec, ProgramSpec, RelocateError};
use hitless_verifier::tables::program_types::ContextError;
use hitless_verifier::{ContextFacts, HelperProto, KfuncProto, Log, MapFacts, ProgramKind, Rejection, tables};

use crate::Value;
use crate::extension::{Extends, ExtensionError, Prepared, function_for, prepare};
use crate::facts::{ProgramFacts, Sort, forbidden_use, value_fields};
use crate::helpers::HELPERS;
use crate::helpers::kfuncs::{self, Kfunc};
use crate::load_maps::{check_prog_arrays, fill_prog_arrays, reason, type_name};
use crate::load_options::LoadOptions;
use crate::map::{MapCreateError, MapError, MapHandle};
use crate::maps::{GetMapError, Global, TypedMap, find_global, known_globals};
use crate::objects::{Describe, ObjectType};
use crate::program::{BuildError, Program, ProgramParts};
use crate::program_type::ProgramType;
use crate::runtime::Runtime;

/// The maps and programs of a loaded object.
#[derive(Clone, Debug)]
pub struct Collection {
    programs: Vec<Arc<Program>>,
    maps: Vec<MapHandle>,
}

impl Collection {
    /// The programs, in the order of the object, but for those that are not to be loaded by default (`SEC("?...")`).
    #[must_use]
    pub fn programs(&self) -> &[Arc<Program>] {
        &self.programs
    }

    /// The maps, global data included (`.bss`, `.data`, `.rodata`), in the order of the object.
    #[must_use]
    pub fn maps(&self) -> &[MapHandle] {
        &self.maps
    }

    /// The program with this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&Arc<Program>> {
        self.programs.iter().find(|program| program.name() == name)
    }

    /// The map with this name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapHandle> {
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
    #[error("map {map}: type {} is not supported{}", type_name(*map_type), reason(*map_type))]
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
    /// Programs of this type may not use such a map.
    #[error("program {program}: map {map}: {reason}")]
    MapUse {
        /// The program.
        program: String,
        /// The map.
        map: String,
        /// Why, in the kernel's words.
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
    /// A program cannot take the place of a function of the program that it is to extend.
    #[error("program {program}: section {section}: it cannot extend the program")]
    Extension {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// Why.
        source: ExtensionError,
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
    /// A program is not of the type of those that a prog array holds, which it uses.
    #[error("program {program}: prog array {map} is for programs of another type")]
    ProgArray {
        /// The program.
        program: String,
        /// The prog array.
        map: String,
    },
    /// What an object says that a map holds from the start is not there.
    #[error("map {map}: element {index} is {what}, which is not loaded")]
    Element {
        /// The map.
        map: String,
        /// The element.
        index: u32,
        /// What it should be.
        what: String,
    },
    /// There is no memory for objects that a program allocates.
    #[error("program {program}: no memory for the objects that it allocates")]
    Objects {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
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
        let btf = spec.btf.clone().map(Arc::new);
        let maps = self.make_maps(spec, btf.as_ref(), options)?;
        // Fields of values are of the types that the object has, which are those of maps that were given in place of its own.
        let host = self.btf();
        let facts = spec.maps.iter().zip(&maps).map(|(spec_map, map)| {
            let fields = value_fields(spec.btf.as_ref(), spec_map.value_type, Some(host.btf()));
            MapFacts {
                kptrs: fields.kptrs,
                managed: fields.managed,
                graph: fields.graph,
                ..map.facts()
            }
        });
        let facts: Vec<MapFacts> = facts.collect();
        let programs = spec.programs.iter().filter(|program| program.autoload).map(|program| {
            self.verify_and_build((spec, btf.as_ref()), program, (&maps, &facts), (options, &types), None)
        });
        let programs: Vec<_> = programs.collect::<Result<_, _>>()?;
        fill_prog_arrays(spec, &maps, &programs)?;
        Ok(Collection { programs, maps })
    }

    pub(crate) fn verify_and_build(
        &self,
        (object, btf): (&ObjectSpec, Option<&Arc<Btf>>),
        spec: &ProgramSpec,
        (maps, facts): (&[MapHandle], &[MapFacts]),
        (options, types): (&LoadOptions, &Arc<core::Target>),
        log: Option<&mut Log>,
    ) -> Result<Arc<Program>, LoadError> {
        let program_type = ProgramType::of(spec)?;
        let extension = match program_type.kind() {
            ProgramKind::Ext => Some(self.extension(spec, btf, options)?),
            _ => None,
        };
        let (kind, context) = match &extension {
            Some(Prepared { extends, context, .. }) => (extends.kind(), context.clone()),
            None => (program_type.kind(), self.context(spec, &program_type)?),
        };
        if let Some((map, reason)) = forbidden_use(kind, context.sleepable, &spec.insns, facts) {
            return Err(LoadError::MapUse {
                program: spec.name.clone(),
                map: map.name.clone(),
                reason,
            });
        }
        let helpers = tables::helpers::of(kind);
        let helpers = helpers.iter().map(|proto| offered(kind, proto)).collect();
        let lacking = |proto: &KfuncProto| kfuncs::by_name(&proto.name).is_none().then_some(NOT_HERE);
        let excluded = |proto: &KfuncProto| proto.excluded.or_else(|| lacking(proto));
        let own = self.btf();
        let mut known = ProgramFacts::new(object, spec, kind, context.clone(), helpers, excluded, Some(own.btf()));
        let (extends, main) = extension.map(|Prepared { extends, main, .. }| (extends, main)).unzip();
        if let Some(main) = main {
            known.replace(main);
        }
        let verified = known.verify(facts, log).map_err(|source| LoadError::Rejected {
            program: spec.name.clone(),
            source,
        })?;
        let tail_calls = extends.as_ref().map_or(&program_type, Extends::target_type);
        check_prog_arrays(spec, tail_calls, maps)?;
        let parts = ProgramParts {
            name: spec.name.clone(),
            section: spec.section.clone(),
            program_type,
            context,
            verified,
            maps: maps.iter().map(|map| Arc::clone(map)).collect(),
            kfuncs: called(spec),
            functions: spec.subprograms.clone(),
            btf: btf.cloned(),
            extends,
            types: Arc::clone(types),
            objects: self.objects(object, spec).map_err(|source| LoadError::Objects {
                program: spec.name.clone(),
                source,
            })?,
        };
        let program = self.inner().create_program(parts).map_err(|source| LoadError::Build {
            program: spec.name.clone(),
            source,
        })?;
        // What only the finished program tells.
        if let Some(extends) = program.extends() {
            let attachable = extends.original();
            let attachable = attachable.and_then(|(target, name)| function_for(&program, &target, name));
            attachable.map_err(|source| extension_error(spec, source))?;
        }
        Ok(program)
    }

    /// What an extension takes the place of.
    fn extension(
        &self,
        spec: &ProgramSpec,
        btf: Option<&Arc<Btf>>,
        options: &LoadOptions,
    ) -> Result<Prepared, LoadError> {
        let given = options.targets.get(&spec.name).ok_or(ExtensionError::NoTarget);
        let prepared = given.and_then(|(target, function)| {
            if target.runtime() != self.id() {
                let target = target.name().to_owned();
                return Err(ExtensionError::OtherRuntime { target });
            }
            prepare(spec, btf.map(|btf| &**btf), target, function.as_deref())
        });
        prepared.map_err(|source| extension_error(spec, source))
    }

    /// The structs that a program may allocate objects of, by id: those whose ids it has as constants.
    fn objects(&self, object: &ObjectSpec, spec: &ProgramSpec) -> std::io::Result<Vec<(TypeId, Arc<ObjectType>)>> {
        let allocates = spec.kfuncs.iter().any(|kfunc| &*kfunc.name == "bpf_obj_new_impl");
        let Some(btf) = object.btf.as_ref().filter(|_| allocates) else {
            return Ok(Vec::new());
        };
        let types = Describe::new(btf, self.btf().btf());
        let heap = self.inner().start_objects()?;
        let ids: BTreeSet<_> = constants(&spec.insns).map(TypeId).collect();
        let known = ids.into_iter().filter_map(|id| Some((id, types.object(heap, id)?)));
        known.map(|(id, ty)| Ok((id, ty?))).collect()
    }

    /// What the program is given.
    fn context(&self, spec: &ProgramSpec, program_type: &ProgramType) -> Result<ContextFacts, LoadError> {
        match program_type {
            ProgramType::Bound {
                kind: ProgramKind::Hook,
                target,
            } => self.host_context(target).map_err(|known| LoadError::Hook {
                program: spec.name.clone(),
                section: spec.section.clone(),
                known,
            }),
            // Objects among arguments are of the host's types, whatever the program is relocated against.
            ProgramType::Plain(_) | ProgramType::Bound { .. } | ProgramType::MapTrace(_) => Sort::of(spec.kind())
                .map_err(|reason| LoadError::Section {
                    program: spec.name.clone(),
                    section: spec.section.clone(),
                    reason,
                })?
                .context(program_type.target(), Some(self.btf().btf()))
                .map_err(|source| LoadError::Context {
                    program: spec.name.clone(),
                    section: spec.section.clone(),
                    source,
                }),
        }
    }
}

fn extension_error(spec: &ProgramSpec, source: ExtensionError) -> LoadError {
    LoadError::Extension {
        program: spec.name.clone(),
        section: spec.section.clone(),
        source,
    }
}

/// Why what the verifier knows, and user space could offer, is refused.
const NOT_HERE: &str = "the runtime does not have it";

/// The kernel functions that a program calls, by their BTF ids.
fn called(spec: &ProgramSpec) -> Vec<(i32, Kfunc)> {
    let called = spec.kfuncs.iter();
    called
        .filter_map(|called| Some((called.id, kfuncs::by_name(&called.name)?)))
        .collect()
}

/// The constants of a program.
fn constants(insns: &[Insn]) -> impl Iterator<Item = u32> {
    (0..insns.len()).filter_map(|pc| match decode(insns, pc) {
        Ok(Instruction::LoadImm64 {
            imm: Imm64::Value(value),
            ..
        }) => u32::try_from(value).ok(),
        Ok(Instruction::Alu {
            src: Operand::Imm(value),
            ..
        }) => u32::try_from(value).ok(),
        _ => None,
    })
}

/// Why programs at functions do not learn where these are.
const NO_ADDRESSES: &str = "functions of the host have names, no addresses";

/// A helper as it is here: what the runtime lacks is refused by name.
fn offered(kind: ProgramKind, proto: &HelperProto) -> HelperProto {
    let of_kprobes = proto.id == tables::helpers::number("bpf_get_func_ip");
    let has_registers = matches!(kind, ProgramKind::Kprobe | ProgramKind::KprobeSession);
    let lacking = match () {
        () if of_kprobes && !has_registers => Some(NO_ADDRESSES),
        () if !HELPERS.contains(&proto.id) => Some(NOT_HERE),
        () => None,
    };
    HelperProto {
        excluded: proto.excluded.or(lacking),
        ..*proto
    }
}

/// "hook/request, hook/reply".
fn hook_list(known: &[String]) -> String {
    if known.is_empty() {
        return "those of Linux".to_owned();
    }
    let sections: Vec<_> = known.iter().map(|name| format!("hook/{name}")).collect();
    sections.join(", ")
}
