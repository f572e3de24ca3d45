//! The flow accounting programs, upgraded under traffic from several threads: no packet's count is lost.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use common::committed;
use hitless::upgrade::{MapAction, Options, Refusal, Upgrade, UpgradeError};
use hitless::{Collection, Hook, Link, Map, Packet, Runtime, XdpAction};
use hitless_object::ObjectSpec;

/// An Ethernet frame with a TCP segment from port `flow` of host `host`.
fn frame(host: u8, flow: u16, fin: bool) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14] = 0x45;
    frame[23] = 6;
    frame[26..30].copy_from_slice(&[10, 0, 0, host]);
    frame[30..34].copy_from_slice(&[10, 0, 1, 1]);
    frame[34..36].copy_from_slice(&flow.to_be_bytes());
    frame[36..38].copy_from_slice(&80u16.to_be_bytes());
    frame[46] = 0x50;
    frame[47] = if fin { 0x11 } else { 0x10 };
    frame
}

/// Traffic from several threads; what they sent is counted here, outside of the runtime.
struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<(Arc<AtomicU64>, thread::JoinHandle<()>)>,
}

impl Traffic {
    /// Threads that send packets of 50 flows each: of their own ones if `steered`, else all of the same.
    fn start(hook: &Hook, threads: u8, steered: bool) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |thread: u8| {
            let sent = Arc::new(AtomicU64::new(0));
            let (hook, stop, count) = (hook.clone(), Arc::clone(&stop), Arc::clone(&sent));
            let handle = thread::spawn(move || {
                let mut random = u32::from(thread) + 1;
                while !stop.load(Relaxed) {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let host = if steered { thread } else { 0 };
                    let mut frame = frame(host, (random >> 16) as u16 % 50, random >> 8 & 15 == 0);
                    assert_eq!(hook.run(&mut Packet::new(&mut frame)), Ok(XdpAction::Pass));
                    count.fetch_add(1, Relaxed);
                }
            });
            (sent, handle)
        };
        let threads = (0..threads).map(start).collect();
        Traffic { stop, threads }
    }

    /// Waits until every thread has sent some more.
    fn advance(&self) {
        for (sent, _) in &self.threads {
            let before = sent.load(Relaxed);
            while sent.load(Relaxed) < before + 20 {
                thread::yield_now();
            }
        }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads
            .into_iter()
            .map(|(sent, handle)| {
                handle.join().expect("a sender ends");
                sent.load(Relaxed)
            })
            .sum()
    }
}

/// The sum of an integer field, or of a global variable, over the elements of a map.
fn sum(map: &Map, field: &str) -> u64 {
    let (btf, ty) = (map.btf().expect("BTF"), map.value_type().expect("a value type"));
    let member = |name: &str| {
        let (id, _) = btf.resolve(ty).expect("a type");
        let member = btf.members(id).iter().find(|member| member.name.as_str() == name)?;
        Some((member.bit_offset as usize / 8, btf.size_of(member.ty)? as usize))
    };
    let variable = |name: &str| {
        let (_, section) = btf.datasec(map.name())?;
        let is_it = |ty| btf.get(ty).is_some_and(|ty| ty.name() == name);
        let var = section.vars.iter().find(|var| is_it(var.ty))?;
        Some((var.offset as usize, var.size as usize))
    };
    let (off, size) = member(field).or_else(|| variable(field)).expect("the field");
    let read = |value: &[u8]| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&value[off..off + size]);
        u64::from_le_bytes(bytes)
    };
    map.entries()
        .expect("entries")
        .iter()
        .map(|(_, value)| read(value))
        .sum()
}

struct Host {
    runtime: Runtime,
    hook: Hook,
    object: Collection,
    _link: Link,
}

impl Host {
    fn new(object: &str) -> Host {
        let runtime = Runtime::default();
        let object = runtime.load(&committed(object)).expect("the object loads");
        let hook = runtime.hook("xdp");
        let link = runtime
            .attach(&hook, object.program("count_flows").unwrap())
            .expect("the program attaches");
        Host {
            runtime,
            hook,
            object,
            _link: link,
        }
    }

    fn upgrade(&mut self, to: &ObjectSpec, options: Options) -> Result<hitless::upgrade::Report, UpgradeError> {
        let (new, report) = Upgrade::new(&self.runtime, &self.object, to, options).run(&mut |_| {})?;
        self.object = new;
        Ok(report)
    }

    /// Packets that the programs have accounted for.
    fn accounted(&self) -> u64 {
        let (flows, bss) = (self.object.map("flows").unwrap(), self.object.map(".bss").unwrap());
        sum(flows, "packets") + sum(bss, "deleted_packets") + sum(bss, "failed_packets")
    }

    fn check_balance(&self, sent: u64) {
        assert_eq!(self.accounted(), sent, "packets accounted for, of those sent");
        assert_eq!(sum(self.object.map(".bss").unwrap(), "packets_seen"), sent);
    }
}

fn upgrades_in_a_row(threads: u8, upgrades: usize) {
    let mut host = Host::new("flows_v1");
    let traffic = Traffic::start(&host.hook, threads, true);
    let (v2, v3) = (committed("flows_v2"), committed("flows_v3"));
    let mut mirrored = 0;
    for n in 0..upgrades {
        traffic.advance();
        let report = host
            .upgrade(if n % 2 == 0 { &v2 } else { &v3 }, Options::default())
            .expect("the upgrade succeeds");
        let flows = report.maps.iter().find(|map| map.plan.name == "flows").unwrap();
        assert_eq!(flows.plan.action, MapAction::TraceAndCopy);
        assert!(flows.copied > 0);
        mirrored += flows.mirrored_updates + flows.mirrored_deletes;
    }
    traffic.advance();
    let sent = traffic.stop();
    assert!(mirrored > 0, "no change was ever mirrored");
    host.check_balance(sent);
}

#[test]
fn two_hundred_upgrades_in_a_row_under_two_threads_lose_nothing() {
    upgrades_in_a_row(2, 200);
}

#[test]
fn upgrades_under_four_threads_lose_nothing() {
    upgrades_in_a_row(4, 40);
}

#[test]
fn upgrades_under_eight_threads_lose_nothing() {
    upgrades_in_a_row(8, 30);
}

/// The long run of `make soak`.
#[test]
#[ignore = "minutes long; make soak runs it"]
fn soak_thousands_of_upgrades_lose_nothing() {
    for threads in [2, 4, 8] {
        upgrades_in_a_row(threads, 1000);
        unsteered(threads, 1000);
    }
}

/// The pair that guards its values with a spin lock, with every thread sending packets of the same flows.
fn unsteered(threads: u8, upgrades: usize) {
    let mut host = Host::new("flows_lock_v1");
    let traffic = Traffic::start(&host.hook, threads, false);
    let v2 = committed("flows_lock_v2");
    for _ in 0..upgrades {
        traffic.advance();
        host.upgrade(
            &v2,
            Options {
                always_copy: true,
                ..Options::default()
            },
        )
        .expect("the upgrade succeeds");
    }
    traffic.advance();
    let sent = traffic.stop();
    host.check_balance(sent);
}

#[test]
fn spin_locked_values_survive_unsteered() {
    unsteered(2, 40);
    unsteered(4, 20);
    unsteered(8, 20);
}

#[test]
fn equal_layouts_are_shared() {
    let mut host = Host::new("flows_v2");
    host.hook.run(&mut Packet::new(&mut frame(1, 1, false))).unwrap();
    let before = host.object.map("flows").unwrap().id();
    let report = host.upgrade(&committed("flows_v2"), Options::default()).unwrap();
    let actions: Vec<_> = report
        .maps
        .iter()
        .map(|map| (map.plan.name.as_str(), map.plan.action))
        .collect();
    assert_eq!(
        actions,
        [
            ("flows", MapAction::Share),
            (".rodata", MapAction::Fresh),
            (".bss", MapAction::Share)
        ]
    );
    assert_eq!(host.object.map("flows").unwrap().id(), before);
    host.check_balance(1);
}

/// The old object runs on, with its maps, when the upgrade is refused.
fn refused(new: &str, check: impl Fn(&[Refusal])) {
    let mut host = Host::new("flows_v1");
    let traffic = Traffic::start(&host.hook, 2, true);
    traffic.advance();
    match host.upgrade(&committed(new), Options::default()) {
        Err(UpgradeError::Refused(error)) => check(&error.refusals),
        other => panic!("{new}: {other:?}"),
    }
    traffic.advance();
    let sent = traffic.stop();
    host.check_balance(sent);
    assert!(!host.object.program("count_flows").unwrap().is_traced());
}

#[test]
fn a_narrowed_field_is_refused_by_name() {
    refused("flows_narrow", |refusals| {
        let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
        let expected = "map flows: field packets of the value would lose information: narrowed from 32 to 16 bits";
        assert_eq!(texts, [expected]);
    });
}

#[test]
fn a_smaller_map_is_refused_with_both_sizes() {
    refused("flows_small", |refusals| {
        assert!(
            matches!(
                refusals,
                [Refusal::Smaller {
                    found: 1024,
                    expected: 4096,
                    ..
                }]
            ),
            "{refusals:?}"
        );
    });
}

#[test]
fn a_new_object_that_does_not_verify_leaves_the_old_one_running() {
    let mut host = Host::new("flows_v1");
    let mut unsafe_spec = committed("flows_v2");
    let program = &mut unsafe_spec.programs[0];
    // The last instruction but the exit becomes a load through a number.
    let last = program.insns.len() - 2;
    program.insns[last] = hitless_isa::asm::assemble("r0 = *(u64 *)(r0 +0)\nexit").unwrap()[0];
    let result = host.upgrade(&unsafe_spec, Options::default());
    assert!(matches!(result, Err(UpgradeError::Load(_))), "{result:?}");
    host.hook.run(&mut Packet::new(&mut frame(1, 1, false))).unwrap();
    host.check_balance(1);
}

#[test]
fn old_maps_refuse_writes_after_the_cutover() {
    let mut host = Host::new("flows_v1");
    host.hook.run(&mut Packet::new(&mut frame(1, 1, false))).unwrap();
    let old = Arc::clone(host.object.map("flows").unwrap());
    host.upgrade(&committed("flows_v2"), Options::default()).unwrap();
    let (key, value) = old.entries().unwrap().remove(0);
    let error = old.update(&key, &value, hitless::UpdateFlags::ANY).unwrap_err();
    assert_eq!((error, error.errno()), (hitless::MapError::Migrated, 116));
    assert_eq!(old.delete(&key).unwrap_err(), hitless::MapError::Migrated);
}
