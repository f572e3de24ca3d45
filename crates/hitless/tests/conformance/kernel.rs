//! Maps of the running kernel, through `bpf(2)`. Nothing is attached; everything goes when its descriptor is closed.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use hitless::{MapDef, MapKind};

use super::bpf::{self, Attr, bpf, bpf_fd};
use super::calls::{Call, Maps, Outcome, fitting, foreign};
use super::programs::{Op, Runs};

const MAP_CREATE: i32 = 0;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const PROG_TEST_RUN: i32 = 10;
/// Where `BPF_PROG_LOAD` is told of the maps that are named by index.
const FD_ARRAY: usize = 120;
const SOCKET_FILTER: u32 = 1;
const SCHED_CLS: u32 = 3;

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

/// Whether maps can be made and changed here, or else why not.
pub fn probe() -> Result<(), String> {
    let def = MapDef::new("probe", MapKind::Hash, 4, 4, 1);
    create(&def, None)
        .map(|_| ())
        .map_err(|error| format!("bpf(2) makes no maps here: {error}"))
}

/// How many CPUs there may ever be: as many values an element of a per-CPU map has.
pub fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok());
    last.map_or(1, |last: usize| last + 1)
}

fn create(def: &MapDef, inner: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let attr = Attr::new()
        .u32(0, def.kind.number())
        .u32(4, def.key_size)
        .u32(8, def.value_size)
        .u32(12, def.max_entries)
        .u32(16, def.flags.bits())
        .u32(20, inner.map_or(0, |fd| fd.as_raw_fd() as u32))
        .u64(64, def.map_extra);
    bpf_fd(MAP_CREATE, &mut { attr })
}

/// A program that does nothing.
fn load(program_type: u32) -> io::Result<OwnedFd> {
    let insns = hitless_isa::asm::assemble("r0 = 0\nexit").expect("assembles");
    bpf::load(program_type, &insns, Attr::new())
}

/// A map of the kernel's.
pub struct KernelMap {
    fd: OwnedFd,
    def: MapDef,
    value_size: usize,
    /// What can be put into it: two that fit, one that does not.
    objects: Vec<OwnedFd>,
    ids: Vec<u32>,
    /// The programs that use it.
    users: HashMap<Op, OwnedFd>,
}

impl Runs for KernelMap {
    fn run(&mut self, op: Op, packet: &[u8]) -> Result<Vec<u8>, String> {
        if !self.users.contains_key(&op) {
            let insns = hitless_isa::asm::assemble(&op.program(&self.def)).expect("assembles");
            let fds = self.fd.as_raw_fd().to_ne_bytes();
            let more = Attr::new().bytes(FD_ARRAY, &fds);
            let program = bpf::load(SCHED_CLS, &insns, more).map_err(|error| error.to_string())?;
            self.users.insert(op, program);
        }
        let mut after = vec![0; packet.len()];
        let attr = Attr::new()
            .fd(0, &self.users[&op])
            .u32(8, packet.len() as u32)
            .u32(12, after.len() as u32)
            .bytes(16, packet)
            .u64(24, after.as_mut_ptr() as u64);
        bpf(PROG_TEST_RUN, &mut { attr }).map_err(|error| error.to_string())?;
        Ok(after)
    }
}

fn id_of(fd: &OwnedFd, at: usize) -> io::Result<u32> {
    let mut info = [0u32; 64];
    let attr = Attr::new()
        .fd(0, fd)
        .u32(4, size_of_val(&info) as u32)
        .u64(8, info.as_mut_ptr() as u64);
    bpf(OBJ_GET_INFO_BY_FD, &mut { attr })?;
    Ok(info[at])
}

impl Maps for KernelMap {
    fn make(def: &MapDef) -> Result<KernelMap, i32> {
        let template = def.inner.as_deref().map(|inner| create(inner, None));
        let template = template.transpose().map_err(|error| errno(&error))?;
        let fd = create(def, template.as_ref()).map_err(|error| errno(&error))?;
        let mut objects = Vec::new();
        match def.kind {
            MapKind::ProgArray => {
                let types = [SOCKET_FILTER, SOCKET_FILTER, SCHED_CLS];
                objects.extend(types.map(|ty| load(ty).expect("the kernel loads a program")));
            }
            _ => {
                if let Some(inner) = def.inner.as_deref() {
                    let defs = [fitting(inner), fitting(inner), foreign(inner)];
                    objects.extend(defs.iter().filter_map(|def| create(def, None).ok()));
                }
            }
        }
        let ids = objects
            .iter()
            .map(|fd| id_of(fd, 1).expect("the kernel knows its objects"));
        let per_cpu = if def.is_per_cpu() { possible_cpus() } else { 1 };
        let one = if def.is_per_cpu() {
            def.value_size.next_multiple_of(8)
        } else {
            def.value_size
        };
        Ok(KernelMap {
            fd,
            def: def.clone(),
            value_size: one as usize * per_cpu,
            ids: ids.collect(),
            objects,
            users: HashMap::new(),
        })
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let mut value = vec![0; self.value_size.max(8)];
        let target = value.as_mut_ptr() as u64;
        let element = |key: &[u8]| Attr::new().fd(0, &self.fd).u64(8, key.as_ptr() as u64);
        let keyless = self.def.key_size == 0;
        let element = |key: &[u8]| {
            if keyless {
                Attr::new().fd(0, &self.fd)
            } else {
                element(key)
            }
        };
        let (command, mut attr) = match call {
            Call::Lookup(key) => (1, element(key).u64(16, target)),
            Call::Contains(sought) => (1, element(&[]).u64(16, sought.as_ptr() as u64)),
            Call::Update(key, value, flags) => (2, element(key).u64(16, value.as_ptr() as u64).u64(24, *flags)),
            Call::Insert(key, object, flags) => {
                let fd = self.objects[*object].as_raw_fd().to_ne_bytes();
                value[..4].copy_from_slice(&fd);
                (2, element(key).u64(16, target).u64(24, *flags))
            }
            Call::Delete(key) => (3, element(key)),
            Call::Take(key) => (21, element(key).u64(16, target)),
            Call::Next(None) => (4, Attr::new().fd(0, &self.fd).u64(16, target)),
            Call::Next(Some(key)) => {
                value.resize(self.def.key_size.max(8) as usize, 0);
                (4, element(key).u64(16, value.as_mut_ptr() as u64))
            }
            Call::Freeze => (22, Attr::new().fd(0, &self.fd)),
            Call::Walk => return self.walk(),
            Call::Batch { delete } => return self.batch(*delete),
            Call::UpdateBatch(entries, flags) => {
                let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key.clone()).collect();
                let values: Vec<u8> = entries.iter().flat_map(|(_, value)| value.clone()).collect();
                return self.change_batch(26, &keys, &values, entries.len(), *flags);
            }
            Call::InsertBatch(entries) => {
                let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key.clone()).collect();
                let fds = entries.iter().map(|(_, object)| self.objects[*object].as_raw_fd());
                let values: Vec<u8> = fds.flat_map(i32::to_ne_bytes).collect();
                return self.change_batch(26, &keys, &values, entries.len(), 0);
            }
            Call::DeleteBatch(keys) => return self.change_batch(27, &keys.concat(), &[], keys.len(), 0),
        };
        if matches!(call, Call::Next(_)) {
            value.resize(self.def.key_size.max(8) as usize, 0);
            attr = attr.u64(16, value.as_mut_ptr() as u64);
        }
        let error = match bpf(command, &mut attr) {
            Ok(_) => 0,
            Err(error) => errno(&error),
        };
        let mut outcome = Outcome::of(error);
        if error == 0 && matches!(call, Call::Lookup(_) | Call::Take(_)) {
            value.truncate(self.value_size);
            outcome.data.push(self.name(value));
        }
        outcome
    }
}

impl KernelMap {
    /// A value, with the number of the object instead of its id.
    fn name(&self, value: Vec<u8>) -> Vec<u8> {
        if self.ids.is_empty() {
            return value;
        }
        let id = u32::from_ne_bytes(value[..4].try_into().expect("four bytes"));
        let object = self.ids.iter().position(|known| *known == id);
        vec![object.expect("one that was put in") as u8]
    }

    fn walk(&self) -> Outcome {
        let mut keys = Vec::new();
        let mut next = vec![0; self.def.key_size as usize];
        let mut attr = Attr::new().fd(0, &self.fd).u64(16, next.as_mut_ptr() as u64);
        loop {
            match bpf(4, &mut attr) {
                Ok(_) => keys.push(next.clone()),
                Err(error) if errno(&error) == libc::ENOENT => break,
                Err(error) => return Outcome::of(errno(&error)),
            }
            let last = keys.last().expect("one was found");
            attr = Attr::new()
                .fd(0, &self.fd)
                .u64(8, last.as_ptr() as u64)
                .u64(16, next.as_mut_ptr() as u64);
        }
        keys.sort();
        Outcome { errno: 0, data: keys }
    }

    fn batch(&self, delete: bool) -> Outcome {
        const COUNT: usize = 1000;
        let key_size = self.def.key_size as usize;
        let (mut keys, mut values) = (vec![0u8; COUNT * key_size], vec![0u8; COUNT * self.value_size]);
        let mut out = vec![0u8; key_size.max(8)];
        let mut attr = Attr::new()
            .u64(8, out.as_mut_ptr() as u64)
            .u64(16, keys.as_mut_ptr() as u64)
            .u64(24, values.as_mut_ptr() as u64)
            .u32(32, COUNT as u32)
            .fd(36, &self.fd);
        // There are fewer elements than fit: that it was all of them is said by ENOENT.
        let error = match bpf(if delete { 25 } else { 24 }, &mut attr) {
            Ok(_) => 0,
            Err(error) => errno(&error),
        };
        if error != 0 && error != libc::ENOENT {
            return Outcome::of(error);
        }
        let count = attr.get_u32(32) as usize;
        let entry = |n: usize| {
            let value = values[n * self.value_size..][..self.value_size].to_vec();
            [keys[n * key_size..][..key_size].to_vec(), self.name(value)].concat()
        };
        let mut data: Vec<_> = (0..count).map(entry).collect();
        data.sort();
        Outcome { errno: 0, data }
    }

    fn change_batch(&self, command: i32, keys: &[u8], values: &[u8], count: usize, flags: u64) -> Outcome {
        let mut attr = Attr::new()
            .u64(16, keys.as_ptr() as u64)
            .u64(24, values.as_ptr() as u64)
            .u32(32, count as u32)
            .fd(36, &self.fd)
            .u64(40, flags);
        let error = match bpf(command, &mut attr) {
            Ok(_) => 0,
            Err(error) => errno(&error),
        };
        Outcome::of_batch(error, attr.get_u32(32))
    }
}
