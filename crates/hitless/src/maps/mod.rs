//! Maps with types: keys and values are Rust values instead of bytes.
//!
//! [`Collection::get`] takes a map of a loaded object as one of these. It compares the map's kind, its sizes and, as far as
//! the object has BTF, the fields of key and value with the Rust types, so that a program whose layout has changed is
//! noticed there, by name, rather than read wrongly.
//!
//! Each is a handle on an untyped [`Map`], cheap to clone, and may be used by any number of threads at once. It goes on to
//! name that very map after an upgrade has moved its content to another: writes are then refused with
//! [`MapError::Migrated`], and the new object's [`Collection`] has the new map.
//!
//! # Examples
//! ```
//! use hitless::maps::HashMap;
//! use hitless::{Object, Runtime, UpdateFlags, Value};
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Value)]
//! #[repr(C)]
//! struct FlowKey {
//!     saddr: [u32; 4],
//!     daddr: [u32; 4],
//!     sport: u16,
//!     dport: u16,
//!     proto: u8,
//!     pad: [u8; 3],
//! }
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Value)]
//! #[repr(C)]
//! struct FlowStats {
//!     packets: u32,
//!     bytes: u32,
//! }
//!
//! # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
//! let runtime = Runtime::default();
//! let counting = Object::open("bpf/flows_v1.bpf.o")?.load(&runtime)?;
//! let flows: HashMap<FlowKey, FlowStats> = counting.get("flows")?;
//!
//! let key = FlowKey { saddr: [1; 4], daddr: [2; 4], sport: 80, dport: 90, proto: 6, pad: [0; 3] };
//! let stats = FlowStats { packets: 1, bytes: 64 };
//! flows.insert(&key, &stats, UpdateFlags::ANY)?;
//! assert_eq!(flows.get(&key)?, Some(stats));
//! for entry in &flows {
//!     let (key, stats) = entry?;
//!     println!("{key:?} {stats:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Collection`]: crate::Collection
//! [`MapError::Migrated`]: crate::MapError::Migrated
//! [`Collection::get`]: crate::Collection::get

mod array;
mod error;
mod global;
mod hash;
mod lpm;
mod percpu;
mod perf;
mod prog_array;
mod ringbuf;
mod sequence;
mod wait;

use std::sync::Arc;

use hitless_verifier::MapKind;

pub use array::Array;
pub use error::{GetMapError, MapTypeError, SetGlobalError};
pub use global::Global;
pub(crate) use global::{find_global, known_globals};
pub use hash::{HashIter, HashMap, LruHashMap};
pub use lpm::{LpmIter, LpmTrie, Prefix};
pub use percpu::{PerCpuArray, PerCpuHashIter, PerCpuHashMap, PerCpuValues};
pub use perf::{PerfEventArray, PerfReader, PerfReaderError};
pub use prog_array::ProgArray;
pub use ringbuf::{ReadError, RingBuf, RingReader, UserRingBuf};
pub use sequence::{BloomFilter, Fifo, Lifo, Order, Queue, Sequence, Stack};

use crate::Value;
use crate::btf_type::check_layout;
use crate::map::{Map, MapHandle, kind_name};

/// A typed form of maps, which [`Collection::get`](crate::Collection::get) takes a map as.
pub trait TypedMap: Sized {
    /// The map in this form.
    ///
    /// # Errors
    /// [`MapTypeError`] if it is of another kind, or its keys or values have another layout.
    fn from_map(map: &MapHandle) -> Result<Self, MapTypeError>;
}

/// The map as it is, whatever it holds.
impl TypedMap for Arc<Map> {
    fn from_map(map: &MapHandle) -> Result<Arc<Map>, MapTypeError> {
        Ok(Arc::clone(map))
    }
}

fn check_kind(map: &Map, kinds: &[MapKind]) -> Result<(), MapTypeError> {
    if kinds.contains(&map.def().kind) {
        return Ok(());
    }
    let expected: Vec<_> = kinds.iter().map(|kind| kind_name(*kind)).collect();
    Err(MapTypeError::Kind {
        map: map.name().to_owned(),
        found: kind_name(map.def().kind),
        expected: expected.join(" or "),
    })
}

fn check_key<K: Value>(map: &Map) -> Result<(), MapTypeError> {
    let found = map.btf().zip(map.key_type());
    check_layout::<K>(found, map.def().key_size as usize).map_err(|source| MapTypeError::Key {
        map: map.name().to_owned(),
        source,
    })
}

fn check_value<V: Value>(map: &Map) -> Result<(), MapTypeError> {
    let found = map.btf().zip(map.value_type());
    check_layout::<V>(found, map.def().value_size as usize).map_err(|source| MapTypeError::Value {
        map: map.name().to_owned(),
        source,
    })
}
