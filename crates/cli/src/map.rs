//! `hitless map`: looks at maps that are kept in files.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use hitless::{Audit, Finding, check_map, repair_map};
use serde::Serialize;

use crate::output;

/// Looks at maps that are kept in files
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(CheckArgs),
}

/// Checks maps that are kept in files: every bucket, index, link and count
///
/// What a process that was killed has left is told, and is no error: whoever opens the map mends it. Damage is one.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Files of maps, none of them in use
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Mend what is found; of damage, what is in doubt is lost
    #[arg(long)]
    repair: bool,

    /// Print one JSON object: files (each file, elements, damaged, repaired, findings: each kind, damage, count, first)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Check(args) = command;
    let mut checked = Vec::new();
    for path in &args.files {
        let audit = if args.repair { repair_map(path) } else { check_map(path) }?;
        checked.push(Checked::new(path.display().to_string(), &audit, args.repair));
    }
    if args.json {
        output::json(&Report { files: &checked })?;
    } else {
        output::text(&checked.iter().map(Checked::text).collect::<String>())?;
    }
    let damaged: Vec<_> = checked.iter().filter(|map| map.damaged && !map.repaired).collect();
    match &damaged[..] {
        [] => Ok(()),
        [map] => bail!("{} is damaged", map.file),
        [map, more @ ..] => bail!("{} is damaged ({} more left out)", map.file, more.len()),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    files: &'a [Checked],
}

#[derive(Serialize)]
struct Checked {
    file: String,
    elements: u64,
    damaged: bool,
    repaired: bool,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    kind: &'static str,
    damage: bool,
    count: u64,
    first: u64,
}

impl Checked {
    fn new(file: String, audit: &Audit, repaired: bool) -> Checked {
        let found = |finding: &Finding| Found {
            kind: finding.kind.as_str(),
            damage: finding.kind.is_damage(),
            count: finding.count,
            first: finding.first,
        };
        Checked {
            file,
            elements: audit.elements,
            damaged: audit.is_damaged(),
            repaired: repaired && !audit.findings.is_empty(),
            findings: audit.findings.iter().map(found).collect(),
        }
    }

    fn text(&self) -> String {
        let state = match (self.findings.is_empty(), self.damaged, self.repaired) {
            (true, ..) => "clean",
            (_, false, false) => "left by a killed process",
            (_, true, false) => "damaged",
            (.., true) => "repaired",
        };
        let mut text = format!("{}: {state}, {} elements\n", self.file, self.elements);
        for Found {
            kind,
            damage,
            count,
            first,
        } in &self.findings
        {
            let damage = if *damage { "damage: " } else { "" };
            let _ = writeln!(text, "  {damage}{kind}: {count}, the first at {first}");
        }
        text
    }
}
