//! What an accepted program's facts say, and how a refusal reads.

mod support;

use std::collections::BTreeSet;

use hitless_verifier::{ArgMemory, InsnFacts, Region, Requirement, SourceLine, Subprog, Verified, verify};
use support::Case;

fn case(text: &str) -> Case {
    support::parse(&format!("case: facts\n{text}")).pop().expect("one case")
}

fn accepted(case: &Case) -> Verified {
    case.verify().unwrap_or_else(|rejection| panic!("{rejection}"))
}

const LOOKUP: &str = "
    *(u32 *)(r10 -4) = 0
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
";

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

#[test]
fn regions_of_accesses() {
    let case = case(
        "map: m array value 8
    r2 = *(u32 *)(r1 +0)
    r3 = *(u32 *)(r1 +4)
    *(u64 *)(r10 -8) = 1
    r4 = r2
    r4 += 8
    if r4 > r3 goto other
    goto load
other: r2 = map[idx:0][0]+0
load: r0 = *(u64 *)(r2 +0)
    exit",
    );
    let facts = accepted(&case).facts;
    assert_eq!(facts.at(0).access, [Region::Context { field: 0 }]);
    assert_eq!(facts.at(1).access, [Region::Context { field: 1 }]);
    assert_eq!(facts.at(2).access, [Region::Stack]);
    assert_eq!(facts.at(9).access, [Region::Packet, Region::MapValue { map: 0 }]);
    assert!(facts.at(9).reachable && facts.at(8) == InsnFacts::default());
}

#[test]
fn maps_and_memory_of_calls() {
    let case = case(
        "map: a hash value 8
map: b hash value 8
    *(u32 *)(r10 -4) = 0
    *(u64 *)(r10 -16) = 0
    r1 = map[idx:1]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem#2
    r0 = 0
    exit",
    );
    let verified = accepted(&case);
    let call = verified.facts.at(9);
    let stack = ArgMemory {
        regions: &[Region::Stack],
        write: false,
    };
    assert_eq!(call.map, Some(1));
    assert_eq!(call.memory, [None, Some(stack), Some(stack), None, None]);
    assert_eq!(verified.maps_updated, set([1]));
    assert!(verified.maps_stored.is_empty());
}

#[test]
fn stores_through_values() {
    let text = format!("map: m hash value 8\n{LOOKUP}\nif r0 == 0 goto out\n*(u32 *)(r0 +4) = 1\nout: r0 = 0\nexit");
    let verified = accepted(&case(&text));
    assert_eq!(verified.maps_stored, set([0]));
    assert!(verified.maps_updated.is_empty());
    let text = text
        .replace("*(u32 *)(r0 +4) = 1", "lock *(u32 *)(r0 +4) += r0")
        .replace("lock", "r1 = 1\nlock");
    assert_eq!(accepted(&case(&text.replace("+= r0", "+= r1"))).maps_stored, set([0]));
    let text = text
        .replace("r1 = 1", "")
        .replace("lock *(u32 *)(r0 +4) += r0", "r1 = *(u32 *)(r0 +4)");
    assert!(accepted(&case(&text)).maps_stored.is_empty(), "a load is no store");
}

#[test]
fn a_helper_writes_a_value() {
    let case = case(
        "context: update
map: m array value 16
    r3 = *(u64 *)(r1 +8)
    r1 = map[idx:0][0]+0
    r2 = 16
    call probe_read#113
    r0 = 0
    exit",
    );
    let verified = accepted(&case);
    assert_eq!(verified.maps_stored, set([0]));
    let memory = ArgMemory {
        regions: &[Region::MapValue { map: 0 }],
        write: true,
    };
    assert_eq!(verified.facts.at(4).memory[0], Some(memory));
}

#[test]
fn null_is_no_region() {
    let case = case(
        "    r1 = 0
    r2 = 0
    r3 = 0
    r4 = 0
    r5 = 0
    call csum_diff#28
    exit",
    );
    let memory = ArgMemory {
        regions: &[],
        write: false,
    };
    assert_eq!(accepted(&case).facts.at(5).memory[0], Some(memory));
}

#[test]
fn extents_of_keys_and_values() {
    let case = case(
        "context: update
map: m hash key 12 value 8
    r2 = *(u64 *)(r1 +0)
    r3 = *(u64 *)(r1 +8)
    r4 = *(u64 *)(r1 +16)
    r4 &= 7
    r3 += r4
    r0 = *(u32 *)(r3 +4)
    r1 = map[idx:0]
    call bpf_map_delete_elem#3
    r0 = 0
    exit",
    );
    let verified = accepted(&case);
    assert_eq!(verified.extents, [(0, 12), (1, 15)]);
    assert_eq!(verified.facts.at(5).access, [Region::ContextMemory { field: 1 }]);
}

#[test]
fn extents_of_what_is_not_read_are_zero() {
    let case = case("context: delete\n    r0 = 0\n    exit");
    assert_eq!(accepted(&case).extents, [(0, 0)]);
}

#[test]
fn stack_depths() {
    let case = case(
        "    r1 = r10
    r1 += -24
    r2 = r1
    *(u8 *)(r10 -1) = 0
    call f
    exit
f:  *(u64 *)(r1 +0) = 0
    *(u32 *)(r10 -4) = 0
    r0 = 0
    exit",
    );
    let subprogs = [
        Subprog {
            start: 0,
            end: 6,
            stack_depth: 24,
            clear_stack: false,
            changes_packet: false,
        },
        Subprog {
            start: 6,
            end: 10,
            stack_depth: 4,
            clear_stack: false,
            changes_packet: false,
        },
    ];
    let verified = accepted(&case);
    assert_eq!(verified.subprogs, subprogs);
    assert_eq!((verified.call_depth, verified.combined_stack), (2, 48));
}

#[test]
fn frames_to_be_cleared() {
    let clear = |text: &str| -> Vec<bool> {
        let verified = accepted(&case(text));
        verified.subprogs.iter().map(|subprog| subprog.clear_stack).collect()
    };
    assert_eq!(
        clear("    *(u64 *)(r10 -8) = 1\n    r0 = *(u64 *)(r10 -8)\n    exit"),
        [false]
    );
    assert_eq!(
        clear("    *(u32 *)(r10 -8) = 1\n    r0 = *(u64 *)(r10 -8)\n    exit"),
        [true]
    );
    // The frame is that of the caller.
    assert_eq!(
        clear("    r1 = r10\n    call f\n    exit\nf:  *(u64 *)(r10 -8) = 1\n    r0 = *(u64 *)(r1 -8)\n    exit"),
        [true, false]
    );
    // The path on which it was not written ends at a state in which it was.
    let joined = "
    r6 = r1
    r7 = *(u32 *)(r6 +12)
    r0 = 0
    r0 = 0
    r0 = 0
    r0 = 0
    r0 = 0
    if r7 == 1 goto start
start: r7 = *(u32 *)(r6 +12)
    if r7 == 2 goto join
    *(u64 *)(r10 -8) = r7
join: r0 = *(u64 *)(r10 -8)
    exit";
    assert_eq!(clear(joined), [true]);
}

#[test]
fn unreachable_branches_are_marked() {
    let case = case(
        "    r0 = 1
    if r0 == 1 goto out
    r0 = *(u64 *)(r9 +0)
out: exit",
    );
    let reachable: Vec<bool> = accepted(&case).facts.iter().map(|facts| facts.reachable).collect();
    assert_eq!(reachable, [true, true, false, true]);
}

#[test]
fn the_cost_is_reported() {
    let case = case("    r0 = 0\n    exit");
    let stats = accepted(&case).stats;
    assert_eq!((stats.processed, stats.limit), (2, 1_000_000));
}

#[test]
fn a_refusal_in_one_line() {
    let case = case("    r2 = *(u32 *)(r1 +12)\n    r0 = *(u32 *)(r2 +4)\n    exit");
    let line = |pc, line| SourceLine {
        pc,
        file: "flows.bpf.c".to_owned(),
        line,
        text: String::new(),
    };
    let lines = [line(0, 11), line(1, 12)];
    let rejection = verify(&hitless_verifier::ProgramInput {
        lines: &lines,
        ..case.input()
    })
    .unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "insn 1: r0 = *(u32 *)(r2 +4): R2 invalid mem access 'scalar': requires 4 readable bytes at r2+4, \
         found scalar (u64 [0,4294967295]) (flows.bpf.c:12)"
    );
    assert!(matches!(
        rejection.errors[0].requirement,
        Requirement::Accessible { off: 4, .. }
    ));
    assert_eq!(rejection.stats.processed, 2);
}

#[test]
fn a_missing_field_names_its_source_line() {
    let case = case("    r0 = 0\n    call unknown#195896080 ; missing: struct task_struct.no_such_field\n    exit");
    let lines = [SourceLine {
        pc: 1,
        file: "task.bpf.c".to_owned(),
        line: 31,
        text: "return task->no_such_field;".to_owned(),
    }];
    let rejection = verify(&hitless_verifier::ProgramInput {
        lines: &lines,
        ..case.input()
    })
    .unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "insn 1: call unknown#195896080: struct task_struct.no_such_field does not exist in the target BTF; guard the \
         access with bpf_core_field_exists(): requires something that exists where the program is loaded, found nothing \
         (task.bpf.c:31)"
    );
    assert_eq!(rejection.errors[0].requirement, Requirement::Exists);
}

#[test]
fn everything_that_does_not_decode_is_reported() {
    let mut case = case("    r0 = 0\n    r0 = 0\n    r0 = 0\n    exit");
    case.insns[0].code = 0xff;
    case.insns[2].dst = 11;
    let rejection = case.verify().unwrap_err();
    let places: Vec<usize> = rejection.errors.iter().map(|error| error.pc).collect();
    assert_eq!(places, [0, 2]);
    assert_eq!(rejection.errors[0].message, "unknown opcode ff");
    assert_eq!(rejection.errors[1].requirement, Requirement::Decodable);
}

#[test]
fn no_program_is_refused() {
    let mut case = case("    exit");
    case.insns.clear();
    assert_eq!(
        case.verify().unwrap_err().errors[0].requirement,
        Requirement::ProgramSize
    );
}

#[test]
fn maps_in_maps_and_records() {
    let case = case(
        "map: o array_of_maps value 4 inner i hash value 8
map: m ringbuf key 0 value 0 entries 4096
    *(u32 *)(r10 -4) = 0
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = r0
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    *(u64 *)(r0 +0) = 1
    r1 = map[idx:1]
    r2 = 8
    r3 = 0
    call bpf_ringbuf_reserve#131
    if r0 == 0 goto out
    *(u64 *)(r0 +0) = 1
    r1 = r0
    r2 = 0
    call bpf_ringbuf_discard#133
out: r0 = 0
    exit",
    );
    let verified = accepted(&case);
    let facts = &verified.facts;
    assert_eq!((facts.at(5).map, facts.at(5).inner_of), (Some(0), None));
    assert_eq!((facts.at(10).map, facts.at(10).inner_of), (None, Some(0)));
    assert_eq!(facts.at(12).access, [Region::InnerMapValue { outer: 0 }]);
    assert_eq!(facts.at(19).access, [Region::Record { map: 1 }]);
    assert_eq!(verified.inner_maps_stored, set([0]));
    assert!(verified.maps_stored.is_empty() && verified.inner_maps_updated.is_empty());
}

#[test]
fn constant_indices() {
    let index = |text: &str, pc| accepted(&case(text)).facts.at(pc).index;
    let lookup =
        |store: &str| format!("map: m array value 8 entries 4\n{store}{LOOKUP}\nr0 = 0\nexit").replace("-4", "-8");
    assert_eq!(index(&lookup(""), 5), Some(0));
    let three = lookup("").replace("(r10 -8) = 0", "(r10 -8) = 3");
    assert_eq!(index(&three, 5), Some(3));
    assert_eq!(
        index(&three.replace("entries 4", "entries 3"), 5),
        None,
        "there is no such element"
    );
    assert_eq!(index(&three.replace("array", "hash"), 5), None, "no index");
    let either = lookup("r6 = 1\nr7 = *(u32 *)(r1 +12)\nif r7 == 0 goto pc+1\nr6 = 2\n");
    let either = either.replace("(r10 -8) = 0", "(r10 -8) = r6");
    assert_eq!(index(&either, 9), None, "one of two");
    let tail = "map: p prog_array\nr2 = map[idx:0]\nr3 = 0\ncall bpf_tail_call#12\nr0 = 0\nexit";
    assert_eq!(index(tail, 3), Some(0));
}

#[test]
fn several_maps_of_one_call() {
    let text = "map: a hash key 4 value 8
map: b hash key 4 value 8
    *(u32 *)(r10 -4) = 0
    r3 = *(u32 *)(r1 +12)
    r1 = map[idx:0]
    if r3 == 0 goto pc+2
    r1 = map[idx:1]
    r2 = r10
    r2 += -4
    call bpf_map_delete_elem#3
    r0 = 0
    exit";
    let verified = accepted(&case(text));
    let call = verified.facts.at(9);
    assert_eq!((call.map, call.inner_of), (None, None));
    assert_eq!(call.memory[1].map(|memory| memory.regions), Some(&[Region::Stack][..]));
    assert_eq!(verified.maps_updated, set([0, 1]));
}
