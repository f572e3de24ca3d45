//! One program by itself, with maps that are there already: what `bpf(2)` loads.

use std::sync::Arc;

use hitless_btf::{Btf, Type, TypeId};
use hitless_isa::{CallTarget, Instruction, decode};
use hitless_object::{CalledKfunc, ObjectSpec, ProgramSpec};
use hitless_verifier::{Log, MapFacts};

use crate::load::LoadError;
use crate::load_options::LoadOptions;
use crate::map::MapHandle;
use crate::program::Program;
use crate::runtime::Runtime;

impl Runtime {
    /// Loads the first program of an object that describes no maps: what its instructions refer to by index are `maps`. The
    /// kernel functions that it calls are known by their ids in the runtime's [types](Self::btf). What the verifier has to say goes
    /// to the log.
    ///
    /// # Errors
    /// [`LoadError`], by variant; then nothing stays behind.
    ///
    /// # Panics
    /// If the object has no program.
    pub fn load_program(
        &self,
        object: &ObjectSpec,
        maps: &[MapHandle],
        options: &LoadOptions,
        log: Option<&mut Log>,
    ) -> Result<Arc<Program>, LoadError> {
        let types = options.types_or(self.btf());
        let object = &*options.relocate_against(object, &types)?;
        let btf = object.btf.clone().map(Arc::new);
        let program = object.programs.first().expect("an object with a program");
        let program = ProgramSpec {
            kfuncs: called(program, types.btf()),
            ..program.clone()
        };
        let facts: Vec<MapFacts> = maps.iter().map(|map| map.facts()).collect();
        self.verify_and_build((object, btf.as_ref()), &program, (maps, &facts), (options, &types), log)
    }
}

/// The kernel functions that instructions call, each once.
fn called(program: &ProgramSpec, types: &Btf) -> Vec<CalledKfunc> {
    let mut called: Vec<CalledKfunc> = Vec::new();
    for pc in 0..program.insns.len() {
        let Ok(Instruction::Call(CallTarget::Kfunc { id, .. })) = decode(&program.insns, pc) else {
            continue;
        };
        if called.iter().any(|known| known.id == id) {
            continue;
        }
        let found = u32::try_from(id).ok().and_then(|id| types.get(TypeId(id)));
        if let Some(Type::Func(function)) = found {
            let name = (*function.name).into();
            called.push(CalledKfunc { id, name });
        }
    }
    called
}
