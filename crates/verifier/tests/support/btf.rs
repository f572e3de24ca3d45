//! As little BTF as the kernel asks for of programs: their functions.

use std::sync::OnceLock;

use hitless_btf::Kind;
use hitless_isa::{CallTarget, Imm64, Insn, Instruction, decode};
use hitless_verifier::tables::kfuncs;

const INT: u32 = 1;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;

/// Types, from the number 1 on, and their names.
pub struct Builder {
    types: Vec<u32>,
    count: u32,
    strings: Vec<u8>,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            types: Vec::new(),
            count: 0,
            strings: vec![0],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    /// Adds a type; returns its number. `vlen` and `size` are as the kind has them, and so are `words`.
    fn add(&mut self, name: &str, kind: u32, vlen: u32, size: u32, words: &[u32]) -> u32 {
        let name = if name.is_empty() { 0 } else { self.name(name) };
        self.types.extend([name, kind << 24 | vlen, size]);
        self.types.extend(words);
        self.count += 1;
        self.count
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, INT, 0, size, &[8 * size])
    }

    /// The bytes that the kernel loads.
    pub fn bytes(&self) -> Vec<u8> {
        let types = 4 * self.types.len() as u32;
        // Magic number, version 1, no flags.
        let header = [0x1_eb9f, 24, 0, types, types, self.strings.len() as u32];
        let words = header.iter().chain(&self.types);
        let mut bytes: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(&self.strings);
        bytes
    }
}

/// Functions of a program: first instructions with types.
pub fn functions(insns: &[Insn], global: &dyn Fn(usize) -> bool) -> (Builder, Vec<[u32; 2]>) {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let proto = btf.add("", FUNC_PROTO, 0, int, &[]);
    let mut starts = vec![0];
    let mut pc = 0;
    while pc < insns.len() {
        let insn = decode(insns, pc);
        if let Ok(
            Instruction::Call(CallTarget::Subprog(off))
            | Instruction::LoadImm64 {
                imm: Imm64::Func(off), ..
            },
        ) = insn
        {
            starts.push((pc as i64 + 1 + i64::from(off)) as usize);
        }
        pc += insn.map_or(1, |insn| insn.slots());
    }
    starts.sort_unstable();
    starts.dedup();
    let mut info = Vec::new();
    for start in starts {
        let linkage = u32::from(start == 0 || global(start));
        let func = btf.add(&format!("f{start}"), FUNC, linkage, proto, &[]);
        info.push([start as u32, func]);
    }
    (btf, info)
}

/// The number of a kfunc in cases.
pub fn kfunc_id(name: &str) -> i32 {
    let index = kfuncs::all().iter().position(|kfunc| kfunc.name == name);
    1000 + index.unwrap_or_else(|| panic!("kfunc {name}")) as i32
}

/// The kfunc with a number.
pub fn kfunc(id: i32) -> Option<&'static str> {
    let index = usize::try_from(id - 1000).ok()?;
    kfuncs::all().get(index).map(|kfunc| kfunc.name)
}

/// The id of a function in the BTF of the kernel.
pub fn kernel_function(name: &str) -> Option<i32> {
    static KERNEL: OnceLock<Option<hitless_btf::Btf>> = OnceLock::new();
    let read = || hitless_btf::Btf::parse(&std::fs::read("/sys/kernel/btf/vmlinux").ok()?).ok();
    let btf = KERNEL.get_or_init(read).as_ref()?;
    let id = btf.find(Kind::Func, name)?;
    i32::try_from(id.0).ok()
}
