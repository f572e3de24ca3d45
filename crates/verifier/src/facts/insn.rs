//! What was proved of each instruction.
//!
//! A program may have a million instructions, so what is kept of each is small: a set of regions is kept once and named by
//! its number, and what only calls have lies in a table of its own.

use std::collections::{BTreeMap, HashMap};

use super::Region;

/// Which ways a conditional jump goes, over all paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// It jumps on some path, and does not on some.
    Both,
    /// It always jumps: nothing has to be compared.
    Always,
    /// It never does. A check for NULL of a pointer that is not, for example.
    Never,
}

/// What was proved of one instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsnFacts<'a> {
    /// Whether any path reaches it. Unreachable instructions may not be executed.
    pub reachable: bool,
    /// For conditional jumps that are reached: which ways they go.
    pub branch: Option<Branch>,
    /// For loads, stores and atomics: every region that some path accesses here, sorted. One instruction may reach values
    /// of several maps, but not regions of different sorts, except the stack and others where the kernel allows it.
    pub access: &'a [Region],
    /// For helper calls: the map in the map argument, if it is the same on every path.
    pub map: Option<u32>,
    /// For helper calls: the map of maps from which the map in the map argument was looked up, if it is the same on every
    /// path.
    pub inner_of: Option<u32>,
    /// For lookups in arrays and for tail calls: the index, if it is the same constant on every path and that of an
    /// element. Such a lookup finds something.
    pub index: Option<u32>,
    /// For helper calls: memory given in each argument register r1 to r5.
    pub memory: [Option<ArgMemory<'a>>; 5],
}

/// Memory given to a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgMemory<'a> {
    /// Regions that it lies in, over all paths, sorted. Empty if the pointer was NULL on every path.
    pub regions: &'a [Region],
    /// Whether the helper writes it.
    pub write: bool,
}

/// What was proved of each instruction of a program, by slot.
///
/// # Examples
/// ```
/// use hitless_verifier::{Facts, Region};
///
/// let mut facts = Facts::new(2);
/// facts.set_reachable(1, true);
/// facts.add_access(1, Region::Packet);
/// facts.add_access(1, Region::Stack);
/// assert_eq!(facts.at(1).access, [Region::Stack, Region::Packet]);
/// assert!(!facts.at(0).reachable);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    slots: Vec<Slot>,
    calls: BTreeMap<u32, Call>,
    sets: RegionSets,
}

/// What is kept of each slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    access: SetId,
    reachable: bool,
    /// Whether some path jumps here, and whether some path does not.
    jumps: bool,
    falls: bool,
}

/// What is kept of a helper call, or of a call of a global function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Call {
    map: MapArgument,
    index: Index,
    /// The regions of each argument, and whether it is written.
    memory: [Option<(SetId, bool)>; 5],
}

/// The map that a call is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum MapArgument {
    /// No path was followed yet, or it is given none.
    #[default]
    None,
    /// One that the program names.
    Named(u32),
    /// One that was looked up in this map of maps.
    InnerOf(u32),
    /// Not the same on every path.
    Several,
}

impl MapArgument {
    fn add(&mut self, other: MapArgument) {
        *self = match *self {
            MapArgument::None => other,
            known if known == other => known,
            _ => MapArgument::Several,
        };
    }
}

/// The constant index that a call is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Index {
    /// No path was followed yet.
    #[default]
    None,
    /// The same on every path.
    Same(u32),
    /// Not the same, or not constant.
    Other,
}

impl Facts {
    /// Nothing is known of `len` slots.
    #[must_use]
    pub fn new(len: usize) -> Facts {
        Facts {
            slots: vec![Slot::default(); len],
            ..Facts::default()
        }
    }

    /// How many slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What was proved of the instruction at `pc`. The second slot of a wide immediate has default facts, and so has what
    /// lies outside of the program.
    #[must_use]
    pub fn at(&self, pc: usize) -> InsnFacts<'_> {
        let Some(slot) = self.slots.get(pc) else {
            return InsnFacts::default();
        };
        let call = self.call(pc);
        let map = call.map_or(MapArgument::None, |call| call.map);
        let argument = |index: usize| {
            let (regions, write) = call?.memory[index]?;
            Some(ArgMemory {
                regions: self.sets.get(regions),
                write,
            })
        };
        InsnFacts {
            reachable: slot.reachable,
            branch: match (slot.jumps, slot.falls) {
                (true, true) => Some(Branch::Both),
                (true, false) => Some(Branch::Always),
                (false, true) => Some(Branch::Never),
                (false, false) => None,
            },
            access: self.sets.get(slot.access),
            map: match map {
                MapArgument::Named(map) => Some(map),
                _ => None,
            },
            inner_of: match map {
                MapArgument::InnerOf(outer) => Some(outer),
                _ => None,
            },
            index: match call.map(|call| call.index) {
                Some(Index::Same(index)) => Some(index),
                _ => None,
            },
            memory: std::array::from_fn(argument),
        }
    }

    /// What was proved of each slot in turn.
    pub fn iter(&self) -> impl Iterator<Item = InsnFacts<'_>> {
        (0..self.len()).map(|pc| self.at(pc))
    }

    /// Whether any path reaches the instruction at `pc`.
    #[must_use]
    pub fn is_reachable(&self, pc: usize) -> bool {
        self.slots.get(pc).is_some_and(|slot| slot.reachable)
    }

    /// Sets whether the instruction at `pc` is reached.
    ///
    /// # Panics
    /// As the other methods that change facts, if there is no such slot.
    pub fn set_reachable(&mut self, pc: usize, reachable: bool) {
        self.slots[pc].reachable = reachable;
    }

    /// On some path the conditional jump at `pc` jumps, or does not.
    pub fn add_branch(&mut self, pc: usize, jumps: bool) {
        let slot = &mut self.slots[pc];
        slot.jumps |= jumps;
        slot.falls |= !jumps;
    }

    /// The regions that the instruction at `pc` accesses.
    #[must_use]
    pub fn access(&self, pc: usize) -> &[Region] {
        self.slots.get(pc).map_or(&[], |slot| self.sets.get(slot.access))
    }

    /// Adds a region to those that the instruction at `pc` accesses.
    pub fn add_access(&mut self, pc: usize, region: Region) {
        let slot = &mut self.slots[pc];
        slot.access = self.sets.with(slot.access, region);
    }

    /// The instruction at `pc` accesses these regions and no others.
    pub fn set_access(&mut self, pc: usize, regions: &[Region]) {
        self.slots[pc].access = SetId::default();
        regions.iter().for_each(|region| self.add_access(pc, *region));
    }

    /// The call at `pc` is given memory in its argument `index` (from 0), or NULL.
    pub fn add_memory(&mut self, pc: usize, index: u8, region: Option<Region>, write: bool) {
        let memory = &mut call_mut(&mut self.calls, pc).memory[usize::from(index)];
        let (regions, _) = memory.get_or_insert((SetId::default(), write));
        if let Some(region) = region {
            *regions = self.sets.with(*regions, region);
        }
    }

    /// On some path this map is in the map argument of the call at `pc`.
    pub fn add_map(&mut self, pc: usize, map: u32) {
        call_mut(&mut self.calls, pc).map.add(MapArgument::Named(map));
    }

    /// On some path a map that was looked up in this map of maps is in the map argument of the call at `pc`.
    pub fn add_inner_of(&mut self, pc: usize, outer: u32) {
        call_mut(&mut self.calls, pc).map.add(MapArgument::InnerOf(outer));
    }

    /// On some path the call at `pc` is given this constant index, or none.
    pub fn add_index(&mut self, pc: usize, index: Option<u32>) {
        let known = &mut call_mut(&mut self.calls, pc).index;
        *known = match (*known, index) {
            (Index::None, Some(index)) => Index::Same(index),
            (Index::Same(known), Some(index)) if known == index => Index::Same(index),
            _ => Index::Other,
        };
    }

    fn call(&self, pc: usize) -> Option<&Call> {
        self.calls.get(&u32::try_from(pc).ok()?)
    }
}

/// Programs have a million slots at the most.
fn call_mut(calls: &mut BTreeMap<u32, Call>, pc: usize) -> &mut Call {
    calls.entry(pc as u32).or_default()
}

/// Names a set of regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct SetId(u32);

/// Sets of regions, each kept once.
#[derive(Clone, Debug)]
struct RegionSets {
    /// Sorted; the first is empty.
    sets: Vec<Box<[Region]>>,
    /// The set that another one with a region added is.
    grown: HashMap<(SetId, Region), SetId>,
    ids: HashMap<Box<[Region]>, SetId>,
}

impl Default for RegionSets {
    fn default() -> RegionSets {
        RegionSets {
            sets: vec![Box::default()],
            grown: HashMap::new(),
            ids: HashMap::from([(Box::default(), SetId::default())]),
        }
    }
}

impl PartialEq for RegionSets {
    fn eq(&self, other: &RegionSets) -> bool {
        self.sets == other.sets
    }
}

impl Eq for RegionSets {}

impl RegionSets {
    fn get(&self, id: SetId) -> &[Region] {
        &self.sets[id.0 as usize]
    }

    /// The set with this region added.
    fn with(&mut self, id: SetId, region: Region) -> SetId {
        let set = self.get(id);
        if set.contains(&region) {
            return id;
        }
        if let Some(&grown) = self.grown.get(&(id, region)) {
            return grown;
        }
        let mut set = set.to_vec();
        set.push(region);
        set.sort_unstable();
        let next = SetId(self.sets.len() as u32);
        let found = *self.ids.entry(set.into()).or_insert_with_key(|set| {
            self.sets.push(set.clone());
            next
        });
        self.grown.insert((id, region), found);
        found
    }
}
