//! A program that counts flows is replaced by one whose map has another layout; the counts go on.

use std::error::Error;

use hitless::upgrade::{Options, Upgrade};
use hitless::{Packet, Runtime, Xdp};
use hitless_object::ObjectSpec;

/// Public for a test of the README.
pub fn main() -> Result<(), Box<dyn Error>> {
    let old = ObjectSpec::parse(&std::fs::read("bpf/flows_v1.bpf.o")?)?;
    let new = ObjectSpec::parse(&std::fs::read("bpf/flows_v2.bpf.o")?)?;

    let runtime = Runtime::default();
    let counting = runtime.load(&old)?;
    let program = counting.program("count_flows").ok_or("no such program")?;
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, program)?;

    // Any number of threads may do this, before, during and after the upgrade.
    let mut frame = [0; 64];
    let verdict = hook.run(&mut Packet::new(&mut frame))?;
    println!("{}", verdict.name());

    let upgrade = Upgrade::new(&runtime, &counting, &new, Options::default());
    let (counting, report) = upgrade.run(&mut |progress| println!("{progress:?}"))?;
    println!("the gate was closed for {:?}", report.gate_closed);

    hook.run(&mut Packet::new(&mut frame))?;
    let flows = counting.map("flows").ok_or("no such map")?;
    if let (Some(btf), Some(value_type)) = (flows.btf(), flows.value_type()) {
        for (_key, value) in flows.entries()? {
            // {"last_seen": ..., "octets": 136, "packets": 2}
            println!("{}", btf.value(value_type, &value)?);
        }
    }
    Ok(())
}
