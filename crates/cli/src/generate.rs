//! `hitless gen`: generates sources.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use hitless::{Runtime, c_header, hooks_of};
use hitless_btf::{Btf, Type, TypeId};

use crate::elf::read_btf;
use crate::output;

/// Generates sources
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Header(HeaderArgs),
}

/// Prints types as a C header for the sources of programs
///
/// Those in a file, such as one that an application has written with the types of its hooks
/// (`hitless::Runtime::btf`); or those of the runtime, which programs find in every application. If there are hooks
/// of an application, only what programs are given there is printed, and a comment says how such programs begin.
#[derive(Debug, clap::Args)]
pub(crate) struct HeaderArgs {
    /// File of types, bare or in an ELF file [default: those of the runtime]
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,

    /// Print the types of this name and what they need only; may be given several times
    #[arg(long = "root", value_name = "TYPE")]
    roots: Vec<String>,

    /// Identifier that keeps the header from being included twice
    #[arg(long, value_name = "NAME", default_value = "__HITLESS_TYPES_H__", value_parser = identifier)]
    guard: String,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Header(args) = command;
    let (btf, place) = match &args.btf {
        Some(path) => (Arc::new(read_btf(path, None)?), path.display().to_string()),
        None => (Arc::clone(Runtime::default().btf().btf()), "the runtime".to_owned()),
    };
    let roots = if args.roots.is_empty() {
        all(&btf)
    } else {
        named(&btf, &args.roots, &place)?
    };
    let text = c_header(&btf, &roots, &args.guard).with_context(|| format!("cannot print types of {place}"))?;
    output::text(&text)
}

/// The contexts of hooks; if there are none, every type that C declares.
fn all(btf: &Btf) -> Vec<TypeId> {
    let contexts: Vec<_> = hooks_of(btf).map(|(_, context)| context).collect();
    if !contexts.is_empty() {
        return contexts;
    }
    let is_declared = |ty: &Type| match ty {
        Type::Struct(_) | Type::Union(_) | Type::Fwd(_) | Type::Typedef(_) => !ty.name().is_empty(),
        Type::Enum(_) | Type::Enum64(_) => true,
        _ => false,
    };
    btf.types()
        .filter(|(_, ty)| is_declared(ty))
        .map(|(id, _)| id)
        .collect()
}

fn named(btf: &Btf, roots: &[String], place: &str) -> Result<Vec<TypeId>> {
    let mut ids = Vec::new();
    for root in roots {
        let before = ids.len();
        ids.extend(btf.types().filter(|(_, ty)| ty.name() == root).map(|(id, _)| id));
        if ids.len() == before {
            bail!("{place}: no type {root}");
        }
    }
    Ok(ids)
}

fn identifier(text: &str) -> Result<String, String> {
    let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("no identifier of C".to_owned())
    }
}
