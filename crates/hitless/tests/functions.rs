//! Global functions and loops of `may_goto`: from C, by way of BTF, to a run.
#![cfg(not(hitless_model))]

mod common;

use common::committed;
use hitless::{LoadError, Packet, Runtime, Xdp, XdpAction};

#[test]
fn programs_that_call_them_run() {
    let runtime = Runtime::default();
    let object = runtime.load(&committed("functions")).unwrap();
    for program in ["stack_memory", "context", "forever"] {
        let hook = runtime.hook::<Xdp>("xdp");
        let link = runtime.attach(&hook, object.program(program).unwrap()).unwrap();
        let action = hook.run(&mut Packet::new(&mut [0; 60])).unwrap();
        link.detach().unwrap();
        assert_eq!(action, XdpAction::Tx, "{program}");
    }
}

#[test]
fn they_are_verified_for_any_arguments() {
    let mut spec = committed("functions");
    spec.programs.retain_mut(|program| {
        program.autoload = true;
        program.name == "unguarded"
    });
    let Err(LoadError::Rejected { source, .. }) = Runtime::default().load(&spec) else {
        panic!("loaded");
    };
    assert_eq!(source.errors[0].message, "R1 invalid mem access 'mem_or_null'");
}
