//! Objects whose programs do one operation on a map many times: run in hitless.

use std::collections::HashMap;
use std::time::Instant;

use hitless::{Hook, Link, Map, MapHandle, Packet, Runtime, XdpAction};
use hitless_object::ObjectSpec;

use crate::{Case, input};

/// How many operations a program does in one run.
pub const TIMES: u32 = 256;

/// The packet that a program goes on from and leaves behind; padded, since Linux wants more than an Ethernet header.
#[derive(Clone, Copy, Debug, Default)]
pub struct State([u64; 8]);

impl State {
    /// Keys from `first` on, of which there are `count`, a power of two.
    #[must_use]
    pub fn new(count: u32, first: u32) -> State {
        let mut state = State::default();
        state.0[0] = 42;
        state.0[1] = u64::from(first) << 32 | u64::from(count - 1);
        state
    }

    /// Words as they are.
    #[must_use]
    pub fn of(words: &[u64]) -> State {
        let mut state = State::default();
        state.0[..words.len()].copy_from_slice(words);
        state
    }

    /// Changes a word of it.
    pub fn set_word(&mut self, index: usize, word: u64) {
        self.0[index] = word;
    }

    /// A word of it.
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        self.0[index]
    }

    /// The packet's bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Goes on from a packet's bytes.
    pub fn set(&mut self, bytes: &[u8; 64]) {
        for (word, bytes) in self.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
    }
}

/// The programs attached to hooks of their own.
#[derive(Debug)]
pub struct Hitless {
    hooks: HashMap<String, Hook>,
    maps: Vec<MapHandle>,
    _links: Vec<Link>,
    _runtime: Runtime,
}

impl Hitless {
    /// Loads an object, and attaches its programs.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(spec: &ObjectSpec) -> Hitless {
        let runtime = Runtime::default();
        let object = runtime.load(spec).expect("the object loads");
        let mut links = Vec::new();
        let hooks = object.programs().iter().map(|program| {
            let hook = runtime.hook(program.name());
            links.push(runtime.attach(&hook, program).expect("it attaches"));
            (program.name().to_owned(), hook)
        });
        Hitless {
            hooks: hooks.collect(),
            _links: links,
            maps: object.maps().to_vec(),
            _runtime: runtime,
        }
    }

    /// A map.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn map(&self, name: &str) -> &Map {
        self.maps
            .iter()
            .find(|map| map.name() == name)
            .expect("there is such a map")
    }

    /// Runs a program so many times; returns what one run took, in nanoseconds.
    ///
    /// # Panics
    /// If there is no such program, or it does not pass the packet.
    pub fn run(&self, program: &str, state: &mut State, times: u32) -> f64 {
        let hook = &self.hooks[program];
        let mut bytes = state.bytes();
        let start = Instant::now();
        for _ in 0..times {
            let action = hook.run(&mut Packet::new(&mut bytes)).expect("it runs");
            assert_eq!(action, XdpAction::Pass);
        }
        let took = start.elapsed().as_nanos() as f64 / f64::from(times);
        state.set(&bytes);
        took
    }
}

/// The usual operations, one after the other, for who counts instructions: with the loop around them, which does nothing else
/// than to choose a key.
///
/// # Panics
/// Never: the object loads.
#[must_use]
pub fn cases() -> Vec<Case> {
    let hitless = std::sync::Arc::new(Hitless::new(&input::object("map_ops")));
    let names = [
        ("a key chosen, nothing done", "nothing"),
        ("hash lookup", "hash_lookup"),
        ("hash update", "hash_update"),
        ("hash update, delete", "half_update_delete"),
        ("hash update, lookup, delete", "half_update_lookup_delete"),
        ("per-CPU hash lookup", "percpu_lookup"),
        ("per-CPU hash update", "percpu_update"),
        ("LRU lookup", "lru_lookup"),
        ("LRU update", "lru_update"),
        ("array lookup", "array_lookup"),
        ("array update", "array_update"),
        ("16/64 bytes: lookup", "wide_lookup"),
        ("16/64 bytes: update", "wide_update"),
    ];
    for map in ["hash", "percpu", "lru", "array", "wide"] {
        hitless.run(&format!("fill_{map}"), &mut State::default(), KEYS / TIMES);
    }
    let case = |(name, program)| {
        let hitless = std::sync::Arc::clone(&hitless);
        Case::new(name, move |calls| {
            hitless.run(program, &mut State::new(KEYS, 0), calls / TIMES);
        })
    };
    names.into_iter().map(case).collect()
}

/// How many keys the maps hold whose instructions are counted.
const KEYS: u32 = 4096;
