//! The host of docs/embedding.md.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, bail};
use hitless::context::Bytes;
use hitless::maps::HashMap;
use hitless::upgrade::Options;
use hitless::{Collection, Ctx, Hook, Object, Runtime, Value};

/// What plugins are told of a message.
#[derive(Ctx)]
#[repr(C)]
struct Message<'a> {
    sender: u32,
    #[hitless(writable)]
    priority: u32,
    text: Bytes<'a>,
}

/// What the plugin keeps of each sender.
#[derive(Clone, Copy, Debug, Value)]
#[repr(C)]
struct Sender {
    messages: u32,
    shouted: u32,
}

/// What its new version keeps.
#[derive(Clone, Copy, Debug, Value)]
#[repr(C)]
#[hitless(name = "sender")]
struct NewSender {
    bytes: u64,
    shouts: u64,
    messages: u64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["header"] => header(),
        ["types"] => types(),
        ["run", plugin] => run(plugin),
        ["replace", old, new] => replace(old, new),
        _ => bail!("expected header, types, run PLUGIN or replace OLD NEW"),
    }
}

/// Writes the header that plugins are compiled with.
fn header() -> Result<()> {
    let runtime = Runtime::default();
    let _hook = runtime.hook::<Message>("message");
    print!("{}", runtime.header("MESSAGE_H")?);
    Ok(())
}

/// Writes what plugins can be verified by without this program.
fn types() -> Result<()> {
    let runtime = Runtime::default();
    let _hook = runtime.hook::<Message>("message");
    Ok(std::io::stdout().write_all(&runtime.btf().btf().to_bytes())?)
}

/// Runs a plugin on some messages.
fn run(plugin: &str) -> Result<()> {
    let runtime = Runtime::default();
    // The hook first: plugins are verified against what it passes.
    let hook = runtime.hook::<Message>("message");
    let mut object = Object::open(plugin)?;
    object.set_global("limit", 2u32)?;
    let plugin = object.load(&runtime)?;
    let program = plugin.program("count").context("no program count")?;
    // Attached until this is dropped.
    let _link = runtime.attach(&hook, program)?;

    send(&hook, 7, "hello")?;
    send(&hook, 7, "HELLO?")?;
    send(&hook, 7, "is anybody there")?;
    send(&hook, 8, "no")?;
    show(&plugin)
}

/// Replaces a running plugin by a new version.
fn replace(old: &str, new: &str) -> Result<()> {
    let runtime = Runtime::default();
    let hook = runtime.hook::<Message>("message");
    let plugin = Object::open(old)?.load(&runtime)?;
    let program = plugin.program("count").context("no program count")?;
    let _link = runtime.attach(&hook, program)?;
    send(&hook, 7, "HELLO?")?;

    // Other threads may go on sending: no message is lost in the counts.
    let new = Object::open(new)?;
    let upgrade = new.upgrade(&runtime, &plugin, Options::default());
    let (plugin, report) = upgrade.run(&mut |_progress| {})?;
    for map in &report.maps {
        println!("{}: {}: {}", map.plan.name, map.plan.action, map.plan.reason);
    }

    send(&hook, 7, "hello")?;
    show(&plugin)
}

/// Asks the plugins what becomes of a message.
fn send(hook: &Hook<Message<'static>>, sender: u32, text: &str) -> Result<()> {
    let mut message = Message {
        sender,
        priority: 0,
        text: Bytes::new(text.as_bytes()),
    };
    let verdict = hook.run(&mut message)?;
    let fate = if verdict == 0 { "delivered" } else { "dropped" };
    println!("{sender} says {text:?}: {fate}, priority {}", message.priority);
    Ok(())
}

/// Prints what a plugin has counted.
fn show(plugin: &Collection) -> Result<()> {
    match plugin.get::<HashMap<u32, Sender>>("senders") {
        Ok(senders) => print_all(senders.iter().collect::<Result<BTreeMap<_, _>, _>>()?),
        Err(error) => {
            println!("not the old version: {error}");
            let senders = plugin.get::<HashMap<u32, NewSender>>("senders")?;
            print_all(senders.iter().collect::<Result<BTreeMap<_, _>, _>>()?);
        }
    }
    println!("dropped: {}", plugin.global::<u64>("dropped")?.get()?);
    Ok(())
}

fn print_all(senders: BTreeMap<u32, impl std::fmt::Debug>) {
    for (sender, counts) in senders {
        println!("{sender}: {counts:?}");
    }
}
