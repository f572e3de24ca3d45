//! What programs do with maps: one program for each helper, given keys, values and flags in its packet.
//!
//! The packet has 16 bytes of zeros, so that it has a link-layer header; the flags, which the program replaces by what the helper
//! returned; the key; and the value, which a lookup replaces by what it found.

use std::fmt::Write;

use hitless::{MapDef, MapKind};

const FLAGS: u32 = 16;
const KEY: u32 = 24;

/// A helper that is called with the map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    Lookup,
    /// The value of the processor that the flags say.
    LookupPercpu,
    /// Adds through the pointer of a lookup.
    Add,
    Update,
    Delete,
    Push,
    Pop,
    Peek,
    /// Looks up an element of the map that is found.
    LookupInner,
    /// Updates one.
    UpdateInner,
    Output,
    /// What the flags ask for of a ring buffer.
    Query,
}

impl Op {
    /// Those for maps like this.
    pub fn of(def: &MapDef) -> &'static [Op] {
        match def.kind {
            MapKind::PercpuHash | MapKind::PercpuArray | MapKind::LruPercpuHash => {
                &[Op::Lookup, Op::LookupPercpu, Op::Add, Op::Update, Op::Delete]
            }
            MapKind::Hash | MapKind::Array | MapKind::LruHash | MapKind::LpmTrie => {
                &[Op::Lookup, Op::Add, Op::Update, Op::Delete]
            }
            MapKind::Queue | MapKind::Stack => &[Op::Push, Op::Pop, Op::Peek],
            MapKind::BloomFilter => &[Op::Push, Op::Peek],
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => &[Op::LookupInner, Op::UpdateInner],
            MapKind::Ringbuf => &[Op::Output, Op::Query],
            _ => &[],
        }
    }

    /// The program, for traffic control, so that it may change its packet.
    pub fn program(self, def: &MapDef) -> String {
        let size = if def.inner.is_some() || def.kind == MapKind::Ringbuf {
            8
        } else {
            def.value_size
        };
        let value = value_at(def);
        let (key_on_stack, value_on_stack) = (-64, -32);
        let mut text = String::new();
        let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes any text");
        line("r6 = *(u32 *)(r1 +76)");
        line("r7 = *(u32 *)(r1 +80)");
        line("r0 = -1");
        line(&format!("r1 = r6\nr1 += {}\nif r1 > r7 goto out", value + size));
        line(&format!("r8 = *(u64 *)(r6 +{FLAGS})"));
        line(&copy("r10", key_on_stack, "r6", KEY as i32, def.key_size));
        line(&copy("r10", value_on_stack, "r6", value as i32, size));
        let map = "r1 = map[idx:0]";
        let key = format!("r2 = r10\nr2 += {key_on_stack}");
        let found = copy("r6", value as i32, "r0", 0, size);
        let found = format!("if r0 == 0 goto done\n{found}\nr0 = 1");
        // Of the value and, in r2, the value of a keyless map.
        let stored = |register: &str| format!("{register} = r10\n{register} += {value_on_stack}");
        line(&match self {
            Op::Lookup => format!("{map}\n{key}\ncall bpf_map_lookup_elem#1\n{found}"),
            Op::LookupPercpu => format!("{map}\n{key}\nr3 = r8\ncall bpf_map_lookup_percpu_elem#195\n{found}"),
            Op::Add => format!(
                "{map}\n{key}\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto done\nlock *(u32 *)(r0 +0) += r8\nr0 = 1"
            ),
            Op::Update => format!("{map}\n{key}\n{}\nr4 = r8\ncall bpf_map_update_elem#2", stored("r3")),
            Op::Delete => format!("{map}\n{key}\ncall bpf_map_delete_elem#3"),
            Op::Push => format!("{map}\n{}\nr3 = r8\ncall bpf_map_push_elem#87", stored("r2")),
            Op::Pop | Op::Peek => {
                let helper = if self == Op::Pop {
                    "bpf_map_pop_elem#88"
                } else {
                    "bpf_map_peek_elem#89"
                };
                let back = copy("r6", value as i32, "r10", value_on_stack, size);
                format!("{map}\n{}\ncall {helper}\nr9 = r0\n{back}\nr0 = r9", stored("r2"))
            }
            Op::LookupInner | Op::UpdateInner => {
                let inner = format!(
                    "{map}\n{key}\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto done\nr1 = r0\nr2 = r10\nr2 += -8"
                );
                let index = "r1 = r8\nr1 &= 3\n*(u32 *)(r10 -8) = r1";
                match self {
                    Op::LookupInner => format!("{index}\n{inner}\ncall bpf_map_lookup_elem#1\n{found}"),
                    _ => format!("{index}\n{inner}\n{}\nr4 = 0\ncall bpf_map_update_elem#2", stored("r3")),
                }
            }
            Op::Output => format!(
                "{map}\n{}\nr3 = {size}\nr4 = r8\ncall bpf_ringbuf_output#130",
                stored("r2")
            ),
            Op::Query => format!("{map}\nr2 = r8\ncall bpf_ringbuf_query#134"),
        });
        line(&format!("done:\n*(u64 *)(r6 +{FLAGS}) = r0\nr0 = 0\nout:\nexit"));
        text
    }
}

/// Where the value is in the packet.
fn value_at(def: &MapDef) -> u32 {
    KEY + def.key_size.next_multiple_of(8)
}

/// Instructions that copy so many bytes, through `r5`.
fn copy(to: &str, to_off: i32, from: &str, from_off: i32, len: u32) -> String {
    let mut text = String::new();
    let mut done = 0;
    for size in [8, 4, 2, 1] {
        while len as i32 - done >= size {
            let bits = 8 * size;
            let (from_off, to_off) = (from_off + done, to_off + done);
            writeln!(
                text,
                "r5 = *(u{bits} *)({from} {from_off:+})\n*(u{bits} *)({to} {to_off:+}) = r5"
            )
            .expect("a string takes any text");
            done += size;
        }
    }
    text
}

/// The packet for a call. A value may be of several processors: the first is taken.
pub fn packet(def: &MapDef, key: &[u8], value: &[u8], flags: u64) -> Vec<u8> {
    let mut packet = vec![0; 64];
    let mut put = |at: u32, bytes: &[u8]| packet[at as usize..][..bytes.len()].copy_from_slice(bytes);
    put(FLAGS, &flags.to_ne_bytes());
    put(KEY, key);
    let size = value.len().min(if def.inner.is_some() {
        8
    } else {
        def.value_size as usize
    });
    put(value_at(def), &value[..size]);
    packet
}

/// A side that runs programs on its map.
pub trait Runs {
    /// The packet after a run; the verifier's or the runtime's refusal.
    fn run(&mut self, op: Op, packet: &[u8]) -> Result<Vec<u8>, String>;
}
