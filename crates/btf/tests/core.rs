//! CO-RE relocations between pairs of types made by hand: each rule once.

mod common;

use std::sync::Arc;

use common::Types;
use hitless_btf::core::{AccessSize, CoreError, Resolution, Resolver, Target, compatible, essential, resolve};
use hitless_btf::*;

const BYTE_OFFSET: u32 = 0;
const BYTE_SIZE: u32 = 1;
const FIELD_EXISTS: u32 = 2;
const SIGNED: u32 = 3;
const LSHIFT: u32 = 4;
const RSHIFT: u32 = 5;
const TYPE_ID_LOCAL: u32 = 6;
const TYPE_ID_TARGET: u32 = 7;
const TYPE_EXISTS: u32 = 8;
const TYPE_SIZE: u32 = 9;
const ENUMVAL_EXISTS: u32 = 10;
const ENUMVAL_VALUE: u32 = 11;
const TYPE_MATCHES: u32 = 12;

fn relo(ty: TypeId, access: &str, kind: u32) -> CoreRelo {
    CoreRelo {
        insn_off: 0,
        ty,
        access: access.into(),
        kind,
    }
}

fn target(types: Types) -> Target {
    Target::new(Arc::new(types.btf()))
}

fn typedef(t: &mut Types, name: &str, ty: TypeId) -> TypeId {
    let name = name.into();
    t.add(Type::Typedef(Typedef { name, ty }))
}

/// The answer for the type that `local` makes, against the types that `there` makes.
fn ask<T>(
    local: impl FnOnce(&mut Types) -> TypeId,
    there: impl FnOnce(&mut Types) -> T,
    access: &str,
    kind: u32,
) -> Result<Resolution, CoreError> {
    let (mut a, mut b) = (Types::new(), Types::new());
    let id = local(&mut a);
    there(&mut b);
    resolve(&a.btf(), &relo(id, access, kind), &target(b))
}

fn values(resolution: Result<Resolution, CoreError>) -> (Option<u64>, Option<u64>) {
    let resolution = resolution.unwrap();
    (resolution.local, resolution.target)
}

fn here(t: &mut Types) -> TypeId {
    let (byte, word, long) = (t.uint(1), t.uint(4), t.uint(8));
    let name = t.array(byte, 16);
    let point = t.structure("point", 8, &[("x", word, 0, 0), ("y", word, 32, 0)]);
    let points = t.array(point, 4);
    let pointer = t.add(Type::Ptr(point));
    let members = [
        ("id", word, 0, 0),
        ("flag_a", word, 32, 3),
        ("flag_b", word, 35, 5),
        ("time", long, 64, 0),
        ("name", name, 128, 0),
        ("points", points, 256, 0),
        ("next", pointer, 512, 0),
        ("gone", word, 576, 0),
    ];
    t.structure("widget___v1", 80, &members)
}

fn there(t: &mut Types) -> TypeId {
    let (byte, word, long) = (t.uint(1), t.uint(4), t.uint(8));
    let slong = t.int("long", 8, IntEncoding::Signed);
    let name = t.array(byte, 32);
    let point = t.structure("point", 24, &[("y", long, 0, 0), ("x", word, 128, 0)]);
    let points = t.array(point, 3);
    let pointer = t.add(Type::Ptr(byte));
    let inner = t.structure("", 16, &[("time", slong, 0, 0), ("id", long, 64, 0)]);
    let hidden = typedef(t, "hidden_t", inner);
    let members = [
        ("flag_b", word, 30, 5),
        ("", hidden, 64, 0),
        ("points", points, 192, 0),
        ("name", name, 768, 0),
        ("next", pointer, 1024, 0),
        ("flag_a", long, 1150, 1),
    ];
    t.structure("widget", 152, &members)
}

#[test]
fn offsets_follow_names_through_anonymous_members_arrays_and_flavours() {
    let offset = |access| values(ask(here, there, access, BYTE_OFFSET));
    assert_eq!(offset("0:0"), (Some(0), Some(16)), "id");
    assert_eq!(offset("0:4:3"), (Some(19), Some(99)), "name[3]");
    assert_eq!(offset("0:5:2:1"), (Some(52), Some(72)), "points[2].y");
    assert_eq!(offset("2:0"), (Some(160), Some(320)), "[2].id");
    assert_eq!(offset("0:5:3:1"), (Some(60), None), "points[3], of which there are 3");
    assert_eq!(offset("0:7"), (Some(72), None), "gone");
    assert_eq!(offset("0"), (Some(0), Some(0)), "the whole");
}

#[test]
fn answers_say_what_was_asked() {
    let what = |access, kind| ask(here, there, access, kind).unwrap().what;
    assert_eq!(what("0:7", BYTE_OFFSET), "struct widget.gone");
    assert_eq!(what("1:5:2:1", FIELD_EXISTS), "struct widget[1].points[2].y");
    assert_eq!(what("0", TYPE_SIZE), "struct widget");
    let long = |t: &mut Types| {
        let word = t.uint(4);
        t.structure("s", 4, &[(&"m".repeat(500), word, 0, 0)])
    };
    let what = ask(long, there, "0:0", BYTE_OFFSET).unwrap().what;
    assert_eq!(what, format!("struct s.{}…", "m".repeat(256 - "struct s.".len())));
}

#[test]
fn sizes_of_accesses_may_change_between_unsigned_integers_and_between_pointers() {
    let access = |access| ask(here, there, access, BYTE_OFFSET).unwrap().access;
    let size = |local, target, resizable| {
        Some(AccessSize {
            local,
            target,
            resizable,
        })
    };
    assert_eq!(access("0:0"), size(4, 8, true), "u32 to u64");
    assert_eq!(access("0:3"), size(8, 8, false), "u64 to long");
    assert_eq!(access("0:4"), size(1, 1, true), "an element of an array");
    assert_eq!(access("0:6"), size(8, 8, true), "pointers");
    assert_eq!(access("0:5:1"), size(8, 24, false), "structs");
    assert_eq!(access("0:1"), size(0, 0, false), "bitfields");
    let bit = |t: &mut Types| {
        let word = t.uint(4);
        t.structure("widget", 80, &[("id", word, 0, 7)])
    };
    let access = |resolution: Result<Resolution, CoreError>| resolution.unwrap().access;
    let became = ask(here, bit, "0:0", BYTE_OFFSET);
    assert_eq!(access(became), size(4, 0, false), "a bitfield there only");
    let was = ask(bit, here, "0:0", BYTE_OFFSET);
    assert_eq!(access(was), size(0, 4, false), "a bitfield here only");
    let access = |access| ask(here, there, access, BYTE_OFFSET).unwrap().access;
    assert_eq!(access("0:7"), None, "missing");
}

#[test]
fn bitfields_are_loaded_from_the_smallest_word_that_holds_them() {
    let of = |access, kind| values(ask(here, there, access, kind));
    // Bits 30 to 34 of u32 words: from 8 bytes.
    assert_eq!(of("0:2", BYTE_OFFSET), (None, Some(0)));
    assert_eq!(of("0:2", BYTE_SIZE), (None, Some(8)));
    assert_eq!(of("0:2", LSHIFT), (None, Some(64 - 35)));
    assert_eq!(of("0:2", RSHIFT), (Some(59), Some(59)));
    // Bit 1150 of u64 words.
    assert_eq!(of("0:1", BYTE_OFFSET), (None, Some(136)));
    assert_eq!(of("0:1", LSHIFT), (None, Some(64 - 63)));
    assert_eq!(of("0:1", RSHIFT), (Some(61), Some(63)));
    // No bitfield.
    assert_eq!(of("0:0", LSHIFT), (Some(32), Some(0)));
    assert_eq!(of("0:0", RSHIFT), (Some(32), Some(0)));
}

#[test]
fn sizes_signs_and_existence() {
    let of = |access, kind| values(ask(here, there, access, kind));
    assert_eq!(of("0:4", BYTE_SIZE), (Some(16), Some(32)));
    assert_eq!(of("0:3", SIGNED), (Some(0), Some(1)));
    assert_eq!(of("0:3", FIELD_EXISTS), (Some(1), Some(1)));
    assert_eq!(of("0:7", FIELD_EXISTS), (Some(1), Some(0)));
    assert_eq!(of("0:7", BYTE_SIZE), (Some(4), None));
    let nothing = |_: &mut Types| ();
    assert_eq!(values(ask(here, nothing, "0:0", FIELD_EXISTS)), (Some(1), Some(0)));
    assert_eq!(values(ask(here, nothing, "0:0", BYTE_OFFSET)), (Some(0), None));
}

#[test]
fn fields_of_another_sort_do_not_exist() {
    let pointer = |t: &mut Types| {
        let to = t.add(Type::Ptr(TypeId::VOID));
        t.structure("widget", 8, &[("id", to, 0, 0)])
    };
    assert_eq!(values(ask(here, pointer, "0:0", FIELD_EXISTS)), (Some(1), Some(0)));
    let old_bitfield = |t: &mut Types| {
        let int = t.add(Type::Int(Int {
            name: "int".into(),
            size: 4,
            encoding: IntEncoding::Unsigned,
            bit_offset: 3,
            bits: 5,
        }));
        t.structure("widget", 8, &[("id", int, 0, 0)])
    };
    assert_eq!(values(ask(here, old_bitfield, "0:0", FIELD_EXISTS)), (Some(1), Some(0)));
    let a_union = |t: &mut Types| {
        let word = t.uint(4);
        t.union("widget", 8, &[("id", word, 0, 0)])
    };
    assert_eq!(values(ask(here, a_union, "0:0", FIELD_EXISTS)), (Some(1), Some(0)));
}

#[test]
fn flexible_arrays_have_any_index_at_the_end_of_a_struct_only() {
    let flexible = |t: &mut Types, last: bool| {
        let word = t.uint(4);
        let none = t.array(word, 0);
        let mut members = vec![("len", word, 0, 0), ("items", none, 32, 0)];
        if !last {
            members.push(("end", word, 32, 0));
        }
        t.structure("list", 8, &members)
    };
    let at_end = |t: &mut Types| flexible(t, true);
    let inside = |t: &mut Types| flexible(t, false);
    assert_eq!(
        values(ask(at_end, at_end, "0:1:100", BYTE_OFFSET)),
        (Some(404), Some(404))
    );
    assert_eq!(values(ask(at_end, inside, "0:1:100", BYTE_OFFSET)), (Some(404), None));
    let refused = ask(inside, at_end, "0:1:100", BYTE_OFFSET).unwrap_err();
    assert!(
        matches!(
            refused,
            CoreError::Index {
                index: 100,
                count: 0,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn types_by_id_size_and_existence() {
    let of = |kind| values(ask(here, there, "0", kind));
    assert_eq!(of(TYPE_EXISTS), (Some(1), Some(1)));
    assert_eq!(of(TYPE_SIZE), (Some(80), Some(152)));
    let nothing = |_: &mut Types| ();
    for kind in [TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES, TYPE_ID_TARGET] {
        assert_eq!(ask(here, nothing, "0", kind).unwrap().target, Some(0), "kind {kind}");
    }
    let (mut a, mut b) = (Types::new(), Types::new());
    let (local, other) = (here(&mut a), there(&mut b));
    let (a, b) = (a.btf(), target(b));
    let id = |kind| resolve(&a, &relo(local, "0", kind), &b).unwrap();
    assert_eq!(
        (id(TYPE_ID_TARGET).local, id(TYPE_ID_TARGET).target),
        (None, Some(other.0.into()))
    );
    assert_eq!(
        (id(TYPE_ID_LOCAL).local, id(TYPE_ID_LOCAL).target),
        (None, Some(local.0.into()))
    );
}

fn enumeration(t: &mut Types, name: &str, wide: bool, signed: bool, variants: &[(&str, i64)]) -> TypeId {
    let variants = variants.iter().map(|&(name, value)| Enumerator {
        name: name.into(),
        value,
    });
    let e = Enum {
        name: name.into(),
        size: if wide { 8 } else { 4 },
        signed,
        variants: variants.collect(),
    };
    t.add(if wide { Type::Enum64(e) } else { Type::Enum(e) })
}

#[test]
fn enumerators_are_found_by_name_in_enums_of_either_width() {
    let local = |t: &mut Types| {
        let variants = [("MODE_A", -1), ("MODE_B___old", 2), ("MODE_C", 3)];
        enumeration(t, "mode", false, true, &variants)
    };
    let there = |t: &mut Types| {
        let variants = [("MODE_B", 7), ("MODE_A", 0x1_0000_0000)];
        enumeration(t, "mode___x", true, false, &variants)
    };
    let of = |access, kind| values(ask(local, there, access, kind));
    assert_eq!(of("0", ENUMVAL_VALUE), (Some(u64::MAX), Some(0x1_0000_0000)));
    assert_eq!(of("1", ENUMVAL_VALUE), (Some(2), Some(7)));
    assert_eq!(of("2", ENUMVAL_VALUE), (Some(3), None));
    assert_eq!(of("2", ENUMVAL_EXISTS), (Some(1), Some(0)));
    assert_eq!(of("1", ENUMVAL_EXISTS), (Some(1), Some(1)));
    assert_eq!(ask(local, there, "2", ENUMVAL_VALUE).unwrap().what, "enum mode::MODE_C");
    let high = |t: &mut Types| enumeration(t, "mode", false, false, &[("TOP", 0xffff_ffff)]);
    assert_eq!(values(ask(high, high, "0", ENUMVAL_VALUE)), (None, Some(0xffff_ffff)));
}

#[test]
fn candidates_must_agree_unless_they_lack_what_is_asked_for() {
    let local = |t: &mut Types| {
        let word = t.uint(4);
        t.structure("s", 8, &[("a", word, 0, 0), ("b", word, 32, 0)])
    };
    let (mut a, mut b) = (Types::new(), Types::new());
    let id = local(&mut a);
    let word = b.uint(4);
    b.structure("s", 4, &[("a", word, 0, 0)]);
    let second = b.structure("s___x", 16, &[("a", word, 64, 0), ("b", word, 96, 0)]);
    let (a, b) = (a.btf(), target(b));
    let ambiguous = resolve(&a, &relo(id, "0:0", FIELD_EXISTS), &b).unwrap_err();
    assert_eq!(
        ambiguous.to_string(),
        format!("struct s.a is ambiguous: at byte 0 in type [2] of the target, at byte 8 in type {second}")
    );
    let ambiguous = resolve(&a, &relo(id, "0", TYPE_SIZE), &b).unwrap_err();
    assert!(ambiguous.to_string().contains("value 4"), "{ambiguous}");
    // Once a field has told them apart, the other one is out.
    let mut resolver = Resolver::new(&a, &b);
    assert_eq!(
        resolver.resolve(&relo(id, "0:1", BYTE_OFFSET)).unwrap().target,
        Some(12)
    );
    assert_eq!(resolver.resolve(&relo(id, "0:0", BYTE_OFFSET)).unwrap().target, Some(8));
}

#[test]
fn relocations_that_make_no_sense_are_refused() {
    let nothing = |_: &mut Types| ();
    let text = |access: &str, kind| ask(here, nothing, access, kind).unwrap_err().to_string();
    assert_eq!(text("0:0", 13), "unknown CO-RE relocation kind 13, expected 0 to 12");
    let numbers = "expected at most 64 numbers with colons between them";
    for access in ["", ":", "0:", "x", "0:-1", "+1", "4294967296"] {
        assert_eq!(
            text(access, BYTE_OFFSET),
            format!("access string {access:?}, {numbers}")
        );
    }
    assert!(text(&"0:".repeat(100), BYTE_OFFSET).ends_with(numbers));
    assert!(text(&"0".repeat(1 << 20), BYTE_OFFSET).len() < 1000);
    assert_eq!(
        text("0:8", BYTE_OFFSET),
        "access string \"0:8\": index 8 into struct widget___v1, which has 8"
    );
    assert_eq!(
        text("0:0:0", BYTE_OFFSET),
        "access string \"0:0:0\": index 0 into u32, expected a struct, union or array"
    );
    assert_eq!(
        text("0:4:16", BYTE_OFFSET),
        "access string \"0:4:16\": index 16 into u8[16], which has 16"
    );
    assert_eq!(
        text("1", TYPE_SIZE),
        "access string \"1\", expected \"0\" for a relocation of a type"
    );
    assert_eq!(
        text("0", ENUMVAL_VALUE),
        "access string \"0\": index 0 into struct widget___v1, expected an enum"
    );
    assert_eq!(
        text("4294967295:0", BYTE_OFFSET),
        "offset of struct widget[4294967295] does not fit in 32 bits"
    );
    assert!(text("0:4:1", SIGNED).starts_with("struct widget.name[1] is no member of a struct"));
    let anonymous = |t: &mut Types| {
        let word = t.uint(4);
        t.structure("", 4, &[("a", word, 0, 0)])
    };
    assert_eq!(
        ask(anonymous, nothing, "0:0", BYTE_OFFSET).unwrap_err().to_string(),
        "root type [2] is an anonymous struct, expected a type with a name"
    );
    assert_eq!(
        ask(|_| TypeId::VOID, nothing, "0:0", BYTE_OFFSET).unwrap_err(),
        CoreError::Unsized { ty: "void".into() }
    );
    assert_eq!(
        ask(|_| TypeId(9), nothing, "0", TYPE_EXISTS).unwrap_err(),
        CoreError::UnknownType { id: TypeId(9) }
    );
}

/// Two structs that point to each other, and one that holds the first by value, with callbacks.
fn cyclic(t: &mut Types, flavour: &str, extra: bool) -> TypeId {
    let word = t.uint(4);
    let base = t.0.len() as u32;
    let (first, second) = (TypeId(base + 2), TypeId(base + 3));
    let to_first = t.add(Type::Ptr(first));
    let to_second = t.add(Type::Ptr(second));
    let mut members = vec![("other", to_second, 0, 0), ("n", word, 64, 0)];
    if extra {
        members.insert(0, ("extra", word, 96, 0));
    }
    t.structure(&format!("first{flavour}"), 16, &members);
    t.structure("second", 8, &[("other", to_first, 0, 0)]);
    let params = ["a", "b"].map(|name| Param {
        name: name.into(),
        ty: to_first,
    });
    let proto = t.add(Type::FuncProto(FuncProto {
        ret: word,
        params: params.into(),
    }));
    let callback = t.add(Type::Ptr(proto));
    t.structure("outer", 24, &[("first", first, 0, 0), ("call", callback, 128, 0)])
}

#[test]
fn a_type_matches_if_the_target_has_at_least_its_content() {
    let small = |t: &mut Types| cyclic(t, "___x", false);
    let large = |t: &mut Types| cyclic(t, "", true);
    assert_eq!(ask(small, large, "0", TYPE_MATCHES).unwrap().target, Some(1));
    assert_eq!(ask(large, small, "0", TYPE_MATCHES).unwrap().target, Some(0));
    assert_eq!(ask(large, small, "0", TYPE_EXISTS).unwrap().target, Some(1));
    let one = |t: &mut Types, make: fn(&mut Types) -> TypeId| {
        let member = make(t);
        t.structure("s", 64, &[("m", member, 0, 0)])
    };
    let matches = |a: fn(&mut Types) -> TypeId, b: fn(&mut Types) -> TypeId| {
        let answer = ask(|t| one(t, a), |t| one(t, b), "0", TYPE_MATCHES);
        answer.unwrap().target == Some(1)
    };
    assert!(matches(|t| t.uint(4), |t| t.uint(4)));
    assert!(!matches(|t| t.uint(4), |t| t.int("u32", 4, IntEncoding::Signed)));
    assert!(!matches(|t| t.uint(4), |t| t.int("u32", 8, IntEncoding::Unsigned)));
    fn array(t: &mut Types, len: u32) -> TypeId {
        let word = t.uint(4);
        t.array(word, len)
    }
    assert!(!matches(|t| array(t, 3), |t| array(t, 4)));
    assert!(matches(|t| array(t, 3), |t| array(t, 3)));
    // A declaration is as good as a definition behind a pointer, of the same keyword.
    fn declared(t: &mut Types, union: bool) -> TypeId {
        let name = "p".into();
        let fwd = t.add(Type::Fwd(Fwd { name, union }));
        t.add(Type::Ptr(fwd))
    }
    fn defined(t: &mut Types) -> TypeId {
        let p = t.structure("p", 0, &[]);
        t.add(Type::Ptr(p))
    }
    assert!(matches(|t| declared(t, false), defined));
    assert!(matches(defined, |t| declared(t, false)));
    assert!(!matches(|t| declared(t, true), defined));
}

#[test]
fn functions_are_compatible_with_the_same_number_of_compatible_parameters() {
    let function = |t: &mut Types, params: usize, ret: bool| {
        let long = t.uint(8);
        let params = (0..params).map(|_| Param {
            name: "".into(),
            ty: long,
        });
        let ret = if ret { long } else { TypeId::VOID };
        t.add(Type::FuncProto(FuncProto {
            ret,
            params: params.collect(),
        }))
    };
    let is = |a: (usize, bool), b: (usize, bool)| {
        let (mut x, mut y) = (Types::new(), Types::new());
        let (f, g) = (function(&mut x, a.0, a.1), function(&mut y, b.0, b.1));
        compatible(&x.btf(), f, &y.btf(), g).unwrap()
    };
    assert!(is((2, true), (2, true)));
    assert!(!is((2, true), (3, true)));
    assert!(!is((2, true), (2, false)));
}

#[test]
fn types_made_to_be_hard_to_compare_end_in_an_error() {
    // A function that takes functions that take functions: as a tree it is huge.
    let prototypes = |t: &mut Types| {
        let mut id = t.uint(4);
        for _ in 0..28 {
            let params = (0..3).map(|_| Param {
                name: "".into(),
                ty: id,
            });
            let params = params.collect();
            id = t.add(Type::FuncProto(FuncProto { ret: id, params }));
        }
        typedef(t, "huge", id)
    };
    for kind in [TYPE_EXISTS, TYPE_MATCHES] {
        assert_eq!(
            ask(prototypes, prototypes, "0", kind).unwrap_err(),
            CoreError::TooMuchWork
        );
    }
    let deep = |t: &mut Types| {
        let mut id = t.uint(4);
        for _ in 0..40 {
            id = t.add(Type::Ptr(id));
        }
        typedef(t, "deep", id)
    };
    assert_eq!(ask(deep, deep, "0", TYPE_EXISTS).unwrap_err(), CoreError::TooDeep);
    assert_eq!(ask(deep, deep, "0", TYPE_MATCHES).unwrap_err(), CoreError::TooDeep);
}

#[test]
fn looking_for_the_flavours_of_long_names_is_work() {
    const COUNT: usize = 2000;
    let long = |first: char| Name::from(format!("{first}{}", "_".repeat(500)).as_str());
    let enumeration = |t: &mut Types, first| {
        let name = long(first);
        let variants = (0..COUNT as i64).map(|value| Enumerator {
            name: name.clone(),
            value,
        });
        let variants = variants.collect();
        t.add(Type::Enum(Enum {
            name: "e".into(),
            size: 4,
            signed: false,
            variants,
        }))
    };
    let (mut a, mut b) = (Types::new(), Types::new());
    let id = enumeration(&mut a, 'a');
    enumeration(&mut b, 'b');
    let (local, target) = (a.btf(), target(b));
    let mut resolver = Resolver::new(&local, &target);
    let mut ask = |index: usize| resolver.resolve(&relo(id, &index.to_string(), ENUMVAL_EXISTS));
    assert_eq!(
        (0..COUNT).find_map(|index| ask(index).err()),
        Some(CoreError::TooMuchWork)
    );
}

#[test]
fn targets_find_symbols_by_their_whole_name() {
    let mut t = Types::new();
    let word = t.uint(4);
    let var = t.add(Type::Var(Var {
        name: "jiffies___x".into(),
        ty: word,
        linkage: Linkage::Global,
    }));
    let target = target(t);
    assert_eq!(target.find(Kind::Var, "jiffies___x"), Some(var));
    assert_eq!(target.find(Kind::Var, "jiffies"), None);
    assert_eq!(target.find(Kind::Func, "jiffies___x"), None);
    assert_eq!(essential("jiffies___x"), "jiffies");
}
