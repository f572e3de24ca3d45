//! The same object in the Linux kernel, through `bpf(2)`: loaded, run by `BPF_PROG_TEST_RUN`, attached to nothing.

use std::fmt;

use aya::maps::{HashMap, MapData, MapError};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};

/// An object of the flow programs, loaded into the kernel.
pub struct Kernel {
    object: Ebpf,
}

/// Why there is nothing to compare with.
#[derive(Debug)]
pub enum Unavailable {
    /// The object's maps cannot be made, or it does not parse.
    Load(EbpfError),
    /// The program cannot be loaded or run.
    Program(ProgramError),
    /// It has no such program.
    Missing,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Unavailable::Load(error) => causes(error),
            Unavailable::Program(error) => causes(error),
            Unavailable::Missing => "no program count_flows".to_owned(),
        };
        // The verifier's log may follow on further lines.
        write!(f, "{}", text.lines().next().unwrap_or_default())
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Kernel {
    /// Loads an object and runs its program once.
    pub fn load(bytes: &[u8]) -> Result<Kernel, Unavailable> {
        let mut object = EbpfLoader::new().load(bytes).map_err(Unavailable::Load)?;
        let program = object.program_mut("count_flows").ok_or(Unavailable::Missing)?;
        let program: &mut Xdp = program.try_into().map_err(Unavailable::Program)?;
        program.load().map_err(Unavailable::Program)?;
        let kernel = Kernel { object };
        kernel.run(&[0; 60], 1).map_err(Unavailable::Program)?;
        Ok(kernel)
    }

    fn program(&self) -> Result<&Xdp, ProgramError> {
        let program = self.object.program("count_flows");
        program.ok_or(ProgramError::NotLoaded)?.try_into()
    }

    /// Runs the program on a frame again and again; returns the kernel's own figure for one run, in whole nanoseconds.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<f64, ProgramError> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::new()
        };
        let result = self.program()?.test_run(options)?;
        assert_eq!(result.return_value, 2, "XDP_PASS");
        Ok(result.duration.as_nanos() as f64)
    }

    /// How many bytes of machine code the kernel has made of the program: none if it interprets it.
    pub fn jited_bytes(&self) -> Option<u32> {
        Some(self.program().ok()?.info().ok()?.size_jitted())
    }

    /// Takes the map of flows, to use it through system calls.
    pub fn take_flows(&mut self) -> Option<HashMap<MapData, [u8; 40], [u8; 8]>> {
        let map = self.object.take_map("flows")?;
        let map: Result<_, MapError> = map.try_into();
        map.ok()
    }
}

/// The settings of the kernel that bear on the figures, as they are.
pub fn settings() -> String {
    let read = |path: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/{path}")).ok();
        format!("{path} = {}", text.as_deref().map_or("?", str::trim))
    };
    let known = [
        "net/core/bpf_jit_enable",
        "net/core/bpf_jit_harden",
        "kernel/bpf_stats_enabled",
    ];
    known.map(read).join(", ")
}
