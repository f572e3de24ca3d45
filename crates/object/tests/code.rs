//! Programs and their subprograms, and what they refer to outside of the object.

mod common;

use common::elf::{self, Builder, EXIT};
use common::{calls, data, parse, program, references};
use hitless_object::{ExternKind, ObjectSpec, ProgramKind, ProgramSpec, ProgramType, SectionKind};

/// Names of a program's functions, in order.
fn functions(program: &ProgramSpec) -> Vec<&str> {
    program.subprograms.iter().map(|s| s.name.as_str()).collect()
}

/// First slot of a program's function.
fn start(program: &ProgramSpec, function: &str) -> usize {
    program.subprograms.iter().find(|s| s.name == function).unwrap().start
}

fn kind(program: &ProgramSpec) -> ProgramKind<'_> {
    match program.kind() {
        SectionKind::Program(kind) => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn functions_stand_where_libbpf_puts_them() {
    let object = parse(&data("code_ORDER"));
    // Depth first, in the order of the calls; `callback` and `second_callback` are only referred to.
    let all = program(&object, "all");
    assert_eq!(
        functions(all),
        [
            "all",
            "callback",
            "second_callback",
            "leaf",
            "hidden",
            "weak",
            "global",
            "middle"
        ]
    );
    assert_eq!(
        calls(all),
        [
            "callback",
            "leaf",
            "hidden",
            "second_callback",
            "leaf",
            "weak",
            "global",
            "leaf",
            "middle",
            "leaf"
        ]
    );
    let global: Vec<_> = all
        .subprograms
        .iter()
        .filter(|s| s.global)
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(global, ["all", "weak", "global"], "neither static nor hidden");

    let other = program(&object, "calls_a_program");
    assert_eq!(
        functions(other),
        [
            "calls_a_program",
            "optional",
            "hidden",
            "weak",
            "global",
            "middle",
            "leaf"
        ]
    );
    assert_eq!(object.kernel_version, Some(0x05_06_07));
}

#[test]
fn programs_that_are_not_loaded_by_default() {
    let object = parse(&data("code_ORDER"));
    let optional = program(&object, "optional");
    assert_eq!((optional.section.as_str(), optional.autoload), ("tc", false));
    assert_eq!(kind(optional).program_type, ProgramType::SchedCls);
    assert!(program(&object, "calls_a_program").autoload);
}

#[test]
fn core_relocations_follow_their_function() {
    let object = parse(&data("code_CORE"));
    let relos = |name: &str| -> Vec<_> {
        let program = program(&object, name);
        let place = |pc: usize| {
            let function = program.subprograms.iter().rfind(|s| s.start <= pc).unwrap();
            // A load: of 4 bytes, but for `times.start`.
            assert!(
                [0x61, 0x79].contains(&program.insns[pc].code),
                "{:?}",
                program.insns[pc]
            );
            function.name.as_str()
        };
        let relos = program.core_relos.iter();
        relos
            .map(|relo| (place(relo.pc), relo.relo.access.to_string(), program.insns[relo.pc].off))
            .collect()
    };
    let relo = |function, access: &str, off| (function, access.to_string(), off);
    assert_eq!(relos("first"), [relo("first", "0:0", 0), relo("tgid_of", "0:1", 4)]);
    assert_eq!(relos("second"), [relo("second", "0:2:0", 8), relo("tgid_of", "0:1", 4)]);
}

#[test]
fn configuration_values_are_a_map() {
    let object = parse(&data("code_KCONFIG"));
    let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, [".bss", ".kconfig"]);
    let map = &object.maps[1];
    assert_eq!(
        (map.map_type, map.key_size, map.value_size, map.max_entries),
        (2, 4, 60, 1)
    );
    assert_eq!(
        (map.flags, map.frozen, map.data.as_deref()),
        (128 | 1024, true, Some(&[][..]))
    );

    // The most aligned first, then the smallest, then by name.
    let value = |name: &str| {
        let found = object.externs.iter().find(|e| e.name == name).unwrap();
        match found.kind {
            ExternKind::Kconfig { offset, size } => (offset, size, found.weak),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(value("CONFIG_NUMBER"), (0, 8, true));
    assert_eq!(value("CONFIG_TRISTATE"), (8, 4, true));
    assert_eq!(value("LINUX_KERNEL_VERSION"), (12, 4, false));
    assert_eq!(value("CONFIG_SHORT"), (16, 2, true));
    assert_eq!(value("CONFIG_BOOL"), (18, 1, false));
    assert_eq!(value("CONFIG_CHAR"), (19, 1, true));
    assert_eq!(value("CONFIG_ANOTHER_TEXT"), (20, 20, true));
    assert_eq!(value("CONFIG_TEXT"), (40, 20, true));
    assert!(object.externs.is_sorted_by(|a, b| a.name < b.name));

    let program = program(&object, "program");
    let mut offsets: Vec<_> = references(program)
        .into_iter()
        .filter(|r| (r.0, r.1) == (6, 1))
        .map(|r| r.2)
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 8, 12, 16, 18, 19, 20, 40]);
    assert!(program.extern_refs.is_empty(), "they are resolved");

    let btf = object.btf.as_ref().unwrap();
    let mut value = [0; 60];
    value[12..16].copy_from_slice(&[1, 6, 0, 0]);
    let text = btf.value(map.value_type.unwrap(), &value).unwrap().to_string();
    assert!(
        text.contains(r#""CONFIG_TRISTATE": "TRI_NO""#) || text.contains(r#""CONFIG_TRISTATE": 0"#),
        "{text}"
    );
    assert!(text.contains(r#""LINUX_KERNEL_VERSION": 1537"#), "{text}");
}

#[test]
fn kernel_symbols_are_listed() {
    let object = parse(&data("code_KSYMS"));
    let externs: Vec<_> = object
        .externs
        .iter()
        .map(|e| (e.name.as_str(), e.weak, e.kind))
        .collect();
    assert_eq!(
        externs,
        [
            ("bpf_task_acquire", false, ExternKind::Function),
            ("bpf_task_release", true, ExternKind::Function),
            ("init_task", false, ExternKind::Variable { typed: false }),
            ("runqueues", true, ExternKind::Variable { typed: true }),
        ]
    );
    let btf = object.btf.as_ref().unwrap();
    let types: Vec<_> = object.externs.iter().map(|e| btf.type_name(e.ty.unwrap())).collect();
    assert_eq!(
        types,
        ["bpf_task_acquire", "bpf_task_release", "const void", "const int"]
    );

    let program = program(&object, "program");
    let release = start(program, "release");
    let mut refs: Vec<_> = program
        .extern_refs
        .iter()
        .map(|r| {
            let insn = program.insns[r.pc];
            assert_eq!((insn.off, insn.imm), (0, 0));
            (
                object.externs[r.index].name.as_str(),
                insn.code,
                insn.src,
                r.pc >= release,
            )
        })
        .collect();
    refs.sort_unstable();
    assert_eq!(
        refs,
        [
            ("bpf_task_acquire", 0x85, 2, false),
            ("bpf_task_release", 0x18, 0, true),
            ("bpf_task_release", 0x85, 2, true),
            ("init_task", 0x18, 0, false),
            ("runqueues", 0x18, 0, false),
        ]
    );
}

#[test]
fn linked_objects() {
    let object = parse(&data("code_LINKED"));
    let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, ["shared", ".data", ".kconfig"]);
    let (first, second) = (program(&object, "first"), program(&object, "second"));
    // Each file has a `helper` of its own.
    assert_eq!(
        functions(first),
        ["first", "helper", "of_b", "helper", "of_a", "replaced"]
    );
    assert_eq!(functions(second), ["second", "helper", "of_b", "of_a", "helper"]);
    let body = |program: &ProgramSpec, index: usize| {
        let end = program
            .subprograms
            .get(index + 1)
            .map_or(program.insns.len(), |next| next.start);
        program.insns[program.subprograms[index].start..end].to_vec()
    };
    let adds = |program: &ProgramSpec, index| {
        let add = body(program, index)
            .into_iter()
            .find(|insn| insn.code == 0x07 && (insn.imm == 1 || insn.imm == 3));
        add.map(|insn| insn.imm)
    };
    assert_eq!([adds(first, 1), adds(first, 3)], [Some(1), Some(3)]);
    assert_eq!([adds(second, 1), adds(second, 4)], [Some(3), Some(1)]);
    // Data of both files are one section: `config_of_b`, which `replaced` of the second file changes, comes after `mine`.
    assert_eq!(object.map(".data").unwrap().value_size, 24);
    let offsets = references(first)
        .into_iter()
        .filter(|r| (r.0, r.1) == (6, 1))
        .map(|r| r.2);
    assert_eq!(
        offsets
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>(),
        [0, 8, 16]
    );
    assert!(
        object
            .externs
            .iter()
            .all(|e| matches!(e.kind, ExternKind::Kconfig { .. }))
    );
}

#[test]
fn a_function_alone_is_a_program() {
    let object = parse(&data("code_LONE"));
    assert_eq!(object.programs.len(), 1);
    let lone = program(&object, "lone");
    assert_eq!(lone.section, ".text");
    assert!(matches!(lone.kind(), SectionKind::Unknown { .. }));
    // Not one of several, and not a static one.
    let functions = |kind, count: u64| {
        let mut builder = Builder::new();
        let text = builder.code(".text", &[EXIT].repeat(count as usize));
        (0..count).for_each(|i| _ = builder.symbol(&format!("f{i}"), kind, text, i * 8, 8));
        parse(&builder.build()).programs.len()
    };
    assert_eq!(functions(elf::GLOBAL_FUNC, 1), 1);
    assert_eq!(functions(elf::GLOBAL_FUNC, 2), 0);
    assert_eq!(functions(elf::LOCAL_FUNC, 1), 0);
}

/// The functions of the only program, with their first slots.
fn layout(object: &ObjectSpec) -> Vec<(&str, usize)> {
    let [program] = &object.programs[..] else {
        panic!("{} programs", object.programs.len())
    };
    program.subprograms.iter().map(|s| (s.name.as_str(), s.start)).collect()
}

#[test]
fn functions_without_type_and_size() {
    let mut builder = Builder::new();
    let text = builder.code(".text", &[elf::mov(1), EXIT, elf::mov(2), EXIT]);
    let xdp = builder.code("xdp", &[elf::call(-1), EXIT]);
    builder.symbol("LBB0_1", elf::LOCAL_NOTYPE, text, 8, 0);
    builder.symbol("one", elf::GLOBAL_NOTYPE, text, 0, 0);
    let two = builder.symbol("two", elf::GLOBAL_NOTYPE, text, 16, 0);
    builder.symbol("also_two", elf::GLOBAL_NOTYPE, text, 16, 0);
    builder.symbol("program", elf::GLOBAL_NOTYPE, xdp, 0, 0);
    builder.reloc(xdp, 0, two, 10, None);
    let object = parse(&builder.build());
    assert_eq!(layout(&object), [("program", 0), ("two", 2)]);
    assert_eq!(
        object.programs[0].insns.len(),
        4,
        "two is as long as what is left of its section"
    );
    assert_eq!(
        (object.programs[0].insns[0].imm, object.programs[0].insns[2].imm),
        (1, 2)
    );
}

#[test]
fn relocations_with_addends() {
    let mut builder = Builder::new();
    let text = builder.code(".text", &[EXIT, elf::mov(2), EXIT]);
    // The addend of a relocation counts, what is in its place does not.
    let xdp = builder.code("xdp", &[elf::call(77), EXIT]);
    let section = builder.symbol("", 0x03, text, 0, 0);
    builder.symbol("one", elf::LOCAL_FUNC, text, 0, 8);
    builder.symbol("two", elf::LOCAL_FUNC, text, 8, 16);
    builder.symbol("program", elf::GLOBAL_FUNC, xdp, 0, 16);
    builder.reloc(xdp, 0, section, 10, Some(8));
    let object = parse(&builder.build());
    assert_eq!(layout(&object), [("program", 0), ("two", 2)]);
}

#[test]
fn more_sections_than_a_symbol_can_say() {
    let mut builder = Builder::new();
    (0..0xff10).for_each(|_| _ = builder.section("", elf::PROGBITS, 0, &[]));
    let text = builder.code(".text", &[elf::mov(2), EXIT]);
    let xdp = builder.code("xdp", &[elf::call(-1), EXIT]);
    let two = builder.symbol("two", elf::GLOBAL_FUNC, text, 0, 16);
    builder.symbol("program", elf::GLOBAL_FUNC, xdp, 0, 16);
    builder.reloc(xdp, 0, two, 10, None);
    let object = parse(&builder.build());
    assert_eq!(layout(&object), [("program", 0), ("two", 2)]);
}

#[test]
fn functions_that_call_each_other_end() {
    let mut builder = Builder::new();
    // `even` calls `odd` without a relocation, as both are in one section; `odd` calls `even`.
    let text = builder.code(".text", &[elf::call(1), EXIT, elf::call(-3), EXIT]);
    let xdp = builder.code("xdp", &[elf::call(-1), EXIT]);
    let even = builder.symbol("even", elf::GLOBAL_FUNC, text, 0, 16);
    builder.symbol("odd", elf::GLOBAL_FUNC, text, 16, 16);
    builder.symbol("program", elf::GLOBAL_FUNC, xdp, 0, 16);
    builder.reloc(xdp, 0, even, 10, None);
    let object = parse(&builder.build());
    assert_eq!(layout(&object), [("program", 0), ("even", 2), ("odd", 4)]);
    let distances = [0, 2, 4].map(|pc| object.programs[0].insns[pc].imm);
    assert_eq!(distances, [1, 1, -3]);
}
