//! Helpers that tell the time and who runs the program.

use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use hitless::Engine;

use crate::both::{Both, Here};

#[test]
fn clocks_and_random_numbers() {
    let Some(mut both) = Both::load("helpers_task") else {
        return;
    };
    let packet = [0; 64];
    let (_, before) = both.run("clocks", &packet);
    let (here, _) = both.run("clocks", &packet);
    let (_, after) = both.run("clocks", &packet);
    let (before, after) = (before.answers(), after.answers());
    for here in here {
        let here = here.answers();
        for clock in 0..5 {
            let range = before[clock]..=after[clock];
            // The count of ticks is computed from a clock here, which began earlier.
            let close = clock == 4 && (before[4]..=after[4] + 5000).contains(&here[4]);
            assert!(
                close || range.contains(&here[clock]),
                "clock {clock}: {} in {range:?}",
                here[clock]
            );
        }
    }
}

#[test]
fn time_passes_and_random_numbers_differ() {
    let here = Here::load("helpers_task", Engine::Compiler);
    let [first, second] = [0, 1].map(|_| here.run("clocks", &[0; 64]).answers());
    for clock in [0, 1, 3] {
        assert!(first[clock] < second[clock], "clock {clock}");
    }
    let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    // Leap seconds.
    assert!((first[3] - real).abs() < 60_000_000_000);
    let random = |answers: &[i64]| answers[5];
    let numbers: std::collections::BTreeSet<_> = (0..20)
        .map(|_| random(&here.run("clocks", &[0; 64]).answers()))
        .collect();
    assert!(numbers.len() > 15 && numbers.iter().all(|number| u32::try_from(*number).is_ok()));
}

#[test]
fn who_runs_the_program() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_task", engine);
        let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap();
        let packet = [
            namespace.dev().to_ne_bytes(),
            namespace.ino().to_ne_bytes(),
            [0; 8],
            [0; 8],
        ]
        .concat();
        let result = here.run("who", &packet);
        let answers = result.answers();
        let (process, thread) = (
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero().get() as u32,
        );
        assert_eq!(answers[0] as u64, u64::from(process) << 32 | u64::from(thread));
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        assert_eq!(answers[1] as u64, u64::from(gid) << 32 | u64::from(uid));
        let comm = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
        let comm = comm.trim_end().as_bytes();
        let bytes = result.bytes("bytes");
        assert_eq!((&bytes[..comm.len()], bytes[comm.len()]), (comm, 0));
        assert_eq!((&bytes[32..35], bytes[35], bytes[36]), (&comm[..3], 0, b'#'));
        assert_eq!((bytes[64 + 23], bytes[64 + 24]), (0, b'#'));
        assert!(answers[5] < 2 * std::thread::available_parallelism().unwrap().get() as i64);
        assert_eq!(answers[9..11], [0, 0]);
        assert_eq!(answers[11..14], [0, -22, -22]);
        assert_eq!(bytes[128..136], [thread.to_ne_bytes(), process.to_ne_bytes()].concat());
        assert_eq!(
            (&bytes[160..172], &bytes[192..200], bytes[200]),
            (&[0; 12][..], &[0; 8][..], b'#')
        );
        assert_eq!(answers[14..18], [0, -22, 0, -22]);
    }
}

#[test]
fn answers_of_linux() {
    let Some(mut both) = Both::load("helpers_task") else {
        return;
    };
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap();
    let packet = [
        namespace.dev().to_ne_bytes(),
        namespace.ino().to_ne_bytes(),
        [0; 8],
        [0; 8],
    ]
    .concat();
    let (here, there) = both.run("who", &packet);
    // The process there is another one, of the same user in the same control group and namespace; its name is another one, too.
    for here in here {
        for answer in [1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17] {
            assert_eq!(here.answers()[answer], there.answers()[answer], "answer {answer}");
        }
        let [here, there] = [&here, &there].map(|result| &result.bytes("bytes")[136..]);
        assert_eq!(here, there);
    }
}
