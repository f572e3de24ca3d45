//! `hitless gen header`.

mod common;

use std::process::Command;

use common::{V1, fails, fails_with_output, file, root, succeeds};

#[derive(hitless::Ctx)]
#[repr(C)]
struct Request {
    method: u32,
    peer: Peer,
    path: [u8; 16],
}

#[derive(hitless::BtfType)]
#[repr(C)]
struct Peer {
    port: u16,
    ipv6: bool,
}

/// The types of an application, as it would write them to a file: one for each test, since they run at once.
fn types_of_an_application(test: &str) -> String {
    let runtime = hitless::Runtime::default();
    let _hook = runtime.hook::<Request>("request");
    file(&format!("{test}.btf"), &runtime.btf().btf().to_bytes())
}

#[test]
fn what_hooks_pass_is_all_that_is_printed() {
    let types = types_of_an_application("what_hooks_pass_is_all_that_is_printed");
    let header = succeeds(&["gen", "header", "--btf", &types, "--guard", "APPLICATION_H"]);
    assert!(header.starts_with("// Made by hitless.\n"), "{header}");
    assert!(header.contains("//\tSEC(\"hook/request\") int NAME(struct request *ctx)\n#ifndef APPLICATION_H\n"));
    assert!(header.contains("struct request {\n\tu32 method;\n\tstruct peer peer;\n\tu8 path[16];\n};\n"));
    assert!(header.contains("struct peer {\n\tu16 port;\n\t_Bool ipv6;\n};\n"));
    assert!(!header.contains("xdp_md"), "{header}");
    let peer = succeeds(&["gen", "header", "--btf", &types, "--root", "peer"]);
    assert!(peer.contains("struct peer {") && !peer.contains("request"), "{peer}");
}

#[test]
fn the_runtime_has_types_of_its_own() {
    let header = succeeds(&["gen", "header"]);
    assert!(header.contains("struct xdp_md {") && header.contains("BPF_MAP_TYPE_HASH = 1"));
    let header = succeeds(&["gen", "header", "--btf", V1, "--root", "flow_stats"]);
    assert!(header.contains("struct flow_stats {") && !header.contains("flow_key"));
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(
        fails(&["gen", "header", "--root", "request"]),
        "the runtime: no type request"
    );
    assert!(fails(&["gen", "header", "--btf", "Makefile"]).contains("Makefile"));
}

/// What an application's hooks take is verified without the application, from its types alone.
#[test]
fn plugins_are_verified_by_the_types() {
    let types = types_of_an_application("plugins_are_verified_by_the_types");
    let object = "bpf/host_hook.bpf.o";
    let text = succeeds(&["prog", "verify", "--target-btf", &server_types(), "bpf/filter_v1.bpf.o"]);
    assert!(text.contains("prog filter: accepted"), "{text}");
    let (text, _) = fails_with_output(&["prog", "verify", "--target-btf", &types, object, "elsewhere"]);
    assert!(
        text.contains("the application has no such hook, only hook/request"),
        "{text}"
    );
    let (text, _) = fails_with_output(&["prog", "verify", object, "filter"]);
    assert!(text.contains("give those of the one that the program is for"), "{text}");
    // It writes members that are not writable in this application.
    let (text, _) = fails_with_output(&["prog", "verify", "--target-btf", &types, object, "refused"]);
    assert!(text.contains("invalid bpf_context access off=0 size=4"), "{text}");
}

/// The types of the example server.
fn server_types() -> String {
    #[derive(hitless::Ctx)]
    #[repr(C)]
    #[hitless(name = "request")]
    struct ServerRequest<'a> {
        client: u32,
        trusted: u32,
        now_ns: u64,
        path: hitless::context::Bytes<'a>,
    }
    let runtime = hitless::Runtime::default();
    let _hook = runtime.hook::<ServerRequest>("request");
    file("server.btf", &runtime.btf().btf().to_bytes())
}

/// A plugin that includes the header, and hitless.h, compiles to an object whose accesses are relocated.
#[test]
fn plugins_compile_with_it() {
    const PLUGIN: &str = "#include \"hitless.h\"\n#include \"application.h\"\n\
        SEC(\"hook/request\") int filter(struct request *ctx) { return ctx->method + ctx->peer.port; }\n\
        char LICENSE[] SEC(\"license\") = \"GPL\";\n";
    let types = types_of_an_application("plugins_compile_with_it");
    file(
        "application.h",
        succeeds(&["gen", "header", "--btf", &types]).as_bytes(),
    );
    let source = file("plugin.bpf.c", PLUGIN.as_bytes());
    let object = source.replace(".c", ".o");
    let clang = Command::new("clang-19")
        .args([
            "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-Ibpf", "-c", &source, "-o", &object,
        ])
        .current_dir(root())
        .output();
    match clang {
        Err(error) => return eprintln!("skipped: clang-19: {error}"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
    let runtime = hitless::Runtime::default();
    let hook = runtime.hook::<Request>("request");
    let plugin = hitless::Object::open(&object).unwrap().load(&runtime).unwrap();
    let _link = runtime.attach(&hook, plugin.program("filter").unwrap()).unwrap();
    let peer = Peer { port: 80, ipv6: true };
    let mut request = Request {
        method: 7,
        peer,
        path: [0; 16],
    };
    assert_eq!(hook.run(&mut request), Ok(87));
}
