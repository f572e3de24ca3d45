//! Many elements in one call, and walks from key to key.
//!
//! A walk goes by positions (`MapOps`), which keys keep: so a key that is there throughout is met exactly once, whatever
//! happens to others meanwhile. A batch takes several elements in one run, as many as a grace period can wait for.

use std::sync::Arc;

use hitless_verifier::MapKind;

use super::{Elem, Entry, Key, Map, MapError, Special, UpdateFlags};
use crate::run::Run;
use crate::trace::Event;

/// How many elements are visited in one run: enough to share the cost of entering; so few that a grace period does not wait for it.
const ELEMENTS: usize = 64;
/// How many positions.
const POSITIONS: u64 = 4096;

/// Where a batch goes on, for [`Map::lookup_batch`] and [`Map::lookup_and_delete_batch`]. A new one begins at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchCursor {
    next: u64,
    done: bool,
}

impl BatchCursor {
    /// One that goes on where another had come to, by its [`position`](Self::position).
    #[must_use]
    pub const fn at(position: u64) -> BatchCursor {
        BatchCursor {
            next: position,
            done: false,
        }
    }

    /// How far it has come: a number that means something to this map only, 0 at the start.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// Whether all elements have been visited.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }
}

/// A batch that ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("after {done} elements")]
pub struct BatchError {
    /// How many elements were changed before.
    pub done: usize,
    /// Why the next one was not.
    #[source]
    pub source: MapError,
}

impl Map {
    /// The key after this one, in the order of the map; the first if there is none given, or it is not there. `None` after the
    /// last (`BPF_MAP_GET_NEXT_KEY`).
    ///
    /// The key may have been deleted meanwhile, and then a walk starts again: [`Map::iter`] and [`Map::lookup_batch`] do not. In an
    /// array every index is a key, whether or not an element is there.
    ///
    /// # Errors
    /// [`MapError::KeySize`]; [`MapError::Keyless`], [`MapError::NoElements`] and [`MapError::Unsupported`] for maps without
    /// keys; [`MapError::Access`]; [`MapError::Forked`].
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, MapError> {
        let key = key.map(|key| self.check_key(key)).transpose()?;
        self.check_readable()?;
        if self.def.key_size == 0 {
            return Err(self.refusal()?);
        }
        if self.tasks().is_some() {
            return Err(self.lacks("next_key"));
        }
        if self.is_indexed() {
            let max_entries = self.def.max_entries;
            let next = match key.map(|key| key.index()) {
                Some(index) if index < max_entries => index + 1,
                _ => 0,
            };
            return Ok((next < max_entries).then(|| next.to_ne_bytes().to_vec()));
        }
        let mut next = None;
        loop {
            let found = self.slots.run(|_| {
                let from = next.unwrap_or_else(|| {
                    let known = key.as_ref().and_then(|key| self.ops.place_of(key));
                    known.map_or(0, |(position, _)| position + 1)
                });
                let end = self.ops.positions().min(from + POSITIONS);
                next = Some(end);
                (from..end).find_map(|position| self.live_at(position))
            })?;
            if let Some((_, key)) = found {
                return Ok(Some(key.bytes().to_vec()));
            }
            if next >= Some(self.ops.positions()) {
                return Ok(None);
            }
        }
    }

    /// Whether keys are indices.
    pub(super) fn is_indexed(&self) -> bool {
        matches!(
            self.def.kind,
            MapKind::Array
                | MapKind::PercpuArray
                | MapKind::ProgArray
                | MapKind::PerfEventArray
                | MapKind::ArrayOfMaps
                | MapKind::Devmap
                | MapKind::Cpumap
                | MapKind::Xskmap
        )
    }

    /// Refuses an index that is not below `max_entries`.
    pub(super) fn check_index(&self, index: u32) -> Result<(), MapError> {
        let max_entries = self.def.max_entries;
        if index < max_entries {
            Ok(())
        } else {
            Err(MapError::IndexTooLarge { index, max_entries })
        }
    }

    /// What a map without keys says to whoever comes with one.
    fn refusal(&self) -> Result<MapError, MapError> {
        let refused = self.slots.run(|run| self.ops.delete(run, &Key::from_words(0, |_| 0)))?;
        Ok(refused.err().unwrap_or(MapError::Keyless))
    }

    /// Takes an element out of a hash, or the next value out of a queue or stack (for the empty key), in one step
    /// (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`). `None` if there is none.
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for other types of maps; and as [`Map::update`].
    pub fn lookup_and_delete(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.check_permitted()?;
        let key = self.check_key(key)?;
        match self.ops.special() {
            Special::Values(_) if self.def.kind != MapKind::BloomFilter => return self.pop(),
            Special::None if self.is_hash() => {}
            _ => return Err(self.lacks("lookup_and_delete")),
        }
        let mut value = vec![0; self.host_value_size()];
        match self.slots.run(|run| self.take(run, &key, &mut value))? {
            Ok(()) => Ok(Some(value)),
            Err(MapError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_hash(&self) -> bool {
        matches!(
            self.def.kind,
            MapKind::Hash | MapKind::PercpuHash | MapKind::LruHash | MapKind::LruPercpuHash
        )
    }

    /// Whether its bytes are read and updated by batches, too.
    fn has_batches(&self) -> bool {
        self.is_hash() || matches!(self.def.kind, MapKind::Array | MapKind::PercpuArray | MapKind::LpmTrie)
    }

    /// Deletes an element of a hash, and copies the value that it had.
    fn take(&self, run: &Run<'_>, key: &Key, value: &mut [u8]) -> Result<(), MapError> {
        self.check_readable()?;
        self.check_writable()?;
        if self.def.spin_lock.is_some() && crate::spin::is_interrupted(run) {
            // The value could not be copied, and would be lost.
            return self.count_busy(Err(MapError::Busy));
        }
        let stripe = self.count_busy(self.lock_stripe(run, key))?;
        let mut copied = Ok(());
        let mut copy = |elem: Elem| copied = self.read_for_host(run, elem, value);
        self.count_busy(self.ops.take(run, key, &mut copy))?;
        if let Some(stripe) = stripe {
            stripe.run_tracers(run, self, Event::Delete);
        }
        copied
    }

    /// Up to `limit` elements, from where the cursor stands (`BPF_MAP_LOOKUP_BATCH`). Fewer only at the end: then
    /// [`BatchCursor::is_done`] says so.
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for maps that are no hash, array, trie, or map of maps; and as [`Map::lookup`].
    pub fn lookup_batch(&self, cursor: &mut BatchCursor, limit: usize) -> Result<Vec<Entry>, MapError> {
        let holds_maps = matches!(self.def.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
        if !holds_maps && !self.has_batches() {
            return Err(self.lacks("lookup_batch"));
        }
        self.batch(cursor, limit, |run, elem, key| {
            let mut value = vec![0; self.host_value_size()];
            self.read_for_host(run, elem, &mut value)?;
            Ok(Some((key.bytes().to_vec(), value)))
        })
    }

    /// Takes up to `limit` elements out of a hash, each in one step, from where the cursor stands
    /// (`BPF_MAP_LOOKUP_AND_DELETE_BATCH`).
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for other types of maps; and as [`Map::update`]. If an error comes in the middle of the batch, the
    /// elements that were taken before are returned, fewer than `limit`, and the next call meets it again.
    pub fn lookup_and_delete_batch(&self, cursor: &mut BatchCursor, limit: usize) -> Result<Vec<Entry>, MapError> {
        self.check_permitted()?;
        if self.def.kind == MapKind::HashOfMaps {
            return self.take_maps(cursor, limit);
        }
        if !self.is_hash() {
            return Err(self.lacks("lookup_and_delete_batch"));
        }
        self.batch(cursor, limit, |run, _, key| {
            let mut value = vec![0; self.host_value_size()];
            match self.take(run, &key, &mut value) {
                Ok(()) => Ok(Some((key.bytes().to_vec(), value))),
                // Somebody else was first.
                Err(MapError::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Takes maps out of a map of maps, for one grace period: keys and ids.
    fn take_maps(&self, cursor: &mut BatchCursor, limit: usize) -> Result<Vec<Entry>, MapError> {
        let mut taken = Vec::new();
        let mut entries = Vec::new();
        let mut result = Ok(());
        while entries.len() < limit && result.is_ok() {
            let before = *cursor;
            // Taken one by one, since that may not be done in the run in which they are found.
            let Some(key) = self.batch(cursor, 1, |_, _, key| Ok(Some(key.bytes().to_vec())))?.pop() else {
                break;
            };
            match self.take_map(&key) {
                Ok(map) => {
                    entries.push((key, map.id().to_ne_bytes().to_vec()));
                    taken.push(map);
                }
                // Somebody else was first.
                Err(MapError::NotFound) => {}
                Err(error) => {
                    *cursor = before;
                    result = Err(error);
                }
            }
        }
        self.slots.retire(taken);
        if entries.is_empty() {
            result.map(|()| entries)
        } else {
            Ok(entries)
        }
    }

    /// Visits live elements, from where the cursor stands, until `limit` of them gave something. An error that comes after some
    /// have is left to the next call, which begins with the element that it came at.
    fn batch<T>(
        &self,
        cursor: &mut BatchCursor,
        limit: usize,
        mut visit: impl FnMut(&Run<'_>, Elem, Key) -> Result<Option<T>, MapError>,
    ) -> Result<Vec<T>, MapError> {
        let mut found = Vec::new();
        while found.len() < limit && !cursor.done {
            let visited = self.slots.run(|run| {
                let positions = self.ops.positions();
                let end = positions.min(cursor.next.saturating_add(POSITIONS));
                let enough = limit.min(found.len() + ELEMENTS);
                while cursor.next < end && found.len() < enough {
                    if let Some((elem, key)) = self.live_at(cursor.next) {
                        found.extend(visit(run, elem, key)?);
                    }
                    cursor.next += 1;
                }
                cursor.done = cursor.next >= positions;
                Ok::<_, MapError>(())
            });
            match visited.map_err(MapError::from).flatten() {
                Err(error) if found.is_empty() => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(found)
    }

    /// Updates several elements, in order (`BPF_MAP_UPDATE_BATCH`). Of flags there is [`UpdateFlags::LOCK`].
    ///
    /// # Errors
    /// [`BatchError`]: which one could not be updated, and why; those before it were.
    pub fn update_batch<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        flags: UpdateFlags,
    ) -> Result<(), BatchError> {
        self.check_permitted()
            .map_err(|source| BatchError { done: 0, source })?;
        if !self.has_batches() {
            let source = self.lacks("update_batch");
            return Err(BatchError { done: 0, source });
        }
        if flags.bits() & !UpdateFlags::LOCK.bits() != 0 {
            let source = MapError::InvalidFlags { flags: flags.bits() };
            return Err(BatchError { done: 0, source });
        }
        for (done, (key, value)) in entries.into_iter().enumerate() {
            self.update(key, value, flags)
                .map_err(|source| BatchError { done, source })?;
        }
        Ok(())
    }

    /// Deletes several elements of a hash or trie, in order (`BPF_MAP_DELETE_BATCH`). Maps in a hash of maps share one grace
    /// period.
    ///
    /// # Errors
    /// [`BatchError`]: which one could not be deleted, and why; those before it were.
    pub fn delete_batch<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<(), BatchError> {
        self.check_permitted()
            .map_err(|source| BatchError { done: 0, source })?;
        let holds_maps = self.def.kind == MapKind::HashOfMaps;
        if !holds_maps && !self.is_hash() && self.def.kind != MapKind::LpmTrie {
            let source = self.lacks("delete_batch");
            return Err(BatchError { done: 0, source });
        }
        let mut retired = Vec::new();
        let mut delete = |key| {
            if holds_maps {
                self.take_map(key).map(|map| retired.push(map))
            } else {
                self.delete(key)
            }
        };
        let mut result = Ok(());
        for (done, key) in keys.into_iter().enumerate() {
            result = delete(key).map_err(|source| BatchError { done, source });
            if result.is_err() {
                break;
            }
        }
        if holds_maps {
            self.slots.retire(retired);
        }
        result
    }

    /// Puts several maps into a map of maps, for one grace period (`BPF_MAP_UPDATE_BATCH`).
    ///
    /// # Errors
    /// [`BatchError`]: which one could not be put in, and why; those before it were.
    pub fn insert_maps<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a [u8], &'a Arc<Map>)>,
    ) -> Result<(), BatchError> {
        let mut retired = Vec::new();
        let mut result = Ok(());
        for (done, (key, inner)) in entries.into_iter().enumerate() {
            match self.swap_map(key, inner, UpdateFlags::ANY) {
                Ok(before) => retired.extend(before),
                Err(source) => {
                    result = Err(BatchError { done, source });
                    break;
                }
            }
        }
        self.slots.retire(retired);
        result
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::map::MapDef;
    use crate::runtime::Runtime;

    #[test]
    fn what_was_taken_before_an_error_is_not_lost() {
        let map = Runtime::default()
            .create_map(MapDef::new("map", MapKind::Hash, 4, 4, 10))
            .unwrap();
        for key in 0..5u32 {
            map.update(&key.to_ne_bytes(), &[0; 4], UpdateFlags::ANY).unwrap();
        }
        let (mut cursor, mut met) = (BatchCursor::default(), 0);
        let mut refuse_third = |_: &Run<'_>, _, key: Key| {
            met += 1;
            if met == 3 || met == 4 {
                Err(MapError::Busy)
            } else {
                Ok(Some(key.bytes().to_vec()))
            }
        };
        let mut found = map.batch(&mut cursor, 10, &mut refuse_third).unwrap();
        assert_eq!((found.len(), cursor.is_done()), (2, false));
        assert_eq!(map.batch(&mut cursor, 10, &mut refuse_third), Err(MapError::Busy));
        found.extend(map.batch(&mut cursor, 10, &mut refuse_third).unwrap());
        found.sort_unstable();
        assert!(
            found.iter().map(Vec::as_slice).eq((0..5u32)
                .map(u32::to_ne_bytes)
                .collect::<Vec<_>>()
                .iter()
                .map(|key| &key[..]))
        );
    }
}
