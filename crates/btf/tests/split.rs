//! Split BTF: ids and strings that go on where those of the base end.

mod common;

use std::process::Command;
use std::sync::Arc;

use common::{Types, file, have, output, vmlinux};
use hitless_btf::*;

fn base() -> Arc<Btf> {
    let mut t = Types::new();
    let word = t.uint(4);
    t.structure("pair", 8, &[("first", word, 0, 0), ("second", word, 32, 0)]);
    t.tag("old", TypeId(2), None);
    Arc::new(t.btf())
}

/// Two types and a tag on top of a base that has a struct `pair` (id 2) and an integer (id 1).
fn split(base: &Arc<Btf>, pair: TypeId, word: TypeId) -> Btf {
    let first = base.len() as u32;
    let mut t = Types(Vec::new());
    t.structure("pairs", 12, &[("first", pair, 0, 0), ("extra", word, 64, 0)]);
    t.add(Type::Ptr(TypeId(first)));
    t.tag("new", pair, None);
    Btf::new_split(t.0, Arc::clone(base)).unwrap()
}

#[test]
fn lookups_see_both() {
    let base = base();
    let btf = split(&base, TypeId(2), TypeId(1));
    assert_eq!((base.len(), btf.len()), (4, 7));
    assert_eq!(btf.find(Kind::Struct, "pair"), Some(TypeId(2)));
    assert_eq!(btf.find(Kind::Struct, "pairs"), Some(TypeId(4)));
    assert_eq!(base.find(Kind::Struct, "pairs"), None);
    assert_eq!(btf.size_of(TypeId(2)), Some(8));
    assert_eq!(btf.size_of(TypeId(4)), Some(12));
    assert_eq!(btf.members(TypeId(4)).len(), 2);
    assert_eq!(btf.type_name(TypeId(5)), "struct pairs *");
    assert_eq!(btf.decl_tags(TypeId(2), None).collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(base.decl_tags(TypeId(2), None).collect::<Vec<_>>(), ["old"]);
    assert_eq!(
        btf.types().map(|(id, _)| id.0).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6]
    );
    assert_eq!(btf.own_types().map(|(id, _)| id.0).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(btf.get(TypeId(7)), None);
    assert!(btf.value(TypeId(4), &[1; 12]).is_ok());
}

#[test]
fn it_is_read_back() {
    let base = base();
    let btf = split(&base, TypeId(2), TypeId(1));
    let bytes = btf.to_bytes();
    assert!(
        !bytes.windows(4).any(|w| w == b"u32\0"),
        "names of the base are not repeated"
    );
    assert!(
        !bytes.windows(6).any(|w| w == b"first\0"),
        "names of the base are not repeated"
    );
    // What the base was made from makes no difference.
    let parsed = Arc::new(Btf::parse(&base.to_bytes()).unwrap());
    for base in [base, parsed] {
        let again = Btf::parse_split(&bytes, base).unwrap();
        assert_eq!(again, btf);
        assert_eq!(again.to_bytes(), bytes);
    }
}

#[test]
fn a_split_may_be_split() {
    let middle = Arc::new(split(&base(), TypeId(2), TypeId(1)));
    let mut t = Types(Vec::new());
    t.structure(
        "pairs_and_pair",
        20,
        &[("first", TypeId(4), 0, 0), ("pair", TypeId(2), 96, 0)],
    );
    let top = Btf::new_split(t.0, Arc::clone(&middle)).unwrap();
    let again = Btf::parse_split(&top.to_bytes(), middle).unwrap();
    assert_eq!(again, top);
    assert_eq!(again.find(Kind::Struct, "pair"), Some(TypeId(2)));
    assert_eq!(again.find(Kind::Struct, "pairs"), Some(TypeId(4)));
    assert_eq!(again.find(Kind::Struct, "pairs_and_pair"), Some(TypeId(7)));
}

#[test]
fn the_bounds_of_the_base_count() {
    let base = base();
    let refused = |types: Vec<Type>| Btf::new_split(types, Arc::clone(&base)).unwrap_err().to_string();
    assert_eq!(
        refused(vec![Type::Ptr(TypeId(5))]),
        "type [4]: refers to type [5], but there are only 5"
    );
    assert_eq!(refused(vec![Type::Const(TypeId(4))]), "type [4]: refers to itself");
    assert_eq!(refused(vec![Type::Void]), "type [4]: unknown kind 0");
    let mut t = Types(Vec::new());
    t.structure("s", 4, &[("pair", TypeId(2), 0, 0)]);
    assert_eq!(refused(t.0), "type [4]: member 0 takes bits 0 to 64 of 32");

    // What nests in the base counts for what nests it.
    let deep = |count: u32, from: u32| (0..count).map(|i| Type::Const(TypeId(from + i))).collect::<Vec<_>>();
    let mut below = vec![Type::Void];
    below.extend(deep(40, 0));
    let below = Arc::new(Btf::new(below).unwrap());
    assert!(Btf::new_split(deep(20, 40), Arc::clone(&below)).is_ok());
    let error = Btf::new_split(deep(40, 40), below).unwrap_err();
    assert!(matches!(error, BtfError::TooDeep { .. }), "{error}");

    // Strings behind those of the base and of the split.
    let mut bytes = split(&base, TypeId(2), TypeId(1)).to_bytes();
    bytes[24..28].copy_from_slice(&1000u32.to_le_bytes());
    let error = Btf::parse_split(&bytes, Arc::clone(&base)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "type [4]: string offset 1000 is not in the string section"
    );
    assert!(
        Btf::parse(&split(&base, TypeId(2), TypeId(1)).to_bytes()).is_err(),
        "not without its base"
    );
}

#[test]
fn data_sections_of_the_base_are_not_changed() {
    let mut t = Types::new();
    t.add(Type::Datasec(Datasec {
        name: ".bss".into(),
        ..Datasec::default()
    }));
    let mut btf = Btf::new_split(vec![Type::Ptr(TypeId(0))], Arc::new(t.btf())).unwrap();
    let (id, _) = btf.datasec(".bss").unwrap();
    assert_eq!(btf.fix_datasec(id, 8, |_| None), Err(DatasecError::NotDatasec { id }));
}

/// Compares with what bpftool reads, through the base.
fn bpftool_agrees(name: &str, base: &[u8], split: &Btf) {
    let (base, path) = (
        file(&format!("{name}.base"), base),
        file(&format!("{name}.split"), split.to_bytes()),
    );
    let mut bpftool = Command::new("bpftool");
    bpftool.arg("-B").arg(base).args(["btf", "dump", "file"]).arg(path);
    assert_eq!(output(&mut bpftool), dump::raw(split).to_string());
}

#[test]
fn bpftool_reads_it() {
    if !have("bpftool") {
        return;
    }
    let base = base();
    bpftool_agrees("small", &base.to_bytes(), &split(&base, TypeId(2), TypeId(1)));
}

#[test]
fn on_top_of_the_kernel() {
    let Some(bytes) = vmlinux() else { return };
    let base = Arc::new(Btf::parse(&bytes).unwrap());
    let list = base.find(Kind::Struct, "list_head").unwrap();
    let word = base.find(Kind::Int, "unsigned int").unwrap();
    let mut t = Types(Vec::new());
    t.structure("on_top", 24, &[("list", list, 0, 0), ("counter", word, 128, 0)]);
    let split = Btf::new_split(t.0, Arc::clone(&base)).unwrap();
    let written = split.to_bytes();
    assert!(written.len() < 200, "{} bytes", written.len());
    assert_eq!(Btf::parse_split(&written, Arc::clone(&base)).unwrap(), split);
    if have("bpftool") {
        bpftool_agrees("kernel", &bytes, &split);
    }
    let modules = std::fs::read_dir("/sys/kernel/btf").unwrap();
    let mut count = 0;
    for path in modules.map(|entry| entry.unwrap().path()) {
        if path.ends_with("vmlinux") {
            continue;
        }
        let module = Btf::parse_split(&std::fs::read(&path).unwrap(), Arc::clone(&base)).unwrap();
        let again = Btf::parse_split(&module.to_bytes(), Arc::clone(&base)).unwrap();
        assert_eq!(again, module, "{path:?}");
        count += 1;
    }
    if count == 0 {
        eprintln!("skipped in part: no module here has BTF");
    }
}
