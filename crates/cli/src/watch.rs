//! `hitless run --watch`: prints the changes of maps while packets are replayed.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hitless::{Change, Changes, Collection, TraceEvent};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{dump, output};

/// How long a watcher waits for the next change before it looks whether it is to end.
const TURN: Duration = Duration::from_millis(20);

/// What to watch.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Print each change of this map, in order; may be given several times. With --json, one JSON object a change: map, event,
    /// key, value (or null), slot (or null), missed
    #[arg(long = "watch", value_name = "MAP")]
    watched: Vec<String>,

    /// Bytes for changes that are not printed yet, a power of two; what does not fit is missed, and counted
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 24)]
    watch_buffer: u32,
}

#[derive(Serialize)]
struct JsonChange<'a> {
    map: &'a str,
    event: String,
    key: Box<RawValue>,
    value: Option<Box<RawValue>>,
    slot: Option<u32>,
    missed: u64,
}

/// What came of a watched map.
#[derive(Debug, Serialize)]
pub(crate) struct Watched {
    map: String,
    changes: u64,
    missed: u64,
}

/// Runs `f` and prints the changes meanwhile, and those that are left when it has ended.
pub(crate) fn during<T>(
    args: &WatchArgs,
    collection: &Collection,
    json: bool,
    f: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<Watched>)> {
    let start = |name: &String| {
        let map = collection.map(name).ok_or_else(|| anyhow!("no such map"));
        map.and_then(|map| Ok(map.changes(args.watch_buffer)?))
            .with_context(|| format!("cannot watch map {name}"))
    };
    let feeds = args.watched.iter().map(start).collect::<Result<Vec<_>>>()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = |changes| scope.spawn(|| follow(changes, json, &done));
        let watchers: Vec<_> = feeds.into_iter().map(watch).collect();
        let result = f();
        done.store(true, Ordering::Release);
        let watched = watchers
            .into_iter()
            .map(|watcher| watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>>>();
        Ok((result?, watched?))
    })
}

/// Prints changes until there are none and none will come.
fn follow(mut changes: Changes, json: bool, done: &AtomicBool) -> Result<Watched> {
    let name = changes.map().name().to_owned();
    let mut count = 0;
    loop {
        let last = done.load(Ordering::Acquire);
        while let Some(change) = changes.next_within(if last { Duration::ZERO } else { TURN })? {
            count += 1;
            print(&changes, &change, json)?;
        }
        if last {
            break;
        }
    }
    Ok(Watched {
        map: name,
        changes: count,
        missed: changes.missed(),
    })
}

fn print(changes: &Changes, change: &Change, json: bool) -> Result<()> {
    let map = changes.map();
    let context = || format!("cannot print a change of map {}", map.name());
    let key = dump::key(map, &change.key).with_context(context)?;
    let value = match change.event {
        TraceEvent::UpdateElem => Some(dump::value(map, &change.value).with_context(context)?),
        TraceEvent::DeleteElem | TraceEvent::EvictElem => None,
    };
    if json {
        let raw = |value: &dyn std::fmt::Display| RawValue::from_string(value.to_string());
        return output::json(&JsonChange {
            map: map.name(),
            event: change.event.to_string(),
            key: raw(&key)?,
            value: value.map(|value| raw(&value)).transpose()?,
            slot: change.slot,
            missed: change.missed,
        });
    }
    let mut line = String::new();
    if change.missed > 0 {
        writeln!(line, "{}: {} changes missed", map.name(), change.missed)?;
    }
    write!(line, "{} {} {key}", map.name(), change.event)?;
    if let Some(value) = value {
        write!(line, " = {value}")?;
    }
    if let Some(slot) = change.slot {
        write!(line, " (slot {slot})")?;
    }
    line.push('\n');
    output::text(&line)
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Watched { map, changes, missed } = self;
        write!(f, "watched {map}: {changes} changes, {missed} missed")
    }
}
