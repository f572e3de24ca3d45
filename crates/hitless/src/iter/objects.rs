//! Maps, programs and links as iterator programs see them: structs with the kernel's names and those members that mean
//! something here, filled for one element. Programs find members by their names (CO-RE), so layouts are the runtime's own.
//!
//! A program may follow pointers in them; all of them lie in one [`Objects`], which outlives the program's run and does not move.

use std::mem::offset_of;
use std::ptr;

use hitless_btf::{Builder, IntEncoding, TypeId};
use hitless_object::{AttachType, ProgramType as Type};
use hitless_verifier::tables::map_trace;
use hitless_verifier::{ProgramKind, tables};

use super::Target;
use super::seq::Seq;
use crate::map::Map;
use crate::program::Program;

/// How long names are, with the zero at their end (`BPF_OBJ_NAME_LEN`).
const NAME: usize = 16;
/// How long the name of a function is that a program is attached to.
const FUNCTION: usize = 128;

/// `enum bpf_link_type`: numbers and names.
const LINK_TYPES: [(u32, &str); 8] = [
    (0, "BPF_LINK_TYPE_UNSPEC"),
    (1, "BPF_LINK_TYPE_RAW_TRACEPOINT"),
    (2, "BPF_LINK_TYPE_TRACING"),
    (3, "BPF_LINK_TYPE_CGROUP"),
    (4, "BPF_LINK_TYPE_ITER"),
    (6, "BPF_LINK_TYPE_XDP"),
    (7, "BPF_LINK_TYPE_PERF_EVENT"),
    (11, "BPF_LINK_TYPE_TCX"),
];

/// `struct bpf_iter_meta`.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Meta {
    seq: u64,
    session_id: u64,
    seq_num: u64,
}

/// `struct bpf_map`.
#[derive(Debug, Default)]
#[repr(C)]
struct MapObject {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_extra: u64,
    map_flags: u32,
    id: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    name: [u8; NAME],
    frozen: bool,
}

/// `struct bpf_prog`.
#[derive(Debug, Default)]
#[repr(C)]
struct ProgObject {
    r#type: u32,
    expected_attach_type: u32,
    len: u32,
    aux: u64,
}

/// `struct bpf_prog_aux`.
#[derive(Debug, Default)]
#[repr(C)]
struct AuxObject {
    used_map_cnt: u32,
    func_cnt: u32,
    verified_insns: u32,
    id: u32,
    name: [u8; NAME],
    attach_func_name: u64,
    /// What the kernel has of the types of a program, and of what it replaces, is not told: NULL.
    dst_prog: u64,
    btf: u64,
    func_info: u64,
}

/// `struct bpf_link`.
#[derive(Debug, Default)]
#[repr(C)]
struct LinkObject {
    id: u32,
    r#type: u32,
    prog: u64,
}

/// Everything that the context of an iterator program points to, but for keys and values.
#[derive(Debug)]
pub(super) struct Objects {
    meta: Meta,
    map: MapObject,
    prog: ProgObject,
    aux: AuxObject,
    link: LinkObject,
    function: [u8; FUNCTION],
}

impl Objects {
    pub(super) fn new(session_id: u64) -> Box<Objects> {
        Box::new(Objects {
            meta: Meta {
                session_id,
                ..Meta::default()
            },
            map: MapObject::default(),
            prog: ProgObject::default(),
            aux: AuxObject::default(),
            link: LinkObject::default(),
            function: [0; FUNCTION],
        })
    }

    /// The address of what says where the iteration is: it prints to `seq`, and this is the element with this number.
    pub(super) fn meta(&mut self, seq: *mut Seq, seq_num: u64) -> u64 {
        self.meta.seq = seq.expose_provenance() as u64;
        self.meta.seq_num = seq_num;
        address(&self.meta)
    }

    /// The address of a map.
    pub(super) fn map(&mut self, map: &Map) -> u64 {
        let def = map.def();
        let id = |ty: Option<TypeId>| ty.map_or(0, |id| id.0);
        self.map = MapObject {
            map_type: def.kind.number(),
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            map_extra: def.map_extra,
            map_flags: def.flags.bits(),
            id: map.id(),
            btf_key_type_id: id(map.key_type()),
            btf_value_type_id: id(map.value_type()),
            name: name(map.name()),
            frozen: map.is_frozen(),
        };
        address(&self.map)
    }

    /// The address of a program.
    pub(super) fn program(&mut self, program: &Program) -> u64 {
        let kind = tables::program_types::of(program.program_type().kind());
        let verified = program.verified();
        let function = program.program_type().target();
        self.function = name(function.unwrap_or_default());
        self.aux = AuxObject {
            used_map_cnt: program.maps().len() as u32,
            func_cnt: verified.subprogs.len() as u32 - 1,
            verified_insns: verified.stats.processed as u32,
            id: program.id(),
            name: name(program.name()),
            attach_func_name: function.map_or(0, |_| address(&self.function)),
            ..AuxObject::default()
        };
        self.prog = ProgObject {
            r#type: kind.number,
            expected_attach_type: kind.attach_types.first().copied().unwrap_or(0),
            len: verified.insns.len() as u32,
            aux: address(&self.aux),
        };
        address(&self.prog)
    }

    /// The address of a link.
    pub(super) fn link(&mut self, id: u32, link_type: u32, program: Option<&Program>) -> u64 {
        self.link = LinkObject {
            id,
            r#type: link_type,
            prog: program.map_or(0, |program| self.program(program)),
        };
        address(&self.link)
    }
}

/// The kernel's type of links that attach such programs to hooks (`enum bpf_link_type`).
pub(super) fn link_type(kind: ProgramKind) -> u32 {
    match kind {
        ProgramKind::RawTracepoint => 1,
        ProgramKind::CgroupSkbIngress | ProgramKind::CgroupSkbEgress => 3,
        ProgramKind::Iter => 4,
        ProgramKind::Xdp => 6,
        ProgramKind::Kprobe | ProgramKind::KprobeSession | ProgramKind::Tracepoint | ProgramKind::PerfEvent => 7,
        ProgramKind::Tc => 11,
        ProgramKind::MapTrace => map_trace::LINK_TYPE,
        ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::FmodRet | ProgramKind::TpBtf | ProgramKind::Lsm => 2,
        // Hooks of the host, and what Linux has no links for.
        _ => 0,
    }
}

fn address<T>(object: &T) -> u64 {
    ptr::from_ref(object).expose_provenance() as u64
}

/// The name with a zero at its end, cut off if need be.
fn name<const LEN: usize>(name: &str) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let len = name.len().min(LEN - 1);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}

/// A struct whose members have these offsets.
pub(super) fn structure(types: &mut Builder, name: &str, size: usize, members: &[(&str, TypeId, usize)]) -> TypeId {
    types.structure(name, size as u32, &offsets(members))
}

fn offsets<'a>(members: &[(&'a str, TypeId, usize)]) -> Vec<(&'a str, TypeId, u32)> {
    let members = members.iter();
    members.map(|(name, ty, offset)| (*name, *ty, *offset as u32)).collect()
}

/// Describes what iterator programs are given, and the functions that their arguments are known by. `map_type` is the enum of the
/// types of maps.
pub(crate) fn describe(types: &mut Builder, map_type: TypeId) {
    let seq = Seq::describe(types);
    let (seq, word) = (types.pointer(seq), types.unsigned(8));
    let members = [
        ("seq", seq, offset_of!(Meta, seq)),
        ("session_id", word, offset_of!(Meta, session_id)),
        ("seq_num", word, offset_of!(Meta, seq_num)),
    ];
    let meta = structure(types, "bpf_iter_meta", size_of::<Meta>(), &members);
    let map = map_struct(types, map_type);
    let prog = prog_struct(types);
    let link = link_struct(types, prog);
    for target in Target::ALL {
        let object = match target {
            Target::MapElem | Target::Map => map,
            Target::Prog => prog,
            Target::Link => link,
        };
        let mut params = vec![
            ("meta", types.pointer(meta)),
            (target.argument(), types.pointer(object)),
        ];
        if target == Target::MapElem {
            let memory = types.pointer(TypeId::VOID);
            params.extend([("key", memory), ("value", memory)]);
        }
        let int = types.int("int", 4, IntEncoding::Signed);
        types.function(&format!("bpf_iter_{}", target.name()), int, &params);
        let members: Vec<_> = (0..)
            .step_by(8)
            .zip(&params)
            .map(|(off, (name, ty))| (*name, *ty, off))
            .collect();
        let context = format!("bpf_iter__{}", target.name());
        types.structure(&context, 8 * members.len() as u32, &members);
    }
}

fn map_struct(types: &mut Builder, map_type: TypeId) -> TypeId {
    let (half, word, flag) = (types.unsigned(4), types.unsigned(8), types.boolean());
    let byte = types.int("char", 1, IntEncoding::Signed);
    let name = types.array(byte, NAME as u32);
    let members = [
        ("map_type", map_type, offset_of!(MapObject, map_type)),
        ("key_size", half, offset_of!(MapObject, key_size)),
        ("value_size", half, offset_of!(MapObject, value_size)),
        ("max_entries", half, offset_of!(MapObject, max_entries)),
        ("map_extra", word, offset_of!(MapObject, map_extra)),
        ("map_flags", half, offset_of!(MapObject, map_flags)),
        ("id", half, offset_of!(MapObject, id)),
        ("btf_key_type_id", half, offset_of!(MapObject, btf_key_type_id)),
        ("btf_value_type_id", half, offset_of!(MapObject, btf_value_type_id)),
        ("name", name, offset_of!(MapObject, name)),
        ("frozen", flag, offset_of!(MapObject, frozen)),
    ];
    structure(types, "bpf_map", size_of::<MapObject>(), &members)
}

fn prog_struct(types: &mut Builder) -> TypeId {
    let (half, byte) = (types.unsigned(4), types.int("char", 1, IntEncoding::Signed));
    let (name, text) = (types.array(byte, NAME as u32), types.pointer(byte));
    let constant = |prefix: &str, name: &str| format!("{prefix}{}", name.to_uppercase());
    let program_types = Type::ALL.iter();
    let program_types = program_types.map(|ty| (constant("BPF_PROG_TYPE_", ty.name()), ty.number().into()));
    let program_type = types.enumeration("bpf_prog_type", program_types);
    let attach_types = AttachType::ALL.iter();
    let attach_types = attach_types.map(|ty| (constant("BPF_", ty.name()), ty.number().into()));
    let own = ("BPF_TRACE_MAP".to_owned(), map_trace::ATTACH_TYPE.into());
    let attach_type = types.enumeration("bpf_attach_type", attach_types.chain([own]));
    let prog = types.declare("bpf_prog");
    let prog_pointer = types.pointer(prog);
    let btf = btf_struct(types);
    let func_info = types.structure("bpf_func_info", 8, &[("insn_off", half, 0), ("type_id", half, 4)]);
    let func_info = types.pointer(func_info);
    let members = [
        ("used_map_cnt", half, offset_of!(AuxObject, used_map_cnt)),
        ("func_cnt", half, offset_of!(AuxObject, func_cnt)),
        ("verified_insns", half, offset_of!(AuxObject, verified_insns)),
        ("id", half, offset_of!(AuxObject, id)),
        ("name", name, offset_of!(AuxObject, name)),
        ("attach_func_name", text, offset_of!(AuxObject, attach_func_name)),
        ("dst_prog", prog_pointer, offset_of!(AuxObject, dst_prog)),
        ("btf", btf, offset_of!(AuxObject, btf)),
        ("func_info", func_info, offset_of!(AuxObject, func_info)),
    ];
    let aux = structure(types, "bpf_prog_aux", size_of::<AuxObject>(), &members);
    let aux = types.pointer(aux);
    let members = [
        ("type", program_type, offset_of!(ProgObject, r#type)),
        (
            "expected_attach_type",
            attach_type,
            offset_of!(ProgObject, expected_attach_type),
        ),
        ("len", half, offset_of!(ProgObject, len)),
        ("aux", aux, offset_of!(ProgObject, aux)),
    ];
    types.define(prog, size_of::<ProgObject>() as u32, &offsets(&members));
    prog
}

/// What programs look into `struct btf` for: the name of a type. There is never one, so that only members have to be there.
fn btf_struct(types: &mut Builder) -> TypeId {
    let (half, byte) = (types.unsigned(4), types.int("char", 1, IntEncoding::Signed));
    let text = types.pointer(byte);
    let header = types.structure("btf_header", 4, &[("str_len", half, 0)]);
    let ty = types.structure(
        "btf_type",
        12,
        &[("name_off", half, 0), ("info", half, 4), ("size", half, 8)],
    );
    let ty = types.pointer(ty);
    let list = types.pointer(ty);
    let members = [
        ("types", list, 0),
        ("strings", text, 8),
        ("nr_types", half, 16),
        ("hdr", header, 20),
    ];
    let btf = types.structure("btf", 24, &members);
    types.pointer(btf)
}

fn link_struct(types: &mut Builder, prog: TypeId) -> TypeId {
    let (half, prog) = (types.unsigned(4), types.pointer(prog));
    let known = LINK_TYPES.iter().map(|(number, name)| (*name, i64::from(*number)));
    let own = ("BPF_LINK_TYPE_MAP_TRACE", i64::from(map_trace::LINK_TYPE));
    let link_type = types.enumeration("bpf_link_type", known.chain([own]));
    let members = [
        ("id", half, offset_of!(LinkObject, id)),
        ("type", link_type, offset_of!(LinkObject, r#type)),
        ("prog", prog, offset_of!(LinkObject, prog)),
    ];
    structure(types, "bpf_link", size_of::<LinkObject>(), &members)
}
