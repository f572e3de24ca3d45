//! Collects what the paths show about each instruction.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::pointer::Argument;
use crate::error::Failure;
use crate::facts::{Facts, Region, Stats, Subprog, Verified};
use crate::program::{CallChain, NamedMap, Program};
use crate::state::MAX_FRAMES;

/// Facts gathered so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    facts: Facts,
    /// Bytes of stack used by each subprogram.
    depths: Vec<u32>,
    /// The subprograms that may read stack that they have not written.
    clear_stack: Vec<bool>,
    chain: CallChain,
    extents: BTreeMap<u16, u32>,
    maps_updated: BTreeSet<u32>,
    maps_stored: BTreeSet<u32>,
    inner_maps_updated: BTreeSet<u32>,
    inner_maps_stored: BTreeSet<u32>,
    context_stored: BTreeSet<u16>,
    /// The global functions that are called.
    called: BTreeSet<usize>,
    /// The functions that timers call, with the map that the timer is in.
    called_later: BTreeSet<(usize, u32)>,
    /// The calls of helpers that call back, with the functions that they call.
    called_back: BTreeSet<(usize, usize)>,
    /// Memory that global functions were given, by subprogram and argument: instruction and argument of the call.
    given: BTreeMap<Place, BTreeSet<(usize, u8)>>,
    /// Instructions that access such memory, and those that pass it on in an argument.
    through: BTreeMap<(usize, Option<u8>), BTreeSet<Place>>,
}

/// Subprogram and argument.
type Place = (u32, u8);

impl Recorder {
    pub(crate) fn new(program: &Program<'_>) -> Recorder {
        let memory =
            |(index, field): (usize, &crate::facts::ContextField)| field.kind.has_extent().then_some((index as u16, 0));
        Recorder {
            facts: Facts::new(program.code.len()),
            depths: vec![0; program.subprogs.len()],
            clear_stack: vec![false; program.subprogs.len()],
            chain: CallChain::default(),
            extents: program
                .input
                .context
                .fields
                .iter()
                .enumerate()
                .filter_map(memory)
                .collect(),
            maps_updated: BTreeSet::new(),
            maps_stored: BTreeSet::new(),
            inner_maps_updated: BTreeSet::new(),
            inner_maps_stored: BTreeSet::new(),
            context_stored: BTreeSet::new(),
            called: BTreeSet::new(),
            called_later: BTreeSet::new(),
            called_back: BTreeSet::new(),
            given: BTreeMap::new(),
            through: BTreeMap::new(),
        }
    }

    pub(crate) fn reached(&mut self, pc: usize) {
        self.facts.set_reachable(pc, true);
    }

    /// A conditional jump jumps, or does not.
    pub(crate) fn branch(&mut self, pc: usize, jumps: bool) {
        self.facts.add_branch(pc, jumps);
    }

    pub(crate) fn is_reached(&self, pc: usize) -> bool {
        self.facts.is_reachable(pc)
    }

    pub(crate) fn depths(&self) -> &[u32] {
        &self.depths
    }

    /// An access by a load, store or atomic. Context accesses are translated, so an instruction may not be one on one
    /// path and something else on another.
    pub(crate) fn access(&mut self, pc: usize, region: Region, write: bool) -> Result<(), Failure> {
        let is_context = |region: &Region| matches!(region, Region::Context { .. });
        let passed = self.through.contains_key(&(pc, None));
        let others = self.facts.access(pc).first().map(is_context);
        let others = others.or(passed.then_some(false));
        if others.is_some_and(|others| others != is_context(&region)) {
            return Err(different_pointers());
        }
        self.facts.add_access(pc, region);
        self.stored(region, write);
        Ok(())
    }

    /// An access to memory that a global function was given.
    pub(crate) fn access_argument(&mut self, pc: usize, argument: Argument) -> Result<(), Failure> {
        let first = self.facts.access(pc).first();
        if first.is_some_and(|region| matches!(region, Region::Context { .. })) {
            return Err(different_pointers());
        }
        let places = self.through.entry((pc, None)).or_default();
        places.insert((argument.subprog, argument.index));
        Ok(())
    }

    /// Memory that a global function was given becomes an argument of a call.
    pub(crate) fn pass_argument(&mut self, pc: usize, index: u8, argument: Argument) {
        let places = self.through.entry((pc, Some(index))).or_default();
        places.insert((argument.subprog, argument.index));
    }

    /// The call at `pc` gives memory to a global function.
    pub(crate) fn given(&mut self, pc: usize, index: u8, subprog: usize) {
        self.given
            .entry((subprog as u32, index))
            .or_default()
            .insert((pc, index));
    }

    /// A global function is called.
    pub(crate) fn called(&mut self, subprog: usize) {
        self.called.insert(subprog);
    }

    /// The global functions that are called somewhere.
    pub(crate) fn all_called(&self) -> &BTreeSet<usize> {
        &self.called
    }

    /// A function is to be called by a timer in a value of `map`.
    pub(crate) fn call_later(&mut self, subprog: usize, map: u32) {
        self.called_later.insert((subprog, map));
    }

    /// The functions that are to be called by timers, with the maps that those are in.
    pub(crate) fn called_later(&self) -> &BTreeSet<(usize, u32)> {
        &self.called_later
    }

    /// Whether a function is to be called by a timer.
    pub(crate) fn is_called_later(&self, subprog: usize) -> bool {
        self.called_later
            .range((subprog, 0)..=(subprog, u32::MAX))
            .next()
            .is_some()
    }

    /// The helper called at `pc` calls a function back before it returns.
    pub(crate) fn call_back(&mut self, pc: usize, subprog: usize) {
        self.called_back.insert((pc, subprog));
    }

    /// The calls of helpers that call back, with the functions that they call.
    pub(crate) fn called_back(&self) -> &BTreeSet<(usize, usize)> {
        &self.called_back
    }

    /// Puts what callers give in the place of what global functions were given.
    fn resolve_arguments(&mut self) {
        // There is no recursion, so each round fixes the functions one call further in.
        for _ in 0..MAX_FRAMES {
            for (&(pc, index), places) in &self.through {
                let givers = places.iter().filter_map(|place| self.given.get(place)).flatten();
                let memory = |&(pc, index): &(usize, u8)| self.facts.at(pc).memory[usize::from(index)];
                let regions: BTreeSet<Region> = givers
                    .filter_map(memory)
                    .flat_map(|memory| memory.regions.iter().copied())
                    .collect();
                for region in regions {
                    match index {
                        None => self.facts.add_access(pc, region),
                        // Whether it is written is known already.
                        Some(index) => self.facts.add_memory(pc, index, Some(region), false),
                    }
                }
            }
        }
    }

    /// Memory is written, or made writable through a dynptr.
    pub(crate) fn stored(&mut self, region: Region, write: bool) {
        match region {
            Region::MapValue { map } if write => self.maps_stored.insert(map),
            Region::InnerMapValue { outer } if write => self.inner_maps_stored.insert(outer),
            Region::ContextMemory { field } if write => self.context_stored.insert(field),
            _ => false,
        };
    }

    /// Memory given to a helper, or NULL.
    pub(crate) fn argument(&mut self, pc: usize, index: u8, region: Option<Region>, write: bool) {
        self.facts.add_memory(pc, index, region, write);
        if let Some(region) = region {
            self.stored(region, write);
        }
    }

    /// The map given to a helper: one that the program names, or one that it looked up in a map of maps.
    pub(crate) fn map_argument(&mut self, pc: usize, map: NamedMap, updated: bool) {
        let (index, updates) = match map {
            NamedMap::Itself(map) => {
                self.facts.add_map(pc, map);
                (map, &mut self.maps_updated)
            }
            NamedMap::InnerOf(outer) => {
                self.facts.add_inner_of(pc, outer);
                (outer, &mut self.inner_maps_updated)
            }
        };
        if updated {
            updates.insert(index);
        }
    }

    /// The constant index that a lookup or a tail call is given, or that it is given none.
    pub(crate) fn index(&mut self, pc: usize, index: Option<u32>) {
        self.facts.add_index(pc, index);
    }

    /// A use of the stack of a frame of `subprog` from `off` (negative) on.
    pub(crate) fn stack(&mut self, subprog: usize, off: i64) {
        let depth = &mut self.depths[subprog];
        *depth = (*depth).max(u32::try_from(-off).unwrap_or(0));
    }

    /// The worst chain of calls.
    pub(crate) fn chain(&mut self, chain: CallChain) {
        self.chain = chain;
    }

    /// A read of stack of a frame of `subprog` that it may not have written.
    pub(crate) fn clear_stack(&mut self, subprog: usize) {
        self.clear_stack[subprog] = true;
    }

    /// An access to memory behind a context field, or to the record that a field is, up to `end`.
    pub(crate) fn extent(&mut self, field: u16, end: i64) {
        let extent = self.extents.entry(field).or_insert(0);
        *extent = (*extent).max(u32::try_from(end).unwrap_or(u32::MAX));
    }

    pub(crate) fn finish(mut self, program: &Program<'_>, stats: Stats) -> Verified {
        self.resolve_arguments();
        let input = program.input;
        let subprog = |(index, ((&(start, end), stack_depth), clear_stack))| Subprog {
            start,
            end,
            stack_depth,
            clear_stack,
            changes_packet: program.changes_packet(index),
        };
        let used = (0..).zip(program.subprogs.iter().zip(self.depths).zip(self.clear_stack));
        Verified {
            insns: input.insns.to_vec(),
            facts: self.facts,
            subprogs: used.map(subprog).collect(),
            call_depth: self.chain.frames,
            combined_stack: self.chain.stack,
            maps_updated: self.maps_updated,
            maps_stored: self.maps_stored,
            inner_maps_updated: self.inner_maps_updated,
            inner_maps_stored: self.inner_maps_stored,
            context_stored: self.context_stored,
            extents: self.extents.into_iter().collect(),
            stats,
        }
    }
}

fn different_pointers() -> Failure {
    let found = "the context on one path and other memory on another";
    Failure::new(found, "same insn cannot be used with different pointers")
}
