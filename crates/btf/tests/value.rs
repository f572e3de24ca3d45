//! Values as trees and as text.

mod common;

use common::Types;
use hitless_btf::value::{Value, ValueError};
use hitless_btf::*;

#[test]
fn scalars() {
    let mut t = Types::new();
    let signed = t.int("int", 4, IntEncoding::Signed);
    let unsigned = t.uint(8);
    let boolean = t.int("_Bool", 1, IntEncoding::Bool);
    let letter = t.int("char", 1, IntEncoding::Signed);
    let wide = t.int("__int128", 16, IntEncoding::Signed);
    let state = t.enumeration(4, false, &[("NEW", 0), ("OPEN", 7)]);
    let pointer = t.add(Type::Ptr(signed));
    let float = t.add(Type::Float(Float {
        name: "double".into(),
        size: 8,
    }));
    let btf = t.btf();
    let text = |id, bytes: &[u8]| btf.value(id, bytes).unwrap().to_string();
    assert_eq!(text(signed, &[0xfe, 0xff, 0xff, 0xff]), "-2");
    assert_eq!(text(unsigned, &[0xff; 8]), "18446744073709551615");
    assert_eq!(text(boolean, &[1]), "true");
    assert_eq!(text(letter, b"x"), "\"x\"");
    assert_eq!(text(letter, &[7]), "7");
    assert_eq!(text(wide, &[0xff; 16]), "\"0xffffffffffffffffffffffffffffffff\"");
    assert_eq!(text(state, &[7, 0, 0, 0]), "\"OPEN\"");
    assert_eq!(text(state, &[8, 0, 0, 0]), "8");
    assert_eq!(text(pointer, &[0xef, 0xbe, 0, 0, 0, 0, 0, 0]), "\"0xbeef\"");
    assert_eq!(text(float, &1.5f64.to_le_bytes()), "1.5");
    assert_eq!(
        btf.value(TypeId::VOID, &[]),
        Err(ValueError::NoSize { id: TypeId::VOID })
    );
    let short = btf.value(signed, &[1]).unwrap_err().to_string();
    assert_eq!(short, "1 bytes for int, expected 4");
}

#[test]
fn structs_arrays_and_bitfields() {
    let mut t = Types::new();
    let word = t.uint(4);
    let int = t.int("int", 4, IntEncoding::Signed);
    let byte = t.uint(1);
    let letter = t.int("char", 1, IntEncoding::Signed);
    let name = t.array(letter, 4);
    let bytes = t.array(byte, 2);
    let words = t.array(word, 2);
    let view = t.union("", 4, &[("v4", word, 0, 0), ("raw", bytes, 0, 0)]);
    let point = t.structure("point", 8, &[("x", int, 0, 0), ("y", int, 32, 0)]);
    let all = t.structure(
        "all",
        28,
        &[
            ("low", word, 0, 3),
            ("high", int, 3, 5),
            ("name", name, 32, 0),
            ("words", words, 64, 0),
            ("", view, 128, 0),
            ("at", point, 160, 0),
        ],
    );
    let btf = t.btf();
    let mut value = vec![0b1111_1101, 0, 0, 0, b'a', b'b', 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
    value.extend([1, 2, 0, 0, 5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let value = btf.value(all, &value).unwrap();
    let expected = r#"{"low": 5,"high": -1,"name": "ab","words": [1,2],"v4": 513,"raw": [1,2],"at": {"x": 5,"y": -1}}"#;
    assert_eq!(value.to_string(), expected);
    let pretty = "{
    \"low\": 5,
    \"high\": -1,
    \"name\": \"ab\",
    \"words\": [1,2],
    \"v4\": 513,
    \"raw\": [1,2],
    \"at\": {
        \"x\": 5,
        \"y\": -1
    }
}";
    assert_eq!(format!("{value:#}"), pretty);
    let Value::Struct(members) = &value else {
        panic!("{value:?}")
    };
    assert_eq!(members[2], ("name".into(), Value::Str("ab".into())));
    let full = btf.value(name, b"abcd").unwrap();
    assert_eq!(full, Value::Bytes(b"abcd".to_vec()), "not terminated");
}

#[test]
fn data_sections() {
    let mut t = Types::new();
    let word = t.uint(4);
    let vars = ["a", "b"].map(|name| {
        t.add(Type::Var(Var {
            name: name.into(),
            ty: word,
            linkage: Linkage::Global,
        }))
    });
    let vars = vec![
        DatasecVar {
            ty: vars[0],
            offset: 4,
            size: 4,
        },
        DatasecVar {
            ty: vars[1],
            offset: 0,
            size: 4,
        },
    ];
    let sec = t.add(Type::Datasec(Datasec {
        name: ".bss".into(),
        size: 8,
        vars,
    }));
    assert_eq!(
        t.btf().value(sec, &[1, 0, 0, 0, 2, 0, 0, 0]).unwrap().to_string(),
        r#"{"a": 2,"b": 1}"#
    );
}
