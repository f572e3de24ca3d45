//! An instruction in words, with the names that only its object knows.

use hitless_btf::{CoreRelo, Type, core};
use hitless_isa::{CallTarget, Imm64, Instruction, disasm};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

/// The names that instructions of a program refer to.
pub(super) struct Annotator<'a> {
    object: &'a ObjectSpec,
    /// The program before it was relocated, and what is listed.
    original: &'a ProgramSpec,
    listed: &'a ProgramSpec,
}

impl<'a> Annotator<'a> {
    /// Of the program with this index. Relocation moves no instruction.
    pub(super) fn new(object: &'a ObjectSpec, relocated: Option<&'a ObjectSpec>, index: usize) -> Annotator<'a> {
        Annotator {
            object,
            original: &object.programs[index],
            listed: &relocated.unwrap_or(object).programs[index],
        }
    }

    /// The program that is listed.
    pub(super) fn program(&self) -> &'a ProgramSpec {
        self.listed
    }

    /// The instruction at slot `pc`, with names of maps, functions and externs.
    pub(super) fn text(&self, pc: usize, instruction: &Instruction) -> String {
        let plain = disasm::text(instruction, &disasm::helper_name).to_string();
        let map = |index: u32| self.object.maps.get(index as usize).map(|map| &*map.name);
        let open = self.extern_name(self.listed, pc);
        let named = match *instruction {
            Instruction::Call(CallTarget::Kfunc { .. }) => open.map(|name| format!("call {name}")),
            Instruction::Call(CallTarget::Subprog(off)) => self.function(pc, off).map(|name| format!("{plain}#{name}")),
            Instruction::LoadImm64 { dst, imm } => match (open, imm) {
                (Some(name), _) => Some(format!("{dst} = ksym[{name}]")),
                (None, Imm64::MapIdx(index)) => map(index).map(|name| format!("{dst} = map[{name}]")),
                (None, Imm64::MapValueIdx { index, off }) => {
                    map(index).map(|name| format!("{dst} = map[{name}][0]+{off}"))
                }
                (None, Imm64::Func(off)) => self.function(pc, off).map(|name| format!("{plain}#{name}")),
                _ => None,
            },
            _ => None,
        };
        named.unwrap_or(plain)
    }

    /// The function that starts `off` slots after the one behind `pc`.
    fn function(&self, pc: usize, off: i32) -> Option<&str> {
        let start = usize::try_from(i64::try_from(pc).ok()? + 1 + i64::from(off)).ok()?;
        let functions = &self.listed.subprograms;
        let function = functions.binary_search_by_key(&start, |function| function.start).ok()?;
        Some(&functions[function].name)
    }

    /// The extern that the instruction at slot `pc` refers to.
    fn extern_name(&self, program: &ProgramSpec, pc: usize) -> Option<&str> {
        let found = program
            .extern_refs
            .binary_search_by_key(&pc, |reference| reference.pc)
            .ok()?;
        Some(&self.object.externs.get(program.extern_refs[found].index)?.name)
    }

    /// What else there is to say about the instruction at slot `pc`.
    pub(super) fn notes(&self, pc: usize, instruction: Option<&Instruction>) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(Instruction::LoadImm64 {
            imm: Imm64::MapValueIdx { index, off },
            ..
        }) = instruction
        {
            let map = self.object.maps.get(*index as usize);
            notes.extend(map.and_then(|map| self.variable(map, *off)));
        }
        if self.extern_name(self.listed, pc).is_none() {
            notes.extend(self.extern_name(self.original, pc).map(str::to_owned));
        }
        let relos = &self.original.core_relos;
        let relos = relos[relos.partition_point(|relo| relo.pc < pc)..].iter();
        notes.extend(
            relos
                .take_while(|relo| relo.pc == pc)
                .map(|relo| self.core_relo(&relo.relo)),
        );
        let poisoned = &self.listed.poisoned;
        let poisoned = poisoned[poisoned.partition_point(|poisoned| poisoned.pc < pc)..].iter();
        let poisoned = poisoned.take_while(|poisoned| poisoned.pc == pc);
        notes.extend(poisoned.map(|poisoned| format!("must not run: there is no {}", poisoned.missing)));
        notes
    }

    /// The variable at an offset of global data.
    fn variable(&self, map: &MapSpec, off: u32) -> Option<String> {
        let btf = self.object.btf.as_ref()?;
        map.data.as_ref()?;
        let Type::Datasec(section) = btf.get(map.value_type?)? else {
            return None;
        };
        let after = section.vars.partition_point(|var| var.offset <= off);
        let entry = section.vars.get(after.checked_sub(1)?)?;
        let inside = off - entry.offset;
        let name = btf.get(entry.ty)?.name();
        match inside {
            0 => Some(name.to_owned()),
            _ if inside < entry.size => Some(format!("{name}+{inside}")),
            _ => None,
        }
    }

    /// A relocation, in libbpf's words.
    fn core_relo(&self, relo: &CoreRelo) -> String {
        let kind =
            core::Relo::new(relo.kind).map_or_else(|| format!("kind {}", relo.kind), |kind| kind.name().to_owned());
        let what = match &self.object.btf {
            Some(btf) => {
                core::describe(btf, relo).unwrap_or_else(|error| format!("{} ({error})", btf.type_name(relo.ty)))
            }
            None => "?".to_owned(),
        };
        format!("CO-RE <{kind}> {} {what} ({})", relo.ty, relo.access)
    }
}
