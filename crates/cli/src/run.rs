//! `hitless run`: replays a capture through an object's XDP program.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::account::{self, Check};
use crate::args::TrafficArgs;
use crate::dump::{self, JsonMap};
use crate::host::{Host, read_capture, read_object};
use crate::iter::{self, IterArgs};
use crate::traffic::{self, Verdicts};
use crate::watch::{self, WatchArgs, Watched};
use crate::{output, pcap, steer};

/// Replays a capture through an XDP program
///
/// Prints how often each verdict came and how many packets each thread sent in a second, the maps if asked to, and checks
/// that the program counted every packet, if it keeps accounts (see --account).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// BPF object file (.bpf.o)
    object: PathBuf,

    /// Capture to replay: pcap or pcapng, link type Ethernet
    #[arg(long, value_name = "FILE")]
    pcap: PathBuf,

    /// How often the capture is replayed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,

    #[command(flatten)]
    traffic: TrafficArgs,

    /// Print this map in the end; may be given several times. Global data are maps, too: .bss, .data, .rodata
    #[arg(long = "dump", value_name = "MAP")]
    maps: Vec<String>,

    /// Print all maps in the end
    #[arg(long)]
    dump_maps: bool,

    #[command(flatten)]
    iter: IterArgs,

    #[command(flatten)]
    watch: WatchArgs,

    /// Print one JSON object: packets, seconds, packets_per_second, threads, verdicts, check (or null), watched, iterators, maps
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    object: String,
    packets: u64,
    seconds: f64,
    packets_per_second: f64,
    threads: Vec<ThreadReport>,
    verdicts: Verdicts,
    check: Option<Check>,
    watched: Vec<Watched>,
    iterators: Vec<iter::Output>,
    maps: Vec<JsonMap>,
}

#[derive(Serialize)]
struct ThreadReport {
    packets: u64,
    packets_per_second: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let spec = read_object(&args.object)?;
    let capture = read_capture(&args.pcap)?;
    let frames = pcap::parse(&capture).with_context(|| format!("cannot replay {}", args.pcap.display()))?;
    let host = Host::start(&args.object, &spec, &args.traffic, &args.traffic.place.load_options()?)?;
    let accounts = account::find(&args.traffic.accounts, &host.collection)?;
    if !args.dump_maps {
        // A name that is wrong is better told before than after.
        for name in &args.maps {
            dump::maps(&host.collection, std::slice::from_ref(name))?;
        }
    }

    let iterators = iter::attach(&args.iter, &host)?;

    let shares = steer::shares(&frames, args.traffic.threads, args.traffic.steer);
    let ((sent, time), watched) = watch::during(&args.watch, &host.collection, args.json, || {
        let start = Instant::now();
        let (done, sent) = traffic::drive(&host.hook, &shares, Some(args.repeat), |traffic| {
            traffic.wait_for(args.repeat)
        })?;
        done?;
        Ok((sent, start.elapsed()))
    })?;

    let check = account::check(&accounts, &host.collection, traffic::total(&sent))?;
    let maps = if args.dump_maps {
        dump::maps(&host.collection, &[])?
    } else if args.maps.is_empty() {
        Vec::new()
    } else {
        dump::maps(&host.collection, &args.maps)?
    };
    let report = Report {
        object: args.object.display().to_string(),
        packets: traffic::total(&sent),
        seconds: time.as_secs_f64(),
        packets_per_second: traffic::rate(traffic::total(&sent), time),
        threads: sent
            .iter()
            .map(|sent| ThreadReport {
                packets: sent.packets,
                packets_per_second: traffic::rate(sent.packets, sent.time),
            })
            .collect(),
        verdicts: Verdicts::of(&sent),
        check,
        watched,
        iterators: iter::read(&iterators)?,
        maps: maps.iter().map(dump::Dump::json).collect::<Result<_>>()?,
    };
    if args.json {
        output::json(&report)?;
    } else {
        let mut text = report.text()?;
        for iterator in &report.iterators {
            text.push_str(iterator.text());
        }
        for map in &maps {
            text.push_str(&map.text());
        }
        output::text(&text)?;
    }
    report.check.as_ref().map_or(Ok(()), Check::require)
}

impl Report {
    fn text(&self) -> Result<String> {
        let mut out = String::new();
        writeln!(out, "{}: {}", self.object, self.verdicts)?;
        for (index, thread) in self.threads.iter().enumerate() {
            writeln!(
                out,
                "thread {index}: {} packets, {:.0} packets/s",
                thread.packets, thread.packets_per_second
            )?;
        }
        writeln!(
            out,
            "total: {} packets in {:.3} s, {:.0} packets/s",
            self.packets, self.seconds, self.packets_per_second
        )?;
        match &self.check {
            Some(check) => writeln!(out, "check: {check}")?,
            None => writeln!(out, "check: not possible, the object has no accounts (see --account)")?,
        }
        for watched in &self.watched {
            writeln!(out, "{watched}")?;
        }
        Ok(out)
    }
}
