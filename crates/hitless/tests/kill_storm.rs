//! A process that changes maps in files is killed at any instant, again and again: every change that it had completed is there,
//! and what it was in the middle of is there or not, as a whole.
//!
//! The process is this program, run again for one test. It notes in a shared page, beside the maps, what each of its threads is
//! about to do to which key and what it has done; every key is one thread's. After the kill the two say what the map may hold.
#![cfg(not(hitless_model))]

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use hitless::{
    Hook, LoadOptions, Map, MapDef, MapError, MapFlags, MapHandle, MapKind, Options, Packet, Runtime, UpdateFlags, Xdp,
    check_map,
};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

const THREADS: u64 = 3;
/// Keys of each thread in each map.
const KEYS: u64 = 40;
const SLOTS: usize = 4;
/// Which directory the storm is in; set for the process that is killed.
const DIR: &str = "HITLESS_KILL_STORM";

/// Maps with keys. The hashes are full when all keys are there.
fn keyed() -> Vec<MapDef> {
    let all = (THREADS * KEYS) as u32;
    let map = |name, kind, key_size, value_size| MapDef::new(name, kind, key_size, value_size, all);
    vec![
        map("inline", MapKind::Hash, 4, 8),
        map("wide", MapKind::Hash, 8, 8),
        map("tagged", MapKind::Hash, 16, 64),
        map("small", MapKind::Hash, 12, 8),
        MapDef {
            spin_lock: Some(0),
            ..map("locked", MapKind::Hash, 4, 32)
        },
        map("percpu", MapKind::PercpuHash, 4, 8),
        map("lru", MapKind::LruHash, 4, 40),
        map("array", MapKind::Array, 4, 8),
        MapDef {
            flags: MapFlags::NO_PREALLOC,
            ..map("trie", MapKind::LpmTrie, 8, 16)
        },
    ]
}

fn key(def: &MapDef, number: u64) -> Vec<u8> {
    let number = number as u32;
    let mut key = match def.kind {
        // Prefixes of many lengths, one inside the other.
        MapKind::LpmTrie => {
            let len = 8 + number % 25;
            [len.to_ne_bytes(), (number << 24 | number << 16 | number).to_be_bytes()].concat()
        }
        _ => number.to_ne_bytes().to_vec(),
    };
    key.resize(def.key_size as usize, 0);
    key
}

/// Which keys of a trie are others': prefixes are cut to their length.
fn is_usable(def: &MapDef, number: u64) -> bool {
    def.kind != MapKind::LpmTrie || 8 + number % 25 == 32
}

/// A value of so many times the same word, and a lock that is free.
fn value(def: &MapDef, map: &Map, word: u64) -> Vec<u8> {
    let mut value: Vec<u8> = word
        .to_ne_bytes()
        .into_iter()
        .cycle()
        .take(map.host_value_size())
        .collect();
    if def.spin_lock.is_some() {
        value[..8].fill(0);
    }
    value
}

/// The words of a value, but for a lock in it.
fn words(def: &MapDef, value: &[u8]) -> Vec<u64> {
    let skip = if def.spin_lock.is_some() { 8 } else { 0 };
    let words = value[skip..].chunks_exact(8);
    words.map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect()
}

/// What is noted, in the shared page: 64-bit words.
struct Ledger(&'static [AtomicU64]);

const STARTED: usize = 0;
const FAILED: usize = 1;
const PUSHED: usize = 2;
const POPPED: usize = 3;
const DEPTH: usize = 4;
const WRITTEN: usize = 5;
const READ: usize = 6;
const ENTRIES: usize = 16;

impl Ledger {
    fn open(dir: &Path) -> Ledger {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("ledger"))
            .unwrap();
        let words = ENTRIES + 2 * keyed().len() * (THREADS * KEYS) as usize;
        file.set_len(8 * words as u64).unwrap();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping of a file as long, of words that are accessed atomically, and never unmapped.
        Ledger(unsafe {
            let start = mmap(std::ptr::null_mut(), 8 * words, access, MapFlags::SHARED, &file, 0).unwrap();
            std::slice::from_raw_parts(start.cast(), words)
        })
    }

    /// What a key of a map was about to be, and what it was: 0 if it is not there.
    fn entry(&self, map: usize, number: u64) -> (&AtomicU64, &AtomicU64) {
        let at = ENTRIES + 2 * (map * (THREADS * KEYS) as usize + number as usize);
        (&self.0[at], &self.0[at + 1])
    }

    fn get(&self, at: usize) -> u64 {
        self.0[at].load(SeqCst)
    }

    fn set(&self, at: usize, value: u64) {
        self.0[at].store(value, SeqCst);
    }
}

fn runtime() -> Runtime {
    Runtime::new(Options {
        slots: Some(SLOTS),
        ..Options::default()
    })
}

/// The maps of the storm, opened, or made when it begins.
fn maps(runtime: &Runtime, dir: &Path) -> BTreeMap<String, MapHandle> {
    let keyless = |name, kind, value_size, max_entries| MapDef::new(name, kind, 0, value_size, max_entries);
    let others = [
        keyless("queue", MapKind::Queue, 8, 100),
        keyless("stack", MapKind::Stack, 8, 100),
        keyless("ring", MapKind::Ringbuf, 0, 4096),
    ];
    let open = |def: MapDef| {
        let (name, path) = (def.name.clone(), dir.join(&def.name));
        let map = if path.exists() {
            runtime.open_map(&path).expect("a map that can be opened").map
        } else {
            runtime.create_map_in(def, &path).expect("a map")
        };
        (name, map)
    };
    keyed().into_iter().chain(others).map(open).collect()
}

/// Writes the packet's first eight bytes to the ring buffer, in a record of sixteen; returns 1 if it could not.
const WRITE: &str = "
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r0 = 1
    r2 = r6
    r2 += 8
    if r2 > r7 goto out
    r8 = *(u64 *)(r6 +0)
    r1 = map[idx:0]
    r2 = 16
    r3 = 0
    call bpf_ringbuf_reserve#131
    r1 = r0
    r0 = 1
    if r1 == 0 goto out
    *(u64 *)(r1 +0) = r8
    *(u64 *)(r1 +8) = r8
    r2 = 0
    call bpf_ringbuf_submit#132
    r0 = 0
out:
    exit
";

fn writer(runtime: &Runtime, ring: &MapHandle) -> (Hook, hitless::Link) {
    let object = ObjectSpec {
        license: "GPL".into(),
        maps: vec![MapSpec {
            name: "ring".into(),
            map_type: MapKind::Ringbuf.number(),
            max_entries: 4096,
            ..MapSpec::default()
        }],
        programs: vec![ProgramSpec {
            name: "write".into(),
            section: "xdp".into(),
            insns: hitless_isa::asm::assemble(WRITE).expect("the program assembles"),
            ..ProgramSpec::default()
        }],
        ..ObjectSpec::default()
    };
    let options = LoadOptions::new().replace_map("ring", ring);
    let loaded = runtime.load_with(&object, &options).unwrap();
    let hook = runtime.hook::<Xdp>("storm");
    let link = runtime.attach(&hook, &loaded.programs()[0]).unwrap();
    (hook, link)
}

/// The process that is killed.
#[test]
fn storm_child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let ledger = Ledger::open(dir);
    let runtime = runtime();
    let maps = maps(&runtime, dir);
    let (hook, _link) = writer(&runtime, &maps["ring"]);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (ledger, maps, hook) = (&ledger, &maps, &hook);
            scope.spawn(move || {
                let mut random = (u64::from(std::process::id()) << 8 | thread).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                for turn in 0u64.. {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    match turn % 8 {
                        7 => queue(ledger, maps, thread),
                        6 => ring(ledger, maps, hook, thread),
                        _ => change(ledger, maps, thread, random),
                    }
                    ledger.0[STARTED].fetch_add(1, SeqCst);
                }
            });
        }
    });
}

/// Changes one of the thread's keys in one of the maps.
fn change(ledger: &Ledger, maps: &BTreeMap<String, MapHandle>, thread: u64, random: u64) {
    let defs = keyed();
    let which = (random >> 8) as usize % defs.len();
    let (def, number) = (&defs[which], thread * KEYS + (random >> 32) % KEYS);
    if !is_usable(def, number) {
        return;
    }
    let map = &maps[&def.name];
    let (about, done) = ledger.entry(which, number);
    let delete = (random >> 20).is_multiple_of(3) && def.kind != MapKind::Array;
    let new = if delete {
        0
    } else {
        done.load(SeqCst).max(about.load(SeqCst)) + 1
    };
    about.store(new, SeqCst);
    let result = if delete {
        map.delete(&key(def, number))
    } else {
        let value = value(def, map, new);
        let in_place = def.spin_lock.is_some() && (random >> 24).is_multiple_of(2);
        map.update(
            &key(def, number),
            &value,
            if in_place { UpdateFlags::LOCK } else { UpdateFlags::ANY },
        )
    };
    match result {
        Ok(()) | Err(MapError::NotFound) => done.store(new, SeqCst),
        Err(error) => fail(ledger, &format!("{}: {error}", def.name)),
    }
}

/// One thread pushes to the queue what another pops; a third one uses the stack, whose values are their depths.
fn queue(ledger: &Ledger, maps: &BTreeMap<String, MapHandle>, thread: u64) {
    match thread {
        0 => {
            let next = ledger.get(PUSHED) + 1;
            match maps["queue"].push(&next.to_ne_bytes(), UpdateFlags::ANY) {
                Ok(()) => ledger.set(PUSHED, next),
                Err(MapError::Full { .. }) => {}
                Err(error) => fail(ledger, &format!("queue: {error}")),
            }
        }
        1 => {
            if let Some(value) = maps["queue"].pop().unwrap() {
                ledger.set(POPPED, u64::from_ne_bytes(value.try_into().unwrap()));
            }
        }
        _ => {
            let depth = ledger.get(DEPTH);
            if depth < 90 && !ledger.get(STARTED).is_multiple_of(5) {
                maps["stack"].push(&depth.to_ne_bytes(), UpdateFlags::ANY).unwrap();
                ledger.set(DEPTH, depth + 1);
            } else if depth > 0 {
                maps["stack"].pop().unwrap();
                ledger.set(DEPTH, depth - 1);
            }
        }
    }
}

/// One thread has a program write records; another one reads them.
fn ring(ledger: &Ledger, maps: &BTreeMap<String, MapHandle>, hook: &Hook, thread: u64) {
    match thread {
        0 => {
            let next = ledger.get(WRITTEN) + 1;
            let mut data = next.to_ne_bytes();
            if let Ok(hitless::XdpAction::Aborted) = hook.run(&mut Packet::new(&mut data)) {
                ledger.set(WRITTEN, next);
            }
        }
        1 => {
            let each = |record: &[u8]| ledger.set(READ, u64::from_ne_bytes(record[..8].try_into().unwrap()));
            if let Err(error) = maps["ring"].read_records(4, each) {
                fail(ledger, &format!("ring: {error}"));
            }
        }
        _ => {}
    }
}

fn fail(ledger: &Ledger, what: &str) {
    eprintln!("{what}");
    ledger.set(FAILED, 1);
}

/// What a map may hold for each key, of what the process had noted; goes on from what it does hold.
fn check_keys(ledger: &Ledger, which: usize, def: &MapDef, map: &Map) {
    let mut present = 0;
    for number in (0..THREADS * KEYS).filter(|number| is_usable(def, *number)) {
        let (about, done) = ledger.entry(which, number);
        let (may, was) = (about.load(SeqCst), done.load(SeqCst));
        let found = map.lookup(&key(def, number)).unwrap();
        let words = found.map_or(vec![0], |value| words(def, &value));
        // A value under a lock, and those of all slots, are written in place, word by word: whole is each of these.
        let in_place = def.spin_lock.is_some() || def.kind == MapKind::PercpuHash;
        let is_whole = in_place || words.iter().all(|word| *word == words[0]);
        let is_evicted = def.kind == MapKind::LruHash && words == [0];
        let are_known = words.iter().all(|word| *word == may || *word == was);
        assert!(
            is_evicted || is_whole && are_known,
            "{}, key {number}: {words:?}, {was} was done, {may} under way",
            def.name
        );
        let now = words[0];
        if in_place && words.iter().any(|word| *word != now) {
            map.update(&key(def, number), &value(def, map, now), UpdateFlags::EXIST)
                .unwrap();
        }
        about.store(now, SeqCst);
        done.store(now, SeqCst);
        present += usize::from(now != 0);
    }
    if def.kind != MapKind::Array {
        assert_eq!(
            map.entries().unwrap().len(),
            present,
            "{}: keys that nobody put in",
            def.name
        );
    }
}

/// The numbers must follow one another, from behind what was taken, to what was put in, or one further on both sides.
fn check_sequence(what: &str, found: &[u64], taken: u64, put: u64) {
    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{what}: {found:?}");
    match (found.first(), found.last()) {
        (Some(first), Some(last)) => {
            assert!((taken + 1..=taken + 2).contains(first), "{what}: {first} after {taken}");
            assert!((put..=put + 1).contains(last), "{what}: {last} of {put}");
        }
        _ => assert!(taken + 1 >= put, "{what}: nothing between {taken} and {put}"),
    }
}

/// Opens what the killed process has left, and compares it with what that had noted.
fn check(dir: &Path, ledger: &Ledger) -> usize {
    assert_eq!(ledger.get(FAILED), 0, "an operation failed");
    let mut mended = 0;
    for name in keyed()
        .iter()
        .map(|def| def.name.as_str())
        .chain(["queue", "stack", "ring"])
    {
        let path = dir.join(name);
        if !path.exists() {
            continue;
        }
        let audit = check_map(&path).unwrap();
        assert!(!audit.is_damaged(), "{name}: {audit}");
        mended += audit.findings.len();
    }
    let runtime = runtime();
    let maps = maps(&runtime, dir);
    for (which, def) in keyed().iter().enumerate() {
        check_keys(ledger, which, def, &maps[&def.name]);
    }
    let number = |value: Vec<u8>| u64::from_ne_bytes(value.try_into().unwrap());
    let queued: Vec<u64> = std::iter::from_fn(|| maps["queue"].pop().unwrap())
        .map(number)
        .collect();
    check_sequence("queue", &queued, ledger.get(POPPED), ledger.get(PUSHED));
    let stacked: Vec<u64> = std::iter::from_fn(|| maps["stack"].pop().unwrap())
        .map(number)
        .collect();
    let depth = stacked.len() as u64;
    assert!(stacked.iter().rev().copied().eq(0..depth), "stack: {stacked:?}");
    assert!(
        depth.abs_diff(ledger.get(DEPTH)) <= 1,
        "stack: {depth}, {}",
        ledger.get(DEPTH)
    );
    let mut records = Vec::new();
    maps["ring"]
        .read_records(usize::MAX, |record| {
            assert_eq!(record[..8], record[8..], "a record in two halves");
            records.push(u64::from_ne_bytes(record[..8].try_into().unwrap()));
        })
        .unwrap();
    check_sequence("ring", &records, ledger.get(READ), ledger.get(WRITTEN));
    // Both go on empty.
    let last = |found: &[u64], of: u64| found.last().copied().unwrap_or(of).max(of);
    for (put, taken, found) in [(PUSHED, POPPED, &queued), (WRITTEN, READ, &records)] {
        let end = last(found, ledger.get(put));
        ledger.set(put, end);
        ledger.set(taken, end);
    }
    ledger.set(DEPTH, 0);
    drop(maps);
    for def in keyed() {
        let again = check_map(dir.join(&def.name)).unwrap();
        assert_eq!(again.findings, [], "{}: mended is mended", def.name);
    }
    mended
}

/// Kills the process so often; how many things had to be mended.
fn storm(kills: u32) -> usize {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = Ledger::open(dir.path());
    let mut mended = 0;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..kills {
        let before = ledger.get(STARTED);
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["storm_child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Some are killed while they open the maps.
        if !kill.is_multiple_of(16) {
            while ledger.get(STARTED) == before {
                assert!(child.try_wait().unwrap().is_none(), "the process ended by itself");
                thread::sleep(Duration::from_micros(200));
            }
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(random % 8000));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "the process ended by itself: {status}");
        mended += check(dir.path(), &ledger);
    }
    for what in [STARTED, PUSHED, POPPED, WRITTEN, READ] {
        assert!(ledger.get(what) > u64::from(kills), "{what}: {}", ledger.get(what));
    }
    mended
}

#[test]
fn whoever_is_killed_loses_nothing_that_was_done() {
    storm(30);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn a_thousand_kills_lose_nothing_that_was_done() {
    let mended = storm(1000);
    println!("{mended} traces of 1000 killed processes were mended");
    assert!(mended > 10, "the kills came in the middle of nothing: {mended}");
}
