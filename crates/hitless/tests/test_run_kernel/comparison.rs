//! Runs the same cases on both sides.

use std::fmt::Write;
use std::sync::Arc;

use hitless::{Program, Runtime, TestResult, TestRun, TestRunError};
use hitless_object::{ObjectSpec, ProgramSpec};

use super::case::{Case, Kind, Outcome, Room};
use super::kernel;

fn load(runtime: &Runtime, kind: Kind, text: &str) -> Arc<Program> {
    let spec = ObjectSpec {
        programs: vec![ProgramSpec {
            name: "p".into(),
            section: kind.section().into(),
            insns: hitless_isa::asm::assemble(text).expect("the program assembles"),
            autoload: true,
            ..ProgramSpec::default()
        }],
        ..ObjectSpec::default()
    };
    Arc::clone(&runtime.load(&spec).expect("the program loads").programs()[0])
}

fn outcome(case: &Case, errno: i32, result: &TestResult) -> Outcome {
    // What has nowhere to go is of no interest: hitless hands it out all the same.
    let [no_data, no_ctx] = [
        case.data_out == Room::None,
        case.ctx_out == Room::None && !case.in_place,
    ];
    Outcome {
        errno,
        retval: result.retval,
        data_size: result.data_out.len(),
        data: if no_data { Vec::new() } else { result.data_out.clone() },
        ctx_size: if no_ctx { 0 } else { result.ctx_out.len() },
        ctx: if no_ctx { Vec::new() } else { result.ctx_out.clone() },
    }
}

fn ours(runtime: &Runtime, program: &Arc<Program>, case: &Case) -> Outcome {
    let run = TestRun {
        data_in: &case.data_in,
        data_size_out: case.data_out.size(),
        ctx_in: case.ctx_in.as_deref(),
        ctx_size_out: case.ctx_out.size(),
        repeat: case.repeat,
        cpu: case.cpu,
        batch_size: case.batch_size,
        flags: case.flags,
    };
    match runtime.test_run(program, &run) {
        Ok(result) => outcome(case, 0, &result),
        Err(TestRunError::NoSpace {
            what, needed, result, ..
        }) => {
            let mut outcome = outcome(case, libc::ENOSPC, &result);
            match what {
                "data_out" => outcome.data_size = needed,
                _ => outcome.ctx_size = needed,
            }
            outcome
        }
        Err(error) => Outcome {
            errno: error.errno(),
            ..Outcome::default()
        },
    }
}

/// The cases that were compared, and how they differ.
pub struct Comparison {
    runtime: Runtime,
    compared: usize,
    in_pieces: usize,
    differences: String,
}

impl Comparison {
    /// `None`, having said why, where there is no kernel to compare with.
    pub fn new() -> Option<Comparison> {
        if let Err(reason) = kernel::probe() {
            eprintln!("skipped: {reason}");
            return None;
        }
        Some(Comparison {
            runtime: Runtime::default(),
            compared: 0,
            in_pieces: 0,
            differences: String::new(),
        })
    }

    /// Runs a program on both in each case.
    pub fn compare(&mut self, kind: Kind, text: &str, cases: &[(String, Case)]) {
        let theirs = match kernel::load(kind, text) {
            Ok(program) => program,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                eprintln!("skipped: the kernel loads no {kind:?} here: {error}");
                return;
            }
            Err(error) => panic!("the kernel refuses {text:?} as {kind:?}: {error}"),
        };
        let program = load(&self.runtime, kind, text);
        for (name, case) in cases {
            let (kernel, hitless) = (kernel::run(&theirs, case), ours(&self.runtime, &program, case));
            if kind == Kind::Xdp && case.is_in_pieces() {
                assert_eq!(hitless.errno, libc::EINVAL, "{name}: frames are in one piece");
                self.in_pieces += 1;
                continue;
            }
            self.compared += 1;
            if kernel != hitless {
                writeln!(
                    self.differences,
                    "{kind:?}, {name}:\n  kernel  {kernel:?}\n  hitless {hitless:?}"
                )
                .unwrap();
            }
        }
    }

    pub fn finish(self) {
        assert!(self.differences.is_empty(), "{}", self.differences);
        eprintln!(
            "{} cases compared, {} left out: frames in pieces",
            self.compared, self.in_pieces
        );
    }
}
