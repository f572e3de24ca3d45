//! What depends on where an object is loaded: CO-RE relocations and externs.
//!
//! [`ObjectSpec::relocate`] takes a parsed object and what there is at the place ([`Target`]) and gives the object as it is
//! loaded there. Nothing in the object is trusted to fit together, so that objects may come from anywhere; what does not
//! fit is refused by name.
//!
//! A field, type or enumerator that the target lacks is no error, since programs test for it. The instruction that needs it is
//! *poisoned*, as libbpf does: it becomes a call of a helper that does not exist, which the verifier refuses if it can be
//! reached, and [`ProgramSpec::poisoned`](crate::ProgramSpec::poisoned) says what is missing.

mod error;
mod externs;
mod kconfig;
mod patch;

pub use error::{InsnError, OptionError, RelocateError};

use std::collections::HashSet;
use std::sync::Arc;

use hitless_btf::core;
use hitless_isa::Insn;

use crate::spec::{CalledKfunc, ObjectSpec, Poisoned, ProgramSpec};
use externs::Value;
use patch::Patched;

/// Number of the helper that poisoned instructions call: "bad relo", with the digits that there are.
pub const POISON: i32 = 0x0bad_2310;
/// Number of the helper that a call of a missing weak kfunc calls, plus the index of the extern.
pub const POISON_KFUNC: i32 = 2_002_000_000;

/// Where an object is loaded.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The types of the place; without them, objects that need any are refused.
    pub btf: Option<&'a core::Target>,
    /// Values of kernel configuration options by name, as they stand in a configuration file ("y", "\"text\"", "250"). Asked
    /// for `LINUX_HAS_BPF_COOKIE` and `LINUX_HAS_SYSCALL_WRAPPER` too, which are 0 if it does not know them.
    pub kconfig: &'a dyn Fn(&str) -> Option<String>,
    /// Addresses of symbols that BTF does not describe, by name.
    pub symbols: &'a dyn Fn(&str) -> Option<u64>,
    /// What `LINUX_KERNEL_VERSION` is: major << 16 | minor << 8 | patch.
    pub kernel_version: u32,
}

impl ObjectSpec {
    /// Whether it has anything that [`ObjectSpec::relocate`] would resolve.
    #[must_use]
    pub fn needs_relocation(&self) -> bool {
        let open = |program: &ProgramSpec| !(program.core_relos.is_empty() && program.extern_refs.is_empty());
        !self.externs.is_empty() || self.programs.iter().any(|program| program.autoload && open(program))
    }

    /// Resolves what depends on where the object is loaded: CO-RE relocations and externs. Programs that are not to be loaded
    /// ([`ProgramSpec::autoload`]) stay as they are, so that they cannot fail either.
    ///
    /// # Errors
    /// [`RelocateError`] names the first thing that cannot be resolved.
    pub fn relocate(&self, target: &Target<'_>) -> Result<ObjectSpec, RelocateError> {
        let mut object = self.clone();
        let values = externs::resolve(&mut object, target)?;
        let mut resolver = self
            .btf
            .as_ref()
            .zip(target.btf)
            .map(|(local, target)| core::Resolver::new(local, target));
        let mut texts = Texts::default();
        for program in object.programs.iter_mut().filter(|program| program.autoload) {
            relocate_core(program, resolver.as_mut(), &mut texts)?;
            refer_to_externs(program, self, &values, &mut texts)?;
            program.poisoned.sort_by_key(|poisoned| poisoned.pc);
        }
        Ok(object)
    }
}

fn relocate_core(
    program: &mut ProgramSpec,
    mut resolver: Option<&mut core::Resolver<'_>>,
    texts: &mut Texts,
) -> Result<(), RelocateError> {
    for relocation in std::mem::take(&mut program.core_relos) {
        let pc = relocation.pc;
        let resolver = resolver.as_mut().ok_or_else(|| RelocateError::NoTypes {
            program: program.name.clone(),
            pc,
        })?;
        let resolution = resolver
            .resolve(&relocation.relo)
            .map_err(|source| RelocateError::Core {
                program: program.name.clone(),
                pc,
                source,
            })?;
        let patched = patch::core(&mut program.insns, pc, &resolution).map_err(|source| RelocateError::Insn {
            program: program.name.clone(),
            pc,
            what: resolution.what.clone(),
            source,
        })?;
        if let Patched::Poisoned { missing } = patched {
            let missing = texts.shared(missing);
            program.poisoned.push(Poisoned { pc, missing });
        }
    }
    Ok(())
}

fn refer_to_externs(
    program: &mut ProgramSpec,
    object: &ObjectSpec,
    values: &[Value],
    texts: &mut Texts,
) -> Result<(), RelocateError> {
    for reference in std::mem::take(&mut program.extern_refs) {
        let (pc, index) = (reference.pc, reference.index);
        let Some((symbol, value)) = object.externs.get(index).zip(values.get(index)) else {
            return Err(RelocateError::UnknownExtern {
                program: program.name.clone(),
                pc,
                index,
                count: object.externs.len(),
            });
        };
        let is_call = program.insns.get(pc).is_some_and(patch::is_call);
        let patched = if is_call {
            patch::call(&mut program.insns, pc, index, *value)
        } else {
            patch::address(&mut program.insns, pc, *value)
        };
        patched.map_err(|source| RelocateError::Insn {
            program: program.name.clone(),
            pc,
            what: symbol.name.clone(),
            source,
        })?;
        if let (true, Value::Type(id)) = (is_call, *value) {
            let id = id.0.cast_signed();
            if program.kfuncs.iter().all(|kfunc| kfunc.id != id) {
                let name = core::essential(&symbol.name).into();
                program.kfuncs.push(CalledKfunc { id, name });
            }
        }
        if is_call && *value == Value::Missing {
            program.poisoned.push(Poisoned {
                pc,
                missing: texts.shared(format!("kfunc {}", symbol.name)),
            });
        }
    }
    Ok(())
}

/// What is missing, each text kept once: many instructions may need the same.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(text.as_str()) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

/// A call of the helper with this number.
fn call_of(imm: i32) -> Insn {
    Insn {
        code: patch::CALL,
        imm,
        ..Insn::default()
    }
}
