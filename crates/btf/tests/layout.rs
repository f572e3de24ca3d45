//! Layouts compared by hand-made pairs: each rule once.

mod common;

use common::Types;
use hitless_btf::layout::{CopyOp, Fate, FieldChange, LayoutDiff, Transform, compare};
use hitless_btf::*;

fn diff(old: impl FnOnce(&mut Types) -> TypeId, new: impl FnOnce(&mut Types) -> TypeId) -> LayoutDiff {
    let (mut a, mut b) = (Types::new(), Types::new());
    let (a_id, b_id) = (old(&mut a), new(&mut b));
    compare((&a.btf(), a_id), (&b.btf(), b_id)).unwrap()
}

fn apply(diff: &LayoutDiff, old: &[u8]) -> Vec<u8> {
    let mut new = vec![0xee; diff.transform.new_size()];
    diff.transform.apply(old, &mut new);
    new
}

fn texts(diff: &LayoutDiff) -> Vec<String> {
    diff.fields.iter().map(FieldChange::to_string).collect()
}

#[test]
fn moved_widened_renamed_new_and_dropped() {
    let d = diff(
        |t| {
            let (half, word) = (t.uint(2), t.uint(4));
            let int = t.int("int", 4, IntEncoding::Signed);
            t.structure(
                "s",
                16,
                &[
                    ("packets", word, 0, 0),
                    ("bytes", word, 32, 0),
                    ("delta", int, 64, 0),
                    ("gone", half, 96, 0),
                ],
            )
        },
        |t| {
            let (word, long) = (t.uint(4), t.uint(8));
            let slong = t.int("long", 8, IntEncoding::Signed);
            let members = [
                ("octets", long, 0, 0),
                ("delta", slong, 64, 0),
                ("packets", word, 128, 0),
                ("seen", word, 160, 0),
            ];
            let s = t.structure("s", 24, &members);
            t.tag("was:bytes", s, Some(0));
            s
        },
    );
    let expected = [
        "octets (was bytes): widened from 32 to 64 bits",
        "delta: widened from 32 to 64 bits, signed",
        "packets: moved",
        "seen: new, zero",
        "gone: dropped",
    ];
    assert_eq!(texts(&d), expected);
    assert_eq!(d.lossy().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["gone"]);
    assert!(!d.is_identity() && !d.injective());
    let place = d.fields[0].old.as_ref().unwrap();
    assert_eq!((place.offset, place.size, place.type_name.as_str()), (4, 4, "u32"));
    let new = apply(&d, &[1, 0, 0, 0, 2, 0, 0, 0x80, 0xfd, 0xff, 0xff, 0xff, 9, 9, 0, 0]);
    let mut expected = vec![2, 0, 0, 0x80, 0, 0, 0, 0, 0xfd];
    expected.extend([0xff; 7]);
    expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(new, expected);
    assert_eq!(d.transform.unread(), vec![12..16; 1]);
}

#[test]
fn names_swapped_by_tags() {
    let layout = |t: &mut Types| {
        let word = t.uint(4);
        t.structure("s", 8, &[("a", word, 0, 0), ("b", word, 32, 0)])
    };
    let swapped = |t: &mut Types| {
        let s = layout(t);
        t.tag("was:b", s, Some(0));
        t.tag("was:a", s, Some(1));
        s
    };
    let d = diff(layout, swapped);
    assert_eq!(texts(&d), ["a (was b): moved", "b (was a): moved"]);
    assert_eq!(apply(&d, &[1, 0, 0, 0, 2, 0, 0, 0]), [2, 0, 0, 0, 1, 0, 0, 0]);
    // From a version that has the new names already, the tags find what they say as well: they are the author's word.
    let twice = |t: &mut Types| {
        let s = layout(t);
        t.tag("was:b", s, Some(0));
        t.tag("was:b", s, Some(1));
        s
    };
    assert_eq!(texts(&diff(layout, twice))[1], "b: incompatible: a takes over b, too");
    // A tag that names nothing leaves the match by name.
    let late = |t: &mut Types| {
        let s = layout(t);
        t.tag("was:older", s, Some(0));
        s
    };
    assert!(diff(layout, late).is_identity());
}

#[test]
fn integers() {
    let int = |size: u32, signed: bool| {
        let encoding = if signed {
            IntEncoding::Signed
        } else {
            IntEncoding::Unsigned
        };
        move |t: &mut Types| t.int("n", size, encoding)
    };
    let fate =
        |old: (u32, bool), new: (u32, bool)| diff(int(old.0, old.1), int(new.0, new.1)).fields[0].fate.to_string();
    assert_eq!(fate((4, false), (4, false)), "same");
    assert_eq!(fate((4, false), (8, true)), "widened from 32 to 64 bits");
    assert_eq!(fate((4, true), (8, true)), "widened from 32 to 64 bits, signed");
    assert_eq!(fate((4, false), (2, false)), "narrowed from 32 to 16 bits");
    assert_eq!(
        fate((4, false), (4, true)),
        "incompatible: signed of 32 bits, was unsigned of 32"
    );
    assert_eq!(
        fate((4, true), (8, false)),
        "incompatible: unsigned of 64 bits, was signed of 32"
    );
    let narrowed = diff(int(4, false), int(2, false));
    assert_eq!(apply(&narrowed, &[1, 2, 3, 4]), [1, 2]);
    assert_eq!(narrowed.lossy().count(), 1);
    assert_eq!(narrowed.fields[0].to_string(), "value: narrowed from 32 to 16 bits");
    let letter = |t: &mut Types| t.int("char", 1, IntEncoding::Signed);
    assert!(diff(letter, int(1, false)).is_identity(), "char is a byte");
    let boolean = |t: &mut Types| t.int("_Bool", 1, IntEncoding::Bool);
    assert_eq!(
        diff(boolean, int(4, true)).fields[0].fate,
        Fate::Widened {
            from: 8,
            to: 32,
            signed: false
        }
    );
    assert_eq!(diff(int(1, false), boolean).lossy().count(), 1);
}

#[test]
fn enums_keep_their_numbers() {
    let state = |variants: &'static [(&'static str, i64)]| move |t: &mut Types| t.enumeration(4, false, variants);
    let old = state(&[("NEW", 0), ("OPEN", 1)]);
    assert!(diff(old, state(&[("NEW", 0), ("OPEN", 1), ("CLOSED", 2)])).is_identity());
    let renumbered = diff(old, state(&[("NEW", 0), ("HALF", 1), ("OPEN", 2)]));
    assert_eq!(texts(&renumbered), ["value: incompatible: enumerator OPEN is 2, was 1"]);
    assert_eq!(apply(&renumbered, &[1, 0, 0, 0]), [0; 4]);
    assert_eq!(texts(&diff(old, |t| t.uint(8))), ["value: widened from 32 to 64 bits"]);
}

#[test]
fn arrays() {
    let array = |size, len| {
        move |t: &mut Types| {
            let int = t.uint(size);
            t.array(int, len)
        }
    };
    let grown = diff(array(2, 2), array(2, 3));
    assert_eq!(texts(&grown), ["value: grown from 2 to 3 elements"]);
    assert_eq!(apply(&grown, &[1, 0, 2, 0]), [1, 0, 2, 0, 0, 0]);
    assert!(grown.injective() && !grown.is_identity());
    let shrunk = diff(array(2, 2), array(2, 1));
    assert_eq!(texts(&shrunk), ["value: shrunk from 2 to 1 elements"]);
    assert_eq!((apply(&shrunk, &[1, 0, 2, 0]), shrunk.lossy().count()), (vec![1, 0], 1));
    let widened = diff(array(1, 3), array(2, 3));
    assert_eq!(texts(&widened), ["[]: widened from 8 to 16 bits"]);
    assert_eq!(apply(&widened, &[1, 2, 3]), [1, 0, 2, 0, 3, 0]);
    assert!(matches!(
        widened.transform.ops(),
        [CopyOp::Repeat {
            count: 3,
            from_stride: 1,
            to_stride: 2,
            ..
        }]
    ));
    assert_eq!(
        diff(array(1, 3), |t| t.uint(4)).fields[0].fate.to_string(),
        "incompatible: int, was array"
    );
}

#[test]
fn arrays_of_structs() {
    let table = |wide: bool| {
        move |t: &mut Types| {
            let (word, count) = (t.uint(4), t.uint(if wide { 8 } else { 4 }));
            let entry = if wide {
                t.structure("e", 16, &[("n", count, 0, 0), ("id", word, 64, 0)])
            } else {
                t.structure("e", 8, &[("id", word, 0, 0), ("n", count, 32, 0)])
            };
            let table = t.array(entry, 2);
            let offset = if wide { 64 } else { 32 };
            t.structure(
                "s",
                if wide { 40 } else { 20 },
                &[("head", word, 0, 0), ("table", table, offset, 0)],
            )
        }
    };
    let d = diff(table(false), table(true));
    assert_eq!(
        texts(&d),
        [
            "head: same",
            "table[].n: widened from 32 to 64 bits",
            "table[].id: moved"
        ]
    );
    let old: Vec<u8> = (1..=5u32).flat_map(u32::to_le_bytes).collect();
    let new: Vec<u32> = apply(&d, &old)
        .chunks(4)
        .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(new, [1, 0, 3, 0, 2, 0, 5, 0, 4, 0]);
    assert!(diff(table(true), table(true)).is_identity());
    assert_eq!(diff(table(true), table(true)).transform, Transform::identity(40));
}

#[test]
fn nested_and_anonymous_structs() {
    let d = diff(
        |t| {
            let word = t.uint(4);
            let inner = t.structure("in", 8, &[("x", word, 0, 0), ("y", word, 32, 0)]);
            let anonymous = t.structure("", 4, &[("z", word, 0, 0)]);
            t.structure("s", 12, &[("in", inner, 0, 0), ("", anonymous, 64, 0)])
        },
        |t| {
            let word = t.uint(4);
            let inner = t.structure("in", 8, &[("y", word, 0, 0), ("w", word, 32, 0)]);
            t.structure("s", 12, &[("z", word, 0, 0), ("in", inner, 32, 0)])
        },
    );
    assert_eq!(
        texts(&d),
        ["z: moved", "in.y: same", "in.w: new, zero", "in.x: dropped"]
    );
    assert_eq!(
        apply(&d, &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]),
        [3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn unions() {
    let value = |third: bool, wide: bool, offset: u32| {
        move |t: &mut Types| {
            let (word, half) = (t.uint(4), t.uint(if wide { 4 } else { 2 }));
            let (s1, s2) = (
                t.structure("", 4, &[("p", word, 0, 0)]),
                t.structure("", 4, &[("q", half, 0, 0)]),
            );
            let members = [
                ("a", word, 0, 0),
                ("b", half, 0, 0),
                ("", s1, 0, 0),
                ("", s2, 0, 0),
                ("c", word, 0, 0),
            ];
            let union = t.union("", 4, &members[..if third { 5 } else { 4 }]);
            t.structure("s", offset / 8 + 4, &[("", union, offset, 0)])
        }
    };
    assert!(diff(value(false, false, 0), value(false, false, 0)).is_identity());
    let d = diff(value(false, false, 0), value(true, false, 32));
    assert_eq!(texts(&d), ["(union a): moved"]);
    assert_eq!(apply(&d, &[1, 2, 3, 4]), [0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(
        texts(&diff(value(true, false, 0), value(false, false, 0))),
        ["(union a): incompatible: the members of the union differ"]
    );
    assert_eq!(diff(value(true, false, 0), value(true, true, 0)).lossy().count(), 1);
}

#[test]
fn bitfields_keep_their_neighbours() {
    let flags = |members: &'static [(&'static str, u32, u8)]| {
        move |t: &mut Types| {
            let (word, int) = (t.uint(4), t.int("int", 4, IntEncoding::Signed));
            let of = |name: &str| if name == "level" { int } else { word };
            let members: Vec<_> = members
                .iter()
                .map(|&(name, bit, width)| (name, of(name), bit, width))
                .collect();
            t.structure("s", 4, &members)
        }
    };
    let old = flags(&[("kind", 0, 3), ("level", 3, 4), ("open", 7, 1)]);
    assert!(diff(old, old).is_identity());
    let d = diff(old, flags(&[("level", 0, 6), ("extra", 6, 2), ("kind", 8, 3)]));
    let expected = [
        "level: widened from 4 to 6 bits, signed",
        "extra: new, zero",
        "kind: moved",
        "open: dropped",
    ];
    assert_eq!(texts(&d), expected);
    // kind 5, level -3, open 1.
    assert_eq!(apply(&d, &[0b1110_1101, 0, 0, 0]), [0b0011_1101, 0b101, 0, 0]);
    let plain = diff(old, |t| {
        let (word, int) = (t.uint(4), t.int("int", 4, IntEncoding::Signed));
        t.structure(
            "s",
            12,
            &[("kind", word, 0, 0), ("level", int, 32, 0), ("open", word, 64, 0)],
        )
    });
    assert!(plain.injective());
    assert_eq!(
        apply(&plain, &[0b1110_1101, 0, 0, 0]),
        [5, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff, 1, 0, 0, 0]
    );
}

#[test]
fn locks_start_anew() {
    let stats = |offset: u32, name: &'static str| {
        move |t: &mut Types| {
            let word = t.uint(4);
            let lock = t.structure(name, 4, &[("val", word, 0, 0)]);
            t.structure("s", 8, &[("lock", lock, offset, 0), ("n", word, 32 - offset, 0)])
        }
    };
    let same = diff(stats(0, "bpf_spin_lock"), stats(0, "bpf_spin_lock"));
    assert_eq!(texts(&same), ["lock: starts anew", "n: same"]);
    assert!(same.is_identity() && !same.injective());
    assert_eq!(apply(&same, &[1, 0, 0, 0, 7, 0, 0, 0]), [0, 0, 0, 0, 7, 0, 0, 0]);
    let moved = diff(stats(0, "bpf_spin_lock"), stats(32, "bpf_spin_lock"));
    assert_eq!(apply(&moved, &[1, 0, 0, 0, 7, 0, 0, 0]), [7, 0, 0, 0, 0, 0, 0, 0]);
    assert!(!moved.is_identity() && moved.lossy().count() == 0);
    let other = diff(stats(0, "bpf_spin_lock"), stats(0, "mine"));
    assert_eq!(
        texts(&other)[0],
        "lock: incompatible: struct mine, was struct bpf_spin_lock"
    );
    let gone = diff(stats(0, "bpf_spin_lock"), |t| {
        let word = t.uint(4);
        t.structure("s", 4, &[("n", word, 0, 0)])
    });
    assert_eq!(
        (texts(&gone)[1].as_str(), gone.lossy().count()),
        ("lock: starts anew", 0)
    );
    assert_eq!(
        diff(stats(0, "bpf_rb_root"), stats(0, "bpf_rb_root")).lossy().count(),
        1
    );
}

#[test]
fn pointers_and_floats() {
    let pointer = |tag: Option<&'static str>| {
        move |t: &mut Types| {
            let target = match tag {
                Some(tag) => t.add(Type::TypeTag(TypeTag {
                    attribute: false,
                    tag: tag.into(),
                    ty: TypeId::VOID,
                })),
                None => TypeId::VOID,
            };
            t.add(Type::Ptr(target))
        }
    };
    assert!(diff(pointer(None), pointer(Some("user"))).is_identity());
    assert_eq!(diff(pointer(Some("kptr")), pointer(Some("kptr"))).lossy().count(), 1);
    assert_eq!(
        texts(&diff(pointer(None), |t| t.uint(8))),
        ["value: incompatible: integer of 64 bits, was pointer"]
    );
    let float = |size| move |t: &mut Types| t.add(Type::Float(Float { name: "f".into(), size }));
    assert!(diff(float(8), float(8)).is_identity());
    assert_eq!(diff(float(4), float(8)).lossy().count(), 1);
}

#[test]
fn data_sections() {
    let sec = |vars: &'static [(&'static str, u32)], tag: Option<&'static str>| {
        move |t: &mut Types| {
            let long = t.uint(8);
            let mut entries = Vec::new();
            for &(name, offset) in vars {
                let var = t.add(Type::Var(Var {
                    name: name.into(),
                    ty: long,
                    linkage: Linkage::Global,
                }));
                entries.push(DatasecVar {
                    ty: var,
                    offset,
                    size: 8,
                });
            }
            if let Some(tag) = tag {
                t.tag(tag, entries[0].ty, None);
            }
            let size = vars.len() as u32 * 8;
            t.add(Type::Datasec(Datasec {
                name: ".bss".into(),
                size,
                vars: entries,
            }))
        }
    };
    let d = diff(
        sec(&[("a", 0), ("b", 8)], None),
        sec(&[("c", 0), ("n", 8), ("b", 16)], Some("was:a")),
    );
    assert_eq!(texts(&d), ["c (was a): same", "n: new, zero", "b: moved"]);
    let new = apply(&d, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((new[0], new[8], new[16]), (1, 0, 2));
    let twice = diff(sec(&[("a", 0), ("a", 8)], None), sec(&[("a", 0)], None));
    assert_eq!(texts(&twice)[0], "a: incompatible: there is more than one field a");

    let mut t = Types::new();
    let id = sec(&[("a", 8)], None)(&mut t);
    let btf = t.btf();
    let error = compare((&btf, id), (&btf, id)).unwrap_err().to_string();
    assert_eq!(error, "variable \"a\" ends at byte 16 of a data section of 8");
}
