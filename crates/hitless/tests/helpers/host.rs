//! Helpers that have the host at the other end: records of both directions, perf events, strings.

use hitless::context::{Kprobe, Registers};
use hitless::maps::{PerfEventArray, UserRingBuf};
use hitless::{Engine, TestRun};

use crate::both::Here;

const PACKET: [u8; 64] = [0; 64];
const ENGINES: [Engine; 2] = [Engine::Compiler, Engine::Interpreter];

/// What the kernel answers with these arguments, by its UAPI.
const ENOENT: i64 = -2;
const E2BIG: i64 = -7;
const EINVAL: i64 = -22;
const EFAULT: i64 = -14;

fn drain(here: &Here, limit: u32, flags: u32) -> Vec<i64> {
    here.run_tc("drain", &PACKET, [limit, flags, 0, 0, 0]).answers()[..4].to_vec()
}

#[test]
fn programs_drain_what_the_host_writes() {
    for engine in ENGINES {
        let here = Here::load("helpers_host", engine);
        let commands: UserRingBuf = here.object.get("commands").unwrap();
        assert_eq!(drain(&here, 100, 0), [0; 4]);
        for word in 1..=5u64 {
            let record = [&word.to_ne_bytes()[..], &[word as u8; 3]].concat();
            commands.write(&record).unwrap();
        }
        // A short one has no eight bytes to be had.
        commands.write(&[9; 4]).unwrap();
        assert_eq!(drain(&here, 2, 0), [2, 2, 3, 3]);
        assert_eq!(drain(&here, 100, 0), [4, 4, 12, 12]);
        assert_eq!(drain(&here, 100, 0), [0; 4]);
        assert_eq!(drain(&here, 100, 4), [EINVAL, 0, 0, 0]);
        // The room is the host's again.
        for _ in 0..3000 {
            commands.write(&[0; 100]).unwrap();
            assert_eq!(drain(&here, 100, 1)[0], 1);
        }
    }
}

#[test]
fn programs_report_to_the_host() {
    for engine in ENGINES {
        let here = Here::load("helpers_host", engine);
        let report = |word, packet| here.run_tc("report", &PACKET, [word, packet, 0, 0, 0]);
        assert_eq!(
            report(7, 0).answers()[..6],
            [ENOENT, ENOENT, ENOENT, EINVAL, EINVAL, E2BIG]
        );
        let events: PerfEventArray = here.object.get("events").unwrap();
        let mut reader = events.reader(1).unwrap();
        let result = report(8, 0);
        assert_eq!(result.answers()[..6], [0, 0, 0, EINVAL, EINVAL, E2BIG]);
        let time = |at: usize| u64::from_ne_bytes(result.bytes("bytes")[at..at + 8].try_into().unwrap());
        assert!(time(0) == 0 && time(8) > 0 && time(8) == time(16));
        assert_eq!(report(9, 64).answers()[0], 0);
        assert_eq!(report(9, 65).answers()[0], EFAULT, "more than there is of the packet");
        let mut records = Vec::new();
        reader
            .read(|_, record| {
                let hitless::PerfRecord::Sample(bytes) = record else {
                    panic!("{record:?}")
                };
                records.push((bytes.len(), bytes[16], bytes[24..].iter().all(|byte| *byte == 0)));
            })
            .unwrap();
        assert_eq!(records, [(28, 8, true), (92, 9, true)]);
    }
}

#[test]
fn strings_of_the_host() {
    for engine in ENGINES {
        let here = Here::load("helpers_host", engine);
        let strings = |flags: u64| {
            let context = [(c"somebody".as_ptr() as u64).to_ne_bytes(), flags.to_ne_bytes()].concat();
            let test = TestRun {
                ctx_in: Some(&context),
                ..TestRun::default()
            };
            let program = here.object.program("strings").unwrap();
            here.runtime.test_run(program, &test).unwrap();
            here.look()
        };
        let result = strings(0);
        assert_eq!(result.answers()[..3], [9, 4, EFAULT]);
        let bytes = result.bytes("bytes");
        assert_eq!(
            (&bytes[..9], bytes[9], &bytes[32..36]),
            (&b"somebody\0"[..], b'#', &b"som\0"[..])
        );
        let result = strings(1);
        assert_eq!(result.answers()[..3], [9, 4, EFAULT]);
        let bytes = result.bytes("bytes");
        assert_eq!(
            (&bytes[..8], &bytes[8..16], bytes[16]),
            (&b"somebody"[..], &[0; 8][..], b'#')
        );
        assert_eq!((&bytes[64..80], bytes[80]), (&[0; 16][..], b'#'));
        assert_eq!(strings(2).answers()[..3], [EINVAL; 3]);
    }
}

#[test]
fn where_a_probe_is() {
    for engine in ENGINES {
        let here = Here::load("helpers_host", engine);
        let mut registers = Registers {
            rip: 0x1234_5678_9abc,
            ..Registers::entry([0; 6])
        };
        here.run_at::<Kprobe>("where", &mut registers);
        assert_eq!(here.look().answers()[0], 0x1234_5678_9abc);
    }
}
