//! Helpers that look at maps and change them.

use hitless_verifier::tables::helpers;

use super::Helper;
use crate::env::RunEnv;
use crate::map::{Key, Map, MapError};
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(helpers::MAP_LOOKUP_ELEM, lookup),
    Helper::new(helpers::MAP_UPDATE_ELEM, update),
    Helper::new(helpers::MAP_DELETE_ELEM, delete),
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
    unsafe { (calls.lookup)(calls.state, env.run(), key as *const u8) }
}

unsafe extern "C" fn update(env: &mut RunEnv<'_>, map: u64, key_at: u64, value: u64, flags: u64, _: u64) -> u64 {
    let map = env.map(map);
    if !env.is_traced() {
        let (calls, key, value) = (map.calls(), key_at as *const u8, value as *const u8);
        // SAFETY: the verifier proved key and value readable; the map is alive.
        return unsafe { (calls.update)(calls.state, env.run(), key, value, flags) }.cast_unsigned();
    }
    // SAFETY: the verifier proved a key there.
    let key = unsafe { self::key(map, key_at) };
    // SAFETY: the verifier proved a value there.
    let value = unsafe { SharedBytes::from_raw(value, map.def().value_size as usize) };
    errno(env.update(map, &key, value, flags))
}

unsafe extern "C" fn delete(env: &mut RunEnv<'_>, map: u64, key_at: u64, _: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    if !env.is_traced() {
        let calls = map.calls();
        // SAFETY: the verifier proved the key readable; the map is alive.
        return unsafe { (calls.delete)(calls.state, env.run(), key_at as *const u8) }.cast_unsigned();
    }
    // SAFETY: the verifier proved a key there.
    let key = unsafe { self::key(map, key_at) };
    errno(env.delete(map, &key))
}

/// What a helper returns for an operation's result: 0 or the negative errno.
fn errno(result: Result<(), MapError>) -> u64 {
    result
        .map_or_else(|error| -i64::from(error.errno()), |()| 0)
        .cast_unsigned()
}
