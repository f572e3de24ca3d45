//! Dumps: bpftool prints the same, and a compiler makes the same layouts of them.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use common::{Types, VMLINUX, file, have, objects, output, section_of, vmlinux};
use hitless_btf::dump::DumpError;
use hitless_btf::*;

#[test]
fn raw_is_what_bpftool_prints() {
    if !have("bpftool") {
        return;
    }
    for path in objects() {
        let btf = Btf::parse(&section_of(&path, ".BTF").unwrap()).unwrap();
        let expected = output(Command::new("bpftool").args(["btf", "dump", "file"]).arg(&path));
        assert!(dump::raw(&btf).to_string() == expected, "{path:?} differs");
    }
    if let Some(bytes) = vmlinux() {
        let expected = output(Command::new("bpftool").args(["btf", "dump", "file", VMLINUX]));
        let printed = dump::raw(&Btf::parse(&bytes).unwrap()).to_string();
        let differs = printed.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None);
        assert_eq!(printed.len(), expected.len());
    }
}

/// A member as (name, first bit, width).
type Field = (String, u32, u8);

/// Layouts by what C calls the type: sizes and members, without those that fill gaps.
type Layouts = BTreeMap<String, BTreeSet<(u32, Vec<Field>)>>;

fn layouts(btf: &Btf) -> Layouts {
    let mut found = Layouts::new();
    for (_, ty) in btf.types() {
        let (keyword, size, fields) = match ty {
            Type::Struct(t) => ("struct", t.size, fields(btf, t)),
            Type::Union(t) => ("union", t.size, fields(btf, t)),
            Type::Enum(t) | Type::Enum64(t) if !t.variants.is_empty() => ("enum", t.size, Vec::new()),
            _ => continue,
        };
        // Types of the same name have got numbers.
        let name = ty.name().split("___").next().unwrap_or_default();
        if !name.is_empty() {
            found
                .entry(format!("{keyword} {name}"))
                .or_default()
                .insert((size, fields));
        }
    }
    found
}

/// The members, and those of anonymous members in their place.
fn fields(btf: &Btf, t: &Composite) -> Vec<Field> {
    let mut found = Vec::new();
    let mut todo: Vec<_> = t.members.iter().rev().map(|m| (m, 0)).collect();
    while let Some((m, base)) = todo.pop() {
        let at = base + m.bit_offset;
        if m.name.is_empty() {
            todo.extend(btf.members(m.ty).iter().rev().map(|inner| (inner, at)));
        } else if !m.name.starts_with("__btf_pad") {
            found.push((m.name.to_string(), at, m.bitfield_size));
        }
    }
    found
}

/// Compiles a dump that uses all of its types and compares their layouts with those of `btf`.
fn compiled(name: &str, text: &str, btf: &Btf) {
    // Clang's time grows with the square of the types that are used.
    const AT_ONCE: usize = 1000;
    let mut uses = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        if let [keyword @ ("struct" | "union" | "enum"), name, "{" | "{};" | "{}"] = words[..] {
            uses.push(format!("{keyword} {name} use{};\n", uses.len()));
        }
    }
    let mut found = Layouts::new();
    for (part, uses) in uses.chunks(AT_ONCE).enumerate() {
        let source = file(&format!("{name}_{part}.c"), format!("{text}\n{}", uses.concat()));
        let object = source.with_extension("o");
        let mut clang = Command::new("clang-19");
        clang.args(["-target", "bpf", "-g", "-O2", "-Werror", "-Wno-visibility"]);
        // The attribute of the whole header has nothing to apply to in one without structs.
        clang.args(["-Wno-pragma-clang-attribute", "-c"]);
        output(clang.arg(&source).arg("-o").arg(&object));
        for (name, made) in layouts(&Btf::parse(&section_of(&object, ".BTF").unwrap()).unwrap()) {
            found.entry(name).or_default().extend(made);
        }
    }
    for (name, layout) in &layouts(btf) {
        assert_eq!(found.get(name), Some(layout), "{name}");
    }
}

/// The names of what is declared at the top.
fn top_level(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut typedef = false;
    for line in text.lines() {
        let words: Vec<_> = line.split([' ', ';']).collect();
        match words[..] {
            [keyword @ ("struct" | "union" | "enum"), name, "{" | "{}", ..] if name != "{" => {
                names.insert(format!("{keyword} {name}"));
            }
            _ => {}
        }
        typedef |= line.starts_with("typedef ");
        if typedef && !line.starts_with('\t') && line.ends_with(';') {
            typedef = false;
            let function = line.find("(*").map(|at| &line[at + 2..]);
            let line = line.trim_end_matches(';');
            let end = match function {
                Some(rest) => rest.split([')', '[', '(']).next(),
                None => line.split(['[', '(']).next().and_then(|l| l.rsplit([' ', '*']).next()),
            };
            names.insert(format!("typedef {}", end.unwrap_or_default()));
        }
    }
    names
}

#[test]
fn objects_compile_to_the_same_layouts() {
    let (clang, bpftool) = (have("clang-19"), have("bpftool"));
    for path in objects() {
        let btf = Btf::parse(&section_of(&path, ".BTF").unwrap()).unwrap();
        let text = dump::c(&btf).unwrap();
        if clang {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            compiled(&name, &text, &btf);
        }
        if bpftool {
            let mut command = Command::new("bpftool");
            let expected = output(command.args(["btf", "dump", "file"]).arg(&path).args(["format", "c"]));
            assert_eq!(top_level(&text), top_level(&expected), "{path:?}");
        }
    }
}

#[test]
fn the_kernel_compiles_to_the_same_layouts() {
    let Some(bytes) = vmlinux() else { return };
    let btf = Btf::parse(&bytes).unwrap();
    let text = dump::c(&btf).unwrap();
    if have("bpftool") {
        let expected = output(Command::new("bpftool").args(["btf", "dump", "file", VMLINUX, "format", "c"]));
        let (mut ours, theirs) = (top_level(&text), top_level(&expected));
        // bpftool leaves it to the compiler, which has another.
        ours.remove("typedef __builtin_va_list_");
        assert_eq!(ours.symmetric_difference(&theirs).collect::<Vec<_>>(), [""; 0]);
    }
    if have("clang-19") {
        compiled("vmlinux", &text, &btf);
    }
}

/// What clang makes of C, dumped and compiled again.
fn there_and_back(name: &str, source: &str) -> Option<String> {
    if !have("clang-19") {
        return None;
    }
    let path = file(&format!("{name}_source.c"), source);
    let object = path.with_extension("o");
    let mut clang = Command::new("clang-19");
    output(
        clang
            .args(["-target", "bpf", "-g", "-O2", "-c"])
            .arg(&path)
            .arg("-o")
            .arg(&object),
    );
    let btf = Btf::parse(&section_of(&object, ".BTF").unwrap()).unwrap();
    let text = dump::c(&btf).unwrap();
    compiled(name, &text, &btf);
    Some(text)
}

#[test]
fn shapes_of_c() {
    let source = r#"
        enum small { A, B } __attribute__((mode(byte)));
        enum negative { LESS = -1, MORE = 1 };
        enum wide { FAR = 1ULL << 40, FURTHER = ~0ULL };
        enum wide_negative { LEAST = -0x7fffffffffffffffLL - 1 };
        struct forward;
        struct bits { int a : 3; unsigned b : 29; long long c : 40; char d; _Bool e : 1; int : 0; enum small f : 4; };
        struct packed { char a; int b; struct bits c; short d : 9; } __attribute__((packed));
        struct aligned { int a; } __attribute__((aligned(64)));
        struct gaps { char a; struct aligned b; char c __attribute__((aligned(4096))); };
        struct list { struct list *next; struct forward *other; };
        struct empty {};
        struct functions {
            int (*simple)(struct list *, int n);
            void (*table[3][2])(char, ...);
            int (*(*returns)(void))[4];
            void (*takes)(int (*)(struct functions *));
            int (*old)();
        };
        typedef int function_t(struct forward *, const char *const *);
        typedef struct { int x, y; } point_t;
        typedef point_t points_t[2][3];
        struct nested {
            union { struct { short a, b; }; int whole; struct { unsigned low : 4, high : 4; } half; };
            point_t points[2][3];
            points_t more;
            function_t *call;
            int __attribute__((btf_type_tag("user"))) *__attribute__((btf_type_tag("rcu"))) *tagged;
            const volatile int *restrict const qualified;
            const int constants[4];
            __int128 big;
            double real;
            int flexible[];
        };
        union mixed { char c[5]; int i; } __attribute__((packed));
        enum small use_small; enum negative use_negative; enum wide use_wide; enum wide_negative use_wide_negative;
        struct bits use_bits; struct packed use_packed; struct gaps use_gaps; struct list use_list;
        struct empty use_empty; struct functions use_functions; struct nested use_nested; union mixed use_mixed;
    "#;
    let Some(text) = there_and_back("shapes", source) else {
        return;
    };
    for expected in [
        "struct forward;\n",
        "\tFURTHER = 18446744073709551615ULL,\n",
        "\tLEAST = (-9223372036854775807LL - 1),\n",
        "\tvoid (*table[3][2])(char, ...);\n",
        "\tint (*(*returns)(void))[4];\n",
        "\tvoid (*takes)(int (*)(struct functions *));\n",
        "\tint (*old)();\n",
        "typedef int function_t(struct forward *, const char * const *);\n",
        "typedef point_t points_t[2][3];\n",
        "\tint __attribute__((btf_type_tag(\"user\"))) * __attribute__((btf_type_tag(\"rcu\"))) *tagged;\n",
        "\tconst volatile int * const restrict qualified;\n",
        "} __attribute__((packed));\n",
        "\tint flexible[0];\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

/// Types that a struct needs only behind pointers are declared, not defined.
#[test]
fn chosen_types() {
    let mut t = Types::new();
    let int = t.int("int", 4, IntEncoding::Signed);
    let other = t.structure("other", 4, &[("n", int, 0, 0)]);
    let pointer = t.add(Type::Ptr(other));
    let inner = t.structure("inner", 4, &[("n", int, 0, 0)]);
    let outer = t.structure("outer", 16, &[("other", pointer, 0, 0), ("inner", inner, 64, 0)]);
    t.structure("unrelated", 4, &[("n", int, 0, 0)]);
    let btf = t.btf();
    let text = dump::c_of(&btf, &[outer]).unwrap();
    let expected = "struct inner {\n\tint n;\n};\n\nstruct other;\n\n\
        struct outer {\n\tstruct other *other;\n\tstruct inner inner;\n};\n\n#ifndef";
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("unrelated"));
    assert!(!dump::c_of(&btf, &[]).unwrap().contains("struct"));
    assert!(!dump::c_of(&btf, &[TypeId(1000)]).unwrap().contains("struct"));
}

/// Names that C cannot have, names that are taken, and layouts that no C compiler makes: all of it still compiles.
#[test]
fn odd_names_and_layouts() {
    let mut t = Types::new();
    let int = t.int("int", 4, IntEncoding::Signed);
    let odd = t.int("u32<odd>", 4, IntEncoding::Unsigned);
    let long = t.int("long int", 4, IntEncoding::Signed);
    let half = t.add(Type::Float(Float {
        name: "_Float16".into(),
        size: 2,
    }));
    let first = t.structure("same", 8, &[("typeof", int, 0, 0), ("0", odd, 32, 0)]);
    let second = t.union("same", 4, &[("a", int, 0, 0), ("b", long, 0, 0)]);
    for ty in [first, second] {
        t.add(Type::Typedef(Typedef {
            name: "while".into(),
            ty,
        }));
    }
    t.add(Type::Fwd(Fwd {
        name: "same".into(),
        union: false,
    }));
    t.enumeration(4, false, &[("VALUE", 1), ("VALUE", 2), ("same", 3)]);
    let anonymous = t.structure("", 8, &[("x", half, 0, 0), ("y", int, 32, 0)]);
    t.structure(
        "embeds",
        40,
        &[
            ("", first, 0, 0),
            ("", anonymous, 64, 0),
            ("", int, 128, 0),
            ("last", int, 192, 0),
        ],
    );
    t.structure("overlaps", 8, &[("whole", int, 0, 0), ("part", int, 16, 0)]);
    t.structure("backwards", 8, &[("second", int, 32, 0), ("first", int, 0, 0)]);
    t.structure(
        "spread",
        1 << 20,
        &[("a", int, 3 << 15, 0), ("bit", int, (1 << 22) + 7, 1)],
    );
    let tag = t.add(Type::TypeTag(TypeTag {
        tag: "quo\"te\\".into(),
        ty: int,
        attribute: false,
    }));
    let pointer = t.add(Type::Ptr(tag));
    let evil = t.add(Type::TypeTag(TypeTag {
        tag: "unused)) int x; /*".into(),
        ty: pointer,
        attribute: true,
    }));
    t.structure("tagged", 16, &[("p", pointer, 0, 0), ("q", evil, 64, 0)]);
    let btf = t.btf();
    let text = dump::c(&btf).unwrap();
    for expected in [
        "typedef unsigned int u32_odd_;",
        "\tint typeof_;\n\tu32_odd_ _0;\n",
        "union same___2 {\n\tint a;\n\tint b;\n};",
        "typedef struct same while_;",
        "typedef union same___2 while____2;",
        "\tVALUE = 1,\n\tVALUE___2 = 2,\n\tsame = 3,\n",
        "struct overlaps {\n\t/* members overlap, or are out of order */\n\tlong: 64;\n}",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert!(!text.contains("int x;"), "{text}");
    if !have("clang-19") {
        return;
    }
    let source = file(
        "odd.c",
        format!("{text}\nstruct embeds a; struct overlaps b; struct backwards c; struct spread d;"),
    );
    let object = source.with_extension("o");
    let mut clang = Command::new("clang-19");
    output(
        clang
            .args(["-target", "bpf", "-g", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    );
    let made = Btf::parse(&section_of(&object, ".BTF").unwrap()).unwrap();
    for name in ["embeds", "overlaps", "backwards", "spread"] {
        let of = |btf: &Btf| btf.size_of(btf.find(Kind::Struct, name).unwrap());
        assert_eq!(of(&made), of(&btf), "{name}");
    }
    let members = |btf: &Btf, name: &str| {
        fields(
            btf,
            match btf.get(btf.find(Kind::Struct, name).unwrap()).unwrap() {
                Type::Struct(t) => t,
                _ => unreachable!(),
            },
        )
    };
    assert_eq!(members(&made, "spread"), members(&btf, "spread"));
    let places = |btf: &Btf| {
        members(btf, "embeds")
            .into_iter()
            .map(|(_, at, _)| at)
            .collect::<Vec<_>>()
    };
    assert_eq!(places(&made), places(&btf));
}

#[test]
fn what_c_cannot_declare_is_refused() {
    // A struct without a name that points to itself.
    let mut t = Types::new();
    let pointer = t.add(Type::Ptr(TypeId(2)));
    let anonymous = t.structure("", 8, &[("next", pointer, 0, 0)]);
    t.structure("s", 8, &[("a", anonymous, 0, 0)]);
    let error = dump::c(&t.btf()).unwrap_err();
    assert_eq!(error, DumpError::Cycle { id: anonymous });

    // A pointer to an array of the struct that it is in.
    let mut t = Types::new();
    let pointer = t.add(Type::Ptr(TypeId(2)));
    t.array(TypeId(3), 4);
    t.structure("s", 8, &[("p", pointer, 0, 0)]);
    assert!(matches!(dump::c(&t.btf()), Err(DumpError::Cycle { .. })));

    // Functions that take functions that take functions.
    let mut t = Types::new();
    let mut ty = TypeId::VOID;
    for _ in 0..100_000 {
        let param = Param {
            name: Name::default(),
            ty,
        };
        let proto = t.add(Type::FuncProto(FuncProto {
            ret: TypeId::VOID,
            params: vec![param],
        }));
        ty = t.add(Type::Ptr(proto));
    }
    t.add(Type::Typedef(Typedef { name: "f".into(), ty }));
    assert!(matches!(dump::c(&t.btf()), Err(DumpError::TooDeep { .. })));

    // Members of no name and no struct, which leave nothing in the text, in a union that is written often.
    let mut t = Types::new();
    let word = t.uint(4);
    let member = |name: &str, ty| Member {
        name: name.into(),
        ty,
        bit_offset: 0,
        bitfield_size: 0,
    };
    let inner = t.add(Type::Union(Composite {
        name: Name::default(),
        size: 4,
        members: vec![member("", word); 5000],
    }));
    t.add(Type::Union(Composite {
        name: "s".into(),
        size: 4,
        members: vec![member("a", inner); 5000],
    }));
    assert!(matches!(dump::c(&t.btf()), Err(DumpError::TooLarge { .. })));

    // Each struct without a name holds the one before twice.
    let mut t = Types::new();
    let mut inner = t.structure("", 0, &[]);
    for _ in 1..40 {
        inner = t.structure("", 0, &[("a", inner, 0, 0), ("b", inner, 0, 0)]);
    }
    t.structure("s", 0, &[("a", inner, 0, 0)]);
    assert!(matches!(dump::c(&t.btf()), Err(DumpError::TooLarge { .. })));
}

/// A chain of a hundred thousand typedefs through pointers to functions must not be walked by recursion.
#[test]
fn long_chains_are_no_deep_recursion() {
    const COUNT: u32 = 100_000;
    let mut t = Types::new();
    let mut ty = TypeId::VOID;
    for index in 0..COUNT {
        let param = Param {
            name: Name::default(),
            ty,
        };
        let proto = t.add(Type::FuncProto(FuncProto {
            ret: TypeId::VOID,
            params: vec![param],
        }));
        let pointer = t.add(Type::Ptr(proto));
        ty = t.add(Type::Typedef(Typedef {
            name: format!("f{index}").as_str().into(),
            ty: pointer,
        }));
    }
    let text = dump::c_of(&t.btf(), &[ty]).unwrap();
    assert_eq!(text.matches("typedef ").count() as u32, COUNT);
}
