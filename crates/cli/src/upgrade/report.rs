//! What an upgrade did, or would do, as text and as JSON.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use hitless::upgrade::{MapPlan, Plan, ProgramPlan, Report as UpgradeReport};
use hitless_btf::layout::FieldChange;
use serde::Serialize;

use super::Args;
use crate::account::Check;
use crate::output::table;

/// The whole of it. The field names are those of the JSON output, which the README documents.
#[derive(Serialize)]
pub(super) struct Report {
    old: String,
    new: String,
    hook: &'static str,
    threads: u16,
    steer: &'static str,
    control: Option<Control>,
    maps: Vec<MapReport>,
    programs: Vec<ProgramReport>,
    copy_time_ns: u64,
    gate_closed_ns: u64,
    longest_wait_ns: u64,
    longest_pause_ns: u64,
    cutover_attempts: u32,
    pub(super) packets_during_copy: Option<u64>,
    packets_per_second: Rates,
    packets: u64,
    pub(super) check: Option<Check>,
}

/// The run without an upgrade.
#[derive(Serialize)]
pub(super) struct Control {
    pub(super) packets: u64,
    pub(super) packets_per_second: f64,
    pub(super) check: Option<Check>,
}

/// Packets a second, before, during and after the upgrade.
#[derive(Serialize)]
pub(super) struct Rates {
    pub(super) before: f64,
    pub(super) during: f64,
    pub(super) after: f64,
}

#[derive(Serialize)]
struct MapReport {
    #[serde(flatten)]
    plan: PlannedMap,
    copied: u64,
    mirrored_updates: u64,
    mirrored_deletes: u64,
}

/// What becomes of a map.
#[derive(Serialize)]
struct PlannedMap {
    name: String,
    action: String,
    reason: String,
    key_fields: Vec<Field>,
    value_fields: Vec<Field>,
}

/// What becomes of a field.
#[derive(Serialize)]
struct Field {
    path: String,
    renamed_from: Option<String>,
    change: String,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct ProgramReport {
    old: String,
    new: String,
    hooks: Vec<String>,
}

impl From<&FieldChange> for Field {
    fn from(field: &FieldChange) -> Field {
        Field {
            path: field.path.clone(),
            renamed_from: field.renamed_from.clone(),
            change: field.fate.to_string(),
            text: field.to_string(),
        }
    }
}

impl From<&MapPlan> for PlannedMap {
    fn from(plan: &MapPlan) -> PlannedMap {
        PlannedMap {
            name: plan.name.clone(),
            action: plan.action.to_string(),
            reason: plan.reason.clone(),
            key_fields: plan.key_fields.iter().map(Field::from).collect(),
            value_fields: plan.value_fields.iter().map(Field::from).collect(),
        }
    }
}

impl From<&ProgramPlan> for ProgramReport {
    fn from(plan: &ProgramPlan) -> ProgramReport {
        ProgramReport {
            old: plan.old_name.clone(),
            new: plan.new_name.clone(),
            hooks: plan.hooks.clone(),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

impl Report {
    pub(super) fn new(
        args: &Args,
        control: Option<Control>,
        upgrade: UpgradeReport,
        packets_during_copy: Option<u64>,
        packets_per_second: Rates,
        packets: u64,
        check: Option<Check>,
    ) -> Report {
        let maps = upgrade.maps.iter().map(|map| MapReport {
            plan: PlannedMap::from(&map.plan),
            copied: map.copied,
            mirrored_updates: map.mirrored_updates,
            mirrored_deletes: map.mirrored_deletes,
        });
        Report {
            old: args.old.display().to_string(),
            new: args.new.display().to_string(),
            hook: args.traffic.hook.as_str(),
            threads: args.traffic.threads,
            steer: args.traffic.steer.as_str(),
            control,
            maps: maps.collect(),
            programs: upgrade.programs.iter().map(ProgramReport::from).collect(),
            copy_time_ns: nanoseconds(upgrade.copy_time),
            gate_closed_ns: nanoseconds(upgrade.gate_closed),
            longest_wait_ns: nanoseconds(upgrade.longest_wait),
            longest_pause_ns: nanoseconds(upgrade.longest_pause()),
            cutover_attempts: upgrade.attempts,
            packets_during_copy,
            packets_per_second,
            packets,
            check,
        }
    }

    /// Updates and deletes mirrored, of all maps.
    pub(super) fn mirrored(&self) -> u64 {
        let maps = self.maps.iter();
        maps.map(|map| map.mirrored_updates + map.mirrored_deletes).sum()
    }

    /// The longest pause in percent of the time that the copy took; `None` if nothing was copied.
    pub(super) fn pause_percent(&self) -> Option<f64> {
        self.packets_during_copy?;
        Some(100.0 * self.longest_pause_ns as f64 / self.copy_time_ns.max(1) as f64)
    }

    pub(super) fn text(&self) -> Result<String> {
        let mut out = String::new();
        if let Some(control) = &self.control {
            write!(
                out,
                "control: {} without an upgrade: {} packets, {:.0} packets/s",
                self.old, control.packets, control.packets_per_second
            )?;
            match &control.check {
                Some(check) => writeln!(out, ", lost {}", check.lost)?,
                None => writeln!(out)?,
            }
        }
        writeln!(
            out,
            "upgrade: {} to {} at hook {}, {} threads, steer {}",
            self.old, self.new, self.hook, self.threads, self.steer
        )?;
        let head = [
            "map",
            "action",
            "copied",
            "updates mirrored",
            "deletes mirrored",
            "reason",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.maps.iter().map(|map| {
            vec![
                map.plan.name.clone(),
                map.plan.action.clone(),
                map.copied.to_string(),
                map.mirrored_updates.to_string(),
                map.mirrored_deletes.to_string(),
                map.plan.reason.clone(),
            ]
        }));
        out.push_str(&table(&rows, 2));
        writeln!(out, "copy time: {:.3} ms", milliseconds(self.copy_time_ns))?;
        let percent = self.pause_percent();
        let percent = percent.map_or_else(String::new, |percent| format!(", {percent:.3} % of the copy time"));
        let attempts = match self.cutover_attempts {
            1 => "1 attempt".to_owned(),
            count => format!("{count} attempts"),
        };
        writeln!(
            out,
            "longest pause: {:.3} ms{percent} (gate closed {:.3} ms, longest wait {:.3} ms, {attempts})",
            milliseconds(self.longest_pause_ns),
            milliseconds(self.gate_closed_ns),
            milliseconds(self.longest_wait_ns),
        )?;
        match self.packets_during_copy {
            Some(packets) => writeln!(out, "packets between the first copied entry and the cutover: {packets}")?,
            None => writeln!(
                out,
                "packets between the first copied entry and the cutover: nothing was copied"
            )?,
        }
        let rates = &self.packets_per_second;
        writeln!(
            out,
            "packets/s: {:.0} before, {:.0} during, {:.0} after the upgrade",
            rates.before, rates.during, rates.after
        )?;
        match &self.check {
            Some(check) => writeln!(out, "check: {check}")?,
            None => writeln!(out, "check: none, {} packets sent", self.packets)?,
        }
        Ok(out)
    }
}

/// What an upgrade would do.
#[derive(Serialize)]
pub(super) struct PlanReport {
    maps: Vec<PlannedMap>,
    programs: Vec<ProgramReport>,
}

impl PlanReport {
    pub(super) fn new(plan: Plan) -> PlanReport {
        PlanReport {
            maps: plan.maps.iter().map(PlannedMap::from).collect(),
            programs: plan.programs.iter().map(ProgramReport::from).collect(),
        }
    }

    pub(super) fn text(&self) -> Result<String> {
        let mut out = String::new();
        for map in &self.maps {
            writeln!(out, "map {}: {} ({})", map.name, map.action, map.reason)?;
            for (part, fields) in [("key", &map.key_fields), ("value", &map.value_fields)] {
                for field in fields {
                    writeln!(out, "  {part} {}", field.text)?;
                }
            }
        }
        for program in &self.programs {
            writeln!(
                out,
                "program {} to {} at {}",
                program.old,
                program.new,
                program.hooks.join(", ")
            )?;
        }
        Ok(out)
    }
}
