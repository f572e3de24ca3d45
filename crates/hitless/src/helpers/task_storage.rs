//! Values that each thread has of its own.
//!
//! There is no `task_struct`: what stands for the current one is the thread's id, an address at which nothing is ever mapped, so
//! that what programs read there is zero. Other threads' values are out of reach of programs.

use hitless_verifier::tables::helpers::number;

use super::errno::{Errno, returned};
use super::{Helper, broken};
use crate::env::RunEnv;
use crate::map::TaskStorage;
use crate::region::SharedBytes;
use crate::run::thread_id;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_get_current_task"), get_current_task),
    Helper::new(number("bpf_get_current_task_btf"), get_current_task),
    Helper::new(number("bpf_task_storage_get"), get),
    Helper::new(number("bpf_task_storage_delete"), delete),
];

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
const F_CREATE: u64 = 1;

fn storage<'a>(env: &RunEnv<'a>, map: u64) -> &'a TaskStorage {
    match env.map(map).tasks() {
        Some(storage) => storage,
        None => broken(number("bpf_task_storage_get"), "no task storage"),
    }
}

unsafe extern "C" fn get_current_task(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    thread_id().into()
}

unsafe extern "C" fn get(env: &mut RunEnv<'_>, map: u64, task: u64, value: u64, flags: u64, _: u64) -> u64 {
    if task != u64::from(thread_id()) || flags & !F_CREATE != 0 {
        return 0;
    }
    let size = env.map(map).def().value_size as usize;
    // SAFETY: the verifier proved as many readable bytes as a value has, or NULL.
    let init = (value != 0).then(|| unsafe { SharedBytes::from_raw(value, size) });
    storage(env, map)
        .get(env.run(), flags & F_CREATE != 0, init)
        .unwrap_or(0)
}

unsafe extern "C" fn delete(env: &mut RunEnv<'_>, map: u64, task: u64, _: u64, _: u64, _: u64) -> u64 {
    if task != u64::from(thread_id()) {
        return returned(Err(Errno::new(libc::ENOENT)));
    }
    let deleted = storage(env, map).remove(env.run());
    returned(deleted.map(|()| 0).map_err(|error| Errno::new(error.errno())))
}
