//! `hitless`: replays captured packets through BPF programs, upgrades the programs while they run, and looks into objects.
//!
//! A subcommand per module: [`run`], [`upgrade`]; [`object`], [`prog`], [`btf`], [`generate`] and [`map`], which run nothing.
//! What the first two share: objects on a hook of a runtime ([`host`]), captures ([`pcap`]) whose packets are steered to threads
//! ([`steer`]) that send them ([`traffic`]), the check that no packet was lost ([`account`]), maps as text or JSON
//! ([`dump`]), their changes ([`watch`]), what iterators print ([`iter`]). What the others share: types as they stand in a file ([`elf`]).
#![forbid(unsafe_code)]

mod account;
mod args;
mod btf;
mod dump;
mod elf;
mod error;
mod generate;
mod host;
mod iter;
mod kconfig;
mod map;
mod object;
mod output;
mod pcap;
mod prog;
mod run;
mod steer;
mod traffic;
mod upgrade;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Replays captured packets through BPF programs, upgrades the programs while they run, and looks into objects.
#[derive(Debug, Parser)]
#[command(
    name = "hitless",
    version,
    after_help = "Exit code: 0, 1 if something failed (one line on stderr says what), 2 for wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Upgrade(upgrade::Args),
    #[command(subcommand)]
    Object(object::Command),
    #[command(subcommand)]
    Prog(prog::Command),
    #[command(subcommand)]
    Btf(btf::Command),
    #[command(subcommand)]
    Gen(generate::Command),
    #[command(subcommand)]
    Map(map::Command),
}

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Upgrade(args) => upgrade::run(args),
        Command::Object(command) => object::run(command),
        Command::Prog(command) => prog::run(command),
        Command::Btf(command) => btf::run(command),
        Command::Gen(command) => generate::run(command),
        Command::Map(command) => map::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hitless: {}", error::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
