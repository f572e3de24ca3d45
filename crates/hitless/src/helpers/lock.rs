//! `bpf_spin_lock()` and `bpf_spin_unlock()`.

use hitless_verifier::tables::helpers;

use super::{Helper, broken};
use crate::env::RunEnv;
use crate::region::SharedBytes;
use crate::spin;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(helpers::SPIN_LOCK, spin_lock),
    Helper::new(helpers::SPIN_UNLOCK, spin_unlock),
];

/// The lock at an address.
///
/// # Safety
/// A value of a map has a `struct bpf_spin_lock` there.
unsafe fn lock<'a>(id: u32, address: u64) -> SharedBytes<'a> {
    if !address.is_multiple_of(4) {
        broken(id, "the lock is not aligned");
    }
    // SAFETY: as for this function.
    unsafe { SharedBytes::from_raw(address, 4) }
}

unsafe extern "C" fn spin_lock(env: &mut RunEnv<'_>, address: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a lock there.
    let lock = unsafe { lock(helpers::SPIN_LOCK, address) };
    if spin::lock(env.run(), lock).is_err() {
        broken(helpers::SPIN_LOCK, "a nested run would wait for a spin lock");
    }
    env.spin_lock = Some(lock);
    0
}

unsafe extern "C" fn spin_unlock(env: &mut RunEnv<'_>, address: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a lock there.
    let lock = unsafe { lock(helpers::SPIN_UNLOCK, address) };
    env.spin_lock = None;
    spin::unlock(env.run(), lock);
    0
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

    use crate::env::Reach;
    use crate::program::Failure;
    use crate::{Engine, Options, Runtime, UpdateFlags};

    /// Reads the key that it is told of while it holds a lock.
    const TRACER: &str = "
        r7 = *(u64 *)(r1 +0)
        *(u32 *)(r10 -4) = 0
        r1 = map[idx:0]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem#1
        if r0 == 0 goto out
        r6 = r0
        r1 = r6
        call bpf_spin_lock#93
        r8 = *(u8 *)(r7 +0)
        r1 = r6
        call bpf_spin_unlock#94
    out:
        r0 = 0
        exit";

    #[test]
    fn a_program_that_ends_at_a_failed_check_lets_go_of_its_lock() {
        let spec = ObjectSpec {
            license: "GPL".into(),
            maps: vec![MapSpec {
                name: "locked".into(),
                map_type: 2,
                key_size: 4,
                value_size: 8,
                max_entries: 1,
                spin_lock: Some(0),
                ..MapSpec::default()
            }],
            programs: vec![ProgramSpec {
                name: "tracer".into(),
                section: "map_trace/locked/DELETE_ELEM".into(),
                insns: hitless_isa::asm::assemble(TRACER).unwrap(),
                ..ProgramSpec::default()
            }],
            ..ObjectSpec::default()
        };
        let runtime = Runtime::new(Options {
            engine: Engine::Interpreter,
            ..Options::default()
        });
        let object = runtime.load(&spec).unwrap();
        let (map, tracer) = (object.map("locked").unwrap(), object.program("tracer").unwrap());
        let key = [0u8; 4];
        let memory = [(key.as_ptr() as u64, key.len())];
        let mut context = memory[0].0;
        let mut execute = |reach: Option<&Reach<'_>>| {
            let in_run = |run: &crate::run::Run<'_>| {
                // SAFETY: the context is that of such a program, and its memory is there; a reach that leaves it out has the
                // interpreter refuse to read it.
                let result = unsafe { tracer.execute(run, &mut context, reach) };
                (
                    result,
                    run.slot().spin_locked.load(std::sync::atomic::Ordering::Relaxed),
                )
            };
            map.slots().run(in_run).unwrap()
        };
        assert_eq!(execute(Some(&Reach::memory(&memory, true))), (Ok(0), 0));
        assert_eq!(
            execute(Some(&Reach::memory(&[(1, 4)], true))),
            (Err(Failure::Trapped), 0)
        );
        // It would wait for ever.
        map.update(&key, &[1; 8], UpdateFlags::LOCK).unwrap();
    }
}
