//! A description as text, in the manner of `bpftool prog show` and `bpftool map show`.

use std::fmt::Write;

use super::describe::{Description, ExternDescription, InitialElement, Map, Program};

/// Longer values are left out: they are in the JSON.
const MAX_VALUE: usize = 60;

pub(super) fn text(object: &Description) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "object {}  bytes {}  license {}",
        object.object,
        object.bytes,
        shown(&object.license)
    );
    if let Some(btf) = &object.btf {
        let (types, bytes, ext) = (btf.types, btf.bytes_btf, btf.bytes_btf_ext);
        let _ = writeln!(out, "btf  types {types}  bytes_btf {bytes}  bytes_btf_ext {ext}");
    }
    for program in &object.programs {
        lines(&mut out, &program_lines(program));
    }
    for map in &object.maps {
        lines(&mut out, &map_lines(map));
    }
    for ext in &object.externs {
        lines(&mut out, &[extern_line(ext)]);
    }
    out
}

/// The first line, and the others indented. A name cannot add a line.
fn lines(out: &mut String, lines: &[Vec<String>]) {
    for (index, words) in lines.iter().filter(|words| !words.is_empty()).enumerate() {
        let indent = if index == 0 { "" } else { "\t" };
        let line = crate::error::printable(&words.join("  "));
        let _ = writeln!(out, "{indent}{line}");
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

fn program_lines(program: &Program) -> Vec<Vec<String>> {
    let mut first = vec![
        format!("prog {}: {}", program.name, program.kind),
        format!("section {}", program.section),
    ];
    match (&program.hook, &program.unknown) {
        (Some(hook), _) => first.push(format!("hook {hook}")),
        (None, Some(reason)) => first.push(format!("no hook: the section {reason}")),
        (None, None) => first.push("no hook".to_owned()),
    }
    first.extend(program.attach_type.map(|ty| format!("attach_type {ty}")));
    let flags = [
        (program.sleepable, "sleepable"),
        (program.frags, "frags"),
        (!program.autoload, "no autoload"),
    ];
    first.extend(flags.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned()));

    let mut second = vec![format!("insns {}", program.insns)];
    if program.core_relos > 0 {
        second.push(format!("core_relos {}", program.core_relos));
    }
    let subprograms = program.subprograms.iter().map(|subprogram| {
        let global = if subprogram.global { " (global)" } else { "" };
        format!("{} at {}{global}", subprogram.name, subprogram.start)
    });
    second.extend(list("subprograms", subprograms));
    let third = list("maps", program.maps.iter().cloned());
    let fourth = list("externs", program.externs.iter().cloned());
    vec![first, second, third.into_iter().collect(), fourth.into_iter().collect()]
}

/// `label a, b`, or nothing if there is nothing to list.
fn list(label: &str, items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| format!("{label} {}", items.join(", ")))
}

fn map_lines(map: &Map) -> Vec<Vec<String>> {
    let mut out = vec![
        vec![format!("map {}: {}", map.name, map.kind), flags(map)],
        sizes(map),
        details(map),
    ];
    if let Some(inner) = &map.inner {
        let mut words = vec![format!("inner {}", inner.kind), flags(inner)];
        words.extend(sizes(inner));
        words.extend(details(inner));
        out.push(words);
    }
    out.extend(map.values.iter().map(|value| {
        let element = match &value.element {
            InitialElement::Map(name) => format!("map {name}"),
            InitialElement::Program(name) => format!("prog {name}"),
        };
        vec![format!("[{}] = {element}", value.index)]
    }));
    for var in map.variables.iter().flatten() {
        let value = var.value.as_ref().map(|value| value.get());
        let value = match value {
            Some(value) if value.len() <= MAX_VALUE => format!(" = {value}"),
            Some(_) => " = ...".to_owned(),
            None => String::new(),
        };
        out.push(vec![format!(
            "{}+{}: {} {}{value}",
            map.name, var.offset, var.ty, var.name
        )]);
    }
    if let Some(ops) = &map.struct_ops {
        let link = if ops.link {
            "attached by a link"
        } else {
            "attached by storing it"
        };
        out.push(vec![format!("struct {}", ops.ty), link.to_owned()]);
        out.extend(
            ops.functions
                .iter()
                .map(|function| vec![format!(".{} = {}", function.member, function.program)]),
        );
    }
    out
}

fn flags(map: &Map) -> String {
    let names = if map.flag_names.is_empty() {
        String::new()
    } else {
        format!(" ({})", map.flag_names.join(", "))
    };
    format!("flags {:#x}{names}", map.flags)
}

fn sizes(map: &Map) -> Vec<String> {
    let typed = |ty: &Option<String>| ty.as_ref().map_or_else(String::new, |ty| format!(" {ty}"));
    vec![
        format!("key {}B{}", map.bytes_key, typed(&map.key_type)),
        format!("value {}B{}", map.bytes_value, typed(&map.value_type)),
        format!("max_entries {}", map.max_entries),
    ]
}

fn details(map: &Map) -> Vec<String> {
    let mut words = Vec::new();
    if map.map_extra != 0 {
        words.push(format!("map_extra {:#x}", map.map_extra));
    }
    words.extend(map.numa_node.map(|node| format!("numa_node {node}")));
    if map.pinning != "none" {
        words.push(format!("pinning {}", map.pinning));
    }
    if map.frozen {
        words.push("frozen".to_owned());
    }
    words
}

fn extern_line(ext: &ExternDescription) -> Vec<String> {
    let mut words = vec![format!("extern {}: {}", ext.name, ext.kind)];
    words.extend(ext.ty.as_ref().map(|ty| format!("type {ty}")));
    words.extend(ext.offset.map(|offset| format!("at .kconfig+{offset}")));
    if ext.weak {
        words.push("weak".to_owned());
    }
    words
}
