//! One element at a time, and freezing.

use std::sync::Arc;

use hitless::{Map, MapKind, UpdateFlags};
use rustix::io::Errno;

use super::{LOCK, errno};
use crate::attr::Field;
use crate::{Call, ENOTSUPP};

const MAP_FD: Field<u32> = Field::at(0);
const KEY: Field<u64> = Field::at(8);
const VALUE: Field<u64> = Field::at(16);
const NEXT_KEY: Field<u64> = Field::at(16);
const FLAGS: Field<u64> = Field::at(24);

/// `BPF_F_CPU`, which Linux has since 6.19: one slot's value of a per-CPU map, by the upper half of the flags.
const F_CPU: u64 = 8;
/// `BPF_F_ALL_CPUS`, likewise: the same value for all slots.
const F_ALL_CPUS: u64 = 16;

/// Copies the value of a key.
pub(crate) fn lookup(call: &Call<'_>) -> Result<u32, Errno> {
    let flags = call.attr.get(FLAGS);
    if flags as u32 & !(LOCK | F_CPU) as u32 != 0 || (flags & F_CPU == 0 && flags >> 32 != 0) {
        return Err(Errno::INVAL);
    }
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.readable()?;
    check_lock(map, flags)?;
    let key = read_key(call, map, call.attr.get(KEY))?;
    let at = call.attr.get(VALUE);
    if flags & F_CPU != 0 {
        let value = map.lookup_slot(&key, (flags >> 32) as u32).map_err(errno)?;
        call.caller.write(at, &value.ok_or(Errno::NOENT)?)?;
        return Ok(0);
    }
    let mut value = vec![0; map.host_value_size()];
    let found = if map.def().kind == MapKind::BloomFilter {
        // The value is what is asked about.
        call.caller.read(at, &mut value)?;
        map.contains(&value)
    } else {
        map.lookup_into(&key, &mut value)
    };
    if !found.map_err(errno)? {
        return Err(Errno::NOENT);
    }
    call.caller.write(at, &value)?;
    Ok(0)
}

/// Creates or replaces an element.
pub(crate) fn update(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.writable()?;
    check_unfrozen(map)?;
    let flags = call.attr.get(FLAGS);
    check_lock(map, flags)?;
    let key = read_key(call, map, call.attr.get(KEY))?;
    let one_slot = flags & (F_CPU | F_ALL_CPUS) != 0 && map.def().is_per_cpu();
    let len = if one_slot {
        map.def().value_size as usize
    } else {
        map.host_value_size()
    };
    let value = read_bytes(call, call.attr.get(VALUE), len)?;
    put(call, map, &key, &value, UpdateFlags::from_bits(flags))?;
    Ok(0)
}

/// Puts a value into a map; into one of programs or maps what the value, a descriptor, stands for.
pub(super) fn put(call: &Call<'_>, map: &Map, key: &[u8], value: &[u8], flags: UpdateFlags) -> Result<(), Errno> {
    let kind = map.def().kind;
    let is_array = matches!(
        kind,
        MapKind::ProgArray | MapKind::ArrayOfMaps | MapKind::PerfEventArray
    );
    let index = key.first_chunk().map_or(0, |key| u32::from_ne_bytes(*key));
    if is_array && flags != UpdateFlags::ANY {
        return Err(Errno::INVAL);
    }
    if is_array && index >= map.def().max_entries {
        return Err(Errno::TOOBIG);
    }
    let fd = value.first_chunk().map_or(0, |value| u32::from_ne_bytes(*value));
    match kind {
        MapKind::ProgArray => map.insert_program(index, &call.program(fd)?),
        MapKind::ArrayOfMaps | MapKind::HashOfMaps => map.insert_map(key, call.open_map(fd)?.map(), flags),
        // Whatever it is, it is no event of perf's: those that there are belong to the kernel.
        MapKind::PerfEventArray => return Err(Errno::BADF),
        _ => map.update(key, value, flags),
    }
    .map_err(errno)
}

/// Deletes an element.
pub(crate) fn delete(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.writable()?;
    check_unfrozen(map)?;
    let key = read_key(call, map, call.attr.get(KEY))?;
    map.delete(&key).map_err(errno)?;
    Ok(0)
}

/// Copies the key that follows one, or the first.
pub(crate) fn next_key(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.readable()?;
    let at = call.attr.get(KEY);
    let key = if at == 0 { None } else { Some(read_key(call, map, at)?) };
    let next = map.next_key(key.as_deref()).map_err(errno)?;
    call.caller.write(call.attr.get(NEXT_KEY), &next.ok_or(Errno::NOENT)?)?;
    Ok(0)
}

/// Takes an element out, and copies the value that it had.
pub(crate) fn lookup_and_delete(call: &Call<'_>) -> Result<u32, Errno> {
    let flags = call.attr.get(FLAGS);
    if flags & !LOCK != 0 {
        return Err(Errno::INVAL);
    }
    let open = call.open_map(call.attr.get(MAP_FD))?;
    open.readable()?;
    let map = open.writable()?;
    check_unfrozen(map)?;
    if flags != 0 && matches!(map.def().kind, MapKind::Queue | MapKind::Stack) {
        return Err(Errno::INVAL);
    }
    check_lock(map, flags)?;
    let key = read_key(call, map, call.attr.get(KEY))?;
    let value = map.lookup_and_delete(&key).map_err(errno)?;
    call.caller.write(call.attr.get(VALUE), &value.ok_or(Errno::NOENT)?)?;
    Ok(0)
}

/// Keeps callers from changing a map from now on.
pub(crate) fn freeze(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    if open.map().has_fields() {
        return Err(ENOTSUPP);
    }
    open.writable()?.freeze().map_err(errno)?;
    Ok(0)
}

/// Refuses to change what is frozen, before anything of the caller's is read.
pub(super) fn check_unfrozen(map: &Map) -> Result<(), Errno> {
    if map.is_frozen() { Err(Errno::PERM) } else { Ok(()) }
}

pub(super) fn check_lock(map: &Map, flags: u64) -> Result<(), Errno> {
    if flags & LOCK != 0 && map.def().spin_lock.is_none() {
        return Err(Errno::INVAL);
    }
    Ok(())
}

/// The key at an address. A map without keys gets none.
fn read_key(call: &Call<'_>, map: &Arc<Map>, at: u64) -> Result<Vec<u8>, Errno> {
    match map.def().key_size as usize {
        0 if at != 0 => Err(Errno::INVAL),
        0 => Ok(Vec::new()),
        len => read_bytes(call, at, len),
    }
}

pub(super) fn read_bytes(call: &Call<'_>, at: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    call.caller.read(at, &mut bytes)?;
    Ok(bytes)
}
