//! The disassembler's texts, and the assembler as its inverse.

use hitless_isa::asm::{AsmErrorKind, assemble};
use hitless_isa::{DecodeError, Insn, Instruction, decode, disasm};
use proptest::prelude::*;

fn helper_name(id: u32) -> Option<&'static str> {
    (id == 1).then_some("bpf_map_lookup_elem")
}

fn text(insns: &[Insn]) -> String {
    let instruction = decode(insns, 0).expect("an instruction");
    disasm::text(&instruction, &helper_name).to_string()
}

/// Slots as their bytes stand in an object file, and their text.
#[test]
fn texts() {
    let cases: [(&str, &str); 53] = [
        ("b700000000000000", "r0 = 0"),
        ("b4010000fdffffff", "w1 = -3"),
        ("0c21000000000000", "w1 += w2"),
        ("1700000001000000", "r0 -= 1"),
        ("2f21000000000000", "r1 *= r2"),
        ("3f21000000000000", "r1 /= r2"),
        ("3f21010000000000", "r1 s/= r2"),
        ("9401010005000000", "w1 s%= 5"),
        ("6701000020000000", "r1 <<= 32"),
        ("7701000020000000", "r1 >>= 32"),
        ("c701000020000000", "r1 s>>= 32"),
        ("bf61000000000000", "r1 = r6"),
        ("bf61080000000000", "r1 = (s8)r6"),
        ("bc61100000000000", "w1 = (s16)w6"),
        ("bf61200000000000", "r1 = (s32)r6"),
        ("8700000000000000", "r0 = -r0"),
        ("8400000000000000", "w0 = -w0"),
        ("d402000010000000", "r2 = le16 r2"),
        ("dc02000020000000", "r2 = be32 r2"),
        ("d702000040000000", "r2 = bswap64 r2"),
        ("6161040000000000", "r1 = *(u32 *)(r6 +4)"),
        ("9161fcff00000000", "r1 = *(s8 *)(r6 -4)"),
        ("7b1af8ff00000000", "*(u64 *)(r10 -8) = r1"),
        ("720afcff05000000", "*(u8 *)(r10 -4) = 5"),
        ("db21000000000000", "lock *(u64 *)(r1 +0) += r2"),
        ("c321000050000000", "lock *(u32 *)(r1 +0) &= r2"),
        ("db21000001000000", "r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)"),
        ("c3210400a1000000", "r2 = atomic_fetch_xor((u32 *)(r1 +4), r2)"),
        ("db210000e1000000", "r2 = atomic64_xchg((u64 *)(r1 +0), r2)"),
        ("c3210000f1000000", "r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)"),
        ("d310000000010000", "r0 = load_acquire((u8 *)(r1 +0))"),
        ("db21080010010000", "store_release((u64 *)(r1 +8), r2)"),
        ("2500030005000000", "if r0 > 0x5 goto pc+3"),
        ("5e01feff00000000", "if w1 != w0 goto pc-2"),
        ("c5010100ffffffff", "if r1 s< 0xffffffff goto pc+1"),
        ("4501010080000000", "if r1 & 0x80 goto pc+1"),
        ("0500030000000000", "goto pc+3"),
        ("0600000000000100", "gotol pc+65536"),
        ("0600000003000000", "gotol pc+3"),
        ("e500fdff00000000", "may_goto pc-3"),
        ("8500000001000000", "call bpf_map_lookup_elem#1"),
        ("85000000c8000000", "call unknown#200"),
        ("8510000005000000", "call pc+5"),
        ("852000002a000000", "call kernel-function#42"),
        ("852003002a000000", "call kernel-function#42 fd_array[3]"),
        ("8d02000000000000", "callx r2"),
        ("9500000000000000", "exit"),
        ("300000000c000000", "r0 = *(u8 *)skb[12]"),
        ("486000000c000000", "r0 = *(u16 *)skb[r6 + 12]"),
        ("1801000010000000 0000000000000000", "r1 = 0x10"),
        ("183100000c000000 0000000007000000", "r1 = btf_id[fd:7][12]"),
        ("bf21010001000000", "r1 = addr_space_cast(r2, 0, 1)"),
        ("bf21010000000100", "r1 = addr_space_cast(r2, 1, 0)"),
    ];
    for (hex, expected) in cases {
        let insns = from_hex(hex);
        assert_eq!(text(&insns), expected);
        assert_eq!(assemble(expected).as_deref(), Ok(&insns[..]), "{expected}");
    }
}

#[test]
fn wide_immediates_show_what_they_stand_for() {
    let expected = [
        "r1 = 0x0",
        "r1 = map[fd:0]",
        "r1 = map[fd:0][0]+0",
        "r1 = btf_id[0]",
        "r1 = subprog[+0]",
        "r1 = map[idx:0]",
        "r1 = map[idx:0]+0",
    ];
    for (src, expected) in (0..).zip(expected) {
        let insns = [
            Insn {
                code: 0x18,
                dst: 1,
                src,
                ..Insn::default()
            },
            Insn::default(),
        ];
        assert_eq!(text(&insns), expected);
        assert_eq!(assemble(expected).as_deref(), Ok(&insns[..]));
    }
}

#[test]
fn labels_comments_and_listings_are_read() {
    let by_label = assemble(
        "; sums
         start: r1 = 0x100000000 ll // two slots
         loop:
             r0 += r1
             if r0 s> r1 goto done
             call sum
             r2 = subprog[sum]
             goto loop
         done: exit
         sum:  r0 = 1
             exit",
    )
    .unwrap();
    let by_offset = assemble(
        "r1 = 0x100000000 ll\n r0 += r1\n if r0 s> r1 goto pc+4\n call pc+4\n r2 = subprog[+3]\n goto pc-6\n exit\n r0 = 1\n exit",
    );
    assert_eq!(by_offset.as_ref(), Ok(&by_label));
    let listing = disasm::listing(&by_label, &helper_name);
    assert!(
        listing.starts_with("0: (18) r1 = 0x100000000\n2: (0f) r0 += r1\n"),
        "{listing}"
    );
    assert_eq!(assemble(&listing), Ok(by_label));
    let bad = disasm::listing(&[Insn::default()], &helper_name);
    assert_eq!(bad, format!("0: (00) <{}>\n", DecodeError::UnknownOpcode { code: 0 }));
}

#[test]
fn errors_name_line_and_remedy() {
    let cases = [
        ("r0 = 1\nr11 = 2", "line 2: expected an instruction, found \"r11 = 2\""),
        ("r0 = w1", "line 1: expected a register r0 to r10, found \"w1\""),
        ("r0 = 1 1", "line 1: expected the end of the line, found \"1\""),
        (
            "r0 = 2147483648",
            "line 1: 2147483648 does not fit an immediate of 32 bits",
        ),
        (
            "r0 = *(u32 *)(r1 +32768)",
            "line 1: 32768 does not fit an offset of 16 bits",
        ),
        ("goto nowhere", "line 1: unknown label \"nowhere\""),
        ("a: a: exit", "line 1: label \"a\" is defined twice"),
        (
            "may_goto pc+40000",
            "line 1: 40000 does not fit a jump offset of 16 bits",
        ),
        ("goto pc+40000", "line 1: 40000 does not fit a jump offset of 16 bits"),
        (
            "r1 = addr_space_cast(r2, 0, 2)",
            "line 1: there is no cast between these address spaces, only from 0 to 1 and from 1 to 0",
        ),
        (
            "lock *(u8 *)(r1 +0) += r2",
            "line 1: there is no atomic operation of that size",
        ),
        ("w1 = (s32)w1", "line 1: there is no sign extension of that width"),
        (
            "r2 = atomic64_fetch_add((u64 *)(r1 +0), r3)",
            "line 1: expected the register that receives the old value, found \"r3)\"",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(assemble(source).unwrap_err().to_string(), expected);
    }
    assert!(matches!(
        assemble("r0 = @").unwrap_err().kind,
        AsmErrorKind::Expected { .. }
    ));
}

fn from_hex(hex: &str) -> Vec<Insn> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    bytes
        .chunks_exact(8)
        .map(|slot| Insn::from_bytes(slot.try_into().unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What decodes has a text that assembles to an instruction that decodes to the same.
    #[test]
    fn assembling_undoes_disassembling(
        (code, dst, src) in (any::<u8>(), 0u8..11, 0u8..11),
        off in prop_oneof![Just(0), Just(1), Just(8), Just(16), Just(32), any::<i16>()],
        imm in prop_oneof![
            Just(0), Just(16), Just(32), Just(64), Just(0x100), Just(0x110),
            prop::sample::select(vec![0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1]),
            any::<i32>(),
        ],
        high in prop_oneof![Just(0), any::<i32>()],
    ) {
        let insns = [Insn { code, dst, src, off, imm }, Insn { imm: high, ..Insn::default() }];
        if let Ok(instruction) = decode(&insns, 0) {
            let text = disasm::text(&instruction, &helper_name).to_string();
            let assembled = assemble(&text);
            prop_assert!(assembled.is_ok(), "{}: {:?}", text, assembled);
            prop_assert_eq!(decode(&assembled.unwrap(), 0), Ok(instruction), "{}", text);
        }
    }

    /// No text makes the assembler panic.
    #[test]
    fn any_text_is_assembled_or_refused(text in "([a-z0-9 *()+=\\[\\]#:<>&^|%/,-]{0,12}\n?){0,6}") {
        let _ = assemble(&text);
    }

    /// Any slots list, and never panic.
    #[test]
    fn any_slots_list(bytes in prop::collection::vec(any::<[u8; 8]>(), 0..8)) {
        let insns: Vec<Insn> = bytes.into_iter().map(Insn::from_bytes).collect();
        let _ = disasm::listing(&insns, &helper_name);
    }
}

#[test]
fn slots_of_an_instruction() {
    assert_eq!(Instruction::Exit.slots(), 1);
    assert_eq!(decode(&assemble("r1 = 0 ll").unwrap(), 0).unwrap().slots(), 2);
}

#[test]
fn hexadecimal_is_wide_and_so_is_what_llvm_says_is() {
    let wide = assemble("r1 = 0x10").unwrap();
    assert_eq!(wide.len(), 2);
    assert_eq!(assemble("r1 = 16 ll"), Ok(wide.clone()));
    assert_eq!(assemble("r1 = 0x10 ll"), Ok(wide));
    assert_eq!(assemble("r1 = 16").unwrap().len(), 1);
    assert_eq!(assemble("r1 += 0x10").unwrap().len(), 1);
    assert_eq!(assemble("w1 = 0x10").unwrap().len(), 1);
    assert_eq!(assemble("r1 = map[id:3]"), assemble("r1 = map[fd:3]"));
    assert_eq!(assemble("r1 = map[idx:3][0]+8"), assemble("r1 = map[idx:3]+8"));
}
