//! Maps: every way to declare one, what they hold from the start, and structs of functions.

mod common;

use common::{data, parse, refusal};
use hitless_object::{Element, MapSpec, ObjectSpec, Pinning, StructOpsFunction, StructOpsSpec};
use proptest::prelude::*;

fn map<'a>(object: &'a ObjectSpec, name: &str) -> &'a MapSpec {
    object.map(name).unwrap_or_else(|| panic!("no map {name}"))
}

/// Type, key size, value size, number of elements, flags.
fn attributes(map: &MapSpec) -> (u32, u32, u32, u32, u32) {
    (map.map_type, map.key_size, map.value_size, map.max_entries, map.flags)
}

/// What a map holds from the start, by index and name.
fn values<'a>(object: &'a ObjectSpec, map: &MapSpec) -> Vec<(u32, &'a str)> {
    let name = |element| match element {
        Element::Map(index) => object.maps[index].name.as_str(),
        Element::Program(index) => object.programs[index].name.as_str(),
    };
    map.values
        .iter()
        .map(|value| (value.index, name(value.element)))
        .collect()
}

#[test]
fn maps_of_maps() {
    let object = parse(&data("maps"));
    let outer = map(&object, "outer");
    assert_eq!(attributes(outer), (12, 4, 4, 8, 0));
    let expected = [(1, "inner_c"), (3, "inner_b"), (6, "inner_a"), (7, "inner_a")];
    assert_eq!(values(&object, outer), expected);
    let inner = outer.inner.as_deref().unwrap();
    assert_eq!(
        (inner.name.as_str(), attributes(inner)),
        ("outer.inner", (1, 8, 8, 5, 1))
    );
    let declared = map(&object, "inner_a");
    assert_eq!(attributes(declared), attributes(inner));
    assert_eq!(
        (declared.key_type, declared.value_type),
        (inner.key_type, inner.value_type)
    );
    let key = object.btf.as_ref().unwrap().type_name(inner.key_type.unwrap());
    assert_eq!(key, "struct key");

    let inline = map(&object, "hash_outer");
    assert_eq!(
        (attributes(inline), values(&object, inline)),
        ((13, 4, 4, 2, 0), vec![])
    );
    let inner = inline.inner.as_deref().unwrap();
    assert_eq!(
        (inner.name.as_str(), attributes(inner)),
        ("hash_outer.inner", (27, 0, 0, 4096, 0))
    );
    let sparse = map(&object, "hash_filled");
    assert_eq!(
        (attributes(sparse), values(&object, sparse)),
        ((13, 4, 4, 2, 0), vec![(1000, "ring")])
    );
}

#[test]
fn prog_arrays() {
    let object = parse(&data("maps"));
    let programs = map(&object, "programs");
    assert_eq!(attributes(programs), (3, 4, 4, 4, 0));
    assert_eq!(values(&object, programs), [(0, "second"), (3, "first")]);
    assert_eq!(programs.inner, None);
}

#[test]
fn linked_objects() {
    let object = parse(&data("linked_maps"));
    for n in [1, 2] {
        let name = |what: &str| format!("{what}_{n}");
        let (outer, programs) = (map(&object, &name("outer")), map(&object, &name("programs")));
        assert_eq!(values(&object, outer), [(n, name("inner").as_str())]);
        assert_eq!(values(&object, programs), [(n, name("program").as_str())]);
        let program = object.program(&name("program")).unwrap();
        let reference = program.insns.iter().find(|insn| insn.code == 0x18).unwrap();
        let same = &object.maps[reference.imm as usize];
        assert_eq!(
            (same.name.as_str(), same.max_entries),
            ("same", n),
            "static maps are told apart"
        );
    }
}

#[test]
fn other_attributes() {
    let object = parse(&data("maps"));
    let bloom = map(&object, "bloom");
    assert_eq!(attributes(bloom), (30, 0, 8, 100, 0));
    let found = (bloom.numa_node, bloom.pinning, bloom.map_extra, bloom.key_type);
    assert_eq!(found, (Some(0), Pinning::ByName, 3, None));
    assert_eq!(
        attributes(map(&object, "perf")),
        (4, 4, 4, 0, 0),
        "not the number of processors"
    );
    assert_eq!(
        map(&object, "locks").spin_lock,
        Some(8),
        "in an array of one, and not that in a union"
    );
}

#[test]
fn sections_of_global_data() {
    let (object, features) = (parse(&data("maps")), parse(&data("features")));
    let found = |name: &str| {
        let map = map(&object, name);
        (map.value_size, map.flags, map.frozen, map.data.as_deref().unwrap())
    };
    assert_eq!(found(".data.mine"), (4, 1024, false, &[3, 0, 0, 0][..]));
    assert_eq!(found(".rodata.mine"), (4, 1024 | 128, true, &[4, 0, 0, 0][..]));
    assert_eq!(found(".bss.mine"), (4, 1024, false, &[][..]));
    assert_eq!(
        found(".data.unread"),
        (8, 1024, false, &[0; 8][..]),
        "pointers that no program reads"
    );
    let flags = |name: &str| map(&features, name).flags;
    let found = [".bss", ".rodata", ".rodata.str1.1", ".data"].map(flags);
    assert_eq!(found, [0, 128, 128, 1024], "static variables alone cannot be mapped");
}

#[test]
fn definitions_of_libbpf() {
    for name in ["legacy_LIBBPF", "legacy_LIBBPF_BTF"] {
        let object = parse(&data(name));
        let (first, second) = (map(&object, "first"), map(&object, "second"));
        assert_eq!(
            (attributes(first), attributes(second)),
            ((1, 4, 8, 10, 1), (2, 4, 16, 20, 0))
        );
        let program = object.program("program").unwrap();
        let reference = program.insns.iter().find(|insn| insn.code == 0x18).unwrap();
        assert_eq!((reference.src, reference.imm), (5, 1), "{name}");
        let Some(btf) = &object.btf else { continue };
        assert_eq!(btf.type_name(second.value_type.unwrap()), "struct value");
        assert_eq!(
            (first.key_type, first.value_type),
            (None, None),
            "annotated with another size"
        );
    }
    assert_eq!(parse(&data("legacy_LIBBPF")).btf, None);
}

#[test]
fn definitions_of_the_samples() {
    for name in ["legacy_SAMPLES", "legacy_SAMPLES_BTF"] {
        let object = parse(&data(name));
        let inner = map(&object, "inner");
        assert_eq!((attributes(inner), inner.numa_node), ((1, 4, 8, 10, 4), Some(0)));
        let outer = map(&object, "outer");
        assert_eq!((attributes(outer), values(&object, outer)), ((12, 4, 4, 3, 0), vec![]));
        let inner = outer.inner.as_deref().unwrap();
        let found = (inner.name.as_str(), attributes(inner), inner.numa_node);
        assert_eq!(found, ("outer.inner", (2, 4, 8, 10, 0), None), "{name}");
    }
}

#[test]
fn definitions_of_iproute2() {
    for name in ["legacy_ELF", "legacy_ELF_BTF"] {
        let object = parse(&data(name));
        let pinning = |name| map(&object, name).pinning;
        let found = (pinning("inner"), pinning("other"), pinning("outer"));
        assert_eq!(found, (Pinning::ByName, Pinning::InObject, Pinning::None));
        let outer = map(&object, "outer");
        assert_eq!(values(&object, outer), [(0, "other"), (1, "inner")], "by id");
        let inner = outer.inner.as_deref().unwrap();
        assert_eq!((attributes(inner), inner.pinning), ((2, 4, 8, 10, 0), Pinning::None));
        assert_eq!(
            values(&object, map(&object, "jumps")),
            [(3, "tail")],
            "from section 0xcc/3"
        );
    }
}

#[test]
fn definitions_of_gobpf() {
    for name in ["legacy_GOBPF", "legacy_GOBPF_BTF"] {
        let object = parse(&data(name));
        let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
        assert_eq!(names, ["events", "counts"], "from the sections' names");
        let (events, counts) = (&object.maps[0], &object.maps[1]);
        assert_eq!(
            (attributes(events), events.pinning),
            ((4, 4, 4, 1024, 0), Pinning::ByName)
        );
        assert_eq!((attributes(counts), counts.pinning), ((1, 4, 8, 7, 0), Pinning::None));
        let program = object.program("program").unwrap();
        assert!(
            program
                .insns
                .iter()
                .any(|insn| (insn.code, insn.src, insn.imm) == (0x18, 5, 0))
        );
    }
}

#[test]
fn structs_of_functions() {
    let object = parse(&data("struct_ops"));
    let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "linked", "optional"]);
    let ops = |name: &str| map(&object, name).struct_ops.as_ref().unwrap();
    let functions = |ops: &StructOpsSpec| {
        let name = |function: &StructOpsFunction| (function.offset, object.programs[function.program].name.clone());
        ops.functions.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(attributes(map(&object, "first")), (26, 4, 48, 1, 0));
    assert_eq!(attributes(map(&object, "linked")), (26, 4, 48, 1, 1 << 13));
    let first = ops("first");
    assert_eq!(
        (first.type_name.as_str(), first.link, first.optional),
        ("ops", false, false)
    );
    assert_eq!(object.btf.as_ref().unwrap().type_name(first.ty), "struct ops");
    assert_eq!(functions(first), [(0, "init".to_string()), (24, "value".to_string())]);
    let expected = [&[0; 16][..], &[5], &[0; 15], b"first", &[0; 11]].concat();
    assert_eq!(first.data, expected);
    assert_eq!(functions(ops("second")), [(24, "value".to_string())]);
    let linked = ops("linked");
    assert_eq!((functions(linked), linked.link), (vec![(0, "init".to_string())], true));
    assert_eq!(&linked.data[32..38], b"linked");
    let optional = ops("optional");
    assert_eq!(
        (functions(optional), optional.link, optional.optional),
        (vec![], true, true)
    );
}

#[test]
fn declarations_that_make_no_sense() {
    let values = |text: &str| format!("map \"map\": attribute \"values\" {text}");
    let of_type = |found: &str, of: &str| {
        values(&format!(
            "is of type {found}, expected an array without a length of pointers to {of} (__array)"
        ))
    };
    let types = "expected prog_array (3), array_of_maps (12), hash_of_maps (13)";
    let at = |at: u32, what: &str| format!("map \"map\": initial value at offset {at} of the declaration, {what}");
    let cases = [
        ("UNKNOWN", "map \"map\": unsupported attribute \"colour\"".into()),
        ("NO_TYPE", "map \"map\": no type".into()),
        ("SIZES", "map \"map\": key of 8 bytes and of 4 bytes".into()),
        (
            "NUMBER",
            "map \"map\": attribute \"type\" is of type int, expected a number (__uint)".into(),
        ),
        ("PIN", "map \"map\": pinning 2, expected 0 or 1".into()),
        (
            "INNER_PIN",
            "map \"map.inner\": attribute \"pinning\", but the maps in a map cannot be pinned by its declaration"
                .into(),
        ),
        (
            "NESTED",
            "map \"map.inner\": attribute \"values\", but maps of maps cannot be nested further".into(),
        ),
        ("VALUES_TYPE", values(&format!("of a map of type hash (1), {types}"))),
        (
            "VALUES_FIRST",
            values(&format!("of a map whose type is not given before, {types}")),
        ),
        (
            "VALUES_MIDDLE",
            "map \"map\": attribute \"values\", expected to be the last one".into(),
        ),
        ("VALUES_SIZE", "map \"map\": value of 8 bytes and of 4 bytes".into()),
        ("VALUES_LENGTH", of_type("struct inner *[2]", "maps")),
        ("VALUES_FUNCTIONS", of_type("function *[0]", "maps")),
        ("VALUES_MAPS", of_type("struct inner *[0]", "functions")),
        (
            "POINTER",
            at(
                8,
                "\"inner\": only the values of a map of maps or prog array are initialised, this is a map of type array (2)",
            ),
        ),
        (
            "BEFORE_VALUES",
            at(16, "\"inner\": no element of \"values\", which start at offset 24"),
        ),
        ("NO_MAP", at(32, "\"elsewhere\": is no map declared in .maps")),
        ("MISSING", at(32, "\"missing\": is not in the object")),
        (
            "STATIC_PROGRAM",
            at(
                32,
                "\"unseen\": is no program: expected a function that is not static, in a section of its type",
            ),
        ),
        (
            "TOO_MANY",
            "map \"map\": max_entries 2, expected at least 3 for its initial values".into(),
        ),
        (
            "HASH_KEY",
            "map \"map\": keys of 8 bytes, expected 4 for a map of type hash_of_maps (13) with initial values".into(),
        ),
        (
            "EXTERN",
            "map \"map\": is extern; link with the object that defines it (bpftool gen object)".into(),
        ),
        (
            "LOCKS",
            "map \"map\": array of 3 bpf_spin_locks at offset 8, at most one lock is supported".into(),
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(refusal(&data(&format!("refused_maps_{name}"))), expected, "{name}");
    }
}

#[test]
fn old_definitions_that_make_no_sense() {
    let definition = |size: u32, what: &str| {
        format!(
            "map \"map\": definition of {size} bytes in section maps: {what}; supported are bpf_map_def of libbpf, of the \
             kernel's samples, of aya and of gobpf, and bpf_elf_map; or declare the map in .maps"
        )
    };
    let cases = [
        ("TAIL", definition(24, "member \"colour\" is not zero and not known")),
        ("SHORT", definition(12, "at least 16 bytes are expected")),
        (
            "PIN",
            definition(
                36,
                "pinning 3, expected 0 (PIN_NONE), 1 (PIN_OBJECT_NS) or 2 (PIN_GLOBAL_NS)",
            ),
        ),
        (
            "INNER",
            "map \"map\": inner_id 4, expected the id of another map of the section, and not 0".into(),
        ),
        (
            "INDEX",
            "map \"map\": inner_map_idx 4, expected the position of a map in the section".into(),
        ),
        (
            "NESTED",
            "map \"map\": made of maps like \"map\", but maps of maps cannot be nested".into(),
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(
            refusal(&data(&format!("refused_maps_LEGACY_{name}"))),
            expected,
            "{name}"
        );
    }
}

#[test]
fn structs_of_functions_that_make_no_sense() {
    let refused = |name: &str| refusal(&data(&format!("refused_struct_ops_{name}")));
    assert_eq!(
        refused("DATA"),
        "struct_ops \"first\": pointer at offset 8, \".rodata.str1.1\": member \"text\" is of type const char *, only \
         pointers to functions can be initialised with an address"
    );
    let at = |what: &str| format!("struct_ops \"first\": pointer at offset 24, {what}");
    let none = "is no program, expected one in a section struct_ops/...";
    assert_eq!(refused("TEXT"), at(&format!("\"subprogram\": {none}")));
    assert_eq!(refused("STATIC"), at(&format!("\"unseen\": {none}")));
    assert_eq!(
        refused("XDP"),
        at("\"packet\": is a program in section xdp, expected one in a section struct_ops/...")
    );
}

/// Bytes that a description holds, roughly.
fn held(map: &MapSpec) -> usize {
    let own = map.data.as_ref().map_or(0, Vec::len) + map.struct_ops.as_ref().map_or(0, |ops| ops.data.len());
    own + map.values.len() * 16 + map.inner.as_deref().map_or(0, held) + size_of::<MapSpec>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_maps_do_no_harm(
        name in prop::sample::select(vec![
            "maps", "struct_ops", "legacy_ELF", "legacy_ELF_BTF", "legacy_SAMPLES", "legacy_GOBPF", "legacy_LIBBPF_BTF",
        ]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = data(name);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        match ObjectSpec::parse(&bytes) {
            Ok(object) => {
                let held: usize = object.maps.iter().map(held).sum();
                prop_assert!(held <= 20 * bytes.len(), "{held} bytes from {}", bytes.len());
                for map in &object.maps {
                    let exists = |element| match element {
                        Element::Map(index) => index < object.maps.len(),
                        Element::Program(index) => index < object.programs.len(),
                    };
                    prop_assert!(map.values.iter().all(|value| exists(value.element)));
                    let functions = map.struct_ops.iter().flat_map(|ops| &ops.functions);
                    prop_assert!(functions.into_iter().all(|function| function.program < object.programs.len()));
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
