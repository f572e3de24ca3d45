//! Extensions: programs that take the place of a global function of another program (`freplace`).
//!
//! An extension is verified as a global function is: for any arguments of its prototype, which has to be that of the function
//! that it takes the place of. It is given the context of the other program, the target, and may call what that may. So
//! whatever was proved of the target stays true, since of a call of a global function nothing was taken for granted but its
//! types, and that it leaves the packet where it is if the original does.
//!
//! Attaching compiles the target anew, with a stub in place of the function ([`hitless_jit::Op::Replaced`]), and has that form
//! run; whoever called the function gets to the stub, which makes the extension the program that runs until it returns. Which
//! extension that is, is a word of the link's ([`ReplacedFunction`]): replacing it by another costs no more than a store, so
//! an upgrade does it for all links at once. As long as nothing is attached, the target knows nothing of all this.
//!
//! What Linux refuses is refused with its errno and its words (`bpf_check_attach_target`, `btf_check_func_type_match` of
//! 6.18), but for prog arrays: an extended program may be in one, since a run counts its tail calls wherever they are made. One
//! difference is in what is accepted: pointers to anything but the context are no arguments of extensions here.

mod attach;
mod prototype;

use std::sync::{Arc, Weak};

use hitless_btf::{Btf, TypeId};
use hitless_jit::{Arg, Callee, Replaced};
use hitless_object::{ProgramSpec, Subprogram};
use hitless_verifier::{ContextFacts, FuncArg, GlobalFunc, ProgramKind};

use crate::env::RunEnv;
use crate::func::global_func;
use crate::primitive::Ordering::{Acquire, Release};
use crate::primitive::atomic::AtomicPtr;
use crate::program::Program;
use crate::program_type::ProgramType;

/// Why a program cannot take the place of a function of another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// `-EINVAL`: it was not said which program is meant.
    #[error("no target program is given: name it with LoadOptions::attach_target")]
    NoTarget,
    /// `-EINVAL`: neither the section nor the caller says which function is meant.
    #[error("no function is named: SEC(\"freplace/FUNCTION\")")]
    Unnamed,
    /// `-EINVAL`: the target belongs to another runtime, or is gone.
    #[error("target program {target} is not of this runtime, or is gone")]
    OtherRuntime {
        /// The target.
        target: String,
    },
    /// `-EINVAL`: the target is an extension itself.
    #[error("target program {target}: Cannot recursively attach")]
    Recursive {
        /// The target.
        target: String,
    },
    /// `-EINVAL`: programs that observe are not extended.
    #[error("target program {target}: Cannot extend {program_type}")]
    Observer {
        /// The target.
        target: String,
        /// Its type.
        program_type: String,
    },
    /// `-EINVAL`: the target is of another type than the one that the extension was verified for.
    #[error("target program {target} is of type {found}, expected {expected}")]
    TargetType {
        /// The target.
        target: String,
        /// Its type.
        found: String,
        /// That of the one that the extension was loaded for.
        expected: String,
    },
    /// `-EINVAL`: the target has no such function.
    #[error("target program {target}: Subprog {function} doesn't exist")]
    NoFunction {
        /// The target.
        target: String,
        /// The function.
        function: String,
    },
    /// `-EINVAL`: the function is static, or hidden, so callers rely on more than its prototype.
    #[error("function {function}: Cannot replace static functions")]
    Static {
        /// The function.
        function: String,
    },
    /// `-EINVAL`: the prototypes differ, or one of them is not known.
    #[error("{reason}")]
    Prototype {
        /// How, in the kernel's words.
        reason: String,
    },
    /// `-EINVAL`: the extension may move the packet, on whose place callers of the function rely.
    #[error("Extension program changes packet data, while original does not")]
    ChangesPacket,
    /// `-EACCES`: the extension accesses more of the context than the target does, which is checked when that is run.
    #[error("the extension accesses {found} bytes of the context, expected at most {expected} as the target does")]
    Extent {
        /// How many the extension does.
        found: usize,
        /// How many the target does.
        expected: usize,
    },
}

impl ExtensionError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            ExtensionError::Extent { .. } => libc::EACCES,
            _ => libc::EINVAL,
        }
    }
}

/// What an extension was loaded for.
pub(crate) struct Extends {
    target: Weak<Program>,
    function: String,
    kind: ProgramKind,
    target_type: ProgramType,
    arguments: usize,
}

impl Extends {
    /// The kind of the target.
    pub(crate) fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// The type of the target.
    pub(crate) fn target_type(&self) -> &ProgramType {
        &self.target_type
    }

    /// How many arguments the function has.
    pub(crate) fn arguments(&self) -> usize {
        self.arguments
    }

    /// The target and the function that it was loaded for.
    pub(crate) fn original(&self) -> Result<(Arc<Program>, &str), ExtensionError> {
        let gone = || ExtensionError::OtherRuntime {
            target: self.target_type.to_string(),
        };
        Ok((self.target.upgrade().ok_or_else(gone)?, &self.function))
    }
}

/// A function of a program whose place an extension takes.
pub(crate) struct ReplacedFunction {
    name: String,
    ty: Option<TypeId>,
    subprog: usize,
    arguments: usize,
    /// The extension, which the link holds.
    program: AtomicPtr<Program>,
}

impl ReplacedFunction {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its type, in the target's BTF.
    pub(crate) fn ty(&self) -> Option<TypeId> {
        self.ty
    }

    /// Which of the subprograms it is.
    pub(crate) fn subprog(&self) -> usize {
        self.subprog
    }

    /// What takes its place, for the length of a run.
    pub(crate) fn program(&self) -> &Program {
        // SAFETY: the link that it is of holds the program, and whoever takes another, or detaches it, holds what it was until
        // a grace period has passed.
        unsafe { &*self.program.load(Acquire) }
    }

    /// Has another extension take its place. The caller holds the one before for a grace period.
    pub(crate) fn set(&self, program: &Arc<Program>) {
        self.program.store(Arc::as_ptr(program).cast_mut(), Release);
    }
}

/// What the target is compiled with.
pub(crate) fn replaced(function: &Arc<ReplacedFunction>) -> Replaced {
    let address = Arc::as_ptr(function).expose_provenance() as u64;
    // SAFETY: the function takes the environment and the address of what the compiled form of the target holds.
    let callee = unsafe { Callee::function(enter as *const (), &[Arg::Env, Arg::Const(address)]) };
    Replaced {
        subprog: function.subprog,
        args: function.arguments,
        callee,
    }
}

/// Called where the function is entered.
///
/// # Safety
/// `function` is there as long as the run.
unsafe extern "C" fn enter(env: &mut RunEnv<'_>, function: *const ReplacedFunction) -> u64 {
    // SAFETY: as for this function.
    let function = unsafe { &*function };
    env.replace(function.program())
}

/// What the verifier is told of an extension besides what it is told of every program.
pub(crate) struct Prepared {
    pub(crate) extends: Extends,
    /// The context of the target.
    pub(crate) context: ContextFacts,
    /// What it takes.
    pub(crate) main: GlobalFunc,
}

/// Looks at whether a program of an object, with these types, can take the place of a function of `target`: all that can be
/// said before it is verified.
pub(crate) fn prepare(
    spec: &ProgramSpec,
    btf: Option<&Btf>,
    target: &Arc<Program>,
    function: Option<&str>,
) -> Result<Prepared, ExtensionError> {
    check_target(target)?;
    let section = spec.kind();
    let named = match section {
        hitless_object::SectionKind::Program(section) => section.target,
        _ => None,
    };
    let name = function.or(named).ok_or(ExtensionError::Unnamed)?;
    let (_, place) = function_of(target, name)?;
    let Some(main) = spec.subprograms.first() else {
        return Err(prototype::missing(&spec.name));
    };
    prototype::compare((btf, main), (target.btf().map(|btf| &**btf), place))?;
    let context = ContextFacts {
        sleepable: false,
        return_range: None,
        returns_nothing: false,
        ..target.context().clone()
    };
    let main = global_func(btf, main, &context.name, None);
    let args = match &main.args {
        Ok(args) => args,
        Err(reason) => return Err(ExtensionError::Prototype { reason: reason.clone() }),
    };
    let is_memory = |arg: &FuncArg| !matches!(arg, FuncArg::Scalar | FuncArg::Context);
    if let Some(index) = args.iter().position(is_memory) {
        let reason = format!("arg{index} in {}() is not a pointer to context", main.name);
        return Err(ExtensionError::Prototype { reason });
    }
    Ok(Prepared {
        extends: Extends {
            target: Arc::downgrade(target),
            function: name.to_owned(),
            kind: target.program_type().kind(),
            target_type: target.program_type().clone(),
            arguments: args.len(),
        },
        context,
        main,
    })
}

/// The function of this name whose place `program` may take in `target`; both are loaded.
pub(crate) fn function_for(
    program: &Arc<Program>,
    target: &Program,
    name: &str,
) -> Result<Arc<ReplacedFunction>, ExtensionError> {
    let extends = program.extends().ok_or(ExtensionError::NoTarget)?;
    if program.runtime() != target.runtime() {
        return Err(ExtensionError::OtherRuntime {
            target: target.name().to_owned(),
        });
    }
    check_target(target)?;
    if *target.program_type() != extends.target_type {
        return Err(ExtensionError::TargetType {
            target: target.name().to_owned(),
            found: target.program_type().to_string(),
            expected: extends.target_type.to_string(),
        });
    }
    let (subprog, place) = function_of(target, name)?;
    let Some(main) = program.functions().first() else {
        return Err(prototype::missing(program.name()));
    };
    let types = |program: &Program| program.btf().cloned();
    let (own, others) = (types(program), types(target));
    prototype::compare((own.as_deref(), main), (others.as_deref(), place))?;
    let changes = |program: &Program, subprog: usize| program.verified().subprogs[subprog].changes_packet;
    if changes(program, 0) && !changes(target, subprog) {
        return Err(ExtensionError::ChangesPacket);
    }
    let (found, expected) = (program.context_extent(), target.context_extent());
    if found > expected {
        return Err(ExtensionError::Extent { found, expected });
    }
    Ok(Arc::new(ReplacedFunction {
        name: name.to_owned(),
        ty: place.func,
        subprog,
        arguments: extends.arguments,
        program: AtomicPtr::new(Arc::as_ptr(program).cast_mut()),
    }))
}

fn check_target(target: &Program) -> Result<(), ExtensionError> {
    let name = || target.name().to_owned();
    match target.program_type().kind() {
        ProgramKind::Ext => Err(ExtensionError::Recursive { target: name() }),
        ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::MapTrace | ProgramKind::Iter => {
            Err(ExtensionError::Observer {
                target: name(),
                program_type: target.program_type().to_string(),
            })
        }
        _ => Ok(()),
    }
}

/// The function with this name, and which subprogram it is.
fn function_of<'t>(target: &'t Program, name: &str) -> Result<(usize, &'t Subprogram), ExtensionError> {
    let mut functions = target.functions().iter();
    let found = functions.find(|function| function.name == name);
    let subprog = found.and_then(|function| {
        let mut subprogs = target.verified().subprogs.iter();
        subprogs.position(|subprog| subprog.start == function.start)
    });
    let (Some(found), Some(subprog)) = (found, subprog) else {
        return Err(ExtensionError::NoFunction {
            target: target.name().to_owned(),
            function: name.to_owned(),
        });
    };
    if !found.global {
        return Err(ExtensionError::Static {
            function: name.to_owned(),
        });
    }
    Ok((subprog, found))
}
