//! The RFC's own example of what map tracing is for: a policy over file descriptors, upgraded while files are opened, written
//! and closed. The test stands for the kernel: it knows which files are open, and so what the policy has to answer.
#![cfg(not(hitless_model))]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::committed;
use hitless::upgrade::{MapAction, Options, Progress, Upgrade};
use hitless::{Ctx, Hook, Runtime};

#[derive(Ctx)]
#[repr(C)]
struct Syscall {
    pid: u32,
    fd: u32,
    ret: i64,
}

/// The entry points of the kernel that the policy looks at.
#[derive(Clone)]
struct Kernel {
    openat: Hook<Syscall>,
    write: Hook<Syscall>,
    close: Hook<Syscall>,
}

impl Kernel {
    fn new(runtime: &Runtime) -> Kernel {
        Kernel {
            openat: runtime.hook("kretprobe/__x64_sys_openat"),
            write: runtime.hook("fmod_ret/__x64_sys_write"),
            close: runtime.hook("fmod_ret/__x64_sys_close"),
        }
    }

    fn open(&self, pid: u32, fd: u32) {
        let mut call = Syscall {
            pid,
            fd: 0,
            ret: fd.into(),
        };
        self.openat.run(&mut call).expect("the program runs");
    }

    fn may_write(&self, pid: u32, fd: u32) -> bool {
        self.write
            .run(&mut Syscall { pid, fd, ret: 0 })
            .expect("the program runs")
            == 0
    }

    fn close(&self, pid: u32, fd: u32) {
        self.close
            .run(&mut Syscall { pid, fd, ret: 0 })
            .expect("the program runs");
    }
}

/// A process: the files that it has open, with how often it wrote to each.
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
                kernel.close(self.pid, fd);
                self.files.remove(&fd);
            }
            (_, Some(writes)) => {
                assert!(kernel.may_write(self.pid, fd), "a write to an open file was refused");
                *writes += 1;
            }
            (0, None) => assert!(!kernel.may_write(self.pid, fd), "a write to a closed file was allowed"),
            (_, None) => {
                kernel.open(self.pid, fd);
                self.files.insert(fd, 0);
            }
        }
    }
}

fn upgrade_while_files_open_and_close(round: u32) {
    let runtime = Runtime::default();
    let kernel = Kernel::new(&runtime);
    let old = runtime.load(&committed("fd_policy_v1")).expect("the object loads");
    let attach = |hook: &Hook<Syscall>, program| {
        let program = old.program(program).expect("a program");
        runtime.attach(hook, program).expect("attaches")
    };
    let _links = [
        attach(&kernel.openat, "after_openat"),
        attach(&kernel.write, "before_write"),
        attach(&kernel.close, "before_close"),
    ];
    let done = AtomicBool::new(false);
    let (new, processes) = thread::scope(|scope| {
        let processes: Vec<_> = (0..4)
            .map(|pid| {
                let (kernel, done) = (kernel.clone(), &done);
                scope.spawn(move || {
                    let mut process = Process {
                        pid: 100 + pid,
                        files: BTreeMap::new(),
                        random: round * 4 + pid,
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
    let mut expected = BTreeMap::new();
    for process in &processes {
        for (fd, writes) in &process.files {
            expected.insert((process.pid, *fd), *writes);
        }
    }
    let map = new.map("open_files").expect("a map");
    let found: BTreeMap<_, _> = map
        .iter()
        .map(|entry| {
            let (key, value) = entry.expect("an entry");
            let word = |at: usize| u32::from_ne_bytes(key[at..at + 4].try_into().expect("four bytes"));
            let writes = u64::from_ne_bytes(value[8..16].try_into().expect("eight bytes"));
            ((word(4), word(0)), writes)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_policy_over_file_descriptors_is_upgraded_while_files_open_and_close() {
    for round in 0..5 {
        upgrade_while_files_open_and_close(round);
    }
}
