//! Decoding is strict, and encoding undoes it.

use hitless_isa::{DecodeError, Insn, Instruction, decode, encode};

const OFFS: [i16; 11] = [0, 1, 2, 8, 16, 32, 64, -1, 5, i16::MIN, i16::MAX];
const IMMS: [i32; 24] = [
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
    i32::MIN,
    i32::MAX,
];

/// Every opcode with every register and many offsets and immediates, alone and with a second slot.
#[test]
fn encoding_undoes_decoding() {
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
                    let encoded = encode(&decoded);
                    match decoded {
                        // A long jump that fits a short one.
                        Instruction::Goto { off } if i16::try_from(off).is_ok() => {
                            assert_eq!(decode(&encoded, 0), Ok(decoded));
                        }
                        _ => assert_eq!(encoded, slots[..decoded.slots()], "{decoded:?}"),
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
        (insn(0xbf, 0, 1, 1, 0), "address space cast"),
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
        (insn(0xdb, 1, 2, 0, 0xf0), "compare-exchange that does not fetch"),
        (insn(0xd3, 1, 2, 0, 0x00), "atomic addition of a byte"),
        (insn(0xe5, 0, 1, 0, 0), "kind of may_goto"),
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
    let text = |slots: &[Insn]| decode(slots, 0).unwrap_err().to_string();
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
        "opcode 95 uses reserved fields"
    );
    assert_eq!(
        text(&[Insn {
            code: 0x18,
            ..Insn::default()
        }]),
        "invalid bpf_ld_imm64 insn"
    );
    assert_eq!(text(&[]), "invalid bpf_ld_imm64 insn");
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
        (3, false),
        (4, false),
        (5, false),
        (6, true),
        (7, false),
    ] {
        assert_eq!(decode(&[wide(src), second], 0).is_ok(), accepts, "kind {src}");
    }
}
