//! `hitless`: replays captured packets through BPF programs, and upgrades the programs while they run.
//!
//! A subcommand per file ([`run`], [`upgrade`]). What they share: objects on a hook of a runtime ([`host`]), captures
//! ([`pcap`]) whose packets are steered to threads ([`steer`]) that send them ([`traffic`]), the check that no packet was
//! lost ([`account`]), maps as text or JSON ([`dump`]).
#![forbid(unsafe_code)]

mod account;
mod args;
mod dump;
mod error;
mod host;
mod output;
mod pcap;
mod run;
mod steer;
mod traffic;
mod upgrade;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Replays captured packets through BPF programs, and upgrades the programs while they run.
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
}

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Upgrade(args) => upgrade::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hitless: {}", error::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
