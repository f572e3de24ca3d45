//! Several programs at a hook: their order, the kernel's rules for who joins them, links and their updates.
#![cfg(not(hitless_model))]

use std::sync::Arc;

use hitless::context::{Kprobe, PacketBuf, Registers, SkBuff, Tc};
use hitless::{
    AttachError, AttachMode, AttachOptions, Beside, Collection, Engine, Hook, Options, Place, Program, Runtime,
};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

/// Programs 1 to 9: each appends its digit to the packet's mark and goes on.
fn programs(runtime: &Runtime) -> Vec<Arc<Program>> {
    let program = |digit: u32| ProgramSpec {
        name: format!("p{digit}"),
        section: "tc".into(),
        insns: hitless_isa::asm::assemble(&format!(
            "r2 = *(u32 *)(r1 +8)
             r2 *= 10
             r2 += {digit}
             *(u32 *)(r1 +8) = r2
             r0 = -1
             exit"
        ))
        .expect("the program assembles"),
        autoload: true,
        ..ProgramSpec::default()
    };
    let spec = ObjectSpec {
        programs: (1..=9).map(program).collect(),
        ..ObjectSpec::default()
    };
    runtime.load(&spec).expect("the programs load").programs().to_vec()
}

fn order(hook: &Hook<Tc>) -> u32 {
    let mut packet = SkBuff::from(PacketBuf::copy_of(&[0; 14], 0, 0));
    hook.run(&mut packet).expect("the programs run");
    packet.fields().mark
}

fn at(place: Place) -> AttachOptions {
    AttachOptions {
        place,
        ..AttachOptions::default()
    }
}

#[test]
fn programs_run_in_the_order_that_was_asked_for() {
    let runtime = Runtime::default();
    let (hook, p) = (runtime.hook::<Tc>("eth0"), programs(&runtime));
    let one = runtime.attach(&hook, &p[0]).unwrap();
    let two = runtime.attach(&hook, &p[1]).unwrap();
    let three = runtime.attach_with(&hook, &p[2], &at(Place::First)).unwrap();
    let before = at(Place::Before(Beside::Link(two.id())));
    let four = runtime.attach_with(&hook, &p[3], &before).unwrap();
    assert_eq!(order(&hook), 3142);

    let in_place = at(Place::Replace(Beside::Program(p[0].id())));
    let five = runtime.attach_with(&hook, &p[4], &in_place).unwrap();
    assert_eq!((order(&hook), one.program()), (3542, None));
    assert_eq!(one.update(&p[5], None).unwrap_err().errno(), libc::ENOLINK);
    drop(one);
    four.detach().unwrap();
    assert_eq!(order(&hook), 352);
    let known = runtime.programs(&hook);
    let names: Vec<_> = known
        .programs
        .iter()
        .map(|(link, program)| (*link, program.name()))
        .collect();
    assert_eq!(names, [(three.id(), "p3"), (five.id(), "p5"), (two.id(), "p2")]);
}

#[test]
fn a_stale_revision_is_refused() {
    let runtime = Runtime::default();
    let (hook, p) = (runtime.hook::<Tc>("eth0"), programs(&runtime));
    let options = AttachOptions {
        expected_revision: Some(runtime.programs(&hook).revision),
        ..AttachOptions::default()
    };
    let _one = runtime.attach_with(&hook, &p[0], &options).unwrap();
    let error = runtime.attach_with(&hook, &p[1], &options).unwrap_err();
    assert!(matches!(error, AttachError::Revision { found: 2, expected: 1 }));
    assert_eq!(order(&hook), 1);
}

#[test]
fn a_link_gets_another_program() {
    let runtime = Runtime::default();
    let (hook, p) = (runtime.hook::<Tc>("eth0"), programs(&runtime));
    let link = runtime.attach(&hook, &p[0]).unwrap();
    let _two = runtime.attach(&hook, &p[1]).unwrap();
    link.update(&p[2], Some(&p[0])).unwrap();
    assert_eq!((order(&hook), link.program()), (32, Some(Arc::clone(&p[2]))));
    let error = link.update(&p[3], Some(&p[0])).unwrap_err();
    assert_eq!(
        (error.errno(), error.to_string().as_str()),
        (libc::EPERM, "the link attaches program p3, expected p1")
    );
    assert_eq!(link.update(&p[1], None).unwrap_err().errno(), libc::EEXIST);
    // The same again is no change.
    let revision = runtime.programs(&hook).revision;
    link.update(&p[2], None).unwrap();
    assert_eq!(runtime.programs(&hook).revision, revision);
    let other = programs(&Runtime::default());
    assert_eq!(link.update(&other[4], None).unwrap_err().errno(), libc::EINVAL);
    assert_eq!(order(&hook), 32);
}

#[test]
fn modes_are_those_of_the_kernel() {
    let runtime = Runtime::default();
    let p = programs(&runtime);
    let mode = |mode| AttachOptions {
        mode,
        ..AttachOptions::default()
    };
    let hook = runtime.hook::<Tc>("override");
    let one = runtime.attach_with(&hook, &p[0], &mode(AttachMode::Override)).unwrap();
    let _two = runtime.attach_with(&hook, &p[1], &mode(AttachMode::Override)).unwrap();
    assert_eq!((order(&hook), one.program()), (2, None));
    let hook = runtime.hook::<Tc>("multi");
    let _one = runtime.attach_with(&hook, &p[0], &mode(AttachMode::Multi)).unwrap();
    let _two = runtime.attach_with(&hook, &p[1], &mode(AttachMode::Multi)).unwrap();
    assert_eq!(runtime.attach(&hook, &p[2]).unwrap_err().errno(), libc::EPERM);
    assert_eq!(order(&hook), 12);
    let hook = runtime.hook::<Tc>("exclusive");
    let link = runtime.attach_with(&hook, &p[0], &mode(AttachMode::Exclusive)).unwrap();
    assert_eq!(runtime.attach(&hook, &p[2]).unwrap_err().errno(), libc::EBUSY);
    drop(link);
    assert!(runtime.attach(&hook, &p[2]).is_ok());
}

#[test]
fn a_section_names_a_hook() {
    let runtime = Runtime::default();
    let p = programs(&runtime);
    let error = runtime.attach_by_section(&p[0]).unwrap_err();
    assert_eq!(error.errno(), libc::ENOENT);
    let hook = runtime.hook::<Tc>("eth0");
    let _link = runtime.attach_by_section(&p[0]).unwrap();
    assert_eq!(order(&hook), 1);
    let _other = runtime.hook::<Tc>("eth1");
    let error = runtime.attach_by_section(&p[1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "program p2: section tc: several hooks of this name and type, expected one"
    );
}

#[test]
fn statistics_are_kept_on_request() {
    let runtime = Runtime::default();
    let (hook, p) = (runtime.hook::<Tc>("eth0"), programs(&runtime));
    let _link = runtime.attach(&hook, &p[0]).unwrap();
    order(&hook);
    assert_eq!(p[0].stats().runs, 0);
    let enabled = [runtime.enable_stats(), runtime.enable_stats()];
    let mut packets: Vec<_> = (0..4)
        .map(|_| SkBuff::from(PacketBuf::copy_of(&[0; 14], 0, 0)))
        .collect();
    hook.run_batch(&mut packets, |packet, verdict| {
        assert!(verdict.is_ok() && packet.fields().mark == 1);
    })
    .unwrap();
    let [first, second] = enabled;
    drop(first);
    order(&hook);
    drop(second);
    order(&hook);
    let stats = p[0].stats();
    assert_eq!((stats.runs, stats.recursion_misses), (5, 0));
    assert!(stats.time_ns > 0);
}

/// Programs that leave the cookie of their link in a map: the first as it is, the second with 100 added.
fn cookie_readers() -> ObjectSpec {
    let program = |add: u32| ProgramSpec {
        name: format!("add{add}"),
        section: "kprobe".into(),
        insns: hitless_isa::asm::assemble(&format!(
            "call bpf_get_attach_cookie#174
             r0 += {add}
             *(u64 *)(r10 -8) = r0
             r1 = 0
             *(u32 *)(r10 -12) = r1
             r1 = map[idx:0]
             r2 = r10
             r2 += -12
             r3 = r10
             r3 += -8
             r4 = 0
             call bpf_map_update_elem#2
             r0 = 0
             exit"
        ))
        .expect("the program assembles"),
        autoload: true,
        ..ProgramSpec::default()
    };
    let found = MapSpec {
        name: "found".into(),
        map_type: 2,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapSpec::default()
    };
    ObjectSpec {
        programs: vec![program(0), program(100)],
        maps: vec![found],
        license: "GPL".into(),
        ..ObjectSpec::default()
    }
}

fn found(object: &Collection) -> u64 {
    let found = object.map("found").unwrap().lookup(&[0; 4]).unwrap().unwrap();
    u64::from_ne_bytes(found.try_into().unwrap())
}

#[test]
fn a_program_knows_the_link_by_its_cookie() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let object = runtime.load(&cookie_readers()).expect("the programs load");
        let hooks = ["first", "second", "third"].map(|name| runtime.hook::<Kprobe>(name));
        let [first, second, third] = &hooks;
        let cookie = |cookie| AttachOptions {
            cookie,
            ..AttachOptions::default()
        };
        let [reader, other] = object.programs() else {
            panic!("two programs");
        };
        let link = runtime.attach_with(first, reader, &cookie(5)).unwrap();
        let _second = runtime.attach_with(second, reader, &cookie(1 << 40)).unwrap();
        let _third = runtime.attach(third, reader).unwrap();
        let read = |hook: &Hook<Kprobe>| {
            hook.run(&mut Registers::default()).unwrap();
            found(&object)
        };
        assert_eq!([first, second, third, first].map(read), [5, 1 << 40, 0, 5]);
        let mut batch = [Registers::default(); 2];
        second
            .run_batch(&mut batch, |_, verdict| assert_eq!(verdict, Ok(())))
            .unwrap();
        assert_eq!(found(&object), 1 << 40);
        link.update(other, Some(reader)).unwrap();
        assert_eq!([first, second].map(read), [105, 1 << 40]);
    }
}
