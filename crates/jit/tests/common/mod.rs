//! Programs "verified" by decree, and an environment that takes notes.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::sync::Arc;

use hitless_isa::{CallTarget, Insn, Instruction, asm, decode};
use hitless_jit::interp::Interpreter;
use hitless_jit::native::Compiler;
use hitless_jit::{Code, Engine, Env, Image, LowerInput, Trap, Variant, lower};
use hitless_verifier::{ContextFacts, Facts, Region, Stats, Subprog, Verified};

/// Memory that the environment vouches for.
pub(crate) const MEMORY: Region = Region::ContextMemory { field: 0 };

pub(crate) fn assemble(text: &str) -> Vec<Insn> {
    asm::assemble(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

/// A program of which nothing is proved but that it may run, and access the stack and the environment's memory.
pub(crate) fn decreed(insns: Vec<Insn>) -> Verified {
    let mut starts = BTreeSet::from([0]);
    let mut facts = Facts::new(insns.len());
    let mut pc = 0;
    while pc < insns.len() {
        let instruction = decode(&insns, pc).expect("an instruction");
        if let Instruction::Call(CallTarget::Subprog(off)) = instruction {
            starts.insert((pc + 1).checked_add_signed(off as isize).expect("a target"));
        }
        facts.set_reachable(pc, true);
        facts.set_access(pc, &[Region::Stack, MEMORY]);
        pc += instruction.slots();
    }
    let ends = starts.iter().skip(1).copied().chain([insns.len()]);
    let subprogs = starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| Subprog {
            start,
            end,
            stack_depth: 512,
            clear_stack: false,
        })
        .collect();
    Verified {
        insns,
        facts,
        subprogs,
        call_depth: 1,
        combined_stack: 512,
        maps_updated: BTreeSet::new(),
        maps_stored: BTreeSet::new(),
        inner_maps_updated: BTreeSet::new(),
        inner_maps_stored: BTreeSet::new(),
        extents: Vec::new(),
        stats: Stats::default(),
    }
}

pub(crate) fn no_context() -> ContextFacts {
    ContextFacts {
        name: "none".to_owned(),
        size: 0,
        fields: Vec::new(),
        return_range: None,
        packet_writable: false,
        legacy_packet_access: false,
        sleepable: false,
        returns_nothing: false,
        writable: Vec::new(),
    }
}

pub(crate) fn lowered(verified: &Verified, variant: Variant) -> Image {
    lower(LowerInput {
        verified,
        context: &no_context(),
        maps: &[],
        variant,
    })
    .expect("lowers")
}

pub(crate) fn compiled(image: Image) -> Box<dyn Code> {
    Interpreter::default().compile(Arc::new(image)).expect("compiles")
}

/// Every engine, with its name.
pub(crate) fn engines() -> [(&'static str, Box<dyn Engine>); 2] {
    [
        ("interpreter", Box::new(Interpreter::default())),
        (
            "compiler",
            Box::new(Compiler::new().expect("a compiler for this processor")),
        ),
    ]
}

/// Knows one stretch of memory and helpers that return their number plus their first argument, except
/// [`Environment::NO_HELPER`].
#[derive(Default)]
pub(crate) struct Environment {
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) read_only: bool,
    pub(crate) notes: Vec<String>,
}

impl Environment {
    pub(crate) const NO_HELPER: u32 = 99;

    /// Vouches for these bytes, which the caller leaves alone while programs run.
    pub(crate) fn of(memory: &mut [u8]) -> Environment {
        let start = if memory.is_empty() {
            0
        } else {
            memory.as_mut_ptr().expose_provenance() as u64
        };
        Environment {
            start,
            len: memory.len(),
            ..Environment::default()
        }
    }
}

impl Env for Environment {
    fn helper(&mut self, id: u32, args: [u64; 5]) -> Result<u64, Trap> {
        if id == Self::NO_HELPER {
            return Err(Trap::Helper {
                pc: 0,
                id,
                reason: "no such helper",
            });
        }
        self.notes.push(format!("helper {id}"));
        Ok(args[0].wrapping_add(id.into()))
    }

    fn contains(&self, region: Region, addr: u64, len: usize, write: bool) -> bool {
        let off = addr.wrapping_sub(self.start);
        let inside = off.checked_add(len as u64).is_some_and(|end| end <= self.len as u64);
        region == MEMORY && inside && !(write && self.read_only)
    }

    fn trace_update(&mut self) {
        self.notes.push("update".to_owned());
    }

    fn trace_delete(&mut self) {
        self.notes.push("delete".to_owned());
    }

    fn register_pointer(&mut self, addr: u64) {
        self.notes
            .push(format!("pointer {:+}", addr.wrapping_sub(self.start).cast_signed()));
    }

    fn flush_pointers(&mut self) {
        self.notes.push("flush".to_owned());
    }
}

/// Runs code with the environment's memory as the context.
pub(crate) fn run(code: &dyn Code, env: &mut Environment) -> Result<u64, Trap> {
    let (ctx, len) = (std::ptr::with_exposed_provenance_mut(env.start as usize), env.len);
    // SAFETY: the environment vouches only for memory that its maker leaves alone, and the context is that memory.
    unsafe { code.run(ctx, len, env) }
}
