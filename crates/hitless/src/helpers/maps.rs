//! Helpers that look at maps and change them.

use hitless_verifier::MapKind;
use hitless_verifier::tables::helpers::{self, number};

use super::Helper;
use super::errno::{EINVAL, Errno, returned};
use crate::env::RunEnv;
use crate::map::{Key, Map, MapError, ValueOps};
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(helpers::MAP_LOOKUP_ELEM, lookup),
    Helper::new(helpers::MAP_UPDATE_ELEM, update),
    Helper::new(helpers::MAP_DELETE_ELEM, delete),
    Helper::new(number("bpf_map_push_elem"), push),
    Helper::new(number("bpf_map_pop_elem"), pop),
    Helper::new(number("bpf_map_peek_elem"), peek),
    Helper::new(number("bpf_map_lookup_percpu_elem"), lookup_percpu),
    Helper::new(number("bpf_for_each_map_elem"), for_each),
];

/// The key at an address.
///
/// # Safety
/// As many bytes as the map's keys have are readable there.
unsafe fn key(map: &Map, address: u64) -> Key {
    // SAFETY: as for this function.
    Key::new(unsafe { SharedBytes::from_raw(address, map.def().key_size as usize) })
}

unsafe extern "C" fn lookup(env: &mut RunEnv<'_>, map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    let calls = env.map(map).calls();
    // SAFETY: the verifier proved the key readable; the map is alive.
    unsafe {
        let key = calls.key.of(key);
        (calls.lookup)(calls.state, env.run(), key, calls.bucket(key))
    }
}

unsafe extern "C" fn update(env: &mut RunEnv<'_>, map: u64, key_at: u64, value: u64, flags: u64, _: u64) -> u64 {
    let map = env.map(map);
    if !env.is_traced() {
        let calls = map.calls();
        // SAFETY: the verifier proved key and value readable; the map is alive.
        let result = unsafe {
            let (key, value) = (calls.key.of(key_at), calls.value.of(value));
            (calls.update)(calls.state, env.run(), key, value, flags, calls.bucket(key))
        };
        return result.cast_unsigned();
    }
    // SAFETY: the verifier proved a key and a value there.
    unsafe { env.update(map, key_at, value, flags) }.cast_unsigned()
}

unsafe extern "C" fn delete(env: &mut RunEnv<'_>, map: u64, key_at: u64, _: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    if !env.is_traced() {
        let calls = map.calls();
        // SAFETY: the verifier proved the key readable; the map is alive.
        let result = unsafe {
            let key = calls.key.of(key_at);
            (calls.delete)(calls.state, env.run(), key, calls.bucket(key))
        };
        return result.cast_unsigned();
    }
    // SAFETY: the verifier proved a key there.
    unsafe { env.delete(map, key_at) }.cast_unsigned()
}

unsafe extern "C" fn push(env: &mut RunEnv<'_>, map: u64, value: u64, flags: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    errno(match values(map) {
        // The content has moved elsewhere.
        _ if map.is_sealed() => Err(MapError::Migrated),
        // SAFETY: the verifier proved a value there.
        Ok(values) => values.push(env.run(), unsafe { value_at(map, value) }, flags),
        Err(error) => Err(error),
    })
}

unsafe extern "C" fn pop(env: &mut RunEnv<'_>, map: u64, value: u64, _: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    if map.is_sealed() {
        return errno(Err(MapError::Migrated));
    }
    // SAFETY: the verifier proved a value there that may be written.
    unsafe { take(map, value, |values, value| values.pop(env.run(), value)) }
}

unsafe extern "C" fn peek(env: &mut RunEnv<'_>, map: u64, value: u64, _: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    // SAFETY: the verifier proved a value there that may be written.
    unsafe { take(map, value, |values, value| values.peek(env.run(), value)) }
}

/// Takes or looks at the next value. Of an empty queue or stack, that is zeros.
///
/// # Safety
/// A value of the map may be written at the address.
unsafe fn take(
    map: &Map,
    address: u64,
    take: impl FnOnce(&dyn ValueOps, SharedBytes<'_>) -> Result<(), MapError>,
) -> u64 {
    // SAFETY: as for this function.
    let value = unsafe { value_at(map, address) };
    let taken = values(map).and_then(|values| take(values, value));
    if matches!(taken, Err(MapError::NotFound)) && map.def().kind != MapKind::BloomFilter {
        // SAFETY: as for this function.
        unsafe { value.fill(0) };
    }
    errno(taken)
}

/// What maps without keys do. Other maps of maps of these may be of another type, which does not have that.
fn values(map: &Map) -> Result<&dyn ValueOps, MapError> {
    map.values().ok_or(MapError::Unsupported)
}

/// The value at an address.
///
/// # Safety
/// As many bytes as the map's values have are readable there, and writable if they are written.
unsafe fn value_at<'a>(map: &Map, address: u64) -> SharedBytes<'a> {
    // SAFETY: as for this function.
    unsafe { SharedBytes::from_raw(address, map.def().value_size as usize) }
}

/// The value of one slot.
unsafe extern "C" fn lookup_percpu(env: &mut RunEnv<'_>, map: u64, key_at: u64, slot: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    let slot = slot as u32;
    if slot >= map.slot_count() {
        return 0;
    }
    // SAFETY: the verifier proved a key there.
    let elem = map.ops().lookup(&unsafe { key(map, key_at) });
    elem.map_or(0, |elem| map.ops().value(elem, slot).address())
}

/// Calls `func(map, key, value, context)` for each element, until it returns something other than 0; returns how often it did.
/// Each gets a copy of the key, which elements in a process do not keep for longer than they are there.
unsafe extern "C" fn for_each(env: &mut RunEnv<'_>, map_at: u64, func: u64, context: u64, flags: u64, _: u64) -> u64 {
    if flags != 0 {
        return returned(Err(EINVAL));
    }
    let map = env.map(map_at);
    let ops = map.ops();
    let mut count = 0;
    for position in 0..ops.positions() {
        let Some((elem, key)) = map.live_at(position) else {
            continue;
        };
        count += 1;
        let value = ops.value(elem, env.slot()).address();
        // SAFETY: the verifier proved that this is a function that takes a map, a key, a value and that context.
        let result = unsafe {
            env.lend(key.bytes(), |env, key| {
                env.callback(func, [map_at, key, value, context, 0])
            })
        };
        if result != 0 {
            break;
        }
    }
    count
}

/// What a helper returns for an operation's result: 0 or the negative errno.
pub(super) fn errno(result: Result<(), MapError>) -> u64 {
    returned(result.map(|()| 0).map_err(|error| Errno::new(error.errno())))
}
