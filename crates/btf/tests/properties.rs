//! Random pairs of layouts: what the transform makes of a value, read by the value reader, is what a model of the rules says.

mod common;

use common::Types;
use hitless_btf::layout::{LayoutDiff, Transform, compare};
use hitless_btf::value::Value;
use hitless_btf::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Shape {
    Int { size: u32, signed: bool },
    Bits { width: u8, signed: bool },
    Array(Box<Shape>, u32),
    Struct(Vec<(usize, Shape)>),
}

/// A value without its layout.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    Int(i128),
    Array(Vec<Model>),
    Struct(Vec<(usize, Model)>),
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn shape() -> impl Strategy<Value = Shape> {
    let int =
        (prop::sample::select(vec![1, 2, 4, 8]), any::<bool>()).prop_map(|(size, signed)| Shape::Int { size, signed });
    int.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            1 => (inner.clone(), 1..4u32).prop_map(|(elem, len)| Shape::Array(Box::new(elem), len)),
            2 => structure(inner),
        ]
    })
}

fn structure(inner: impl Strategy<Value = Shape>) -> impl Strategy<Value = Shape> {
    let bits = (1..=32u8, any::<bool>()).prop_map(|(width, signed)| Shape::Bits { width, signed });
    let field = prop_oneof![4 => inner, 1 => bits];
    (
        prop::collection::vec(field, 1..6),
        Just((0..NAMES.len()).collect::<Vec<_>>()).prop_shuffle(),
    )
        .prop_map(|(fields, names)| Shape::Struct(names.into_iter().zip(fields).collect()))
}

/// Adds the type of a shape; returns its id, size and alignment.
fn build(t: &mut Types, shape: &Shape) -> (TypeId, u32, u32) {
    match shape {
        Shape::Int { size, signed } => {
            let encoding = if *signed {
                IntEncoding::Signed
            } else {
                IntEncoding::Unsigned
            };
            (t.int("n", *size, encoding), *size, *size)
        }
        Shape::Bits { signed, .. } => build(
            t,
            &Shape::Int {
                size: 4,
                signed: *signed,
            },
        ),
        Shape::Array(elem, len) => {
            let (id, size, align) = build(t, elem);
            (t.array(id, *len), size * len, align)
        }
        Shape::Struct(fields) => {
            let (mut bit, mut most) = (0, 1);
            let mut members = Vec::new();
            for (name, field) in fields {
                let (id, size, align) = build(t, field);
                most = most.max(align);
                let width = if let Shape::Bits { width, .. } = field {
                    *width
                } else {
                    0
                };
                if width == 0 || bit % 32 + u32::from(width) > 32 {
                    bit = bit.next_multiple_of(align * 8);
                }
                members.push((NAMES[*name], id, bit, width));
                bit += if width == 0 { size * 8 } else { width.into() };
            }
            let size = bit.div_ceil(8).next_multiple_of(most);
            (t.structure("s", size, &members), size, most)
        }
    }
}

fn read(shape: &Shape, value: &Value) -> Model {
    match (shape, value) {
        (_, Value::Int(n)) => Model::Int((*n).into()),
        (_, Value::UInt(n)) => Model::Int((*n).into()),
        (Shape::Array(elem, _), Value::Array(values)) => Model::Array(values.iter().map(|v| read(elem, v)).collect()),
        (Shape::Array(elem, _), Value::Bytes(bytes)) => {
            let signed = matches!(**elem, Shape::Int { signed: true, .. });
            let number = |&b: &u8| Model::Int(if signed { b.cast_signed().into() } else { b.into() });
            Model::Array(bytes.iter().map(number).collect())
        }
        (Shape::Struct(fields), Value::Struct(members)) => Model::Struct(
            fields
                .iter()
                .zip(members)
                .map(|((name, s), (_, v))| (*name, read(s, v)))
                .collect(),
        ),
        _ => panic!("{value:?} is no {shape:?}"),
    }
}

fn zero(shape: &Shape) -> Model {
    match shape {
        Shape::Int { .. } | Shape::Bits { .. } => Model::Int(0),
        Shape::Array(elem, len) => Model::Array(vec![zero(elem); *len as usize]),
        Shape::Struct(fields) => Model::Struct(fields.iter().map(|(name, s)| (*name, zero(s))).collect()),
    }
}

fn integer(shape: &Shape) -> Option<(u32, bool)> {
    match shape {
        Shape::Int { size, signed } => Some((size * 8, *signed)),
        Shape::Bits { width, signed } => Some(((*width).into(), *signed)),
        _ => None,
    }
}

/// The rules, on values instead of bytes.
fn expect(old: &Shape, value: &Model, new: &Shape) -> Model {
    if let (Some((from, from_signed)), Some((to, to_signed)), Model::Int(n)) = (integer(old), integer(new), value) {
        if from_signed != to_signed && (from_signed || from >= to) {
            return Model::Int(0);
        }
        let low = n & ((1 << to) - 1);
        return Model::Int(if to_signed && low >> (to - 1) & 1 == 1 {
            low - (1 << to)
        } else {
            low
        });
    }
    match (old, new, value) {
        (Shape::Array(a, _), Shape::Array(b, len), Model::Array(values)) => {
            let mut values: Vec<_> = values.iter().map(|v| expect(a, v, b)).collect();
            values.resize(*len as usize, zero(b));
            Model::Array(values)
        }
        (Shape::Struct(a), Shape::Struct(b), Model::Struct(values)) => {
            let field = |(name, new): &(usize, Shape)| {
                let old = a.iter().zip(values).find(|((old_name, _), _)| old_name == name);
                (
                    *name,
                    old.map_or_else(|| zero(new), |((_, old), (_, value))| expect(old, value, new)),
                )
            };
            Model::Struct(b.iter().map(field).collect())
        }
        _ => zero(new),
    }
}

fn types(shape: &Shape) -> (Btf, TypeId, usize) {
    let mut t = Types::new();
    let (id, size, _) = build(&mut t, shape);
    (t.btf(), id, size as usize)
}

fn apply(diff: &LayoutDiff, old: &[u8]) -> Vec<u8> {
    let mut new = vec![0x77; diff.transform.new_size()];
    diff.transform.apply(old, &mut new);
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn named_fields_keep_their_values(
        old in structure(shape()),
        new in structure(shape()),
        seed in prop::collection::vec(any::<u8>(), 256),
        other in prop::collection::vec(any::<u8>(), 256),
    ) {
        let ((old_btf, old_id, old_size), (new_btf, new_id, new_size)) = (types(&old), types(&new));
        let diff = compare((&old_btf, old_id), (&new_btf, new_id)).unwrap();
        prop_assert_eq!((diff.transform.old_size(), diff.transform.new_size()), (old_size, new_size));
        let model = |bytes: &[u8]| read(&old, &old_btf.value(old_id, bytes).unwrap());
        let [first, second] = [seed, other].map(|seed| seed.into_iter().cycle().take(old_size).collect::<Vec<u8>>());
        let moved = apply(&diff, &first);
        let expected = expect(&old, &model(&first), &new);
        prop_assert_eq!(read(&new, &new_btf.value(new_id, &moved).unwrap()), expected);
        if diff.injective() && model(&first) != model(&second) {
            prop_assert_ne!(moved, apply(&diff, &second));
        }
    }

    #[test]
    fn the_same_layout_is_copied_whole(shape in structure(shape()), seed in prop::collection::vec(any::<u8>(), 64)) {
        let (btf, id, size) = types(&shape);
        let diff = compare((&btf, id), (&btf, id)).unwrap();
        prop_assert!(diff.is_identity() && diff.injective());
        prop_assert_eq!(&diff.transform, &Transform::identity(size as u32));
        let old: Vec<u8> = seed.into_iter().cycle().take(size).collect();
        prop_assert_eq!(apply(&diff, &old), old);
    }

    #[test]
    fn shuffled_fields_lose_nothing(shape in structure(shape()), turn in 0..6usize, seed in any::<[u8; 32]>()) {
        let Shape::Struct(mut fields) = shape.clone() else { unreachable!() };
        let turn = turn % fields.len();
        fields.rotate_left(turn);
        let turned = Shape::Struct(fields);
        let ((a, a_id, size), (b, b_id, _)) = (types(&shape), types(&turned));
        let there = compare((&a, a_id), (&b, b_id)).unwrap();
        let back = compare((&b, b_id), (&a, a_id)).unwrap();
        prop_assert!(there.injective() && there.lossy().next().is_none());
        let old: Vec<u8> = seed.into_iter().cycle().take(size).collect();
        let again = apply(&back, &apply(&there, &old));
        prop_assert_eq!(a.value(a_id, &again).unwrap(), a.value(a_id, &old).unwrap());
    }
}
