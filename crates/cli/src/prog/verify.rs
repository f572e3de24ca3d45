//! `hitless prog verify`: what the verifier says of programs, and why.

use std::path::PathBuf;

use anyhow::{Chain, Context, Result, bail};
use hitless::{LogLevel, Verdict, VerifyError, VerifyOptions};
use hitless_verifier::{Decision, Rejection, SourceLine, Subprog, VerifierError};
use serde::Serialize;

use super::{known_name, target};
use crate::args::PlaceArgs;
use crate::error::{joined, printable};
use crate::host::{cannot_load, read_object};
use crate::output;

/// Verifies programs of any type, as Linux does
///
/// All programs that would be loaded, each whether or not another is refused, and whether or not they can run here; what user
/// space can never offer is refused by name, unless --kernel is given. Of a refused one it says what the instruction
/// requires, what was found, what was known, and which branches led there. The exit code is 1 if any is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// BPF object file (.bpf.o)
    object: PathBuf,

    /// The program; all that would be loaded if not given
    name: Option<String>,

    /// Show the verifier log as Linux has it: 0 none, 1 the path to what is refused, 2 every path, 4 the cost; sums of
    /// these for several
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    log_level: Option<LogLevel>,

    /// Take what only the kernel can offer, too: types of programs, maps and helpers that user space has no use for
    #[arg(long)]
    kernel: bool,

    #[command(flatten)]
    place: PlaceArgs,

    /// Take addresses of symbols (`__ksym`) from this file, which is like /proc/kallsyms
    #[arg(long, value_name = "FILE")]
    kallsyms: Option<PathBuf>,

    /// Print one JSON object: object, programs (each name, section, accepted, stats, subprograms or error, log)
    #[arg(long)]
    json: bool,
}

fn level(text: &str) -> Result<LogLevel, String> {
    let bits = text.parse().ok().filter(|bits| *bits < 8);
    bits.and_then(LogLevel::from_bits)
        .ok_or_else(|| "expected 0, 1, 2, 4 or a sum of these".to_owned())
}

pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let spec = read_object(&args.object)?;
    known_name(&spec, args.name.as_deref(), &args.object)?;
    let mut load = args.place.load_options()?;
    if let Some(path) = &args.kallsyms {
        load = load.symbols(target::read_symbols(path)?);
    }
    let mut options = VerifyOptions::new(load)
        .log_level(args.log_level.unwrap_or_default())
        .kernel(args.kernel);
    if let Some(name) = &args.name {
        options = options.program(name);
    }
    let verdicts = hitless::verify(&spec, &options).with_context(|| cannot_load(&args.object))?;
    if args.json {
        output::json(&Report {
            object: args.object.display().to_string(),
            programs: verdicts.iter().map(JsonVerdict::new).collect(),
        })?;
    } else if verdicts.is_empty() {
        output::text(&format!(
            "{}: no programs that would be loaded\n",
            args.object.display()
        ))?;
    } else {
        output::text(&verdicts.iter().map(text).collect::<String>())?;
    }
    let refused: Vec<_> = verdicts.iter().filter(|verdict| verdict.result.is_err()).collect();
    if let [first, others @ ..] = &refused[..] {
        let object = args.object.display();
        match others.len() {
            0 => bail!("{object}: program {} is refused", first.program),
            more => bail!("{object}: program {} and {more} more are refused", first.program),
        }
    }
    Ok(())
}

/// The log below the program's name, if there is one, then the verdict on one line, then why.
fn text(verdict: &Verdict) -> String {
    let name = format!("prog {}", verdict.program);
    let mut out = String::new();
    if !verdict.log.is_empty() {
        out += &printable(&name);
        out += ":\n";
    }
    out.extend(verdict.log.lines().map(|line| printable(line) + "\n"));
    let cost = verdict.stats().map_or_else(String::new, |stats| {
        format!(
            "  processed {} insns  states {}  peak {}",
            stats.processed, stats.total_states, stats.peak_states
        )
    });
    let (line, why) = match &verdict.result {
        Ok(verified) => {
            let depths: Vec<String> = verified
                .subprogs
                .iter()
                .map(|sub| sub.stack_depth.to_string())
                .collect();
            (
                format!("{name}: accepted{cost}  stack {}", depths.join("+")),
                String::new(),
            )
        }
        Err(VerifyError::Rejected { source, .. }) => (format!("{name}: refused{cost}"), source.explanation()),
        Err(error) => (format!("{name}: refused"), causes(error)),
    };
    out += &printable(&line);
    out.push('\n');
    for line in why.lines() {
        out += "  ";
        out += &printable(line);
        out.push('\n');
    }
    out
}

/// What is wrong, and why.
fn causes(error: &VerifyError) -> String {
    let mut text = joined(Chain::new(error));
    if matches!(error, VerifyError::Context { .. }) {
        text += "; types are given with --target-btf FILE, the kernel's are /sys/kernel/btf/vmlinux";
    }
    text
}

#[derive(Serialize)]
struct Report<'a> {
    object: String,
    programs: Vec<JsonVerdict<'a>>,
}

#[derive(Serialize)]
struct JsonVerdict<'a> {
    name: &'a str,
    section: &'a str,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<JsonStats>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subprograms: Vec<JsonSubprog>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<JsonError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<JsonPath<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    log: &'a str,
}

#[derive(Serialize)]
struct JsonStats {
    processed: usize,
    limit: usize,
    total_states: usize,
    peak_states: usize,
    max_states_per_insn: usize,
}

#[derive(Serialize)]
struct JsonSubprog {
    start: usize,
    stack_depth: u32,
}

#[derive(Serialize)]
struct JsonError<'a> {
    pc: usize,
    insn: &'a str,
    message: &'a str,
    requires: String,
    found: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<JsonLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

#[derive(Serialize)]
struct JsonPath<'a> {
    known: &'a [String],
    omitted: usize,
    decisions: Vec<JsonDecision<'a>>,
}

#[derive(Serialize)]
struct JsonDecision<'a> {
    pc: usize,
    insn: &'a str,
    taken: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<JsonLine<'a>>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    file: &'a str,
    line_num: u32,
    src: &'a str,
}

impl<'a> JsonVerdict<'a> {
    fn new(verdict: &'a Verdict) -> JsonVerdict<'a> {
        let rejection: Option<&Rejection> = match &verdict.result {
            Err(VerifyError::Rejected { source, .. }) => Some(source),
            _ => None,
        };
        JsonVerdict {
            name: &verdict.program,
            section: &verdict.section,
            accepted: verdict.result.is_ok(),
            stats: verdict.stats().map(|stats| JsonStats {
                processed: stats.processed,
                limit: stats.limit,
                total_states: stats.total_states,
                peak_states: stats.peak_states,
                max_states_per_insn: stats.max_states_per_insn,
            }),
            subprograms: match &verdict.result {
                Ok(verified) => verified.subprogs.iter().map(subprogram).collect(),
                Err(_) => Vec::new(),
            },
            error: verdict.result.as_ref().err().map(|error| match error {
                // Why follows as data.
                VerifyError::Rejected { .. } => error.to_string(),
                _ => causes(error),
            }),
            errors: rejection.map_or_else(Vec::new, |rejection| rejection.errors.iter().map(error).collect()),
            path: rejection.map(|rejection| JsonPath {
                known: &rejection.trail.known,
                omitted: rejection.trail.omitted,
                decisions: rejection.trail.decisions.iter().map(decision).collect(),
            }),
            log: &verdict.log,
        }
    }
}

fn subprogram(subprog: &Subprog) -> JsonSubprog {
    JsonSubprog {
        start: subprog.start,
        stack_depth: subprog.stack_depth,
    }
}

fn error(error: &VerifierError) -> JsonError<'_> {
    JsonError {
        pc: error.pc,
        insn: &error.insn,
        message: &error.message,
        requires: error.requirement.to_string(),
        found: &error.found,
        source: error.source.as_ref().map(line),
        hint: error.hint(),
    }
}

fn decision(decision: &Decision) -> JsonDecision<'_> {
    JsonDecision {
        pc: decision.pc,
        insn: &decision.insn,
        taken: decision.taken,
        source: decision.source.as_ref().map(line),
    }
}

fn line(line: &SourceLine) -> JsonLine<'_> {
    JsonLine {
        file: &line.file,
        line_num: line.line,
        src: &line.text,
    }
}
