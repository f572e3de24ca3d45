//! What is refused, and how it is said.

mod common;

use common::{EXAMPLES, data, example, refusal};
use hitless_object::ObjectSpec;
use proptest::prelude::*;

fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn other_files() {
    let good = example("flows_v1");
    assert_eq!(
        refusal(b""),
        "not a BPF object: 0 bytes, expected at least 64 for an ELF header"
    );
    assert_eq!(
        refusal(&good[..20]),
        "not a BPF object: 20 bytes, expected at least 64 for an ELF header"
    );
    assert_eq!(
        refusal(b"#!/bin/sh"),
        "not a BPF object: magic [23, 21, 2f, 62], expected [7f, 45, 4c, 46] (ELF)"
    );
    assert_eq!(
        refusal(&with(&good, 4, &[1])),
        "not a BPF object: class 1 (32 bits), expected 2 (64 bits)"
    );
    let big = "not a BPF object: data encoding 2 (big-endian), expected 1 (little-endian)";
    assert_eq!(refusal(&with(&good, 5, &[2])), big);
    assert_eq!(
        refusal(&with(&good, 18, &[62, 0])),
        "not a BPF object: machine 62 (x86-64), expected 247 (BPF)"
    );
    assert_eq!(
        refusal(&with(&good, 16, &[2, 0])),
        "not a BPF object: file type 2 (executable), expected 1 (relocatable)"
    );
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(refusal(&own).starts_with("not a BPF object: machine "));
}

#[test]
fn unsupported_features() {
    let refused = |name: &str| refusal(&data(&format!("refused_{name}")));
    assert_eq!(
        refused("CORE"),
        "program \"program\": CO-RE relocation of type \"struct task\" in function \"pid_of\" (instruction 0 of section \
         .text) is not supported; build without preserve_access_index"
    );
    assert_eq!(
        refused("EXTERN"),
        "section xdp, instruction 0: reference to \"bpf_something\": extern symbols are not supported"
    );
    assert_eq!(refused("VALUES"), "map \"outer\": unsupported attribute \"values\"");
    assert_eq!(
        refused("POINTER"),
        "section .data: pointer to \"target\" at offset 8: pointers in global data are not supported"
    );
    assert_eq!(
        refused("LOCKS"),
        "map \"locked\": 2 bpf_spin_locks in the value, at most one is supported"
    );
    assert_eq!(
        refused("LEGACY"),
        "section maps: legacy map definitions are not supported, declare maps in .maps"
    );
}

#[test]
fn damaged_type_information() {
    let bytes = example("flows_v1");
    let at = bytes
        .windows(8)
        .position(|w| w == [0x9f, 0xeb, 1, 0, 24, 0, 0, 0])
        .unwrap();
    assert_eq!(
        refusal(&with(&bytes, at + 2, &[7])),
        "section .BTF is malformed: version 7, expected 1"
    );
}

#[test]
fn every_prefix_is_refused() {
    for name in EXAMPLES {
        let bytes = example(name);
        for len in 0..bytes.len() {
            let text = refusal(&bytes[..len]);
            assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
        }
    }
    let bytes = example("flows_v1");
    let (len, end) = (bytes.len() - 1, bytes.len());
    let start = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
    let expected = format!("truncated: section header table takes bytes {start} to {end}, but the file has {len}");
    assert_eq!(refusal(&bytes[..len]), expected);
}

/// Where damage does something: the headers of the file and of its sections, symbols and relocations, then all the rest.
fn interesting(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let table = word(40);
    let mut ranges = vec![0..64, table..bytes.len(), 0..bytes.len()];
    for header in (table..bytes.len()).step_by(64) {
        let (start, len) = (word(header + 24), word(header + 32));
        if len > 0 && start + len <= bytes.len() {
            ranges.push(start..start + len);
        }
    }
    ranges
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_objects_do_no_harm(
        name in prop::sample::select(EXAMPLES.to_vec()),
        flips in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff)]),
            1..6,
        ),
    ) {
        let mut bytes = example(name);
        let ranges = interesting(&bytes);
        for (range, at, value) in flips {
            let range = &ranges[range.index(ranges.len())];
            bytes[range.start + at.index(range.len())] = value;
        }
        match ObjectSpec::parse(&bytes) {
            Ok(object) => {
                let held: usize = object.maps.iter().filter_map(|map| map.data.as_ref()).map(Vec::len).sum();
                prop_assert!(held <= bytes.len());
                for program in &object.programs {
                    prop_assert!(program.insns.len() * 8 <= bytes.len());
                    let _ = (program.kind(), program.line(0).map(ToString::to_string));
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
