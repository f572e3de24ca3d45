//! `bpf_snprintf()`, by formats made of parts.

use std::fmt::Write as _;

use hitless::{Engine, LoadError, Options, Packet, Runtime, Xdp};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

use crate::common::ARRAY;
use crate::oracle::{Oracle, Outcome};

/// What addresses point to: a string, addresses of networks, an empty string, a long string.
fn target() -> Vec<u8> {
    let mut target = b"hello\0\x0a\x00\x00\x01\0\xfe\x80".to_vec();
    target.resize(40, 1);
    target.push(0);
    target.extend([b'z'; 600]);
    target
}

/// The same program that the oracle makes. `None` if the verifier refuses it.
fn print_here(engine: Engine, text: &[u8], room: usize, args: &[String]) -> Option<Outcome> {
    let global = |name: &str, data: Vec<u8>, frozen: bool| MapSpec {
        name: name.into(),
        map_type: ARRAY,
        key_size: 4,
        value_size: data.len() as u32,
        max_entries: 1,
        flags: if frozen { 1 << 7 } else { 0 },
        data: Some(data),
        frozen,
        ..MapSpec::default()
    };
    let mut code = String::new();
    for (i, arg) in args.iter().enumerate() {
        match arg.strip_prefix('@') {
            Some(off) => writeln!(code, "r1 = map[idx:1][0]+{off}").unwrap(),
            None => writeln!(code, "r1 = {arg} ll").unwrap(),
        }
        writeln!(code, "*(u64 *)(r10 -{}) = r1", 8 * (args.len() - i)).unwrap();
    }
    writeln!(code, "r1 = map[idx:2][0]+0\nr2 = {room}\nr3 = map[idx:0][0]+0").unwrap();
    let len = 8 * args.len();
    if args.is_empty() {
        code += "r4 = 0\n";
    } else {
        writeln!(code, "r4 = r10\nr4 += -{len}").unwrap();
    }
    writeln!(
        code,
        "r5 = {len}\ncall bpf_snprintf#165\nr1 = map[idx:3][0]+0\n*(u64 *)(r1 +0) = r0\nr0 = 2\nexit"
    )
    .unwrap();
    let spec = ObjectSpec {
        license: "GPL".into(),
        maps: vec![
            global(".rodata", [text, b"\0"].concat(), true),
            global("target", [&target()[..], b"\0"].concat(), false),
            global("out", vec![b'#'; room + 8], false),
            global("result", vec![0; 8], false),
        ],
        programs: vec![ProgramSpec {
            name: "format".into(),
            section: "xdp".into(),
            insns: hitless_isa::asm::assemble(&code).unwrap_or_else(|error| panic!("{error}:\n{code}")),
            ..ProgramSpec::default()
        }],
        ..ObjectSpec::default()
    };
    let runtime = Runtime::new(Options {
        engine,
        ..Options::default()
    });
    let object = match runtime.load(&spec) {
        Ok(object) => object,
        Err(LoadError::Rejected { .. }) => return None,
        Err(error) => panic!("{error:?}"),
    };
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, object.program("format").unwrap()).unwrap();
    hook.run(&mut Packet::new(&mut [0; 64])).unwrap();
    let value = |map: &str| object.map(map).unwrap().lookup(&[0; 4]).unwrap().unwrap();
    Some(Outcome {
        errno: 0,
        result: u64::from_ne_bytes(value("result").try_into().unwrap()) as u32,
        data: value("out"),
        context: Vec::new(),
    })
}

/// Compares both; addresses that are not told differ, but are as long.
fn compare(oracle: &mut Oracle, text: &[u8], room: usize, args: &[String]) {
    let there = oracle.format(text, &target(), room, args);
    let name = format!("{} {args:?} in {room}", text.escape_ascii());
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let Some(here) = print_here(engine, text, room, args) else {
            assert_eq!(there.errno, 22, "refused here only: {name}");
            continue;
        };
        assert_eq!(
            (here.errno, here.result as i32),
            (there.errno, there.result as i32),
            "{name}"
        );
        let [here, there] = [&here, &there].map(|outcome| outcome.data.escape_ascii().to_string());
        assert_eq!(here, there, "{name}");
    }
}

#[test]
fn formats_of_parts() {
    let Some(mut oracle) = Oracle::empty() else { return };
    let texts: [&[u8]; 8] = [b"", b" ", b"abc", b"%%", b"\xc3\xa9", b"|", b"\n", b"\x01"];
    let flags = ["", "", "", "0", "-", "+", " ", "-0", "5", "05", "-5", "12", "+8", "20"];
    let conversions = [
        "d", "i", "u", "x", "X", "ld", "lu", "lx", "lX", "lld", "llu", "llx", "c", "s", "s", "px", "ps", "pS", "pB",
        "pks", "pI4", "pi4", "pI6", "pi6", "pI6c", "o", "f", "n", "lc", "pf", ".3d", "#x", "*d", "",
    ];
    let args = [
        "0",
        "1",
        "65",
        "0xffffffffffffffff",
        "0x8000000000000000",
        "0x7fffffff",
        "0x80000000",
        "1234567",
        "@0",
        "@6",
        "@13",
        "@40",
        "@41",
        "@300",
    ];
    let mut state = 9u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % bound
    };
    for _ in 0..1500 {
        let (mut text, mut given) = (Vec::new(), Vec::new());
        for _ in 0..1 + below(4) {
            text.extend_from_slice(texts[below(texts.len() - 1)]);
            let wrong = below(4) == 0;
            let conversion = conversions[below(if wrong {
                conversions.len()
            } else {
                conversions.len() - 9
            })];
            text.extend_from_slice(format!("%{}{conversion}", flags[below(flags.len())]).as_bytes());
            // What is a text needs to be an address that both have, or none has.
            let address = ["s", "pks", "pI4", "pi4", "pI6", "pi6", "pI6c"].contains(&conversion);
            given.push(
                args[if address {
                    [0, 8, 9, 10, 11, 12, 13][below(7)]
                } else {
                    below(8)
                }]
                .to_owned(),
            );
        }
        text.extend_from_slice(texts[below(texts.len())]);
        if below(20) == 0 {
            given.pop();
        }
        let has = |part: &str| text.windows(part.len()).any(|at| at == part.as_bytes());
        if ["pB", "pI", "pi"].into_iter().any(has) {
            // Linux overlooks that there is no room for them.
            let short = |arg: &String| if arg.len() > 3 { "@0" } else { "@6" }.to_owned();
            let long = given.iter_mut().filter(|arg| ["@41", "@300"].contains(&arg.as_str()));
            long.for_each(|arg| *arg = short(arg));
        }
        // Behind text that is not seen, Linux reads what is left of other texts.
        let leftovers = ["pks", "pI", "pi", "pB"].into_iter().any(has);
        let room = if leftovers {
            700
        } else {
            [1, 2, 8, 20, 64, 700, 0][below(7)]
        };
        compare(&mut oracle, &text, room, &given);
    }
}

#[test]
fn addresses_are_not_told() {
    let Some(mut oracle) = Oracle::empty() else { return };
    for text in ["%p", "%pK", "%20p|", "%-20pK|"] {
        let args = ["0x1234567890".to_owned()];
        let there = oracle.format(text.as_bytes(), &target(), 64, &args);
        let here = print_here(Engine::Compiler, text.as_bytes(), 64, &args).expect("a format");
        let shape = |outcome: &Outcome| -> Vec<u8> {
            // The number may be shorter, and filled up.
            let digit = |byte: &u8| match byte {
                b'0'..=b'9' | b'a'..=b'f' | b' ' => b'x',
                _ => *byte,
            };
            outcome.data.iter().map(digit).collect()
        };
        assert_eq!((here.result, shape(&here)), (there.result, shape(&there)), "{text}");
        assert!(!here.data.starts_with(b"0000001234567890"));
        // The same address is the same each time, of one runtime: two of them have nothing in common.
        let other = print_here(Engine::Compiler, text.as_bytes(), 64, &args).expect("a format");
        assert_ne!(here.data, other.data, "{text}");
    }
    // Neither NULL nor errors are addresses.
    for arg in ["0", "0xffffffffffffffff", "0xfffffffffffff001"] {
        compare(&mut oracle, b"%p %pK", 64, &[arg.to_owned(), arg.to_owned()]);
    }
}
