//! What is refused, and how it is said.

mod common;

use common::elf::{self, Builder, EXIT};
use common::{EXAMPLES, FEATURES, data, example, refusal};
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
    let big = "not a BPF object: data encoding 2 (big-endian), expected 1 (little-endian): build with -target bpfel";
    assert_eq!(refusal(&with(&good, 5, &[2])), big);
    assert_eq!(
        refusal(&with(&good, 18, &[62, 0])),
        "not a BPF object: machine 62 (x86-64), expected 247 (BPF): build with -target bpf"
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
        refused("POINTER"),
        "section .data: pointer to \"target\" at offset 8: pointers in global data are not supported, as no address is \
         known before the object is loaded; use an array of characters for a text, an index for a pointer to data"
    );
    assert_eq!(
        refused("LOCKS"),
        "map \"locked\": 2 bpf_spin_locks in the value, at most one is supported"
    );
}

#[test]
fn symbols_that_are_nowhere() {
    assert_eq!(
        refusal(&data("code_UNDECLARED")),
        "section xdp, instruction 1: reference to \"somewhere_else\": is not defined in the object: declare it with __ksym \
         if it is the kernel's, with __kconfig if it is a configuration value, or link the object that defines it (bpftool \
         gen object)"
    );
    assert_eq!(
        refusal(&data("code_NO_BTF")),
        "section tp_btf/sched_switch, instruction 0: reference to \"bpf_task_acquire\": is not defined in the object, and \
         there is no BTF that says what it is: build with -g"
    );
    assert_eq!(
        refusal(&data("code_KCONFIG_STRUCT")),
        "extern \"CONFIG_PAIR\" is a struct pair, expected an integer, a bool, an enum libbpf_tristate or an array of char"
    );
}

/// An object with one program that has one relocation, of this kind and for this symbol.
fn with_reloc(kind: u32, section: u32, symbol_kind: u8) -> Builder {
    let mut builder = Builder::new();
    let xdp = builder.code("xdp", &[elf::call(-1), EXIT]);
    builder.symbol("program", elf::GLOBAL_FUNC, xdp, 0, 16);
    let symbol = builder.symbol("symbol", symbol_kind, section, 0, 8);
    builder.reloc(xdp, 0, symbol, kind, None);
    builder
}

#[test]
fn relocations_of_code() {
    let refused = |kind, section| refusal(&with_reloc(kind, section, elf::GLOBAL_NOTYPE).build());
    let reference = "section xdp, instruction 0: reference to \"symbol\": ";
    assert_eq!(
        refused(3, 0),
        format!("{reference}relocation R_BPF_64_ABS32 of opcode 85 is not supported")
    );
    assert_eq!(
        refused(77, 0),
        format!("{reference}relocation type 77 of opcode 85 is not supported")
    );
    assert_eq!(
        refused(10, elf::COMMON),
        format!("{reference}has no place yet: build with -fno-common")
    );
    assert_eq!(
        refused(10, elf::ABSOLUTE),
        format!("{reference}is at a fixed address, which programs cannot use")
    );
    let mut builder = with_reloc(10, 0, elf::GLOBAL_NOTYPE);
    builder.symbol_table = Some(1);
    assert_eq!(
        refusal(&builder.build()),
        "section xdp: relocations with the symbols of section 1, expected those of 3"
    );
}

#[test]
fn maps_in_a_section_of_another_name() {
    let mut builder = Builder::new();
    let xdp = builder.code("xdp", &[elf::WIDE[0], elf::WIDE[1], EXIT]);
    builder.symbol("program", elf::GLOBAL_FUNC, xdp, 0, 24);
    let maps = builder.section(".maps2", elf::PROGBITS, elf::WRITABLE, &[0; 32]);
    let map = builder.symbol("flows", elf::GLOBAL_OBJECT, maps, 0, 32);
    builder.reloc(xdp, 0, map, 1, None);
    assert_eq!(
        refusal(&builder.build()),
        "section xdp, instruction 0: reference to \"flows\": symbol in section .maps2, which is neither code nor global \
         data: maps belong in .maps, data in .data, .rodata or .bss"
    );
}

#[test]
fn code_that_is_not_as_it_should_be() {
    let mut builder = Builder::new();
    builder.code("tc", &[EXIT]);
    assert_eq!(
        refusal(&builder.build()),
        "section tc: holds code, but no symbol says where a function starts: keep symbols when stripping, and declare \
         functions of assembly with .type NAME,@function"
    );
    let mut builder = Builder::new();
    builder.section(".BTF", elf::PROGBITS, elf::COMPRESSED, &[0; 24]);
    assert_eq!(
        refusal(&builder.build()),
        "section .BTF: is compressed, which is not supported: build without --compress-debug-sections"
    );
    let mut builder = Builder::new();
    let tc = builder.code("tc", &[EXIT, EXIT]);
    builder.symbol("one", elf::GLOBAL_FUNC, tc, 0, 16);
    builder.symbol("two", elf::GLOBAL_FUNC, tc, 8, 8);
    assert_eq!(
        refusal(&builder.build()),
        "function \"two\" in section tc: overlaps with function \"one\""
    );
}

#[test]
fn copies_of_subprograms_are_bounded() {
    // Each of the programs, 100 bytes of the file, has a copy of the large function.
    let mut builder = Builder::new();
    let text = builder.code(".text", &[[elf::mov(1)].repeat(9999), vec![EXIT]].concat());
    let large = builder.symbol("large", elf::GLOBAL_FUNC, text, 0, 80_000);
    let programs = builder.code("xdp", &[[elf::call(-1), EXIT]].concat().repeat(300));
    for i in 0..300 {
        builder.symbol(&format!("p{i}"), elf::GLOBAL_FUNC, programs, i * 16, 16);
        builder.reloc(programs, i * 16, large, 10, None);
    }
    let text = refusal(&builder.build());
    assert!(
        text.starts_with("bytes of all programs with their copies of subprograms: 16"),
        "{text}"
    );
    assert!(text.ends_with(", at most 16777216 are supported"), "{text}");
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
    #![proptest_config(ProptestConfig::with_cases(8000))]

    #[test]
    fn damaged_objects_do_no_harm(
        good in prop::sample::select([EXAMPLES.map(example).to_vec(), FEATURES.map(data).to_vec()].concat()),
        flips in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff)]),
            1..6,
        ),
    ) {
        let mut bytes = good;
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
