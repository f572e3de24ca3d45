//! What helpers write to a map's values is traced, whichever way they write.

use hitless::{Engine, UpdateFlags};

use crate::both::Here;

/// Programs that write to the only value of a map by a helper.
const WRITERS: [&str; 13] = [
    "text", "number", "copy", "string", "comm", "ids", "packet", "popped", "written", "slice", "read", "visited",
    "looped",
];

#[test]
fn each_way_to_write() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_traced", engine);
        let map = here.object.map("traced").expect("the map");
        let tracer = here.object.program("keep").expect("the tracer");
        let link = here.runtime.trace_map(map, tracer).expect("it is attached");
        let changes = || u64::from_ne_bytes(here.look().bytes("changes").try_into().unwrap());
        for writer in WRITERS {
            map.update(&[0; 4], &[0xaa; 64], UpdateFlags::ANY).unwrap();
            let before = changes();
            here.run(writer, &[7; 64]);
            let value = map.lookup(&[0; 4]).unwrap().unwrap();
            assert_ne!(value, [0xaa; 64], "{writer} does not write");
            assert!(changes() > before, "{writer} is not traced");
            assert_eq!(here.look().bytes("seen"), value, "{writer}");
        }
        link.detach().expect("it is detached");
    }
}
