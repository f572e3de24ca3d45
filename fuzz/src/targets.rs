//! The targets.

use std::sync::{Arc, LazyLock};

use hitless_btf::layout::compare;
use hitless_btf::{Btf, BtfExt, Kind, Type, TypeId, core, dump};
use hitless_isa::{Insn, asm, decode, disasm, encode};
use hitless_object::{ObjectSpec, Target as Place};

use crate::maps::map_file;
use crate::{SeedKind, Target, seeds, split_base};

const BPF_MAP_TYPE_ARENA: u32 = 33;

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "object",
        run: object,
        seeds: SeedKind::Object,
    },
    Target {
        name: "btf",
        run: btf,
        seeds: SeedKind::Section(".BTF"),
    },
    Target {
        name: "btf_ext",
        run: btf_ext,
        seeds: SeedKind::Section(".BTF.ext"),
    },
    Target {
        name: "btf_split",
        run: btf_split,
        seeds: SeedKind::Split,
    },
    Target {
        name: "layout",
        run: layout,
        seeds: SeedKind::Section(".BTF"),
    },
    Target {
        name: "core_local",
        run: core_local,
        seeds: SeedKind::Object,
    },
    Target {
        name: "core_target",
        run: core_target,
        seeds: SeedKind::Section(".BTF"),
    },
    Target {
        name: "insns",
        run: insns,
        seeds: SeedKind::Code,
    },
    Target {
        name: "map_file",
        run: map_file,
        seeds: SeedKind::MapFile,
    },
];

/// A place to load at that knows nothing but the types of `btf`.
fn relocate(spec: &ObjectSpec, btf: &core::Target) -> Option<ObjectSpec> {
    let place = Place {
        btf: Some(btf),
        kconfig: &|_| None,
        symbols: &|_| None,
        kernel_version: 6 << 16,
    };
    spec.relocate(&place).ok()
}

/// An object file is parsed; what it describes is consistent.
fn object(bytes: &[u8]) -> bool {
    let Ok(spec) = ObjectSpec::parse(bytes) else {
        return false;
    };
    consistent(&spec);
    true
}

fn consistent(spec: &ObjectSpec) {
    let types = spec.btf.as_ref().map_or(0, Btf::len) as u32;
    for map in &spec.maps {
        for ty in [map.key_type, map.value_type].into_iter().flatten() {
            assert!(ty.0 < types, "map {}: type {ty} of {types}", map.name);
        }
        // The memory of an arena is not its value.
        if let Some(data) = map.data.as_ref().filter(|_| map.map_type != BPF_MAP_TYPE_ARENA) {
            assert!(data.len() <= map.value_size as usize, "map {}: too much data", map.name);
        }
    }
    for program in &spec.programs {
        let len = program.insns.len();
        assert_eq!(
            program.subprograms.first().map(|sub| sub.start),
            Some(0),
            "{}",
            program.name
        );
        assert!(
            program.subprograms.iter().all(|sub| sub.start < len),
            "{}",
            program.name
        );
        assert!(program.lines.is_sorted_by_key(|line| line.pc), "{}", program.name);
        assert!(program.lines.iter().all(|line| line.pc < len), "{}", program.name);
        assert!(program.core_relos.iter().all(|relo| relo.pc < len), "{}", program.name);
        for reference in &program.extern_refs {
            assert!(
                reference.pc < len && reference.index < spec.externs.len(),
                "{}",
                program.name
            );
        }
    }
}

/// BTF is parsed, and what it contains is asked for.
fn btf(bytes: &[u8]) -> bool {
    let Ok(btf) = Btf::parse(bytes) else { return false };
    for (id, ty) in btf.types() {
        assert_eq!(btf.get(id), Some(ty));
        let _ = (btf.size_of(id), btf.type_name(id), btf.resolve(id));
    }
    let written = btf.to_bytes();
    assert_eq!(Btf::parse(&written).as_ref(), Ok(&btf));
    let _ = (dump::raw(&btf).to_string(), dump::c(&btf));
    true
}

/// BTF that goes on where another ends is parsed and written again.
fn btf_split(bytes: &[u8]) -> bool {
    let Ok(btf) = Btf::parse_split(bytes, Arc::clone(split_base())) else {
        return false;
    };
    for (id, _) in btf.own_types() {
        let _ = (btf.size_of(id), btf.type_name(id), btf.resolve(id));
    }
    let again = Btf::parse_split(&btf.to_bytes(), Arc::clone(split_base()));
    assert_eq!(again.as_ref(), Ok(&btf));
    let _ = (dump::raw(&btf).to_string(), dump::c(&btf));
    true
}

/// Structs are compared with those of the same name in the committed objects, both ways, and a value is carried over.
fn layout(bytes: &[u8]) -> bool {
    static STRUCTS: LazyLock<Vec<(Btf, TypeId, String)>> = LazyLock::new(|| {
        let mut structs = Vec::new();
        for (_, bytes) in seeds(SeedKind::Section(".BTF")) {
            let Ok(btf) = Btf::parse(&bytes) else { continue };
            for (id, ty) in btf.types() {
                let new = |(_, _, name): &(Btf, TypeId, String)| name != ty.name();
                if matches!(ty, Type::Struct(_)) && !ty.name().is_empty() && structs.iter().all(new) {
                    structs.push((btf.clone(), id, ty.name().to_string()));
                }
            }
        }
        structs
    });
    let Ok(btf) = Btf::parse(bytes) else { return false };
    for (known, id, name) in STRUCTS.iter() {
        let Some(found) = btf.find(Kind::Struct, name) else {
            continue;
        };
        for (old, new) in [((known, *id), (&btf, found)), ((&btf, found), (known, *id))] {
            let Ok(diff) = compare(old, new) else { continue };
            let (from, to) = (diff.transform.old_size(), diff.transform.new_size());
            if from.max(to) <= 1 << 16 {
                diff.transform.apply(&vec![0xff; from], &mut vec![0; to]);
            }
        }
    }
    true
}

/// A `.BTF.ext` section is parsed next to the BTF of one of the committed objects.
fn btf_ext(bytes: &[u8]) -> bool {
    static BTF: LazyLock<Vec<Btf>> = LazyLock::new(|| {
        let parse = |(_, bytes): (String, Vec<u8>)| Btf::parse(&bytes).ok();
        seeds(SeedKind::Section(".BTF")).into_iter().filter_map(parse).collect()
    });
    let mut accepted = false;
    for btf in BTF.iter() {
        let Ok(ext) = BtfExt::parse(bytes, btf) else { continue };
        for func in ext.funcs.iter().flat_map(|section| &section.records) {
            assert!(btf.get(func.func).is_some());
        }
        accepted = true;
    }
    accepted
}

/// An object is relocated against its own types, and what comes out is consistent.
fn core_local(bytes: &[u8]) -> bool {
    let Ok(spec) = ObjectSpec::parse(bytes) else {
        return false;
    };
    let Some(btf) = &spec.btf else { return false };
    let Some(done) = relocate(&spec, &core::Target::new(Arc::new(btf.clone()))) else {
        return false;
    };
    relocated(&spec, &done);
    true
}

/// The committed objects are relocated against a BTF.
fn core_target(bytes: &[u8]) -> bool {
    static SPECS: LazyLock<Vec<ObjectSpec>> = LazyLock::new(|| {
        seeds(SeedKind::Object)
            .into_iter()
            .filter_map(|(_, bytes)| ObjectSpec::parse(&bytes).ok())
            .filter(|spec| spec.programs.iter().any(|program| !program.core_relos.is_empty()))
            .collect()
    });
    let Ok(btf) = Btf::parse(bytes) else { return false };
    let target = core::Target::new(Arc::new(btf));
    for spec in SPECS.iter() {
        if let Some(done) = relocate(spec, &target) {
            relocated(spec, &done);
        }
    }
    true
}

fn relocated(spec: &ObjectSpec, done: &ObjectSpec) {
    consistent(done);
    for (before, after) in spec.programs.iter().zip(&done.programs) {
        assert_eq!(before.insns.len(), after.insns.len(), "{}", after.name);
        assert!(
            !after.autoload || after.core_relos.is_empty() && after.extern_refs.is_empty(),
            "{}",
            after.name
        );
        assert!(
            after.poisoned.iter().all(|poison| poison.pc < after.insns.len()),
            "{}",
            after.name
        );
    }
}

/// Slots that can be decoded are the same after encoding, and after printing and assembling.
fn insns(bytes: &[u8]) -> bool {
    let (chunks, _) = bytes.as_chunks::<{ Insn::SIZE }>();
    let insns: Vec<Insn> = chunks.iter().map(|&bytes| Insn::from_bytes(bytes)).collect();
    let (mut pc, mut accepted) = (0, false);
    while pc < insns.len() {
        let Ok(instruction) = decode(&insns, pc) else {
            pc += 1;
            continue;
        };
        let again = encode(&instruction);
        assert_eq!(again, insns[pc..pc + again.len()], "slot {pc}");
        let text = disasm::text(&instruction, &disasm::no_names).to_string();
        assert_eq!(asm::assemble(&text).as_deref(), Ok(&again[..]), "{text}");
        pc += again.len();
        accepted = true;
    }
    let _ = asm::assemble(&String::from_utf8_lossy(bytes));
    accepted
}
