//! The same object in Linux, its programs run one by one.

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use hitless_benches::maps::State;

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

    /// Sets the elements of an array from the first one on.
    pub fn fill(&mut self, array: &str, values: &[u32]) {
        let map = self.object.map_mut(array).expect("it is there");
        let mut array: aya::maps::Array<_, u32> = map.try_into().expect("an array");
        for (index, value) in (0..).zip(values) {
            array.set(index, value, 0).expect("an element");
        }
    }

    /// Runs a program so many times; returns the kernel's own figure for one run, in nanoseconds.
    pub fn run(&self, program: &str, state: &mut State, times: u32) -> f64 {
        self.test_run(program, state, times)
    }

    /// Runs a program so many times, a system call for each: one that repeats an XDP program waits, before and after, for a
    /// grace period, alone.
    pub fn run_each(&self, program: &str, state: &mut State, times: u32) {
        for _ in 0..times {
            self.test_run(program, state, 1);
        }
    }

    fn test_run(&self, program: &str, state: &mut State, repeat: u32) -> f64 {
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
            repeat,
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).expect("it runs");
        assert_eq!(result.return_value, 2, "XDP_PASS");
        state.set(&after);
        result.duration.as_nanos() as f64
    }
}
