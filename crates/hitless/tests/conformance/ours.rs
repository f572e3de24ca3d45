//! Maps of hitless.

use std::collections::HashMap;
use std::sync::Arc;

use hitless::{
    BatchCursor, LoadOptions, Map, MapDef, MapError, MapHandle, MapKind, Options, Program, Runtime, TestRun,
    UpdateFlags,
};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

use super::calls::{Call, Maps, Outcome, fitting, foreign};
use super::kernel::possible_cpus;
use super::programs::{Op, Runs};

/// A map of hitless, and what can be put into it: two that fit, one that does not.
pub struct OurMap {
    map: MapHandle,
    maps: Vec<MapHandle>,
    programs: Vec<Arc<Program>>,
    /// The programs that use it.
    users: HashMap<Op, Arc<Program>>,
    runtime: Runtime,
}

/// An object of a program and perhaps a map.
fn object(section: &str, text: &str, map: Option<MapSpec>) -> ObjectSpec {
    let program = ProgramSpec {
        name: "program".into(),
        section: section.into(),
        insns: hitless_isa::asm::assemble(text).expect("assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "GPL".into(),
        maps: map.into_iter().collect(),
        programs: vec![program],
        ..ObjectSpec::default()
    }
}

/// A program of a section that does nothing.
fn load(runtime: &Runtime, section: &str) -> Arc<Program> {
    let object = object(section, "r0 = 0\nexit", None);
    let loaded = runtime.load(&object).expect("the program loads");
    Arc::clone(&loaded.programs()[0])
}

fn spec(def: &MapDef) -> MapSpec {
    MapSpec {
        name: def.name.clone(),
        map_type: def.kind.number(),
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: def.flags.bits(),
        map_extra: def.map_extra,
        inner: def.inner.as_deref().map(|inner| Box::new(spec(inner))),
        ..MapSpec::default()
    }
}

impl Runs for OurMap {
    fn run(&mut self, op: Op, packet: &[u8]) -> Result<Vec<u8>, String> {
        if !self.users.contains_key(&op) {
            let def = self.map.def();
            let object = object("tc", &op.program(def), Some(spec(def)));
            let options = LoadOptions::new().replace_map(def.name.clone(), &self.map);
            let loaded = self.runtime.load_with(&object, &options);
            let loaded = loaded.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
            self.users.insert(op, Arc::clone(&loaded.programs()[0]));
        }
        let run = TestRun {
            data_in: packet,
            ..TestRun::default()
        };
        let result = self.runtime.test_run(&self.users[&op], &run);
        result.map(|result| result.data_out).map_err(|error| error.to_string())
    }
}

impl Maps for OurMap {
    fn make(def: &MapDef) -> Result<OurMap, i32> {
        let runtime = Runtime::new(Options {
            slots: Some(possible_cpus()),
            ..Options::default()
        });
        let map = runtime.create_map(def.clone()).map_err(|error| error.errno())?;
        let defs = def
            .inner
            .iter()
            .flat_map(|inner| [fitting(inner), fitting(inner), foreign(inner)]);
        let maps = defs.filter_map(|def| runtime.create_map(def).ok()).collect();
        let programs = match def.kind {
            MapKind::ProgArray => ["socket", "socket", "tc"].map(|section| load(&runtime, section)).into(),
            _ => Vec::new(),
        };
        Ok(OurMap {
            map,
            maps,
            programs,
            users: HashMap::new(),
            runtime,
        })
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let map: &Map = &self.map;
        let found = |result: Result<Option<Vec<u8>>, MapError>| match result {
            Ok(Some(value)) => Outcome {
                errno: 0,
                data: vec![self.name(value)],
            },
            Ok(None) => Outcome::of(libc::ENOENT),
            Err(error) => Outcome::of(error.errno()),
        };
        let done = |result: Result<(), MapError>| Outcome::of(result.map_or_else(|error| error.errno(), |()| 0));
        match call {
            Call::Lookup(key) => found(map.lookup(key)),
            Call::Contains(value) => match map.contains(value) {
                Ok(true) => Outcome::of(0),
                Ok(false) => Outcome::of(libc::ENOENT),
                Err(error) => Outcome::of(error.errno()),
            },
            Call::Update(key, value, flags) => done(map.update(key, value, UpdateFlags::from_bits(*flags))),
            Call::Insert(key, object, flags) => {
                let flags = UpdateFlags::from_bits(*flags);
                match self.programs.get(*object) {
                    Some(program) => {
                        let index = u32::from_ne_bytes(key[..].try_into().expect("four bytes"));
                        done(map.insert_program(index, program))
                    }
                    None => done(map.insert_map(key, &self.maps[*object], flags)),
                }
            }
            Call::Delete(key) => done(map.delete(key)),
            Call::Take(key) => found(map.lookup_and_delete(key)),
            Call::Next(key) => match map.next_key(key.as_deref()) {
                Ok(Some(_)) => Outcome::of(0),
                Ok(None) => Outcome::of(libc::ENOENT),
                Err(error) => Outcome::of(error.errno()),
            },
            Call::Freeze => done(map.freeze()),
            Call::Walk => self.walk(),
            Call::Batch { delete } => self.batch(*delete),
            Call::UpdateBatch(entries, flags) => {
                let all = entries.iter().map(|(key, value)| (&key[..], &value[..]));
                self.changed(entries.len(), map.update_batch(all, UpdateFlags::from_bits(*flags)))
            }
            Call::InsertBatch(entries) => {
                let all = entries.iter().map(|(key, object)| (&key[..], &*self.maps[*object]));
                self.changed(entries.len(), map.insert_maps(all))
            }
            Call::DeleteBatch(keys) => {
                let all = keys.iter().map(|key| &key[..]);
                self.changed(keys.len(), map.delete_batch(all))
            }
        }
    }
}

impl OurMap {
    /// A value, with the number of the object instead of its id.
    fn name(&self, value: Vec<u8>) -> Vec<u8> {
        let ids: Vec<u32> = match self.map.def().kind {
            MapKind::ProgArray => self.programs.iter().map(|program| program.id()).collect(),
            _ => self.maps.iter().map(|map| map.id()).collect(),
        };
        if ids.is_empty() {
            return value;
        }
        let id = u32::from_ne_bytes(value[..].try_into().expect("four bytes"));
        let object = ids.iter().position(|known| *known == id);
        vec![object.expect("one that was put in") as u8]
    }

    fn walk(&self) -> Outcome {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            match self.map.next_key(keys.last().map(|key| &key[..])) {
                Ok(Some(key)) => keys.push(key),
                Ok(None) => break,
                Err(error) => return Outcome::of(error.errno()),
            }
        }
        keys.sort();
        Outcome { errno: 0, data: keys }
    }

    fn batch(&self, delete: bool) -> Outcome {
        let mut data = Vec::new();
        let mut cursor = BatchCursor::default();
        while !cursor.is_done() {
            let found = if delete {
                self.map.lookup_and_delete_batch(&mut cursor, 3)
            } else {
                self.map.lookup_batch(&mut cursor, 3)
            };
            match found {
                Ok(entries) => data.extend(entries.into_iter().map(|(key, value)| [key, self.name(value)].concat())),
                Err(error) => return Outcome::of(error.errno()),
            }
        }
        data.sort();
        Outcome { errno: 0, data }
    }

    fn changed(&self, all: usize, result: Result<(), hitless::BatchError>) -> Outcome {
        match result {
            Ok(()) => Outcome::of_batch(0, all as u32),
            Err(error) => Outcome::of_batch(error.source.errno(), error.done as u32),
        }
    }
}
