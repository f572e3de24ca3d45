//! What relocation makes of instructions and of the data of options, and what it refuses.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use hitless_btf::*;
use hitless_isa::asm::assemble;
use hitless_isa::{Insn, disasm};
use hitless_object::*;

const BYTE_OFFSET: u32 = 0;
const FIELD_EXISTS: u32 = 2;
const ENUMVAL_VALUE: u32 = 11;

/// The types of the objects here, by id.
mod id {
    use hitless_btf::TypeId;

    pub(super) const U32: TypeId = TypeId(1);
    pub(super) const INT: TypeId = TypeId(2);
    pub(super) const BOOL: TypeId = TypeId(3);
    pub(super) const CHAR: TypeId = TypeId(4);
    pub(super) const TEXT: TypeId = TypeId(5);
    pub(super) const TRISTATE: TypeId = TypeId(6);
    pub(super) const WIDGET: TypeId = TypeId(7);
    pub(super) const MODE: TypeId = TypeId(8);
    pub(super) const PROTO: TypeId = TypeId(9);
    pub(super) const FUNC: TypeId = TypeId(10);
    pub(super) const VAR: TypeId = TypeId(11);
    pub(super) const U64: TypeId = TypeId(12);
    pub(super) const SHORT: TypeId = TypeId(13);
}

fn int(name: &str, size: u32, encoding: IntEncoding) -> Type {
    Type::Int(Int {
        name: name.into(),
        size,
        encoding,
        bit_offset: 0,
        bits: (size * 8) as u8,
    })
}

fn enumeration(name: &str, variants: &[(&str, i64)]) -> Type {
    let variants = variants.iter().map(|&(name, value)| Enumerator {
        name: name.into(),
        value,
    });
    Type::Enum(Enum {
        name: name.into(),
        size: 4,
        signed: false,
        variants: variants.collect(),
    })
}

fn structure(size: u32, members: &[(&str, TypeId, u32)]) -> Type {
    let members = members.iter().map(|&(name, ty, offset)| Member {
        name: name.into(),
        ty,
        bit_offset: offset * 8,
        bitfield_size: 0,
    });
    Type::Struct(Composite {
        name: "widget".into(),
        size,
        members: members.collect(),
    })
}

/// The same types for object and target, but for a struct, the value of an enumerator and the parameters of a function.
fn types(widget: Type, mode: i64, params: usize) -> Btf {
    let tristate = [("TRI_NO", 0), ("TRI_YES", 1), ("TRI_MODULE", 2)];
    let params = (0..params).map(|_| Param {
        name: "a".into(),
        ty: id::U32,
    });
    Btf::new(vec![
        Type::Void,
        int("unsigned int", 4, IntEncoding::Unsigned),
        int("int", 4, IntEncoding::Signed),
        int("_Bool", 1, IntEncoding::Bool),
        int("char", 1, IntEncoding::Signed),
        Type::Array(Array {
            elem: id::CHAR,
            index: id::U32,
            len: 8,
        }),
        enumeration("libbpf_tristate", &tristate),
        widget,
        enumeration("mode", &[("MODE", mode)]),
        Type::FuncProto(FuncProto {
            ret: id::U32,
            params: params.collect(),
        }),
        Type::Func(Func {
            name: "kfunc".into(),
            proto: id::PROTO,
            linkage: Linkage::Extern,
        }),
        Type::Var(Var {
            name: "variable".into(),
            ty: id::U32,
            linkage: Linkage::Extern,
        }),
        int("unsigned long", 8, IntEncoding::Unsigned),
        int("short", 2, IntEncoding::Signed),
    ])
    .unwrap()
}

fn here() -> Btf {
    let members = [
        ("a", id::U32, 0),
        ("b", id::U32, 4),
        ("c", id::INT, 8),
        ("gone", id::U64, 16),
    ];
    types(structure(24, &members), 5, 1)
}

fn there() -> core::Target {
    let members = [("b", id::U32, 40), ("a", id::U64, 48), ("c", id::U64, 56)];
    core::Target::new(Arc::new(types(structure(0x10000, &members), 77, 1)))
}

fn object(code: &str, relos: &[(usize, TypeId, &str, u32)]) -> ObjectSpec {
    let relos = relos.iter().map(|&(pc, ty, access, kind)| CoreRelocation {
        pc,
        relo: CoreRelo {
            insn_off: 0,
            ty,
            access: access.into(),
            kind,
        },
    });
    ObjectSpec {
        programs: vec![ProgramSpec {
            name: "p".into(),
            insns: assemble(code).unwrap(),
            core_relos: relos.collect(),
            ..ProgramSpec::default()
        }],
        btf: Some(here()),
        ..ObjectSpec::default()
    }
}

fn relocate(object: &ObjectSpec, options: &[(&str, &str)]) -> Result<ObjectSpec, RelocateError> {
    let options: HashMap<_, _> = options.iter().copied().collect();
    object.relocate(&Target {
        btf: Some(&there()),
        kconfig: &|name| options.get(name).map(|value| (*value).to_owned()),
        symbols: &|name| (name == "symbol").then_some(0xffff_8000_1234_5678),
        kernel_version: 0x060c01,
    })
}

/// The whole chain of an error.
fn text(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", text(source)),
        None => error.to_string(),
    }
}

#[test]
fn instructions_take_the_target_s_values() {
    let code = "r2 = *(u32 *)(r1 +0)
                *(u32 *)(r1 +4) = r2
                *(u32 *)(r1 +0) = 1
                r2 = 4
                w2 = 1
                r2 = 0x5 ll
                exit";
    let relos = [
        (0, id::WIDGET, "0:0", BYTE_OFFSET),
        (1, id::WIDGET, "0:1", BYTE_OFFSET),
        (2, id::WIDGET, "0:0", BYTE_OFFSET),
        (3, id::WIDGET, "0:1", BYTE_OFFSET),
        (4, id::WIDGET, "0:3", FIELD_EXISTS),
        (5, id::MODE, "0", ENUMVAL_VALUE),
    ];
    let object = object(code, &relos);
    assert!(object.needs_relocation());
    let done = relocate(&object, &[]).unwrap();
    let expected = "r2 = *(u64 *)(r1 +48)
                    *(u32 *)(r1 +40) = r2
                    *(u64 *)(r1 +48) = 1
                    r2 = 40
                    w2 = 0
                    r2 = 0x4d ll
                    exit";
    let listing = disasm::listing(&done.programs[0].insns, &disasm::no_names);
    assert_eq!(done.programs[0].insns, assemble(expected).unwrap(), "{listing}");
    assert!(done.programs[0].poisoned.is_empty());
    assert!(!done.needs_relocation());
}

#[test]
fn what_the_target_lacks_poisons_the_instruction() {
    let code = "r3 = 0x10 ll
                r2 = *(u64 *)(r1 +16)
                r2 = *(s32 *)(r1 +8)
                exit";
    let relos = [
        (0, id::WIDGET, "0:3", BYTE_OFFSET),
        (2, id::WIDGET, "0:3", BYTE_OFFSET),
        (3, id::WIDGET, "0:2", BYTE_OFFSET),
    ];
    let done = relocate(&object(code, &relos), &[]).unwrap();
    let program = &done.programs[0];
    let poison = Insn {
        code: 0x85,
        imm: 195_896_080,
        ..Insn::default()
    };
    assert_eq!(program.insns[..4], [poison; 4]);
    let missing: Vec<_> = program.poisoned.iter().map(|p| (p.pc, &*p.missing)).collect();
    let narrow = "struct widget.c of 4 bytes (but one of 8)";
    assert_eq!(
        missing,
        [(0, "struct widget.gone"), (2, "struct widget.gone"), (3, narrow)]
    );
}

#[test]
fn what_is_missing_is_told_once_for_all_instructions() {
    let relos: Vec<_> = (0..3).map(|pc| (pc, id::WIDGET, "0:3", BYTE_OFFSET)).collect();
    let code = "r2 = *(u64 *)(r1 +16)\n".repeat(3) + "exit";
    let done = relocate(&object(&code, &relos), &[]).unwrap();
    let missing: Vec<_> = done.programs[0].poisoned.iter().map(|p| &p.missing).collect();
    assert!(missing.len() == 3 && missing.windows(2).all(|pair| Arc::ptr_eq(pair[0], pair[1])));
}

#[test]
fn instructions_must_hold_what_the_object_says() {
    let refused = |code: &str, relo| text(&relocate(&object(code, &[relo]), &[]).unwrap_err());
    let a = (0, id::WIDGET, "0:0", BYTE_OFFSET);
    let b = (0, id::WIDGET, "0:1", BYTE_OFFSET);
    assert_eq!(
        refused("r2 = *(u32 *)(r1 +8)\nexit", b),
        "program \"p\": relocation of insn 0 for struct widget.b: the instruction holds 8, expected 4 by the object's \
         BTF; was the object changed after it was compiled?"
    );
    assert!(refused("r2 = 0x100000004 ll\nexit", b).contains("holds 4294967300, expected 4"));
    assert!(refused("r2 = -1\nexit", b).contains("holds -1, expected 4"));
    assert!(refused("r2 = *(u16 *)(r1 +0)\nexit", a).ends_with("accesses 2 bytes, expected 4 by the object's BTF"));
    assert!(refused("r2 += r1\nexit", a).contains("opcode 0x0f, expected arithmetic with an immediate"));
    assert!(refused("exit", a).contains("opcode 0x95"));
    assert!(
        refused("r2 = map[idx:0]\nexit", a).contains("opcode 0x18"),
        "of another kind"
    );
    assert!(refused("exit", (9, id::WIDGET, "0:0", BYTE_OFFSET)).contains("insn 9 for struct widget.a: opcode 0x00"));
    assert!(refused("exit", (9, id::WIDGET, "0:3", BYTE_OFFSET)).contains("opcode 0x00"));
    let far = (0, id::WIDGET, "1:1", BYTE_OFFSET);
    assert!(
        refused("r2 = *(u32 *)(r1 +28)\nexit", far)
            .ends_with("byte 65576 in the target, a load or store can reach 32767")
    );
    assert_eq!(
        refused("r2 = 1\nexit", (0, id::WIDGET, "0:9", FIELD_EXISTS)),
        "program \"p\": CO-RE relocation of insn 0: access string \"0:9\": index 9 into struct widget, which has 4"
    );
    let without = object("r2 = 1\nexit", &[(0, id::WIDGET, "0:0", FIELD_EXISTS)]).relocate(&Target {
        btf: None,
        kconfig: &|_| None,
        symbols: &|_| None,
        kernel_version: 0,
    });
    assert!(text(&without.unwrap_err()).contains("needs a target BTF"));
}

/// An object with one `__kconfig` variable of this type and size.
fn option(name: &str, ty: TypeId, size: u32, weak: bool) -> ObjectSpec {
    let mut object = refer("r1 = 0 ll\nexit", 0);
    object.maps = vec![
        MapSpec::default(),
        MapSpec {
            name: ".kconfig".into(),
            value_size: 16,
            data: Some(Vec::new()),
            ..MapSpec::default()
        },
    ];
    object.externs = vec![Extern {
        name: name.into(),
        weak,
        ty: Some(ty),
        kind: ExternKind::Kconfig { offset: 4, size },
    }];
    object
}

/// A program whose first instruction refers to extern `index`.
fn refer(code: &str, index: usize) -> ObjectSpec {
    let mut object = object(code, &[]);
    object.programs[0].extern_refs = vec![ExternRef { pc: 0, index }];
    object
}

#[test]
fn options_are_written_into_their_map() {
    let write = |ty, size, value: &str| {
        let done = relocate(&option("CONFIG_X", ty, size, false), &[("CONFIG_X", value)]);
        done.map(|done| {
            let insns = &done.programs[0].insns;
            assert_eq!((insns[0].src, insns[0].imm, insns[1].imm), (6, 1, 4));
            let data = done.maps[1].data.as_ref().unwrap();
            assert_eq!(data.len(), 16);
            data[4..4 + size as usize].to_vec()
        })
    };
    let ok = |ty, size, value| write(ty, size, value).unwrap();
    assert_eq!(ok(id::BOOL, 1, "y"), [1]);
    assert_eq!(ok(id::BOOL, 1, "n"), [0]);
    assert_eq!(ok(id::BOOL, 1, "1"), [1]);
    assert_eq!(ok(id::TRISTATE, 4, "m"), [2, 0, 0, 0]);
    assert_eq!(ok(id::CHAR, 1, "m"), *b"m");
    assert_eq!(ok(id::CHAR, 1, "-128"), [0x80]);
    assert_eq!(ok(id::U32, 4, "250"), [250, 0, 0, 0]);
    assert_eq!(ok(id::U32, 4, "0xffffffff"), [255; 4]);
    assert_eq!(ok(id::SHORT, 2, "-010"), [0xf8, 0xff]);
    assert_eq!(ok(id::U64, 8, "-1"), [255; 8]);
    assert_eq!(ok(id::TEXT, 8, "\"abc\""), *b"abc\0\0\0\0\0");
    assert_eq!(ok(id::TEXT, 8, "\"abcdefghij\""), *b"abcdefg\0");
    assert_eq!(ok(id::TEXT, 8, "\"\""), [0; 8]);

    // However large an object made by hand says that the map is.
    let mut object = option("CONFIG_X", id::BOOL, 1, false);
    object.maps[1].value_size = u32::MAX;
    let done = relocate(&object, &[("CONFIG_X", "y")]).unwrap();
    assert_eq!(done.maps[1].data.as_ref().unwrap().len(), 1 << 20);
    object.externs[0].kind = ExternKind::Kconfig {
        offset: 1 << 20,
        size: 1,
    };
    let error = text(&relocate(&object, &[("CONFIG_X", "y")]).unwrap_err());
    assert_eq!(
        error,
        "extern CONFIG_X: bytes 1048576 to 1048577 of map .kconfig, which has 1048576"
    );

    let refused = |ty, size, value| text(&write(ty, size, value).unwrap_err());
    let cases = [
        (id::BOOL, 1, "m", "expected enum libbpf_tristate or char"),
        (id::BOOL, 1, "2", "does not fit in type _Bool"),
        (id::CHAR, 1, "128", "does not fit in type char"),
        (id::U32, 4, "4294967296", "does not fit in type unsigned int"),
        (id::U32, 4, "-1", "does not fit in type unsigned int"),
        (id::U32, 4, "y", "expected bool, enum libbpf_tristate or char"),
        (id::TRISTATE, 4, "1", "expected bool, char or an integer"),
        (id::U32, 4, "\"1\"", "expected an array of char"),
        (id::TEXT, 8, "\"abc", "does not end with a quote"),
        (id::TEXT, 8, "\"", "does not end with a quote"),
        (id::TEXT, 8, "3", "expected bool, char or an integer"),
        (id::U32, 4, "", "is no integer"),
        (id::U32, 4, "12x", "is no integer"),
        (id::U32, 4, "--1", "is no integer"),
        (id::WIDGET, 8, "1", "expected bool, char, an integer"),
    ];
    for (ty, size, value, expected) in cases {
        let found = refused(ty, size, value);
        assert!(
            found.starts_with(&format!("extern CONFIG_X: value {value} of the option: ")),
            "{found}"
        );
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn options_that_are_missing() {
    let refused = |object| text(&relocate(&object, &[]).unwrap_err());
    assert_eq!(
        refused(option("CONFIG_X", id::U32, 4, false)),
        "extern CONFIG_X (strong): the option is not set here; set it, or declare it __weak, which makes it 0"
    );
    assert!(refused(option("NO_CONFIG", id::U32, 4, true)).contains("no such kconfig variable"));
    assert!(refused(option("LINUX_SOMETHING", id::U32, 4, false)).contains("no such kconfig variable"));
    let written = |object| relocate(&object, &[]).unwrap().maps[1].data.as_ref().unwrap()[4..8].to_vec();
    assert_eq!(written(option("CONFIG_X", id::U32, 4, true)), [0; 4]);
    assert_eq!(written(option("LINUX_SOMETHING", id::U32, 4, true)), [0; 4]);
    assert_eq!(
        written(option("LINUX_KERNEL_VERSION", id::U32, 4, false)),
        [1, 12, 6, 0]
    );
    assert_eq!(written(option("LINUX_HAS_BPF_COOKIE", id::BOOL, 1, false)), [0; 4]);

    let mut outside = option("CONFIG_X", id::U32, 4, true);
    outside.externs[0].kind = ExternKind::Kconfig {
        offset: u32::MAX,
        size: 4,
    };
    assert!(refused(outside).ends_with("bytes 4294967295 to 4294967299 of map .kconfig, which has 16"));
    let mut without = option("CONFIG_X", id::U32, 4, true);
    without.maps.clear();
    assert!(refused(without).ends_with("which has 0"));
}

fn symbol(code: &str, name: &str, kind: ExternKind, weak: bool) -> ObjectSpec {
    let ty = match kind {
        ExternKind::Function => id::FUNC,
        _ => id::VAR,
    };
    ObjectSpec {
        externs: vec![Extern {
            name: name.into(),
            weak,
            ty: Some(ty),
            kind,
        }],
        ..refer(code, 0)
    }
}

#[test]
fn symbols_by_address_and_by_type() {
    let wide = "r1 = 0 ll\nexit";
    let call = "call pc-1\nexit";
    let by_address = ExternKind::Variable { typed: false };
    let by_type = ExternKind::Variable { typed: true };
    let first = |object| {
        let done = relocate(&object, &[]).unwrap();
        let program = &done.programs[0];
        let missing: Vec<_> = program.poisoned.iter().map(|p| (p.pc, p.missing.to_string())).collect();
        let insns = &program.insns;
        ((insns[0].src, insns[0].imm, insns[1].imm), missing)
    };
    assert_eq!(
        first(symbol(wide, "symbol", by_address, false)),
        ((0, 0x1234_5678, 0xffff_8000_u32 as i32), vec![])
    );
    assert_eq!(first(symbol(wide, "variable", by_type, false)), ((3, 11, 0), vec![]));
    assert_eq!(
        first(symbol(wide, "kfunc", ExternKind::Function, false)),
        ((3, 10, 0), vec![])
    );
    assert_eq!(
        first(symbol(call, "kfunc___v2", ExternKind::Function, false)),
        ((2, 10, 0), vec![])
    );
    // Weak ones that are missing.
    assert_eq!(first(symbol(wide, "other", by_address, true)), ((0, 0, 0), vec![]));
    assert_eq!(first(symbol(wide, "other", by_type, true)), ((0, 0, 0), vec![]));
    let poisoned = (0, 2_002_000_000, 0);
    let missing = vec![(0, "kfunc other".to_owned())];
    assert_eq!(
        first(symbol(call, "other", ExternKind::Function, true)),
        (poisoned, missing)
    );

    let refused = |object| text(&relocate(&object, &[]).unwrap_err());
    assert_eq!(
        refused(symbol(wide, "other", by_type, false)),
        "extern other (strong): no such variable here; declare it __weak and test it before use, or load elsewhere"
    );
    assert!(refused(symbol(call, "other", ExternKind::Function, false)).contains("no such kfunc"));
    assert!(
        refused(symbol(call, "symbol", by_address, false)).contains("a wide immediate, as the symbol is a variable")
    );
    assert!(
        refused(symbol("r1 = 0\nexit", "symbol", by_address, false)).contains("expected a wide immediate or a call")
    );
    let mut another = symbol(call, "kfunc", ExternKind::Function, false);
    another.btf = Some(types(structure(0, &[]), 0, 2));
    assert_eq!(
        refused(another.clone()),
        "extern kfunc: type unsigned int (unsigned int, unsigned int) in the object, unsigned int (unsigned int) in the target \
         BTF"
    );
    another.externs[0].weak = true;
    assert_eq!(first(another).0, poisoned);
    let mut unknown = symbol(wide, "symbol", by_address, false);
    unknown.programs[0].extern_refs[0].index = 3;
    assert!(refused(unknown).ends_with("insn 0 refers to extern 3, but there are 1"));
}
