//! A runtime with an object's programs attached.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use hitless::{Collection, Hook, Link, LoadOptions, Options, Program, ProgramType, Runtime};
use hitless_object::{ObjectSpec, SectionKind};

use crate::args::TrafficArgs;

/// The largest object file and the largest capture that are read.
const MAX_OBJECT: u64 = 256 << 20;
const MAX_CAPTURE: u64 = 4 << 30;

/// How `/proc/config.gz` starts.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A loaded object, attached as long as this lives.
pub(crate) struct Host {
    pub(crate) runtime: Runtime,
    pub(crate) hook: Hook,
    pub(crate) collection: Collection,
    /// Dropped first to last: the program leaves the hook before the tracers leave their maps.
    _links: Vec<Link>,
}

impl Host {
    /// Loads an object into a runtime of its own, and attaches one XDP program to the hook and every map tracing program to
    /// its map.
    pub(crate) fn start(path: &Path, spec: &ObjectSpec, args: &TrafficArgs, options: &LoadOptions) -> Result<Host> {
        let runtime = Runtime::new(Options::default());
        let collection = runtime.load_with(spec, options).with_context(|| cannot_load(path))?;
        let hook = runtime.hook(args.hook.as_str());
        let program = choose(&collection, args.prog.as_deref()).with_context(|| path.display().to_string())?;
        let mut links = vec![
            runtime
                .attach(&hook, program)
                .with_context(|| format!("cannot attach program {} to hook {}", program.name(), hook.name()))?,
        ];
        for program in collection.programs() {
            if let SectionKind::MapTrace { map, .. } = SectionKind::of(program.section()) {
                let context = || format!("cannot attach program {} to map {map}", program.name());
                let map = collection
                    .map(map)
                    .ok_or_else(|| anyhow!("no such map"))
                    .with_context(context)?;
                links.push(runtime.trace_map(map, program).with_context(context)?);
            }
        }
        Ok(Host {
            runtime,
            hook,
            collection,
            _links: links,
        })
    }
}

/// The program to attach: the one with this name, else the only XDP program.
fn choose<'a>(collection: &'a Collection, name: Option<&str>) -> Result<&'a std::sync::Arc<Program>> {
    let xdp = || {
        let programs = collection.programs().iter();
        programs.filter(|program| *program.program_type() == ProgramType::XDP)
    };
    let names = || xdp().map(|program| program.name()).collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        return xdp()
            .find(|program| program.name() == name)
            .ok_or_else(|| anyhow!("no XDP program {name}, expected one of: {}", names()));
    }
    match (xdp().next(), xdp().count()) {
        (Some(program), 1) => Ok(program),
        (None, _) => bail!("no XDP program, expected at least 1"),
        (_, count) => bail!("{count} XDP programs, expected 1 or --prog with one of: {}", names()),
    }
}

pub(crate) fn cannot_load(path: &Path) -> String {
    format!("cannot load {}", path.display())
}

/// Reads and parses an object file.
pub(crate) fn read_object(path: &Path) -> Result<ObjectSpec> {
    let bytes = read_object_bytes(path)?;
    ObjectSpec::parse(&bytes).with_context(|| cannot_load(path))
}

/// Reads an object file without looking into it.
pub(crate) fn read_object_bytes(path: &Path) -> Result<Vec<u8>> {
    read_file(path, MAX_OBJECT)
}

/// Reads a file of text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = read_object_bytes(path)?;
    if bytes.starts_with(GZIP_MAGIC) {
        bail!(
            "cannot read {}: compressed with gzip, expected text: decompress it first",
            path.display()
        );
    }
    String::from_utf8(bytes).with_context(|| format!("cannot read {}: not text", path.display()))
}

/// Reads a capture; see [`crate::pcap::parse`].
pub(crate) fn read_capture(path: &Path) -> Result<Vec<u8>> {
    read_file(path, MAX_CAPTURE)
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > limit {
        bail!(
            "cannot read {}: more than {limit} bytes, the most that are supported",
            path.display()
        );
    }
    Ok(bytes)
}
