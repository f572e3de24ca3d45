//! Programs as the RFC "Introduce BPF map tracing" has them, compiled against the runtime's own types.
#![cfg(not(hitless_model))]

use std::path::Path;
use std::process::Command;

use hitless::{Map, Packet, Runtime, Xdp, XdpAction, c_header};
use hitless_btf::Type;
use hitless_object::ObjectSpec;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rfc/map_trace.bpf.c");
/// The directory of `hitless.h`.
const HEADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bpf");

/// All types of a runtime as a header that keeps itself from being included twice by this name.
fn types(guard: &str) -> String {
    let runtime = Runtime::default();
    let btf = runtime.btf();
    let is_declared = |ty: &Type| matches!(ty, Type::Struct(_) | Type::Typedef(_) | Type::Enum(_) | Type::Enum64(_));
    let types = btf.btf().types().filter(|(_, ty)| is_declared(ty));
    let roots: Vec<_> = types.map(|(id, _)| id).collect();
    c_header(btf.btf(), &roots, guard).expect("the types are C")
}

/// Compiles a source with a header beside it; `None`, saying why, if there is no clang for it.
fn compile(source: &str, test: &str, (header, text): (&str, &str)) -> Option<Vec<u8>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join(header), text).expect("a header");
    let object = dir.join("out.bpf.o");
    let clang = Command::new("clang-19")
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror"])
        .arg(format!("-I{}", dir.display()))
        .arg(format!("-I{HEADERS}"))
        .args(["-c", source, "-o"])
        .arg(&object)
        .output();
    let output = match clang {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: clang-19: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(object).expect("an object"))
}

fn entries(map: &Map) -> Vec<(u32, u32)> {
    let word = |bytes: Vec<u8>| u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
    let entries = map.entries().expect("entries").into_iter();
    entries.map(|(key, value)| (word(key), word(value))).collect()
}

#[test]
fn its_programs_compile_and_attach_as_they_are() {
    if !Path::new("/usr/include/bpf/bpf_helpers.h").exists() {
        return println!("skipped: no headers of libbpf");
    }
    let types = types("__VMLINUX_H__");
    let Some(object) = compile(SOURCE, "rfc", ("vmlinux.h", &types)) else {
        return;
    };
    let spec = ObjectSpec::parse(&object).expect("an object");
    let runtime = Runtime::default();
    let object = runtime.load(&spec).expect("it loads");
    let traced = object.map("traced_map").expect("a map");
    let program = |name| object.program(name).expect("a program");
    let hook = runtime.hook::<Xdp>("xdp");
    let _links = [
        runtime.trace_map(traced, program("tracer_update")).expect("attaches"),
        runtime.trace_map(traced, program("tracer_delete")).expect("attaches"),
        runtime.attach(&hook, program("writer")).expect("attaches"),
    ];
    assert_eq!(hook.run(&mut Packet::new(&mut [0; 64])), Ok(XdpAction::Pass));
    assert_eq!(entries(traced), [(2, 7)]);
    assert_eq!(entries(object.map("tracer_map").expect("a map")), [(2, 7)]);
}

/// The header of this project may follow the runtime's types, which have map tracing, and those of a kernel, which do not.
#[test]
fn hitless_h_goes_beside_other_types() {
    const TRACER: &str = "\
#include \"vmlinux.h\"
#include \"hitless.h\"
u64 seen = 0;
MAP_TRACE(m, UPDATE_ELEM) int tracer(struct bpf_map_trace_ctx__update_elem *ctx)
{
	u32 *key = ctx->key;

	if (key && *key == BPF_MAP_TRACE_DELETE_ELEM && ctx->flags == BPF_EXIST)
		seen++;
	return 0;
}
char LICENSE[] SEC(\"license\") = \"GPL\";
";
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("beside.bpf.c");
    std::fs::write(&source, TRACER).expect("a source");
    let ours = types("__HITLESS_TYPES_H__");
    let linux = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2, BPF_F_LOCK = 4 };
struct bpf_spin_lock { u32 val; };
struct xdp_md { u32 data; };
enum xdp_action { XDP_ABORTED = 0, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };
#endif
";
    for (test, header) in [("beside_ours", ours.as_str()), ("beside_linux", linux)] {
        let source = source.to_str().expect("a path");
        let Some(object) = compile(source, test, ("vmlinux.h", header)) else {
            return;
        };
        let spec = ObjectSpec::parse(&object).expect("an object");
        assert!(Runtime::default().load(&spec).is_ok(), "{test}");
    }
}
