//! Loading programs, what is known of them, and running them by themselves.

use hitless_isa::asm::assemble;

use crate::conformance::{Call, Session, Value, sessions};

fn code(text: &str) -> Vec<u8> {
    let insns = assemble(text).expect("it assembles");
    insns.iter().flat_map(|insn| insn.to_bytes()).collect()
}

/// Loads instructions from buffer 0, with the license in buffer 1.
fn load(program_type: u32, insns: &[u8], more: &[(usize, Value)]) -> Call {
    let fields = [
        (0, Value::U32(program_type)),
        (4, Value::U32((insns.len() / 8) as u32)),
        (8, Value::Buffer(0)),
        (16, Value::Buffer(1)),
    ];
    Call {
        command: 5,
        fields: fields.into_iter().chain(more.iter().cloned()).collect(),
        size: 148,
    }
}

fn prepare(sessions: &mut (Session, Session), insns: &[u8], license: &[u8]) {
    for session in [&mut sessions.0, &mut sessions.1] {
        session.fill(0, insns);
        session.fill(1, license);
    }
}

fn compare(sessions: &mut (Session, Session), call: &Call, what: &str) -> i64 {
    let (found, expected) = (sessions.0.call(call).result, sessions.1.call(call).result);
    assert_eq!(found, expected, "{what}: hitless left, Linux right");
    found
}

#[test]
fn what_is_loaded_and_how_it_is_refused() {
    let Some(mut both) = sessions() else { return };
    let good = code("r0 = 0\nexit");
    prepare(&mut both, &good, b"GPL\0");
    for program_type in [1, 3, 4, 6, 31] {
        for flags in [0, 16] {
            let flags = [(44, Value::U32(flags))];
            compare(&mut both, &load(program_type, &good, &flags), "a program of this type");
        }
    }
    for program_type in [0, 33, 1000] {
        compare(&mut both, &load(program_type, &good, &[]), "no such type");
    }
    let cases: [(&str, &[(usize, Value)]); 13] = [
        ("no instructions", &[(4, Value::U32(0))]),
        ("too many", &[(4, Value::U32(1_000_001))]),
        ("instructions nowhere", &[(8, Value::U64(8))]),
        ("license nowhere", &[(16, Value::U64(8))]),
        ("flags", &[(44, Value::U32(1 << 20))]),
        ("a name", &[(48, Value::U32(u32::from_ne_bytes(*b"a b\0")))]),
        ("an attach type", &[(68, Value::U32(37))]),
        ("a device", &[(64, Value::U32(1))]),
        ("a type to attach to", &[(108, Value::U32(1))]),
        ("a program to attach to", &[(112, Value::Fd(99))]),
        ("functions without types", &[(88, Value::U32(1)), (72, Value::Fd(99))]),
        ("a log without room", &[(24, Value::U32(1)), (28, Value::U32(64))]),
        ("a log without level", &[(28, Value::U32(64)), (32, Value::Buffer(3))]),
    ];
    for program_type in [1, 6] {
        for (what, more) in &cases {
            compare(&mut both, &load(program_type, &good, more), what);
        }
    }
    for (what, text) in [
        ("no result", "exit"),
        ("memory that is none", "r0 = *(u64 *)(r1 +4000)\nexit"),
        ("a stack that is not there", "r0 = *(u64 *)(r10 +8)\nexit"),
        ("no end", "r0 = 0"),
        ("a jump outside", "goto pc+100\nexit"),
        ("no such helper", "call nothing#5000\nexit"),
        ("a loop", "r0 = 0\ngoto pc-2"),
        ("dead code", "r0 = 0\nexit\nr0 = 1\nexit"),
        ("division", "r0 = 1\nr0 /= 0\nexit"),
    ] {
        let bad = code(text);
        prepare(&mut both, &bad, b"GPL\0");
        compare(&mut both, &load(1, &bad, &[]), what);
    }
}

/// A program that uses a map by its descriptor, what is known of it, and of the map.
#[test]
fn maps_by_descriptor() {
    let Some(mut both) = sessions() else { return };
    let map = Call {
        command: 0,
        fields: [2u32, 4, 8, 1]
            .into_iter()
            .enumerate()
            .map(|(n, v)| (4 * n, Value::U32(v)))
            .collect(),
        size: 72,
    };
    compare(&mut both, &map, "a map");
    let insns = |session: &Session| {
        let mut insns = code("r1 = 0 ll\nr0 = 0\nexit");
        insns[1] |= 1 << 4;
        insns[4..8].copy_from_slice(&(session.fd(0) as u32).to_le_bytes());
        insns
    };
    for session in [&mut both.0, &mut both.1] {
        let insns = insns(session);
        session.fill(0, &insns);
        session.fill(1, b"GPL\0");
    }
    compare(
        &mut both,
        &load(1, &[0; 32], &[(48, Value::U32(u32::from_ne_bytes(*b"prog")))]),
        "it loads",
    );
    // bpf_prog_info, with room for one map's id in buffer 3 and for instructions in buffer 0.
    let mut infos = Vec::new();
    for session in [&mut both.0, &mut both.1] {
        let mut info = [0u8; 232];
        info[52..56].copy_from_slice(&1u32.to_ne_bytes());
        info[56..64].copy_from_slice(&session.address(3).to_ne_bytes());
        info[20..24].copy_from_slice(&512u32.to_ne_bytes());
        info[32..40].copy_from_slice(&session.address(0).to_ne_bytes());
        session.fill(2, &info);
        let get = Call {
            command: 15,
            fields: vec![(0, Value::Fd(1)), (4, Value::U32(232)), (8, Value::Buffer(2))],
            size: 16,
        };
        assert_eq!(session.call(&get).result, 0, "{}", session.name());
        let info = session.buffer(2)[..232].to_vec();
        let u32_at = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"));
        // Type, tag, length of instructions, number of maps, name, license.
        infos.push((
            u32_at(0),
            info[8..16].to_vec(),
            u32_at(20),
            u32_at(52),
            info[64..80].to_vec(),
            u32_at(84),
        ));
        let map_id = u32::from_ne_bytes(session.buffer(3)[..4].try_into().expect("four bytes"));
        let insns = &session.buffer(0)[..16];
        assert_eq!(insns[1] >> 4, 1);
        assert_eq!(insns[4..8], map_id.to_le_bytes());
    }
    assert_eq!(infos[0], infos[1]);
}

#[test]
fn runs_of_programs() {
    let Some(mut both) = sessions() else { return };
    let insns = code("r0 = 2\nexit");
    prepare(&mut both, &insns, b"GPL\0");
    for (program_type, flags) in [(6, 0), (3, 0), (31, 16)] {
        let flags = [(44, Value::U32(flags))];
        compare(&mut both, &load(program_type, &insns, &flags), "it loads");
    }
    let mut differ = Vec::new();
    for program in 0..3 {
        for (data_in, data_out) in [
            (0, 0),
            (13, 0),
            (14, 14),
            (64, 64),
            (64, 20),
            (64, 512),
            (4000, 0),
            (100_000, 0),
        ] {
            for (ctx_in, ctx_out) in [(0, 0), (24, 0), (192, 192), (200, 10), (4096, 0), (70_000, 0)] {
                for (at, value) in [(64, 0), (64, 1), (68, 1), (72, 1), (32, 3)] {
                    let buffer = |size: u32, number| {
                        if size == 0 {
                            Value::U64(0)
                        } else {
                            Value::Buffer(number)
                        }
                    };
                    let run = Call {
                        command: 10,
                        fields: vec![
                            (0, Value::Fd(program)),
                            (8, Value::U32(data_in.min(512))),
                            (12, Value::U32(data_out)),
                            (16, buffer(data_in, 0)),
                            (24, buffer(data_out, 1)),
                            (40, Value::U32(ctx_in.min(512))),
                            (44, Value::U32(ctx_out)),
                            (48, buffer(ctx_in, 2)),
                            (56, buffer(ctx_out, 3)),
                            (at, Value::U32(value)),
                        ],
                        size: 80,
                    };
                    for session in [&mut both.0, &mut both.1] {
                        for number in 0..4 {
                            session.fill(number, &[0; 512]);
                        }
                        if program == 0 {
                            // The packet of an XDP program ends where its data ends.
                            session.fill(2, &u64::to_ne_bytes(u64::from(data_in.min(512)) << 32));
                        }
                    }
                    let (mut found, mut expected) = (both.0.call(&run), both.1.call(&run));
                    for outcome in [&mut found, &mut expected] {
                        // How long it took is nobody's business.
                        outcome.attr[36..40].fill(0);
                    }
                    if found != expected {
                        let differing = |n: usize| found.buffers[n] != expected.buffers[n];
                        differ.push(format!(
                            "program {program}: data {data_in}/{data_out}, ctx {ctx_in}/{ctx_out}, {at}={value}: {} {:?}, Linux {} {:?}; buffers {:?}",
                            found.result,
                            &found.attr[..80],
                            expected.result,
                            &expected.attr[..80],
                            (0..4).filter(|n| differing(*n)).collect::<Vec<_>>(),
                        ));
                    }
                }
            }
        }
    }
    differ.truncate(12);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
