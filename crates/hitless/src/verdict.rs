//! What the verifier says of an object's programs, whether or not the runtime can host them.

use hitless_btf::{Btf, Type, TypeId};
use hitless_isa::{Imm64, Insn, Instruction, decode};
use hitless_object::{ObjectSpec, ProgramSpec, RelocateError};
use hitless_verifier::{
    ContextFacts, HelperProto, KfuncProto, Log, LogLevel, MapFacts, ProgramKind, Rejection, Requirement, Stats,
    Verified, VerifierError, tables,
};

use hitless_verifier::tables::program_types::ContextError;

use crate::context::facts_of;
use crate::facts::{ProgramFacts, Sort, forbidden_use, is_gpl_compatible, map_facts, target, used_maps};
use crate::header::hooks_of;
use crate::load_options::LoadOptions;

/// The most of a log that is kept: as much as libbpf gives the kernel at the most.
const LOG_LIMIT: usize = 16 << 20;

/// What is verified, and against what.
///
/// # Examples
/// ```
/// use hitless::{LoadOptions, LogLevel, VerifyOptions};
///
/// # fn verify(object: &hitless_object::ObjectSpec) -> Result<(), hitless::VerifyError> {
/// // The program `count_flows`, as Linux would verify it.
/// let options = VerifyOptions::new(LoadOptions::new()).program("count_flows").kernel(true);
/// for verdict in hitless::verify(object, &options)? {
///     println!("{}: {}", verdict.program, verdict.result.is_ok());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    load: LoadOptions,
    level: LogLevel,
    program: Option<String>,
    kernel: bool,
}

impl VerifyOptions {
    /// Verifies all programs that would be loaded in this way. Maps that replace others do not count.
    #[must_use]
    pub fn new(load: LoadOptions) -> VerifyOptions {
        VerifyOptions {
            load,
            ..VerifyOptions::default()
        }
    }

    /// How much the log tells; nothing by default.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> VerifyOptions {
        self.level = level;
        self
    }

    /// Verifies the program with this name only, even if it would not be loaded by default.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> VerifyOptions {
        self.program = Some(name.into());
        self
    }

    /// Takes programs, maps and helpers that only the kernel can offer, too. By default these are refused by name.
    #[must_use]
    pub fn kernel(mut self, kernel: bool) -> VerifyOptions {
        self.kernel = kernel;
        self
    }
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The object needs something that does not exist here.
    #[error(transparent)]
    Relocate(#[from] RelocateError),
    /// There cannot be such a map.
    #[error("map {map}: {reason}")]
    Map {
        /// The map.
        map: String,
        /// Why.
        reason: String,
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
    /// The program is for a hook of an application that there is not, or whose context is none.
    #[error("program {program}: section {section}: {reason}")]
    Hook {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// Why.
        reason: String,
    },
    /// User space cannot host such programs.
    #[error("program {program}: programs in section {section} cannot run in user space: {reason}")]
    ExcludedProgram {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// Why.
        reason: &'static str,
    },
    /// The program uses a map of a type that user space cannot offer.
    #[error("program {program}: map {map}: there are no maps of type {map_type} in user space: {reason}")]
    ExcludedMap {
        /// The program.
        program: String,
        /// The map.
        map: String,
        /// Its type.
        map_type: &'static str,
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
    /// Functions of structs are for programs with a license compatible with the GPL.
    #[error(
        "program {program}: struct ops programs must have a GPL compatible license, \
         found {license:?}"
    )]
    License {
        /// The program.
        program: String,
        /// The license of the object.
        license: String,
    },
    /// The program takes the address of a variable that has none.
    #[error("program {program}: ldimm64 failed to find the address for kernel symbol '{symbol}'")]
    Symbol {
        /// The program.
        program: String,
        /// The variable.
        symbol: String,
    },
    /// The program throws exceptions, or has a function to catch them. They are not followed, with
    /// [`VerifyOptions::kernel`] neither.
    #[error("program {program}: exceptions are not available in user space: {reason}")]
    Exceptions {
        /// The program.
        program: String,
        /// Why.
        reason: &'static str,
    },
    /// The verifier refused the program.
    #[error("program {program}: the verifier refuses it")]
    Rejected {
        /// The program.
        program: String,
        /// Why.
        source: Rejection,
    },
}

impl VerifyError {
    /// Why user space cannot offer what the program needs, if it is refused for that.
    #[must_use]
    pub fn excluded(&self) -> Option<&str> {
        match self {
            VerifyError::ExcludedProgram { reason, .. }
            | VerifyError::ExcludedMap { reason, .. }
            | VerifyError::Exceptions { reason, .. } => Some(reason),
            VerifyError::Rejected { source, .. } => {
                let is_excluded = |error: &&VerifierError| {
                    matches!(
                        error.requirement,
                        Requirement::HostedHelper { .. } | Requirement::HostedKfunc
                    )
                };
                source.errors.iter().find(is_excluded).map(|error| error.found.as_str())
            }
            _ => None,
        }
    }
}

/// What came of verifying a program.
#[derive(Debug)]
pub struct Verdict {
    /// The program's name.
    pub program: String,
    /// Its section.
    pub section: String,
    /// What was proved, or why the program is refused.
    pub result: Result<Verified, VerifyError>,
    /// The verifier log, in the kernel's format.
    pub log: String,
}

impl Verdict {
    /// What the verification cost, if there was one.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        match &self.result {
            Ok(verified) => Some(verified.stats),
            Err(VerifyError::Rejected { source, .. }) => Some(source.stats),
            Err(_) => None,
        }
    }
}

/// Verifies programs of an object, each whether or not another is refused. What the runtime can host does not matter: all
/// types of programs and maps are verified, and all helpers are known.
///
/// # Errors
/// [`VerifyError`] if the object needs something that there is not, or has a map that cannot be.
pub fn verify(spec: &ObjectSpec, options: &VerifyOptions) -> Result<Vec<Verdict>, VerifyError> {
    let mut chosen = spec.clone();
    if let Some(name) = &options.program {
        for program in &mut chosen.programs {
            program.autoload = program.name == *name;
        }
    }
    let object = &*options.load.relocate(&chosen)?;
    let facts = |map| {
        map_facts(map, object.btf.as_ref(), Some(options.load.types().btf())).map_err(|reason| VerifyError::Map {
            map: map.name.clone(),
            reason,
        })
    };
    let maps: Vec<MapFacts> = object.maps.iter().map(facts).collect::<Result<_, _>>()?;
    let programs = object.programs.iter().filter(|program| program.autoload);
    let verdict = |program: &ProgramSpec| {
        let mut log = Log::new(options.level, LOG_LIMIT);
        let result = verify_program(object, program, &maps, options, &mut log);
        Verdict {
            program: program.name.clone(),
            section: program.section.clone(),
            result,
            log: log.text().to_owned(),
        }
    };
    Ok(programs.map(verdict).collect())
}

fn verify_program(
    object: &ObjectSpec,
    spec: &ProgramSpec,
    maps: &[MapFacts],
    options: &VerifyOptions,
    log: &mut Log,
) -> Result<Verified, VerifyError> {
    let sort = Sort::of(spec.kind()).map_err(|reason| VerifyError::Section {
        program: spec.name.clone(),
        section: spec.section.clone(),
        reason,
    })?;
    if !options.kernel {
        hosted(spec, sort.kind, maps)?;
    }
    if throws(object, spec) {
        return Err(VerifyError::Exceptions {
            program: spec.name.clone(),
            reason: tables::kfuncs::EXCEPTIONS,
        });
    }
    if let Some((map, reason)) = forbidden_use(sort.kind, sort.sleepable, &spec.insns, maps) {
        return Err(VerifyError::MapUse {
            program: spec.name.clone(),
            map: map.name.clone(),
            reason,
        });
    }
    if sort.kind == ProgramKind::StructOps && !is_gpl_compatible(&object.license) {
        return Err(VerifyError::License {
            program: spec.name.clone(),
            license: object.license.clone(),
        });
    }
    let types = options.load.types().btf();
    if let Some(symbol) = variables(&spec.insns, types).find(|name| options.load.lacks_symbol(name)) {
        return Err(VerifyError::Symbol {
            program: spec.name.clone(),
            symbol: symbol.to_owned(),
        });
    }
    let context = match (sort.kind, sort.target) {
        (ProgramKind::Hook, Some(name)) => host_context(spec, name, types)?,
        _ => {
            let target = target(object, spec, &sort);
            let context = sort.context(target.as_deref(), Some(types));
            context.map_err(|source| VerifyError::Context {
                program: spec.name.clone(),
                section: spec.section.clone(),
                source,
            })?
        }
    };
    let helpers = tables::helpers::of(sort.kind).iter().map(|proto| HelperProto {
        excluded: proto.excluded.filter(|_| !options.kernel),
        ..*proto
    });
    let excluded = |proto: &KfuncProto| proto.excluded.filter(|_| !options.kernel);
    ProgramFacts::new(
        object,
        spec,
        sort.kind,
        context,
        helpers.collect(),
        excluded,
        Some(types),
    )
    .verify(maps, Some(log))
    .map_err(|source| VerifyError::Rejected {
        program: spec.name.clone(),
        source,
    })
}

/// What programs are given at a hook of an application that these types are of.
fn host_context(spec: &ProgramSpec, hook: &str, types: &Btf) -> Result<ContextFacts, VerifyError> {
    let refused = |reason| VerifyError::Hook {
        program: spec.name.clone(),
        section: spec.section.clone(),
        reason,
    };
    let Some((_, context)) = hooks_of(types).find(|(name, _)| *name == hook) else {
        let known: Vec<_> = hooks_of(types).map(|(name, _)| format!("hook/{name}")).collect();
        return Err(refused(if known.is_empty() {
            "the types are those of no application with hooks of its own; give those of the one that the program is for"
                .into()
        } else {
            format!("the application has no such hook, only {}", known.join(", "))
        }));
    };
    facts_of(types, context).map_err(refused)
}

/// Whether the program throws exceptions or has a function to catch them.
fn throws(object: &ObjectSpec, spec: &ProgramSpec) -> bool {
    let main = spec.subprograms.first().and_then(|main| main.func);
    let catches = object.btf.as_ref().zip(main).is_some_and(|(btf, main)| {
        let mut tags = btf.decl_tags(main, None);
        tags.any(|tag| tag.starts_with("exception_callback:"))
    });
    catches || spec.kfuncs.iter().any(|kfunc| *kfunc.name == *"bpf_throw")
}

/// The host's variables that instructions take the address of, whether or not those are ever reached.
fn variables<'a>(insns: &'a [Insn], types: &'a Btf) -> impl Iterator<Item = &'a str> {
    (0..insns.len()).filter_map(|pc| match decode(insns, pc) {
        Ok(Instruction::LoadImm64 {
            imm: Imm64::BtfId { id, fd: 0 },
            ..
        }) => match types.get(TypeId(id as u32)) {
            Some(Type::Var(variable)) => Some(variable.name.as_str()),
            _ => None,
        },
        _ => None,
    })
}

/// Refuses what cannot be hosted in user space: the sort of program, and maps that it uses.
fn hosted(spec: &ProgramSpec, kind: ProgramKind, maps: &[MapFacts]) -> Result<(), VerifyError> {
    if let Some(reason) = tables::program_types::of(kind).excluded {
        return Err(VerifyError::ExcludedProgram {
            program: spec.name.clone(),
            section: spec.section.clone(),
            reason,
        });
    }
    for map in used_maps(&spec.insns).filter_map(|index| maps.get(index)) {
        let kinds = [Some(map.kind), map.inner.as_ref().map(|inner| inner.kind)];
        let mut types = kinds.into_iter().flatten().map(tables::map_types::of);
        if let Some((ty, reason)) = types.find_map(|ty| Some((ty, ty.excluded?))) {
            return Err(VerifyError::ExcludedMap {
                program: spec.name.clone(),
                map: map.name.clone(),
                map_type: ty.name,
                reason,
            });
        }
    }
    Ok(())
}
