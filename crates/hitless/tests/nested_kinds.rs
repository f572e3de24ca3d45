//! Programs in signal handlers, in the middle of operations on the kinds of maps that have locks of their own: queues, tries
//! and ring buffers. Nothing hangs, and what was said to have succeeded is there.
#![cfg(not(hitless_model))]

mod common;

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use hitless::{Hook, MapHandle, Packet, Runtime, UpdateFlags, Xdp, XdpAction};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

/// Pushes the packet's first eight bytes to a queue, writes them to a ring buffer, and puts a prefix made of them into a trie and
/// takes it out again. Returns how many of the first two failed: 0, 1 or 2.
const EVERYTHING: &str = "
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r0 = 3
    r2 = r6
    r2 += 8
    if r2 > r7 goto out
    r8 = *(u64 *)(r6 +0)
    *(u64 *)(r10 -8) = r8
    r9 = 0
    r1 = map[idx:0]
    r2 = r10
    r2 += -8
    r3 = 0
    call bpf_map_push_elem#87
    if r0 == 0 goto ring
    r9 += 1
ring:
    r1 = map[idx:1]
    r2 = r10
    r2 += -8
    r3 = 8
    r4 = 0
    call bpf_ringbuf_output#130
    if r0 == 0 goto trie
    r9 += 1
trie:
    r1 = 16
    *(u32 *)(r10 -16) = r1
    *(u32 *)(r10 -12) = r8
    r1 = map[idx:2]
    r2 = r10
    r2 += -16
    r3 = r10
    r3 += -8
    r4 = 0
    call bpf_map_update_elem#2
    r1 = map[idx:2]
    r2 = r10
    r2 += -16
    call bpf_map_lookup_elem#1
    r1 = map[idx:2]
    r2 = r10
    r2 += -16
    call bpf_map_delete_elem#3
    r0 = r9
out:
    exit
";

fn object() -> ObjectSpec {
    let map = |name: &str, map_type, (key_size, value_size), max_entries, flags| MapSpec {
        name: name.into(),
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        ..MapSpec::default()
    };
    let program = |name: &str| ProgramSpec {
        name: name.into(),
        section: "xdp".into(),
        insns: hitless_isa::asm::assemble(EVERYTHING).expect("the program assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "GPL".into(),
        maps: vec![
            map("queue", 22, (0, 8), 1 << 20, 0),
            map("ring", 27, (0, 0), 1 << 24, 0),
            map("trie", 11, (8, 8), 64, 1),
        ],
        programs: vec![program("outer"), program("nested")],
        ..ObjectSpec::default()
    }
}

thread_local! {
    static HOOK: Cell<Option<&'static Hook>> = const { Cell::new(None) };
}

static PUSHED: AtomicU64 = AtomicU64::new(0);

/// Sends a packet; its program says what failed. With two results of one number each, a failure of either is a failure of one.
fn send(hook: &Hook, word: u64) -> u64 {
    let mut data = word.to_ne_bytes();
    match hook.run(&mut Packet::new(&mut data)) {
        Ok(XdpAction::Aborted) => 2,
        Ok(XdpAction::Drop) => 1,
        _ => 0,
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    if let Some(hook) = HOOK.with(Cell::get) {
        PUSHED.fetch_add(send(hook, 0xffff), SeqCst);
    }
}

fn drain(queue: &MapHandle, ring: &MapHandle) -> u64 {
    let mut found = 0;
    while queue.pop().unwrap().is_some() {
        found += 1;
    }
    found
        + ring
            .read_records(usize::MAX, |record| assert_eq!(record.len(), 8))
            .unwrap() as u64
}

#[test]
fn a_signal_storm_loses_nothing() {
    // SAFETY: the handler runs a program and adds to an atomic, nothing else.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(
            libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    let runtime = Runtime::default();
    let object = runtime.load(&object()).unwrap();
    let hooks = ["outer", "nested"].map(|name| runtime.hook::<Xdp>(name));
    let _links = [0, 1].map(|n| runtime.attach(&hooks[n], &object.programs()[n]).unwrap());
    let nested: &'static Hook = Box::leak(Box::new(hooks[1].clone()));
    let (stop, succeeded) = (AtomicBool::new(false), AtomicU64::new(0));
    let targets = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..2u64 {
            let (hook, stop, succeeded, targets) = (&hooks[0], &stop, &succeeded, &targets);
            scope.spawn(move || {
                HOOK.with(|cell| cell.set(Some(nested)));
                // SAFETY: asks for the caller's own id.
                targets.lock().unwrap().push(unsafe { libc::pthread_self() });
                let mut n = worker << 16;
                while !stop.load(SeqCst) {
                    n += 1;
                    succeeded.fetch_add(send(hook, n), SeqCst);
                }
                HOOK.with(|cell| cell.set(None));
            });
        }
        // Until enough has happened, however busy the machine is.
        let enough = || succeeded.load(SeqCst) > 2000 && PUSHED.load(SeqCst) > 200;
        let begin = Instant::now();
        while !enough() && begin.elapsed() < Duration::from_secs(60) {
            for target in targets.lock().unwrap().iter() {
                // SAFETY: the threads end only after this.
                unsafe { libc::pthread_kill(*target, libc::SIGUSR2) };
            }
            thread::sleep(Duration::from_micros(50));
        }
        stop.store(true, SeqCst);
    });
    let [queue, ring, trie] = [0, 1, 2].map(|n| &object.maps()[n]);
    let found = drain(queue, ring);
    let (outer, nested) = (succeeded.load(SeqCst), PUSHED.load(SeqCst));
    assert_eq!(found, outer + nested);
    assert!(outer > 1000 && nested > 100, "{outer} and {nested} succeeded");
    // Whatever was interrupted, the trie works, and has room for as many as it may hold.
    for (key, _) in trie.entries().unwrap() {
        trie.delete(&key).unwrap();
    }
    for n in 0..64u32 {
        let key = [32u32.to_ne_bytes(), n.to_be_bytes()].concat();
        trie.update(&key, &[0; 8], UpdateFlags::NOEXIST).unwrap();
    }
}
