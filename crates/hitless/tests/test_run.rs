//! Programs run by themselves: what is taken, what comes out, and which errno the rest gets.
#![cfg(not(hitless_model))]

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
