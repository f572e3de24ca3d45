//! Signal handlers are this world's interrupts: programs in them, in the middle of everything else.

mod common;

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::Duration;

use common::{Command, HASH, committed, entries, map, object, program, send, with};
use hitless::upgrade::{Options, Progress, Upgrade, UpgradeError};
use hitless::{
    Collection, Hook, Iter, Link, LoadOptions, Map, Packet, RunError, Runtime, SyncError, UpdateFlags, Xdp, XdpAction,
};
use hitless_object::ObjectSpec;

/// The tests share one signal and its counters.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

extern "C" fn handler(_: libc::c_int) {
    ACTION.with(|action| {
        if let Some(action) = action.get() {
            action();
        }
    });
}

thread_local! {
    /// What a signal does on this thread.
    static ACTION: Cell<Option<fn()>> = const { Cell::new(None) };
    static RUNTIME: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
    static HOOK: Cell<Option<&'static Hook>> = const { Cell::new(None) };
    static RANDOM: Cell<u32> = const { Cell::new(1) };
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler runs programs and stores to atomics, nothing else.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
                0
            );
        }
    });
}

/// What a signal does on the calling thread, with this as its runtime and its hook.
fn on_signal(action: fn(), runtime: &Runtime, hook: &Hook) {
    RUNTIME.with(|cell| cell.set(Some(Box::leak(Box::new(runtime.clone())))));
    HOOK.with(|cell| cell.set(Some(Box::leak(Box::new(hook.clone())))));
    ACTION.with(|cell| cell.set(Some(action)));
}

/// The commands program twice, so that one can interrupt the other.
fn twice() -> ObjectSpec {
    let mut spec = object(HASH, 64);
    let mut second = spec.programs[0].clone();
    second.name = "nested".into();
    spec.programs.push(second);
    spec
}

fn start(spec: &ObjectSpec) -> (Runtime, Collection, Hook, Hook, [Link; 2]) {
    let runtime = Runtime::default();
    let object = runtime.load(spec).unwrap();
    let (outer, inner) = (runtime.hook::<Xdp>("outer"), runtime.hook::<Xdp>("inner"));
    let links = [
        runtime.attach(&outer, object.program("commands").unwrap()).unwrap(),
        runtime.attach(&inner, object.program("nested").unwrap()).unwrap(),
    ];
    (runtime, object, outer, inner, links)
}

/// Sends signals to a thread until dropped.
struct Storm {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Storm {
    fn on(targets: Vec<libc::pthread_t>) -> Storm {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(SeqCst) {
                for target in &targets {
                    // SAFETY: the tests join these threads only after the storm has ended.
                    unsafe { libc::pthread_kill(*target, libc::SIGUSR1) };
                }
                thread::sleep(Duration::from_micros(20));
            }
        });
        Storm {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Runs `body` while threads repeat `work`, with a random number each time, and signals make each of them do `action`.
fn under_storm(
    threads: u32,
    (runtime, hook, action): (&Runtime, &Hook, fn()),
    work: impl Fn(u32) + Sync,
    body: impl FnOnce(),
) {
    let (stop, targets) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for thread in 0..threads {
            let (stop, targets, work) = (&stop, &targets, &work);
            scope.spawn(move || {
                RANDOM.with(|random| random.set(thread + 7));
                on_signal(action, runtime, hook);
                // SAFETY: asks for the caller's own id.
                targets.lock().unwrap().push(unsafe { libc::pthread_self() });
                let mut random = thread;
                while !stop.load(SeqCst) {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    work(random);
                }
                ACTION.with(|action| action.set(None));
            });
        }
        while targets.lock().unwrap().len() < threads as usize {
            thread::yield_now();
        }
        let storm = Storm::on(targets.lock().unwrap().clone());
        body();
        drop(storm);
        stop.store(true, SeqCst);
    });
}

/// Upgrades to the same object again and again, each time copying the maps; `after` sees each new one.
fn upgrade_repeatedly(
    count: usize,
    runtime: &Runtime,
    object: &mut Collection,
    spec: &ObjectSpec,
    after: impl Fn(&Collection),
) -> Result<(), UpgradeError> {
    let options = Options {
        always_copy: true,
        ..Options::default()
    };
    for _ in 0..count {
        let (new, _) = Upgrade::new(runtime, object, spec, options).run(&mut |_| {})?;
        *object = new;
        after(object);
    }
    Ok(())
}

/// The next random number of a signal handler on this thread.
fn random() -> u32 {
    RANDOM.with(|random| {
        random.set(random.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        random.get()
    })
}

static NESTED_PASSED: AtomicU64 = AtomicU64::new(0);

fn nested_add() {
    let Some(hook) = HOOK.with(Cell::get) else { return };
    let random = random();
    let mut data = [0; 16];
    data[0] = 2;
    data[4..8].copy_from_slice(&((random >> 16) % 50).to_ne_bytes());
    data[8] = 1;
    if hook.run(&mut Packet::new(&mut data)) == Ok(XdpAction::Pass) {
        NESTED_PASSED.fetch_add(1, SeqCst);
    }
}

/// Additions in signal handlers, in the middle of additions, of host updates and of upgrades: what was said to have
/// succeeded is there, once.
#[test]
fn a_signal_storm_during_upgrades_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = twice();
    let (runtime, mut object, outer, inner, _links) = start(&spec);
    NESTED_PASSED.store(0, SeqCst);
    let sent = AtomicU64::new(0);
    let add = |random: u32| {
        if send(&outer, Command::Add((random >> 16) % 50, 1)) == XdpAction::Pass {
            sent.fetch_add(1, SeqCst);
        }
    };
    let mut result = Ok(());
    under_storm(2, (&runtime, &inner, nested_add), add, || {
        result = upgrade_repeatedly(100, &runtime, &mut object, &spec, |_| {});
        while NESTED_PASSED.load(SeqCst) < 100 {
            thread::yield_now();
        }
    });
    result.expect("every upgrade succeeds");
    let total: u64 = entries(&object.maps()[0]).iter().map(|(_, value)| value).sum();
    assert_eq!(total, sent.load(SeqCst) + NESTED_PASSED.load(SeqCst));
}

static NESTED_CHANGES: AtomicU64 = AtomicU64::new(0);

/// Any command but a pointer write, so that helpers change the map in the handler.
fn nested_change() {
    let Some(hook) = HOOK.with(Cell::get) else { return };
    let random = random();
    let mut data = [0; 16];
    data[0] = 1 + (random >> 12) as u8 % 2;
    data[4..8].copy_from_slice(&((random >> 16) % 50).to_ne_bytes());
    data[8..12].copy_from_slice(&random.to_ne_bytes());
    if hook.run(&mut Packet::new(&mut data)) == Ok(XdpAction::Pass) {
        NESTED_CHANGES.fetch_add(1, SeqCst);
    }
}

/// A change in a signal handler is traced, or refused before anything has changed: the mirror that tracers keep equals
/// the map, and no upgrade that goes on meanwhile is poisoned.
#[test]
fn changes_in_signal_handlers_are_traced_or_refused() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = committed("trace_mirror");
    let runtime = Runtime::default();
    let object = runtime.load(&spec).unwrap();
    let (source, mirror) = (object.map("source").unwrap(), object.map("mirror").unwrap());
    let shared = object.maps().iter().filter(|map| map.name() != ".rodata");
    let options = shared.fold(LoadOptions::new(), |options, map| options.replace_map(map.name(), map));
    let again = runtime.load_with(&spec, &options).unwrap();
    let (outer, inner) = (runtime.hook::<Xdp>("outer"), runtime.hook::<Xdp>("inner"));
    let tracers = [
        object.program("on_update").unwrap(),
        object.program("on_delete").unwrap(),
    ];
    let _links = [
        runtime.trace_map(source, tracers[0]).unwrap(),
        runtime.trace_map(source, tracers[1]).unwrap(),
        runtime.attach(&outer, object.program("writer").unwrap()).unwrap(),
        runtime.attach(&inner, again.program("writer").unwrap()).unwrap(),
    ];
    NESTED_CHANGES.store(0, SeqCst);
    let change = |random: u32| {
        let mut data = [0; 16];
        data[0] = 1 + (random >> 12) as u8 % 4;
        data[4..8].copy_from_slice(&((random >> 16) % 50).to_ne_bytes());
        data[8..12].copy_from_slice(&random.to_ne_bytes());
        outer.run(&mut Packet::new(&mut data)).expect("the program runs");
    };
    under_storm(2, (&runtime, &inner, nested_change), change, || {
        while NESTED_CHANGES.load(SeqCst) < 2000 {
            thread::yield_now();
        }
    });
    assert_eq!(entries(mirror), entries(source));
    assert_eq!(tracers.map(|tracer| tracer.recursion_misses()), [0, 0]);
}

/// Copies what an iterator shows to the second map. `insist` wants to be shown the first element again and again.
fn copiers() -> ObjectSpec {
    let copy = |result| {
        format!(
            "
            r2 = *(u64 *)(r1 +16)
            r3 = *(u64 *)(r1 +24)
            r6 = 0
            if r2 == 0 goto out
            if r3 == 0 goto out
            r1 = map[idx:1]
            r4 = 0
            call bpf_map_update_elem#2
            r6 = {result}
        out:
            r0 = r6
            exit"
        )
    };
    with(
        vec![map("source", 1024), map("mirror", 1024)],
        vec![
            program("bulk_copy", "iter/bpf_map_elem", &copy(0)),
            program("insist", "iter/bpf_map_elem", &copy(1)),
        ],
    )
}

thread_local! {
    static WALK: Cell<Option<&'static Mutex<Iter>>> = const { Cell::new(None) };
}

static NESTED_READS: AtomicU64 = AtomicU64::new(0);

/// A change, and a read of an iterator.
fn nested_read() {
    nested_change();
    let Some(walk) = WALK.with(Cell::get) else { return };
    let mut walk = walk
        .try_lock()
        .expect("only handlers of this thread have it, one at a time");
    match walk.read(&mut [0; 64]) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        // The map was empty: the end has been told.
        Ok(len) => assert_eq!(len, 0),
    }
    NESTED_READS.fetch_add(1, SeqCst);
}

/// Iterators that copy a traced map, read by threads and by signal handlers that interrupt them in the middle of everything: what they
/// copy is never older than what tracers have brought over.
#[test]
fn iterators_copy_nothing_stale_in_a_signal_storm() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = committed("trace_mirror");
    let runtime = Runtime::default();
    let object = runtime.load(&spec).unwrap();
    let (source, mirror) = (object.map("source").unwrap(), object.map("mirror").unwrap());
    let shared = object.maps().iter().filter(|map| map.name() != ".rodata");
    let options = shared.fold(LoadOptions::new(), |options, map| options.replace_map(map.name(), map));
    let again = runtime.load_with(&spec, &options).unwrap();
    let both = LoadOptions::new()
        .replace_map("source", source)
        .replace_map("mirror", mirror);
    let copiers = runtime.load_with(&copiers(), &both).unwrap();
    let (outer, inner) = (runtime.hook::<Xdp>("outer"), runtime.hook::<Xdp>("inner"));
    let _links = [
        runtime.trace_map(source, object.program("on_delete").unwrap()).unwrap(),
        runtime.trace_map(source, object.program("on_update").unwrap()).unwrap(),
        runtime.attach(&outer, object.program("writer").unwrap()).unwrap(),
        runtime.attach(&inner, again.program("writer").unwrap()).unwrap(),
    ];
    let bulk_copy = runtime
        .attach_map_iter(copiers.program("bulk_copy").unwrap(), source)
        .unwrap();
    let insist = runtime
        .attach_map_iter(copiers.program("insist").unwrap(), source)
        .unwrap();
    NESTED_CHANGES.store(0, SeqCst);
    NESTED_READS.store(0, SeqCst);
    let work = |random: u32| {
        if WALK.with(|walk| walk.get().is_none()) {
            let walk: &'static _ = Box::leak(Box::new(Mutex::new(insist.iter().unwrap())));
            WALK.with(|cell| cell.set(Some(walk)));
        }
        if random >> 28 == 0 {
            let mut walk = bulk_copy.iter().unwrap();
            assert_eq!(walk.read(&mut [0; 64]).unwrap(), 0);
        }
        let mut data = [0; 16];
        data[0] = 1 + (random >> 12) as u8 % 4;
        data[4..8].copy_from_slice(&((random >> 16) % 50).to_ne_bytes());
        data[8..12].copy_from_slice(&random.to_ne_bytes());
        outer.run(&mut Packet::new(&mut data)).expect("the program runs");
    };
    under_storm(2, (&runtime, &inner, nested_read), work, || {
        while NESTED_CHANGES.load(SeqCst) < 2000 || NESTED_READS.load(SeqCst) < 2000 {
            thread::yield_now();
        }
    });
    assert_eq!(entries(mirror), entries(source));
}

/// The same with the mirror of an upgrade.
#[test]
fn changes_in_signal_handlers_poison_no_upgrade() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = twice();
    let (runtime, mut object, outer, inner, _links) = start(&spec);
    let set = |random: u32| {
        send(&outer, Command::Set((random >> 16) % 50, random.into()));
    };
    let mut result = Ok(());
    under_storm(1, (&runtime, &inner, nested_change), set, || {
        result = upgrade_repeatedly(200, &runtime, &mut object, &spec, |_| {});
    });
    result.expect("every upgrade succeeds");
}

static LOCKED_MAP: AtomicPtr<Map> = AtomicPtr::new(std::ptr::null_mut());

/// A change from the host of a map whose values have spin locks.
fn update_locked_map() {
    // SAFETY: the test stores pointers to maps that it leaks.
    let Some(map) = (unsafe { LOCKED_MAP.load(SeqCst).as_ref() }) else {
        return;
    };
    let key = [7; 40];
    let value = [0; 64];
    if map
        .update(&key, &value[..map.def().value_size as usize], UpdateFlags::ANY)
        .is_ok()
    {
        NESTED_CHANGES.fetch_add(1, SeqCst);
    }
}

/// A handler may interrupt a program that holds the spin lock which the mirror of the handler's own change would need.
#[test]
fn changes_in_signal_handlers_do_not_wait_for_interrupted_spin_locks() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = committed("flows_lock_v2");
    let runtime = Runtime::default();
    let mut object = runtime.load(&spec).unwrap();
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, object.program("count_flows").unwrap()).unwrap();
    let current = |object: &Collection| {
        let map: &'static Arc<Map> = Box::leak(Box::new(Arc::clone(object.map("flows").unwrap())));
        LOCKED_MAP.store(Arc::as_ptr(map).cast_mut(), SeqCst);
    };
    current(&object);
    NESTED_CHANGES.store(0, SeqCst);
    let count = |_| {
        hook.run(&mut Packet::new(&mut [0; 60])).expect("the program runs");
    };
    let mut result = Ok(());
    under_storm(1, (&runtime, &hook, update_locked_map), count, || {
        result = upgrade_repeatedly(100, &runtime, &mut object, &spec, current);
    });
    result.expect("every upgrade succeeds");
    assert!(NESTED_CHANGES.load(SeqCst) > 0);
}

static STUCK: AtomicI32 = AtomicI32::new(0);

/// If the signal interrupted the hook's program, which therefore cannot run again here, keeps it from ending until told to.
fn get_stuck() {
    let Some(hook) = HOOK.with(Cell::get) else { return };
    let is_inside = || {
        matches!(
            hook.run(&mut Packet::new(&mut [0; 14])),
            Err(RunError::Recursion { .. })
        )
    };
    if STUCK.load(SeqCst) != 0 || !is_inside() {
        return;
    }
    STUCK.store(1, SeqCst);
    while STUCK.load(SeqCst) == 1 {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A run that does not end makes the gate give way: the old programs go on, and the culprit is named.
#[test]
fn the_gate_gives_way_to_a_run_that_does_not_end() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = twice();
    let (runtime, object, outer, _, _links) = start(&spec);
    STUCK.store(0, SeqCst);
    let stop = AtomicBool::new(false);
    let target = Mutex::new(None);
    thread::scope(|scope| {
        scope.spawn(|| {
            on_signal(get_stuck, &runtime, &outer);
            // SAFETY: asks for the caller's own ids.
            *target.lock().unwrap() = Some(unsafe { (libc::pthread_self(), libc::gettid()) });
            while !stop.load(SeqCst) {
                send(&outer, Command::Add(1, 1));
            }
        });
        while target.lock().unwrap().is_none() {
            thread::yield_now();
        }
        let (thread, tid) = target.lock().unwrap().unwrap();
        let options = Options {
            always_copy: true,
            gate_deadline: Duration::from_millis(2),
            cutover_attempts: 3,
            ..Options::default()
        };
        let mut attempts = 0;
        let mut progress = |progress: Progress<'_>| {
            if let Progress::Cutover { attempt } = progress {
                attempts = attempt;
                while STUCK.load(SeqCst) == 0 {
                    // SAFETY: the thread is joined when the scope ends, after this.
                    unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
                    thread::sleep(Duration::from_micros(100));
                }
                if attempt == 3 {
                    // The other thread's hooks run while this one is stuck.
                    assert_eq!(send(&outer, Command::Add(2, 1)), XdpAction::Pass);
                }
            }
        };
        let upgrade = Upgrade::new(&runtime, &object, &spec, options);
        // Detaching the mirrors waits for the stuck run: let it go once the last attempt has failed and that has begun.
        let writer = object.program("commands").unwrap();
        let release = scope.spawn(move || {
            while !writer.is_traced() {
                thread::sleep(Duration::from_millis(1));
            }
            while writer.is_traced() {
                thread::sleep(Duration::from_millis(1));
            }
            STUCK.store(2, SeqCst);
        });
        let error = upgrade.run(&mut progress).expect_err("the run does not end");
        release.join().unwrap();
        match error {
            UpgradeError::Gate {
                attempts: 3,
                last: SyncError::TimedOut { thread, .. },
            } => {
                assert_eq!(i64::from(thread), i64::from(tid));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(attempts, 3);
        // The old object still runs, and an upgrade succeeds now.
        assert_eq!(send(&outer, Command::Add(2, 1)), XdpAction::Pass);
        assert_eq!(common::value(&object.maps()[0], 2), Some(2));
        Upgrade::new(&runtime, &object, &spec, options)
            .run(&mut |_| {})
            .expect("the upgrade succeeds");
        stop.store(true, SeqCst);
    });
}

static DEADLOCKS: AtomicU64 = AtomicU64::new(0);

fn wait_inside() {
    let Some(runtime) = RUNTIME.with(Cell::get) else { return };
    if runtime.synchronize(Some(Duration::ZERO)) == Err(SyncError::Deadlock) {
        DEADLOCKS.fetch_add(1, SeqCst);
    }
}

#[test]
fn waiting_for_a_grace_period_inside_a_run_is_refused() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let (runtime, _object, outer, inner, _links) = start(&twice());
    assert_eq!(runtime.synchronize(None), Ok(()));
    on_signal(wait_inside, &runtime, &inner);
    // SAFETY: asks for the caller's own id.
    let storm = Storm::on(vec![unsafe { libc::pthread_self() }]);
    while DEADLOCKS.load(SeqCst) == 0 {
        send(&outer, Command::Set(1, 1));
    }
    drop(storm);
    ACTION.with(|action| action.set(None));
}

#[test]
fn a_program_is_not_reentered_on_its_own_slot() {
    let _alone = ONE_AT_A_TIME.lock();
    install();
    let spec = twice();
    let (runtime, object, outer, _, _links) = start(&spec);
    let same = runtime.hook::<Xdp>("same");
    let _link = runtime.attach(&same, object.program("commands").unwrap()).unwrap();
    static MISSED: AtomicU64 = AtomicU64::new(0);
    fn reenter() {
        let Some(hook) = HOOK.with(Cell::get) else { return };
        if matches!(
            hook.run(&mut Packet::new(&mut [0; 14])),
            Err(RunError::Recursion { .. })
        ) {
            MISSED.fetch_add(1, SeqCst);
        }
    }
    on_signal(reenter, &runtime, &same);
    // SAFETY: asks for the caller's own id.
    let storm = Storm::on(vec![unsafe { libc::pthread_self() }]);
    while MISSED.load(SeqCst) < 10 {
        send(&outer, Command::Set(1, 1));
    }
    drop(storm);
    ACTION.with(|action| action.set(None));
    assert_eq!(
        object.program("commands").unwrap().recursion_misses(),
        MISSED.load(SeqCst)
    );
}

#[test]
fn a_forked_child_is_inert() {
    let _alone = ONE_AT_A_TIME.lock();
    let (_runtime, object, outer, _, _links) = start(&twice());
    send(&outer, Command::Set(1, 1));
    let map = &object.maps()[0];
    // SAFETY: the child calls nothing but what is tested, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let run = outer.run(&mut Packet::new(&mut [0; 16]));
        let update = map.update(&[0; 4], &[0; 8], hitless::UpdateFlags::ANY);
        let inert = matches!(run, Err(RunError::Forked(_))) && matches!(update, Err(hitless::MapError::Forked(_)));
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(if inert { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "hooks and maps of a forked child are inert");
    assert_eq!(entries(map), [(1, 1)]);
}
