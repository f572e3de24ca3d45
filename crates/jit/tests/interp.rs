//! The interpreter: its checks, and its arithmetic against another implementation.

mod common;

use std::sync::Arc;

use common::{Environment, assemble, compiled, decreed, engines, lowered, run};
use hitless_isa::{AluOp, Instruction, Operand, Reg, Size, Width, encode};
use hitless_jit::interp::Interpreter;
use hitless_jit::{Engine, HostField, Op, Trap, Variant};
use hitless_verifier::Region;
use proptest::prelude::*;

fn outcome_on(text: &str, memory: &mut [u8]) -> Result<u64, Trap> {
    let code = compiled(lowered(&decreed(assemble(text)), Variant::Plain));
    run(&*code, &mut Environment::of(memory))
}

fn outcome(text: &str) -> Result<u64, Trap> {
    outcome_on(text, &mut [0; 16])
}

#[track_caller]
fn assert_outside(text: &str, pc: usize, len: usize) {
    match outcome(text) {
        Err(Trap::OutOfRegion {
            pc: found_pc,
            len: found_len,
            regions,
            ..
        }) => {
            assert_eq!((found_pc, found_len), (pc, len));
            assert_eq!(&*regions, "the stack, the memory behind context field 0");
        }
        other => panic!("{other:?} of {text}"),
    }
}

#[test]
fn accesses_outside_of_every_region_trap() {
    assert_outside("r0 = *(u64 *)(r10 +0)\n exit", 0, 8);
    assert_outside("r0 = *(u8 *)(r10 -513)\n exit", 0, 1);
    assert_outside("r0 = *(u32 *)(r10 -2)\n exit", 0, 4);
    assert_outside("*(u16 *)(r1 +15) = 1\n exit", 0, 2);
    assert_outside("*(u16 *)(r1 -1) = r1\n exit", 0, 2);
    assert_outside("r2 = 0\n lock *(u64 *)(r2 +0) += r1\n exit", 1, 8);
    assert_outside("r2 = -1\n r0 = load_acquire((u8 *)(r2 +0))\n exit", 1, 1);
    assert_outside("r2 = -8\n store_release((u64 *)(r2 +0), r2)\n exit", 1, 8);
    // The frame of a subprogram is gone when it has returned.
    assert_outside("call leak\n r0 = *(u8 *)(r0 -1)\n exit\n leak: r0 = r10\n exit", 1, 1);
    // Everything up to the ends is allowed.
    assert_eq!(outcome("r0 = *(u64 *)(r10 -512)\n r0 = *(u64 *)(r10 -8)\n exit"), Ok(0));
    assert_eq!(outcome("*(u64 *)(r1 +8) = 5\n r0 = *(u64 *)(r1 +8)\n exit"), Ok(5));
}

/// A context access stays in its field, in the context's bounds.
#[test]
fn context_accesses_stay_in_their_field() {
    let attempt = |size, off| {
        let mut verified = decreed(assemble("r0 = 0\n exit"));
        verified.facts.set_access(0, &[Region::Context { field: 0 }]);
        let mut image = lowered(&verified, Variant::Plain);
        image.fields = vec![HostField { off: 4, len: 4 }];
        image.ops[0] = Op::Insn(Instruction::Load {
            size,
            signed: false,
            dst: Reg::R0,
            base: Reg::R1,
            off,
        });
        let code = compiled(image);
        move |len| run(&*code, &mut Environment::of(&mut [1, 1, 1, 1, 2, 2, 2, 2][..len]))
    };
    assert_eq!(attempt(Size::W, 4)(8), Ok(0x0202_0202));
    assert_eq!(attempt(Size::B, 7)(8), Ok(2));
    assert!(attempt(Size::W, 0)(8).is_err());
    assert!(attempt(Size::H, 3)(8).is_err());
    assert!(attempt(Size::Dw, 4)(8).is_err());
}

#[test]
fn writes_to_read_only_memory_trap() {
    let mut memory = [3; 8];
    let code = compiled(lowered(
        &decreed(assemble("r0 = *(u8 *)(r1 +0)\n *(u8 *)(r1 +0) = 1\n exit")),
        Variant::Plain,
    ));
    let mut env = Environment {
        read_only: true,
        ..Environment::of(&mut memory)
    };
    assert!(matches!(
        run(&*code, &mut env),
        Err(Trap::OutOfRegion { pc: 1, len: 1, .. })
    ));
    env.read_only = false;
    assert_eq!(run(&*code, &mut env), Ok(3));
}

#[test]
fn misaligned_atomics_trap_and_other_accesses_do_not() {
    for text in [
        "r2 = 1\n lock *(u64 *)(r10 -9) += r2\n exit",
        "r2 = 1\n r2 = load_acquire((u32 *)(r10 -6))\n exit",
        "r2 = 1\n store_release((u16 *)(r10 -3), r2)\n exit",
    ] {
        assert!(matches!(outcome(text), Err(Trap::Misaligned { pc: 1, .. })), "{text}");
    }
    let text = "r2 = 0x1122334455667788 ll\n *(u64 *)(r10 -13) = r2\n r0 = *(u32 *)(r10 -11)\n exit";
    assert_eq!(outcome(text), Ok(0x3344_5566));
}

#[test]
fn calls_nest_eight_deep_and_keep_registers() {
    // Counts down from r1 by calling itself; r6 and r10 survive.
    let text = |depth| {
        format!(
            "       r1 = {depth}
                    call down
                    exit
             down:  r6 = r1
                    r7 = r10
                    r0 = 0
                    if r1 == 0x1 goto done
                    r1 -= 1
                    call down
                    if r7 != r10 goto wrong
             done:  r0 += r6
                    exit
             wrong: r0 = -1
                    exit"
        )
    };
    assert_eq!(outcome(&text(7)), Ok(28));
    assert_eq!(outcome(&text(8)), Err(Trap::CallDepth { pc: 8 }));
}

#[test]
fn runs_end_with_their_budget() {
    let image = Arc::new(lowered(
        &decreed(assemble("r0 = 0\n loop: r0 += 1\n goto loop")),
        Variant::Plain,
    ));
    let code = Interpreter::with_budget(1000).compile(image).unwrap();
    assert_eq!(
        run(&*code, &mut Environment::default()),
        Err(Trap::Budget { limit: 1000 })
    );
    let image = Arc::new(lowered(&decreed(assemble("r0 = 7\n exit")), Variant::Plain));
    let code = Interpreter::with_budget(2).compile(image).unwrap();
    assert_eq!(run(&*code, &mut Environment::default()), Ok(7));
}

#[test]
fn may_goto_ends_endless_loops() {
    assert_eq!(
        outcome("r0 = 0\n loop: may_goto done\n r0 += 1\n goto loop\n done: exit"),
        Ok(8 << 20)
    );
}

#[test]
fn other_traps() {
    let mut verified = decreed(assemble("r0 = 1\n exit"));
    verified.facts.set_reachable(1, false);
    let code = compiled(lowered(&verified, Variant::Plain));
    assert_eq!(
        run(&*code, &mut Environment::default()),
        Err(Trap::Unreachable { pc: 1 })
    );
    // Falling off the end.
    assert_eq!(outcome("r0 = 1"), Err(Trap::Unreachable { pc: 1 }));
}

/// Functions that helpers call share the stack, the registers of nobody, and the budget.
#[test]
fn functions_that_are_called_back() {
    let text = "r1 = subprog[add]
                r6 = r10
                *(u64 *)(r10 -8) = 1
                r2 = r10
                r2 += -8
                r3 = 4
                call calls_back#400
                r1 = *(u64 *)(r10 -8)
                r0 += r1
                if r6 == r10 goto done
                r0 = 0
          done: exit
          add:  r6 = *(u64 *)(r2 +0)
                r6 += r1
                *(u64 *)(r2 +0) = r6
                r0 = 100
                exit";
    for (name, engine) in engines() {
        let code = engine
            .compile(Arc::new(lowered(&decreed(assemble(text)), Variant::Plain)))
            .unwrap();
        assert_eq!(run(&*code, &mut Environment::default()), Ok(407), "{name}");
    }
    let text = |body| format!("r1 = subprog[f]\n r3 = 1\n call calls_back#400\n exit\n f: {body}");
    assert_eq!(
        outcome(&text("r0 = *(u64 *)(r10 +0)\n exit")),
        Ok(0),
        "the caller's frame is above"
    );
    assert!(matches!(
        outcome(&text("r0 = *(u64 *)(r10 +512)\n exit")),
        Err(Trap::OutOfRegion { pc: 5, .. })
    ));
    assert_eq!(outcome(&text("call f\n exit")), Err(Trap::CallDepth { pc: 5 }));
}

#[test]
fn images_that_cannot_run_are_refused() {
    let refusal = |change: fn(&mut hitless_jit::Image)| {
        let mut image = lowered(&decreed(assemble("r0 = 1\n exit")), Variant::Plain);
        change(&mut image);
        Interpreter::default()
            .compile(Arc::new(image))
            .err()
            .expect("a refusal")
            .to_string()
    };
    let expected = "interpreter cannot compile the program: operation 0 jumps by 2, out of the program";
    assert_eq!(
        refusal(|image| image.ops[0] = Op::Insn(Instruction::Goto { long: false, off: 2 })),
        expected
    );
    assert!(
        refusal(|image| image.ops[0] = Op::Insn(Instruction::Goto { long: false, off: -2 })).contains("jumps by -2")
    );
    assert!(refusal(|image| image.pcs.clear()).contains("slots for 0"));
    assert!(
        refusal(|image| {
            image.facts.set_access(0, &[Region::Context { field: 0 }]);
            image.ops[0] = Op::Insn(Instruction::Store {
                size: Size::B,
                base: Reg::R1,
                off: 0,
                src: Operand::Imm(0),
            });
        })
        .contains("unknown field")
    );
}

/// Atomic operations of several threads on one value lose nothing.
#[test]
fn atomics_are_atomic() {
    let text =
        "r6 = 10000\n r2 = 1\n loop: lock *(u64 *)(r1 +0) += r2\n r6 -= 1\n if r6 != 0x0 goto loop\n r0 = 0\n exit";
    let code = compiled(lowered(&decreed(assemble(text)), Variant::Plain));
    let mut value = [0u64; 1];
    let start = value.as_mut_ptr().expose_provenance() as u64;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                run(
                    &*code,
                    &mut Environment {
                        start,
                        len: 8,
                        ..Environment::default()
                    },
                )
            });
        }
    });
    assert_eq!(value, [40_000]);
}

/// Arithmetic by way of 128 bits: slow, and unlike the engine's.
fn reference(width: Width, op: AluOp, a: u64, b: u64) -> u64 {
    let bits: u32 = if width == Width::W64 { 64 } else { 32 };
    let modulus = 1u128 << bits;
    let (a, b) = (u128::from(a) % modulus, u128::from(b) % modulus);
    let signed = |x: u128| {
        if x >= modulus / 2 {
            x as i128 - modulus as i128
        } else {
            x as i128
        }
    };
    let wrap = |x: i128| x.rem_euclid(modulus as i128) as u128;
    let count = (b % u128::from(bits)) as u32;
    let result = match op {
        AluOp::Add => (a + b) % modulus,
        AluOp::Sub => (modulus + a - b) % modulus,
        AluOp::Mul => (a * b) % modulus,
        AluOp::Div | AluOp::SDiv if b == 0 => 0,
        AluOp::Mod | AluOp::SMod if b == 0 => a,
        AluOp::Div => a / b,
        AluOp::Mod => a % b,
        AluOp::SDiv => wrap(signed(a) / signed(b)),
        AluOp::SMod => wrap(signed(a) % signed(b)),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Lsh => (a << count) % modulus,
        AluOp::Rsh => a >> count,
        AluOp::Arsh => wrap(signed(a) >> count),
    };
    result as u64
}

fn any_op() -> impl Strategy<Value = AluOp> {
    use AluOp::{Add, And, Arsh, Div, Lsh, Mod, Mov, Mul, Or, Rsh, SDiv, SMod, Sub, Xor};
    prop::sample::select(vec![
        Add, Sub, Mul, Div, SDiv, Or, And, Lsh, Rsh, Mod, SMod, Xor, Mov, Arsh,
    ])
}

fn any_alu() -> impl Strategy<Value = Instruction> {
    let edge = prop_oneof![Just(0), Just(-1), Just(1), Just(i32::MIN), any::<i32>()];
    let src = prop_oneof![
        edge.prop_map(Operand::Imm),
        (0u8..10).prop_map(|src| Operand::Reg(Reg::new(src).unwrap()))
    ];
    (any::<bool>(), any_op(), 0u8..10, src).prop_map(|(wide, op, dst, src)| Instruction::Alu {
        width: if wide { Width::W64 } else { Width::W32 },
        op,
        dst: Reg::new(dst).unwrap(),
        src,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn straight_lines_compute_what_the_reference_does(
        start in prop::array::uniform10(prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1 << 63), Just(1 << 31), any::<u64>()]),
        program in prop::collection::vec(any_alu(), 1..40),
        result in 0usize..10,
    ) {
        let mut regs = start;
        let text: String = (0..10).map(|n| format!("r{n} = {:#x} ll\n", start[n])).collect();
        let mut insns = assemble(&text);
        for instruction in &program {
            insns.extend(encode(instruction));
            let &Instruction::Alu { width, op, dst, src } = instruction else { unreachable!() };
            let b = match src {
                Operand::Reg(src) => regs[src.index()],
                Operand::Imm(imm) => i64::from(imm) as u64,
            };
            regs[dst.index()] = reference(width, op, regs[dst.index()], b);
        }
        insns.extend(assemble(&format!("r0 = r{result}\n exit")));
        let code = compiled(lowered(&decreed(insns), Variant::Plain));
        prop_assert_eq!(run(&*code, &mut Environment::default()), Ok(regs[result]));
    }
}
