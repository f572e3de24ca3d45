//! Decoding is strict; encoding undoes it, and so does assembling the text.

use hitless_isa::asm::assemble;
use hitless_isa::{DecodeError, Insn, decode, disasm, encode};

const OFFS: [i16; 11] = [0, 1, 2, 8, 16, 32, 64, -1, 5, i16::MIN, i16::MAX];
const IMMS: [i32; 25] = [
    0,
    1,
    2,
    5,
    16,
    32,
    64,
    -1,
    0x40,
    0x41,
    0x50,
    0x51,
    0xa0,
    0xa1,
    0xe0,
    0xe1,
    0xf0,
    0xf1,
    0x100,
    0x101,
    0x110,
    0x1000,
    0x1_0000,
    i32::MIN,
    i32::MAX,
];

/// Every opcode with every register and many offsets and immediates, and with a second slot.
#[test]
fn encoding_and_assembling_undo_decoding() {
    let (mut accepted, mut codes) = (0, std::collections::BTreeSet::new());
    for code in 0..=255 {
        for (dst, src) in (0..16).flat_map(|dst| (0..16).map(move |src| (dst, src))) {
            for (off, imm) in OFFS.iter().flat_map(|&off| IMMS.iter().map(move |&imm| (off, imm))) {
                let insn = Insn {
                    code,
                    dst,
                    src,
                    off,
                    imm,
                };
                assert_eq!(Insn::from_bytes(insn.to_bytes()), insn);
                for second in [0, imm] {
                    let slots = [
                        insn,
                        Insn {
                            imm: second,
                            ..Insn::default()
                        },
                    ];
                    let Ok(decoded) = decode(&slots, 0) else { continue };
                    accepted += 1;
                    codes.insert(code);
                    let slots = &slots[..decoded.slots()];
                    assert_eq!(encode(&decoded), slots, "{decoded:?}");
                    // Each register is in a text once; the texts of all would take minutes.
                    if (dst + src) % 5 == 0 {
                        let text = disasm::text(&decoded, &disasm::no_names).to_string();
                        assert_eq!(assemble(&text).as_deref(), Ok(slots), "{text}");
                    }
                }
            }
        }
    }
    // Arithmetic and negation, byte order, conditional and other jumps, wide, packet, loads, stores, atomics.
    assert_eq!(codes.len(), 50 + 3 + 44 + 6 + 1 + 6 + 7 + 8 + 4);
    assert!(accepted > 100_000);
}

#[test]
fn fields_without_meaning_are_refused() {
    let insn = |code, dst, src, off, imm| Insn {
        code,
        dst,
        src,
        off,
        imm,
    };
    let reserved = [
        (insn(0xb7, 0, 1, 0, 0), "src of a move of an immediate"),
        (insn(0xbf, 0, 1, 0, 1), "imm of a move of a register"),
        (insn(0xbc, 0, 1, 32, 0), "32-bit move that extends 32 bits"),
        (insn(0xb7, 0, 0, 8, 0), "sign extension of an immediate"),
        (insn(0x07, 0, 0, 1, 1), "signed addition"),
        (insn(0x87, 0, 0, 0, 1), "imm of a negation"),
        (insn(0xd4, 0, 0, 0, 8), "byte order of 8 bits"),
        (insn(0x05, 0, 0, 1, 1), "imm of a short jump"),
        (insn(0x06, 0, 0, 1, 1), "off of a long jump"),
        (insn(0x85, 0, 3, 0, 1), "call of an unknown kind"),
        (insn(0x85, 0, 0, 1, 1), "off of a call"),
        (insn(0x95, 0, 0, 0, 1), "imm of exit"),
        (insn(0x61, 0, 1, 0, 1), "imm of a load"),
        (insn(0xbc, 0, 1, 1, 1), "32-bit address space cast"),
        (insn(0x85, 1, 2, 0, 1), "dst of a kfunc call"),
        (insn(0x20, 1, 0, 0, 0), "dst of packet access"),
    ];
    for (insn, what) in reserved {
        assert_eq!(
            decode(&[insn], 0),
            Err(DecodeError::ReservedField { code: insn.code }),
            "{what}"
        );
    }
}

#[test]
fn refusals_have_the_kernels_words() {
    let text = |slots: &[Insn]| {
        let error = decode(slots, 0).unwrap_err();
        assert_eq!(error.errno(), 22, "EINVAL");
        error.to_string()
    };
    let insn = |code, off, imm| {
        [Insn {
            code,
            dst: 1,
            src: 2,
            off,
            imm,
        }]
    };
    // A compare-exchange that does not fetch, an addition of a byte, a kind of `may_goto`, a cast to nowhere.
    assert_eq!(text(&insn(0xdb, 0, 0xf0)), "BPF_ATOMIC uses invalid atomic opcode f0");
    assert_eq!(text(&insn(0xd3, 0, 0)), "invalid atomic operand size");
    assert_eq!(text(&insn(0xe5, 0, 7)), "invalid may_goto imm 7");
    assert_eq!(
        text(&insn(0xbf, 1, 0)),
        "addr_space_cast insn can only convert between address space 1 and 0"
    );
    assert_eq!(
        text(&[Insn {
            code: 0x8f,
            ..Insn::default()
        }]),
        "unknown opcode 8f"
    );
    assert_eq!(text(&[Insn::default()]), "unknown opcode 00");
    assert_eq!(
        text(&[Insn {
            code: 0xb7,
            dst: 12,
            ..Insn::default()
        }]),
        "R12 is invalid"
    );
    assert_eq!(
        text(&[Insn {
            code: 0x95,
            imm: 1,
            ..Insn::default()
        }]),
        "BPF_EXIT uses reserved fields"
    );
    assert_eq!(
        text(&[Insn {
            code: 0x18,
            ..Insn::default()
        }]),
        "invalid bpf_ld_imm64 insn"
    );
    assert_eq!(text(&[]), "no instruction at 0, the program has 0");
}

/// The second slot of a wide immediate holds nothing but the upper half.
#[test]
fn second_slots_are_checked() {
    let wide = |src| Insn {
        code: 0x18,
        src,
        ..Insn::default()
    };
    let second = Insn {
        imm: 7,
        ..Insn::default()
    };
    for bad in [
        Insn { code: 0xb7, ..second },
        Insn { dst: 1, ..second },
        Insn { src: 1, ..second },
        Insn { off: 1, ..second },
    ] {
        assert_eq!(decode(&[wide(0), bad], 0), Err(DecodeError::InvalidWide));
    }
    for (src, accepts) in [
        (0, true),
        (1, false),
        (2, true),
        (3, true),
        (4, false),
        (5, false),
        (6, true),
        (7, false),
    ] {
        let decoded = decode(&[wide(src), second], 0);
        assert_eq!(decoded.is_ok(), accepts, "kind {src}");
        if !accepts {
            assert_eq!(decoded, Err(DecodeError::UnrecognizedWide { kind: src }));
        }
    }
}
