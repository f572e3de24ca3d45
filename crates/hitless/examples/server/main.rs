//! An HTTP server whose request filter is a BPF plugin, and a new version of the plugin while requests flow.
//!
//! ```sh
//! cargo run -p hitless --example server                   # several clients, and an upgrade in the middle
//! cargo run -p hitless --example server 127.0.0.1:8080    # serves; a line with the name of an object replaces the plugin
//! cargo run -p hitless --example server header            # the header for plugins
//! ```
//!
//! `filter.rs` is what a host does with hitless; `http.rs` is a server, `demo.rs` its clients.

pub mod demo;
pub mod filter;
pub mod http;

use std::error::Error;
use std::sync::Arc;

use hitless::{Object, Runtime};

use filter::{Filter, Request};
use http::Server;

const OLD: &str = "bpf/filter_v1.bpf.o";
const NEW: &str = "bpf/filter_v2.bpf.o";

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => upgrade_under_load(),
        Some("header") => {
            let runtime = Runtime::default();
            let _hook = runtime.hook::<Request<'static>>("request");
            print!("{}", runtime.header("SERVER_H")?);
            Ok(())
        }
        Some(address) => serve(address),
    }
}

fn plugin(path: &str, limit: u32) -> Result<Object, Box<dyn Error>> {
    let mut object = Object::open(path)?;
    object.set_global("limit", limit)?;
    Ok(object)
}

fn upgrade_under_load() -> Result<(), Box<dyn Error>> {
    let outcome = demo::run(&plugin(OLD, 1000)?, &plugin(NEW, 1000)?, 4, 20_000, 20_000)?;
    let (begun, done) = outcome.during;
    println!("{} requests were answered while the plugin was replaced", done - begun);
    println!("the longest pause was {:?}", outcome.report.longest_pause());
    println!("answers by status, as the clients counted them: {:?}", outcome.answers);
    let counts = outcome.counts;
    println!(
        "as the plugins counted them: {} served, {} denied, {} refused of {}",
        counts.served(),
        counts.denied,
        counts.refused(),
        counts.requests
    );
    let sent: u64 = outcome.answers.values().sum();
    println!("lost: {}", sent - counts.served() - counts.denied - counts.refused());
    Ok(())
}

fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let filter = Arc::new(Filter::new(&plugin(OLD, 10)?)?);
    let server = Server::start(address, 4, &filter)?;
    println!("http://{} with {OLD}; type {NEW} to replace it", server.address());
    for line in std::io::stdin().lines() {
        let replaced = plugin(line?.trim(), 10).and_then(|object| filter.replace(&object));
        match replaced {
            Ok(report) => println!("replaced; requests waited for at most {:?}", report.longest_pause()),
            Err(error) => println!("refused: {error}"),
        }
        println!("{:?}", filter.counts()?);
    }
    server.join();
    Ok(())
}
