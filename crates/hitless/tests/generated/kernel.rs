//! Programs in the running kernel, through `bpf(2)`. Nothing is attached.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use hitless_isa::Insn;

use super::bpf::{self, Attr, bpf, bpf_fd};
use super::generate::MAPS;
use super::ours::CONSTANTS;
use super::{Element, KEYS, Machine, Outcome, Scene, Sort, btf, is_compared, written};

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_TEST_RUN: i32 = 10;
const BTF_LOAD: i32 = 18;
const MAP_FREEZE: i32 = 22;
const F_RDONLY_PROG: u32 = 1 << 7;
const F_SLEEPABLE: u32 = 1 << 4;

/// The kernel with maps and programs of ours.
pub struct Kernel {
    maps: Vec<OwnedFd>,
    programs: Vec<OwnedFd>,
}

/// Whether programs can be loaded here, or else why not. Has the thread stay on one processor, which has one value of each
/// element.
pub fn probe() -> Result<(), String> {
    let insns = hitless_isa::asm::assemble("r0 = 0\nexit").expect("assembles");
    bpf::load(1, &insns, Attr::new()).map_err(|error| format!("bpf(2) loads nothing here: {error}"))?;
    // SAFETY: the set is initialised, and of the size that is given; 0 is this thread.
    let stays = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().cast_unsigned() as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    if stays == 0 {
        Ok(())
    } else {
        Err("the thread cannot stay on a processor".to_owned())
    }
}

fn create((name, map_type, value_size, entries): (&str, u32, u32, u32)) -> io::Result<OwnedFd> {
    let attr = Attr::new()
        .u32(0, map_type)
        .u32(4, 4)
        .u32(8, value_size)
        .u32(12, entries)
        .u32(16, if name == "c" { F_RDONLY_PROG } else { 0 });
    bpf_fd(MAP_CREATE, &mut { attr })
}

fn update(map: &OwnedFd, key: u32, value: &[u8]) -> io::Result<()> {
    let key = key.to_ne_bytes();
    let attr = Attr::new().fd(0, map).bytes(8, &key).bytes(16, value);
    bpf(MAP_UPDATE_ELEM, &mut { attr }).map(drop)
}

fn lookup(map: &OwnedFd, key: u32, room: usize) -> Option<Vec<u8>> {
    let (key, mut value) = (key.to_ne_bytes(), vec![0; room]);
    let attr = Attr::new().fd(0, map).bytes(8, &key).u64(16, value.as_mut_ptr() as u64);
    bpf(MAP_LOOKUP_ELEM, &mut { attr }).ok().map(|_| value)
}

/// How many processors there may ever be.
fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok());
    last.map_or(1, |last: usize| last + 1)
}

impl Machine for Kernel {
    fn new(scene: &Scene) -> Kernel {
        let maps: Vec<_> = MAPS
            .iter()
            .map(|map| create(*map).expect("there are such maps"))
            .collect();
        let constants = MAPS.iter().position(|map| map.0 == "c").expect("it is there");
        update(&maps[constants], 0, &CONSTANTS).expect("it fits");
        bpf(MAP_FREEZE, &mut Attr::new().fd(0, &maps[constants])).expect("it is not frozen yet");
        for (map, key, value) in &scene.content {
            update(&maps[*map], *key, value).expect("it fits");
        }
        Kernel {
            maps,
            programs: Vec::new(),
        }
    }

    fn load(&mut self, sort: Sort, insns: &[Insn]) -> bool {
        let (builder, functions) = btf::functions(insns, &|_| false);
        let types = builder.bytes();
        let attr = Attr::new().bytes(0, &types).u32(16, types.len() as u32);
        let Ok(types) = bpf_fd(BTF_LOAD, &mut { attr }) else {
            return false;
        };
        let functions: Vec<u8> = functions.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect();
        let fds: Vec<u8> = self.maps.iter().flat_map(|map| map.as_raw_fd().to_ne_bytes()).collect();
        let more = Attr::new()
            .u32(44, if sort == Sort::Syscall { F_SLEEPABLE } else { 0 })
            .fd(72, &types)
            .u32(76, 8)
            .bytes(80, &functions)
            .u32(88, functions.len() as u32 / 8)
            .bytes(120, &fds);
        let program_type = match sort {
            Sort::Socket => 1,
            Sort::Tc => 3,
            Sort::Xdp => 6,
            Sort::Syscall => 31,
        };
        let Ok(program) = bpf::load(program_type, insns, more) else {
            return false;
        };
        if sort != Sort::Syscall {
            let jumps = self.maps.last().expect("there are maps");
            let fd = program.as_raw_fd().to_ne_bytes();
            update(jumps, self.programs.len() as u32, &fd).expect("it fits");
        }
        self.programs.push(program);
        true
    }

    fn run(&mut self, program: usize, sort: Sort, packet: &[u8]) -> Outcome {
        let mut data = vec![0; packet.len()];
        let mut attr = Attr::new().fd(0, &self.programs[program]);
        if sort.has_packet() {
            attr = attr
                .u32(8, packet.len() as u32)
                .u32(12, data.len() as u32)
                .bytes(16, packet)
                .u64(24, data.as_mut_ptr() as u64)
                .u32(32, 1);
        }
        bpf(PROG_TEST_RUN, &mut attr).expect("it runs");
        let maps = (0..self.maps.len()).filter(|map| is_compared(*map));
        let elements = maps.flat_map(|map| (0..KEYS).map(move |key| (map, key)));
        let element = |(map, key): (usize, u32)| -> Option<Element> {
            let room = MAPS[map].2 as usize * possible_cpus();
            let mut value = lookup(&self.maps[map], key, room)?;
            if !matches!(MAPS[map].1, 5 | 6) {
                value.truncate(MAPS[map].2 as usize);
            }
            Some((map, key, written(map, value)))
        };
        Outcome {
            result: attr.get_u32(4),
            packet: data,
            maps: elements.filter_map(element).collect(),
        }
    }
}
