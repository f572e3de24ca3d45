//! `hitless prog disasm` writes what clang made as the kernel does.

mod common;
#[path = "../../isa/tests/common/kernel.rs"]
#[allow(dead_code, reason = "shared with the tests of the instruction set")]
mod kernel;

use common::{is_refused, json, root};
use hitless_isa::Insn;
use hitless_isa::asm::assemble;

/// Instructions in the kernel's words, from the table of live registers that begins its log, whether or not it accepts the
/// program.
fn kernels_texts(log: &str) -> Vec<&str> {
    let table = log
        .split_once("Live regs before insn:\n")
        .map_or("", |(_, table)| table);
    let lines = table.lines().take_while(|line| line.starts_with(' '));
    lines.filter_map(|line| Some(line.split_once(" (")?.1)).collect()
}

#[test]
fn programs_of_the_corpus_have_the_kernels_text() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (mut programs, mut insns) = (0, 0);
    for entry in std::fs::read_dir(root().join("bpf/corpus")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".o") || is_refused(&name) {
            continue;
        }
        let listed = json(&["prog", "disasm", &format!("bpf/corpus/{name}")]);
        for program in listed["programs"].as_array().unwrap() {
            let texts: Vec<_> = program["insns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|insn| insn["disasm"].as_str().unwrap())
                .collect();
            // What is behind these is not in the instructions.
            if texts
                .iter()
                .any(|text| ["map[", "ksym[", "subprog["].iter().any(|name| text.contains(name)))
            {
                continue;
            }
            // `call pc+1#name`
            let texts: Vec<_> = texts
                .iter()
                .map(|text| match text.split_once("call pc") {
                    Some((before, target)) => format!("{before}call pc{}", target.split('#').next().unwrap()),
                    None => (*text).to_owned(),
                })
                .collect();
            let Ok(slots) = texts.iter().map(|text| assemble(text)).collect::<Result<Vec<_>, _>>() else {
                // A kfunc's name.
                continue;
            };
            let slots: Vec<Insn> = slots.into_iter().flatten().collect();
            let answer = kernel::load(&slots, 2);
            let kernels = kernels_texts(&answer.log);
            if kernels.is_empty() {
                continue;
            }
            let ours: Vec<_> = texts.iter().map(|text| &text[1..]).collect();
            assert_eq!(ours, kernels, "{name}: {}", program["name"]);
            programs += 1;
            insns += ours.len();
        }
    }
    if programs == 0 {
        eprintln!("skipped: the kernel does not print what it does not execute");
    } else {
        assert!(
            programs > 50 && insns > 300,
            "{programs} programs, {insns} instructions"
        );
    }
}
