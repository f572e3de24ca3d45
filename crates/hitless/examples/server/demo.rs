//! Requests of several clients, and a new version of the plugin in the middle of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hitless::Object;
use hitless::upgrade::Report;

use super::filter::{Counts, Filter};
use super::http::{Client, Server};

/// What came of it.
pub struct Outcome {
    /// The answers that the clients got, by status.
    pub answers: BTreeMap<u16, u64>,
    /// How many they had got when the new version began to be loaded, and how many when it was in effect.
    pub during: (u64, u64),
    /// What the plugin has counted.
    pub counts: Counts,
    /// What the upgrade did.
    pub report: Report,
}

/// Serves so many clients, and replaces the plugin once they have sent `before` requests. They go on until `after` more
/// have been answered behind that.
pub fn run(old: &Object, new: &Object, clients: u32, before: u64, after: u64) -> Result<Outcome, Box<dyn Error>> {
    let filter = Arc::new(Filter::new(old)?);
    let server = Server::start("127.0.0.1:0", clients as usize, &filter)?;
    let address = server.address();
    let answered = AtomicU64::new(0);
    // As many as have to be answered in the end; not known before the plugin is replaced.
    let goal = AtomicU64::new(u64::MAX);
    let (during, report, answers) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let (answered, goal) = (&answered, &goal);
                scope.spawn(move || ask(address, number, answered, goal))
            })
            .collect();
        while answered.load(Ordering::Relaxed) < before && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::yield_now();
        }
        let begun = answered.load(Ordering::Relaxed);
        let report = filter.replace(new);
        let done = answered.load(Ordering::Relaxed);
        goal.store(done + after, Ordering::Relaxed);
        let mut answers = BTreeMap::new();
        for thread in threads {
            for (status, count) in thread.join().map_err(|_| "a client panicked")?? {
                *answers.entry(status).or_default() += count;
            }
        }
        Ok::<_, Box<dyn Error>>(((begun, done), report?, answers))
    })?;
    server.stop();
    Ok(Outcome {
        answers,
        during,
        counts: filter.counts()?,
        report,
    })
}

/// Asks until as many requests as are the goal have been answered.
fn ask(address: SocketAddr, number: u32, answered: &AtomicU64, goal: &AtomicU64) -> io::Result<BTreeMap<u16, u64>> {
    const PATHS: [&str; 4] = ["/", "/index.html", "/admin/users", "/a"];
    let mut client = Client::connect(address, number)?;
    let mut answers = BTreeMap::new();
    for path in PATHS.iter().cycle() {
        *answers.entry(client.get(path)?).or_default() += 1;
        answered.fetch_add(1, Ordering::Relaxed);
        if answered.load(Ordering::Relaxed) >= goal.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(answers)
}
