//! Tests: native code of the plain variant is what it would be if there were no tracing.
//!
//! Each program writes a map in every way that the traced variant inserts calls for. It is compiled once as it is, and once with
//! functions for tracing that lie elsewhere. If one instruction of the plain variant were about tracing, its code would differ.

use std::collections::BTreeSet;
use std::ffi::c_void;

use hitless_isa::asm::assemble;
use hitless_isa::{CallTarget, Instruction, decode};
use hitless_verifier::{ContextFacts, Facts, Region, Stats, Subprog, Verified};

use super::{Compiler, codegen};
use crate::{CallSite, Callee, LowerInput, Resolve, Services, Variant, lower};

/// Stores, an atomic, both helpers that change maps, one that writes to a value, a tail call, and two exits.
const WRITER: &str = "
    *(u64 *)(r6 +8) = 1
    lock *(u64 *)(r6 +0) += r7
    call bpf_map_update_elem#2
    call bpf_map_delete_elem#3
    r1 = r6
    call bpf_probe_read_user#112
    if r0 == 0 goto other
    call bpf_tail_call#12
    exit
other:
    r0 = 1
    exit";

#[derive(Debug)]
struct Helpers;

impl Resolve for Helpers {
    fn helper(&self, _: &CallSite<'_>) -> Option<Callee> {
        // SAFETY: the code is compiled, and never run.
        Some(unsafe { Callee::function(0x1000 as *const (), &[]) })
    }
}

unsafe extern "C" fn elsewhere(_: *mut c_void) {}

unsafe extern "C" fn elsewhere_with_address(_: *mut c_void, _: u64) {}

/// The same but for the functions of tracing.
const OTHERS: Services = Services {
    trace_update: elsewhere,
    trace_delete: elsewhere,
    register_pointer: elsewhere_with_address,
    flush_pointers: elsewhere,
    ..Services::NONE
};

fn writer() -> Verified {
    let insns = assemble(WRITER).expect("the program assembles");
    let mut facts = Facts::new(insns.len());
    let mut pc = 0;
    while pc < insns.len() {
        let instruction = decode(&insns, pc).expect("an instruction");
        facts.set_reachable(pc, true);
        let value = Region::MapValue { map: 0 };
        match instruction {
            Instruction::Store { .. } | Instruction::Atomic { .. } => facts.set_access(pc, &[value]),
            Instruction::Call(CallTarget::Helper(112)) => facts.add_memory(pc, 0, Some(value), true),
            _ => {}
        }
        pc += instruction.slots();
    }
    Verified {
        subprogs: vec![Subprog {
            start: 0,
            end: insns.len(),
            stack_depth: 64,
            clear_stack: false,
            changes_packet: false,
        }],
        insns,
        facts,
        call_depth: 1,
        combined_stack: 64,
        maps_updated: BTreeSet::from([0]),
        maps_stored: BTreeSet::from([0]),
        inner_maps_updated: BTreeSet::new(),
        inner_maps_stored: BTreeSet::new(),
        context_stored: BTreeSet::new(),
        extents: Vec::new(),
        stats: Stats::default(),
    }
}

/// The native code of the program's only function.
fn code(variant: Variant, services: Services) -> Vec<u8> {
    let (compiler, verified) = (Compiler::new().expect("a compiler"), writer());
    let context = ContextFacts {
        name: "none".to_owned(),
        size: 0,
        fields: Vec::new(),
        return_range: None,
        packet_writable: false,
        legacy_packet_access: false,
        sleepable: false,
        returns_nothing: false,
        writable: Vec::new(),
    };
    let image = lower(LowerInput {
        name: "writer",
        verified: &verified,
        context: &context,
        maps: &[],
        arguments: 1,
        replaced: &[],
        variant,
        resolve: &Helpers,
        services,
    });
    let functions = codegen::functions(&*compiler.isa, &image.expect("it is lowered"));
    let mut functions = functions.expect("it is compiled").into_iter();
    functions.next().expect("a function").code
}

#[test]
fn the_plain_variant_is_what_it_would_be_without_tracing() {
    let plain = code(Variant::Plain, Services::NONE);
    assert_eq!(plain, code(Variant::Plain, OTHERS), "byte for byte");
    // Nothing but what was compiled says that: the traced variant does differ.
    let traced = code(Variant::Traced, Services::NONE);
    assert_ne!(traced, code(Variant::Traced, OTHERS));
    assert!(traced.len() > plain.len());
}
