//! What is in each object of the corpus, as it was written down: `tests/corpus/NAME.txt` says for `bpf/corpus/NAME.bpf.o`
//! which maps, externs and programs it has once it is loaded on the machine of the corpus, or why it cannot be.
//!
//! `UPDATE=1 cargo test -p hitless-object --test corpus` writes them anew, to be read before they are committed.

#[path = "common/corpus.rs"]
mod corpus;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use corpus::{Machine, name, objects, text};
use hitless_btf::{Btf, TypeId};
use hitless_isa::disasm;
use hitless_object::{
    Element, Extern, ExternKind, MapSpec, ObjectSpec, Pinning, ProgramSpec, SectionKind, map_type_name,
};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn describe(bytes: &[u8], machine: &Machine) -> String {
    let parsed = match ObjectSpec::parse(bytes) {
        Ok(parsed) => parsed,
        Err(error) => return format!("refused: {}\n", text(&error)),
    };
    let mut out = format!("license {:?}\n", parsed.license);
    for symbol in &parsed.externs {
        out += &describe_extern(symbol, &parsed);
    }
    match machine.relocate(&parsed) {
        Ok(object) => {
            for map in &object.maps {
                out += &describe_map("map", map, &object);
            }
            for (program, before) in object.programs.iter().zip(&parsed.programs) {
                out += &describe_program(program, before);
            }
        }
        Err(error) => writeln!(out, "refused: {}", text(&error)).expect("a string takes everything"),
    }
    out
}

fn type_name(btf: Option<&Btf>, ty: Option<TypeId>) -> String {
    match (btf, ty) {
        (Some(btf), Some(ty)) => format!("{ty} {}", btf.type_name(ty)),
        _ => "no type".to_string(),
    }
}

fn describe_extern(symbol: &Extern, object: &ObjectSpec) -> String {
    let weak = if symbol.weak { "weak " } else { "" };
    let kind = match symbol.kind {
        ExternKind::Kconfig { offset, size } => format!("option, {size} bytes at {offset}"),
        ExternKind::Variable { typed: true } => "variable by type".into(),
        ExternKind::Variable { typed: false } => "variable by address".into(),
        ExternKind::Function => "function".into(),
    };
    let ty = type_name(object.btf.as_ref(), symbol.ty);
    format!("{weak}extern {}: {kind}, {ty}\n", symbol.name)
}

fn describe_map(what: &str, map: &MapSpec, object: &ObjectSpec) -> String {
    let btf = object.btf.as_ref();
    let kind = map_type_name(map.map_type).map_or_else(|| map.map_type.to_string(), str::to_string);
    let mut out = format!(
        "{what} {}: {kind}, key {} ({}), value {} ({}), {} entries, flags {:#x}",
        map.name,
        map.key_size,
        type_name(btf, map.key_type),
        map.value_size,
        type_name(btf, map.value_type),
        map.max_entries,
        map.flags
    );
    if let Some(node) = map.numa_node {
        out += &format!(", numa node {node}");
    }
    if map.map_extra != 0 {
        out += &format!(", map_extra {:#x}", map.map_extra);
    }
    if map.pinning == Pinning::ByName {
        out += ", pinned by name";
    }
    if let Some(offset) = map.spin_lock {
        out += &format!(", spin lock at {offset}");
    }
    if map.frozen {
        out += ", frozen";
    }
    out += "\n";
    if let Some(inner) = &map.inner {
        out += &describe_map("    inner map", inner, object);
    }
    for value in &map.values {
        let (kind, name) = match value.element {
            Element::Map(index) => ("map", &object.maps[index].name),
            Element::Program(index) => ("program", &object.programs[index].name),
        };
        out += &format!("    [{}] = {kind} {name}\n", value.index);
    }
    if let Some(data) = &map.data {
        out += &format!("    data {}\n", hex(data));
    }
    if let Some(spec) = &map.struct_ops {
        let link = if spec.link { ", attached by a link" } else { "" };
        out += &format!(
            "    implements {} {}{link}, data {}\n",
            spec.ty,
            spec.type_name,
            hex(&spec.data)
        );
        for function in &spec.functions {
            let program = &object.programs[function.program].name;
            out += &format!("    at {}: program {program}\n", function.offset);
        }
    }
    out
}

/// Bytes without the zeros at their end.
fn hex(bytes: &[u8]) -> String {
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes[..len].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program, and how much of it was open before it was relocated.
fn describe_program(program: &ProgramSpec, before: &ProgramSpec) -> String {
    let kind = match program.kind() {
        SectionKind::Program(kind) => {
            let attach = kind
                .attach_type
                .map_or(String::new(), |attach| format!(" {}", attach.name()));
            let target = kind.target.map_or(String::new(), |target| format!(" at {target}"));
            let mut flags = String::new();
            for (flag, set) in [
                ("sleepable", kind.sleepable),
                ("frags", kind.frags),
                ("legacy", kind.legacy),
            ] {
                if set {
                    flags += &format!(", {flag}");
                }
            }
            format!("{}{attach}{target}{flags}", kind.program_type.name())
        }
        SectionKind::MapTrace { map, event } => format!("map_trace of {map} {event}"),
        SectionKind::Migrate { map } => format!("migration of {map}"),
        SectionKind::Hook { name } => format!("at hook {name} of the host"),
        SectionKind::Unknown { .. } | _ => "of unknown kind".into(),
    };
    let autoload = if program.autoload { "" } else { ", not loaded by itself" };
    let mut out = format!("program {} in {:?}: {kind}{autoload}\n", program.name, program.section);
    let (relos, refs) = (before.core_relos.len(), before.extern_refs.len());
    let counts = [
        ("lines", program.lines.len()),
        ("CO-RE relocations", relos),
        ("references to externs", refs),
    ];
    for (what, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        out += &format!("    {count} {what}\n");
    }
    for function in program.subprograms.iter().skip(1) {
        let global = if function.global { ", global" } else { "" };
        out += &format!("    {} at {}{global}\n", function.name, function.start);
    }
    for poisoned in &program.poisoned {
        out += &format!("    poisoned at {}: {}\n", poisoned.pc, poisoned.missing);
    }
    for line in disasm::listing(&program.insns, &disasm::no_names).lines() {
        out += &format!("    {line}\n");
    }
    out
}

#[test]
fn every_object() {
    let machine = Machine::of_corpus();
    let update = std::env::var_os("UPDATE").is_some();
    let mut expected_files: BTreeSet<PathBuf> = std::fs::read_dir(directory())
        .expect("the directory is part of the repository")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    let mut wrong = Vec::new();
    for object in objects("corpus") {
        let bytes = std::fs::read(&object).expect("it was just listed");
        let found = describe(&bytes, &machine);
        let file = directory().join(format!("{}.txt", name(&object)));
        expected_files.remove(&file);
        if update {
            std::fs::write(&file, found).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            continue;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            let line = found
                .lines()
                .zip(expected.lines())
                .position(|(found, expected)| found != expected);
            let line = line.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
            let at = |text: &str| text.lines().nth(line).unwrap_or("nothing").to_string();
            wrong.push(format!(
                "{}, line {}:\n  found    {}\n  expected {}",
                name(&object),
                line + 1,
                at(&found),
                at(&expected)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} objects differ\n{}", wrong.len(), wrong.join("\n"));
    assert!(expected_files.is_empty(), "no objects for {expected_files:?}");
}
