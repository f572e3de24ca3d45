//! The same object in hitless and in Linux, its programs run one by one.

use std::collections::HashMap;
use std::time::Instant;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use hitless::{Hook, Packet, Runtime, XdpAction};
use hitless_object::ObjectSpec;

/// The packet that a program goes on from and leaves behind; padded, since Linux wants more than an Ethernet header.
#[derive(Clone, Copy, Default)]
pub struct State([u64; 8]);

impl State {
    /// Keys from `first` on, of which there are `count`, a power of two.
    pub fn new(count: u32, first: u32) -> State {
        let mut state = State::default();
        state.0[0] = 42;
        state.0[1] = u64::from(first) << 32 | u64::from(count - 1);
        state
    }

    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn set(&mut self, bytes: &[u8]) {
        self.0[0] = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    }
}

/// The programs attached to hooks of their own.
pub struct Hitless {
    hooks: HashMap<String, Hook>,
    _runtime: Runtime,
}

impl Hitless {
    pub fn new(spec: &ObjectSpec) -> Hitless {
        let runtime = Runtime::default();
        let object = runtime.load(spec).expect("the object loads");
        let hooks = object.programs().iter().map(|program| {
            let hook = runtime.hook(program.name());
            // The link goes with the runtime.
            std::mem::forget(runtime.attach(&hook, program).expect("it attaches"));
            (program.name().to_owned(), hook)
        });
        Hitless {
            hooks: hooks.collect(),
            _runtime: runtime,
        }
    }

    /// Runs a program so many times; returns what one run took, in nanoseconds.
    pub fn run(&self, program: &str, state: &mut State, times: u32) -> f64 {
        let hook = &self.hooks[program];
        let mut bytes = state.bytes();
        let start = Instant::now();
        for _ in 0..times {
            let action = hook.run(&mut Packet::new(&mut bytes)).expect("it runs");
            assert_eq!(action, XdpAction::Pass);
        }
        let took = start.elapsed().as_nanos() as f64 / f64::from(times);
        state.set(&bytes);
        took
    }
}

/// The programs loaded into the kernel.
pub struct Linux {
    object: Ebpf,
}

impl Linux {
    /// Loads them, if `bpf(2)` works.
    pub fn load(bytes: &[u8]) -> Result<Linux, Box<dyn std::error::Error>> {
        let mut object = EbpfLoader::new().load(bytes)?;
        for (_, program) in object.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load()?;
        }
        Ok(Linux { object })
    }

    /// Runs a program so many times; returns the kernel's own figure for one run, in nanoseconds.
    pub fn run(&self, program: &str, state: &mut State, times: u32) -> f64 {
        let program: &Xdp = self
            .object
            .program(program)
            .expect("it is there")
            .try_into()
            .expect("of that type");
        let mut after = [0; 64];
        let before = state.bytes();
        let options = TestRunOptions {
            data_in: Some(&before),
            data_out: Some(&mut after),
            repeat: times,
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).expect("it runs");
        assert_eq!(result.return_value, 2, "XDP_PASS");
        state.set(&after);
        result.duration.as_nanos() as f64
    }
}
