//! `hitless object show`, `hitless prog disasm`.

mod common;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{V1, fails, file, hitless, is_refused, json, read, root, succeeds};
use hitless_isa::Insn;
use hitless_isa::asm::assemble;
use serde_json::{Value, json};

/// The objects of the corpus, and those of the examples.
fn objects() -> Vec<String> {
    let mut names = Vec::new();
    for dir in ["bpf", "bpf/corpus"] {
        for entry in std::fs::read_dir(root().join(dir)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|extension| extension == "o") {
                names.push(format!("{dir}/{name}"));
            }
        }
    }
    names.sort();
    assert!(names.len() > 40, "{names:?}");
    names
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn what_is_in_an_object() {
    let out = succeeds(&["object", "show", V1]);
    let (first, rest) = out.split_once('\n').unwrap();
    let bytes = read(V1).len();
    assert_eq!(first, format!("object {V1}  bytes {bytes}  license Dual MIT/GPL"));
    let (btf, rest) = rest.split_once('\n').unwrap();
    assert!(btf.starts_with("btf  types 41  bytes_btf "), "{btf}");
    assert_eq!(
        rest,
        "prog count_flows: xdp  section xdp  hook xdp  attach_type xdp\n\
         \tinsns 166  subprograms parse_flow at 72\n\
         \tmaps flows, .rodata, .bss\n\
         map flows: hash  flags 0x0\n\
         \tkey 40B struct flow_key  value 8B struct flow_stats  max_entries 4096\n\
         map .rodata: array  flags 0x480 (rdonly_prog, mmapable)\n\
         \tkey 4B  value 4B  max_entries 1\n\
         \tfrozen\n\
         \t.rodata+0: const volatile u32 frame_overhead = 4\n\
         map .bss: array  flags 0x400 (mmapable)\n\
         \tkey 4B  value 24B  max_entries 1\n\
         \t.bss+0: u64 packets_seen\n\
         \t.bss+8: u64 deleted_packets\n\
         \t.bss+16: u64 failed_packets\n"
    );
}

#[test]
fn every_object_is_shown_or_refused_in_one_line() {
    for object in objects() {
        if is_refused(&object) {
            assert!(fails(&["object", "show", &object]).starts_with(&format!("cannot load {object}: ")));
            assert!(fails(&["prog", "disasm", &object]).starts_with(&format!("cannot load {object}: ")));
            continue;
        }
        let shown = json(&["object", "show", &object]);
        let text = succeeds(&["object", "show", &object]);
        let listed = json(&["prog", "disasm", &object]);
        let programs = shown["programs"].as_array().unwrap();
        assert_eq!(programs.len(), listed["programs"].as_array().unwrap().len());
        for (program, listing) in programs.iter().zip(listed["programs"].as_array().unwrap()) {
            assert_eq!(program["name"], listing["name"]);
            let name = program["name"].as_str().unwrap();
            assert!(text.contains(&format!("\nprog {name}: ")), "{object}: {text}");
        }
        for map in shown["maps"].as_array().unwrap() {
            let name = map["name"].as_str().unwrap();
            assert!(text.contains(&format!("\nmap {name}: ")), "{object}: {text}");
            let nameless = map["type"].as_str().unwrap().starts_with("type ");
            assert_eq!(nameless, name == "type_of_the_future", "{map}");
        }
    }
}

#[test]
fn where_programs_go() {
    let shown = json(&["object", "show", "bpf/corpus/sections_hitless.bpf.o"]);
    let programs = &shown["programs"];
    assert_eq!(named(programs, "on_update")["hook"], "map_trace/flows/UPDATE_ELEM");
    assert_eq!(named(programs, "migrate")["hook"], "migrate/flows");
    assert_eq!(named(programs, "not_by_default")["autoload"], false);
    assert_eq!(named(programs, "unknown")["hook"], Value::Null);
    let reason = named(programs, "unknown")["unknown"].as_str().unwrap();
    assert!(reason.starts_with("names no program type"), "{reason}");

    let shown = json(&["object", "show", "bpf/corpus/sections.bpf.o"]);
    let program = named(&shown["programs"], "in_kprobe_vfs_read");
    assert_eq!(program["type"], "kprobe");
    assert_eq!(
        (&program["hook"], &program["target"]),
        (&json!("kprobe/vfs_read"), &json!("vfs_read"))
    );
    assert_eq!(named(&shown["programs"], "in_uprobe_s")["sleepable"], true);

    let shown = json(&["object", "show", "bpf/corpus/struct_ops_link.bpf.o"]);
    let hook = &named(&shown["programs"], "widget_step")["hook"];
    assert_eq!(*hook, "widget_ops.step, other_ops.step");
    let ops = &named(&shown["maps"], "widget_ops")["struct_ops"];
    assert_eq!((&ops["type"], &ops["link"]), (&json!("widget_ops"), &json!(true)));
    assert_eq!(ops["functions"][0], json!({"member": "init", "program": "widget_init"}));
}

#[test]
fn what_maps_hold_from_the_start() {
    let shown = json(&["object", "show", "bpf/corpus/prog_array.bpf.o"]);
    assert_eq!(
        named(&shown["maps"], "filled")["values"],
        json!([{"index": 0, "program": "first"}, {"index": 3, "program": "second"}])
    );
    let shown = json(&["object", "show", "bpf/corpus/maps_of_maps.bpf.o"]);
    let outer = named(&shown["maps"], "array_of_maps");
    assert_eq!(outer["inner"]["type"], "array");
    assert_eq!(outer["inner"]["flag_names"], json!(["inner_map"]));
    assert_eq!(outer["values"][2], json!({"index": 4, "map": "two"}));
    let shown = json(&["object", "show", V1]);
    let constants = named(&shown["maps"], ".rodata");
    assert_eq!(constants["frozen"], true);
    assert_eq!(
        constants["variables"],
        json!([{"name": "frame_overhead", "type": "const volatile u32", "offset": 0, "size": 4, "value": 4}])
    );
}

#[test]
fn what_an_object_needs() {
    let shown = json(&["object", "show", "bpf/corpus/ksyms_functions.bpf.o"]);
    let kfunc = named(&shown["externs"], "kernel_function");
    assert_eq!((&kfunc["kind"], &kfunc["weak"]), (&json!("kfunc"), &json!(false)));
    assert_eq!(named(&shown["externs"], "no_such_function")["weak"], true);
    assert_eq!(
        shown["programs"][0]["externs"],
        json!(["kernel_function", "kernel_release", "no_such_function"])
    );
    let text = succeeds(&["object", "show", "bpf/corpus/kconfig.bpf.o"]);
    assert!(
        text.contains("\nextern CONFIG_TEXT: kconfig  type char[12]  at .kconfig+"),
        "{text}"
    );
}

#[test]
fn a_listing_has_names_and_source_lines() {
    let out = succeeds(&["prog", "disasm", V1, "count_flows"]);
    let begin = "prog count_flows  section xdp  insns 166\n\
                 count_flows:\n\
                 ; SEC(\"xdp\") int count_flows(struct xdp_md *ctx) @ ./bpf/flows_v1.bpf.c:42\n   \
                 0: (bf) r8 = r1\n";
    assert!(out.starts_with(begin), "{out}");
    for line in [
        "\n  11: (85) call pc+60#parse_flow\n",
        "\n  16: (18) r1 = map[.rodata][0]+0 ; frame_overhead\n",
        "\n  24: (18) r1 = map[flows]\n",
        "\n  27: (85) call bpf_map_lookup_elem#1\n",
        "\nparse_flow:\n",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    // A source line is shown once, although it has several columns.
    let line = "; u64 bytes = (void *)(long)ctx->data_end - (void *)(long)ctx->data; @ ./bpf/flow_parse.h:104\n";
    assert!(!out.contains(&format!("{line}{line}")));
    let source = out
        .lines()
        .filter(|text| line.starts_with(text) && !text.is_empty())
        .count();
    assert_eq!(source, 1, "{out}");

    let opcodes = succeeds(&["prog", "disasm", V1, "--opcodes"]);
    let first = "   0: (bf) r8 = r1\n       bf 18 00 00 00 00 00 00\n";
    assert!(opcodes.contains(first), "{opcodes}");
}

/// The text of each instruction that names nothing of its object is what the assembler reads.
#[test]
fn listings_assemble() {
    let hex = |value: &Value| u8::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap();
    let mut checked = 0;
    for object in objects() {
        if is_refused(&object) {
            continue;
        }
        let listed = json(&["prog", "disasm", &object, "--opcodes"]);
        let programs = listed["programs"].as_array().unwrap();
        for insn in programs.iter().flat_map(|program| program["insns"].as_array().unwrap()) {
            let text = insn["disasm"].as_str().unwrap();
            let names = ["map[", "ksym[", "subprog[", "call "];
            let opcodes = &insn["opcodes"];
            // Functions of the kernel are called by names of the object's own.
            let helper = text.contains("call bpf_") && hex(&opcodes["src_reg"]) == 0;
            if names.iter().any(|name| text.contains(name)) && !helper {
                continue;
            }
            let bytes = |field: &str| opcodes[field].as_array().unwrap().iter().map(hex).collect::<Vec<_>>();
            let (off, imm) = (bytes("off"), bytes("imm"));
            let expected = Insn {
                code: hex(&opcodes["code"]),
                dst: hex(&opcodes["dst_reg"]),
                src: hex(&opcodes["src_reg"]),
                off: i16::from_le_bytes(off.try_into().unwrap()),
                imm: i32::from_le_bytes(imm[..4].try_into().unwrap()),
            };
            let assembled = assemble(text.split_once(") ").unwrap().1);
            assert_eq!(
                assembled.as_ref().map(|insns| insns[0]),
                Ok(expected),
                "{object}: {text}"
            );
            checked += 1;
        }
    }
    assert!(checked > 1_000, "{checked}");
}

#[test]
fn relocations_are_marked_and_done() {
    const OBJECT: &str = "bpf/corpus/core_access.bpf.o";
    let open = succeeds(&["prog", "disasm", OBJECT, "loads"]);
    assert!(
        open.contains("(79) r3 = *(u64 *)(r1 +56) ; CO-RE <byte_off> [5] struct widget.id (0:7)\n"),
        "{open}"
    );
    let target = ["--target-btf", "bpf/corpus/target.btf"];
    let done = succeeds(&[&["prog", "disasm", OBJECT, "loads"], &target[..]].concat());
    let line = done
        .lines()
        .find(|line| line.contains("struct widget.id (0:7)"))
        .unwrap();
    assert!(line.contains("(61) r3 = *(u32 *)(r1 +"), "4 bytes there: {line}");
    let missing = succeeds(
        &[
            &["prog", "disasm", "bpf/corpus/core_missing.bpf.o", "field"],
            &target[..],
        ]
        .concat(),
    );
    assert!(
        missing.contains("must not run: there is no struct widget."),
        "{missing}"
    );
}

#[test]
fn listings_and_descriptions_name_the_same_types() {
    for (object, expected) in [
        ("bpf/trace_mirror.bpf.o", &["map_trace", "xdp"][..]),
        ("bpf/corpus/sections_hitless.bpf.o", &["map_trace", "migrate"]),
    ] {
        let types = |command: [&str; 2]| -> Vec<String> {
            let report = json(&[&command[..], &[object]].concat());
            let programs = report["programs"].as_array().unwrap().iter();
            programs
                .map(|program| program["type"].as_str().unwrap().to_owned())
                .collect()
        };
        let shown = types(["object", "show"]);
        assert_eq!(types(["prog", "disasm"]), shown);
        for ty in expected {
            assert!(shown.iter().any(|shown| shown == ty), "{object}: {shown:?}");
        }
    }
}

#[test]
fn externs_are_named_and_resolved() {
    const OBJECT: &str = "bpf/corpus/ksyms_variables.bpf.o";
    let open = succeeds(&["prog", "disasm", OBJECT]);
    assert!(open.contains("(18) r1 = ksym[number_of_cpus]\n"), "{open}");
    let files = [
        "--target-btf",
        "bpf/corpus/target.btf",
        "--kallsyms",
        "bpf/corpus/kallsyms",
    ];
    let done = succeeds(&[&["prog", "disasm", OBJECT], &files[..]].concat());
    assert!(
        done.contains("] ; number_of_cpus\n") && done.contains("r1 = btf_id["),
        "{done}"
    );
    assert!(done.contains("r2 = 0xffffffff81234568 ; symbol_by_address\n"), "{done}");
    assert!(done.contains("= 0x0 ; no_such_symbol\n"), "{done}");
    let open = succeeds(&["prog", "disasm", "bpf/corpus/ksyms_functions.bpf.o"]);
    assert!(open.contains("(85) call kernel_function\n"), "{open}");

    let done = json(&[
        "prog",
        "disasm",
        "bpf/corpus/kconfig.bpf.o",
        "--target-btf",
        "bpf/corpus/target.btf",
        "--kconfig",
        "bpf/corpus/kconfig",
    ]);
    let notes = done["programs"][0]["insns"][0]["notes"].as_array().unwrap();
    assert!(notes.contains(&json!("LINUX_KERNEL_VERSION")), "{notes:?}");
    let line = fails(&[
        "prog",
        "disasm",
        "bpf/corpus/kconfig_missing.bpf.o",
        "--target-btf",
        "bpf/corpus/target.btf",
    ]);
    assert!(line.contains("CONFIG_ABSENT"), "{line}");
}

#[test]
fn what_goes_wrong_is_said_in_a_line() {
    assert_eq!(
        fails(&["prog", "disasm", V1, "count"]),
        format!("{V1}: no program count, expected one of: count_flows")
    );
    for command in [&["object", "show"][..], &["prog", "disasm"], &["btf", "dump"]] {
        let line = fails(&[command, &["no/such/file"]].concat());
        assert!(line.starts_with("cannot read no/such/file: "), "{line}");
        let whole = read(V1);
        for len in [0, 1, 63, 64, 1000, whole.len() / 2, whole.len() - 1] {
            let cut = file(&format!("cut_{}_{len}.bpf.o", command[0]), &whole[..len]);
            let line = fails(&[command, &[&cut]].concat());
            assert!(line.contains(&cut), "{line}");
        }
    }
}

#[test]
fn a_file_that_holds_no_types_is_told_apart() {
    let dump = |name: &str, bytes: &[u8]| {
        let path = file(name, bytes);
        let line = fails(&["btf", "dump", &path]);
        line.strip_prefix(&format!("cannot read types of {path}: "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        dump("text.btf", b"text\n"),
        "neither an ELF file nor bare types: magic 0x6574, expected 0xeb9f (little-endian)"
    );
    assert!(dump("empty.btf", b"").starts_with("neither an ELF file nor bare types: "));
    let whole = read(V1);
    assert!(dump("cut_types.bpf.o", &whole[..whole.len() / 2]).starts_with("malformed ELF file: "));
    let big_endian = read("bpf/corpus/big_endian.bpf.o");
    assert!(dump("big_endian.bpf.o", &big_endian).starts_with("not a 64-bit little-endian ELF file: "));
}

#[test]
fn compressed_options_are_told_apart() {
    let path = file("config.gz", &[0x1f, 0x8b, 8, 0]);
    let target = ["--target-btf", "bpf/corpus/target.btf", "--kconfig", &path];
    let line = fails(&[&["prog", "disasm", "bpf/corpus/kconfig.bpf.o"], &target[..]].concat());
    assert_eq!(
        line,
        format!("cannot read {path}: compressed with gzip, expected text: decompress it first")
    );
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hitless"))
        .args(["prog", "disasm", "bpf/corpus/sections.bpf.o", "--json", "--opcodes"])
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stderr, b"");
}

#[test]
fn wrong_usage() {
    for args in [
        &["object"][..],
        &["prog", "disasm"],
        &["prog", "disasm", V1, "--kconfig", "x"],
        &["btf", "dump", V1, "--format", "d"],
    ] {
        assert_eq!(hitless(args).status.code(), Some(2), "{args:?}");
    }
}
