//! Running programs as tracers.

use super::{Cell, Event, TraceState};
use crate::env::Reach;
use crate::map::{Key, Map, UpdateFlags};
use crate::program::{Failure, Program};
use crate::run::Run;

/// `struct bpf_map_trace_ctx__update_elem`.
#[repr(C)]
struct UpdateContext {
    key: u64,
    value: u64,
    flags: u64,
    slot: u64,
}

/// `struct bpf_map_trace_ctx__delete_elem`, `struct bpf_map_trace_ctx__evict_elem`.
#[repr(C)]
struct RemoveContext {
    key: u64,
}

impl Program {
    /// Runs the program as a tracer. What it returns means nothing; a miss is counted by the program.
    pub(super) fn trace(&self, run: &Run<'_>, map: &Map, event: &Event<'_>) {
        match *event {
            Event::Update { cell, flags } => self.trace_update(run, map, cell, flags),
            Event::Delete { key } | Event::Evict { key } => {
                let mut context = RemoveContext { key: address(key) };
                let memory = [(context.key, key.bytes().len())];
                // SAFETY: the context has the layout of its table; the key lives for the call.
                self.trace_with(|| unsafe { self.execute(run, &mut context, Reach::memory(&memory, true)) });
            }
        }
    }

    fn trace_update(&self, run: &Run<'_>, map: &Map, cell: Cell, flags: UpdateFlags) {
        let Some(key) = map.ops().key_of(cell.elem) else { return };
        let slot = if map.def().is_per_cpu() { cell.slot } else { run.index() };
        let live = map.ops().value(cell.elem, slot);
        let call = |value: u64| {
            let mut context = UpdateContext {
                key: address(&key),
                value,
                flags: flags.bits(),
                slot: slot.into(),
            };
            let memory = [(context.key, key.bytes().len()), (value, live.len())];
            // SAFETY: the context has the layout of its table; key and value live for the call.
            self.trace_with(|| unsafe { self.execute(run, &mut context, Reach::memory(&memory, true)) });
        };
        match map.trace().and_then(TraceState::snapshot_buffers) {
            // The value is guarded by a spin lock: the tracer gets a copy made under it.
            Some(buffers) => {
                let copied = buffers.with(run, |value| {
                    if map.read_element(run, cell, value).is_ok() {
                        call(value.as_ptr() as u64);
                    }
                });
                if copied.is_none() {
                    self.count_miss();
                }
            }
            None => call(live.address()),
        }
    }

    fn trace_with(&self, execute: impl FnOnce() -> Result<u64, Failure>) {
        if execute() == Err(Failure::Trapped) {
            // A tracer has no caller that could be told; a trap is a defect of hitless.
            debug_assert!(false, "tracer {}: {:?}", self.name(), self.failed_check());
        }
    }
}

fn address(key: &Key) -> u64 {
    key.bytes().as_ptr() as u64
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::trace::TraceEvent;
    use std::mem::offset_of;

    #[test]
    fn context_structs_match_their_tables() {
        let update = [
            offset_of!(UpdateContext, key),
            offset_of!(UpdateContext, value),
            offset_of!(UpdateContext, flags),
            offset_of!(UpdateContext, slot),
        ];
        let remove = [offset_of!(RemoveContext, key)];
        for (event, offsets) in [
            (TraceEvent::UpdateElem, &update[..]),
            (TraceEvent::DeleteElem, &remove),
            (TraceEvent::EvictElem, &remove),
        ] {
            let facts = event.table().facts();
            let fields: Vec<_> = facts.fields.iter().map(|field| field.host_off as usize).collect();
            assert_eq!(fields, offsets, "{event}");
        }
    }
}
