//! The RFC's own example of what map tracing is for: a policy over file descriptors, upgraded while files are opened, written
//! and closed. The test stands for the kernel: it knows which files are open, and so what the policy has to answer.
#![cfg(not(hitless_model))]

mod common;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::committed;
use hitless::context::{FmodRet, Kretprobe, MAX_ARGUMENTS, Registers};
use hitless::upgrade::{MapAction, Options, Progress, Upgrade};
use hitless::{Collection, Engine, Hook, LoadOptions, Map, Runtime};

/// The names of `struct pt_regs`' members, in their order.
const REGISTERS: [&str; 21] = [
    "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip",
    "cs", "flags", "sp", "ss",
];

/// The entry points of the kernel that the policy looks at.
#[derive(Clone)]
struct Kernel {
    openat: Hook<Kretprobe>,
    write: Hook<FmodRet>,
    close: Hook<FmodRet>,
}

impl Kernel {
    fn new(runtime: &Runtime) -> Kernel {
        runtime.describe(|types| {
            let (long, word) = (types.signed(8), types.unsigned(8));
            let members = REGISTERS.into_iter().zip((0..).step_by(8));
            let members: Vec<_> = members.map(|(name, at)| (name, word, at)).collect();
            let registers = types.structure("pt_regs", 168, &members);
            let registers = types.pointer(registers);
            for name in ["__x64_sys_write", "__x64_sys_close"] {
                types.function(name, long, &[("regs", registers)]);
            }
        });
        Kernel {
            openat: runtime.hook("__x64_sys_openat"),
            write: runtime.hook("__x64_sys_write"),
            close: runtime.hook("__x64_sys_close"),
        }
    }

    fn open(&self, fd: u32) {
        let mut registers = Registers::exit(fd.into());
        self.openat.run(&mut registers).expect("the program runs");
    }

    fn may_write(&self, fd: u32) -> bool {
        match call(&self.write, fd) {
            0 => true,
            result => {
                assert_eq!(result, -13, "another error than EACCES");
                false
            }
        }
    }

    fn close(&self, fd: u32) {
        assert_eq!(call(&self.close, fd), 0, "a close was refused");
    }
}

/// What programs make of a system call with this descriptor.
fn call(hook: &Hook<FmodRet>, fd: u32) -> i32 {
    let registers = Registers::entry([fd.into(), 0, 0, 0, 0, 0]);
    let mut arguments = [0; MAX_ARGUMENTS];
    arguments[0] = (&raw const registers).expose_provenance() as u64;
    hook.run(&mut arguments).expect("the program runs")
}

/// A thread, which the policy takes for a process: the files that it has open, with how often it wrote to each.
struct Process {
    pid: u32,
    files: BTreeMap<u32, u64>,
    random: u32,
}

const FILES: u32 = 24;

impl Process {
    fn roll(&mut self, sides: u32) -> u32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 8) % sides
    }

    fn act(&mut self, kernel: &Kernel) {
        let fd = self.roll(FILES);
        match (self.roll(4), self.files.get_mut(&fd)) {
            (0, Some(_)) => {
                kernel.close(fd);
                self.files.remove(&fd);
            }
            (_, Some(writes)) => {
                assert!(kernel.may_write(fd), "a write to an open file was refused");
                *writes += 1;
            }
            (0, None) => assert!(!kernel.may_write(fd), "a write to a closed file was allowed"),
            (_, None) => {
                kernel.open(fd);
                self.files.insert(fd, 0);
            }
        }
    }
}

/// What the calling thread is to programs.
fn thread_id() -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }.cast_unsigned()
}

fn upgrade_while_files_open_and_close(round: u32) {
    let runtime = Runtime::default();
    let kernel = Kernel::new(&runtime);
    let old = runtime.load(&committed("fd_policy_v1")).expect("the object loads");
    let _links = ["after_openat", "before_write", "before_close"].map(|name| {
        let program = old.program(name).expect("a program");
        runtime.attach_by_section(program).expect("attaches")
    });
    let done = AtomicBool::new(false);
    let (new, processes) = thread::scope(|scope| {
        let processes: Vec<_> = (0..4)
            .map(|number| {
                let (kernel, done) = (kernel.clone(), &done);
                scope.spawn(move || {
                    let mut process = Process {
                        pid: thread_id(),
                        files: BTreeMap::new(),
                        random: round * 4 + number,
                    };
                    while !done.load(Ordering::Relaxed) {
                        process.act(&kernel);
                    }
                    for _ in 0..1000 {
                        process.act(&kernel);
                    }
                    process
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(2));
        let spec = committed("fd_policy_v2");
        let options = Options {
            copy_rate: Some(20_000),
            gate_deadline: Duration::from_secs(10),
            ..Options::default()
        };
        let upgraded = Upgrade::new(&runtime, &old, &spec, options).run(&mut |_: Progress<'_>| {});
        done.store(true, Ordering::Relaxed);
        let processes: Vec<_> = processes
            .into_iter()
            .map(|process| process.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        let (new, report) = upgraded.expect("the upgrade succeeds");
        let map = report
            .maps
            .iter()
            .find(|map| map.plan.name == "open_files")
            .expect("a map");
        assert_eq!(map.plan.action, MapAction::TraceAndCopy);
        (new, processes)
    });
    assert_eq!(files(new.map("open_files").expect("a map")), known(&processes));
}

/// The files that processes have open: process and descriptor, with how often it was written to.
fn known(processes: &[Process]) -> BTreeMap<(u32, u32), u64> {
    let files = |process: &Process| {
        let pid = process.pid;
        process
            .files
            .clone()
            .into_iter()
            .map(move |(fd, writes)| ((pid, fd), writes))
    };
    processes.iter().flat_map(files).collect()
}

/// The same, as the map of the second version has it.
fn files(map: &Map) -> BTreeMap<(u32, u32), u64> {
    map.iter()
        .map(|entry| {
            let (key, value) = entry.expect("an entry");
            let word = |at: usize| u32::from_ne_bytes(key[at..at + 4].try_into().expect("four bytes"));
            let writes = u64::from_ne_bytes(value[8..16].try_into().expect("eight bytes"));
            ((word(4), word(0)), writes)
        })
        .collect()
}

/// The RFC's own way: tracers on the old map repeat every change on the new one, an iterator copies what was there before. When
/// it has been read to its end, and nobody changes anything, the maps have the same files.
fn migrate_with_tracers_and_an_iterator(round: u32, engine: Engine) {
    let runtime = Runtime::new(hitless::Options {
        engine,
        ..hitless::Options::default()
    });
    let kernel = Kernel::new(&runtime);
    let old = runtime.load(&committed("fd_policy_v1")).expect("the object loads");
    let new = runtime.load(&committed("fd_policy_v2")).expect("the object loads");
    let shared = LoadOptions::new()
        .replace_map("old_files", old.map("open_files").expect("a map"))
        .replace_map("new_files", new.map("open_files").expect("a map"));
    let migration = runtime
        .load_with(&committed("fd_policy_migration"), &shared)
        .expect("the object loads");
    let attach = |object: &Collection| -> Vec<_> {
        let programs = object.programs().iter();
        programs
            .map(|program| runtime.attach_by_section(program).expect("attaches"))
            .collect()
    };
    let _old = attach(&old);
    let done = AtomicBool::new(false);
    let start = |index| Process {
        pid: thread_id(),
        files: BTreeMap::new(),
        random: round * 4 + index,
    };
    let (processes, _tracers) = thread::scope(|scope| {
        let processes: Vec<_> = (0..4)
            .map(|index| {
                let (kernel, done) = (kernel.clone(), &done);
                scope.spawn(move || {
                    let mut process = start(index);
                    while !done.load(Ordering::Relaxed) {
                        process.act(&kernel);
                    }
                    process
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(1));
        let program = |name| migration.program(name).expect("a program");
        let old_files = old.map("open_files").expect("a map");
        // Deletes first: what the other tracer brings over must not miss one.
        let tracers = ["on_delete", "on_update"].map(|name| {
            let link = runtime.trace_map(old_files, program(name));
            link.expect("attaches")
        });
        let iterator = runtime
            .attach_map_iter(program("bulk_copy"), old_files)
            .expect("attaches");
        let mut text = String::new();
        iterator
            .iter()
            .expect("an iterator")
            .read_to_string(&mut text)
            .expect("it is read");
        assert!(text.starts_with("copied "), "{text}");
        done.store(true, Ordering::Relaxed);
        let processes: Vec<_> = processes
            .into_iter()
            .map(|process| process.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        (processes, tracers)
    });
    assert_eq!(
        migration
            .global::<u64>("failed")
            .expect("a variable")
            .get()
            .expect("its value"),
        0
    );
    let moved = new.map("open_files").expect("a map");
    assert_eq!(files(moved), known(&processes));
}

#[test]
fn a_policy_is_migrated_as_the_rfc_does_it() {
    for round in 0..30 {
        let engine = if round % 10 == 0 {
            Engine::Interpreter
        } else {
            Engine::Compiler
        };
        migrate_with_tracers_and_an_iterator(round, engine);
    }
}

#[test]
fn a_policy_over_file_descriptors_is_upgraded_while_files_open_and_close() {
    for round in 0..5 {
        upgrade_while_files_open_and_close(round);
    }
}
