//! `hitless btf`: prints type information.

mod json;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use hitless_btf::{Btf, TypeId, dump};

use crate::elf::read_btf;
use crate::output;

/// Prints type information
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dump(DumpArgs),
}

/// Prints the types in a file, as bpftool does
///
/// "raw" is one type after the other, "c" a C header with all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// BPF object file, another ELF file with types, or the bare types (/sys/kernel/btf/vmlinux)
    file: PathBuf,

    /// The same as --format, in bpftool's words: "format c"
    #[arg(num_args = 2, value_names = ["format", "FORMAT"], hide = true, conflicts_with = "format")]
    words: Vec<String>,

    /// How types are printed
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,

    /// The types in the file continue those of this one: types of a kernel module continue those of vmlinux
    #[arg(short = 'B', long, value_name = "FILE")]
    base: Option<PathBuf>,

    /// With --format c, print the types of this name and what they need only; may be given several times
    #[arg(long = "root", value_name = "NAME")]
    roots: Vec<String>,

    /// Print one JSON object: types, or with --format c the text as c
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One type after the other
    Raw,
    /// C declarations
    C,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Dump(args) = command;
    let format = args.format()?;
    let base = match &args.base {
        Some(base) => Some(Arc::new(read_btf(base, None)?)),
        None => None,
    };
    let btf = read_btf(&args.file, base)?;
    if format == Format::Raw && !args.roots.is_empty() {
        bail!("--root is for C declarations, expected --format c");
    }
    let roots = args.roots(&btf)?;
    match format {
        Format::Raw if args.json => output::json(&json::Types::new(&btf)),
        Format::Raw => output::text(&dump::raw(&btf).to_string()),
        Format::C => {
            let text = match roots {
                Some(roots) => dump::c_of(&btf, &roots),
                None => dump::c(&btf),
            };
            let text = text.with_context(|| format!("cannot print types of {}", args.file.display()))?;
            if args.json {
                output::json(&json::Header { c: &text })
            } else {
                output::text(&text)
            }
        }
    }
}

impl DumpArgs {
    fn format(&self) -> Result<Format> {
        match &self.words[..] {
            [] => Ok(self.format),
            [word, format] if word == "format" => match Format::from_str(format, false) {
                Ok(format) => Ok(format),
                Err(_) => bail!("no format {format}, expected raw or c"),
            },
            words => bail!("unexpected {}, expected: format raw or format c", words.join(" ")),
        }
    }

    /// The types with the names that were asked for.
    fn roots(&self, btf: &Btf) -> Result<Option<Vec<TypeId>>> {
        if self.roots.is_empty() {
            return Ok(None);
        }
        let mut ids = Vec::new();
        for root in &self.roots {
            let before = ids.len();
            ids.extend(btf.types().filter(|(_, ty)| ty.name() == root).map(|(id, _)| id));
            if ids.len() == before {
                bail!("{}: no type {root}", self.file.display());
            }
        }
        Ok(Some(ids))
    }
}
