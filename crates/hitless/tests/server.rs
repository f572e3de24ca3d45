//! The example server, end to end: over TCP on the loopback interface, with a new version of its plugin in the middle.
#![cfg(not(hitless_model))]

use std::path::{Path, PathBuf};

use hitless::context::Bytes;
use hitless::maps::HashMap;
use hitless::{BtfType, Object, Runtime};

#[allow(dead_code, reason = "as an example it is a program")]
#[path = "../examples/server/main.rs"]
mod server;

use server::filter::{Counts, Filter, Request};

fn bpf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf").join(name)
}

fn plugin(version: u32, limit: u32) -> Object {
    let mut object = Object::open(bpf(&format!("filter_v{version}.bpf.o"))).unwrap();
    object.set_global("limit", limit).unwrap();
    object
}

fn request(client: u32, now_ns: u64, path: &str) -> Request<'_> {
    Request {
        client,
        trusted: 0,
        now_ns,
        path: Bytes::new(path.as_bytes()),
    }
}

#[test]
fn no_request_is_lost_when_the_plugin_is_replaced() {
    let outcome = server::demo::run(&plugin(1, 500), &plugin(2, 500), 3, 3000, 3000).unwrap();
    let (begun, done) = outcome.during;
    assert!(begun >= 3000 && done >= begun, "{begun} {done}");
    let answers = |status| outcome.answers.get(&status).copied().unwrap_or(0);
    let sent: u64 = outcome.answers.values().sum();
    assert!(sent >= done + 3000);
    let Counts {
        requests,
        denied,
        uncounted,
        ..
    } = outcome.counts;
    let (served, refused) = (outcome.counts.served(), outcome.counts.refused());
    assert_eq!(
        (requests, denied, uncounted, served, refused),
        (sent, answers(403), 0, answers(200), answers(429))
    );
    assert_eq!(sent, served + refused + denied);
    let clients = outcome
        .report
        .maps
        .iter()
        .find(|map| map.plan.name == "clients")
        .unwrap();
    assert_eq!(
        (clients.plan.action.to_string().as_str(), clients.copied),
        ("trace and copy", 3)
    );
}

#[test]
fn a_plugin_decides_by_what_it_is_told() {
    for version in [1, 2] {
        let filter = Filter::new(&plugin(version, 2)).unwrap();
        let decide = |client, second: u64, path| {
            filter
                .decide(&mut request(client, second * 1_000_000_000, path))
                .unwrap()
        };
        assert_eq!([0, 1, 2].map(|_| decide(1, 5, "/")), [0, 0, 429]);
        assert_eq!((decide(2, 5, "/"), decide(1, 6, "/")), (0, 0));
        assert_eq!((decide(1, 6, "/admin/users"), decide(1, 6, "/admi")), (403, 0));
        let mut trusted = request(3, 0, "/admin/users");
        trusted.trusted = 1;
        assert_eq!(filter.decide(&mut trusted).unwrap(), 0);
        let counts = filter.counts().unwrap();
        assert_eq!((counts.requests, counts.denied), (8, 1));
        assert_eq!(counts.clients, [(1, (4, 1)), (2, (1, 0)), (3, (1, 0))].into());
    }
}

#[test]
fn counts_go_on_and_what_would_lose_some_is_refused() {
    let filter = Filter::new(&plugin(1, 10)).unwrap();
    filter.decide(&mut request(7, 0, "/")).unwrap();
    filter.replace(&plugin(2, 10)).unwrap();
    filter.decide(&mut request(7, 0, "/index")).unwrap();
    assert_eq!(filter.counts().unwrap().clients, [(7, (2, 0))].into());
    let refused = filter.replace(&plugin(1, 10)).unwrap_err().to_string();
    assert!(refused.contains("path_bytes"), "{refused}");
    filter.decide(&mut request(7, 0, "/")).unwrap();
    assert_eq!(filter.counts().unwrap().clients, [(7, (3, 0))].into());
}

#[test]
fn its_header_is_what_plugins_are_compiled_with() {
    let runtime = Runtime::default();
    let _hook = runtime.hook::<Request>("request");
    let committed = std::fs::read_to_string(bpf("server.h")).unwrap();
    let (license, header) = committed.split_once('\n').unwrap();
    assert_eq!(license, "// SPDX-License-Identifier: MIT OR Apache-2.0");
    assert_eq!(
        runtime.header("SERVER_H").unwrap(),
        header,
        "bpf/server.h: write it anew with `cargo run -p hitless --example server header`, and compile the plugins"
    );
}

/// The host's struct may change: plugins find the members by name.
#[test]
fn members_may_move_in_the_host() {
    #[derive(hitless::Ctx)]
    #[repr(C)]
    #[hitless(name = "request")]
    struct Moved<'a> {
        path: Bytes<'a>,
        user_agent: [u8; 16],
        now_ns: u64,
        trusted: u32,
        version: u16,
        client: u32,
    }
    assert!(
        Moved::c_header("MOVED_H")
            .unwrap()
            .contains("struct request {\n\tstruct hitless_bytes path;\n")
    );
    let runtime = Runtime::default();
    let hook = runtime.hook::<Moved>("request");
    let plugin = plugin(1, 1).load(&runtime).unwrap();
    let _link = runtime.attach(&hook, plugin.program("filter").unwrap()).unwrap();
    let decide = |client, path: &str| {
        let mut request = Moved {
            path: Bytes::new(path.as_bytes()),
            user_agent: [0xff; 16],
            now_ns: 0,
            trusted: 0,
            version: 7,
            client,
        };
        hook.run(&mut request).unwrap()
    };
    assert_eq!((decide(5, "/"), decide(5, "/"), decide(5, "/admin")), (0, 429, 403));
    let clients: HashMap<u32, [u8; 24]> = plugin.get("clients").unwrap();
    let numbers: Vec<_> = clients.iter().map(|entry| entry.unwrap().0).collect();
    assert_eq!(numbers, [5]);
}
