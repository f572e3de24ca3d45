//! `hitless object`: looks into an object without loading it.

mod describe;
mod flags;
mod text;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use hitless_object::ObjectSpec;

use crate::elf::BtfSections;
use crate::host::{cannot_load, read_object_bytes};
use crate::output;
use describe::Description;

/// Looks into an object without loading it
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(ShowArgs),
}

/// Says what is in an object: its programs and the hooks they go to, its maps and global data, what it needs
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// BPF object file (.bpf.o)
    object: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Show(args) = command;
    let bytes = read_object_bytes(&args.object)?;
    let spec = ObjectSpec::parse(&bytes).with_context(|| cannot_load(&args.object))?;
    let sections = BtfSections::find(&bytes).with_context(|| cannot_load(&args.object))?;
    let description = Description::new(args.object.display().to_string(), bytes.len(), &sections, &spec)?;
    if args.json {
        output::json(&description)
    } else {
        output::text(&text::text(&description))
    }
}
