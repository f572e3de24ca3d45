//! Many elements with one call.
//!
//! Where a batch goes on is said by the caller in memory that is as large as a key, or, for hashes, four bytes: as in Linux it is
//! the last key for the former, and a place that only the map knows for the latter.

use hitless::{BatchCursor, BatchError, Map, MapKind, UpdateFlags};
use rustix::io::Errno;

use super::elements::{check_lock, check_unfrozen, put, read_bytes};
use super::{LOCK, errno};
use crate::attr::Field;
use crate::{Call, ENOTSUPP};

const IN_BATCH: Field<u64> = Field::at(0);
const OUT_BATCH: Field<u64> = Field::at(8);
const KEYS: Field<u64> = Field::at(16);
const VALUES: Field<u64> = Field::at(24);
const COUNT: Field<u32> = Field::at(32);
const MAP_FD: Field<u32> = Field::at(36);
const ELEM_FLAGS: Field<u64> = Field::at(40);
const FLAGS: Field<u64> = Field::at(48);

/// How many elements of a hash are taken at a time: what is between two copies to the caller.
const AT_ONCE: usize = 256;

/// Whether the batches of a map go by places in it.
fn is_hash(map: &Map) -> bool {
    matches!(
        map.def().kind,
        MapKind::Hash | MapKind::PercpuHash | MapKind::LruHash | MapKind::LruPercpuHash
    )
}

fn check_elem_flags(call: &Call<'_>, map: &Map) -> Result<(), Errno> {
    let flags = call.attr.get(ELEM_FLAGS);
    if flags & !LOCK != 0 {
        return Err(Errno::INVAL);
    }
    check_lock(map, flags)
}

/// Writes how many elements there were.
fn write_count(call: &Call<'_>, count: u32) -> Result<(), Errno> {
    call.caller.write(call.attr.address_of(COUNT), &count.to_ne_bytes())
}

/// Where the element with a number lies in an array of them.
fn address(base: u64, number: u32, size: usize) -> u64 {
    base.wrapping_add(u64::from(number) * size as u64)
}

/// Copies elements, from the start or where an earlier batch ended.
pub(crate) fn lookup_batch(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.readable()?;
    if is_hash(map) {
        return batch_of_hash(call, map, false);
    }
    // Whether there are such batches is said by an empty one.
    map.lookup_batch(&mut BatchCursor::default(), 0).map_err(errno)?;
    batch_by_keys(call, map)
}

/// Takes elements out of a hash, and copies them.
pub(crate) fn lookup_and_delete_batch(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    open.readable()?;
    let map = open.writable()?;
    check_unfrozen(map)?;
    if !is_hash(map) && map.def().kind != MapKind::HashOfMaps {
        return Err(ENOTSUPP);
    }
    batch_of_hash(call, map, true)
}

fn batch_of_hash(call: &Call<'_>, map: &Map, delete: bool) -> Result<u32, Errno> {
    check_elem_flags(call, map)?;
    if call.attr.get(FLAGS) != 0 {
        return Err(Errno::INVAL);
    }
    let limit = call.attr.get(COUNT);
    if limit == 0 {
        return Ok(0);
    }
    write_count(call, 0)?;
    let mut cursor = BatchCursor::default();
    let from = call.attr.get(IN_BATCH);
    if from != 0 {
        let place = read_bytes(call, from, size_of::<u32>())?;
        let place = place.first_chunk().map_or(0, |place| u32::from_ne_bytes(*place));
        cursor = BatchCursor::at(place.into());
    }
    let (key_size, value_size) = (map.def().key_size as usize, map.host_value_size());
    let mut count = 0;
    while count < limit && !cursor.is_done() {
        let at_once = AT_ONCE.min((limit - count) as usize);
        let taken = if delete {
            map.lookup_and_delete_batch(&mut cursor, at_once)
        } else {
            map.lookup_batch(&mut cursor, at_once)
        };
        for (key, value) in taken.map_err(errno)? {
            call.caller.write(address(call.attr.get(KEYS), count, key_size), &key)?;
            call.caller
                .write(address(call.attr.get(VALUES), count, value_size), &value)?;
            count += 1;
        }
    }
    // Linux says that it was all of them with the last one, not with a call that finds no more.
    let mut ahead = cursor;
    if map.lookup_batch(&mut ahead, 1).map_err(errno)?.is_empty() {
        cursor = ahead;
    }
    let place = u32::try_from(cursor.position()).map_err(|_| Errno::OVERFLOW)?;
    call.caller.write(call.attr.get(OUT_BATCH), &place.to_ne_bytes())?;
    write_count(call, count)?;
    if cursor.is_done() { Err(Errno::NOENT) } else { Ok(0) }
}

fn batch_by_keys(call: &Call<'_>, map: &Map) -> Result<u32, Errno> {
    check_elem_flags(call, map)?;
    let limit = call.attr.get(COUNT);
    if limit == 0 {
        return Ok(0);
    }
    write_count(call, 0)?;
    let (key_size, value_size) = (map.def().key_size as usize, map.host_value_size());
    let mut last = match call.attr.get(IN_BATCH) {
        0 => None,
        at => Some(read_bytes(call, at, key_size)?),
    };
    let mut count = 0;
    let mut value = vec![0; value_size];
    let mut ended = Ok(0);
    while count < limit {
        let Some(key) = map.next_key(last.as_deref()).map_err(errno)? else {
            ended = Err(Errno::NOENT);
            break;
        };
        if map.lookup_into(&key, &mut value).map_err(errno)? {
            call.caller.write(address(call.attr.get(KEYS), count, key_size), &key)?;
            call.caller
                .write(address(call.attr.get(VALUES), count, value_size), &value)?;
            count += 1;
        }
        last = Some(key);
    }
    write_count(call, count)?;
    if let Some(last) = last.filter(|_| count > 0) {
        call.caller.write(call.attr.get(OUT_BATCH), &last)?;
    }
    ended
}

/// Creates or replaces elements, in order.
pub(crate) fn update_batch(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.writable()?;
    check_unfrozen(map)?;
    if !matches!(map.def().kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
        let none: [(&[u8], &[u8]); 0] = [];
        map.update_batch(none, UpdateFlags::ANY).map_err(of_batch)?;
    }
    check_elem_flags(call, map)?;
    let limit = call.attr.get(COUNT);
    let flags = UpdateFlags::from_bits(call.attr.get(ELEM_FLAGS));
    let (key_size, value_size) = (map.def().key_size as usize, map.host_value_size());
    each(call, limit, |number| {
        let key = read_bytes(call, address(call.attr.get(KEYS), number, key_size), key_size)?;
        let value = read_bytes(call, address(call.attr.get(VALUES), number, value_size), value_size)?;
        put(call, map, &key, &value, flags)
    })
}

/// Deletes elements, in order.
pub(crate) fn delete_batch(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.writable()?;
    check_unfrozen(map)?;
    map.delete_batch([]).map_err(of_batch)?;
    check_elem_flags(call, map)?;
    let key_size = map.def().key_size as usize;
    each(call, call.attr.get(COUNT), |number| {
        let key = read_bytes(call, address(call.attr.get(KEYS), number, key_size), key_size)?;
        map.delete(&key).map_err(errno)
    })
}

/// Does something for each of so many elements until it fails, and says for how many it was done.
fn each(call: &Call<'_>, limit: u32, mut change: impl FnMut(u32) -> Result<(), Errno>) -> Result<u32, Errno> {
    if limit == 0 {
        return Ok(0);
    }
    let (mut done, mut result) = (0, Ok(0));
    while done < limit {
        if let Err(error) = change(done) {
            result = Err(error);
            break;
        }
        done += 1;
    }
    write_count(call, done)?;
    result
}

fn of_batch(BatchError { source, .. }: BatchError) -> Errno {
    errno(source)
}
