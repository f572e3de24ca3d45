//! Programs on one of the engines.

use std::sync::Arc;

use hitless::{
    Changes, Collection, Engine, LoadError, LoadOptions, Map, Options, Program, Runtime, TestRun, UpdateFlags,
};
use hitless_isa::Insn;
use hitless_object::{CalledKfunc, MapSpec, ObjectSpec, ProgramSpec};

use super::generate::MAPS;
use super::{Element, KEYS, Machine, Outcome, Scene, Sort, btf, is_compared, written};

/// The checked interpreter.
pub const CHECKED: u8 = 0;
/// Native code.
pub const COMPILED: u8 = 1;
/// Native code, with the maps traced.
pub const TRACED: u8 = 2;

/// `BPF_F_RDONLY_PROG`.
const F_RDONLY_PROG: u32 = 1 << 7;
/// What the constants are: as in the verifier's cases.
pub const CONSTANTS: [u8; 16] = [0, 1, 2, 3, 0x7f, 0x80, 0xff, 5, 0, 0, 0, 9, 0, 0, 0, 1];

/// An engine with maps and programs.
pub struct Ours<const ENGINE: u8> {
    runtime: Runtime,
    maps: Vec<Arc<Map>>,
    programs: Vec<Arc<Program>>,
    /// Keeps the maps.
    _object: Collection,
    /// Who traces.
    _feeds: Vec<Changes>,
}

fn spec(programs: Vec<ProgramSpec>) -> ObjectSpec {
    let maps = MAPS.iter().map(|&(name, map_type, value_size, max_entries)| MapSpec {
        name: name.into(),
        map_type,
        key_size: 4,
        value_size,
        max_entries,
        flags: if name == "c" { F_RDONLY_PROG } else { 0 },
        frozen: name == "c",
        data: (name == "c").then(|| CONSTANTS.to_vec()),
        ..MapSpec::default()
    });
    ObjectSpec {
        license: "GPL".into(),
        maps: maps.collect(),
        programs,
        ..ObjectSpec::default()
    }
}

fn kfuncs() -> Vec<CalledKfunc> {
    let names = ["bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"];
    let kfunc = |name: &str| CalledKfunc {
        id: btf::kfunc_id(name),
        name: name.into(),
    };
    names.map(kfunc).to_vec()
}

impl<const ENGINE: u8> Machine for Ours<ENGINE> {
    fn new(scene: &Scene) -> Ours<ENGINE> {
        let runtime = Runtime::new(Options {
            engine: if ENGINE == CHECKED {
                Engine::Interpreter
            } else {
                Engine::Compiler
            },
            slots: Some(2),
            ..Options::default()
        });
        let object = runtime.load(&spec(Vec::new())).expect("there are such maps");
        let maps: Vec<_> = object.maps().iter().map(|map| Arc::clone(map)).collect();
        for (map, key, value) in &scene.content {
            let put = maps[*map].update(&key.to_ne_bytes(), value, UpdateFlags::ANY);
            put.expect("it fits");
        }
        let traced = maps
            .iter()
            .filter(|map| ENGINE == TRACED && matches!(map.name(), "m" | "a" | "h" | "p"));
        let feeds = traced.map(|map| map.changes(1 << 16).expect("it can be traced"));
        Ours {
            _feeds: feeds.collect(),
            runtime,
            maps,
            programs: Vec::new(),
            _object: object,
        }
    }

    fn load(&mut self, sort: Sort, insns: &[Insn]) -> bool {
        let program = ProgramSpec {
            name: format!("p{}", self.programs.len()),
            section: sort.section().into(),
            insns: insns.to_vec(),
            kfuncs: kfuncs(),
            ..ProgramSpec::default()
        };
        let mut options = LoadOptions::new();
        for map in &self.maps {
            options = options.replace_map(map.name(), map);
        }
        let loaded = match self.runtime.load_with(&spec(vec![program]), &options) {
            Ok(loaded) => loaded,
            Err(LoadError::Rejected { .. }) => return false,
            Err(other) => {
                let text = hitless_isa::disasm::listing(insns, &hitless_isa::disasm::no_names);
                panic!("{other:?}\n{text}")
            }
        };
        let program = &loaded.programs()[0];
        if sort != Sort::Syscall {
            let jumps = self.maps.last().expect("there are maps");
            let put = jumps.insert_program(self.programs.len() as u32, program);
            put.expect("it fits");
        }
        self.programs.push(Arc::clone(program));
        true
    }

    fn run(&mut self, program: usize, sort: Sort, packet: &[u8]) -> Outcome {
        let run = TestRun {
            data_in: packet,
            repeat: u32::from(sort.has_packet()),
            ..TestRun::default()
        };
        let program = &self.programs[program];
        let result = self.runtime.test_run(program, &run);
        let result = result.unwrap_or_else(|error| panic!("{error}: {:?}", program.failed_check()));
        let maps = (0..self.maps.len()).filter(|map| is_compared(*map));
        let elements = maps.flat_map(|map| (0..KEYS).map(move |key| (map, key)));
        let element = |(map, key): (usize, u32)| -> Option<Element> {
            let value = self.maps[map].lookup(&key.to_ne_bytes()).ok()??;
            Some((map, key, written(map, value)))
        };
        Outcome {
            result: result.retval,
            packet: result.data_out,
            maps: elements.filter_map(element).collect(),
        }
    }
}
