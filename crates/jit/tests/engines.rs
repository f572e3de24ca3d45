//! The engines agree: random programs have the same result, leave the same memory behind and call the same helpers.

mod common;

use std::fmt::Write as _;
use std::sync::Arc;

use common::{Environment, assemble, compiles_for_aarch64, decreed, engines, lowered, run};
use hitless_jit::Variant;
use proptest::prelude::*;

/// Bytes of memory behind `r9`, and of initialised stack.
const MEMORY: usize = 64;

/// A register that programs compute with; `r8` counts turns and `r9` points to memory.
fn reg() -> impl Strategy<Value = String> {
    (0..8u32).prop_map(|n| format!("r{n}"))
}

fn half() -> impl Strategy<Value = String> {
    (0..8u32).prop_map(|n| format!("w{n}"))
}

/// Numbers at which arithmetic goes wrong, and any others.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        prop::sample::select(vec![
            0,
            1,
            -1,
            2,
            7,
            8,
            i64::MIN,
            i64::MAX,
            1 << 31,
            (1 << 31) - 1,
            1 << 32,
            -(1 << 31)
        ]),
        any::<i64>(),
        any::<i32>().prop_map(i64::from),
    ]
}

fn immediate() -> impl Strategy<Value = i32> {
    number().prop_map(|number| number as i32)
}

const SIZES: [(&str, usize); 4] = [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)];

/// An address of so many bytes, in memory or on the stack.
fn address(size: usize, aligned: bool) -> impl Strategy<Value = String> {
    let step = if aligned { size } else { 1 };
    (any::<bool>(), 0..=(MEMORY - size) / step).prop_map(move |(stack, at)| {
        let at = at * step;
        if stack {
            format!("(r10 -{})", MEMORY - at)
        } else {
            format!("(r9 +{at})")
        }
    })
}

/// A line, or several, without jumps.
fn line() -> impl Strategy<Value = String> {
    let op = || prop::sample::select(vec!["+=", "-=", "*=", "/=", "s/=", "|=", "&=", "%=", "s%=", "^=", "="]);
    let shift = || prop::sample::select(vec!["<<=", ">>=", "s>>="]);
    let size = || prop::sample::select(SIZES.to_vec());
    let word = || prop::sample::select(SIZES[2..].to_vec());
    prop_oneof![
        4 => (reg(), op(), reg()).prop_map(|(dst, op, src)| format!("{dst} {op} {src}")),
        4 => (half(), op(), half()).prop_map(|(dst, op, src)| format!("{dst} {op} {src}")),
        2 => (reg(), op(), immediate()).prop_map(|(dst, op, imm)| format!("{dst} {op} {imm}")),
        2 => (half(), op(), immediate()).prop_map(|(dst, op, imm)| format!("{dst} {op} {imm}")),
        2 => (reg(), shift(), reg()).prop_map(|(dst, op, src)| format!("{dst} {op} {src}")),
        2 => (half(), shift(), half()).prop_map(|(dst, op, src)| format!("{dst} {op} {src}")),
        1 => (reg(), shift(), 0..64).prop_map(|(dst, op, by)| format!("{dst} {op} {by}")),
        1 => (half(), shift(), 0..32).prop_map(|(dst, op, by)| format!("{dst} {op} {by}")),
        1 => (reg(), prop::sample::select(vec!["s8", "s16", "s32"]), reg())
            .prop_map(|(dst, bits, src)| format!("{dst} = ({bits}){src}")),
        1 => (half(), prop::sample::select(vec!["s8", "s16"]), half())
            .prop_map(|(dst, bits, src)| format!("{dst} = ({bits}){src}")),
        1 => reg().prop_map(|reg| format!("{reg} = -{reg}")),
        1 => half().prop_map(|half| format!("{half} = -{half}")),
        1 => (reg(), prop::sample::select(vec!["be16", "be32", "be64", "le16", "le32", "le64", "bswap16", "bswap32", "bswap64"]))
            .prop_map(|(reg, op)| format!("{reg} = {op} {reg}")),
        1 => (reg(), number()).prop_map(|(reg, number)| format!("{reg} = {number} ll")),
        3 => size().prop_flat_map(|(name, len)| (reg(), address(len, false))
            .prop_map(move |(dst, at)| format!("{dst} = *({name} *){at}"))),
        1 => prop::sample::select(vec![("s8", 1), ("s16", 2), ("s32", 4)]).prop_flat_map(|(name, len)| (reg(), address(len, false))
            .prop_map(move |(dst, at)| format!("{dst} = *({name} *){at}"))),
        3 => size().prop_flat_map(|(name, len)| (reg(), address(len, false))
            .prop_map(move |(src, at)| format!("*({name} *){at} = {src}"))),
        1 => size().prop_flat_map(|(name, len)| (immediate(), address(len, false))
            .prop_map(move |(imm, at)| format!("*({name} *){at} = {imm}"))),
        1 => size().prop_flat_map(|(name, len)| (reg(), address(len, true))
            .prop_map(move |(dst, at)| format!("{dst} = load_acquire(({name} *){at})"))),
        1 => size().prop_flat_map(|(name, len)| (reg(), address(len, true))
            .prop_map(move |(src, at)| format!("store_release(({name} *){at}, {src})"))),
        2 => (word(), prop::sample::select(vec!["+=", "|=", "&=", "^="])).prop_flat_map(|((name, len), op)|
            (reg(), address(len, true)).prop_map(move |(src, at)| format!("lock *({name} *){at} {op} {src}"))),
        2 => (word(), prop::sample::select(vec!["add", "or", "and", "xor"])).prop_flat_map(|((name, len), op)|
            (reg(), address(len, true)).prop_map(move |(src, at)| {
                let suffix = if len == 8 { "64" } else { "" };
                format!("{src} = atomic{suffix}_fetch_{op}(({name} *){at}, {src})")
            })),
        1 => word().prop_flat_map(|(name, len)| (reg(), address(len, true)).prop_map(move |(src, at)| {
            let suffix = if len == 8 { "64" } else { "" };
            format!("r0 = atomic{suffix}_cmpxchg(({name} *){at}, r0, {src})")
        })),
        1 => (300..304u32).prop_map(|id| format!("call bpf_fn#{id}")),
        1 => Just("call double".to_owned()),
        1 => Just("r1 = subprog[double]\nr3 &= 3\ncall bpf_fn#400\nr1 = 0".to_owned()),
    ]
}

/// A program: lines with jumps forwards over some, all of it gone through a few times.
fn program() -> impl Strategy<Value = String> {
    let cond = prop::sample::select(vec!["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"]);
    let operand = prop_oneof![(0..8u32).prop_map(Err), immediate().prop_map(Ok)];
    let jump = prop::option::weighted(0.2, (any::<bool>(), 0..8u32, cond, operand, 1..6usize));
    let numbers = prop::collection::vec(number(), 8);
    (numbers, prop::collection::vec((line(), jump), 1..40)).prop_map(|(numbers, lines)| {
        let mut text = String::from("r9 = r1\nr8 = 0\n");
        for (n, number) in numbers.iter().enumerate() {
            let _ = writeln!(text, "r{n} = {number} ll\n*(u64 *)(r10 -{}) = r{n}", 8 * (n + 1));
        }
        text.push_str("again: r8 += 1\n");
        let count = lines.len();
        for (i, (line, jump)) in lines.into_iter().enumerate() {
            let _ = writeln!(text, "l{i}: {line}");
            if let Some((wide, dst, cond, src, over)) = jump {
                let prefix = if wide { 'r' } else { 'w' };
                let src = match src {
                    Ok(imm) => imm.to_string(),
                    Err(reg) => format!("{prefix}{reg}"),
                };
                let _ = writeln!(text, "if {prefix}{dst} {cond} {src} goto l{}", (i + over).min(count));
            }
        }
        let _ = write!(
            text,
            "l{count}: if r8 < 3 goto again\nexit\n\
             double: *(u64 *)(r10 -8) = r1\nr0 = *(u64 *)(r10 -8)\nr0 += r2\nr6 = r0\nexit\n"
        );
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_do_the_same(text in program(), memory in prop::collection::vec(any::<u8>(), MEMORY)) {
        let verified = decreed(assemble(&text));
        for variant in [Variant::Plain, Variant::Traced] {
            let image = Arc::new(lowered(&verified, variant));
            compiles_for_aarch64(&image);
            let [interpreted, compiled] = engines().map(|(_, engine)| {
                let mut memory = memory.clone();
                let mut env = Environment::of(&mut memory);
                let code = engine.compile(Arc::clone(&image)).expect("compiles");
                let result = run(&*code, &mut env);
                let notes = env.notes;
                (result, memory, notes)
            });
            prop_assert_eq!(interpreted, compiled);
        }
    }
}
