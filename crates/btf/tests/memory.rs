//! How much memory untrusted bytes can ask for. A single test, so that nothing else allocates meanwhile.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{section, vmlinux};
use hitless_btf::*;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all is left to `System`; only sizes are added up beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        // SAFETY: the caller keeps the promises that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `ptr` came from `System`, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that was in use at once during `work`, beyond what was before.
fn most<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let done = work();
    (done, MOST.load(Relaxed) - before)
}

/// `.BTF` of types that consist of these words, with one long string.
fn handmade(count: u32, strings: usize, words: impl Fn(u32) -> Vec<u32>) -> Vec<u8> {
    let types: Vec<u8> = (0..count).flat_map(words).flat_map(u32::to_le_bytes).collect();
    let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    let len = types.len() as u32;
    let header = [0, len, len, strings as u32 + 2];
    bytes.extend(header.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(types);
    bytes.push(0);
    bytes.extend(vec![b'x'; strings]);
    bytes.push(0);
    bytes
}

#[test]
fn memory_is_a_small_multiple_of_the_input() {
    const COUNT: u32 = 50_000;
    let ends = |i: u32| 1 + 3490 + i % 500;
    let mut inputs = vec![
        ("object", section("flows_v2", ".BTF")),
        ("pointers", handmade(COUNT, 1, |_| vec![0, 2 << 24, 0])),
        ("tags", handmade(COUNT, 4000, |i| vec![1 + i % 4000, 18 << 24, 0])),
        (
            "typedefs of long names",
            handmade(COUNT, 4000, |i| vec![ends(i), 8 << 24, 0]),
        ),
        (
            "structs without members",
            handmade(COUNT, 4000, |i| vec![ends(i), 4 << 24, 0]),
        ),
        (
            "enums",
            handmade(COUNT, 4000, |i| vec![ends(i), 6 << 24 | 1, 4, ends(i), i]),
        ),
        (
            "prototypes",
            handmade(COUNT, 4000, |i| vec![0, 13 << 24 | 2, 0, ends(i), i, ends(i), i]),
        ),
        (
            "declaration tags",
            handmade(COUNT, 1, |i| match i {
                0 => vec![1, 4 << 24, 0],
                _ => vec![1, 17 << 24, 1, u32::MAX],
            }),
        ),
        (
            "structs around structs",
            handmade(COUNT, 1, |i| match i % 60 {
                0 => vec![0, 4 << 24, 0],
                _ => vec![0, 4 << 24 | 2, 0, 1, i, 0, 1, i, 0],
            }),
        ),
    ];
    inputs.extend(vmlinux().map(|bytes| ("kernel", bytes)));
    for (name, bytes) in inputs {
        let len = bytes.len();
        let bounded = |what: &str, most: usize, times: usize| {
            let max = len * times + (8 << 20);
            assert!(most <= max, "{name}: {what} takes {most} bytes for {len}");
        };
        let (btf, parsing) = most(|| Arc::new(Btf::parse(&bytes).unwrap()));
        bounded("parsing", parsing, 16);
        let (written, writing) = most(|| btf.to_bytes());
        bounded("writing", writing, 8);
        assert!(written.len() <= len, "{name}: {} bytes written of {len}", written.len());
        bounded("looking up", most(|| btf.find(Kind::Struct, "x")).1, 16);
        bounded("dumping", most(|| dump::c(&btf).map(|text| text.len())).1, 80);
        let split = || {
            Btf::new_split(vec![Type::Ptr(TypeId(0))], Arc::clone(&btf))
                .unwrap()
                .to_bytes()
        };
        bounded("splitting", most(split).1, 16);
    }
}
