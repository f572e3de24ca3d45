//! Open-coded iterators: kernel functions of the runtime, from C to a run, on both engines.
#![cfg(not(hitless_model))]

mod common;

use common::committed;
use hitless::{Engine, Options, Packet, Runtime, Xdp, XdpAction};

#[test]
fn iterators_go_through_their_numbers() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let object = runtime.load(&committed("iterators")).unwrap();
        for program in object.programs() {
            let hook = runtime.hook::<Xdp>(program.name());
            let _link = runtime.attach(&hook, program).unwrap();
            let action = hook.run(&mut Packet::new(&mut [0; 60])).unwrap();
            assert_eq!(action, XdpAction::Tx, "{} ({engine:?})", program.name());
        }
    }
}
