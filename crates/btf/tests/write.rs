//! Writing: what was written is read back as it was, by us, by the kernel and by bpftool.

mod common;

use std::process::Command;

use common::{Types, file, have, objects, output, section, section_of, vmlinux};
use hitless_btf::*;

/// A BTF with every kind and every flag.
fn every_kind() -> Btf {
    let mut t = Types::new();
    let int = t.int("int", 4, IntEncoding::Signed);
    let word = t.uint(4);
    let byte = t.int("char", 1, IntEncoding::Char);
    t.int("_Bool", 1, IntEncoding::Bool);
    t.int("__int128", 16, IntEncoding::Signed);
    let array = t.array(byte, 16);
    let tagged = t.add(Type::TypeTag(TypeTag {
        tag: "user".into(),
        ty: int,
        attribute: false,
    }));
    let attributed = t.add(Type::TypeTag(TypeTag {
        tag: "address_space(1)".into(),
        ty: tagged,
        attribute: true,
    }));
    let pointer = t.add(Type::Ptr(attributed));
    let qualified = t.add(Type::Const(pointer));
    let qualified = t.add(Type::Volatile(qualified));
    let restricted = t.add(Type::Restrict(pointer));
    let bits = [
        ("a", word, 0, 3),
        ("b", int, 3, 5),
        ("p", qualified, 64, 0),
        ("q", restricted, 128, 0),
    ];
    let fields = t.structure("fields", 24, &bits);
    t.union(
        "choice",
        16,
        &[("text", array, 0, 0), ("n", int, 0, 0), ("bit", word, 0, 1)],
    );
    t.enumeration(4, true, &[("LESS", -1), ("MORE", 1)]);
    t.enumeration(1, false, &[("ALL", i64::from(u32::MAX))]);
    for (signed, value) in [(true, i64::MIN), (false, u64::MAX.cast_signed())] {
        let variants = vec![Enumerator {
            name: format!("WIDE{signed}").as_str().into(),
            value,
        }];
        t.add(Type::Enum64(Enum {
            name: format!("wide{signed}").as_str().into(),
            size: 8,
            signed,
            variants,
        }));
    }
    for union in [false, true] {
        t.add(Type::Fwd(Fwd {
            name: format!("fwd{union}").as_str().into(),
            union,
        }));
    }
    let alias = t.add(Type::Typedef(Typedef {
        name: "fields_t".into(),
        ty: fields,
    }));
    for size in [4, 8] {
        t.add(Type::Float(Float {
            name: format!("float{size}").as_str().into(),
            size,
        }));
    }
    let proto = t.add(Type::FuncProto(FuncProto {
        ret: int,
        params: vec![
            Param {
                name: "n".into(),
                ty: int,
            },
            Param {
                name: "f".into(),
                ty: pointer,
            },
        ],
    }));
    let func = |linkage, name: &str| {
        Type::Func(Func {
            name: name.into(),
            proto,
            linkage,
        })
    };
    let global = t.add(func(Linkage::Global, "shown"));
    t.add(func(Linkage::Static, "hidden"));
    t.add(func(Linkage::Extern, "elsewhere"));
    let var = t.add(Type::Var(Var {
        name: "state".into(),
        ty: alias,
        linkage: Linkage::Global,
    }));
    let vars = vec![DatasecVar {
        ty: var,
        offset: 8,
        size: 24,
    }];
    t.add(Type::Datasec(Datasec {
        name: ".data".into(),
        size: 32,
        vars,
    }));
    t.tag("was:flags", fields, Some(0));
    t.tag("whole", var, None);
    t.add(Type::DeclTag(DeclTag {
        tag: "bpf_fastcall".into(),
        ty: global,
        component: None,
        attribute: true,
    }));
    t.btf()
}

fn round_trip(btf: &Btf) -> Vec<u8> {
    let bytes = btf.to_bytes();
    let again = Btf::parse(&bytes).unwrap();
    assert_eq!(again, *btf);
    assert_eq!(again.to_bytes(), bytes, "what was written is written the same again");
    bytes
}

#[test]
fn every_kind_is_read_back() {
    let btf = every_kind();
    for kind in 0..=Kind::Enum64 as u8 {
        assert!(btf.types().any(|(_, ty)| ty.kind() as u8 == kind), "kind {kind}");
    }
    round_trip(&btf);
}

#[test]
fn objects_are_read_back() {
    for path in objects() {
        let bytes = section_of(&path, ".BTF").unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        assert!(round_trip(&btf).len() <= bytes.len(), "{path:?}");
        let Some(ext_bytes) = section_of(&path, ".BTF.ext") else {
            continue;
        };
        let ext = BtfExt::parse(&ext_bytes, &btf).unwrap();
        let mut encoder = Encoder::new(&btf);
        let written_ext = encoder.ext(&ext);
        let written = encoder.finish();
        let again = Btf::parse(&written).unwrap();
        assert_eq!(again, btf, "{path:?}");
        assert_eq!(BtfExt::parse(&written_ext, &again).unwrap(), ext, "{path:?}");
        assert_eq!(written_ext.len(), ext_bytes.len(), "{path:?}");
        assert!(written.len() <= bytes.len(), "{path:?}");
    }
}

#[test]
fn the_kernels_types_are_read_back() {
    let Some(bytes) = vmlinux() else { return };
    let written = round_trip(&Btf::parse(&bytes).unwrap());
    assert!(written.len() <= bytes.len());
}

#[test]
fn a_string_is_written_once() {
    let mut t = Types::new();
    for _ in 0..3 {
        t.uint(4);
    }
    assert_eq!(t.btf().to_bytes().windows(3).filter(|w| w == b"u32").count(), 1);
}

/// Names that are all ends of the same long string must not be written one by one.
#[test]
fn ends_of_one_string_stay_one_string() {
    const LEN: u32 = 4000;
    let mut types = Vec::new();
    for offset in 1..=LEN {
        // A type tag for `void`.
        types.extend([offset, 18 << 24, 0].iter().flat_map(|word: &u32| word.to_le_bytes()));
    }
    let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    let len = types.len() as u32;
    bytes.extend([0, len, len, LEN + 2].iter().flat_map(|word: &u32| word.to_le_bytes()));
    bytes.extend(types);
    bytes.push(0);
    bytes.extend(vec![b'x'; LEN as usize]);
    bytes.push(0);
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.get(TypeId(LEN)).unwrap().name(), "x");
    assert_eq!(round_trip(&btf), bytes);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refused = |types: Types| Btf::new(types.0).unwrap_err().to_string();
    let mut t = Types::new();
    t.enumeration(4, false, &[("NEGATIVE", -1)]);
    assert_eq!(
        refused(t),
        "type [1]: enumerator \"NEGATIVE\" has the value -1, which a enum cannot hold"
    );
    let mut t = Types::new();
    t.enumeration(4, true, &vec![("A", 0); 65536]);
    assert_eq!(refused(t), "type [1]: a enum of 65536 items, at most 65535 are allowed");
    let mut t = Types::new();
    t.int(&"x".repeat(512), 4, IntEncoding::Signed);
    assert_eq!(refused(t), "type [1]: name of 512 bytes, at most 511 are allowed");
    let mut t = Types::new();
    let word = t.uint(4);
    let far = 1 << 24;
    t.structure("s", far / 8 + 4, &[("bit", word, 0, 1), ("far", word, far, 0)]);
    assert_eq!(
        refused(t),
        "type [2]: member 1 takes bits 16777216 to 16777216 of 16777216"
    );
}

/// The kernel's verdict on BTF: `None` if it may not be asked.
fn kernel_loads(bytes: &[u8]) -> Option<Result<(), String>> {
    const BPF_BTF_LOAD: libc::c_int = 18;
    #[repr(C)]
    struct Attr {
        btf: u64,
        log_buf: u64,
        btf_size: u32,
        log_size: u32,
        log_level: u32,
        log_true_size: u32,
    }
    let mut log = vec![0u8; 1 << 16];
    let attr = Attr {
        btf: bytes.as_ptr() as u64,
        log_buf: log.as_mut_ptr() as u64,
        btf_size: bytes.len() as u32,
        log_size: log.len() as u32,
        log_level: 1,
        log_true_size: 0,
    };
    // SAFETY: the kernel reads `btf_size` bytes at `btf` and writes at most `log_size` bytes at `log_buf`; both buffers, and
    // the attributes of the given size, live until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_BTF_LOAD, &raw const attr, size_of::<Attr>()) };
    if fd >= 0 {
        // SAFETY: the descriptor is new and nobody else's.
        unsafe { libc::close(fd as libc::c_int) };
        return Some(Ok(()));
    }
    let error = std::io::Error::last_os_error();
    if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) {
        eprintln!("skipped in part: bpf(BPF_BTF_LOAD) says {error}");
        return None;
    }
    let text = String::from_utf8_lossy(&log);
    Some(Err(format!("{error}: {}", text.trim_end_matches('\0'))))
}

/// As a loader completes it: the variables of data sections have places, functions that are extern are global ones, and
/// parameters have names.
fn completed(btf: &Btf) -> Btf {
    let mut types: Vec<Type> = btf.types().map(|(_, ty)| ty.clone()).collect();
    for ty in &mut types {
        match ty {
            Type::Datasec(sec) => {
                sec.size = 0;
                for var in &mut sec.vars {
                    var.offset = sec.size.next_multiple_of(8);
                    sec.size = var.offset + var.size;
                }
            }
            Type::Func(func) if func.linkage == Linkage::Extern => func.linkage = Linkage::Global,
            Type::FuncProto(proto) => {
                let nameless = |param: &&mut Param| param.name.is_empty() && param.ty != TypeId::VOID;
                for param in proto.params.iter_mut().filter(nameless) {
                    param.name = "unnamed".into();
                }
            }
            _ => {}
        }
    }
    Btf::new(types).unwrap()
}

#[test]
fn the_kernel_takes_it() {
    let mut sources = vec![("every kind".to_owned(), every_kind())];
    for path in objects() {
        let btf = Btf::parse(&section_of(&path, ".BTF").unwrap()).unwrap();
        let refused = |ty: &Type| match ty {
            // Sections of extern symbols need what only the object file knows.
            Type::Datasec(sec) => [".ksyms", ".kconfig"].contains(&&*sec.name),
            Type::Var(var) => var.linkage == Linkage::Extern,
            // Only declared.
            Type::Enum(def) => def.size == 0,
            _ => false,
        };
        if !btf.types().any(|(_, ty)| refused(ty)) {
            sources.push((path.display().to_string(), btf));
        }
    }
    for (name, btf) in sources {
        match kernel_loads(&completed(&btf).to_bytes()) {
            None => return,
            Some(verdict) => assert_eq!(verdict, Ok(()), "{name}"),
        }
    }
    let garbage = kernel_loads(&every_kind().to_bytes()[..100]);
    assert!(
        matches!(garbage, Some(Err(_))),
        "the kernel does look at it: {garbage:?}"
    );
}

#[test]
fn bpftool_reads_it() {
    if !have("bpftool") {
        return;
    }
    let path = file("every_kind.btf", every_kind().to_bytes());
    let text = output(Command::new("bpftool").args(["btf", "dump", "file"]).arg(path));
    let expected = dump::raw(&every_kind()).to_string();
    assert_eq!(text, expected);
    let btf = Btf::parse(&section("flows_v2", ".BTF")).unwrap();
    let path = file("flows_v2.btf", btf.to_bytes());
    let text = output(Command::new("bpftool").args(["btf", "dump", "file"]).arg(path));
    assert_eq!(text, dump::raw(&btf).to_string());
}
