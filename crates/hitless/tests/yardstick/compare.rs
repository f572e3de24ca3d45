//! Verdicts side by side.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use hitless::{LoadOptions, VerifyError, VerifyOptions, verify};
use hitless_object::ObjectSpec;

use super::linux::{Linux, Verdict};

/// How the verdicts on a program compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    AcceptedByBoth,
    RefusedByBoth,
    /// Linux accepts it; user space cannot offer what it needs.
    Excluded,
    /// Linux accepts it.
    FalseReject,
    /// Linux refuses it.
    FalseAccept,
    /// Verifying it panics.
    Crash,
    /// There is no verdict of Linux, or none here for want of what the program needs.
    NotComparable,
}

/// A program, and what is said of it.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) program: String,
    pub(crate) section: String,
    pub(crate) class: Class,
    /// What is said here.
    pub(crate) ours: String,
    /// What Linux says.
    pub(crate) theirs: String,
    /// Instructions processed, here and there, if it is accepted by both.
    pub(crate) processed: Option<(u64, u64)>,
}

/// What is said here of a program.
enum Ours {
    Accepted(u64),
    Refused(String),
    Excluded(String),
    /// The object could not be prepared.
    Unknown(String),
    Crash,
}

fn ask(spec: &ObjectSpec, program: &str, load: &LoadOptions, kernel: bool) -> Ours {
    let options = VerifyOptions::new(load.clone()).program(program).kernel(kernel);
    let verdicts = match catch_unwind(AssertUnwindSafe(|| verify(spec, &options))) {
        Ok(Ok(verdicts)) => verdicts,
        Ok(Err(error)) => return Ours::Unknown(error.to_string()),
        Err(_) => return Ours::Crash,
    };
    match verdicts.first().map(|verdict| (&verdict.result, verdict.stats())) {
        Some((Ok(_), stats)) => Ours::Accepted(stats.map_or(0, |stats| stats.processed as u64)),
        Some((Err(error), _)) => match (error, error.excluded()) {
            (_, Some(reason)) => Ours::Excluded(reason.to_owned()),
            (VerifyError::Rejected { source, .. }, _) => {
                let error = &source.errors[0];
                Ours::Refused(format!("{} (insn {}: {})", error.message, error.pc, error.insn))
            }
            (VerifyError::Context { source, .. }, _) => Ours::Refused(source.to_string()),
            (error, _) => Ours::Refused(error.to_string()),
        },
        None => Ours::Unknown("no such program here".to_owned()),
    }
}

/// What is said of each program of an object; an error if it cannot be read here.
pub(crate) fn compare(linux: &Linux, object: &Path, load: &LoadOptions) -> Result<Vec<Comparison>, String> {
    let bytes = std::fs::read(object).map_err(|error| error.to_string())?;
    let spec = ObjectSpec::parse(&bytes).map_err(|error| error.to_string())?;
    let answers = linux.ask(object, &spec);
    let mut answers: HashMap<_, _> = answers.iter().map(|answer| (answer.program.as_str(), answer)).collect();
    let compared = spec.programs.iter().map(|program| {
        let answer = answers.remove(program.name.as_str());
        let theirs = answer.map_or(Verdict::Unknown("libbpf does not read it".to_owned()), |answer| {
            answer.verdict()
        });
        let everything = ask(&spec, &program.name, load, true);
        let mut processed = None;
        let (class, ours) = match (everything, &theirs) {
            (Ours::Crash, _) => (Class::Crash, "panic".to_owned()),
            (Ours::Accepted(_), Verdict::Refused(theirs)) => match ask(&spec, &program.name, load, false) {
                // Kernels are built without some helpers that only they can offer.
                Ours::Excluded(reason) if theirs.contains("cannot use helper") => (Class::NotComparable, reason),
                _ => (Class::FalseAccept, "accepted".to_owned()),
            },
            (Ours::Accepted(count), Verdict::Accepted) => {
                processed = answer.and_then(|answer| Some((count, answer.processed()?)));
                match ask(&spec, &program.name, load, false) {
                    Ours::Excluded(reason) => (Class::Excluded, reason),
                    Ours::Crash => (Class::Crash, "panic".to_owned()),
                    Ours::Accepted(_) => (Class::AcceptedByBoth, "accepted".to_owned()),
                    Ours::Refused(why) | Ours::Unknown(why) => (Class::FalseReject, why),
                }
            }
            (Ours::Accepted(_), Verdict::Unknown(_)) => (Class::NotComparable, "accepted".to_owned()),
            (Ours::Refused(why) | Ours::Excluded(why), Verdict::Refused(_)) => (Class::RefusedByBoth, why),
            (Ours::Refused(why) | Ours::Excluded(why), Verdict::Accepted) => {
                match ask(&spec, &program.name, load, false) {
                    Ours::Excluded(reason) => (Class::Excluded, reason),
                    _ => (Class::FalseReject, why),
                }
            }
            (Ours::Unknown(why), Verdict::Accepted) => (Class::FalseReject, why),
            (Ours::Refused(why) | Ours::Excluded(why) | Ours::Unknown(why), _) => (Class::NotComparable, why),
        };
        Comparison {
            program: program.name.clone(),
            section: program.section.clone(),
            class,
            ours,
            theirs: match theirs {
                Verdict::Accepted => "accepted".to_owned(),
                Verdict::Refused(why) => why,
                Verdict::Unknown(why) => format!("unknown: {why}"),
            },
            processed,
        }
    });
    Ok(compared.collect())
}
