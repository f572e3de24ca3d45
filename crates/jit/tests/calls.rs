//! Tail calls, loops, calls of kernel functions, and loads that may find nothing, on both engines.

mod common;

use std::sync::Arc;

use common::{Environment, assemble, decreed, engines, lowered, run};
use hitless_jit::{Code, Engine, Trap, Variant};
use hitless_verifier::Region;

fn compile(engine: &dyn Engine, text: &str, variant: Variant) -> Box<dyn Code> {
    engine
        .compile(Arc::new(lowered(&decreed(assemble(text)), variant)))
        .expect("compiles")
}

/// Runs a program that tail calls go out of, to itself (index 0) and to others.
fn run_chain(engine: &dyn Engine, programs: &[&str], variant: Variant) -> (Result<u64, Trap>, Environment) {
    let programs: Vec<_> = programs.iter().map(|text| compile(engine, text, variant)).collect();
    let mut memory = [0; 16];
    let mut env = Environment::of(&mut memory);
    env.programs = programs.iter().map(|program| program.entry()).collect();
    let result = run(&*programs[0], &mut env);
    (result, env)
}

/// Counts its runs at `r1`, and goes on with itself.
const AGAIN: &str = "r6 = r1
     r2 = 1
     lock *(u64 *)(r1 +0) += r2
     r3 = 0
     call bpf_tail_call#12
     r0 = *(u64 *)(r6 +0)
     exit";

#[test]
fn tail_calls_end_after_33() {
    for (name, engine) in engines() {
        let (result, env) = run_chain(&*engine, &[AGAIN], Variant::Plain);
        assert_eq!((result, env.notes.len()), (Ok(34), 34), "{name}");
        if name == "compiler" {
            let deeper = env.frames.iter().skip(1).any(|frame| *frame != env.frames[1]);
            assert!(!deeper, "the stack does not grow: {:x?}", env.frames);
        }
    }
}

#[test]
fn programs_without_tail_calls_end_chains() {
    for (name, engine) in engines() {
        let to = |index| format!("r3 = {index}\n call bpf_tail_call#12\n r0 = 7\n exit");
        let other = "*(u64 *)(r10 -512) = 1\n r0 = 5\n exit";
        let chain = [&to(1)[..], &to(2), other];
        assert_eq!(run_chain(&*engine, &chain, Variant::Plain).0, Ok(5), "{name}");
        assert_eq!(run_chain(&*engine, &chain[..2], Variant::Plain).0, Ok(7), "{name}");
    }
}

/// What a subprogram's tail call goes to returns to the subprogram's caller, which is then itself again.
#[test]
fn tail_calls_of_subprograms_return_to_the_caller() {
    let main = "r6 = r1
                r7 = r10
                *(u64 *)(r10 -8) = 3
                call sub
                r8 = r0
                r1 = r6
                call sub
                r0 += r8
                if r7 != r10 goto wrong
                r1 = *(u64 *)(r10 -8)
                r0 += r1
                exit
         wrong: r0 = 0
                exit
         sub:   r6 = 0
                r3 = 1
                call bpf_tail_call#12
                r0 = 7
                exit";
    for (name, engine) in engines() {
        let other = "r6 = 1\n r7 = 2\n *(u64 *)(r10 -8) = 100\n r3 = 2\n call bpf_tail_call#12\n r0 = 50\n exit";
        let (result, env) = run_chain(&*engine, &[main, other, "r0 = 500\n exit"], Variant::Plain);
        let both = ["tail call 1 of [0, 0]", "tail call 2 of [1, 1]"];
        assert_eq!(
            (result, env.notes),
            (Ok(1003), [both, both].concat().map_notes()),
            "{name}"
        );
        assert_eq!(run_chain(&*engine, &[main, other], Variant::Plain).0, Ok(103), "{name}");
        assert_eq!(run_chain(&*engine, &[main], Variant::Plain).0, Ok(17), "{name}");
    }
}

trait Notes {
    fn map_notes(self) -> Vec<String>;
}

impl Notes for Vec<&str> {
    fn map_notes(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

/// What was written through pointers is traced before the program ends, also with a tail call.
#[test]
fn tail_calls_flush() {
    for (name, engine) in engines() {
        let first = "r3 = 1\n call bpf_tail_call#12\n r0 = 7\n exit";
        let (result, env) = run_chain(&*engine, &[first, "r0 = 5\n exit"], Variant::Traced);
        assert_eq!(
            (result, env.notes),
            (Ok(5), vec!["flush", "tail call 1 of [0, 0]", "flush"].map_notes()),
            "{name}"
        );
    }
}

#[test]
fn loops_turn_until_they_are_told_to_stop() {
    let text = |count: u64, flags| {
        format!(
            "   *(u64 *)(r10 -8) = 0
                r1 = {count} ll
                r2 = subprog[turn]
                r3 = r10
                r3 += -8
                r4 = {flags}
                call bpf_loop#181
                r1 = *(u64 *)(r10 -8)
                r1 <<= 32
                r0 += r1
                exit
         turn:  r3 = *(u64 *)(r2 +0)
                r3 += r1
                *(u64 *)(r2 +0) = r3
                r0 = 0
                if r1 != 0x5 goto done
                r0 = 1
         done:  exit"
        )
    };
    let cases = [
        (0, 0, 0),
        (1, 0, 1),
        (5, 0, 5 + (10 << 32)),
        (100, 0, 6 + (15 << 32)),
        (0x1_0000_0002, 0, 2 + (1 << 32)),
        ((8 << 20) + 1, 0, -7i64 as u64),
        (1, 1, -22i64 as u64),
    ];
    for (name, engine) in engines() {
        for (count, flags, expected) in cases {
            let code = compile(&*engine, &text(count, flags), Variant::Plain);
            let found = run(&*code, &mut Environment::default());
            assert_eq!(found, Ok(expected), "{name}: {count} turns, flags {flags}");
        }
    }
}

/// A loop whose function depends on the path.
#[test]
fn loops_of_several_functions() {
    let text = "r6 = *(u8 *)(r1 +0)
                r2 = subprog[one]
                if r6 == 0x0 goto go
                r2 = subprog[two]
            go: r1 = 3
                r3 = r10
                r3 += -8
                *(u64 *)(r3 +0) = 0
                r4 = 0
                call bpf_loop#181
                r0 = *(u64 *)(r10 -8)
                exit
          one:  r1 = 1
                goto add
          add:  lock *(u64 *)(r2 +0) += r1
                r0 = 0
                exit
          two:  r1 = 2
                lock *(u64 *)(r2 +0) += r1
                r0 = 0
                exit";
    for (name, engine) in engines() {
        let code = compile(&*engine, text, Variant::Plain);
        for (memory, expected) in [(0, 3), (1, 6)] {
            let found = run(&*code, &mut Environment::of(&mut [memory; 8]));
            assert_eq!(found, Ok(expected), "{name}");
        }
    }
}

#[test]
fn kernel_functions_are_called() {
    for (name, engine) in engines() {
        let code = compile(&*engine, "r1 = 40\n call kernel-function#302\n exit", Variant::Plain);
        let mut env = Environment::default();
        assert_eq!(run(&*code, &mut env), Ok(342), "{name}");
        assert_eq!(env.notes, ["helper 302"]);
    }
}

#[test]
fn loads_from_objects_may_find_nothing() {
    for (name, engine) in engines() {
        for (load, expected) in [
            ("*(u8 *)(r1 +2)", 0xf2),
            ("*(u16 *)(r1 +2)", 0xf3f2),
            ("*(u32 *)(r1 +2)", 0xf5f4_f3f2),
            ("*(u64 *)(r1 +2)", 0xf9f8_f7f6_f5f4_f3f2),
            ("*(s8 *)(r1 +2)", -0xe_i64 as u64),
            ("*(s16 *)(r1 +2)", 0xffff_ffff_ffff_f3f2),
            ("*(s32 *)(r1 +2)", 0xffff_ffff_f5f4_f3f2),
            ("*(u64 *)(r1 +1)", 0),
            ("*(s32 *)(r1 -1)", 0),
        ] {
            let mut verified = decreed(assemble(&format!("r1 = 0xf0\n r0 = {load}\n exit")));
            verified.facts.set_access(2, &[Region::Object]);
            let code = engine
                .compile(Arc::new(lowered(&verified, Variant::Plain)))
                .expect("compiles");
            assert_eq!(run(&*code, &mut Environment::default()), Ok(expected), "{name}: {load}");
        }
    }
}

#[test]
fn packets_are_as_long_as_they_are() {
    let mut memory = [1, 2, 3, 4, 5];
    for (name, engine) in engines() {
        for (load, expected) in [
            ("*(u8 *)skb[4]", 5),
            ("*(u16 *)skb[3]", 0x0405),
            ("*(u32 *)skb[0]", 0x0102_0304),
            ("*(u16 *)skb[r7 + 1]", 0x0304),
            ("*(u8 *)skb[5]", 0),
            ("*(u32 *)skb[2]", 0),
            ("*(u8 *)skb[-1]", 0),
            ("*(u8 *)skb[r7 + 2147483647]", 0),
        ] {
            let text = format!(
                "r6 = r1\n r7 = 1\n call sub\n r0 |= 0x100000000 ll\n exit\n sub: r6 = 0\n r7 = 1\n r0 = {load}\n r0 += 0x10\n r0 -= 0x10\n exit"
            );
            let text = text.replace(" r0 |= 0x100000000 ll\n", " r1 = 0x100000000 ll\n r0 |= r1\n");
            let code = compile(&*engine, &text, Variant::Plain);
            let found = run(&*code, &mut Environment::of(&mut memory));
            assert_eq!(found, Ok(expected | 1 << 32), "{name}: {load}");
        }
        let code = compile(&*engine, "r0 = *(u8 *)skb[9]\n r0 = 1\n exit", Variant::Traced);
        let mut env = Environment::of(&mut memory);
        assert_eq!(
            (run(&*code, &mut env), env.notes),
            (Ok(0), vec!["flush"].map_notes()),
            "{name}"
        );
    }
}

#[test]
fn the_slot_is_the_processor() {
    for (name, engine) in engines() {
        let code = compile(&*engine, "call bpf_get_smp_processor_id#8\n exit", Variant::Plain);
        assert_eq!(run(&*code, &mut Environment::default()), Ok(3), "{name}");
    }
}

/// Frame pointers lead from a helper through compiled code to the host.
#[cfg(target_arch = "x86_64")]
#[test]
fn stacks_unwind_through_compiled_code() {
    let text = "call sub\n r0 += 1\n exit\n sub: *(u64 *)(r10 -8) = 1\n call frames#304\n r0 += 0\n exit";
    let compiler = hitless_jit::native::Compiler::new().expect("a compiler");
    let code = compile(&compiler, text, Variant::Plain);
    let mut env = Environment::default();
    assert_eq!(run(&*code, &mut env), Ok(305));
    // Where the helper, the subprogram and the main program return to.
    let [in_sub, in_main, in_host] = env.frames[..] else {
        panic!("{:x?}", env.frames);
    };
    assert!(
        in_sub.abs_diff(in_main) < 4096,
        "{in_sub:x} and {in_main:x} are of one program"
    );
    let host = run as *const () as usize;
    assert!(in_host.abs_diff(host) < 1 << 24, "{in_host:x} is near {host:x}");
}
