//! `bpf_tail_call()`.

use hitless_verifier::tables::helpers;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[Helper::new(helpers::TAIL_CALL, tail_call)];

/// Looks for the program to go on with; the code that calls this does the rest.
unsafe extern "C" fn tail_call(env: &mut RunEnv<'_>, context: u64, map: u64, index: u64, _: u64, _: u64) -> u64 {
    let programs = env.map(map).programs();
    let program = programs.and_then(|programs| programs.get(env.run(), index as u32));
    program.map_or(0, |program| env.tail_call(program, context))
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

    use crate::map::Elem;
    use crate::{Engine, Options, Packet, Runtime, Xdp, XdpAction, spin};

    const JUMP: &str = "
        r2 = map[idx:0]
        r3 = 0
        call bpf_tail_call#12
        r0 = 1
        exit";

    const LOCK: &str = "
        *(u32 *)(r10 -4) = 0
        r1 = map[idx:1]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem#1
        if r0 == 0 goto out
        r6 = r0
        r1 = r6
        call bpf_spin_lock#93
        r1 = r6
        call bpf_spin_unlock#94
    out:
        r0 = 2
        exit";

    /// In a signal handler that interrupts a holder of a spin lock, programs that take some are not gone on with.
    #[test]
    fn nothing_goes_on_to_wait_for_an_interrupted_lock() {
        let map = |name: &str, map_type, value_size, spin_lock| MapSpec {
            name: name.into(),
            map_type,
            key_size: 4,
            value_size,
            max_entries: 1,
            spin_lock,
            ..MapSpec::default()
        };
        let program = |name: &str, text| ProgramSpec {
            name: name.into(),
            section: "xdp".into(),
            insns: hitless_isa::asm::assemble(text).unwrap(),
            ..ProgramSpec::default()
        };
        let spec = ObjectSpec {
            license: "GPL".into(),
            maps: vec![map("programs", 3, 4, None), map("locked", 2, 8, Some(0))],
            programs: vec![program("jump", JUMP), program("lock", LOCK)],
            ..ObjectSpec::default()
        };
        for engine in [Engine::Compiler, Engine::Interpreter] {
            let runtime = Runtime::new(Options {
                engine,
                ..Options::default()
            });
            let object = runtime.load(&spec).unwrap();
            let [jump, lock] = ["jump", "lock"].map(|name| object.program(name).unwrap());
            object.map("programs").unwrap().insert_program(0, lock).unwrap();
            let hook = runtime.hook::<Xdp>("xdp");
            let _link = runtime.attach(&hook, jump).unwrap();
            let run = || hook.run(&mut Packet::new(&mut [0; 64])).unwrap();
            assert_eq!(run(), XdpAction::Pass);
            let map = object.map("locked").unwrap();
            let nested = map.slots().run(|outer| {
                let word = map.ops().value(Elem(0), 0).part(0, 4);
                spin::with_lock(outer, word, run).unwrap()
            });
            assert_eq!((nested, lock.recursion_misses()), (Ok(XdpAction::Drop), 1));
        }
    }
}
