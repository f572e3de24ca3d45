//! `hitless upgrade`: replaces an object by a new one while packets run through it, and checks that none was lost.

mod progress;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use hitless::upgrade::{Options, Progress, Upgrade};
use hitless::{Collection, LoadOptions};
use hitless_object::ObjectSpec;

use crate::account::{self, Account, Check};
use crate::args::TrafficArgs;
use crate::error::one_line;
use crate::host::{Host, cannot_load, read_capture, read_object, read_object_bytes};
use crate::traffic::{self, Moment, Traffic};
use crate::{output, pcap, steer};

use progress::Bar;
use report::{Control, PlanReport, Rates, Report};

/// Upgrades a running object while packets run through it
///
/// Replays a capture through OLD, upgrades OLD to NEW in the middle of it, goes on under NEW, and checks that every packet
/// is counted: the sum of the accounts (see --account) in the maps of NEW must be the packets that the senders sent. A
/// control run, OLD without an upgrade, comes first.
///
/// A refused or failed upgrade leaves OLD running; that is checked the same way, and the exit code is 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// BPF object file (.bpf.o) that runs first
    old: PathBuf,

    /// BPF object file (.bpf.o) that replaces it
    new: PathBuf,

    /// Capture to replay: pcap or pcapng, link type Ethernet
    #[arg(long, value_name = "FILE", required_unless_present = "plan")]
    pcap: Option<PathBuf>,

    /// Replays of the capture, at least: the upgrade starts after half of them, and at least one begins after it
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,

    #[command(flatten)]
    traffic: TrafficArgs,

    /// Copy at most this many entries a second [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    copy_rate: Option<u32>,

    /// Copy maps even if their layout has not changed, instead of sharing them
    #[arg(long)]
    always_copy: bool,

    /// Leave out the control run
    #[arg(long)]
    no_control: bool,

    /// Go on if OLD has no accounts, so that nothing can be checked
    #[arg(long)]
    no_check: bool,

    /// Print what would become of every map and field, and stop: nothing is run
    #[arg(long)]
    plan: bool,

    /// Fail if fewer updates and deletes were mirrored
    #[arg(long, value_name = "N")]
    min_mirrored: Option<u64>,

    /// Fail if fewer packets ran between the first copied entry and the cutover
    #[arg(long, value_name = "N")]
    min_packets: Option<u64>,

    /// Fail if the longest pause was more than this percentage of the time that the copy took
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    max_pause_percent: Option<f64>,

    /// Print one JSON object; times are in nanoseconds (names end in _ns), rates in packets a second
    #[arg(long)]
    json: bool,
}

fn percentage(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("expected a number that is not negative".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let old_spec = read_object(&args.old)?;
    if args.plan {
        return plan(args, &old_spec);
    }
    let new_bytes = read_object_bytes(&args.new)?;
    let pcap_path = args.pcap.as_deref().context("--pcap is missing")?;
    let capture = read_capture(pcap_path)?;
    let frames = pcap::parse(&capture).with_context(|| format!("cannot replay {}", pcap_path.display()))?;
    let shares = steer::shares(&frames, args.traffic.threads, args.traffic.steer);

    let options = args.traffic.place.load_options()?;
    let host = Host::start(&args.old, &old_spec, &args.traffic, &options)?;
    let accounts = account::find(&args.traffic.accounts, &host.collection)?;
    if accounts.is_empty() && !args.no_check {
        bail!(
            "cannot check {}: found none of the usual accounts, expected --account MAP.FIELD, or --no-check to go on without",
            args.old.display()
        );
    }
    let control = if args.no_control {
        None
    } else {
        let host = Host::start(&args.old, &old_spec, &args.traffic, &options)?;
        Some(control(args, &host, &shares, &accounts)?)
    };

    let (live, sent) = traffic::drive(&host.hook, &shares, None, |traffic| {
        live(args, &host, (&new_bytes, &options), traffic)
    })?;
    let live = live?;
    let sent = traffic::total(&sent);
    let (new, upgraded) = match live.outcome {
        Ok(done) => done,
        Err(error) => {
            let check = account::check(&accounts, &host.collection, sent)?;
            bail!(
                "cannot upgrade {} to {}: {}; {} kept running{}",
                args.old.display(),
                args.new.display(),
                one_line(&error),
                args.old.display(),
                check.map_or_else(String::new, |check| format!(", lost {}", check.lost)),
            );
        }
    };
    let check = account::check(&account::after(&accounts, &upgraded), &new, sent)?;
    let report = Report::new(
        args,
        control,
        upgraded,
        live.packets_during_copy,
        live.rates,
        sent,
        check,
    );
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&report.text()?)?;
    }
    report.require(args)
}

/// Prints the plan.
fn plan(args: &Args, old_spec: &ObjectSpec) -> Result<()> {
    let new_spec = read_object(&args.new)?;
    let options = args.traffic.place.load_options()?;
    let host = Host::start(&args.old, old_spec, &args.traffic, &options)?;
    let plan = Upgrade::new(&host.runtime, &host.collection, &new_spec, args.options())
        .plan()
        .with_context(|| format!("cannot upgrade {} to {}", args.old.display(), args.new.display()))?;
    host.runtime
        .load_with(&new_spec, &options)
        .with_context(|| cannot_load(&args.new))?;
    let report = PlanReport::new(plan);
    if args.json {
        output::json(&report)
    } else {
        output::text(&report.text()?)
    }
}

/// Runs OLD without an upgrade: what the check says then is about OLD itself.
fn control(args: &Args, host: &Host, shares: &[Vec<&[u8]>], accounts: &[Account]) -> Result<Control> {
    let (rate, sent) = traffic::drive(&host.hook, shares, Some(args.repeat), |traffic| {
        let start = Moment::now(traffic);
        traffic.wait_for(args.repeat)?;
        anyhow::Ok(Moment::now(traffic).rate_since(start))
    })?;
    let check = account::check(accounts, &host.collection, traffic::total(&sent))?;
    if let Some(check) = &check {
        check.require().with_context(|| {
            let hint = "so the upgrade is not tried; does the program allow several threads on one flow (--steer)?";
            format!(
                "{} does not balance even without an upgrade, {hint}",
                args.old.display()
            )
        })?;
    }
    Ok(Control {
        packets: traffic::total(&sent),
        packets_per_second: rate?,
        check,
    })
}

/// What came of the upgrade under traffic.
struct Live {
    outcome: Result<(Collection, hitless::upgrade::Report)>,
    /// Packets whose run ended between the first copied entry and the cutover; `None` if nothing was copied.
    packets_during_copy: Option<u64>,
    rates: Rates,
}

fn live(args: &Args, host: &Host, new: (&[u8], &LoadOptions), traffic: &Traffic<'_>) -> Result<Live> {
    let start = Moment::now(traffic);
    traffic.wait_for(args.repeat / 2)?;
    let bar = Bar::new();
    let mut first_copied = None;
    let mut cutover = None;
    let upgrade_start = Moment::now(traffic);
    let outcome = upgrade(args, host, new, &mut |progress| {
        match progress {
            Progress::Copying { copied: 1.., .. } if first_copied.is_none() => {
                first_copied = Some(Moment::now(traffic))
            }
            Progress::Cutover { .. } => cutover = Some(Moment::now(traffic)),
            _ => {}
        }
        bar.show(&progress);
    });
    let upgrade_end = Moment::now(traffic);
    drop(bar);
    traffic.wait_for_another(args.repeat)?;
    let end = Moment::now(traffic);
    Ok(Live {
        outcome,
        packets_during_copy: cutover
            .zip(first_copied)
            .map(|(cutover, first)| cutover.packets_since(first)),
        rates: Rates {
            before: upgrade_start.rate_since(start),
            during: upgrade_end.rate_since(upgrade_start),
            after: end.rate_since(upgrade_end),
        },
    })
}

/// The upgrade itself. NEW is parsed here, while OLD runs, as a service would do it.
fn upgrade(
    args: &Args,
    host: &Host,
    (new, options): (&[u8], &LoadOptions),
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Collection, hitless::upgrade::Report)> {
    let spec = ObjectSpec::parse(new).with_context(|| cannot_load(&args.new))?;
    let upgrade = Upgrade::new(&host.runtime, &host.collection, &spec, args.options());
    Ok(upgrade.load_options(options.clone()).run(progress)?)
}

impl Args {
    fn options(&self) -> Options {
        Options {
            copy_rate: self.copy_rate,
            always_copy: self.always_copy,
            ..Options::default()
        }
    }
}

impl Report {
    /// Fails if packets were lost, or if the upgrade was not what the arguments ask for.
    fn require(&self, args: &Args) -> Result<()> {
        self.check.as_ref().map_or(Ok(()), Check::require)?;
        let mirrored = self.mirrored();
        if let Some(expected) = args.min_mirrored.filter(|min| mirrored < *min) {
            bail!("{mirrored} updates and deletes were mirrored, expected at least {expected}");
        }
        let packets = self.packets_during_copy.unwrap_or(0);
        if let Some(expected) = args.min_packets.filter(|min| packets < *min) {
            bail!("{packets} packets ran between the first copied entry and the cutover, expected at least {expected}");
        }
        if let Some(expected) = args.max_pause_percent {
            let Some(percent) = self.pause_percent() else {
                bail!("nothing was copied that the pause could be compared with; --always-copy copies all the same");
            };
            if percent <= expected {
                return Ok(());
            }
            bail!("the longest pause was {percent:.3} % of the time that the copy took, expected at most {expected} %");
        }
        Ok(())
    }
}
