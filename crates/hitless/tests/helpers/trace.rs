//! `bpf_trace_printk()` and its neighbour.

use std::time::Duration;

use hitless::{Engine, TraceText};

use crate::both::Here;

fn input(text: &str) -> Vec<u8> {
    let mut bytes = vec![10, 0, 0, 1];
    bytes.resize(32, 0);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

#[test]
fn what_is_printed_can_be_read() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_trace", engine);
        let pipe = here.runtime.trace_pipe();
        let result = here.run("trace", &input("somebody"));
        let expected = "somebody has 42, 10.0.0.1\n";
        assert_eq!(result.answers()[..2], [expected.len() as i64; 2]);
        for _ in 0..2 {
            let TraceText { text, thread, lost, .. } = pipe.wait(Duration::ZERO).unwrap().unwrap();
            assert_eq!((String::from_utf8(text).unwrap().as_str(), lost), (expected, 0));
            assert_eq!(thread, rustix::thread::gettid().as_raw_nonzero().get() as u32);
        }
        assert_eq!(pipe.read(), Ok(None));
    }
}

#[test]
fn a_reader_is_woken() {
    let here = Here::load("helpers_trace", Engine::Compiler);
    let pipe = here.runtime.trace_pipe();
    let reader = std::thread::spawn(move || pipe.wait(Duration::MAX).unwrap().unwrap());
    here.run("trace", &input("somebody"));
    assert!(reader.join().unwrap().text.starts_with(b"somebody has"));
}

#[test]
fn wrong_formats() {
    let here = Here::load("helpers_trace", Engine::Compiler);
    let result = here.run("trace_errors", &input(""));
    assert_eq!(result.answers()[..6], [-22; 6]);
    assert_eq!(here.runtime.trace_pipe().read(), Ok(None));
}
