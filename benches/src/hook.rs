//! Calls of hooks: with programs that do nothing, and with none.

use std::hint::black_box;
use std::sync::Arc;

use hitless::context::{SkBuff, Tc};
use hitless::{Hook, Link, Packet, Runtime, Xdp};
use hitless_object::{ObjectSpec, ProgramSpec};

use crate::Case;

/// Packets in a batch.
const BATCH: usize = 64;

/// Hooks with an empty program, and one with none.
struct Scene {
    none: Hook<Xdp>,
    xdp: Hook<Xdp>,
    tc: Hook<Tc>,
    _links: [Link; 2],
    _runtime: Runtime,
}

impl Scene {
    fn new() -> Scene {
        let runtime = Runtime::default();
        let program = |name: &str, section: &str| ProgramSpec {
            name: name.into(),
            section: section.into(),
            insns: hitless_isa::asm::assemble("r0 = 2\nexit").expect("the program assembles"),
            autoload: true,
            ..ProgramSpec::default()
        };
        let spec = ObjectSpec {
            programs: vec![program("pass", "xdp"), program("shot", "tc")],
            ..ObjectSpec::default()
        };
        let object = runtime.load(&spec).expect("the programs load");
        let (xdp, tc) = (runtime.hook("empty"), runtime.hook("empty"));
        let attached = "the program is attached";
        Scene {
            none: runtime.hook("none"),
            _links: [
                runtime.attach(&xdp, &object.programs()[0]).expect(attached),
                runtime.attach(&tc, &object.programs()[1]).expect(attached),
            ],
            xdp,
            tc,
            _runtime: runtime,
        }
    }
}

/// A call of each sort; a batch counts as so many calls as it has packets.
///
/// # Panics
/// Never: the programs load.
#[must_use]
pub fn cases() -> Vec<Case> {
    let scene = Arc::new(Scene::new());
    let case = |name, run: fn(&Scene, u32)| {
        let scene = Arc::clone(&scene);
        Case::new(name, move |calls| run(&scene, calls))
    };
    vec![
        case("Hook::run, no program", |scene, calls| xdp(&scene.none, calls)),
        case("Hook::run, XDP", |scene, calls| xdp(&scene.xdp, calls)),
        case("Hook::run, tc", |scene, calls| {
            let mut frame = [0; 64];
            let mut packet = SkBuff::new(&mut frame);
            for _ in 0..calls {
                let _ = black_box(scene.tc.run(black_box(&mut packet)));
            }
        }),
        case("Hook::run_batch, XDP", |scene, calls| {
            let mut frames = [[0; 64]; BATCH];
            let mut packets: Vec<_> = frames.iter_mut().map(|frame| Packet::new(frame)).collect();
            for _ in 0..calls / BATCH as u32 {
                let result = scene.xdp.run_batch(black_box(&mut packets), |_, verdict| {
                    let _ = black_box(verdict);
                });
                let _ = black_box(result);
            }
        }),
    ]
}

fn xdp(hook: &Hook<Xdp>, calls: u32) {
    let mut frame = [0; 64];
    let mut packet = Packet::new(&mut frame);
    for _ in 0..calls {
        let _ = black_box(hook.run(black_box(&mut packet)));
    }
}
