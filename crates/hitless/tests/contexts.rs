//! Contexts of Linux: what programs see of what the host passes, what comes back, and what several programs come to.
#![cfg(not(hitless_model))]

use hitless::context::{CgroupEgress, CgroupVerdict, Context, PacketBuf, SkBuff, SocketFilter, Tc, TcAction};
use hitless::{Collection, Engine, Hook, Link, Options, Runtime};
use hitless_object::{ObjectSpec, ProgramSpec};

/// A runtime with one program for each text, attached in order to a hook.
struct Scene<C: Context> {
    hook: Hook<C>,
    _links: Vec<Link>,
    _object: Collection,
}

fn scene<C: Context>(engine: Engine, programs: &[&str]) -> Scene<C> {
    let runtime = Runtime::new(Options {
        engine,
        ..Options::default()
    });
    let program = |(index, text): (usize, &&str)| ProgramSpec {
        name: format!("p{index}"),
        section: C::SECTION.into(),
        insns: hitless_isa::asm::assemble(text).expect("the program assembles"),
        autoload: true,
        ..ProgramSpec::default()
    };
    let spec = ObjectSpec {
        programs: programs.iter().enumerate().map(program).collect(),
        license: "GPL".into(),
        ..ObjectSpec::default()
    };
    let object = runtime.load(&spec).expect("the programs load");
    let hook = runtime.hook::<C>("here");
    let attach = |program| runtime.attach(&hook, program).expect("the program is attached");
    Scene {
        _links: object.programs().iter().map(attach).collect(),
        _object: object,
        hook,
    }
}

const ENGINES: [Engine; 2] = [Engine::Compiler, Engine::Interpreter];

#[test]
fn traffic_control_reads_and_writes_fields_and_packets() {
    // mark += len; cb[1] = 5; the second byte of the packet becomes the first; the metadata is read.
    let text = "
        r2 = *(u32 *)(r1 +8)
        r3 = *(u32 *)(r1 +0)
        r2 += r3
        *(u32 *)(r1 +8) = r2
        r2 = 5
        *(u32 *)(r1 +52) = r2
        r6 = *(u32 *)(r1 +76)
        r7 = *(u32 *)(r1 +80)
        r8 = *(u32 *)(r1 +140)
        r0 = 2
        r2 = r6
        r2 += 2
        if r2 > r7 goto pc+6
        r2 = *(u8 *)(r6 +0)
        *(u8 *)(r6 +1) = r2
        r2 = r8
        r2 += 4
        if r2 > r6 goto pc+1
        r0 = *(u32 *)(r8 +0)
        exit";
    for engine in ENGINES {
        let scene = scene::<Tc>(engine, &[text]);
        let mut packet = SkBuff::from(PacketBuf::copy_of(&[9, 1, 2], 8, 0));
        packet.fields_mut().mark = 100;
        assert_eq!(scene.hook.run(&mut packet), Ok(TcAction::Shot));
        assert_eq!((packet.fields().mark, packet.fields().cb), (103, [0, 5, 0, 0, 0]));
        assert_eq!(packet.buf.data(), [9, 9, 2]);
        packet.buf.set_metadata_len(4);
        assert_eq!(scene.hook.run(&mut packet), Ok(TcAction::Ok));
        let mut short = SkBuff::from(PacketBuf::copy_of(&[9], 0, 0));
        assert_eq!(scene.hook.run(&mut short), Ok(TcAction::Shot));
    }
}

#[test]
fn traffic_control_is_a_chain() {
    for (results, verdict) in [
        (&[-1, -1][..], TcAction::Unspec),
        (&[-1, 0, 2], TcAction::Ok),
        (&[3, 2], TcAction::Unspec),
        (&[7], TcAction::Redirect),
        (&[], TcAction::Unspec),
    ] {
        let texts: Vec<_> = results.iter().map(|result| format!("r0 = {result}\nexit")).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let scene = scene::<Tc>(Engine::default(), &texts);
        let mut packet = SkBuff::from(PacketBuf::copy_of(&[0; 14], 0, 0));
        assert_eq!(scene.hook.run(&mut packet), Ok(verdict), "{results:?}");
        assert_eq!(packet.redirect(), None);
    }
}

#[test]
fn the_shortest_of_socket_filters_counts() {
    let scene = scene::<SocketFilter>(Engine::default(), &["r0 = 40\nexit", "r0 = *(u32 *)(r1 +0)\nexit"]);
    let mut memory = [0; 20];
    assert_eq!(scene.hook.run(&mut SkBuff::new(&mut memory)), Ok(20));
}

#[test]
fn all_programs_of_a_control_group_run() {
    let scene = scene::<CgroupEgress>(
        Engine::default(),
        &["r0 = 2\nexit", "r0 = 1\n*(u32 *)(r1 +8) = r0\nexit"],
    );
    let mut packet = SkBuff::from(PacketBuf::copy_of(&[0; 20], 0, 0));
    let verdict = CgroupVerdict {
        allowed: false,
        congestion: true,
    };
    assert_eq!(scene.hook.run(&mut packet), Ok(verdict));
    assert_eq!(packet.fields().mark, 1);
}
