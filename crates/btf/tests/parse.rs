//! Parsing: what clang emits, what cannot make sense, and bytes that were damaged on the way.

mod common;

use std::sync::Arc;

use common::{Types, section};
use hitless_btf::*;
use proptest::prelude::*;

fn flows() -> Btf {
    Btf::parse(&section("flows_v2", ".BTF")).unwrap()
}

#[test]
fn clang_output() {
    let btf = flows();
    let stats = btf.find(Kind::Struct, "flow_stats").unwrap();
    assert_eq!(btf.size_of(stats), Some(24));
    let fields: Vec<_> = btf
        .members(stats)
        .iter()
        .map(|m| (m.name.as_str(), m.bit_offset / 8))
        .collect();
    assert_eq!(fields, [("last_seen", 0), ("octets", 8), ("packets", 16)]);
    assert_eq!(btf.decl_tags(stats, Some(1)).collect::<Vec<_>>(), ["was:bytes"]);
    assert_eq!(
        btf.decl_tags(stats, Some(0)).count() + btf.decl_tags(stats, None).count(),
        0
    );

    let key = btf.find(Kind::Struct, "flow_key").unwrap();
    assert_eq!(btf.size_of(key), Some(40));
    assert_eq!(btf.type_name(key), "struct flow_key");
    let pad = &btf.members(key)[1];
    assert_eq!(
        (btf.type_name(pad.ty).as_str(), btf.size_of(pad.ty)),
        ("u8[3]", Some(3))
    );
    assert!(matches!(
        btf.resolve(btf.members(key)[0].ty),
        Some((_, Type::Int(Int { size: 1, .. })))
    ));

    let (_, bss) = btf.datasec(".bss").unwrap();
    assert_eq!(
        (bss.size, bss.vars.len()),
        (0, 4),
        "clang leaves the size to the loader"
    );
}

#[test]
fn functions_and_lines() {
    let btf = flows();
    let ext = BtfExt::parse(&section("flows_v2", ".BTF.ext"), &btf).unwrap();
    let xdp = ext.funcs.iter().find(|s| s.section == "xdp").unwrap();
    assert_eq!(btf.get(xdp.records[0].func).unwrap().name(), "count_flows");
    assert_eq!(xdp.records[0].insn_off, 0);
    let lines = &ext.lines.iter().find(|s| s.section == "xdp").unwrap().records;
    assert!(
        lines
            .iter()
            .any(|line| line.file.ends_with("flow_count.h") && line.line > 10),
        "{lines:?}"
    );
    assert!(ext.core_relos.is_empty());
}

#[test]
fn data_sections_are_completed() {
    let mut btf = flows();
    let (id, _) = btf.datasec(".bss").unwrap();
    let place = |var: &Var| {
        ["packets_seen", "new_flows"]
            .iter()
            .position(|name| var.name == *name)
            .map(|i| (i as u32 * 8, Linkage::Static))
    };
    let error = btf.fix_datasec(id, 8, place).unwrap_err();
    assert_eq!(
        error.to_string(),
        "variable \"new_flows\" takes bytes 8 to 16 of a section of 8"
    );
    assert_eq!(btf, flows(), "nothing has changed");
    btf.fix_datasec(id, 32, place).unwrap();
    assert_eq!(btf.size_of(id), Some(32));
    let vars = &btf.datasec(".bss").unwrap().1.vars;
    let is_static =
        |entry: &&DatasecVar| matches!(btf.get(entry.ty), Some(Type::Var(v)) if v.linkage == Linkage::Static);
    let found: Vec<_> = vars.iter().filter(is_static).map(|entry| entry.offset).collect();
    assert_eq!(found, [0, 8], "others are as they were");
    assert_eq!(btf.embedded(id, "bpf_spin_lock"), []);
    let error = btf.fix_datasec(TypeId(1), 0, |_| None).unwrap_err();
    assert_eq!(error, DatasecError::NotDatasec { id: TypeId(1) });
}

#[test]
fn embedded_structs_are_found() {
    let mut t = Types::new();
    let word = t.uint(4);
    let lock = t.structure("bpf_spin_lock", 4, &[("val", word, 0, 0)]);
    let inner = t.structure("inner", 12, &[("a", word, 0, 0), ("lock", lock, 64, 0)]);
    let anonymous = t.structure("", 4, &[("other", lock, 0, 0)]);
    let outer = t.structure("outer", 20, &[("inner", inner, 32, 0), ("", anonymous, 128, 0)]);
    assert_eq!(t.btf().embedded(outer, "bpf_spin_lock"), [12, 16]);
}

fn refused(types: Vec<Type>) -> String {
    Btf::new(types).unwrap_err().to_string()
}

#[test]
fn nonsense_is_refused() {
    let alias = |ty| {
        Type::Typedef(Typedef {
            name: "t".into(),
            ty: TypeId(ty),
        })
    };
    assert_eq!(
        refused(vec![Type::Void, alias(7)]),
        "type [1]: refers to type [7], but there are only 2"
    );
    assert!(refused(vec![Type::Void, alias(2), alias(1)]).ends_with("refers to itself"));
    assert!(refused(vec![Type::Void, alias(2), Type::Ptr(TypeId(1))]).ends_with("refers to itself"));
    let mut deep = vec![Type::Void];
    deep.extend((1..=MAX_DEPTH as u32 + 1).map(|id| Type::Const(TypeId(id - 1))));
    assert!(refused(deep).ends_with("nested deeper than 64 types"));

    let mut t = Types::new();
    t.structure("s", 8, &[("me", TypeId(1), 0, 0)]);
    assert_eq!(refused(t.0), "type [1]: refers to itself");

    let mut t = Types::new();
    let pointer = t.add(Type::Ptr(TypeId(2)));
    t.structure("list", 8, &[("next", pointer, 0, 0)]);
    assert_eq!(t.btf().size_of(TypeId(2)), Some(8), "through a pointer it is no cycle");

    let mut t = Types::new();
    let int = t.uint(4);
    t.structure("s", 4, &[("a", int, 8, 0)]);
    assert_eq!(refused(t.0), "type [2]: member 0 takes bits 8 to 40 of 32");

    let mut t = Types::new();
    let int = t.uint(8);
    let mut array = t.array(int, 1 << 16);
    array = t.array(array, 1 << 16);
    t.add(Type::Ptr(array));
    let btf = Btf::new(t.0.clone()).unwrap();
    assert_eq!(btf.size_of(array), None, "a large number in a map definition");
    t.structure("s", 8, &[("array", array, 0, 0)]);
    assert_eq!(refused(t.0), "type [5]: member is type [3], an array of 4 GiB or more");

    let mut t = Types::new();
    t.structure("s", 0, &[("nothing", TypeId::VOID, 0, 0)]);
    assert_eq!(refused(t.0), "type [1]: member is type [0], a void");
    let mut t = Types::new();
    t.int("odd", 3, IntEncoding::Unsigned);
    assert_eq!(refused(t.0), "type [1]: int with a size of 3 bytes");
    let mut t = Types::new();
    let s = t.structure("s", 0, &[]);
    t.tag("was:x", s, Some(0));
    assert_eq!(refused(t.0), "type [2]: declaration tag on component 0 of type [1]");
}

#[test]
fn headers_are_checked() {
    let good = section("flows_v2", ".BTF");
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Btf::parse(&bad).unwrap_err().to_string()
    };
    assert_eq!(
        with(0, &[0xeb, 0x9f]),
        "big-endian BTF, expected little-endian; compile with -target bpfel"
    );
    assert_eq!(with(0, &[0x7f, b'E']), "magic 0x457f, expected 0xeb9f (little-endian)");
    assert_eq!(with(2, &[9]), "version 9, expected 1");
    assert_eq!(with(3, &[1]), "unknown flags 0x1 in header");
    assert_eq!(with(4, &8u32.to_le_bytes()), "header length 8, expected 24");
    let len = good.len();
    let expected = format!("type section at bytes 24 to 4294967319, but there are only {len}");
    assert_eq!(with(12, &u32::MAX.to_le_bytes()), expected);
    assert_eq!(with(len - 1, b"x"), "string section does not start and end with a nul");
}

/// Uses everything that parsing promises to be safe.
fn exercise(btf: &Btf) {
    let written = btf.to_bytes();
    assert!(Btf::parse(&written).unwrap() == *btf, "what was written is read back");
    let _ = (dump::raw(btf).to_string(), dump::c(btf));
    for (id, _) in btf.types() {
        let _ = (btf.resolve(id), btf.type_name(id));
        let _ = btf.embedded(id, "bpf_spin_lock");
        let bytes = vec![0x5a; btf.size_of(id).unwrap_or(0).min(4096) as usize];
        if let Ok(value) = btf.value(id, &bytes) {
            let _ = value.to_string();
        }
        if let Ok(diff) = layout::compare((btf, id), (btf, id)) {
            let size = diff.transform.old_size();
            if size <= 4096 {
                diff.transform.apply(&vec![1; size], &mut vec![0; size]);
            }
        }
    }
}

#[test]
fn flags_without_a_meaning_are_refused() {
    let of = |kind: u32, flags: u32| {
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        let words = [0u32, 12, 12, 3, 1, kind << 24 | flags, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(b"\0x\0");
        Btf::parse(&bytes).map(|btf| btf.get(TypeId(1)).cloned())
    };
    let kflag = 1 << 31;
    assert_eq!(
        of(8, kflag).unwrap_err().to_string(),
        "unknown flags 0x80000000 in type"
    );
    assert_eq!(
        of(8, 1 << 20).unwrap_err().to_string(),
        "unknown flags 0x100000 in type"
    );
    assert!(matches!(of(7, kflag), Ok(Some(Type::Fwd(Fwd { union: true, .. })))));
    assert!(matches!(
        of(18, kflag),
        Ok(Some(Type::TypeTag(TypeTag { attribute: true, .. })))
    ));
    assert!(matches!(of(6, kflag), Ok(Some(Type::Enum(Enum { signed: true, .. })))));
    assert_eq!(of(20, 0).unwrap_err().to_string(), "type [1]: unknown kind 20");
}

#[test]
fn signed_chars_of_gcc_are_chars() {
    let of = |encoding: u32| {
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        let words = [0u32, 16, 16, 3, 1, 1 << 24, 1, encoding << 24 | 8];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(b"\0x\0");
        Btf::parse(&bytes).map(|btf| btf.get(TypeId(1)).cloned())
    };
    let encoding = |ty| match ty {
        Some(Type::Int(int)) => int.encoding,
        other => panic!("{other:?}"),
    };
    assert_eq!(of(3).map(encoding), Ok(IntEncoding::Char), "signed and char");
    assert!(matches!(of(5), Err(BtfError::BadInt { encoding: 5, .. })));
}

#[test]
fn an_enum_that_is_only_declared_has_no_size() {
    let declared = Type::Enum(Enum {
        name: "later".into(),
        size: 0,
        signed: false,
        variants: Vec::new(),
    });
    let pointer = Btf::new(vec![Type::Void, declared.clone(), Type::Ptr(TypeId(1))]).unwrap();
    assert_eq!(pointer.size_of(TypeId(1)), None);
    assert_eq!(Btf::parse(&pointer.to_bytes()).unwrap(), pointer);
    let value = Type::Array(Array {
        elem: TypeId(1),
        index: TypeId(1),
        len: 2,
    });
    assert!(matches!(
        Btf::new(vec![Type::Void, declared, value]),
        Err(BtfError::BadReference { what: "element", .. })
    ));
}

#[test]
fn the_longer_header_of_clang_9_is_read() {
    let btf = Btf::parse(&section("flows_v2", ".BTF")).unwrap();
    let ext = section("flows_v2", ".BTF.ext");
    // After the CO-RE records, where those of a table would be that is empty, and how many bytes.
    let longer = |len: u32| {
        let mut longer = ext[..32].to_vec();
        longer[4..8].copy_from_slice(&40u32.to_le_bytes());
        longer.extend_from_slice(&8u32.to_le_bytes());
        longer.extend_from_slice(&len.to_le_bytes());
        longer.extend_from_slice(&ext[32..]);
        BtfExt::parse(&longer, &btf)
    };
    assert_eq!(longer(0), BtfExt::parse(&ext, &btf));
    assert!(matches!(longer(4), Err(BtfError::HeaderLength { found: 40, .. })));
}

#[test]
fn types_and_strings_do_not_overlap() {
    let mut bytes = Btf::new(vec![Type::Void, Type::Ptr(TypeId(0))]).unwrap().to_bytes();
    bytes[16..24].copy_from_slice(&[11, 0, 0, 0, 2, 0, 0, 0]);
    let error = Btf::parse(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "type section at 0 and string section at 11 overlap");
}

#[test]
fn members_of_unions_start_at_their_start() {
    let mut t = Types::new();
    let int = t.uint(4);
    t.union("u", 8, &[("a", int, 0, 0), ("b", int, 32, 0)]);
    assert_eq!(refused(t.0), "type [2]: member 1 takes bits 32 to 64 of 64");
}

#[test]
fn every_prefix_is_an_error_or_fine() {
    let (good, ext) = (section("flows_lock_v2", ".BTF"), section("flows_lock_v2", ".BTF.ext"));
    let btf = Btf::parse(&good).unwrap();
    exercise(&btf);
    for len in 0..good.len() {
        assert!(Btf::parse(&good[..len]).is_err(), "{len} bytes");
    }
    for len in 0..ext.len() {
        assert!(BtfExt::parse(&ext[..len], &btf).is_err(), "{len} bytes of .BTF.ext");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_bytes_do_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff)]), 1..8),
    ) {
        let mut bytes = section("flows_v2", ".BTF");
        let mut ext = section("flows_v2", ".BTF.ext");
        let good = Btf::parse(&bytes).unwrap();
        for (at, value) in &flips {
            let (len, ext_len) = (bytes.len(), ext.len());
            bytes[at.index(len)] = *value;
            ext[at.index(ext_len)] = *value;
        }
        let _ = BtfExt::parse(&ext, &good);
        if let Ok(btf) = Btf::parse(&bytes) {
            exercise(&btf);
        }
    }

    #[test]
    fn damaged_split_btf_does_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff)]), 1..8),
    ) {
        let base = Arc::new(flows());
        // The same types once more, which then refer to those of the base and have their names.
        let types = base.types().skip(1).map(|(_, ty)| ty.clone()).collect();
        let mut bytes = Btf::new_split(types, Arc::clone(&base)).unwrap().to_bytes();
        for (at, value) in &flips {
            let len = bytes.len();
            bytes[at.index(len)] = *value;
        }
        if let Ok(split) = Btf::parse_split(&bytes, Arc::clone(&base)) {
            let again = Btf::parse_split(&split.to_bytes(), base).unwrap();
            prop_assert!(again == split);
            let _ = (dump::raw(&split).to_string(), dump::c(&split));
            for (id, _) in split.types() {
                let _ = (split.resolve(id), split.type_name(id), split.embedded(id, "bpf_spin_lock"));
            }
        }
    }
}

#[test]
fn zero_sized_and_overlapping_types_stay_bounded() {
    // Each struct holds the one before twice: 2^40 parts in no bytes at all.
    let mut t = Types::new();
    let mut s = t.structure("s0", 0, &[]);
    for depth in 1..40 {
        s = t.structure(&format!("s{depth}"), 0, &[("a", s, 0, 0), ("b", s, 0, 0)]);
    }
    let word = t.uint(4);
    let mut u = t.union("u0", 4, &[("word", word, 0, 0)]);
    for depth in 1..40 {
        u = t.union(&format!("u{depth}"), 4, &[("a", u, 0, 0), ("b", u, 0, 0)]);
    }
    let empty = t.array(s, u32::MAX);
    let btf = t.btf();
    assert_eq!(btf.value(s, &[]).unwrap_err(), value::ValueError::TooLarge { id: s });
    assert_eq!(
        btf.value(u, &[0; 4]).unwrap_err(),
        value::ValueError::TooLarge { id: u }
    );
    assert_eq!(btf.value(empty, &[]).unwrap(), value::Value::Array(vec![]));
    assert!(matches!(
        layout::compare((&btf, s), (&btf, s)),
        Err(layout::LayoutError::TooLarge { .. })
    ));
    assert!(layout::compare((&btf, u), (&btf, u)).unwrap().is_identity());
    let _ = btf.embedded(s, "bpf_spin_lock");
}

#[test]
fn kernel() {
    let path = "/sys/kernel/btf/vmlinux";
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!("skipped: this kernel has no {path}");
        return;
    };
    let btf = Btf::parse(&bytes).unwrap();
    let task = btf.find(Kind::Struct, "task_struct").unwrap();
    assert!(btf.value(task, &vec![0; btf.size_of(task).unwrap() as usize]).is_ok());
    assert!(
        layout::compare((&btf, task), (&btf, task))
            .unwrap()
            .transform
            .old_size()
            > 1000
    );
}
