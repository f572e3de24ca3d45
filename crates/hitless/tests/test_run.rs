//! Programs run by themselves: what is taken, what comes out, and which errno the rest gets.
#![cfg(not(hitless_model))]

mod common;

use std::sync::Arc;

use hitless::{Program, Runtime, TestResult, TestRun, TestRunError};
use hitless_object::{ObjectSpec, ProgramSpec};

fn program(runtime: &Runtime, section: &str, text: &str) -> Arc<Program> {
    let spec = ObjectSpec {
        programs: vec![ProgramSpec {
            name: "p".into(),
            section: section.into(),
            insns: hitless_isa::asm::assemble(text).expect("the program assembles"),
            autoload: true,
            ..ProgramSpec::default()
        }],
        ..ObjectSpec::default()
    };
    Arc::clone(&runtime.load(&spec).expect("the program loads").programs()[0])
}

fn run(section: &str, text: &str, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
    let runtime = Runtime::default();
    runtime.test_run(&program(&runtime, section, text), run)
}

fn errno(section: &str, text: &str, test: &TestRun<'_>) -> i32 {
    run(section, text, test).expect_err("is refused").errno()
}

const RETURN_LEN: &str = "r0 = *(u32 *)(r1 +0)\nexit";
const PACKET: TestRun<'static> = TestRun {
    data_in: &[0; 64],
    data_size_out: None,
    ctx_in: None,
    ctx_size_out: None,
    repeat: 0,
    cpu: 0,
    batch_size: 0,
    flags: 0,
};

#[test]
fn packets_begin_where_the_kernel_has_them_begin() {
    let with_link_layer = run("tc", RETURN_LEN, &PACKET).unwrap();
    assert_eq!((with_link_layer.retval, with_link_layer.data_out.len()), (64, 64));
    let without = run("socket", RETURN_LEN, &PACKET).unwrap();
    assert_eq!((without.retval, without.data_out.len()), (50, 64));
    let repeated = TestRun { repeat: 10, ..PACKET };
    // mark += 1
    let count = "r2 = *(u32 *)(r1 +8)\nr2 += 1\n*(u32 *)(r1 +8) = r2\nr0 = r2\nexit";
    assert_eq!(run("tc", count, &repeated).unwrap().retval, 10);
}

#[test]
fn the_context_goes_in_and_out() {
    let mut ctx = [0; 200];
    ctx[8] = 5;
    ctx[48] = 9;
    let test = TestRun {
        ctx_in: Some(&ctx),
        ..PACKET
    };
    let text = "r2 = *(u32 *)(r1 +8)\n*(u32 *)(r1 +32) = r2\nr0 = *(u32 *)(r1 +160)\nexit";
    let result = run("tc", text, &test).unwrap();
    assert_eq!((result.retval, result.ctx_out.len()), (64, 192));
    assert_eq!((result.ctx_out[32], result.ctx_out[48], result.ctx_out[40]), (5, 9, 1));
}

#[test]
fn xdp_has_metadata_before_the_packet() {
    let mut ctx = [0; 24];
    (ctx[0], ctx[4]) = (8, 64);
    let test = TestRun {
        ctx_in: Some(&ctx),
        ..PACKET
    };
    // data - data_meta
    let text = "r0 = *(u32 *)(r1 +0)\nr2 = *(u32 *)(r1 +8)\nr0 -= r2\nexit";
    let result = run("xdp", text, &test).unwrap();
    assert_eq!(
        (
            result.retval,
            result.data_out.len(),
            result.ctx_out[0],
            result.ctx_out[4]
        ),
        (8, 64, 8, 64)
    );
    for (index, value) in [(0, 6), (4, 63), (8, 1), (16, 1), (20, 1)] {
        let mut wrong = ctx;
        wrong[index] = value;
        let test = TestRun {
            ctx_in: Some(&wrong),
            ..PACKET
        };
        assert_eq!(errno("xdp", "r0 = 2\nexit", &test), libc::EINVAL, "{index}");
    }
}

#[test]
fn what_is_wrong_has_the_errno_of_the_kernel() {
    let refused = |test: TestRun<'_>| ["xdp", "tc", "socket"].map(|section| errno(section, "r0 = 0\nexit", &test));
    assert_eq!(
        refused(TestRun {
            data_in: &[0; 13],
            ..PACKET
        }),
        [libc::EINVAL; 3]
    );
    assert_eq!(
        refused(TestRun {
            data_in: &[0; 4096],
            ..PACKET
        }),
        [libc::EINVAL; 3]
    );
    assert_eq!(refused(TestRun { flags: 4, ..PACKET }), [libc::EINVAL; 3]);
    assert_eq!(
        refused(TestRun {
            batch_size: 1,
            ..PACKET
        }),
        [libc::EINVAL; 3]
    );
    assert_eq!(
        refused(TestRun {
            data_size_out: Some(63),
            ..PACKET
        }),
        [libc::ENOSPC; 3]
    );
    let tail = [1; 200];
    assert_eq!(
        refused(TestRun {
            ctx_in: Some(&tail),
            ..PACKET
        }),
        [libc::E2BIG; 3]
    );
    // A field that cannot be set.
    let mut ctx = [0; 192];
    ctx[0] = 1;
    let test = TestRun {
        ctx_in: Some(&ctx),
        ..PACKET
    };
    assert_eq!(errno("tc", "r0 = 0\nexit", &test), libc::EINVAL);
    let live = TestRun {
        flags: TestRun::XDP_LIVE_FRAMES,
        ..PACKET
    };
    assert!(matches!(
        run("xdp", "r0 = 0\nexit", &live),
        Err(TestRunError::NotSupported { .. })
    ));
    assert_eq!(errno("kprobe/f", "r0 = 0\nexit", &PACKET), 524);
}

/// Keeps an argument, which `{off}` says, in a map.
const KEEP: &str = "
    r6 = *(u64 *)(r1 +{off})
    *(u32 *)(r10 -4) = 0
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    *(u64 *)(r0 +0) = r6
out:
    r0 = 0
    exit";

#[test]
fn functions_are_called_for_programs_that_are_attached_to_them() {
    let keep = |off: u32| KEEP.replace("{off}", &off.to_string());
    for (section, text, kept) in [
        ("fentry/bpf_fentry_test2", keep(8), 3),
        ("fexit/bpf_fentry_test6", keep(48), 111),
        ("fexit/bpf_modify_return_test2", keep(56), 0),
    ] {
        let runtime = Runtime::default();
        let spec = common::with(vec![common::map("kept", 1)], vec![common::program("p", section, &text)]);
        let mut spec = spec;
        spec.maps[0].map_type = common::ARRAY;
        let object = runtime.load(&spec).unwrap();
        let program = object.program("p").unwrap();
        let test = TestRun::default();
        assert_eq!(runtime.test_run(program, &test).unwrap().retval, 0);
        let value = || object.map("kept").unwrap().lookup(&[0; 4]).unwrap().unwrap();
        assert_eq!(value(), [0; 8], "it is not attached");
        let _link = runtime.attach_by_section(program).unwrap();
        assert_eq!(runtime.test_run(program, &test).unwrap().retval, 0);
        assert_eq!(value(), u64::to_ne_bytes(kept), "{section}");
        let refused = runtime.test_run(program, &TestRun { flags: 1, ..test }).unwrap_err();
        assert_eq!(refused.errno(), libc::EINVAL);
    }
}

#[test]
fn programs_decide_what_functions_return() {
    let runtime = Runtime::default();
    let test = TestRun::default();
    let modify = program(&runtime, "fmod_ret/bpf_modify_return_test", "r0 = 7\nexit");
    // Both functions run: 4 and 29.
    assert_eq!(runtime.test_run(&modify, &test).unwrap().retval, 2 << 16 | 33);
    let link = runtime.attach_by_section(&modify).unwrap();
    assert_eq!(runtime.test_run(&modify, &test).unwrap().retval, 1 << 16 | 36);
    link.detach().unwrap();
    assert_eq!(runtime.test_run(&modify, &test).unwrap().retval, 2 << 16 | 33);
    runtime.describe(|types| {
        let word = types.unsigned(8);
        let proto = types.add(hitless::btf::Type::FuncProto(hitless::btf::FuncProto {
            ret: hitless::btf::TypeId::VOID,
            params: ["", "value"]
                .map(|name| hitless::btf::Param {
                    name: name.into(),
                    ty: word,
                })
                .to_vec(),
        }));
        let pointer = types.pointer(proto);
        types.typedef("btf_trace_hitless_event", pointer);
    });
    let observer = program(&runtime, "tp_btf/hitless_event", "r0 = 0\nexit");
    assert_eq!(runtime.test_run(&observer, &test).unwrap_err().errno(), libc::EFAULT);
}

#[test]
fn calls_and_raw_tracepoints_get_the_context_alone() {
    let text = "r2 = *(u32 *)(r1 +4)\n*(u32 *)(r1 +0) = r2\nr0 = 3\nexit";
    let ctx = [0, 0, 0, 0, 7, 0, 0, 0];
    let test = TestRun {
        ctx_in: Some(&ctx),
        ..TestRun::default()
    };
    let result = run("syscall", text, &test).unwrap();
    assert_eq!((result.retval, &result.ctx_out[..]), (3, &[7, 0, 0, 0, 7, 0, 0, 0][..]));
    let short = TestRun {
        ctx_in: Some(&ctx[..4]),
        ..TestRun::default()
    };
    assert_eq!(errno("syscall", text, &short), libc::EINVAL);
    assert_eq!(errno("syscall", text, &TestRun { repeat: 1, ..test }), libc::EINVAL);
    assert_eq!(errno("syscall", text, &PACKET), libc::EINVAL);
    let raw = "r0 = *(u64 *)(r1 +0)\nr0 >>= 32\nexit";
    assert_eq!(run("raw_tp", raw, &test).unwrap().retval, 7);
    assert_eq!(errno("raw_tp", raw, &TestRun { cpu: 1, ..test }), libc::EINVAL);
    let far = TestRun {
        cpu: 1 << 20,
        flags: TestRun::RUN_ON_CPU,
        ..test
    };
    assert_eq!(errno("raw_tp", raw, &far), libc::ENXIO);
}
