//! A program that counts flows is replaced by one whose map has another layout; the counts go on.

use std::error::Error;

use hitless::maps::HashMap;
use hitless::upgrade::Options;
use hitless::{Object, Packet, Runtime, Value, Xdp};

/// `struct flow_stats` of the new version.
#[derive(Clone, Copy, Debug, Value)]
#[repr(C)]
struct FlowStats {
    last_seen: u64,
    octets: u64,
    packets: u64,
}

/// Public for a test of the README.
pub fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::default();
    let counting = Object::open("bpf/flows_v1.bpf.o")?.load(&runtime)?;
    let program = counting.program("count_flows").ok_or("no such program")?;
    let hook = runtime.hook::<Xdp>("xdp");
    // The program is detached when this is dropped.
    let _link = runtime.attach(&hook, program)?;

    // Any number of threads may do this, before, during and after the upgrade.
    let mut frame = [0; 64];
    let verdict = hook.run(&mut Packet::new(&mut frame))?;
    println!("{}", verdict.name());

    let new = Object::open("bpf/flows_v2.bpf.o")?;
    let upgrade = new.upgrade(&runtime, &counting, Options::default());
    let (counting, report) = upgrade.run(&mut |progress| println!("{progress:?}"))?;
    println!("the gate was closed for {:?}", report.gate_closed);

    hook.run(&mut Packet::new(&mut frame))?;
    for flow in &counting.get::<HashMap<[u8; 40], FlowStats>>("flows")? {
        // FlowStats { last_seen: ..., octets: 136, packets: 2 }
        let (_key, stats) = flow?;
        println!("{stats:?}");
    }
    Ok(())
}
