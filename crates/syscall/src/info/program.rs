//! `struct bpf_prog_info`.
//!
//! Native code is not shown: the program reads as one that is not compiled.

use std::sync::Arc;

use hitless::Program;
use hitless_isa::{Imm64, Insn, Instruction, decode};
use hitless_verifier::tables::program_types;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::Info;
use crate::Call;

const SIZE: usize = 232;

const TYPE: usize = 0;
const ID: usize = 4;
const TAG: usize = 8;
const JITED_LEN: usize = 16;
const XLATED_LEN: usize = 20;
const XLATED: usize = 32;
const LOAD_TIME: usize = 40;
const UID: usize = 48;
const MAP_COUNT: usize = 52;
const MAPS: usize = 56;
const NAME: usize = 64;
const GPL: usize = 84;
const NR_JITED_KSYMS: usize = 104;
const NR_JITED_FUNC_LENS: usize = 108;
const BTF_ID: usize = 128;
const FUNC_INFO_REC_SIZE: usize = 132;
const FUNC_INFO: usize = 136;
const NR_FUNC_INFO: usize = 144;
const NR_LINE_INFO: usize = 148;
const LINE_INFO: usize = 152;
const NR_JITED_LINE_INFO: usize = 168;
const LINE_INFO_REC_SIZE: usize = 172;
const JITED_LINE_INFO_REC_SIZE: usize = 176;
const NR_PROG_TAGS: usize = 180;
const PROG_TAGS: usize = 184;
const RUN_TIME_NS: usize = 192;
const RUN_CNT: usize = 200;
const RECURSION_MISSES: usize = 208;
const VERIFIED_INSNS: usize = 216;
const ATTACH_BTF_ID: usize = 224;

/// Opcode of a wide immediate, and what its source field is if it refers to a map, or its value: by index, as programs are
/// verified, and by descriptor, as they are loaded.
const LDDW: u8 = 0x18;
const BY_INDEX: [u8; 2] = [5, 6];
const BY_DESCRIPTOR: [u8; 2] = [1, 2];

/// Sizes of records, and where the caller says them together with how many it has room for.
const RECORDS: [(u32, usize, usize); 3] = [
    (8, FUNC_INFO_REC_SIZE, NR_FUNC_INFO),
    (16, LINE_INFO_REC_SIZE, NR_LINE_INFO),
    (8, JITED_LINE_INFO_REC_SIZE, NR_JITED_LINE_INFO),
];

pub(super) fn write(call: &Call<'_>, program: &Arc<Program>) -> Result<u32, Errno> {
    let mut info = Info::<SIZE>::read(call)?;
    for (size, at, count) in RECORDS {
        if (info.u32(at) != 0 || info.u32(count) != 0) && info.u32(at) != size {
            return Err(Errno::INVAL);
        }
        info.put_u32(at, size);
    }
    let record = call.bpf.programs.get(program.id());
    info.put_u32(TYPE, program_types::of(program.program_type().kind()).number);
    info.put_u32(ID, program.id());
    info.0[NAME..NAME + crate::attr::NAME_LEN].fill(0);
    info.put_name(NAME, program.name());
    let verified = program.verified();
    let tag = tag(&verified.insns);
    info.0[TAG..TAG + tag.len()].copy_from_slice(&tag);
    info.put_u32(
        VERIFIED_INSNS,
        u32::try_from(verified.stats.processed).unwrap_or(u32::MAX),
    );
    let stats = program.stats();
    info.put_u64(RUN_TIME_NS, stats.time_ns);
    info.put_u64(RUN_CNT, stats.runs);
    info.put_u64(RECURSION_MISSES, stats.recursion_misses);
    info.put_u32(UID, rustix::process::getuid().as_raw());
    if let Some(record) = &record {
        info.put_u64(LOAD_TIME, record.load_time_ns);
        info.put_u32(GPL, record.gpl_compatible.into());
        info.put_u32(ATTACH_BTF_ID, record.attach_btf_id);
    }
    let btf = record.as_ref().and_then(|record| record.debug.btf.as_ref());
    info.put_u32(BTF_ID, btf.map_or(0, |btf| btf.id));

    let maps: Vec<u8> = program.map_ids().into_iter().flat_map(u32::to_ne_bytes).collect();
    put_list(call, &mut info, (MAP_COUNT, MAPS, 4), &maps)?;
    put_list(call, &mut info, (XLATED_LEN, XLATED, 1), &xlated(program))?;
    let tags: Vec<u8> = verified.subprogs.iter().flat_map(|_| tag).collect();
    put_list(call, &mut info, (NR_PROG_TAGS, PROG_TAGS, tag.len()), &tags)?;
    let debug = record.as_ref().map(|record| &record.debug);
    let func_info = debug.map_or(&[][..], |debug| &debug.func_info);
    put_list(call, &mut info, (NR_FUNC_INFO, FUNC_INFO, 8), func_info)?;
    let line_info = debug.map_or(&[][..], |debug| &debug.line_info);
    put_list(call, &mut info, (NR_LINE_INFO, LINE_INFO, 16), line_info)?;
    for none in [JITED_LEN, NR_JITED_KSYMS, NR_JITED_FUNC_LENS, NR_JITED_LINE_INFO] {
        info.put_u32(none, 0);
    }
    info.write(call)
}

/// Copies as many elements as the caller has room for, and says how many there are.
fn put_list(
    call: &Call<'_>,
    info: &mut Info<SIZE>,
    (count, address, size): (usize, usize, usize),
    all: &[u8],
) -> Result<(), Errno> {
    let room = (info.u32(count) as usize).saturating_mul(size).min(all.len());
    call.caller.write(info.u64(address), &all[..room])?;
    info.put_u32(count, (all.len() / size) as u32);
    Ok(())
}

/// The instructions, with maps by their ids.
fn xlated(program: &Program) -> Vec<u8> {
    let maps = program.map_ids();
    let insns = &program.verified().insns;
    let mut bytes = Vec::with_capacity(8 * insns.len());
    for (pc, insn) in insns.iter().enumerate() {
        let mut insn = *insn;
        if let Ok(Instruction::LoadImm64 { imm, .. }) = decode(insns, pc) {
            let (src, index) = match imm {
                Imm64::MapIdx(index) => (1, index),
                Imm64::MapValueIdx { index, .. } => (2, index),
                _ => (insn.src, u32::MAX),
            };
            if let Some(id) = maps.get(index as usize) {
                insn.src = src;
                insn.imm = id.cast_signed();
            }
        }
        bytes.extend_from_slice(&insn.to_bytes());
    }
    bytes
}

/// What programs of the same instructions have in common, whichever maps they use.
fn tag(insns: &[Insn]) -> [u8; 8] {
    let mut digest = Sha256::new();
    let mut of_map = false;
    for insn in insns {
        let by_descriptor = (insn.code == LDDW)
            .then(|| BY_INDEX.iter().position(|src| *src == insn.src))
            .flatten();
        let mut insn = *insn;
        if let Some(kind) = by_descriptor {
            insn.src = BY_DESCRIPTOR[kind];
            insn.imm = 0;
        } else if of_map {
            insn.imm = 0;
        }
        digest.update(insn.to_bytes());
        of_map = by_descriptor.is_some();
    }
    let digest = digest.finalize();
    std::array::from_fn(|at| digest[at])
}
