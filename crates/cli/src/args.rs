//! Arguments that subcommands share.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use hitless::LoadOptions;

use crate::elf::read_target;
use crate::kconfig;

/// What is replayed, where, and how it is checked.
#[derive(Debug, Args)]
pub(crate) struct TrafficArgs {
    /// Hook to attach the program to
    #[arg(long, value_enum, default_value_t = HookName::Xdp)]
    pub(crate) hook: HookName,

    /// Threads that send packets
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,

    /// How packets are spread over the threads
    #[arg(long, value_enum, default_value_t = Steer::Flow)]
    pub(crate) steer: Steer,

    /// Program to attach; needed if the object has several XDP programs
    #[arg(long, value_name = "NAME")]
    pub(crate) prog: Option<String>,

    /// Field in which the program counts packets, to be checked; may be given several times
    ///
    /// An integer: "flows.packets" is summed over all elements of the map, ".bss.failed_packets" is global data. All of them
    /// together must be the packets sent. Default: those of flows.packets, .bss.deleted_packets and .bss.failed_packets
    /// that the object has.
    #[arg(long = "account", value_name = "MAP.FIELD", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) accounts: Vec<String>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// What depends on where an object is loaded.
#[derive(Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Types that programs are relocated against (CO-RE): a file of BTF such as /sys/kernel/btf/vmlinux, or an ELF file with
    /// a section .BTF [default: those of the runtime]
    #[arg(long, value_name = "FILE")]
    target_btf: Option<PathBuf>,

    /// Configuration options that programs may read (`__kconfig`): a file like /boot/config-* [default: none is set]
    #[arg(long, value_name = "FILE")]
    kconfig: Option<PathBuf>,
}

impl PlaceArgs {
    /// How objects are loaded.
    pub(crate) fn load_options(&self) -> Result<LoadOptions> {
        let mut options = LoadOptions::new();
        if let Some(path) = &self.target_btf {
            options = options.target_btf(read_target(path)?);
        }
        if let Some(path) = &self.kconfig {
            for (name, value) in kconfig::read(path)? {
                options = options.kconfig(name, value);
            }
        }
        Ok(options)
    }
}

/// Hooks by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HookName {
    /// XDP: a program for each packet
    Xdp,
}

impl HookName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            HookName::Xdp => "xdp",
        }
    }
}

/// How packets are spread over threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Steer {
    /// Packets of one flow (unidirectional 5-tuple) are sent by one thread, as a network card's receive-side scaling does
    Flow,
    /// Round robin: packets of one flow are sent by several threads at once. Only for programs that allow it
    None,
}

impl Steer {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Steer::Flow => "flow",
            Steer::None => "none",
        }
    }
}
