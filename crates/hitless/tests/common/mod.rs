//! A small stateful program, written out in assembler, and what tests send it.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::Path;
use std::sync::Arc;

use hitless::{Collection, Hook, Link, Map, Options, Packet, Runtime, XdpAction};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

/// Executes the command in the packet, `{ u32 op; u32 key; u64 value }`, on a map from `u32` to `u64`: 0 sets, 1 deletes, 2
/// adds through the pointer that a lookup returns, or inserts; an insert that finds the key there adds after all.
const COMMANDS: &str = "
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r0 = 1
    r2 = r6
    r2 += 16
    if r2 > r7 goto out
    r8 = *(u64 *)(r6 +8)
    *(u64 *)(r10 -16) = r8
    r3 = *(u32 *)(r6 +4)
    *(u32 *)(r10 -4) = r3
    r5 = *(u32 *)(r6 +0)
    if r5 == 1 goto delete
    if r5 == 2 goto add
    r4 = 0
    goto update
add:
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto insert
found:
    lock *(u64 *)(r0 +0) += r8
    goto passed
insert:
    r4 = 1
update:
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    call bpf_map_update_elem#2
    if r0 == 0 goto passed
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 != 0 goto found
    r0 = 1
    goto out
delete:
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_delete_elem#3
passed:
    r0 = 2
out:
    exit
";

pub const HASH: u32 = 1;
pub const ARRAY: u32 = 2;

/// An object with one map, `state`, and the program, `commands`.
pub fn object(map_type: u32, max_entries: u32) -> ObjectSpec {
    let map = MapSpec {
        name: "state".into(),
        map_type,
        key_size: 4,
        value_size: 8,
        max_entries,
        ..MapSpec::default()
    };
    let program = ProgramSpec {
        name: "commands".into(),
        section: "xdp".into(),
        insns: hitless_isa::asm::assemble(COMMANDS).expect("the program assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "Dual MIT/GPL".into(),
        maps: vec![map],
        programs: vec![program],
        ..ObjectSpec::default()
    }
}

/// A program in assembler.
pub fn program(name: &str, section: &str, text: &str) -> ProgramSpec {
    ProgramSpec {
        name: name.into(),
        section: section.into(),
        insns: hitless_isa::asm::assemble(text).expect("the program assembles"),
        ..ProgramSpec::default()
    }
}

/// A hash from `u32` to `u64`.
pub fn map(name: &str, max_entries: u32) -> MapSpec {
    MapSpec {
        name: name.into(),
        map_type: HASH,
        key_size: 4,
        value_size: 8,
        max_entries,
        ..MapSpec::default()
    }
}

/// An object of these.
pub fn with(maps: Vec<MapSpec>, programs: Vec<ProgramSpec>) -> ObjectSpec {
    ObjectSpec {
        license: "Dual MIT/GPL".into(),
        maps,
        programs,
        ..ObjectSpec::default()
    }
}

/// A committed object of `bpf/`, by its name without the ending.
pub fn committed(name: &str) -> ObjectSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../bpf")
        .join(name)
        .with_extension("bpf.o");
    ObjectSpec::parse(&std::fs::read(path).expect("a committed object")).expect("an object that parses")
}

/// What a packet asks for.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    Set(u32, u64),
    Delete(u32),
    Add(u32, u64),
}

/// A runtime with the object loaded and attached.
pub struct Host {
    pub runtime: Runtime,
    pub hook: Hook,
    pub object: Collection,
    pub link: Link,
}

impl Host {
    pub fn new(spec: &ObjectSpec, slots: Option<usize>) -> Host {
        let runtime = Runtime::new(Options {
            slots,
            ..Options::default()
        });
        let object = runtime.load(spec).expect("the object loads");
        let hook = runtime.hook("xdp");
        let link = runtime
            .attach(&hook, &object.programs()[0])
            .expect("the program attaches");
        Host {
            runtime,
            hook,
            object,
            link,
        }
    }

    pub fn map(&self) -> &Arc<Map> {
        &self.object.maps()[0]
    }
}

/// Sends a command through a hook.
pub fn send(hook: &Hook, command: Command) -> XdpAction {
    let (op, key, value) = match command {
        Command::Set(key, value) => (0u32, key, value),
        Command::Delete(key) => (1, key, 0),
        Command::Add(key, value) => (2, key, value),
    };
    let mut data = [0; 16];
    data[0..4].copy_from_slice(&op.to_ne_bytes());
    data[4..8].copy_from_slice(&key.to_ne_bytes());
    data[8..16].copy_from_slice(&value.to_ne_bytes());
    hook.run(&mut Packet::new(&mut data)).expect("the program runs")
}

/// The value of a key.
pub fn value(map: &Map, key: u32) -> Option<u64> {
    let value = map.lookup(&key.to_ne_bytes()).expect("lookup")?;
    Some(u64::from_ne_bytes(value.try_into().expect("eight bytes")))
}

/// All entries, sorted by key.
pub fn entries(map: &Map) -> Vec<(u32, u64)> {
    let pair = |(key, value): (Vec<u8>, Vec<u8>)| {
        (
            u32::from_ne_bytes(key.try_into().unwrap()),
            u64::from_ne_bytes(value.try_into().unwrap()),
        )
    };
    let mut entries: Vec<_> = map.entries().expect("entries").into_iter().map(pair).collect();
    entries.sort_unstable();
    entries
}
