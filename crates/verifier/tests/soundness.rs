//! Programs that the verifier accepts do what it says: random ones are run, and every step is compared with the claims.

mod support;

use hitless_isa::{AluOp, Cond, EndOp, Imm64, Insn, Instruction, Operand, Reg, Size, Width, decode, encode};
use hitless_verifier::claims::{Claim, verify_watched};
use support::Case;
use support::machine::Machine;
use support::random::Random;

/// More claims than this are not kept, and the program is skipped.
const CLAIMS: usize = 20_000;

/// Verifies a program and runs it if it is accepted; returns whether it was.
fn check(case: &Case, random: &mut Random, runs: usize) -> bool {
    let mut claims: Vec<Vec<[Claim; 10]>> = vec![Vec::new(); case.insns.len()];
    let mut count = 0;
    let result = verify_watched(&case.input(), &mut |pc, state| {
        count += 1;
        if count < CLAIMS {
            claims[pc].push(state);
        }
    });
    let Ok(verified) = result else { return false };
    if count >= CLAIMS {
        return false;
    }
    // Each step of a run is compared with every claim for its slot.
    let runs = if count > 1000 { 1 } else { runs };
    for _ in 0..runs {
        if let Err(error) = Machine::new(case, &verified, &claims, random).run() {
            let listing = hitless_isa::disasm::listing(&case.insns, &hitless_isa::disasm::no_names);
            panic!("{}: {error}\n{listing}", case.name);
        }
    }
    true
}

fn corpus() -> Vec<Case> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = std::fs::read_dir(dir).expect("the directory of cases is readable");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("its entries are readable").path())
        .collect();
    paths.sort();
    let read = |path| std::fs::read_to_string(path).expect("the case file is readable");
    paths.into_iter().flat_map(|path| support::parse(&read(path))).collect()
}

/// Changes something so that all of it still decodes.
fn mutate(insns: &mut Vec<Insn>, random: &mut Random) {
    for _ in 0..20 {
        let mut changed = insns.clone();
        change_slot(&mut changed, random);
        if decodes(&changed) {
            *insns = changed;
            return;
        }
    }
}

fn decodes(insns: &[Insn]) -> bool {
    let mut pc = 0;
    while pc < insns.len() {
        match decode(insns, pc) {
            Ok(insn) => pc += insn.slots(),
            Err(_) => return false,
        }
    }
    true
}

/// Changes one field of one slot.
fn change_slot(insns: &mut [Insn], random: &mut Random) {
    let at = random.below(insns.len() as u64) as usize;
    let other = insns[random.below(insns.len() as u64) as usize];
    let insn = &mut insns[at];
    match random.below(9) {
        0 => insn.dst = random.below(11) as u8,
        1 => insn.src = random.below(11) as u8,
        2 => insn.off = insn.off.wrapping_add(random.pick(&[-16, -8, -4, -1, 1, 4, 8, 16])),
        3 => insn.imm = random.number() as i32,
        4 => insn.imm = insn.imm.wrapping_add(random.pick(&[-8, -1, 1, 8])),
        // Another operation of the class, another size, another source.
        5 => insn.code ^= 1 << random.below(8),
        6 => insn.code = insn.code & 0x0f | (random.below(16) << 4) as u8,
        7 => *insn = other,
        _ => {
            let elsewhere = random.below(insns.len() as u64) as usize;
            insns.swap(at, elsewhere);
        }
    }
}

#[test]
fn cases_do_what_is_claimed() {
    let mut random = Random::new(1);
    let accepted = corpus().iter().filter(|case| check(case, &mut random, 50)).count();
    assert!(accepted > 80, "{accepted}");
}

#[test]
fn mutated_cases_do_what_is_claimed() {
    let mut random = Random::new(2);
    // Of the refused ones a few: a change that makes them acceptable is rare.
    let long = |case: &Case| case.name.contains("loop");
    let (good, bad): (Vec<Case>, Vec<Case>) = corpus()
        .into_iter()
        .filter(|case| !long(case))
        .partition(|case| case.errors.is_empty());
    let mut accepted = 0;
    for round in 0..60_000 {
        let original = if round % 8 == 0 {
            &bad[round / 8 % bad.len()]
        } else {
            &good[round % good.len()]
        };
        let mut insns = original.insns.clone();
        for _ in 0..=random.below(2) {
            mutate(&mut insns, &mut random);
        }
        let case = Case {
            insns,
            name: format!("{} ({round})", original.name),
            ..clone_setting(original)
        };
        accepted += usize::from(check(&case, &mut random, 4));
    }
    assert!(accepted > 3000, "only {accepted} programs were accepted");
}

fn clone_setting(case: &Case) -> Case {
    Case {
        name: String::new(),
        line: case.line,
        maps: case.maps.clone(),
        context: case.context.clone(),
        helpers: case.helpers,
        gpl: case.gpl,
        insns: Vec::new(),
        poisoned: Vec::new(),
        errors: Vec::new(),
    }
}

const OPS: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::SDiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::SMod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];
const CONDS: [Cond; 11] = [
    Cond::Eq,
    Cond::Ne,
    Cond::Gt,
    Cond::Ge,
    Cond::Lt,
    Cond::Le,
    Cond::Sgt,
    Cond::Sge,
    Cond::Slt,
    Cond::Sle,
    Cond::Set,
];

/// A program of arithmetic and branches on `r0` to `r5` and two spilled numbers, that at last uses some of them as offsets
/// into a map value (`r6`, 64 bytes) and into the packet.
fn generate(random: &mut Random) -> Vec<Insn> {
    let reg = |n: u64| Reg::new(n as u8).expect("a register");
    let mut code = vec![Instruction::LoadImm64 {
        dst: Reg::R6,
        imm: Imm64::MapValueIdx { index: 0, off: 0 },
    }];
    for (n, off) in [(2, 0), (3, 8), (4, 16), (5, 24)] {
        code.push(Instruction::Load {
            size: random.pick(&[Size::B, Size::H, Size::W, Size::Dw]),
            signed: false,
            dst: reg(n),
            base: Reg::R6,
            off,
        });
    }
    code.push(mov(Reg::R0, Operand::Imm(random.number() as i32)));
    code.push(Instruction::Load {
        size: Size::W,
        signed: false,
        dst: Reg::R7,
        base: Reg::R1,
        off: 0,
    });
    code.push(Instruction::Load {
        size: Size::W,
        signed: false,
        dst: Reg::R8,
        base: Reg::R1,
        off: 4,
    });
    code.push(mov(Reg::R1, Operand::Imm(1)));
    let spill = |off, n| Instruction::Store {
        size: Size::Dw,
        base: Reg::R10,
        off,
        src: Operand::Reg(reg(n)),
    };
    code.extend([spill(-8, 2), spill(-16, 3)]);
    let body = 4 + random.below(20);
    for i in 0..body {
        let (a, b) = (reg(random.below(6)), reg(random.below(6)));
        let width = random.pick(&[Width::W32, Width::W64]);
        let number = random.number() as i32;
        let src = if random.below(2) == 0 {
            Operand::Reg(b)
        } else {
            Operand::Imm(number)
        };
        code.push(match random.below(12) {
            0..4 => {
                let op = random.pick(&OPS);
                let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
                let src = match src {
                    Operand::Imm(imm) if shift => Operand::Imm(imm & 31),
                    src => src,
                };
                Instruction::Alu { width, op, dst: a, src }
            }
            4 => Instruction::MovSx {
                width,
                bits: random.pick(&[8, 16]),
                dst: a,
                src: b,
            },
            5 => Instruction::Neg { width, dst: a },
            6 => Instruction::End {
                op: random.pick(&[EndOp::ToLe, EndOp::ToBe]),
                bits: random.pick(&[16, 32, 64]),
                dst: a,
            },
            7 => mov(a, Operand::Reg(b)),
            8 => Instruction::Store {
                size: random.pick(&[Size::B, Size::H, Size::W, Size::Dw]),
                base: Reg::R10,
                off: random.pick(&[-8, -16]),
                src,
            },
            9 => Instruction::Load {
                size: random.pick(&[Size::B, Size::H, Size::W, Size::Dw]),
                signed: false,
                dst: a,
                base: Reg::R10,
                off: random.pick(&[-8, -16]),
            },
            _ => {
                let (cond, off) = (random.pick(&CONDS), random.below(body - i) as i32);
                Instruction::Jump {
                    width,
                    cond,
                    dst: a,
                    src,
                    off,
                }
            }
        });
    }
    let index = reg(random.below(6));
    if random.below(2) == 0 {
        let limit = Operand::Imm(random.below(70) as i32);
        let cond = random.pick(&CONDS);
        let width = random.pick(&[Width::W32, Width::W64]);
        code.push(Instruction::Jump {
            width,
            cond,
            dst: index,
            src: limit,
            off: 8,
        });
    } else {
        code.push(Instruction::Alu {
            width: Width::W64,
            op: AluOp::And,
            dst: index,
            src: Operand::Imm(63),
        });
    }
    let add = |dst, src| Instruction::Alu {
        width: Width::W64,
        op: AluOp::Add,
        dst,
        src,
    };
    let size = random.pick(&[Size::B, Size::H, Size::W, Size::Dw]);
    code.extend([
        mov(Reg::R9, Operand::Reg(Reg::R6)),
        add(Reg::R9, Operand::Reg(index)),
        Instruction::Store {
            size: Size::B,
            base: Reg::R9,
            off: 0,
            src: Operand::Imm(1),
        },
        add(Reg::R7, Operand::Reg(index)),
        mov(Reg::R9, Operand::Reg(Reg::R7)),
        add(Reg::R9, Operand::Imm(random.below(10) as i32)),
        Instruction::Jump {
            width: Width::W64,
            cond: random.pick(&CONDS[2..6]),
            dst: Reg::R9,
            src: Operand::Reg(Reg::R8),
            off: 1,
        },
        Instruction::Load {
            size,
            signed: false,
            dst: Reg::R0,
            base: Reg::R7,
            off: 0,
        },
        mov(Reg::R0, Operand::Imm(0)),
        Instruction::Exit,
    ]);
    code.iter().flat_map(encode).collect()
}

fn mov(dst: Reg, src: Operand) -> Instruction {
    Instruction::Alu {
        width: Width::W64,
        op: AluOp::Mov,
        dst,
        src,
    }
}

#[test]
fn generated_programs_do_what_is_claimed() {
    let mut random = Random::new(3);
    let setting = &support::parse("case: generated\nmap: m array value 64\n    r0 = 0\n    exit\n")[0];
    let mut accepted = 0;
    for round in 0..30_000 {
        let case = Case {
            insns: generate(&mut random),
            name: format!("generated ({round})"),
            ..clone_setting(setting)
        };
        accepted += usize::from(check(&case, &mut random, 6));
    }
    assert!(accepted > 3000, "only {accepted} programs were accepted");
}
