//! Hash maps of small keys and values, at most eight bytes each: everything about a key in one cache line.
//!
//! ```text
//! bucket, 64 bytes   keys of up to 4 bytes     keys of up to 8 bytes
//!  0                 meta                      meta
//!  8                                           keys: u64, 3 of them
//! 16                 keys: u32, 4 of them
//! 32                 values: u64, 4 of them    values: u64, 3 of them
//!
//! the meta word's own bits:   7..0 which slots hold a key    15..8 how many keys passed by
//! ```
//!
//! A key lies in its home bucket, or, if that was full, in the next one with a free slot. The buckets that it passed by count
//! it, so a search ends at the first bucket that nothing passed by. A count of 255 stays, which costs a look more and nothing
//! else.
//!
//! An element is a slot of a bucket; it never moves. A slot is written, value first, while no bit says that it holds a key; the
//! store of the meta word that sets the bit makes the key visible. Values are replaced by a single store.
//!
//! **Readers** take no lock. The bits and the version are read first, then the keys. A key that was there throughout is in
//! its slot with its bit set, and counted by each bucket that it passed by, so it is found. A key that is found counts only
//! if the version is still the same: else its slot may have been given to it meanwhile, by an insertion that others do not
//! see yet.
//!
//! **Writers** take the home bucket, and so have the key to themselves. To put a key into another bucket or out of it, they take
//! all buckets on the way too, in order. At the end of the table they would have to take the first ones while they hold the
//! last: there they only try, and start again. A visible bit is set or cleared before the counts follow, and the home
//! bucket is let go last.
//!
//! If a process is killed at any instant, its region may be left with a bucket locked, and with counts too high, or too low for a
//! key whose insertion had not ended; every completed change is in it.

use hitless_verifier::MapKind;

use super::bucket::{Meta, Tried, lock, publish, try_lock};
use super::credits::Credits;
use super::header::{Header, Layout};
use crate::map::common::{Common, errno};
use crate::map::key::{Seed, Short};
use crate::map::{Creation, Elem, Key, MapCalls, MapCreateError, MapError, MapOps, Put, Rule, UpdateFlags};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::primitive::relax;
use crate::region::{Region, SharedBytes, load_word};
use crate::run::Run;

const BUCKET: usize = 64;
const VALUES: usize = 32;
/// Element indices of a bucket, of which the last is not used if keys are wide.
const INDICES: u32 = 4;
const PASSED: u64 = 1 << 8;
const MANY_PASSED: u64 = 0xff << 8;

/// A hash map with everything in its buckets; `WIDE` if keys have more than four bytes.
#[derive(Debug)]
pub(super) struct Inline<const WIDE: bool> {
    common: Common,
    region: Region,
    seed: Seed,
    buckets: u32,
    credits: Credits,
}

/// The key as a word, padded with zeros.
type WordKey = Short<1>;

/// Makes one, or tells that keys and values are too large for it, or a spin lock must not move.
pub(super) fn make(creation: &Creation<'_>) -> Option<Result<Box<dyn MapOps>, MapCreateError>> {
    let def = creation.def;
    let plain = def.kind == MapKind::Hash && def.spin_lock.is_none();
    if def.key_size > 8 || def.value_size > 8 || !plain {
        return None;
    }
    Some(if def.key_size > 4 {
        Inline::<true>::new(creation).map(|map| Box::new(map) as Box<dyn MapOps>)
    } else {
        Inline::<false>::new(creation).map(|map| Box::new(map) as Box<dyn MapOps>)
    })
}

impl<const WIDE: bool> Inline<WIDE> {
    const SLOTS: u32 = if WIDE { 3 } else { 4 };
    const FULL: u64 = (1 << Self::SLOTS) - 1;
    const KEYS: usize = if WIDE { 8 } else { 16 };

    fn new(creation: &Creation<'_>) -> Result<Self, MapCreateError> {
        let max = u64::from(creation.def.max_entries);
        // Two thirds of the slots are in use when the map is full.
        let buckets = (max * 3).div_ceil(2 * u64::from(Self::SLOTS));
        let size = BUCKET as u64 * 3 / (2 * u64::from(Self::SLOTS));
        if buckets > u64::from(u32::MAX / INDICES) {
            return Err(creation.too_large(size));
        }
        let layout = Layout {
            kind: if WIDE { Layout::INLINE_WIDE } else { Layout::INLINE },
            buckets: buckets as u32,
            overflow: 0,
            elements: 0,
        };
        let (region, header) = Header::reserve(creation, layout, size, buckets * BUCKET as u64)?;
        Ok(Inline {
            common: Common::new(creation.def),
            region,
            seed: header.seed,
            buckets: buckets as u32,
            credits: Credits::new(creation.slots, creation.def.max_entries, creation.def.max_entries),
        })
    }

    #[inline]
    fn home(&self, key: WordKey) -> u32 {
        let hash = self.seed.hash(&key) >> 32;
        ((hash * u64::from(self.buckets)) >> 32) as u32
    }

    #[inline]
    fn next(&self, bucket: u32) -> u32 {
        if bucket + 1 == self.buckets { 0 } else { bucket + 1 }
    }

    #[inline]
    fn offset(&self, bucket: u32) -> usize {
        debug_assert!(bucket < self.buckets);
        Header::LEN + bucket as usize * BUCKET
    }

    /// The word at `off` of a bucket, a multiple of eight less than its size.
    #[inline]
    fn word(&self, bucket: u32, off: usize) -> &AtomicU64 {
        // SAFETY: the region has `buckets` buckets behind its header, and every bucket number here is below that: it comes
        // from `home`, from `next`, or was compared.
        unsafe { self.region.word64_unchecked(self.offset(bucket) + off) }
    }

    #[inline]
    fn meta(&self, bucket: u32) -> &AtomicU64 {
        self.word(bucket, 0)
    }

    #[inline]
    fn narrow_key(&self, bucket: u32, slot: u32) -> &AtomicU32 {
        // SAFETY: as in `word`; a slot is less than four.
        unsafe {
            self.region
                .word32_unchecked(self.offset(bucket) + Self::KEYS + slot as usize * 4)
        }
    }

    #[inline]
    fn value_word(&self, elem: Elem) -> &AtomicU64 {
        self.word(elem.0 / INDICES, VALUES + (elem.0 % INDICES) as usize * 8)
    }

    /// Bits for the slots whose key, present or not, is this one.
    #[inline]
    fn matches(&self, bucket: u32, key: WordKey) -> u64 {
        let key = key.0[0];
        let word = |index: usize| self.word(bucket, Self::KEYS + index * 8).load(Relaxed);
        if WIDE {
            (0..3).fold(0, |bits, slot| bits | u64::from(word(slot) == key) << slot)
        } else {
            let (low, high) = (word(0), word(1));
            let same = |word: u64, slot: u32| u64::from(word as u32 == key as u32) << slot;
            same(low, 0) | same(low >> 32, 1) | same(high, 2) | same(high >> 32, 3)
        }
    }

    fn store_key(&self, bucket: u32, slot: u32, key: WordKey) {
        if WIDE {
            self.word(bucket, Self::KEYS + slot as usize * 8)
                .store(key.0[0], Relaxed);
        } else {
            self.narrow_key(bucket, slot).store(key.0[0] as u32, Relaxed);
        }
    }

    #[inline]
    fn find(&self, key: WordKey) -> Option<Elem> {
        let mut bucket = self.home(key);
        let mut left = self.buckets;
        loop {
            let meta = Meta::load(self.meta(bucket));
            let found = self.matches(bucket, key) & meta.own() & Self::FULL;
            if found != 0 {
                std::sync::atomic::fence(Acquire);
                if self.is_unchanged(bucket, meta) {
                    return Some(Elem(bucket * INDICES + found.trailing_zeros()));
                }
                continue;
            }
            left -= 1;
            if meta.own() < PASSED || left == 0 {
                return None;
            }
            bucket = self.next(bucket);
        }
    }

    /// Whether no slot of the bucket was given away since its word was read.
    #[inline]
    fn is_unchanged(&self, bucket: u32, meta: Meta) -> bool {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoBucketVersion) {
            return true;
        }
        Meta::load(self.meta(bucket)).has_version_of(meta)
    }

    /// Finds a key whose home bucket is held, so that it stays where it is.
    #[inline]
    fn find_held(&self, home: u32, home_meta: Meta, key: WordKey) -> Option<Elem> {
        let found = self.matches(home, key) & home_meta.own() & Self::FULL;
        if found != 0 {
            return Some(Elem(home * INDICES + found.trailing_zeros()));
        }
        if home_meta.own() < PASSED {
            None
        } else {
            self.find_passed(home, key)
        }
    }

    fn find_passed(&self, home: u32, key: WordKey) -> Option<Elem> {
        let mut bucket = self.next(home);
        while bucket != home {
            let meta = Meta::load(self.meta(bucket));
            let found = self.matches(bucket, key) & meta.own() & Self::FULL;
            if found != 0 {
                return Some(Elem(bucket * INDICES + found.trailing_zeros()));
            }
            if meta.own() < PASSED {
                return None;
            }
            bucket = self.next(bucket);
        }
        None
    }

    #[inline]
    fn put(&self, run: &Run<'_>, key: WordKey, value: u64, rule: Rule) -> Result<Elem, MapError> {
        let home = self.home(key);
        let meta = lock(run, self.meta(home))?;
        if let Some(elem) = self.find_held(home, meta, key) {
            return self.replace(home, meta, elem, value, rule);
        }
        let credit = if rule == Rule::Exist {
            Err(MapError::NotFound)
        } else {
            self.credits.take(run).and_then(|there| {
                there.then_some(()).ok_or(MapError::Full {
                    max_entries: self.common.max_entries,
                })
            })
        };
        if let Err(error) = credit {
            publish(self.meta(home), meta);
            return Err(error);
        }
        let free = !meta.own() & Self::FULL;
        if free != 0 {
            return Ok(self.occupy(home, meta, free.trailing_zeros(), key, value));
        }
        self.put_further(run, home, key, value, rule)
    }

    /// Fills a free slot of a bucket that is held, makes it visible, and lets go of the bucket.
    #[inline]
    fn occupy(&self, bucket: u32, meta: Meta, slot: u32, key: WordKey, value: u64) -> Elem {
        let elem = Elem(bucket * INDICES + slot);
        self.value_word(elem).store(value, Relaxed);
        // A reader that saw the slot in use, and so may find the key early, finds the version changed.
        self.store_key(bucket, slot, key);
        publish(self.meta(bucket), meta.with(meta.own() | 1 << slot));
        elem
    }

    /// Puts a key into the next bucket with a free slot. The home bucket is held, the key is not there, and a credit was taken.
    #[cold]
    fn put_further(&self, run: &Run<'_>, home: u32, key: WordKey, value: u64, rule: Rule) -> Result<Elem, MapError> {
        let mut turn = 0;
        loop {
            let mut last = home;
            let taken = loop {
                let bucket = self.next(last);
                let meta = match self.take_next(run, home, bucket) {
                    Tried::Locked(meta) => meta,
                    Tried::Own => break Err(MapError::Busy),
                    Tried::Other => break Ok(None),
                };
                last = bucket;
                let free = !meta.own() & Self::FULL;
                if free != 0 {
                    break Ok(Some((meta, free.trailing_zeros())));
                }
            };
            if let Ok(Some((meta, slot))) = taken {
                let elem = self.occupy(last, meta, slot, key, value);
                self.recount(home, last, |own| {
                    if own & MANY_PASSED == MANY_PASSED {
                        own
                    } else {
                        own + PASSED
                    }
                });
                return Ok(elem);
            }
            self.recount(home, self.next(last), |own| own);
            if taken.is_err() || (run.is_nested() && turn >= 64) {
                self.credits.put(run);
                return Err(MapError::Busy);
            }
            relax(turn);
            turn += 1;
            let home_meta = match lock(run, self.meta(home)) {
                Ok(meta) => meta,
                Err(error) => {
                    self.credits.put(run);
                    return Err(error);
                }
            };
            // Meanwhile others may have put the key in, or have made room.
            if let Some(elem) = self.find_held(home, home_meta, key) {
                self.credits.put(run);
                return self.replace(home, home_meta, elem, value, rule);
            }
            let free = !home_meta.own() & Self::FULL;
            if free != 0 {
                return Ok(self.occupy(home, home_meta, free.trailing_zeros(), key, value));
            }
        }
    }

    /// Gives a key whose home bucket is held another value, and lets go of the bucket.
    #[inline]
    fn replace(&self, home: u32, meta: Meta, elem: Elem, value: u64, rule: Rule) -> Result<Elem, MapError> {
        if rule != Rule::NoExist {
            self.value_word(elem).store(value, Release);
        }
        publish(self.meta(home), meta);
        if rule == Rule::NoExist {
            Err(MapError::Exists)
        } else {
            Ok(elem)
        }
    }

    /// Takes the next bucket on the way from a home bucket; only tries where that is against the order.
    fn take_next(&self, run: &Run<'_>, home: u32, bucket: u32) -> Tried {
        if bucket < home {
            return try_lock(run, self.meta(bucket));
        }
        lock(run, self.meta(bucket)).map_or(Tried::Own, Tried::Locked)
    }

    /// Changes the own bits of the buckets from `home` to the one before `end`, all of them held, and lets go of them, of the
    /// home bucket last.
    fn recount(&self, home: u32, end: u32, change: impl Fn(u64) -> u64) {
        let mut bucket = end;
        while bucket != home {
            bucket = if bucket == 0 { self.buckets - 1 } else { bucket - 1 };
            let meta = Meta::load(self.meta(bucket));
            publish(self.meta(bucket), meta.with(change(meta.own())));
        }
    }

    #[inline]
    fn take_out(&self, run: &Run<'_>, key: WordKey, mut look: impl FnMut(Elem)) -> Result<(), MapError> {
        let home = self.home(key);
        let mut turn = 0;
        loop {
            let meta = lock(run, self.meta(home))?;
            let Some(elem) = self.find_held(home, meta, key) else {
                publish(self.meta(home), meta);
                return Err(MapError::NotFound);
            };
            let (bucket, slot) = (elem.0 / INDICES, elem.0 % INDICES);
            if bucket == home {
                look(elem);
                publish(self.meta(home), meta.with(meta.own() & !(1 << slot)).next_version());
                break;
            }
            if self.take_out_further(run, home, elem, &mut look)? {
                break;
            }
            if run.is_nested() && turn >= 64 {
                return Err(MapError::Busy);
            }
            relax(turn);
            turn += 1;
        }
        self.credits.put(run);
        Ok(())
    }

    /// Takes a key out of a bucket that is not its home, which is held. False if it has to be tried again, with the home bucket
    /// let go.
    #[cold]
    fn take_out_further(
        &self,
        run: &Run<'_>,
        home: u32,
        elem: Elem,
        look: &mut dyn FnMut(Elem),
    ) -> Result<bool, MapError> {
        let (bucket, slot) = (elem.0 / INDICES, elem.0 % INDICES);
        let mut last = home;
        while last != bucket {
            let next = self.next(last);
            match self.take_next(run, home, next) {
                Tried::Locked(_) => last = next,
                tried => {
                    self.recount(home, self.next(last), |own| own);
                    return if matches!(tried, Tried::Own) {
                        Err(MapError::Busy)
                    } else {
                        Ok(false)
                    };
                }
            }
        }
        look(elem);
        let meta = Meta::load(self.meta(bucket));
        publish(self.meta(bucket), meta.with(meta.own() & !(1 << slot)).next_version());
        self.recount(home, bucket, |own| {
            if own & MANY_PASSED == MANY_PASSED {
                own
            } else {
                own - PASSED
            }
        });
        Ok(true)
    }

    /// The key as a word.
    fn word_key(key: &Key) -> WordKey {
        Short([key.words()[0]])
    }
}

impl<const WIDE: bool> MapOps for Inline<WIDE> {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        self.find(Self::word_key(key))
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        self.put(run, Self::word_key(key), value.load_word(), put.rule)
    }

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.take_out(run, Self::word_key(key), |_| ())
    }

    fn take(&self, run: &Run<'_>, key: &Key, look: &mut dyn FnMut(Elem)) -> Result<(), MapError> {
        self.take_out(run, Self::word_key(key), look)
    }

    fn indices(&self) -> u32 {
        self.buckets * INDICES
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        let (bucket, slot) = (elem.0 / INDICES, elem.0 % INDICES);
        if bucket >= self.buckets || Meta::load(self.meta(bucket)).own() & Self::FULL & 1 << slot == 0 {
            return None;
        }
        let word = if WIDE {
            self.word(bucket, Self::KEYS + slot as usize * 8).load(Relaxed)
        } else {
            self.narrow_key(bucket, slot).load(Relaxed).into()
        };
        Some(Key::from_words(self.common.key_size as usize, |_| word))
    }

    fn value(&self, elem: Elem, _slot: u32) -> SharedBytes<'_> {
        let (bucket, slot) = (elem.0 / INDICES, elem.0 % INDICES);
        let off = Header::LEN + bucket as usize * BUCKET + VALUES + slot as usize * 8;
        self.region.bytes(off, self.common.value_size as usize)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?.checked_sub(Header::LEN)?;
        let inside = (off % BUCKET).checked_sub(VALUES)?;
        let (bucket, slot) = ((off / BUCKET) as u32, (inside / 8) as u32);
        let fits = bucket < self.buckets && inside % 8 + len <= self.common.value_size as usize;
        (fits && slot < Self::SLOTS).then_some(Elem(bucket * INDICES + slot))
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        self.seed.hash(key) >> 32
    }

    fn positions(&self) -> u64 {
        self.indices().into()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        let elem = Elem(position as u32);
        self.key_of(elem).map(|_| elem)
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        self.lookup(key).map(|elem| (elem.0.into(), elem))
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        match self.common.key_size {
            4 => self.calls_for::<4>(),
            8 => self.calls_for::<8>(),
            _ => self.calls_for::<0>(),
        }
    }
}

/// What compiled code calls, for keys of `SIZE` bytes, or of the map's size if that is 0.
impl<const WIDE: bool> Inline<WIDE> {
    fn calls_for<const SIZE: usize>(&self) -> MapCalls {
        MapCalls {
            state: std::ptr::from_ref(self).cast(),
            lookup: Self::lookup_call::<SIZE>,
            update: Self::update_call::<SIZE>,
            delete: Self::delete_call::<SIZE>,
        }
    }

    /// # Safety
    /// As [`MapCalls`] says.
    #[inline]
    unsafe fn key_at<const SIZE: usize>(&self, key: *const u8) -> WordKey {
        let size = if SIZE == 0 { self.common.key_size as usize } else { SIZE };
        // SAFETY: the caller vouches that the key is readable.
        Short([unsafe { load_word(key, size) }])
    }

    unsafe extern "C" fn lookup_call<const SIZE: usize>(state: *const (), _run: &Run<'_>, key: *const u8) -> u64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let (map, key) = unsafe {
            let map = &*state.cast::<Self>();
            (map, map.key_at::<SIZE>(key))
        };
        let found = map.find(key);
        found.map_or(0, |elem| std::ptr::from_ref(map.value_word(elem)) as u64)
    }

    unsafe extern "C" fn update_call<const SIZE: usize>(
        state: *const (),
        run: &Run<'_>,
        key: *const u8,
        value: *const u8,
        flags: u64,
    ) -> i64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let (map, key, value) = unsafe {
            let map = &*state.cast::<Self>();
            let value = load_word(value, map.common.value_size as usize);
            (map, map.key_at::<SIZE>(key), value)
        };
        let result = map.common.check_current().and_then(|()| {
            let put = UpdateFlags::from_bits(flags).of_program(false)?;
            map.put(run, key, value, put.rule)
        });
        errno(map.common.count_busy(result))
    }

    unsafe extern "C" fn delete_call<const SIZE: usize>(state: *const (), run: &Run<'_>, key: *const u8) -> i64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let (map, key) = unsafe {
            let map = &*state.cast::<Self>();
            (map, map.key_at::<SIZE>(key))
        };
        let result = map.common.check_current().and_then(|()| map.take_out(run, key, |_| ()));
        errno(map.common.count_busy(result))
    }
}
