//! Sources of large objects, each of which strains another part of the loader.

use std::fmt::Write;

const PRELUDE: &str = r#"
#define SEC(name) __attribute__((section(name), used))
#define __noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
typedef unsigned u32;
typedef unsigned long long u64;
static void *(*const lookup)(void *map, const void *key) = (void *)1;
static u64 counters[1000];
const volatile u64 config[8] = {1};
char _license[] SEC("license") = "GPL";
"#;

/// Names and sources.
pub(crate) fn all() -> [(&'static str, String); 3] {
    [("programs", programs()), ("symbols", symbols()), ("maps", maps())]
}

/// Long programs with CO-RE relocations, which share subprograms.
fn programs() -> String {
    let mut out = PRELUDE.to_owned();
    out.push_str("struct ctx { u64 a, b; struct { u32 x; } in; } __attribute__((preserve_access_index));\n");
    for i in 0..200 {
        let next = if i % 8 == 0 {
            "0".into()
        } else {
            format!("sub{}(x + {i})", i - 1)
        };
        let _ = writeln!(
            out,
            "static __noinline int sub{i}(int x) {{ counters[{i}] += x; return {next}; }}"
        );
    }
    for i in 0..100 {
        let _ = writeln!(out, "SEC(\"xdp\") int prog{i}(struct ctx *c) {{ int r = 0;");
        for j in 0..18 {
            let (counter, sub) = ((i + j) % 64, (i * 3 + j) % 200);
            let _ = writeln!(
                out,
                "if (c->in.x == {}) {{ counters[{counter}] += c->b + config[{}]; r += sub{sub}(c->a); }}",
                i + j,
                j % 8
            );
        }
        out.push_str("return r; }\n");
    }
    out
}

/// Many short functions in sections of their own, and many externs.
fn symbols() -> String {
    let mut out = PRELUDE.to_owned();
    for i in 0..900 {
        let _ = writeln!(
            out,
            "extern int kfunc{i}(int x) __ksym; extern u32 CONFIG_{i} __kconfig __weak;"
        );
        let _ = writeln!(
            out,
            "static __noinline int sub{i}(int x) {{ counters[{i}] += x; return kfunc{i}(x) + CONFIG_{i}; }}"
        );
        let _ = writeln!(
            out,
            "SEC(\"kprobe/function_{i}\") int prog{i}(void *c) {{ return sub{i}(1) + sub{}(2); }}",
            i * 7 % (i + 1)
        );
    }
    out
}

/// Many maps, each with a type of its own.
fn maps() -> String {
    let mut out = PRELUDE.to_owned();
    for i in 0..1500 {
        let _ = writeln!(
            out,
            "struct value{i} {{ u64 sum{i}, count{i}; u32 recent{i}[{}]; }};",
            i % 7 + 1
        );
        let _ = writeln!(
            out,
            "struct {{ __uint(type, 1); __uint(max_entries, {}); __type(key, u32); __type(value, struct value{i}); }} \
             map{i} SEC(\".maps\");",
            i + 1
        );
        let _ = writeln!(
            out,
            "static __noinline int sub{i}(void) {{ u32 k = {i}; struct value{i} *v = lookup(&map{i}, &k); if (v) \
             v->sum{i}++; return 0; }}"
        );
    }
    out.push_str("SEC(\"xdp\") int all(void *c) { int r = 0;\n");
    (0..1500).for_each(|i| _ = writeln!(out, "r += sub{i}();"));
    out.push_str("return r; }\n");
    out
}
