//! Map tracing: what the runtime has and Linux does not, so numbers that Linux's headers lack.
//!
//! Those of the RFC "Introduce BPF map tracing" that name an event are the RFC's. It was never merged, so what it appends to
//! lists that Linux has gone on with has numbers of a range of our own instead, from `0x8000_0000` on.

use super::program_types::typed;
use crate::facts::ContextFieldKind::{Memory, Scalar};
use crate::facts::{ContextFacts, ProgramKind};

/// Where numbers of our own begin: out of Linux's way.
const OURS: u32 = 0x8000_0000;

/// The attach type of programs that trace maps.
#[doc(alias = "BPF_TRACE_MAP")]
pub const ATTACH_TYPE: u32 = OURS;

/// The type of the links that attach them.
#[doc(alias = "BPF_LINK_TYPE_MAP_TRACE")]
pub const LINK_TYPE: u32 = OURS;

/// Commands of `bpf(2)` that wait: until what programs took from maps of maps before is not in use any more, the same for one
/// such map, and until something becomes of a map.
pub mod commands {
    use super::OURS;

    /// Takes no attributes.
    #[doc(alias = "BPF_SYNCHRONIZE_MAP_TO_MAP_REFERENCES")]
    pub const SYNCHRONIZE: u32 = OURS;
    /// Of one map of maps.
    #[doc(alias = "BPF_MAP_SYNC_REFS")]
    pub const SYNC_REFS: u32 = OURS + 1;
    /// Until something becomes of a map.
    #[doc(alias = "BPF_MAP_WAIT")]
    pub const WAIT: u32 = OURS + 2;
}

/// An event of a map that programs trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its name, as sections have it.
    pub name: &'static str,
    /// Its number (`enum bpf_map_trace_type`).
    pub number: u32,
    /// The struct that programs are given.
    pub context: &'static str,
    /// What is in the struct: the arguments that the RFC's function has, then what we append.
    fields: &'static [(&'static str, crate::facts::ContextFieldKind)],
    /// How many of them are arguments of the function.
    arguments: usize,
}

/// An element got a value.
pub const UPDATE_ELEM: Event = Event {
    name: "UPDATE_ELEM",
    number: 0,
    context: "bpf_map_trace_ctx__update_elem",
    fields: &[("key", Memory), ("value", Memory), ("flags", Scalar), ("slot", Scalar)],
    arguments: 3,
};

/// An element was deleted.
pub const DELETE_ELEM: Event = Event {
    name: "DELETE_ELEM",
    number: 1,
    context: "bpf_map_trace_ctx__delete_elem",
    fields: &[("key", Memory)],
    arguments: 1,
};

/// An element was taken out of an LRU map, to make room for another.
pub const EVICT_ELEM: Event = Event {
    name: "EVICT_ELEM",
    number: OURS,
    context: "bpf_map_trace_ctx__evict_elem",
    fields: &[("key", Memory)],
    arguments: 1,
};

/// All events.
pub const EVENTS: [Event; 3] = [UPDATE_ELEM, DELETE_ELEM, EVICT_ELEM];

impl Event {
    /// What tracers of this event are given. They return 0.
    #[must_use]
    pub fn facts(&self) -> ContextFacts {
        typed(ProgramKind::MapTrace, self.context, self.fields)
    }

    /// The names of the arguments of the function that such programs are attached to, the context's first fields.
    #[must_use]
    pub const fn arguments(&self) -> usize {
        self.arguments
    }

    /// The function that such programs are attached to, in the runtime's BTF.
    #[must_use]
    pub fn function(&self) -> String {
        format!("bpf_map_trace__{}", self.enumerator())
    }

    /// The name of its number in C.
    #[must_use]
    pub fn enumerator(&self) -> String {
        format!("BPF_MAP_TRACE_{}", self.name)
    }
}
