//! What maps of an object may ask for that the runtime does not have: refused by name, before any of it is made.

mod common;

use common::{ARRAY, HASH, object};
use hitless::Runtime;
use hitless_object::{Element, InitialValue, MapSpec, ObjectSpec, Pinning};

/// Why an object is refused that has a second map.
fn refusal(map: MapSpec) -> String {
    let mut spec = object(HASH, 4);
    spec.maps.push(map);
    load(&spec).expect_err("should be refused")
}

fn load(spec: &ObjectSpec) -> Result<(), String> {
    Runtime::default()
        .load(spec)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn other(map_type: u32) -> MapSpec {
    MapSpec {
        name: "other".into(),
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 4,
        ..MapSpec::default()
    }
}

#[test]
fn map_types() {
    let refused = |map_type| refusal(other(map_type));
    let expected = |found: &str| format!("map other: type {found} is not supported");
    assert_eq!(refused(26), expected("struct_ops (26)"));
    let inodes = format!("{}: inodes belong to the kernel", expected("inode_storage (28)"));
    assert_eq!(refused(28), inodes);
    assert_eq!(refused(1000), expected("1000"));
}

#[test]
fn map_attributes() {
    let pinned = MapSpec {
        pinning: Pinning::ByName,
        ..other(HASH)
    };
    assert_eq!(
        refusal(pinned),
        "map other: attribute \"pinning\" is not supported; declare the map without it, and hand it to other objects when they are loaded"
    );
    let extra = MapSpec {
        map_extra: 1,
        ..other(ARRAY)
    };
    assert_eq!(
        refusal(extra),
        "map other: attribute \"map_extra\" is not supported; maps of this type have none, as in the kernel; declare the map without it"
    );
    let filled = MapSpec {
        values: vec![InitialValue {
            index: 0,
            element: Element::Map(0),
        }],
        ..other(ARRAY)
    };
    let values = "map other: attribute \"values\" is not supported; only maps of maps and prog arrays have them";
    assert_eq!(refusal(filled), values);
    let template = MapSpec {
        inner: Some(Box::default()),
        ..other(ARRAY)
    };
    assert_eq!(refusal(template), values);
    let same = MapSpec {
        name: "state".into(),
        ..other(ARRAY)
    };
    assert_eq!(
        refusal(same),
        "map state: two maps of the object have this name; rename one of them, also if they are static"
    );
}

#[test]
fn numa_nodes_have_no_effect() {
    let mut spec = object(HASH, 4);
    spec.maps.push(MapSpec {
        numa_node: Some(1),
        flags: 1 << 2,
        ..other(HASH)
    });
    assert_eq!(load(&spec), Ok(()));
}

#[test]
fn maps_that_programs_of_the_type_may_not_use() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bpf/flows_lock_v1.bpf.o");
    let mut spec = ObjectSpec::parse(&std::fs::read(file).expect("it is committed")).expect("an object");
    assert_eq!(load(&spec), Ok(()));
    for program in &mut spec.programs {
        program.section = "socket".into();
    }
    let expected = "program count_flows: map flows: socket filter progs cannot use bpf_spin_lock yet";
    assert_eq!(load(&spec), Err(expected.to_owned()));
}
