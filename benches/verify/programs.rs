//! Programs that are hard to verify, as text.

use std::fmt::Write;

/// A program, and the map that it uses.
pub struct Source {
    pub name: &'static str,
    pub text: String,
}

/// All programs. Each is an XDP program with one array of 64 bytes (`map[idx:0]`).
pub fn all() -> Vec<Source> {
    let source = |name, text| Source { name, text };
    vec![
        source("loop: counter, 20000 turns", counter(20_000)),
        source("loop: counter, 250000 turns", counter(249_000)),
        source("loop: sum of a table, 4096 turns", sum_of_table(4096)),
        source("loop: nested, 64 by 64", nested(64)),
        source("loop: branches inside, 1000 turns", branches_in_loop(1000)),
        source("loop: counter on the stack", counter_on_stack(3000)),
        source("walker: string, 64 bytes", walker(64)),
        source("walker: string, 400 bytes", walker(400)),
        source("walker: packet, 200 steps", packet_walker(200)),
        source("walker: options, 40 bytes", options(40)),
        source("states: 12 flags", flags(12)),
        source("states: 200 branches that join", joins(200)),
        source("states: 30 spills, 60 branches", spills(30, 60)),
        source("states: subprograms", subprograms(40)),
        source("states: a machine of 8 states", machine(60)),
        source("long: 900000 insns of arithmetic", arithmetic(900_000)),
        source("long: 125000 updates", updates(125_000)),
        source("long: 8000 branches, 60 spills", spilled_branches(8000, 60)),
    ]
}

/// Counts to `turns`, with a checksum that does not matter.
fn counter(turns: u32) -> String {
    format!(
        "r6 = 0
        r7 = 1
again:  r7 *= 3
        r6 += 1
        if r6 < {turns} goto again
        r0 = r7
        exit"
    )
}

/// Sums up bytes of the map value at an index that comes from the counter.
fn sum_of_table(turns: u32) -> String {
    format!(
        "r6 = 0
        r7 = 0
again:  r1 = r6
        r1 &= 63
        r2 = map[idx:0][0]+0
        r2 += r1
        r3 = *(u8 *)(r2 +0)
        r7 += r3
        if r7 < 1000 goto small
        r7 -= 1000
small:  r6 += 1
        if r6 != {turns} goto again
        r0 = r7
        exit"
    )
}

fn nested(turns: u32) -> String {
    format!(
        "r6 = 0
        r8 = 0
outer:  r7 = 0
inner:  r1 = r6
        r1 *= {turns}
        r1 += r7
        r8 ^= r1
        if r8 & 1 goto odd
        r8 += 7
odd:    r7 += 1
        if r7 < {turns} goto inner
        r6 += 1
        if r6 < {turns} goto outer
        r0 = r8
        exit"
    )
}

/// Six branches on unknown bits in each turn.
fn branches_in_loop(turns: u32) -> String {
    let mut text = "r9 = r1\nr6 = 0\nr7 = 0\nr8 = 0\nagain: r1 = *(u32 *)(r9 +12)\n".to_owned();
    for bit in 0..6 {
        let _ = writeln!(
            text,
            "if r1 & {} goto s{bit}\nr7 += {bit}\ngoto t{bit}\ns{bit}: r8 ^= r7\nt{bit}:",
            1 << bit
        );
    }
    let _ = writeln!(text, "r6 += 1\nif r6 < {turns} goto again\nr0 = r8\nexit");
    text
}

fn counter_on_stack(turns: u32) -> String {
    format!(
        "*(u64 *)(r10 -8) = 0
        *(u64 *)(r10 -16) = 1
again:  r1 = *(u64 *)(r10 -16)
        r1 += r1
        *(u64 *)(r10 -16) = r1
        *(u32 *)(r10 -24) = r1
        r2 = *(u64 *)(r10 -8)
        r2 += 1
        *(u64 *)(r10 -8) = r2
        if r2 < {turns} goto again
        r0 = *(u32 *)(r10 -24)
        exit"
    )
}

/// An unrolled loop over a string in the map value that looks for a separator and hashes what is before it.
fn walker(len: u32) -> String {
    let mut text = "r6 = map[idx:0][0]+0\nr7 = 5381\nr8 = 0\nr9 = 0\n".to_owned();
    for i in 0..len {
        let _ = writeln!(
            text,
            "r1 = *(u8 *)(r6 +{})
            if r1 == 0 goto out
            if r1 != 47 goto plain{i}
            r8 += 1
            r9 = {i}
plain{i}: r7 *= 33
            r7 ^= r1",
            i % 64
        );
    }
    text += "out: r9 &= 63\nr6 += r9\nr0 = *(u8 *)(r6 +0)\nr0 += r8\nr0 += r7\nexit";
    text
}

/// Walks along the packet in steps of unknown length, checking each.
fn packet_walker(steps: u32) -> String {
    let mut text = "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr7 = 0\n".to_owned();
    for i in 0..steps {
        let _ = writeln!(
            text,
            "r4 = r2
            r4 += 2
            if r4 > r3 goto out
            r5 = *(u8 *)(r2 +0)
            r7 += r5
            if r5 == 1 goto one{i}
            r5 = *(u8 *)(r2 +1)
            r5 &= 7
            r5 += 1
            r2 += r5
            goto next{i}
one{i}:     r2 += 1
next{i}:"
        );
    }
    text += "out: r0 = r7\nexit";
    text
}

/// Parses options of unknown length in a buffer on the stack, at an unknown offset.
fn options(len: u32) -> String {
    let mut text = "r9 = r1\n".to_owned();
    text += "r2 = map[idx:0][0]+0\n";
    for i in 0..6 {
        let _ = writeln!(
            text,
            "r1 = *(u64 *)(r2 +{})\n*(u64 *)(r10 -{}) = r1",
            8 * i,
            8 * (i + 1)
        );
    }
    text += "r6 = 0\nr7 = 0\n";
    for i in 0..len {
        let _ = writeln!(
            text,
            "if r6 > 39 goto out
            r1 = r10
            r1 += -48
            r1 += r6
            r2 = *(u8 *)(r1 +0)
            if r2 == 0 goto out
            if r2 == 1 goto nop{i}
            r3 = *(u8 *)(r1 +1)
            if r3 < 2 goto out
            if r3 > 10 goto out
            if r2 != 8 goto skip{i}
            r7 = r3
skip{i}:    r6 += r3
            goto next{i}
nop{i}:     r6 += 1
next{i}:"
        );
    }
    text += "out: r0 = r7\nexit";
    text
}

/// Flags that are set and tested later: each combination is a state.
fn flags(count: u32) -> String {
    let mut text = "r9 = r1\nr8 = *(u32 *)(r9 +12)\nr6 = 0\n".to_owned();
    for i in 0..count {
        let _ = writeln!(text, "if r8 & {} goto f{i}\nr6 |= {}\nf{i}:", 1 << i, 1 << i);
    }
    text += "r0 = 0\n";
    for i in 0..count {
        let _ = writeln!(text, "if r6 & {} goto g{i}\nr0 += {i}\ng{i}:", 1 << i);
    }
    text + "exit"
}

fn joins(count: u32) -> String {
    let mut text = "r6 = r1\nr7 = 0\n".to_owned();
    for i in 0..count {
        let _ = writeln!(
            text,
            "r3 = *(u32 *)(r6 +12)\nif r3 & {} goto l{i}\nr2 = {i}\nr2 += 2\nr2 *= 3\nr7 += r2\nl{i}:",
            1u64 << (i % 31)
        );
    }
    text + "r0 = r7\nexit"
}

/// Numbers spilled, changed under conditions, and read again; one of them is an index in the end.
fn spills(slots: u32, branches: u32) -> String {
    let mut text = "r9 = r1\nr6 = map[idx:0][0]+0\n".to_owned();
    for i in 0..slots {
        let _ = writeln!(text, "r1 = *(u8 *)(r6 +{i})\n*(u64 *)(r10 -{}) = r1", 8 * (i + 1));
    }
    for i in 0..branches {
        let (a, b) = (8 * (i % slots + 1), 8 * ((i * 7 + 3) % slots + 1));
        let _ = writeln!(
            text,
            "r1 = *(u64 *)(r10 -{a})
            r2 = *(u32 *)(r9 +12)
            if r2 > {i} goto l{i}
            r1 += 1
            r1 &= 255
            *(u64 *)(r10 -{b}) = r1
            goto m{i}
l{i}:       *(u32 *)(r10 -{b}) = 0
            *(u32 *)(r10 -{}) = r1
m{i}:",
            b - 4
        );
    }
    text + "r1 = *(u64 *)(r10 -16)\nif r1 > 63 goto out\nr6 += r1\nr0 = *(u8 *)(r6 +0)\nexit\nout: r0 = 0\nexit"
}

/// Calls of two subprograms, one of which writes to the caller's stack.
fn subprograms(calls: u32) -> String {
    let mut text = "r6 = r1\nr7 = 0\n".to_owned();
    for i in 0..calls {
        let _ = writeln!(
            text,
            "r1 = *(u32 *)(r6 +12)
            r2 = {i}
            call mix
            r7 += r0
            r1 = r10
            r1 += -8
            r2 = r0
            call note
            r1 = *(u64 *)(r10 -8)
            if r1 > 100 goto l{i}
            r7 ^= r1
l{i}:"
        );
    }
    text + "r0 = r7
        exit
mix:    r0 = r1
        if r2 > 20 goto big
        r0 += r2
        if r0 & 4 goto even
        r0 *= 5
        exit
even:   r0 -= 1
        exit
big:    r0 ^= r2
        exit
note:   if r2 == 0 goto zero
        *(u64 *)(r1 +0) = r2
        exit
zero:   *(u64 *)(r1 +0) = 1
        exit"
}

/// A state machine driven by unknown input, its state a small constant.
fn machine(steps: u32) -> String {
    let mut text = "r9 = r1\nr6 = 0\nr7 = 0\nr8 = 0\n".to_owned();
    let _ = writeln!(text, "again: r1 = *(u32 *)(r9 +12)");
    for state in 0..8 {
        let _ = writeln!(
            text,
            "if r6 != {state} goto s{state}
            if r1 & {} goto a{state}
            r6 = {}
            goto done
a{state}:   r6 = {}
            r7 += {state}
            goto done
s{state}:",
            1 << state,
            (state + 1) % 8,
            (state * 3 + 1) % 8
        );
    }
    let _ = writeln!(text, "done: r8 += 1\nif r8 < {steps} goto again\nr0 = r7\nexit");
    text
}

/// Straight-line code.
fn arithmetic(len: usize) -> String {
    "r0 = 1\n".to_owned() + &"r0 *= 3\n".repeat(len) + "exit"
}

/// Calls with four arguments, two of them memory, unrolled.
fn updates(count: u32) -> String {
    let mut text = "r6 = map[idx:0]\nr7 = r10\nr7 += -4\nr8 = r10\nr8 += -72\n".to_owned();
    text += "*(u32 *)(r10 -4) = 0\n";
    for i in 1..10 {
        let _ = writeln!(text, "*(u64 *)(r10 -{}) = 0", 8 * i);
    }
    for _ in 0..count {
        text += "r1 = r6\nr2 = r7\nr3 = r8\nr4 = 0\ncall bpf_map_update_elem#2\n";
    }
    text + "r0 = 0\nexit"
}

/// Spills something else in each of the branches that wait for one another, all of which the state has.
fn spilled_branches(count: u32, slots: u32) -> String {
    let mut text = "r6 = map[idx:0][0]+0\n".to_owned();
    for slot in 1..=slots {
        let _ = writeln!(text, "*(u64 *)(r10 -{}) = 0", 8 * slot);
    }
    for i in 0..count {
        let _ = writeln!(
            text,
            "r1 = *(u32 *)(r6 +12)
            if r1 & {} goto out
            *(u64 *)(r10 -{}) = r1",
            1u64 << (i % 31),
            8 * (i % slots + 1)
        );
    }
    text += "out: r0 = 0\n";
    for slot in 1..=slots {
        let _ = writeln!(text, "r1 = *(u64 *)(r10 -{})\nr0 += r1", 8 * slot);
    }
    text + "exit"
}
