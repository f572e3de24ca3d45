//! What lowering inserts, moves and resolves, as xlated dumps.

mod common;

use common::{Environment, Helpers, MEMORY, SERVICES, assemble, compiled, decreed, lowered, run};
use hitless_jit::{Frame, Image, LowerError, LowerInput, MapAddresses, Op, Variant, lower};
use hitless_verifier::{ContextFacts, ContextField, ContextFieldKind, Region, Verified, Widths};

const VALUE: Region = Region::MapValue { map: 0 };
const MAPS: [MapAddresses; 2] = [
    MapAddresses {
        map: 0xaa00,
        value: 0x1000,
    },
    MapAddresses { map: 0xbb00, value: 0 },
];

fn helper_name(id: u32) -> Option<&'static str> {
    match id {
        2 => Some("bpf_map_update_elem"),
        3 => Some("bpf_map_delete_elem"),
        93 => Some("bpf_spin_lock"),
        112 => Some("bpf_probe_read_user"),
        _ => None,
    }
}

/// `struct xdp_md`'s beginning, and a scalar and a pointer that the runtime keeps elsewhere.
fn context() -> ContextFacts {
    let field = |name: &str, off, size, kind: ContextFieldKind, host_off| ContextField {
        name: name.to_owned(),
        off,
        size,
        kind,
        loads: Widths::up_to(size),
        stores: Widths::NONE,
        host_off,
    };
    ContextFacts {
        name: "xdp_md".to_owned(),
        size: 16,
        fields: vec![
            field("data", 0, 4, ContextFieldKind::Packet, 0),
            field("data_end", 4, 4, ContextFieldKind::PacketEnd, 8),
            field("mark", 8, 4, ContextFieldKind::Scalar, 32),
            field("far", 12, 4, ContextFieldKind::Scalar, 40_000),
        ],
        return_range: None,
        packet_writable: false,
        legacy_packet_access: false,
        sleepable: false,
        returns_nothing: false,
        writable: Vec::new(),
    }
}

/// A program with these facts: accesses by slot, everything else on the stack.
fn with_access(text: &str, access: &[(usize, Region)]) -> Verified {
    let mut verified = decreed(assemble(text));
    for pc in 0..verified.facts.len() {
        verified.facts.set_access(pc, &[Region::Stack]);
    }
    for &(pc, _) in access {
        verified.facts.set_access(pc, &[]);
    }
    for &(pc, region) in access {
        verified.facts.add_access(pc, region);
    }
    verified
}

fn lower_as(verified: &Verified, variant: Variant) -> Result<Image, LowerError> {
    lower(LowerInput {
        name: "test",
        verified,
        context: &context(),
        maps: &MAPS,
        arguments: 1,
        replaced: &[],
        variant,
        resolve: &Helpers,
        services: SERVICES,
    })
}

fn dump(verified: &Verified, variant: Variant) -> String {
    lower_as(verified, variant).expect("lowers").disassemble(&helper_name)
}

#[track_caller]
fn assert_dump(verified: &Verified, variant: Variant, expected: &str) {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let found = dump(verified, variant);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{found}");
}

/// A jump back to a store runs the registration; a jump behind a call leaves its trace out.
#[test]
fn insertions_and_the_jumps_around_them() {
    let verified = with_access(
        "    if r1 == 0x0 goto behind
             call bpf_map_update_elem#2
     behind: call bpf_map_delete_elem#3
     again:  *(u64 *)(r6 +8) = 1
             r7 = 0x1122334455667788 ll
             lock *(u32 *)(r6 +4) += r7
             if r7 != 0x0 goto again
             call sub
             exit
     sub:    r0 = 0
             exit",
        &[(3, VALUE), (6, VALUE)],
    );
    assert_dump(
        &verified,
        Variant::Plain,
        "0: if r1 == 0x0 goto pc+1 ; insn 0
         1: call bpf_map_update_elem#2 ; insn 1
         2: call bpf_map_delete_elem#3 ; insn 2
         3: *(u64 *)(r6 +8) = 1 ; insn 3
         4: r7 = 0x1122334455667788 ; insn 4
         5: lock *(u32 *)(r6 +4) += r7 ; insn 6
         6: if r7 != 0x0 goto pc-4 ; insn 7
         7: call pc+1 ; insn 8
         8: exit ; insn 9
         9: r0 = 0 ; insn 10
         10: exit ; insn 11",
    );
    assert_dump(
        &verified,
        Variant::Traced,
        "0: if r1 == 0x0 goto pc+2 ; insn 0
         1: call bpf_map_update_elem#2 ; insn 1
         2: call bpf_map_trace_update_elem ; insn 1
         3: call bpf_map_delete_elem#3 ; insn 2
         4: call bpf_map_trace_delete_elem ; insn 2
         5: call bpf_map_trace_register_pointer(r6 +8) ; insn 3
         6: *(u64 *)(r6 +8) = 1 ; insn 3
         7: r7 = 0x1122334455667788 ; insn 4
         8: call bpf_map_trace_register_pointer(r6 +4) ; insn 6
         9: lock *(u32 *)(r6 +4) += r7 ; insn 6
         10: if r7 != 0x0 goto pc-6 ; insn 7
         11: call pc+2 ; insn 8
         12: call bpf_map_trace_pointer_update ; insn 9
         13: exit ; insn 9
         14: r0 = 0 ; insn 10
         15: exit ; insn 11",
    );
    assert_eq!(
        lower_as(&verified, Variant::Traced).unwrap().frames,
        [0, 14].map(|first| Frame {
            first,
            stack_depth: 512,
            clear: false
        })
    );
}

/// Only writes are registered, and only those that may reach a map value.
#[test]
fn what_is_registered() {
    let mut verified = with_access(
        "r1 = *(u64 *)(r6 +0)
         r1 = load_acquire((u64 *)(r6 +0))
         *(u64 *)(r10 -8) = r1
         store_release((u64 *)(r6 +16), r1)
         *(u8 *)(r7 +0) = r1
         call bpf_probe_read_user#112
         call bpf_spin_lock#93
         exit",
        &[(0, VALUE), (1, VALUE), (3, VALUE), (4, VALUE), (4, Region::Stack)],
    );
    for (pc, index, region, write) in [
        (5, 0, VALUE, true),
        (5, 1, VALUE, false),
        (5, 2, Region::Stack, true),
        (5, 3, VALUE, true),
        (6, 0, VALUE, true),
    ] {
        verified.facts.add_memory(pc, index, Some(region), write);
    }
    assert_dump(
        &verified,
        Variant::Traced,
        "0: r1 = *(u64 *)(r6 +0) ; insn 0
         1: r1 = load_acquire((u64 *)(r6 +0)) ; insn 1
         2: *(u64 *)(r10 -8) = r1 ; insn 2
         3: call bpf_map_trace_register_pointer(r6 +16) ; insn 3
         4: store_release((u64 *)(r6 +16), r1) ; insn 3
         5: call bpf_map_trace_register_pointer(r7 +0) ; insn 4
         6: *(u8 *)(r7 +0) = r1 ; insn 4
         7: call bpf_map_trace_register_pointer(r1 +0) ; insn 5
         8: call bpf_map_trace_register_pointer(r4 +0) ; insn 5
         9: call bpf_probe_read_user#112 ; insn 5
         10: call bpf_spin_lock#93 ; insn 6
         11: call bpf_map_trace_pointer_update ; insn 7
         12: exit ; insn 7",
    );
    let plain = lower_as(&verified, Variant::Plain).unwrap();
    assert!(plain.ops.iter().all(|op| matches!(op, Op::Insn(_) | Op::Call { .. })));
    assert_eq!(plain.ops.len(), verified.insns.len());
}

#[test]
fn maps_get_their_addresses() {
    let verified = with_access(
        "r1 = map[idx:1]\n r2 = map[idx:0][0]+24\n goto pc+1\n r0 = 1 ll\n exit",
        &[],
    );
    let error = lower_as(&verified, Variant::Plain).unwrap_err();
    assert_eq!(
        error,
        LowerError::Unsupported {
            pc: 4,
            what: "a jump out of the program"
        }
    );

    let verified = with_access(
        "r1 = map[idx:1]\n r2 = map[idx:0][0]+24\n goto pc+2\n r0 = 1 ll\n exit",
        &[],
    );
    assert_dump(
        &verified,
        Variant::Plain,
        "0: r1 = 0xbb00 ; insn 0
         1: r2 = 0x1018 ; insn 2
         2: goto pc+1 ; insn 4
         3: r0 = 0x1 ; insn 5
         4: exit ; insn 7",
    );
    let error = |text| {
        lower_as(&with_access(text, &[]), Variant::Plain)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("r1 = map[idx:2]\n exit"),
        "insn 0: the program names map 2, but only 2 were given"
    );
    assert!(error("r1 = map[idx:1][0]+0\n exit").contains("without a fixed one"));
    assert!(error("r1 = map[fd:3]\n exit").contains("by descriptor"));
    let mut verified = with_access("r1 = subprog[+1]\n r0 = 0\n exit", &[]);
    assert!(dump(&verified, Variant::Plain).starts_with("0: r1 = function 1 ; insn 0\n"));
    verified.subprogs.truncate(1);
    let error_of = lower_as(&verified, Variant::Plain).unwrap_err().to_string();
    assert!(error_of.contains("other than a subprogram"));
    assert!(error("call unknown#99\n exit").contains("no helper 99"));
    assert!(error("call kernel-function#7\n exit").contains("no kernel function 7"));
}

#[test]
fn context_accesses_move_to_the_runtimes_layout() {
    let field = |field| Region::Context { field };
    let verified = with_access(
        "r2 = *(u32 *)(r1 +0)
         r3 = *(u32 *)(r1 +4)
         r4 = *(u32 *)(r1 +8)
         r5 = *(u16 *)(r1 +10)
         r5 = *(s8 *)(r1 +11)
         *(u8 *)(r1 +9) = 1
         exit",
        &[
            (0, field(0)),
            (1, field(1)),
            (2, field(2)),
            (3, field(2)),
            (4, field(2)),
            (5, field(2)),
        ],
    );
    assert_dump(
        &verified,
        Variant::Plain,
        "0: r2 = *(u64 *)(r1 +0) ; insn 0
         1: r3 = *(u64 *)(r1 +8) ; insn 1
         2: r4 = *(u32 *)(r1 +32) ; insn 2
         3: r5 = *(u16 *)(r1 +34) ; insn 3
         4: r5 = *(s8 *)(r1 +35) ; insn 4
         5: *(u8 *)(r1 +33) = 1 ; insn 5
         6: exit ; insn 6",
    );
    let refused = |access: &[(usize, Region)]| {
        lower_as(&with_access("r2 = *(u32 *)(r1 +0)\n exit", access), Variant::Plain)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[(0, field(3))]).contains("that far"));
    assert!(refused(&[(0, field(4))]).contains("unknown"));
    assert!(refused(&[(0, field(0)), (0, field(2))]).contains("different places"));
}

/// Unreachable code traps, whatever it is; code after it keeps its place.
#[test]
fn unreachable_code_is_replaced() {
    let mut verified = with_access("goto pc+3\n r1 = map[fd:3]\n exit\n r0 = 0\n exit", &[]);
    verified.facts.set_reachable(1, false);
    verified.facts.set_reachable(3, false);
    for (variant, exit) in [
        (Variant::Plain, "4: exit"),
        (Variant::Traced, "4: call bpf_map_trace_pointer_update"),
    ] {
        let found = dump(&verified, variant);
        assert!(
            found.starts_with("0: goto pc+2 ; insn 0\n1: unreachable ; insn 1\n2: unreachable ; insn 3\n"),
            "{found}"
        );
        assert!(found.contains(exit), "{found}");
    }
}

/// The calls happen in order, and nothing that the program can see differs.
#[test]
fn traced_programs_run_alike() {
    let mut verified = decreed(assemble(
        "    r6 = r1
             r7 = 2
     again:  *(u64 *)(r6 +8) = 7
             r7 -= 1
             if r7 != 0x0 goto again
             r1 = 40
             call bpf_map_update_elem#2
             exit",
    ));
    verified.facts.set_access(2, &[MEMORY, VALUE]);
    let mut memory = [0; 16];
    let mut env = Environment::of(&mut memory);
    assert_eq!(run(&*compiled(lowered(&verified, Variant::Plain)), &mut env), Ok(42));
    assert_eq!(std::mem::take(&mut env.notes), ["helper 2"]);
    assert_eq!(run(&*compiled(lowered(&verified, Variant::Traced)), &mut env), Ok(42));
    assert_eq!(env.notes, ["pointer +8", "pointer +8", "helper 2", "update", "flush"]);
}
