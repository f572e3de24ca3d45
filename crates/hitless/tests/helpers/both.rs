//! A program in both places.

use std::collections::BTreeMap;
use std::path::Path;

use hitless::context::{Context, PacketBuf, SkBuff, Tc, TcAction};
use hitless::{Collection, Engine, Options, Packet, Runtime, UpdateFlags, Xdp};
use hitless_btf::Type;
use hitless_object::ObjectSpec;

use crate::common::committed;
use crate::oracle::Oracle;

/// What the kernel has before and behind packets that XDP programs are tested with: of a page, but for what it keeps there itself.
const XDP_HEADROOM: usize = 256 - 40;
const XDP_ROOM: usize = 4096 - 256 - 320;

/// Size of `struct __sk_buff`, and where its scratch space is.
const SK_BUFF: usize = 192;
const CB: usize = 48;

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

    /// Runs an XDP program on a packet, with as much room around it as in the kernel.
    pub fn run(&self, program: &str, packet: &[u8]) -> Result {
        let room = PacketBuf::copy_of(packet, XDP_HEADROOM, XDP_ROOM - packet.len());
        let mut packet = Packet::from(room);
        let action = self.run_at::<Xdp>(program, &mut packet);
        // The kernel hands out the metadata, too.
        let bytes = [packet.buf.metadata(), packet.buf.data()].concat();
        self.result(action as u32, bytes)
    }

    /// Runs a program of traffic control on a packet. Scratch space says what it is to do.
    pub fn run_tc(&self, program: &str, packet: &[u8], scratch: [u32; 5]) -> Result {
        let mut skb = SkBuff::from(PacketBuf::copy_of(packet, 1 << 15, 1 << 15));
        let fields = skb.fields_mut();
        fields.cb = scratch;
        fields.protocol = u16::from_ne_bytes([packet[12], packet[13]]).into();
        let value = match self.run_at::<Tc>(program, &mut skb) {
            TcAction::Ok => 0,
            TcAction::Shot => 2,
            TcAction::Redirect => 7,
            TcAction::Unspec => u32::MAX,
        };
        self.result(value, skb.buf.data().to_vec())
    }

    /// Runs a program once, at a hook of its own.
    pub fn run_at<C: Context>(&self, program: &str, input: &mut C::Input<'_>) -> C::Verdict {
        let hook = self.runtime.hook::<C>("test");
        let program = self.object.program(program).expect("such a program");
        let link = self.runtime.attach(&hook, program).expect("it attaches");
        let verdict = hook.run(input).expect("it runs");
        link.detach().expect("it detaches");
        verdict
    }

    /// What the global data is now.
    pub fn look(&self) -> Result {
        self.result(0, Vec::new())
    }

    /// Takes the records of a ring buffer.
    pub fn drain(&self, map: &str) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let ring = self.object.map(map).expect("such a map");
        ring.read_records(usize::MAX, |record| records.push(record.to_vec()))
            .expect("a ring buffer");
        records
    }

    fn result(&self, value: u32, packet: Vec<u8>) -> Result {
        let data = self.object.map(".bss");
        let data = data.map(|map| map.lookup(&[0; 4]).expect("it is read"));
        self.result_of(value, packet, data.flatten())
    }

    fn result_of(&self, value: u32, packet: Vec<u8>, data: Option<Vec<u8>>) -> Result {
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
        let there = self.run_there(program, packet, &[]);
        let here = self.here.each_ref().map(|here| here.run(program, packet));
        (here, there)
    }

    fn run_there(&mut self, program: &str, packet: &[u8], context: &[u8]) -> Result {
        let outcome = self.there.run(program, packet, context);
        assert_eq!(outcome.errno, 0, "{program} does not run in the kernel");
        let data = self.there.lookup(".bss", &[0; 4]);
        self.here[0].result_of(outcome.result, outcome.data, data)
    }

    /// Runs a program on a packet everywhere; it must come to the same. Returns what that is.
    pub fn agree(&mut self, program: &str, packet: &[u8]) -> Result {
        let (here, there) = self.run(program, packet);
        compare(&format!("{program} on {}", packet.escape_ascii()), &here, &there);
        there
    }

    /// Updates an element everywhere.
    pub fn update(&mut self, map: &str, key: &[u8], value: &[u8]) {
        assert_eq!(self.there.update(map, key, value), 0, "{map}");
        for here in &self.here {
            let map = here.object.map(map).expect("such a map");
            map.update(key, value, UpdateFlags::ANY).expect("it is updated");
        }
    }

    /// Takes the records of a ring buffer everywhere; they must be the same.
    pub fn drain(&mut self, map: &str) {
        let there = self.there.drain(map);
        for here in &self.here {
            assert_eq!(here.drain(map), there, "{map}");
        }
    }

    /// The same of a program of traffic control.
    pub fn agree_tc(&mut self, program: &str, packet: &[u8], scratch: [u32; 5]) -> Result {
        let mut context = [0; SK_BUFF];
        for (to, word) in context[CB..].chunks_mut(4).zip(scratch) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        let there = self.run_there(program, packet, &context);
        let here = self.here.each_ref().map(|here| here.run_tc(program, packet, scratch));
        compare(
            &format!("{program} {scratch:x?} on {}", packet.escape_ascii()),
            &here,
            &there,
        );
        there
    }
}

/// Every byte that a program leaves is the same.
fn compare(what: &str, here: &[Result], there: &Result) {
    for (here, engine) in here.iter().zip(["compiled", "interpreted"]) {
        let by = format!("{engine}: {what}");
        assert_eq!((here.value, here.answers()), (there.value, there.answers()), "{by}");
        for name in there.variables.keys() {
            let [here, there] = [here, there].map(|result| result.bytes(name).escape_ascii().to_string());
            assert_eq!(here, there, "{name}: {by}");
        }
        let [here, there] = [here, there].map(|result| result.packet.escape_ascii().to_string());
        assert_eq!(here, there, "{by}");
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
