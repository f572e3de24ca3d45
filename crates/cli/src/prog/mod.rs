//! `hitless prog`: looks into programs of an object, and verifies them, without attaching them.

mod annotate;
mod disasm;
mod target;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use hitless_object::ObjectSpec;

use crate::host::{cannot_load, read_object};
use crate::output;

/// Looks into programs of an object, and verifies them
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Disasm(DisasmArgs),
    Verify(verify::VerifyArgs),
}

/// Lists the instructions of programs
///
/// In the syntax of the kernel and bpftool, with source lines, names of functions and maps, and what is yet to be resolved:
/// CO-RE relocations as "<kind> [type id] what (access string)", and externs. With --target-btf they are resolved.
#[derive(Debug, clap::Args)]
pub(crate) struct DisasmArgs {
    /// BPF object file (.bpf.o)
    object: PathBuf,

    /// The program; all of them if not given
    name: Option<String>,

    /// Show the bytes of instructions, too
    #[arg(long)]
    opcodes: bool,

    /// Resolve CO-RE relocations and externs first, against the types in this file (such as /sys/kernel/btf/vmlinux)
    #[arg(long, value_name = "FILE")]
    target_btf: Option<PathBuf>,

    /// Take configuration options (`__kconfig`) from this file
    #[arg(long, value_name = "FILE", requires = "target_btf")]
    kconfig: Option<PathBuf>,

    /// Take addresses of symbols (`__ksym`) from this file, which is like /proc/kallsyms
    #[arg(long, value_name = "FILE", requires = "target_btf")]
    kallsyms: Option<PathBuf>,

    /// Print one JSON object: object, programs (each name, section, type, insns)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Disasm(args) => disassemble(args),
        Command::Verify(args) => verify::run(args),
    }
}

/// Fails unless the object has a program with this name.
fn known_name(spec: &ObjectSpec, name: Option<&str>, path: &Path) -> Result<()> {
    if let Some(name) = name
        && spec.program(name).is_none()
    {
        let names: Vec<_> = spec.programs.iter().map(|program| &*program.name).collect();
        let known = if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("expected one of: {}", names.join(", "))
        };
        bail!("{}: no program {name}, {known}", path.display());
    }
    Ok(())
}

fn disassemble(args: &DisasmArgs) -> Result<()> {
    let spec = read_object(&args.object)?;
    let relocated = match &args.target_btf {
        Some(btf) => {
            let target = target::read(btf, args.kconfig.as_deref(), args.kallsyms.as_deref())?;
            Some(target.relocate(&spec).with_context(|| cannot_load(&args.object))?)
        }
        None => None,
    };
    known_name(&spec, args.name.as_deref(), &args.object)?;
    let listings: Vec<_> = spec
        .programs
        .iter()
        .enumerate()
        .filter(|(_, program)| args.name.as_ref().is_none_or(|name| program.name == *name))
        .map(|(index, _)| disasm::Listing::new(&spec, relocated.as_ref(), index))
        .collect();
    if args.json {
        output::json(&disasm::json(&args.object, &listings, args.opcodes))
    } else {
        output::text(&disasm::text(&listings, args.opcodes))
    }
}
