//! Threads that send packets through a hook, and the ledger of what they sent.
//!
//! Each thread sends its share of a capture over and over; one pass over it is a *replay*. The ledger is the threads' own: a
//! counter each, on a cache line of its own, outside of the runtime that is being checked by it. It counts a packet when
//! the hook has returned.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use hitless::{Hook, Packet, RunError, XdpAction};
use serde::Serialize;
use serde_json::Map as JsonMap;

/// A hook under traffic.
pub(crate) struct Traffic<'a> {
    hook: &'a Hook,
    shares: &'a [Vec<&'a [u8]>],
    counters: Vec<Counter>,
    /// How many replays each thread sends, if that is fixed.
    limit: Option<u64>,
    stop: AtomicBool,
    failed: AtomicBool,
    /// Waits in [`Traffic::wait`].
    owner: Thread,
}

/// What a thread has sent: written by that thread alone.
#[derive(Default)]
#[repr(align(128))]
struct Counter {
    packets: AtomicU64,
    replays: AtomicU64,
}

/// What one thread sent.
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) time: Duration,
    verdicts: [u64; ACTIONS.len()],
}

const ACTIONS: [XdpAction; 5] = [
    XdpAction::Aborted,
    XdpAction::Drop,
    XdpAction::Pass,
    XdpAction::Tx,
    XdpAction::Redirect,
];

/// Sends packets through `hook`, one thread for each share, until `body` returns; each thread then ends its replay. With a
/// `limit`, threads send no more replays than that.
pub(crate) fn drive<R>(
    hook: &Hook,
    shares: &[Vec<&[u8]>],
    limit: Option<u64>,
    body: impl FnOnce(&Traffic<'_>) -> R,
) -> Result<(R, Vec<Sent>)> {
    let traffic = Traffic {
        hook,
        shares,
        counters: shares.iter().map(|_| Counter::default()).collect(),
        limit,
        stop: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        owner: thread::current(),
    };
    thread::scope(|scope| {
        let traffic = &traffic;
        let start = |index| {
            let thread = thread::Builder::new().name(format!("sender-{index}"));
            thread.spawn_scoped(scope, move || traffic.send(index))
        };
        // Declared first: whatever happens, the senders stop, and the scope can end.
        let stop = StopOnDrop(traffic);
        let mut senders = Vec::new();
        for index in 0..shares.len() {
            senders.push(start(index).context("cannot start a thread")?);
        }
        let result = body(traffic);
        drop(stop);
        let mut sent = Vec::new();
        for sender in senders {
            sent.push(sender.join().map_err(|_| anyhow!("a sender panicked"))??);
        }
        Ok((result, sent))
    })
}

struct StopOnDrop<'a>(&'a Traffic<'a>);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

struct FailOnDrop<'a>(&'a Traffic<'a>);

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        self.0.failed.store(true, Release);
        self.0.stop.store(true, Relaxed);
        self.0.owner.unpark();
    }
}

impl Traffic<'_> {
    fn send(&self, index: usize) -> Result<Sent, RunError> {
        // Taken back if all is well: the owner must not wait for a thread that has panicked.
        let fail = FailOnDrop(self);
        let sent = self.send_replays(index)?;
        std::mem::forget(fail);
        Ok(sent)
    }

    fn send_replays(&self, index: usize) -> Result<Sent, RunError> {
        let (share, counter) = (&self.shares[index], &self.counters[index]);
        let longest = share.iter().map(|frame| frame.len()).max().unwrap_or(0);
        let mut buffer = vec![0; longest];
        let mut verdicts = [0; ACTIONS.len()];
        let (mut packets, mut replays) = (0, 0);
        let start = Instant::now();
        while !share.is_empty() && self.limit.is_none_or(|limit| replays < limit) && !self.stop.load(Relaxed) {
            for frame in share {
                // Programs may write the packet.
                let packet = &mut buffer[..frame.len()];
                packet.copy_from_slice(frame);
                let action = self.hook.run(&mut Packet::new(packet))?;
                verdicts[action as usize] += 1;
                packets += 1;
                counter.packets.store(packets, Relaxed);
            }
            replays += 1;
            counter.replays.store(replays, Release);
            self.owner.unpark();
        }
        Ok(Sent {
            packets,
            time: start.elapsed(),
            verdicts,
        })
    }

    /// Packets sent so far, by all threads.
    pub(crate) fn packets(&self) -> u64 {
        self.counters.iter().map(|counter| counter.packets.load(Relaxed)).sum()
    }

    /// Waits until every thread that sends anything has sent `count` replays.
    pub(crate) fn wait_for(&self, count: u64) -> Result<()> {
        let targets: Vec<u64> = self.counters.iter().map(|_| count).collect();
        self.wait(&targets)
    }

    /// Waits until every thread that sends anything has begun and ended another replay, and sent `count` in all.
    pub(crate) fn wait_for_another(&self, count: u64) -> Result<()> {
        let counters = self.counters.iter();
        let targets: Vec<u64> = counters
            .map(|counter| counter.replays.load(Acquire).saturating_add(2).max(count))
            .collect();
        self.wait(&targets)
    }

    fn wait(&self, targets: &[u64]) -> Result<()> {
        loop {
            if self.failed.load(Acquire) {
                // [`drive`] returns why.
                bail!("a sender failed");
            }
            let mut threads = self.shares.iter().zip(&self.counters).zip(targets);
            if threads.all(|((share, counter), target)| share.is_empty() || counter.replays.load(Acquire) >= *target) {
                return Ok(());
            }
            thread::park();
        }
    }
}

/// A moment: how many packets had been sent then.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    packets: u64,
    time: Instant,
}

impl Moment {
    pub(crate) fn now(traffic: &Traffic<'_>) -> Moment {
        Moment {
            packets: traffic.packets(),
            time: Instant::now(),
        }
    }

    /// Packets sent since an earlier moment.
    pub(crate) fn packets_since(self, earlier: Moment) -> u64 {
        self.packets - earlier.packets
    }

    /// Packets a second since an earlier moment.
    pub(crate) fn rate_since(self, earlier: Moment) -> f64 {
        rate(self.packets_since(earlier), self.time - earlier.time)
    }
}

/// Packets a second; 0 if no time has passed.
pub(crate) fn rate(packets: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        packets as f64 / time.as_secs_f64()
    }
}

/// Packets sent by all threads.
pub(crate) fn total(sent: &[Sent]) -> u64 {
    sent.iter().map(|sent| sent.packets).sum()
}

/// How often each verdict came, by its name.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Verdicts(JsonMap<String, serde_json::Value>);

impl Verdicts {
    pub(crate) fn of(sent: &[Sent]) -> Verdicts {
        let counts = ACTIONS.map(|action| {
            let count: u64 = sent.iter().map(|sent| sent.verdicts[action as usize]).sum();
            (action.name().to_owned(), count.into())
        });
        Verdicts(counts.into_iter().collect())
    }
}

impl std::fmt::Display for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut comma = "";
        for (name, count) in self.0.iter().filter(|(_, count)| **count != 0) {
            write!(f, "{comma}{name} {count}")?;
            comma = ", ";
        }
        Ok(())
    }
}
