//! Contexts of Linux: what programs see of what the host passes, what comes back, and what several programs come to.
#![cfg(not(hitless_model))]

use hitless::btf::TypeId;
use hitless::context::{
    Arguments, CgroupEgress, CgroupVerdict, Context, Fentry, Fexit, FmodRet, Kprobe, Lsm, PacketBuf, RawTracepoint,
    Registers, SkBuff, SocketFilter, Syscall, Tc, TcAction, Tracepoint,
};
use hitless::{Collection, Engine, Hook, Link, LoadError, Options, RunError, Runtime};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

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

#[test]
fn probes_get_registers_and_arguments() {
    for engine in ENGINES {
        // Both write what they have read to where it is seen: they do not, and return it in vain.
        let probe = scene::<Kprobe>(engine, &["r0 = *(u64 *)(r1 +112)\nexit"]);
        assert_eq!(probe.hook.run(&mut Registers::entry([1, 2, 3, 4, 5, 6])), Ok(()));
        let raw = scene::<RawTracepoint>(engine, &["r0 = *(u64 *)(r1 +88)\nexit"]);
        assert_eq!(raw.hook.run(&mut [0; 12]), Ok(()));
    }
}

#[test]
fn records_are_as_long_as_they_are() {
    for engine in ENGINES {
        let scene = scene::<Tracepoint>(engine, &["r0 = *(u32 *)(r1 +12)\nexit"]);
        assert_eq!(scene.hook.run(&mut &mut [0; 16][..]), Ok(()));
        let error = scene.hook.run(&mut &mut [0; 15][..]).unwrap_err();
        assert!(matches!(error, RunError::Short { .. }));
        assert_eq!(error.to_string(), "program p0 accesses 16 bytes of the context");
    }
}

#[test]
fn a_call_passes_bytes_and_gets_them_back() {
    for engine in ENGINES {
        let text = "r2 = *(u32 *)(r1 +0)\nr2 += 1\n*(u32 *)(r1 +4) = r2\nr0 = 7\nexit";
        let scene = scene::<Syscall>(engine, &[text]);
        let mut bytes = [41, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(scene.hook.run(&mut &mut bytes[..]), Ok(7));
        assert_eq!(bytes, [41, 0, 0, 0, 42, 0, 0, 0]);
    }
}

fn bound(section: &str, text: &str) -> ObjectSpec {
    ObjectSpec {
        programs: vec![ProgramSpec {
            name: "p".into(),
            section: section.into(),
            insns: hitless_isa::asm::assemble(text).expect("the program assembles"),
            autoload: true,
            ..ProgramSpec::default()
        }],
        license: "GPL".into(),
        ..ObjectSpec::default()
    }
}

#[test]
fn functions_of_the_host_are_described() {
    for engine in ENGINES {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        // The second argument, negated, decides.
        let deny = bound("fmod_ret/open_file", "r2 = *(u64 *)(r1 +8)\nr0 = 0\nr0 -= r2\nexit");
        assert!(matches!(runtime.load(&deny), Err(LoadError::Context { .. })));
        runtime.describe(|types| {
            let int = types.signed(4);
            types.function("open_file", int, &[("path", int), ("flags", int)]);
            types.function("bpf_lsm_file_open", int, &[("mode", int)]);
        });
        let object = runtime.load(&deny).expect("the program loads");
        let hook = runtime.hook::<FmodRet>("open_file");
        let elsewhere = runtime.hook::<FmodRet>("close_file");
        assert!(runtime.attach(&elsewhere, &object.programs()[0]).is_err());
        let _link = runtime
            .attach_by_section(&object.programs()[0])
            .expect("the program is attached");
        let call = |flags: u64| {
            let mut arguments = [0; 12];
            arguments[1] = flags;
            hook.run(&mut arguments)
        };
        assert_eq!((call(0), call(13)), (Ok(0), Ok(-13)));

        let lsm = runtime
            .load(&bound("lsm/file_open", "r0 = -1\nexit"))
            .expect("the program loads");
        let hook = runtime.hook::<Lsm>("file_open");
        let _link = runtime
            .attach(&hook, &lsm.programs()[0])
            .expect("the program is attached");
        assert_eq!(hook.run(&mut [0; 12]), Ok(-1));
    }
}

/// Leaves in a map: how many arguments there are, the second of them, the answer to asking for one more than there are, the
/// result and the answer to asking for that.
const BY_NUMBER: &str = "
    r6 = r1
    call bpf_get_func_arg_cnt#185
    *(u64 *)(r10 -48) = r0
    r2 = r0
    r1 = r6
    r3 = r10
    r3 += -24
    call bpf_get_func_arg#183
    *(u64 *)(r10 -32) = r0
    r1 = r6
    r2 = 1
    r3 = r10
    r3 += -40
    call bpf_get_func_arg#183
    if r0 != 0 goto out
    *(u64 *)(r10 -24) = r0
    r1 = r6
    r2 = r10
    r2 += -24
    call bpf_get_func_ret#184
    *(u64 *)(r10 -16) = r0
    r1 = 0
    *(u32 *)(r10 -52) = r1
    r1 = map[idx:0]
    r2 = r10
    r2 += -52
    r3 = r10
    r3 += -48
    r4 = 0
    call bpf_map_update_elem#2
out:
    r0 = 0
    exit
";

/// What [`BY_NUMBER`] finds at the hook that its section names.
fn by_number<C>(engine: Engine, name: &str, mut arguments: Arguments) -> [i64; 5]
where
    C: for<'a> Context<Input<'a> = Arguments>,
{
    let runtime = Runtime::new(Options {
        engine,
        ..Options::default()
    });
    runtime.describe(|types| {
        let int = types.signed(4);
        let parameters = [("path", int), ("flags", int)];
        types.function("open_file", int, &parameters);
        types.function("bpf_lsm_file_open", int, &parameters);
        types.function("close_file", TypeId::VOID, &parameters);
        let names: Vec<_> = (0..12).map(|index| format!("a{index}")).collect();
        let parameters: Vec<_> = names.iter().map(|name| (name.as_str(), int)).collect();
        types.function("twelve", TypeId::VOID, &parameters);
    });
    let mut spec = bound(&format!("{}/{name}", C::SECTION), BY_NUMBER);
    spec.maps.push(MapSpec {
        name: "found".into(),
        map_type: 2,
        key_size: 4,
        value_size: 40,
        max_entries: 1,
        ..MapSpec::default()
    });
    let object = runtime.load(&spec).expect("the program loads");
    let hook = runtime.hook::<C>(name);
    let _link = runtime
        .attach(&hook, &object.programs()[0])
        .expect("the program is attached");
    assert!(hook.run(&mut arguments).is_ok());
    let found = object.map("found").unwrap().lookup(&[0; 4]).unwrap().unwrap();
    let words = found.as_chunks::<8>().0.iter().map(|word| i64::from_ne_bytes(*word));
    words.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn arguments_and_results_have_numbers() {
    let (einval, eopnotsupp) = (-i64::from(libc::EINVAL), -i64::from(libc::EOPNOTSUPP));
    let mut arguments = [0; 12];
    arguments[..3].copy_from_slice(&[3, 13, 99]);
    for engine in ENGINES {
        let entry = by_number::<Fentry>(engine, "open_file", arguments);
        assert_eq!(entry, [2, 13, einval, 0, eopnotsupp]);
        let found = [2, 13, einval, 99, 0];
        assert_eq!(by_number::<Fexit>(engine, "open_file", arguments), found);
        assert_eq!(by_number::<FmodRet>(engine, "open_file", arguments), found);
        assert_eq!(by_number::<Lsm>(engine, "file_open", arguments), found);
        // Without a result, too, there is a place for one, unless the arguments take all of them.
        assert_eq!(by_number::<Fexit>(engine, "close_file", arguments), found);
        let twelve = by_number::<Fexit>(engine, "twelve", arguments);
        assert_eq!(twelve, [12, 13, einval, 0, eopnotsupp]);
    }
}
