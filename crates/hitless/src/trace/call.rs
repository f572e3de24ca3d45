//! Running programs as tracers.

use super::{Cell, Event, StripeGuard};
use crate::env::Reach;
use crate::map::{Map, UpdateFlags};
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
    /// Runs the program as a tracer of what happened under a stripe. What it returns means nothing; a miss is counted by the
    /// program.
    pub(super) fn trace(&self, run: &Run<'_>, map: &Map, stripe: &StripeGuard<'_>, event: Event) {
        let key = stripe.key();
        let at = key.as_ptr() as u64;
        match event {
            Event::Update { cell, flags } => self.trace_update(run, map, stripe, (cell, flags)),
            Event::Delete | Event::Evict => {
                let mut context = RemoveContext { key: at };
                let memory = [(at, key.len())];
                // SAFETY: the context has the layout of its table; the stripe holds the key for the call.
                self.check(unsafe { self.execute(run, &mut context, Some(&Reach::memory(&memory, true))) });
            }
        }
    }

    fn trace_update(&self, run: &Run<'_>, map: &Map, stripe: &StripeGuard<'_>, (cell, flags): (Cell, UpdateFlags)) {
        let slot = if map.def().is_per_cpu() { cell.slot } else { run.index() };
        let live = map.ops().value(cell.elem, slot);
        let key = stripe.key();
        let call = |value: u64| {
            let mut context = UpdateContext {
                key: key.as_ptr() as u64,
                value,
                flags: flags.bits(),
                slot: slot.into(),
            };
            let memory = [(context.key, key.len()), (value, live.len())];
            // SAFETY: the context has the layout of its table; the stripe holds the key, and the caller the value, for the call.
            self.check(unsafe { self.execute(run, &mut context, Some(&Reach::memory(&memory, true))) });
        };
        match stripe.trace().snapshot_buffers() {
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

    /// A tracer has no caller that could be told; a trap is a defect of hitless.
    fn check(&self, result: Result<u64, Failure>) {
        debug_assert!(
            result != Err(Failure::Trapped),
            "tracer {}: {:?}",
            self.name(),
            self.failed_check()
        );
    }
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
