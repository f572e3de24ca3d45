//! Extensions: programs that take the place of functions of others, on both engines.
#![cfg(not(hitless_model))]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use common::committed;
use hitless::upgrade::{Options as UpgradeOptions, Refusal, Upgrade};
use hitless::{
    AttachError, Collection, Engine, ExtensionError, Hook, Link, LinkTarget, LoadError, LoadOptions, Options, Packet,
    Program, Runtime, Xdp, XdpAction,
};
use hitless_object::ObjectSpec;

/// A program at a hook.
struct Host {
    runtime: Runtime,
    hook: Hook<Xdp>,
    object: Collection,
    _link: Link,
}

impl Host {
    fn new(engine: Engine) -> Host {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let hook = runtime.hook::<Xdp>("xdp");
        let object = runtime.load(&committed("extended")).unwrap();
        let link = runtime.attach(&hook, object.program("count").unwrap()).unwrap();
        Host {
            runtime,
            hook,
            object,
            _link: link,
        }
    }

    fn target(&self) -> &Arc<Program> {
        self.object.program("count").unwrap()
    }

    fn run(&self) -> XdpAction {
        self.hook.run(&mut Packet::new(&mut [0; 64])).unwrap()
    }

    /// Loads these programs of extension.bpf.c.
    fn extensions(&self, names: &[&str]) -> Result<Collection, LoadError> {
        self.extensions_of(names, self.target())
    }

    fn extensions_of(&self, names: &[&str], target: &Arc<Program>) -> Result<Collection, LoadError> {
        let mut options = LoadOptions::new();
        for name in names {
            options = options.attach_target(*name, target, None);
        }
        self.runtime.load_with(&only(names), &options)
    }
}

fn only(names: &[&str]) -> ObjectSpec {
    let mut spec = committed("extension");
    for program in &mut spec.programs {
        program.autoload = names.contains(&&*program.name);
    }
    spec
}

const ENGINES: [Engine; 2] = [Engine::Compiler, Engine::Interpreter];

#[test]
fn calls_go_to_the_extension_while_it_is_attached() {
    for engine in ENGINES {
        let host = Host::new(engine);
        let object = host.extensions(&["drop"]).unwrap();
        let drop_program = object.program("drop").unwrap();
        assert_eq!(host.run(), XdpAction::Pass);
        let link = host.runtime.attach_by_section(drop_program).unwrap();
        assert_eq!(host.run(), XdpAction::Drop);
        assert!(host.target().disassemble().contains("replaced by another program"));
        link.detach().unwrap();
        assert_eq!(host.run(), XdpAction::Pass);
        assert!(!host.target().disassemble().contains("replaced"));
        // Its own data, its own maps.
        let [original, extension] =
            [&host.object, &object].map(|object| object.global::<u64>("asked").unwrap().get().unwrap());
        assert_eq!((original, extension), (2, 1));
        let lengths = object.get::<hitless::maps::HashMap<u32, u64>>("lengths").unwrap();
        assert_eq!(lengths.get(&64).unwrap(), Some(1));
        assert!(drop_program.failed_check().is_none() && host.target().failed_check().is_none());
    }
}

#[test]
fn several_functions_of_a_program_are_replaced() {
    for engine in ENGINES {
        let host = Host::new(engine);
        let object = host.extensions(&["bounce", "jump", "last"]).unwrap();
        let [bounce, jump, last] = ["bounce", "jump", "last"].map(|name| object.program(name).unwrap());
        let bouncing = host.runtime.attach_extension(bounce).unwrap();
        assert_eq!(host.run(), XdpAction::Pass, "moved() is the original");
        let jumping = host.runtime.attach_extension(jump).unwrap();
        assert_eq!(host.run(), XdpAction::Redirect);
        // It ends with another program, whose result is the function's.
        object.map("next").unwrap().insert_program(0, last).unwrap();
        assert_eq!(host.run(), XdpAction::Tx);
        bouncing.detach().unwrap();
        assert_eq!(host.run(), XdpAction::Pass, "verdict() is the original");
        jumping.detach().unwrap();
        // Of the whole program there is nothing left.
        let whole = host.extensions(&["whole"]).unwrap();
        let _link = host.runtime.attach_extension(whole.program("whole").unwrap()).unwrap();
        assert_eq!(host.run(), XdpAction::Redirect);
    }
}

#[test]
fn links_say_what_they_replace_and_take_another() {
    let host = Host::new(Engine::Compiler);
    let object = host.extensions(&["drop", "bounce"]).unwrap();
    let [first, second] = ["drop", "bounce"].map(|name| object.program(name).unwrap());
    let link = host.runtime.attach_extension(first).unwrap();
    let info = link.info().unwrap();
    let LinkTarget::Function {
        program_id,
        function,
        btf_id,
    } = info.target
    else {
        panic!("{info:?}")
    };
    let (target, spec) = (host.target(), committed("extended"));
    assert_eq!((program_id, function.as_str()), (target.id(), "verdict"));
    let known = spec.btf.as_ref().unwrap().find(hitless::btf::Kind::Func, "verdict");
    assert_eq!((btf_id, info.program_id), (known, Some(first.id())));
    link.update(second, Some(first)).unwrap();
    assert_eq!(
        (link.program().unwrap().id(), host.run()),
        (second.id(), XdpAction::Pass)
    );
    let unexpected = link.update(first, Some(first)).unwrap_err();
    assert_eq!(unexpected.errno(), libc::EPERM);
    link.update(first, None).unwrap();
    assert_eq!(host.run(), XdpAction::Drop);
    let no_extension = host.runtime.attach_extension(target).unwrap_err();
    assert_eq!(no_extension.errno(), libc::EINVAL);
}

/// Every call is answered by the one or the other, as many as there are runs, and as the last change that was done before
/// the run says.
#[test]
fn attached_and_detached_under_load() {
    for (engine, turns) in [(Engine::Compiler, 25), (Engine::Interpreter, 10)] {
        let host = Host::new(engine);
        let object = host.extensions(&["drop"]).unwrap();
        let extension = object.program("drop").unwrap();
        // Even: nothing changes; of those, every other one is with the extension.
        let phase = AtomicU64::new(0);
        let (stop, runs, known) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        let before = phase.load(SeqCst);
                        let action = host.run();
                        runs.fetch_add(1, SeqCst);
                        let expected = match before % 4 {
                            0 => XdpAction::Pass,
                            2 => XdpAction::Drop,
                            _ => continue,
                        };
                        if phase.load(SeqCst) == before {
                            assert_eq!(action, expected);
                            known.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
            for _ in 0..turns {
                let at_least = known.load(SeqCst) + 2;
                while known.load(SeqCst) < at_least {
                    thread::yield_now();
                }
                phase.fetch_add(1, SeqCst);
                let link = host.runtime.attach_extension(extension).unwrap();
                phase.fetch_add(1, SeqCst);
                let at_least = known.load(SeqCst) + 2;
                while known.load(SeqCst) < at_least {
                    thread::yield_now();
                }
                phase.fetch_add(1, SeqCst);
                link.detach().unwrap();
                phase.fetch_add(1, SeqCst);
            }
            stop.store(true, SeqCst);
        });
        let asked = |object: &Collection| object.global::<u64>("asked").unwrap().get().unwrap();
        assert_eq!(asked(&host.object) + asked(&object), runs.load(SeqCst));
        assert!(asked(&object) > turns);
        assert!(extension.failed_check().is_none() && host.target().failed_check().is_none());
    }
}

/// What the extension writes is traced, and so is what the target writes, in whatever order tracers and extension come.
#[test]
fn changes_of_both_are_traced() {
    for engine in ENGINES {
        let host = Host::new(engine);
        let object = host.extensions(&["drop"]).unwrap();
        let extension = object.program("drop").unwrap();
        let [packets, lengths] = [host.object.map("packets").unwrap(), object.map("lengths").unwrap()];
        let mut of_packets = packets.changes(1 << 16).unwrap();
        let link = host.runtime.attach_extension(extension).unwrap();
        let mut of_lengths = lengths.changes(1 << 16).unwrap();
        assert_eq!(host.run(), XdpAction::Drop);
        assert!(host.target().is_traced() && extension.is_traced());
        assert_eq!(host.run(), XdpAction::Drop);
        link.detach().unwrap();
        assert_eq!(host.run(), XdpAction::Pass);
        assert!(host.target().is_traced());
        assert_eq!((changes(&mut of_packets), changes(&mut of_lengths)), (3, 2));
    }
}

fn changes(feed: &mut hitless::Changes) -> usize {
    let mut count = 0;
    while feed.next().unwrap().is_some() {
        count += 1;
    }
    count
}

fn refused(host: &Host, name: &str) -> ExtensionError {
    match host.extensions(&[name]) {
        Err(LoadError::Extension { source, .. }) => source,
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name} was loaded"),
    }
}

#[test]
fn what_cannot_take_the_place_is_refused_at_load() {
    let host = Host::new(Engine::Compiler);
    for (name, message) in [
        ("of_static", "function fixed: Cannot replace static functions"),
        ("of_nothing", "target program count: Subprog nothing doesn't exist"),
        ("unnamed", "no function is named: SEC(\"freplace/FUNCTION\")"),
        ("fewer", "fewer() has 1 args while verdict() has 2 args"),
        ("narrower", "arg1 in narrower() has size 4 while verdict() has 8"),
        ("number", "arg0 in number() is INT while verdict() has PTR"),
        (
            "other",
            "arg0 other(struct pair *) doesn't match verdict(struct xdp_md *)",
        ),
        (
            "pointer",
            "Return type PTR of pointer() doesn't match type INT of verdict()",
        ),
        ("memory", "arg0 in memory() is not a pointer to context"),
        (
            "moves",
            "Extension program changes packet data, while original does not",
        ),
    ] {
        let error = refused(&host, name);
        assert_eq!(
            (error.to_string().as_str(), error.errno()),
            (message, libc::EINVAL),
            "{name}"
        );
    }
    let Err(LoadError::Rejected { source, .. }) = host.extensions(&["unguarded"]) else {
        panic!("loaded");
    };
    let message = "math between pkt pointer and register with unbounded min value is not allowed";
    assert_eq!(source.errors[0].message, message);
    let Err(LoadError::Extension { source, .. }) = host.runtime.load(&only(&["drop"])) else {
        panic!("loaded");
    };
    assert_eq!(source, ExtensionError::NoTarget);
}

#[test]
fn targets_that_are_not_extended() {
    let host = Host::new(Engine::Compiler);
    let object = host.extensions(&["drop"]).unwrap();
    let extension = object.program("drop").unwrap();
    let of = |name, target| match host.extensions_of(&[name], target) {
        Err(LoadError::Extension { source, .. }) => source.to_string(),
        _ => panic!("{name} was loaded"),
    };
    assert_eq!(
        of("bounce", extension),
        "target program drop: Cannot recursively attach"
    );

    host.runtime.describe(|types| {
        let (int, word) = (types.signed(4), types.unsigned(8));
        types.function("hitless_watched", int, &[("value", word)]);
    });
    let mut spec = committed("extended");
    spec.programs
        .iter_mut()
        .for_each(|program| program.autoload = program.name == "watch");
    let watching = host.runtime.load(&spec).unwrap();
    let observer = watching.program("watch").unwrap();
    let message = "target program watch: Cannot extend fentry/hitless_watched";
    assert_eq!(of("of_observer", observer), message);

    let stranger = Host::new(Engine::Compiler);
    assert!(of("drop", stranger.target()).contains("is not of this runtime"));
    let error = host
        .runtime
        .attach_extension_to(extension, stranger.target(), "verdict")
        .unwrap_err();
    assert_eq!(error.errno(), libc::EINVAL);
}

#[test]
fn what_is_there_is_not_replaced_again() {
    let host = Host::new(Engine::Compiler);
    let object = host.extensions(&["drop", "bounce"]).unwrap();
    let [first, second] = ["drop", "bounce"].map(|name| object.program(name).unwrap());
    let link = host.runtime.attach_extension(first).unwrap();
    let busy = host.runtime.attach_extension(second).unwrap_err();
    assert!(matches!(busy, AttachError::Extended { .. }));
    assert_eq!(busy.errno(), libc::EBUSY);
    // Another instance of the target has a function of its own.
    let instance = host.runtime.load(&committed("extended")).unwrap();
    let target = instance.program("count").unwrap();
    let _other = host.runtime.attach_extension_to(first, target, "verdict").unwrap();
    let wrong = host.runtime.attach_extension_to(second, target, "moved").unwrap_err();
    assert_eq!(wrong.to_string(), "bounce() has 2 args while moved() has 1 args");
    link.detach().unwrap();
    let again = host.runtime.attach_extension(second).unwrap();
    assert_eq!(host.run(), XdpAction::Pass);
    again.detach().unwrap();
    // The program that it was loaded for is gone.
    let short = host.runtime.load(&committed("extended")).unwrap();
    let orphan = host.extensions_of(&["drop"], short.program("count").unwrap()).unwrap();
    drop(short);
    let gone = host
        .runtime
        .attach_extension(orphan.program("drop").unwrap())
        .unwrap_err();
    assert_eq!(gone.errno(), libc::EINVAL);
    let _elsewhere = host
        .runtime
        .attach_extension_to(orphan.program("drop").unwrap(), host.target(), "verdict");
    assert_eq!(host.run(), XdpAction::Drop);
}

/// An upgrade of an extension's object gives its links the new one; one of the target's object would leave it behind.
#[test]
fn upgrades_flip_links_of_extensions() {
    let host = Host::new(Engine::Compiler);
    let old = host.extensions(&["drop"]).unwrap();
    let link = host.runtime.attach_extension(old.program("drop").unwrap()).unwrap();
    assert_eq!(host.run(), XdpAction::Drop);
    let options = LoadOptions::new().attach_target("drop", host.target(), None);
    let spec = only(&["drop"]);
    let upgrade = Upgrade::new(
        &host.runtime,
        &old,
        &spec,
        UpgradeOptions {
            always_copy: true,
            ..UpgradeOptions::default()
        },
    );
    let upgrade = upgrade.load_options(options);
    assert_eq!(upgrade.plan().unwrap().programs[0].hooks, ["verdict of program count"]);
    let (new, _) = upgrade.run(&mut |_| {}).unwrap();
    assert_eq!(link.program().unwrap().id(), new.program("drop").unwrap().id());
    drop(old);
    assert_eq!(host.run(), XdpAction::Drop);
    let lengths = new.get::<hitless::maps::HashMap<u32, u64>>("lengths").unwrap();
    assert_eq!(lengths.get(&64).unwrap(), Some(2));

    let spec = committed("extended");
    let refused = Upgrade::new(&host.runtime, &host.object, &spec, UpgradeOptions::default()).plan();
    let refusals = refused.unwrap_err().refusals;
    assert!(matches!(&refusals[..], [Refusal::Extended { .. }]), "{refusals:?}");
}
