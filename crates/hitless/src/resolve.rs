//! What calls of helpers become in a program, by what is known of it when it is loaded.
//!
//! Every helper is a function that is called by its address (`helpers`). Where the map is known, that of the map is called in
//! its place, with what the map keeps ([`MapCalls`](crate::map::MapCalls)); where it is an array, looking up is arithmetic, and updating a copy.
//! Changes of maps are specialised in the plain variant only: in the traced one, they go through the map, which knows of tracing.

use std::sync::Arc;

use hitless_isa::Reg;
use hitless_jit::{Arg, CallSite, Callee, Elements, Inline, Resolve, Variant};
use hitless_verifier::tables::helpers;

use crate::env::RunEnv;
use crate::helpers::kfuncs::Kfunc;
use crate::map::{InlineArray, Map, MapCalls, Pass};

/// Values of arrays of up to so many bytes are written without a call.
const MAX_STORE: u32 = 64;

/// Finds the functions for the calls of a program.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    /// The maps of the program, in the order of the verifier's table.
    pub(crate) maps: &'a [Arc<Map>],
    /// The kernel functions that it calls, by their BTF ids.
    pub(crate) kfuncs: &'a [(i32, Kfunc)],
}

impl Resolve for Resolver<'_> {
    fn helper(&self, call: &CallSite<'_>) -> Option<Callee> {
        let callee = crate::helpers::callee(call.id)?;
        let map = call.facts.map.and_then(|index| self.maps.get(index as usize));
        Some(match (call.id, map) {
            (helpers::GET_SMP_PROCESSOR_ID, _) => callee.inlined(Inline::Slot),
            (helpers::LOOP, _) => callee.inlined(Inline::Loop),
            (helpers::MAP_LOOKUP_ELEM, Some(map)) => look_up(map, call),
            (helpers::MAP_UPDATE_ELEM, Some(map)) if call.variant == Variant::Plain => update(map),
            (helpers::MAP_DELETE_ELEM, Some(map)) if call.variant == Variant::Plain => {
                let calls = map.calls();
                let args = [arg(calls.key, Reg::R2), bucket(calls)];
                // SAFETY: the function takes the map's state, the run, a key and its bucket.
                unsafe { of_map(calls.delete as *const (), calls.state, &args) }
            }
            _ => callee,
        })
    }

    fn kfunc(&self, call: &CallSite<'_>) -> Option<Callee> {
        let mut known = self.kfuncs.iter();
        let (_, kfunc) = known.find(|(id, _)| id.cast_unsigned() == call.id)?;
        Some(kfunc.callee())
    }
}

fn look_up(map: &Map, call: &CallSite<'_>) -> Callee {
    let calls = map.calls();
    let args = [arg(calls.key, Reg::R2), bucket(calls)];
    // SAFETY: the function takes the map's state, the run, a key and its bucket.
    let callee = unsafe { of_map(calls.lookup as *const (), calls.state, &args) };
    match map.ops().inline() {
        Some(array) => callee.inlined(Inline::Element(elements(&array, call.facts.index))),
        None => callee,
    }
}

fn update(map: &Map) -> Callee {
    let calls = map.calls();
    let (key, value) = (arg(calls.key, Reg::R2), arg(calls.value, Reg::R3));
    let args = [key, value, Arg::Reg(Reg::R4), bucket(calls)];
    // SAFETY: the function takes the map's state, the run, key, value, flags and the key's bucket.
    let callee = unsafe { of_map(calls.update as *const (), calls.state, &args) };
    let size = map.def().value_size;
    let is_short = matches!(size, 1 | 2 | 4) || size.is_multiple_of(8) && size <= MAX_STORE;
    match map.ops().inline() {
        Some(
            array @ InlineArray {
                closed: Some(closed), ..
            },
        ) if is_short => {
            let elements = elements(&array, None);
            callee.inlined(Inline::Store { elements, size, closed })
        }
        _ => callee,
    }
}

fn elements(array: &InlineArray, index: Option<u32>) -> Elements {
    Elements {
        base: array.base,
        stride: array.stride,
        len: array.max_entries,
        slot_stride: array.slot_stride,
        index,
    }
}

/// What a function is passed for the key, or the value, whose address is in a register.
fn arg(pass: Pass, reg: Reg) -> Arg {
    match pass {
        Pass::Address => Arg::Reg(reg),
        Pass::Integer(size) => Arg::Load(reg, size),
    }
}

/// What a function is passed for the bucket of the key, which it is passed behind the map's state and the run.
fn bucket(calls: &MapCalls) -> Arg {
    const KEY: usize = 2;
    match (calls.table, calls.key) {
        (Some(table), Pass::Integer(_)) => Arg::Bucket(KEY, table),
        _ => Arg::Const(0),
    }
}

/// A function of a map.
///
/// # Safety
/// It takes the map's state, the run and these arguments.
unsafe fn of_map(function: *const (), state: *const (), rest: &[Arg]) -> Callee {
    let mut args = vec![Arg::Const(state.expose_provenance() as u64), Arg::EnvWord(RunEnv::RUN)];
    args.extend(rest);
    // SAFETY: as for this function. The map outlives the program.
    unsafe { Callee::function(function, &args) }
}
