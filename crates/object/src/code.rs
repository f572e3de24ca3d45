//! Programs: each with the subprograms that it reaches, as one stream.
//!
//! Functions stand in the order in which libbpf puts them: the program, then depth first what it calls, in the order of the
//! calls, each where it is met first; last its exception callback (`btf_decl_tag("exception_callback:NAME")`), which the
//! kernel calls when the program throws, and what that calls. Each program has its own copy of the subprograms, as the verifier of the kernel looks
//! at programs one by one. An object can thus describe much more than it holds; [`Budget`] bounds that.

use std::collections::{BTreeMap, HashMap};

use hitless_btf::{Btf, BtfExt, Type, TypeId};
use hitless_isa::Insn;

use crate::arena::ArenaData;
use crate::data::DataMap;
use crate::debug::DebugInfo;
use crate::elf::Elf;
use crate::error::ObjectError;
use crate::externs::Externs;
use crate::functions::{Function, functions};
use crate::maps::DeclaredMap;
use crate::reloc::{Relocated, Relocator};
use crate::spec::{CoreRelocation, ExternRef, Line, ProgramSpec, Subprogram};

/// Most instruction slots of all programs of an object together, their copies of subprograms included.
pub const MAX_INSNS: usize = 4 << 20;

/// The programs of an object.
pub(crate) struct Programs {
    /// By section and offset.
    pub(crate) specs: Vec<ProgramSpec>,
    /// Index of each program, by section and offset in bytes.
    by_place: BTreeMap<(usize, u64), usize>,
}

impl Programs {
    /// Index of the program that starts at this offset (in bytes) of this section.
    pub(crate) fn at(&self, section: usize, offset: u64) -> Option<usize> {
        self.by_place.get(&(section, offset)).copied()
    }

    /// Index of the first program of this section.
    pub(crate) fn first(&self, section: usize) -> Option<usize> {
        let mut places = self.by_place.range((section, 0)..=(section, u64::MAX));
        places.next().map(|(_, &index)| index)
    }
}

/// Builds every program of the object.
pub(crate) fn programs(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    ext: Option<&BtfExt>,
    declared: &[DeclaredMap],
    data: &[DataMap],
    arena: Option<ArenaData>,
    externs: &Externs,
) -> Result<Programs, ObjectError> {
    let functions = functions(elf)?;
    let mut linker = Linker {
        elf,
        functions: &functions,
        relocator: Relocator::new(elf, btf, &functions, declared, data, arena, externs)?,
        debug: DebugInfo::new(elf, ext)?,
        exception_callbacks: btf.map(exception_callbacks).unwrap_or_default(),
        done: functions.iter().map(|_| None).collect(),
        placed: vec![Placed::default(); functions.len()],
        programs: 0,
        budget: Budget::new(elf.len),
    };
    let entries: Vec<usize> = (0..functions.len()).filter(|&index| functions[index].entry).collect();
    let place = |&index: &usize| (functions[index].section, (functions[index].start * Insn::SIZE) as u64);
    Ok(Programs {
        specs: entries
            .iter()
            .map(|&index| linker.link(index))
            .collect::<Result<_, _>>()?,
        by_place: entries.iter().map(place).zip(0..).collect(),
    })
}

/// The exception callbacks that functions name.
fn exception_callbacks(btf: &Btf) -> HashMap<TypeId, &str> {
    btf.types()
        .filter_map(|(_, ty)| match ty {
            Type::DeclTag(tag) if tag.component.is_none() => {
                Some((tag.ty, tag.tag.as_str().strip_prefix("exception_callback:")?))
            }
            _ => None,
        })
        .collect()
}

/// How much all programs together may still take.
struct Budget {
    insns: usize,
    bytes: usize,
    max_bytes: usize,
}

impl Budget {
    /// What programs may take in bytes, whatever the size of the file: two programs as large as the kernel takes them.
    const MIN_BYTES: usize = 16 << 20;
    /// How many times the size of the file they may take, if that is more.
    const COPIES: usize = 32;

    fn new(file_len: usize) -> Budget {
        let max_bytes = file_len.saturating_mul(Budget::COPIES).max(Budget::MIN_BYTES);
        Budget {
            insns: MAX_INSNS,
            bytes: max_bytes,
            max_bytes,
        }
    }

    fn take(&mut self, insns: usize, bytes: usize) -> Result<(), ObjectError> {
        let refused = |what: &str, found: usize, max: usize| ObjectError::TooLarge {
            what: format!("{what} of all programs with their copies of subprograms"),
            found: found as u64,
            max: max as u64,
        };
        self.insns = self
            .insns
            .checked_sub(insns)
            .ok_or_else(|| refused("instructions", MAX_INSNS - self.insns + insns, MAX_INSNS))?;
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or_else(|| refused("bytes", self.max_bytes - self.bytes + bytes, self.max_bytes))?;
        Ok(())
    }
}

/// Where a function is in the program that took it last.
#[derive(Clone, Copy, Default)]
struct Placed {
    /// The program, counted from 1.
    program: usize,
    start: usize,
}

struct Linker<'a, 'e> {
    elf: &'e Elf<'a>,
    functions: &'e [Function<'a>],
    relocator: Relocator<'a, 'e>,
    debug: DebugInfo<'e>,
    /// Names of functions, by the program ([`hitless_btf::Func`]) that names them.
    exception_callbacks: HashMap<TypeId, &'e str>,
    /// Functions already relocated.
    done: Vec<Option<Relocated>>,
    placed: Vec<Placed>,
    /// How many programs have been begun.
    programs: usize,
    budget: Budget,
}

impl Linker<'_, '_> {
    /// Puts a program and the functions it reaches one after another, and resolves the calls between them.
    fn link(&mut self, main: usize) -> Result<ProgramSpec, ObjectError> {
        let section = self.elf.sections[self.functions[main].section].name;
        let mut program = ProgramSpec {
            name: self.functions[main].name.into(),
            section: section.strip_prefix('?').unwrap_or(section).into(),
            autoload: !section.starts_with('?'),
            ..ProgramSpec::default()
        };
        self.programs += 1;
        self.reach(&mut program, main)?;
        if let Some(callback) = self.exception_callback(main)?
            && self.placed[callback].program != self.programs
        {
            self.reach(&mut program, callback)?;
        }
        Ok(program)
    }

    /// The function that is called when a program throws.
    fn exception_callback(&self, main: usize) -> Result<Option<usize>, ObjectError> {
        let function = &self.functions[main];
        let Some(name) = self
            .debug
            .func(function)
            .and_then(|ty| self.exception_callbacks.get(&ty))
        else {
            return Ok(None);
        };
        let found = (self.functions.iter()).position(|other| other.name == *name && other.global && !other.entry);
        let reason = || format!("exception callback {name:?}, which is no global function of the object");
        found.map(Some).ok_or_else(|| ObjectError::Function {
            function: function.name.into(),
            section: self.elf.sections[function.section].name.into(),
            reason: reason(),
        })
    }

    /// Appends a function and those it reaches that are not there yet, and resolves the calls between them.
    fn reach(&mut self, program: &mut ProgramSpec, root: usize) -> Result<(), ObjectError> {
        self.place(program, root)?;
        // Functions whose calls are being followed, and the call that comes next.
        let mut callers = vec![(root, 0)];
        while let Some((caller, next)) = callers.last_mut() {
            let calls = self.done[*caller]
                .as_ref()
                .map_or(&[][..], |relocated| &relocated.calls);
            let Some(call) = calls.get(*next) else {
                callers.pop();
                continue;
            };
            let (slot, function) = (self.placed[*caller].start + call.slot, call.function);
            *next += 1;
            if self.placed[function].program != self.programs {
                self.place(program, function)?;
                callers.push((function, 0));
            }
            // Relative to the slot after the instruction, for calls and for addresses of functions.
            let distance = self.placed[function].start as i64 - slot as i64 - 1;
            program.insns[slot].imm = distance as i32;
        }
        Ok(())
    }

    /// Appends a function to a program.
    fn place(&mut self, program: &mut ProgramSpec, index: usize) -> Result<(), ObjectError> {
        let function = &self.functions[index];
        if self.done[index].is_none() {
            self.done[index] = Some(self.relocator.relocate(function)?);
        }
        let Some(relocated) = &self.done[index] else {
            return Ok(());
        };
        let base = program.insns.len();
        let lines = self.debug.lines(function, base);
        let core_relos = self.debug.core_relos(function, base);
        let bytes = relocated.insns.len() * size_of::<Insn>()
            + relocated.externs.len() * size_of::<ExternRef>()
            + lines.len() * size_of::<Line>()
            + core_relos.len() * size_of::<CoreRelocation>()
            + function.name.len()
            + size_of::<Subprogram>();
        self.budget.take(function.len, bytes)?;
        self.placed[index] = Placed {
            program: self.programs,
            start: base,
        };
        program.insns.extend_from_slice(&relocated.insns);
        program.lines.extend(lines);
        program.core_relos.extend(core_relos);
        let moved = |extern_ref: &ExternRef| ExternRef {
            pc: base + extern_ref.pc,
            ..*extern_ref
        };
        program.extern_refs.extend(relocated.externs.iter().map(moved));
        program.subprograms.push(Subprogram {
            name: function.name.into(),
            start: base,
            func: self.debug.func(function),
            global: function.global || base == 0,
        });
        Ok(())
    }
}
