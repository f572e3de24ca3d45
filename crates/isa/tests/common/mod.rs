//! Slots to try things on, and the kernel as the oracle.
#![allow(dead_code, reason = "not every test file needs all of it")]

pub mod kernel;

use hitless_isa::Insn;

/// Every opcode: with all fields zero, and with each field alone at values that mean something to some opcode.
pub fn single_field_variations() -> impl Iterator<Item = Insn> {
    const OFFS: [i16; 8] = [-2, 1, 2, 3, 8, 16, 32, 60];
    const IMMS: [i32; 27] = [
        1, 2, 3, 8, 16, 32, 60, 64, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xb0, 0xe0, 0xe1, 0xf0, 0xf1, 0xff, 0x100,
        0x101, 0x110, 0x111, 0x1_0000, -1, -9,
    ];
    (0..=u8::MAX).flat_map(|code| {
        let insn = Insn {
            code,
            ..Insn::default()
        };
        std::iter::once(insn)
            .chain((1..16).map(move |dst| Insn { dst, ..insn }))
            .chain((1..16).map(move |src| Insn { src, ..insn }))
            .chain(OFFS.map(|off| Insn { off, ..insn }))
            .chain(IMMS.map(|imm| Insn { imm, ..insn }))
            // Conversions, with what they do not use.
            .chain([1, 2].map(|src| Insn { src, imm: 16, ..insn }))
            .chain(casts(insn))
            .chain(helper_calls(insn))
    })
}

/// Casts between address spaces: both kinds, and what is next to them.
fn casts(insn: Insn) -> Vec<Insn> {
    const MOVES: [u8; 2] = [0xbc, 0xbf];
    let imms: &[i32] = if MOVES.contains(&insn.code) {
        &[1, 2, 0x1_0000, 0x1_0001]
    } else {
        &[]
    };
    imms.iter().map(|&imm| Insn { off: 1, imm, ..insn }).collect()
}

/// Calls of all helpers, and of numbers that are none.
fn helper_calls(insn: Insn) -> impl Iterator<Item = Insn> {
    let imms = if insn.code == 0x85 { 0..220 } else { 0..0 };
    imms.map(move |imm| Insn { imm, ..insn })
}
