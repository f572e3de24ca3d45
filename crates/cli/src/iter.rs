//! `hitless run --iter`: what iterator programs print.

use std::io::Read;

use anyhow::{Context, Result, anyhow, bail};
use hitless::{Link, ProgramKind};
use serde::Serialize;

use crate::host::Host;

/// What to read.
#[derive(Debug, clap::Args)]
pub(crate) struct IterArgs {
    /// Run this iterator program (SEC("iter/...")) in the end and print its output; may be given several times. One that
    /// walks the elements of a map is given the map behind a colon
    #[arg(long = "iter", value_name = "PROGRAM[:MAP]")]
    iterators: Vec<String>,
}

/// What an iterator printed.
#[derive(Debug, Serialize)]
pub(crate) struct Output {
    iterator: String,
    output: String,
}

impl Output {
    pub(crate) fn text(&self) -> &str {
        &self.output
    }
}

/// Attaches them, so that what is wrong is told before anything runs.
pub(crate) fn attach(args: &IterArgs, host: &Host) -> Result<Vec<(String, Link)>> {
    let attach = |name: &String| {
        let link = attach_one(name, host).with_context(|| format!("cannot attach iterator {name}"))?;
        Ok((name.clone(), link))
    };
    args.iterators.iter().map(attach).collect()
}

fn attach_one(name: &str, host: &Host) -> Result<Link> {
    let (program, map) = match name.split_once(':') {
        Some((program, map)) => (program, Some(map)),
        None => (name, None),
    };
    let iterators = || {
        let programs = host.collection.programs().iter();
        programs.filter(|program| program.program_type().kind() == ProgramKind::Iter)
    };
    let Some(program) = iterators().find(|known| known.name() == program) else {
        let known: Vec<_> = iterators().map(|program| program.name()).collect();
        match known[..] {
            [] => bail!("the object has no iterator programs"),
            _ => bail!("no such iterator program, expected one of: {}", known.join(", ")),
        }
    };
    Ok(match map {
        None => host.runtime.attach_iter(program)?,
        Some(map) => {
            let map = host.collection.map(map).ok_or_else(|| anyhow!("no map {map}"))?;
            host.runtime.attach_map_iter(program, map)?
        }
    })
}

/// Runs them. Output that is no UTF-8 is printed as far as it is.
pub(crate) fn read(links: &[(String, Link)]) -> Result<Vec<Output>> {
    let read = |(name, link): &(String, Link)| {
        let mut bytes = Vec::new();
        let iterator = link.iter();
        let read = iterator.map_err(anyhow::Error::new).and_then(|mut iterator| {
            iterator.read_to_end(&mut bytes)?;
            Ok(())
        });
        read.with_context(|| format!("cannot read iterator {name}"))?;
        Ok(Output {
            iterator: name.clone(),
            output: String::from_utf8_lossy(&bytes).into_owned(),
        })
    };
    links.iter().map(read).collect()
}
