//! Hooks of the host's own: a struct in Rust, described as data, is the context of programs in C.
#![cfg(not(hitless_model))]

mod common;

use std::ops::ControlFlow;

use common::committed;
use hitless::btf::{Builder, TypeId};
use hitless::context::{BytesMut, Context};
use hitless::{AttachError, BtfType, Ctx, LoadError, Options, Runtime, Xdp};

#[derive(BtfType)]
#[repr(C)]
struct Peer {
    port: u16,
    address: [u8; 4],
}

#[derive(Ctx)]
#[repr(C)]
struct Request<'a> {
    method: u32,
    #[hitless(writable)]
    status: u32,
    peer: Peer,
    path: [u8; 16],
    #[hitless(writable)]
    body: BytesMut<'a>,
}

fn request<'a>(method: u32, path: [u8; 16], body: &'a mut [u8]) -> Request<'a> {
    Request {
        method,
        status: 200,
        peer: Peer {
            port: 443,
            address: [10, 0, 0, 1],
        },
        path,
        body: BytesMut::new(body),
    }
}

#[test]
fn programs_get_the_struct() {
    for engine in [hitless::Engine::Compiler, hitless::Engine::Interpreter] {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let hook = runtime.hook::<Request<'static>>("request");
        let object = runtime.load(&committed("host_hook")).unwrap();
        let _link = runtime.attach(&hook, object.program("filter").unwrap()).unwrap();

        let mut body = [3, 4];
        assert_eq!(hook.run(&mut request(1, *b"/xxxxxxxxxxxxxxx", &mut body)), Ok(0));
        assert_eq!(body, [3, 7]);
        let mut refused = request(7, *b"/xxxxxxxxxxxxxxx", &mut body);
        assert_eq!((hook.run(&mut refused), refused.status), (Ok(1), 403));
        assert_eq!(hook.run(&mut request(1, *b"/yyyyyyyyyyyyyyy", &mut [])), Ok(0));
        assert_eq!(body, [3, 7]);
    }
}

#[test]
fn what_is_not_writable_is_not_written() {
    let runtime = Runtime::default();
    let _hook = runtime.hook::<Request<'static>>("request");
    let Err(LoadError::Rejected { source, .. }) = runtime.load(&only("refused")) else {
        panic!("loaded");
    };
    assert_eq!(source.errors[0].message, "invalid bpf_context access off=0 size=4");
}

#[test]
fn programs_are_for_hooks_that_there_are() {
    let runtime = Runtime::default();
    let error = runtime.load(&only("filter")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "program filter: section hook/request: the host has no such hook, only those of Linux"
    );
    let hook = runtime.hook::<Request<'static>>("request");
    let error = runtime.load(&only("elsewhere")).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the host has no such hook, only hook/request")
    );

    let filter = runtime.load(&only("filter")).unwrap();
    let error = runtime
        .attach(&runtime.hook::<Xdp>("request"), &filter.programs()[0])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "program filter is of type hook/request, expected xdp/request"
    );
    assert!(matches!(error, AttachError::WrongType { .. }));
    assert!(runtime.attach(&hook, &filter.programs()[0]).is_ok());
}

#[test]
#[should_panic(expected = "hook request has another context")]
fn names_of_hooks_are_unique() {
    let runtime = Runtime::default();
    let _hook = runtime.hook::<Request<'static>>("request");
    let _other = runtime.hook::<Small>("request");
}

#[derive(BtfType)]
#[repr(C)]
struct Small {
    flag: bool,
}

// SAFETY: none of it is ever run.
unsafe impl Context for Small {
    type Input<'a> = Small;
    type Frame = Small;
    type Verdict = bool;
    const WRITABLE: &'static [&'static str] = &["flag"];

    fn describe(types: &mut Builder) -> Option<TypeId> {
        Some(<Small as BtfType>::describe(types))
    }

    unsafe fn with_frame<R>(small: &mut Small, run: impl FnOnce(&mut Small) -> R) -> R {
        run(small)
    }

    fn initial() -> bool {
        false
    }

    fn combine(verdict: &mut bool, result: u64) -> ControlFlow<()> {
        *verdict |= result != 0;
        ControlFlow::Continue(())
    }
}

#[test]
#[should_panic(expected = "flag: programs cannot write a bool")]
fn a_bool_is_not_writable() {
    let _hook = Runtime::default().hook::<Small>("small");
}

/// The committed object with one program only, which is loaded.
fn only(name: &str) -> hitless_object::ObjectSpec {
    let mut spec = committed("host_hook");
    spec.programs.retain_mut(|program| {
        program.autoload = true;
        program.name == name
    });
    spec
}
