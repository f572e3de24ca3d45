//! Timers: functions of the program that are called later (`timer`).

use std::sync::Arc;

use hitless_verifier::tables::helpers::number;

use super::errno::{EBUSY, EDEADLK, EINVAL, ENOMEM, EPERM, Errno, returned};
use super::{Helper, broken};
use crate::env::RunEnv;
use crate::map::Map;
use crate::timer::{Clock, Place, TimerError, Timers};

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_timer_init"), timer_init),
    Helper::new(number("bpf_timer_set_callback"), timer_set_callback),
    Helper::new(number("bpf_timer_start"), timer_start),
    Helper::new(number("bpf_timer_cancel"), timer_cancel),
];

/// The timer goes off at a time, not after a time.
const F_ABS: u64 = 1;
/// It goes off on the processor that started it. Here, all of them go off on the slot of the thread that calls their functions.
const F_CPU_PIN: u64 = 2;

fn errno(error: TimerError) -> Errno {
    match error {
        TimerError::Unset => EINVAL,
        TimerError::Busy => EBUSY,
        TimerError::NoUser => EPERM,
        TimerError::TooMany => ENOMEM,
        TimerError::Deadlock => EDEADLK,
    }
}

/// The timers of the runtime, and the one at an address.
fn find<'a>(env: &RunEnv<'a>, address: u64) -> (&'a Timers, Place<'a>) {
    let Some(timers) = env.shared().timers() else {
        broken(number("bpf_timer_init"), "no map with timers");
    };
    let holds = |map: &&Arc<Map>| map.has_timers() && map.ops().element_at(address, 1).is_some();
    let Some(map) = env.program().maps().iter().find(holds) else {
        broken(number("bpf_timer_init"), "no timer in a map of the program");
    };
    (timers, Place { map, address })
}

unsafe extern "C" fn timer_init(env: &mut RunEnv<'_>, timer: u64, _: u64, flags: u64, _: u64, _: u64) -> u64 {
    let Some(clock) = Clock::from_number(flags) else {
        return returned(Err(EINVAL));
    };
    let (timers, place) = find(env, timer);
    returned(timers.init(env.run(), &place, clock).map(|()| 0).map_err(errno))
}

unsafe extern "C" fn timer_set_callback(env: &mut RunEnv<'_>, timer: u64, func: u64, _: u64, _: u64, _: u64) -> u64 {
    let (timers, place) = find(env, timer);
    let (Some(function), Some(program)) = (env.function(func), env.program().itself()) else {
        broken(number("bpf_timer_set_callback"), "no function of the program");
    };
    let set = timers.set_callback(env.run(), &place, program, function);
    returned(set.map(|()| 0).map_err(errno))
}

unsafe extern "C" fn timer_start(env: &mut RunEnv<'_>, timer: u64, delay: u64, flags: u64, _: u64, _: u64) -> u64 {
    if flags & !(F_ABS | F_CPU_PIN) != 0 {
        return returned(Err(EINVAL));
    }
    let (timers, place) = find(env, timer);
    let started = timers.start(env.run(), &place, delay, flags & F_ABS != 0);
    returned(started.map(|()| 0).map_err(errno))
}

unsafe extern "C" fn timer_cancel(env: &mut RunEnv<'_>, timer: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let (timers, place) = find(env, timer);
    returned(timers.cancel(env.run(), &place).map(u64::from).map_err(errno))
}
