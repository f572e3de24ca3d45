//! The filter of requests: what the server and its plugin agree on, and how a plugin is put into effect.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use hitless::context::Bytes;
use hitless::maps::{GetMapError, HashMap};
use hitless::upgrade::{Options, Report};
use hitless::{Collection, Ctx, Hook, Link, Object, RunError, Runtime, Value};

/// What a plugin is told of a request: `struct request` in `bpf/server.h`, which is generated from this.
#[derive(Ctx)]
#[repr(C)]
pub struct Request<'a> {
    /// Who asks: the number in the header `X-Client`, 0 without one.
    pub client: u32,
    /// 1 if the client may do everything.
    pub trusted: u32,
    /// When it came, in nanoseconds since the server began.
    pub now_ns: u64,
    /// What it asks for.
    pub path: Bytes<'a>,
}

/// A client's element in the first version of the plugin.
#[derive(Clone, Copy, Value)]
#[repr(C)]
#[hitless(name = "client")]
struct ClientV1 {
    served: u32,
    refused: u32,
    window: u64,
    in_window: u64,
}

/// The same in the second version.
#[derive(Clone, Copy, Value)]
#[repr(C)]
#[hitless(name = "client")]
struct ClientV2 {
    path_bytes: u64,
    window: u64,
    in_window: u64,
    refused: u64,
    passed: u64,
}

/// What the plugin has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests in all.
    pub requests: u64,
    /// Those that were kept out of `/admin`.
    pub denied: u64,
    /// Those of clients that there was no element for.
    pub uncounted: u64,
    /// For each client, how many were served, and how many were refused because there were too many.
    pub clients: BTreeMap<u32, (u64, u64)>,
}

impl Counts {
    /// How many requests were served.
    pub fn served(&self) -> u64 {
        self.clients.values().map(|(served, _)| served).sum()
    }

    /// How many requests were refused because there were too many.
    pub fn refused(&self) -> u64 {
        self.clients.values().map(|(_, refused)| refused).sum()
    }
}

/// The hook `request`, and the plugin that is attached to it.
pub struct Filter {
    runtime: Runtime,
    hook: Hook<Request<'static>>,
    plugin: Mutex<Collection>,
    /// Detaches the plugin when it is dropped.
    _link: Link,
}

impl Filter {
    /// Loads a plugin and attaches it.
    pub fn new(object: &Object) -> Result<Filter, Box<dyn Error>> {
        let runtime = Runtime::default();
        // Before plugins are loaded: the hook says what they are given.
        let hook = runtime.hook::<Request<'static>>("request");
        let plugin = object.load(&runtime)?;
        let program = plugin.program("filter").ok_or("the plugin has no program filter")?;
        let link = runtime.attach(&hook, program)?;
        Ok(Filter {
            runtime,
            hook,
            plugin: Mutex::new(plugin),
            _link: link,
        })
    }

    /// What becomes of a request: an HTTP status, or 0 if nothing speaks against it. Called by all threads.
    pub fn decide(&self, request: &mut Request<'_>) -> Result<i32, RunError> {
        self.hook.run(request)
    }

    /// Replaces the plugin while requests are decided. Its maps move to the new layout, with all that was counted.
    pub fn replace(&self, object: &Object) -> Result<Report, Box<dyn Error>> {
        let mut plugin = self.plugin.lock().unwrap_or_else(PoisonError::into_inner);
        let upgrade = object.upgrade(&self.runtime, &plugin, Options::default());
        let (new, report) = upgrade.run(&mut |_progress| {})?;
        *plugin = new;
        Ok(report)
    }

    /// What the plugin has counted, whichever version it is.
    pub fn counts(&self) -> Result<Counts, Box<dyn Error>> {
        let plugin = self.plugin.lock().unwrap_or_else(PoisonError::into_inner);
        let global = |name: &str| -> Result<u64, Box<dyn Error>> { Ok(plugin.global::<u64>(name)?.get()?) };
        let clients = match plugin.get::<HashMap<u32, ClientV2>>("clients") {
            Ok(map) => map
                .iter()
                .map(|entry| entry.map(|(id, client)| (id, (client.passed, client.refused))))
                .collect::<Result<_, _>>()?,
            // Its fields are elsewhere: it is the first version.
            Err(GetMapError::Type(_)) => plugin
                .get::<HashMap<u32, ClientV1>>("clients")?
                .iter()
                .map(|entry| entry.map(|(id, client)| (id, (client.served.into(), client.refused.into()))))
                .collect::<Result<_, _>>()?,
            Err(error) => return Err(error.into()),
        };
        Ok(Counts {
            requests: global("requests")?,
            denied: global("denied")?,
            uncounted: global("uncounted")?,
            clients,
        })
    }
}
