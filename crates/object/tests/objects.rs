//! What is found in object files that clang has made.

mod common;

use common::{EXAMPLES, calls, data, example, parse, program, references};
use hitless_object::{MapEvent, Pinning, ProgramKind, ProgramSpec, ProgramType, SectionKind};

/// The kind of an XDP program.
fn xdp(program: &ProgramSpec) -> ProgramKind<'_> {
    match program.kind() {
        SectionKind::Program(kind) if kind.program_type == ProgramType::Xdp => kind,
        other => panic!("{}: {other:?}", program.name),
    }
}

#[test]
fn flows() {
    let object = parse(&example("flows_v2"));
    assert_eq!(object.license, "Dual MIT/GPL");
    let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, ["flows", ".rodata", ".bss"]);

    let btf = object.btf.as_ref().unwrap();
    let flows = object.map("flows").unwrap();
    assert_eq!(
        (flows.map_type, flows.key_size, flows.value_size, flows.max_entries),
        (1, 40, 24, 16384)
    );
    assert_eq!(btf.type_name(flows.key_type.unwrap()), "struct flow_key");
    assert_eq!(btf.type_name(flows.value_type.unwrap()), "struct flow_stats");
    assert_eq!(
        (flows.flags, flows.data.as_ref(), flows.frozen, flows.spin_lock),
        (0, None, false, None)
    );

    let rodata = object.map(".rodata").unwrap();
    assert_eq!(
        (rodata.map_type, rodata.key_size, rodata.value_size, rodata.max_entries),
        (2, 4, 4, 1)
    );
    assert_eq!(
        (rodata.flags, rodata.frozen, rodata.data.as_deref()),
        (128 | 1024, true, Some(&[4, 0, 0, 0][..]))
    );
    let bss = object.map(".bss").unwrap();
    assert_eq!(
        (bss.value_size, bss.flags, bss.frozen, bss.data.as_deref()),
        (32, 1024, false, Some(&[][..]))
    );
    let value = btf.value(bss.value_type.unwrap(), &[0; 32]).unwrap().to_string();
    assert_eq!(
        value,
        r#"{"failed_packets": 0,"new_flows": 0,"packets_seen": 0,"deleted_packets": 0}"#
    );

    let count = program(&object, "count_flows");
    assert_eq!(
        (xdp(count).frags, count.section.as_str(), count.autoload),
        (false, "xdp", true)
    );
    let starts: Vec<_> = count.subprograms.iter().map(|s| (s.name.as_str(), s.start)).collect();
    let parse_flow = starts[1].1;
    assert_eq!(starts, [("count_flows", 0), ("parse_flow", parse_flow)]);
    assert_eq!(
        [parse_flow, count.insns.len()].map(|end| count.insns[end - 1].code),
        [0x95; 2],
        "both end with exit"
    );
    assert_eq!(calls(count), ["parse_flow"]);
    for subprogram in &count.subprograms {
        assert_eq!(btf.get(subprogram.func.unwrap()).unwrap().name(), subprogram.name);
    }
    let (flows, rodata) = ((5, 0, 0), (6, 1, 0));
    let bss = |offset| (6, 2, offset);
    let mut found = references(count);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, [flows, rodata, bss(0), bss(8), bss(16), bss(24)]);
}

#[test]
fn source_lines_follow_their_function() {
    let object = parse(&data("features"));
    let main = program(&object, "main_program");
    assert_eq!(main.lines[0].pc, 0);
    assert!(main.lines.windows(2).all(|pair| pair[0].pc < pair[1].pc));
    assert!(
        main.line(0).unwrap().text.contains("main_program(void *ctx)"),
        "{}",
        main.line(0).unwrap()
    );
    let first: Vec<_> = main.subprograms[1..]
        .iter()
        .map(|subprogram| main.line(subprogram.start).unwrap())
        .collect();
    let starts: Vec<_> = main.subprograms[1..]
        .iter()
        .map(|subprogram| subprogram.start)
        .collect();
    assert_eq!(first.iter().map(|line| line.pc).collect::<Vec<_>>(), starts);
    assert!(first.iter().all(|line| line.file.ends_with("features.bpf.c")));
    let source = include_str!("data/features.bpf.c");
    for line in &main.lines {
        assert_eq!(source.lines().nth(line.line as usize - 1), Some(line.text.as_str()));
    }
    let bodies = first.iter().map(|line| line.text.trim());
    let expected = [
        "total += index;",
        "return twice(n) * 3;",
        "calls += 1;",
        "return n * total + weights[1];",
    ];
    assert_eq!(bodies.collect::<Vec<_>>(), expected);
}

#[test]
fn every_kind_of_reference() {
    let object = parse(&data("features"));
    let index = |name: &str| object.maps.iter().position(|map| map.name == name).unwrap() as i32;
    let main = program(&object, "main_program");
    assert_eq!(calls(main), ["add", "thrice", "local", "twice"], "where the calls are");
    let names: Vec<_> = main.subprograms.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["main_program", "add", "thrice", "twice", "local"],
        "depth first"
    );

    let references = references(main);
    let offsets = |map: &str, kind: u8| -> Vec<i32> {
        references
            .iter()
            .filter(|r| (r.0, r.1) == (kind, index(map)))
            .map(|r| r.2)
            .collect()
    };
    assert_eq!(
        (offsets("first", 5), offsets("second", 5)),
        (vec![0], vec![0]),
        "static maps, by section and offset"
    );
    assert_eq!(
        (offsets(".rodata", 6), offsets(".rodata.str1.1", 6)),
        (vec![0], vec![0])
    );
    let (mut data, mut bss) = (offsets(".data", 6), offsets(".bss", 6));
    data.sort_unstable();
    bss.sort_unstable();
    bss.dedup();
    assert_eq!(
        (data, bss),
        (vec![0, 8], vec![0, 8]),
        "by name, and by section and offset"
    );

    let other = program(&object, "other_program");
    assert_eq!(
        (xdp(other).frags, xdp(other).target, calls(other)),
        (true, Some("other"), vec!["twice"])
    );
    assert!(object.program("local").is_none(), "static functions are only called");
}

#[test]
fn map_attributes() {
    let object = parse(&data("features"));
    let (first, second) = (object.map("first").unwrap(), object.map("second").unwrap());
    assert_eq!((first.key_size, first.value_size, first.flags), (4, 8, 1));
    assert_eq!(
        (first.key_type, first.value_type, first.pinning),
        (None, None, Pinning::None)
    );
    assert_eq!(
        (second.map_type, second.key_size, second.value_size, second.max_entries),
        (2, 4, 8, 8)
    );
    assert_eq!(
        (second.numa_node, second.pinning, second.map_extra),
        (Some(1), Pinning::ByName, 0x5_0000_0000)
    );
    assert_eq!(
        object.btf.as_ref().unwrap().type_name(second.value_type.unwrap()),
        "struct value"
    );
    assert_eq!(
        object.map(".rodata.str1.1").unwrap().data.as_deref(),
        Some(&b"literal\0"[..])
    );
    assert_eq!(object.map(".rodata").unwrap().data.as_deref(), Some(&b"total %d\0"[..]));
}

#[test]
fn static_variables_keep_their_offsets() {
    let object = parse(&data("features"));
    let btf = object.btf.as_ref().unwrap();
    let data = object.map(".data").unwrap();
    let value = btf
        .value(data.value_type.unwrap(), data.data.as_deref().unwrap())
        .unwrap()
        .to_string();
    assert!(
        value.contains(r#""scale": 7"#) && value.contains(r#""weights": [5,6]"#),
        "{value}"
    );
}

#[test]
fn map_tracers() {
    let object = parse(&example("trace_mirror"));
    let trace = |event| SectionKind::MapTrace { map: "source", event };
    assert_eq!(program(&object, "on_update").kind(), trace(MapEvent::Update));
    assert_eq!(program(&object, "on_delete").kind(), trace(MapEvent::Delete));
    assert!(!xdp(program(&object, "writer")).frags);
    let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
    // The order of `.maps` in the file is the compiler's.
    assert!(names.contains(&"source") && names.contains(&"mirror"));
    let written = object.maps[references(program(&object, "on_update"))[0].1 as usize]
        .name
        .as_str();
    assert_eq!(written, "mirror");
}

#[test]
fn locks_are_found() {
    let lock = |name| parse(&example(name)).map("flows").unwrap().spin_lock;
    assert_eq!(
        [lock("flows_v1"), lock("flows_lock_v1"), lock("flows_lock_v2")],
        [None, Some(0), Some(16)]
    );
}

#[test]
fn the_same_bytes_give_the_same_object() {
    for name in EXAMPLES {
        let bytes = example(name);
        assert_eq!(parse(&bytes), parse(&bytes), "{name}");
        // Alignment of the bytes in memory does not matter.
        let shifted: Vec<u8> = [0].into_iter().chain(bytes.iter().copied()).collect();
        assert_eq!(parse(&bytes), parse(&shifted[1..]), "{name}");
    }
}
