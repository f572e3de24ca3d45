//! Tail calls through a prog array, on both engines.
#![cfg(not(hitless_model))]

mod common;

use std::sync::Arc;

use common::{ARRAY, committed, map, program, with};
use hitless::{
    Collection, Engine, Map, MapError, Options, Packet, Program, Runtime, TestRun, UpdateFlags, Xdp, XdpAction,
};
use hitless_object::{MapSpec, ObjectSpec};

/// Adds 1 to the only element of `count`, through a pointer, and goes on with what is at 0.
const AGAIN: &str = "
    r6 = r1
    *(u32 *)(r10 -4) = 0
    r1 = map[idx:1]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
    r1 = r6
    r2 = map[idx:0]
    r3 = 0
    call bpf_tail_call#12
out:
    r0 = 2
    exit";

/// Goes on with what is at 1 in a subprogram, and passes on what that returns, less one.
const NESTED: &str = "
    r6 = r1
    call jump
    r7 = r0
    r1 = r6
    call jump
    if r0 != r7 goto out
    r0 += -1
    exit
out:
    r0 = 0
    exit
jump:
    r2 = map[idx:0]
    r3 = 1
    call bpf_tail_call#12
    r0 = 4
    exit";

/// Counts, and goes on in a subprogram's subprogram with what is at 1: if that is this one, deeper and deeper.
const DEEPER: &str = "
    r6 = r1
    *(u32 *)(r10 -4) = 0
    r1 = map[idx:1]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
    r1 = r6
    call within
    exit
out:
    r0 = 0
    exit
within:
    call jump
    r0 += 1
    exit
jump:
    r2 = map[idx:0]
    r3 = 1
    call bpf_tail_call#12
    r0 = 0
    exit";

const PASS: &str = "r0 = 2\n exit";

/// Counts in the map of that index that it ran.
const COUNT: &str = "
    *(u32 *)(r10 -4) = 0
    r1 = map[idx:2]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
out:
    r0 = 0
    exit";

/// A map of two elements.
fn two(name: &str, map_type: u32, value_size: u32) -> MapSpec {
    MapSpec {
        map_type,
        value_size,
        ..map(name, 2)
    }
}

fn object() -> ObjectSpec {
    const PROG_ARRAY: u32 = 3;
    with(
        vec![
            two("jumps", PROG_ARRAY, 4),
            two("count", ARRAY, 8),
            two("seen", ARRAY, 8),
        ],
        vec![
            program("again", "xdp", AGAIN),
            program("nested", "xdp", NESTED),
            program("deeper", "xdp", DEEPER),
            program("pass", "xdp", PASS),
            program("tracer", "map_trace/count/UPDATE_ELEM", COUNT),
        ],
    )
}

struct Scene {
    runtime: Runtime,
    object: Collection,
}

impl Scene {
    fn new(engine: Engine) -> Scene {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let object = runtime.load(&object()).expect("it loads");
        Scene { runtime, object }
    }

    fn program(&self, name: &str) -> &Arc<Program> {
        self.object.program(name).expect("it is there")
    }

    fn map(&self, name: &str) -> &Arc<Map> {
        self.object.map(name).expect("it is there")
    }

    fn run(&self, name: &str) -> XdpAction {
        let hook = self.runtime.hook::<Xdp>("xdp");
        let link = self.runtime.attach(&hook, self.program(name)).expect("it attaches");
        let action = hook.run(&mut Packet::new(&mut [0; 60])).expect("it runs");
        link.detach().expect("it detaches");
        action
    }

    fn jump(&self, index: u32, name: &str) {
        self.map("jumps")
            .insert_program(index, self.program(name))
            .expect("it fits");
    }

    /// The first number in a map.
    fn number(&self, map: &str) -> u64 {
        let value = self
            .map(map)
            .lookup(&[0; 4])
            .expect("of that size")
            .expect("it is there");
        u64::from_ne_bytes(value.try_into().expect("eight bytes"))
    }
}

#[test]
fn programs_go_on_with_others() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let scene = Scene::new(engine);
        assert_eq!((scene.run("again"), scene.number("count")), (XdpAction::Pass, 1));
        scene.jump(0, "again");
        assert_eq!((scene.run("again"), scene.number("count")), (XdpAction::Pass, 35));
        assert_eq!(scene.run("nested"), XdpAction::Tx);
        scene.jump(1, "pass");
        assert_eq!(scene.run("nested"), XdpAction::Drop);
        // 33 in all: the second subprogram finds that they are used up.
        scene.map("count").update(&[0; 4], &[0; 8], UpdateFlags::ANY).unwrap();
        scene.jump(1, "again");
        assert_eq!((scene.run("nested"), scene.number("count")), (XdpAction::Aborted, 33));
    }
}

/// Each of them has frames of its own: there are a hundred at once in the end.
#[test]
fn subprograms_go_on_deeper_and_deeper() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let scene = Scene::new(engine);
        scene.jump(1, "deeper");
        let hook = scene.runtime.hook::<Xdp>("xdp");
        let deeper = scene.program("deeper");
        let _link = scene.runtime.attach(&hook, deeper).unwrap();
        hook.run(&mut Packet::new(&mut [0; 60])).unwrap();
        assert_eq!(scene.number("count"), 34);
        let run = TestRun {
            data_in: &[0; 60],
            ..TestRun::default()
        };
        assert_eq!(scene.runtime.test_run(deeper, &run).unwrap().retval, 34);
    }
}

#[test]
fn programs_of_a_chain_are_traced() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let scene = Scene::new(engine);
        scene.jump(0, "again");
        let link = scene
            .runtime
            .trace_map(scene.map("count"), scene.program("tracer"))
            .unwrap();
        assert!(scene.program("again").is_traced() && !scene.program("nested").is_traced());
        scene.run("again");
        assert_eq!((scene.number("count"), scene.number("seen")), (34, 34));
        // A writer that another program has gone on with.
        scene.jump(1, "again");
        scene.run("nested");
        assert_eq!((scene.number("count"), scene.number("seen")), (67, 67));
        link.detach().unwrap();
        scene.run("again");
        assert_eq!((scene.number("count"), scene.number("seen")), (101, 67));
    }
}

#[test]
fn programs_of_another_type_do_not_fit() {
    let scene = Scene::new(Engine::Compiler);
    scene.jump(0, "pass");
    assert_eq!(
        scene.map("jumps").insert_program(1, scene.program("tracer")),
        Err(MapError::IncompatibleProgram)
    );
    let other = Runtime::default();
    let foreign = other.load(&committed("functions")).unwrap();
    let foreign = foreign.program("context").unwrap();
    assert_eq!(
        scene.map("jumps").insert_program(1, foreign),
        Err(MapError::OtherRuntime)
    );
}
