//! Values that each thread has of its own, made by a program and read by the host.
#![cfg(not(hitless_model))]

mod common;

use common::Host;
use hitless::{Engine, MapError, Options, Packet, Runtime, UpdateFlags, Xdp, XdpAction};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

/// Counts in the value of the current thread.
const COUNT: &str = "
    call bpf_get_current_task_btf#158
    r1 = map[idx:0]
    r2 = r0
    r3 = 0
    r4 = 1
    call bpf_task_storage_get#156
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
    r0 = 2
out:
    exit
";

/// Returns 2 if both helpers name the same task, and there is one.
const SAME: &str = "
    call bpf_get_current_task#35
    r6 = r0
    call bpf_get_current_task_btf#158
    r7 = r0
    r0 = 1
    if r6 == 0 goto out
    if r6 != r7 goto out
    r0 = 2
out:
    exit
";

fn object(program: &str) -> ObjectSpec {
    let map = MapSpec {
        name: "counts".into(),
        map_type: 29,
        key_size: 4,
        value_size: 8,
        flags: 1,
        ..MapSpec::default()
    };
    let program = ProgramSpec {
        name: "count".into(),
        section: "xdp".into(),
        insns: hitless_isa::asm::assemble(program).expect("the program assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "GPL".into(),
        maps: vec![map],
        programs: vec![program],
        ..ObjectSpec::default()
    }
}

fn own_id() -> [u8; 4] {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }.to_ne_bytes()
}

fn count(host: &Host) -> Option<u64> {
    let value = host.map().lookup(&own_id()).unwrap()?;
    Some(u64::from_ne_bytes(value.try_into().unwrap()))
}

fn run(host: &Host) {
    host.hook.run(&mut Packet::new(&mut [0; 64])).unwrap();
}

#[test]
fn each_thread_has_a_value() {
    let host = Host::new(&object(COUNT), None);
    assert_eq!(count(&host), None);
    for turns in 1..4 {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    (0..turns).for_each(|_| run(&host));
                    assert_eq!(count(&host), Some(turns), "a value that another thread has left");
                });
            }
        });
    }
    assert_eq!(count(&host), None);
    // Those of threads that are gone are not shown. A thread that was joined may still be on its way out.
    while !host.map().entries().unwrap().is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn the_host_may_begin() {
    let host = Host::new(&object(COUNT), None);
    host.map()
        .update(&own_id(), &40u64.to_ne_bytes(), UpdateFlags::NOEXIST)
        .unwrap();
    run(&host);
    run(&host);
    assert_eq!(count(&host), Some(42));
    assert_eq!(
        host.map().update(&own_id(), &[0; 8], UpdateFlags::NOEXIST),
        Err(MapError::Exists)
    );
    host.map().delete(&own_id()).unwrap();
    assert_eq!(host.map().delete(&own_id()), Err(MapError::NotFound));
    let nobody = u32::MAX / 2;
    let refused = host.map().update(&nobody.to_ne_bytes(), &[0; 8], UpdateFlags::ANY);
    assert_eq!(refused, Err(MapError::NoThread { thread: nobody }));
}

#[test]
fn the_current_task_has_one_address() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let object = runtime.load(&object(SAME)).expect("the object loads");
        let hook = runtime.hook::<Xdp>("xdp");
        let _link = runtime
            .attach(&hook, &object.programs()[0])
            .expect("the program attaches");
        assert_eq!(hook.run(&mut Packet::new(&mut [0; 64])), Ok(XdpAction::Pass));
    }
}
