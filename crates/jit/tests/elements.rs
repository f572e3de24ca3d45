//! What compiled code knows of maps: elements of arrays, looked up and written without a call, are the same as by the functions that
//! stand beside them, and buckets of hash tables those that keys belong to.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use common::{Environment, SERVICES, assemble, decreed, engines, no_context, run};
use hitless_isa::{Reg, Size};
use hitless_jit::{Arg, CallSite, Callee, Elements, HashTable, Inline, LowerInput, Resolve, Variant, lower};

const LEN: u32 = 3;
/// Words from an element to the next one: the longest value, and a gap.
const STRIDE: usize = 9;
/// Words from a slot's elements to those of the next one. Runs have slot 3.
const SLOT: usize = STRIDE * LEN as usize;

/// An array with a value for each of four slots.
#[derive(Debug)]
struct Array {
    words: Box<[AtomicU64]>,
    size: u32,
    closed: AtomicU32,
    calls: AtomicU32,
}

impl Array {
    fn new(size: u32) -> Array {
        Array {
            words: (0..4 * SLOT).map(|_| AtomicU64::new(u64::MAX)).collect(),
            size,
            closed: AtomicU32::new(0),
            calls: AtomicU32::new(0),
        }
    }

    fn base(&self) -> u64 {
        self.words.as_ptr().expose_provenance() as u64
    }

    /// The words that are not as they were, by index.
    fn changed(&self) -> Vec<(usize, u64)> {
        let words = self.words.iter().map(|word| word.load(Relaxed));
        words.enumerate().filter(|(_, word)| *word != u64::MAX).collect()
    }
}

impl Resolve for Array {
    fn helper(&self, call: &CallSite<'_>) -> Option<Callee> {
        let elements = Elements {
            base: self.base(),
            stride: STRIDE as u64 * 8,
            len: LEN,
            slot_stride: SLOT as u64 * 8,
            index: None,
        };
        let this = Arg::Const(std::ptr::from_ref(self).expose_provenance() as u64);
        let key = Arg::Load(Reg::R2, Size::W);
        // SAFETY: the functions take these arguments.
        Some(unsafe {
            match call.id {
                1 => Callee::function(look_up as *const (), &[this, key]).inlined(Inline::Element(elements)),
                2 => Callee::function(update as *const (), &[this, key, Arg::Reg(Reg::R3), Arg::Reg(Reg::R4)]).inlined(
                    Inline::Store {
                        elements,
                        size: self.size,
                        closed: std::ptr::from_ref(&self.closed).expose_provenance() as u64,
                    },
                ),
                3 => Callee::function(same as *const (), &[Arg::Load(Reg::R2, Size::H), Arg::Bucket(0, TABLE)]),
                _ => return None,
            }
        })
    }
}

const TABLE: HashTable = HashTable {
    base: 1 << 32,
    buckets: 1000,
    shift: 6,
    seed: [0x1234_5678_9abc_def0, 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93],
};

/// The bucket, which is that of the key that was loaded.
extern "C" fn same(key: u64, bucket: u64) -> u64 {
    assert_eq!(bucket, TABLE.bucket(key));
    bucket
}

#[test]
fn keys_belong_to_buckets() {
    let mut buckets = std::collections::BTreeSet::new();
    for (name, engine) in engines() {
        for key in (0..=u16::MAX).step_by(997) {
            // The two bytes behind are not the key's.
            let word = u32::from(key) | 0xabcd_0000;
            let (found, _) = call(&Array::new(8), &*engine, "r2 = r1\n call same#3\n exit", word, 0);
            assert_eq!(found, TABLE.bucket(key.into()), "{name}: key {key}");
            assert!(
                (TABLE.base..TABLE.base + (1000 << 6)).contains(&found) && found % 64 == 0,
                "{found:#x}"
            );
            buckets.insert(found);
        }
    }
    assert!(buckets.len() > 60, "keys are spread over {} buckets", buckets.len());
}

/// The word at which an element of slot 3 begins.
fn element(index: u64) -> Option<usize> {
    (index < LEN.into()).then_some(3 * SLOT + index as usize * STRIDE)
}

extern "C" fn look_up(array: &Array, index: u64) -> u64 {
    element(index).map_or(0, |at| array.base() + 8 * at as u64)
}

extern "C" fn update(array: &Array, index: u64, value: u64, flags: u64) -> u64 {
    array.calls.fetch_add(1, Relaxed);
    let Some(at) = element(index).filter(|_| flags == 0 && array.closed.load(Relaxed) == 0) else {
        return 1000 + flags;
    };
    for off in 0..array.size as usize {
        // SAFETY: as many bytes are there, in a value of the test and in an element of the array.
        unsafe {
            let byte = *std::ptr::with_exposed_provenance::<u8>(value as usize + off);
            *array.words.as_ptr().cast::<u8>().cast_mut().add(8 * at + off) = byte;
        }
    }
    0
}

/// What a call returns, given an index, flags, and a value of bytes that count up; and whether the function was called.
fn call(array: &Array, engine: &dyn hitless_jit::Engine, text: &str, index: u32, flags: u8) -> (u64, bool) {
    let image = lower(LowerInput {
        name: "test",
        verified: &decreed(assemble(text)),
        context: &no_context(),
        maps: &[],
        arguments: 1,
        replaced: &[],
        variant: Variant::Plain,
        resolve: array,
        services: SERVICES,
    });
    let code = engine.compile(Arc::new(image.expect("lowers"))).expect("compiles");
    let mut memory: Vec<u8> = index.to_le_bytes().into_iter().chain([flags, 0, 0]).collect();
    // So the value is not aligned.
    memory.extend(1..=64);
    let calls = array.calls.load(Relaxed);
    let result = run(&*code, &mut Environment::of(&mut memory)).expect("it runs");
    (result, array.calls.load(Relaxed) != calls)
}

const UPDATE: &str = "r2 = r1\n r3 = r1\n r3 += 7\n r4 = *(u8 *)(r1 +4)\n call update#2\n exit";

#[test]
fn stores_do_what_updates_do() {
    for size in [1, 2, 4, 8, 16, 64] {
        let mut expected = None;
        for (name, engine) in engines() {
            let array = Array::new(size);
            let (result, called) = call(&array, &*engine, UPDATE, 1, 0);
            assert_eq!((result, called), (0, name == "interpreter"), "{name}: {size} bytes");
            let no_flags = UPDATE.replace("r4 = *(u8 *)(r1 +4)", "r4 = 0");
            assert_eq!(call(&array, &*engine, &no_flags, 2, 7).0, 0, "{name}: {size} bytes");
            let changed = array.changed();
            assert_eq!(changed[0].0, 3 * SLOT + STRIDE, "{name}: {size} bytes");
            assert_eq!(
                *expected.get_or_insert(changed.clone()),
                changed,
                "{name}: {size} bytes"
            );
        }
    }
}

#[test]
fn unusual_updates_are_called() {
    for (name, engine) in engines() {
        let array = Array::new(8);
        assert_eq!(call(&array, &*engine, UPDATE, 1, 2), (1002, true), "{name}: flags");
        assert_eq!(
            call(&array, &*engine, UPDATE, LEN, 0),
            (1000, true),
            "{name}: the index"
        );
        array.closed.store(1, Relaxed);
        assert_eq!(call(&array, &*engine, UPDATE, 1, 0), (1000, true), "{name}: closed");
        assert_eq!(array.changed(), [], "{name}");
    }
}

#[test]
fn elements_are_found() {
    for (name, engine) in engines() {
        let array = Array::new(8);
        let text = "r2 = r1\n call look_up#1\n exit";
        for index in 0..LEN + 2 {
            let found = call(&array, &*engine, text, index, 0).0;
            assert_eq!(found, look_up(&array, index.into()), "{name}: {index}");
        }
    }
}
