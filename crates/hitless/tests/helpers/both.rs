//! A program in both places.

use std::collections::BTreeMap;
use std::path::Path;

use hitless::{Collection, Engine, Options, Packet, Runtime, Xdp};
use hitless_btf::Type;
use hitless_object::ObjectSpec;

use crate::common::committed;
use crate::oracle::Oracle;

/// An object that was loaded here, for each engine.
pub struct Here {
    pub runtime: Runtime,
    pub object: Collection,
    spec: ObjectSpec,
}

/// What a program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Result {
    pub value: u32,
    pub packet: Vec<u8>,
    /// Global data that starts as zeros.
    data: Vec<u8>,
    /// Where variables lie in it, and their sizes.
    variables: BTreeMap<String, (usize, usize)>,
}

impl Here {
    /// One that runs its programs by this engine.
    pub fn load(name: &str, engine: Engine) -> Here {
        let spec = committed(name);
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let object = runtime.load(&spec).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        Here { runtime, object, spec }
    }

    /// Runs an XDP program on a packet.
    pub fn run(&self, program: &str, packet: &[u8]) -> Result {
        let hook = self.runtime.hook::<Xdp>("xdp");
        let program = self.object.program(program).expect("such a program");
        let link = self.runtime.attach(&hook, program).expect("it attaches");
        let mut bytes = packet.to_vec();
        let action = hook.run(&mut Packet::new(&mut bytes)).expect("it runs");
        link.detach().expect("it detaches");
        let data = self
            .object
            .map(".bss")
            .map(|map| map.lookup(&[0; 4]).expect("it is read"));
        self.result(action as u32, bytes, data.flatten())
    }

    fn result(&self, value: u32, packet: Vec<u8>, data: Option<Vec<u8>>) -> Result {
        Result {
            value,
            packet,
            data: data.unwrap_or_default(),
            variables: variables(&self.spec),
        }
    }
}

impl Result {
    /// The bytes of a global variable.
    pub fn bytes(&self, name: &str) -> &[u8] {
        let (off, size) = self.variables[name];
        &self.data[off..off + size]
    }

    /// What helpers returned, in the order of the program.
    pub fn answers(&self) -> Vec<i64> {
        let (words, _) = self.bytes("answers").as_chunks();
        words.iter().map(|word| i64::from_ne_bytes(*word)).collect()
    }
}

/// The same object here, by both engines, and in the kernel.
pub struct Both {
    here: [Here; 2],
    there: Oracle,
}

impl Both {
    /// `None` where the kernel cannot be asked.
    pub fn load(name: &str) -> Option<Both> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../bpf/{name}.bpf.o"));
        let there = Oracle::load(&path)?;
        let here = [Engine::Compiler, Engine::Interpreter].map(|engine| Here::load(name, engine));
        Some(Both { here, there })
    }

    /// Runs a program on a packet everywhere. Returns what it came to here, by each engine, and what in the kernel.
    pub fn run(&mut self, program: &str, packet: &[u8]) -> ([Result; 2], Result) {
        let outcome = self.there.run(program, packet, &[]);
        assert_eq!(outcome.errno, 0, "{program} does not run in the kernel");
        let data = self.there.lookup(".bss", &[0; 4]);
        let there = self.here[0].result(outcome.result, outcome.data, data);
        let here = self.here.each_ref().map(|here| here.run(program, packet));
        (here, there)
    }

    /// Runs a program on a packet everywhere; it must come to the same. Returns what that is.
    pub fn agree(&mut self, program: &str, packet: &[u8]) -> Result {
        let (here, there) = self.run(program, packet);
        for (here, engine) in here.iter().zip(["compiled", "interpreted"]) {
            let by = format!("{program}, {engine}, on {}", packet.escape_ascii());
            assert_eq!((here.value, here.answers()), (there.value, there.answers()), "{by}");
            for name in there.variables.keys() {
                let [here, there] = [here, &there].map(|result| result.bytes(name).escape_ascii().to_string());
                assert_eq!(here, there, "{name}: {by}");
            }
            assert_eq!(here.packet, there.packet, "{by}");
        }
        there
    }
}

/// Where global variables that start as zeros are, and their sizes.
fn variables(spec: &ObjectSpec) -> BTreeMap<String, (usize, usize)> {
    let btf = spec.btf.as_ref().expect("types");
    let (_, section) = btf.datasec(".bss").expect("global data");
    let variable = |var: &hitless_btf::DatasecVar| match btf.get(var.ty) {
        Some(Type::Var(found)) => Some((found.name.to_string(), (var.offset as usize, var.size as usize))),
        _ => None,
    };
    section.vars.iter().filter_map(variable).collect()
}
