//! Random plausible programs: arithmetic, branches, bounded loops, spills and calls, whose results become offsets.

use hitless_isa::{
    AluOp, AtomicOp, CallTarget, Cond, EndOp, Imm64, Insn, Instruction, Operand, Reg, Size, Width, encode,
};

use super::random::Random;

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
const SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];
/// Where iterators are on the stack.
const ITERATOR: i32 = -48;
/// `bpf_loop`.
const LOOP: u32 = 181;
/// Bytes of stack that programs use.
const STACK: i16 = 32;

/// Where keys of lookups are, below the numbers.
const KEY: i16 = -STACK - 16;

/// The surroundings of the programs, as a case.
pub const SETTING: &str = "\
case: generated
map: m array value 64
map: a array value 32 entries 4
map: h hash value 16
map: c array value 16 frozen 000102037f80ff050000000900000001
    r0 = 0
    exit
";

/// The maps of [`SETTING`], for programs that [change](Style::changes) them, and more: by type number, value size, entries.
pub const MAPS: [(&str, u32, u32, u32); 7] = [
    ("m", 2, 64, 1),
    ("a", 2, 32, 4),
    ("h", 1, 16, 3),
    ("c", 2, 16, 1),
    ("p", 6, 16, 4),
    ("q", 5, 16, 3),
    ("jumps", 3, 4, 4),
];
/// Those of them that are changed: index and value size.
const CHANGED: [(u32, i16); 4] = [(1, 32), (2, 16), (4, 16), (5, 16)];
const JUMPS: u32 = 6;
/// Where programs that change maps keep the context, and the end of what they have written of their stack.
const CONTEXT: i16 = -80;

/// What programs are like.
#[derive(Clone, Copy)]
pub struct Style {
    /// Where the context says where the packet begins and ends, if there is one.
    pub packet: Option<(i16, i16)>,
    /// Whether they change maps, leave all their registers in one, and may end with tail calls.
    pub changes: bool,
    /// Whether they may end with a tail call.
    pub tail_calls: bool,
    /// Whether they call functions of the kernel.
    pub kfuncs: bool,
}

/// Programs for XDP that change nothing but one map.
const XDP: Style = Style {
    packet: Some((0, 4)),
    changes: false,
    tail_calls: false,
    kfuncs: true,
};

/// Part of a program. Jumps count parts, not slots.
enum Part {
    Insns(Vec<Instruction>),
    /// A conditional jump over so many parts.
    Skip(Instruction, usize),
    /// A conditional jump back to the beginning of a part.
    Back(Instruction, usize),
    /// A jump back to the beginning of a part, as long as `may_goto` allows.
    MayGoBack(usize),
    /// A call of the subprogram at the end.
    Call,
    /// Makes an iterator, and takes elements from it as long as there are some, doing this with them.
    Iterate(i32, Vec<Instruction>),
    /// A call of `bpf_loop`, for so many turns of the function behind that.
    Loop(i32),
}

fn reg(n: u64) -> Reg {
    Reg::new(n as u8).expect("a register")
}

fn alu(op: AluOp, dst: Reg, src: Operand) -> Instruction {
    Instruction::Alu {
        width: Width::W64,
        op,
        dst,
        src,
    }
}

fn mov(dst: Reg, src: Operand) -> Instruction {
    alu(AluOp::Mov, dst, src)
}

fn load(size: Size, dst: Reg, base: Reg, off: i16) -> Instruction {
    Instruction::Load {
        size,
        signed: false,
        dst,
        base,
        off,
    }
}

fn jump(width: Width, cond: Cond, dst: Reg, src: Operand) -> Instruction {
    Instruction::Jump {
        width,
        cond,
        dst,
        src,
        off: 0,
    }
}

/// Part of the stack that an access of this size can reach.
fn stack_offset(random: &mut Random, size: Size) -> i16 {
    let size = size.bytes() as i16;
    -size * (1 + random.below((STACK / size) as u64) as i16)
}

/// A program of arithmetic and branches on `r0` to `r5` and spilled numbers, that at last uses some of them as offsets into
/// a map value (`r6`, 64 bytes, map 0) and into the packet. It may have a loop around a part of it (counted in `r9`) and a
/// subprogram.
pub fn program(random: &mut Random) -> Vec<Insn> {
    program_of(random, XDP)
}

/// The same of another style. One that changes maps reads no stack that it has not written, and its result does not depend on
/// where anything lies.
pub fn program_of(random: &mut Random, style: Style) -> Vec<Insn> {
    let mut parts = vec![Part::Insns(prologue(random, style))];
    let body = 4 + random.below(20) as usize;
    let loops = random.below(3) == 0;
    let (first, last) = (
        random.below(body as u64 / 2) as usize,
        body / 2 + random.below(body as u64 / 2) as usize,
    );
    let calls = random.below(4) == 0;
    let mut start = 0;
    for i in 0..body {
        if loops && i == first {
            parts.push(Part::Insns(vec![mov(Reg::R9, Operand::Imm(0))]));
            start = parts.len();
        }
        // Jumps stay inside of the loop, or outside.
        let room = if loops && (first..=last).contains(&i) {
            last - i
        } else if loops && i < first {
            first - i - 1
        } else {
            body - i - 1
        };
        parts.push(if style.changes && random.below(3) == 0 {
            Part::Insns(change(random))
        } else {
            part(random, room, calls, style)
        });
        if loops && i == last {
            let limit = Operand::Imm(1 + random.below(6) as i32);
            let cond = random.pick(&[Cond::Lt, Cond::Slt, Cond::Ne, Cond::Le]);
            parts.push(Part::Insns(vec![alu(AluOp::Add, Reg::R9, Operand::Imm(1))]));
            let back = jump(random.pick(&[Width::W32, Width::W64]), cond, Reg::R9, limit);
            parts.push(match random.below(3) {
                // How often it goes back then is up to who runs it.
                0 if !style.changes => Part::MayGoBack(start),
                _ => Part::Back(back, start),
            });
        }
    }
    let mut tail = epilogue(random, &mut parts, style);
    if style.tail_calls {
        // In the place of the exit.
        tail.pop();
        tail.extend([
            load(Size::Dw, Reg::R1, Reg::R10, CONTEXT),
            Instruction::LoadImm64 {
                dst: Reg::R2,
                imm: Imm64::MapIdx(JUMPS),
            },
            mov(Reg::R3, Operand::Imm(random.below(5) as i32)),
            Instruction::Call(CallTarget::Helper(12)),
            mov(Reg::R0, Operand::Imm(random.below(4) as i32)),
            Instruction::Exit,
        ]);
    }
    assemble(&parts, tail, random, style)
}

/// Changes a map, or something in it, by a helper or through a pointer; what a helper returns is one of the numbers then.
fn change(random: &mut Random) -> Vec<Instruction> {
    let (map, value) = random.pick(&CHANGED);
    let key = Operand::Imm(random.below(5) as i32);
    let pointer = |reg, off: i16| {
        [
            mov(reg, Operand::Reg(Reg::R10)),
            alu(AluOp::Add, reg, Operand::Imm(off.into())),
        ]
    };
    let mut code = vec![Instruction::Store {
        size: Size::W,
        base: Reg::R10,
        off: KEY,
        src: key,
    }];
    code.push(Instruction::LoadImm64 {
        dst: Reg::R1,
        imm: Imm64::MapIdx(map),
    });
    code.extend(pointer(Reg::R2, KEY));
    match random.below(4) {
        0 => code.push(Instruction::Call(CallTarget::Helper(3))),
        1 => {
            code.extend(pointer(Reg::R3, -STACK));
            code.push(mov(Reg::R4, Operand::Imm(random.pick(&[0, 0, 0, 1, 2, 9]))));
            code.push(Instruction::Call(CallTarget::Helper(2)));
        }
        _ => {
            code.push(Instruction::Call(CallTarget::Helper(1)));
            let size = random.pick(&SIZES);
            let slots = (value / size.bytes() as i16) as u64;
            let off = size.bytes() as i16 * random.below(slots) as i16;
            let src = load(random.pick(&SIZES), Reg::R2, Reg::R10, -8);
            let store = match (size, random.below(2)) {
                (Size::W | Size::Dw, 0) => Instruction::Atomic {
                    size,
                    op: AtomicOp::Add {
                        fetch: random.below(2) == 0,
                    },
                    base: Reg::R0,
                    off,
                    src: Reg::R2,
                },
                _ => Instruction::Store {
                    size,
                    base: Reg::R0,
                    off,
                    src: Operand::Reg(Reg::R2),
                },
            };
            let found = load(Size::W, Reg::R2, Reg::R0, 4 * random.below(value as u64 / 4) as i16);
            code.push(Instruction::Jump {
                width: Width::W64,
                cond: Cond::Eq,
                dst: Reg::R0,
                src: Operand::Imm(0),
                off: 4,
            });
            code.extend([src, store, found, mov(Reg::R0, Operand::Reg(Reg::R2))]);
        }
    }
    arguments(&mut code);
    code
}

fn prologue(random: &mut Random, style: Style) -> Vec<Instruction> {
    let mut code = Vec::new();
    if style.changes {
        code.push(Instruction::Store {
            size: Size::Dw,
            base: Reg::R10,
            off: CONTEXT,
            src: Operand::Reg(Reg::R1),
        });
        code.extend((1..10).map(|slot| Instruction::Store {
            size: Size::Dw,
            base: Reg::R10,
            off: CONTEXT + 8 * slot,
            src: Operand::Imm(0),
        }));
    }
    code.push(Instruction::LoadImm64 {
        dst: Reg::R6,
        imm: Imm64::MapValueIdx { index: 0, off: 0 },
    });
    for (n, off) in [(2, 0), (3, 8), (4, 16), (5, 24)] {
        code.push(load(random.pick(&SIZES), reg(n), Reg::R6, off));
    }
    code.push(mov(Reg::R0, Operand::Imm(random.number() as i32)));
    if let Some((start, end)) = style.packet {
        code.push(load(Size::W, Reg::R7, Reg::R1, start));
        code.push(load(Size::W, Reg::R8, Reg::R1, end));
    }
    code.push(mov(Reg::R1, Operand::Imm(1)));
    for (off, n) in [(-8, 2), (-16, 3)] {
        code.push(Instruction::Store {
            size: Size::Dw,
            base: Reg::R10,
            off,
            src: Operand::Reg(reg(n)),
        });
    }
    code
}

fn part(random: &mut Random, room: usize, calls: bool, style: Style) -> Part {
    let (a, b) = (reg(random.below(6)), reg(random.below(6)));
    let width = random.pick(&[Width::W32, Width::W64]);
    let number = random.number() as i32;
    let src = if random.below(2) == 0 {
        Operand::Reg(b)
    } else {
        Operand::Imm(number)
    };
    let size = random.pick(&SIZES);
    let one = |insn| Part::Insns(vec![insn]);
    match random.below(if calls { 26 } else { 23 }) {
        0..4 => {
            let op = random.pick(&OPS);
            let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
            let divides = matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod);
            let src = match src {
                Operand::Imm(imm) if shift => Operand::Imm(imm & 31),
                // The kernel refuses to divide by a constant zero.
                Operand::Imm(0) if divides => Operand::Imm(1),
                src => src,
            };
            one(Instruction::Alu { width, op, dst: a, src })
        }
        4 => one(Instruction::MovSx {
            width,
            bits: random.pick(&[8, 16]),
            dst: a,
            src: b,
        }),
        5 => one(Instruction::Neg { width, dst: a }),
        6 => one(Instruction::End {
            op: random.pick(&[EndOp::ToLe, EndOp::ToBe, EndOp::Swap]),
            bits: random.pick(&[16, 32, 64]),
            dst: a,
        }),
        7 => one(mov(a, Operand::Reg(b))),
        // A copy at a constant distance.
        8 => Part::Insns(vec![
            Instruction::Alu {
                width,
                op: AluOp::Mov,
                dst: a,
                src: Operand::Reg(b),
            },
            alu(
                random.pick(&[AluOp::Add, AluOp::Sub]),
                a,
                Operand::Imm(random.below(40) as i32 - 8),
            ),
        ]),
        9 => one(Instruction::Store {
            size,
            base: Reg::R10,
            off: stack_offset(random, size),
            src: if random.below(3) == 0 { Operand::Imm(0) } else { src },
        }),
        10 => one(Instruction::Load {
            size,
            signed: size != Size::Dw && random.below(3) == 0,
            dst: a,
            base: Reg::R10,
            off: stack_offset(random, size),
        }),
        11 if random.below(4) == 0 => one(atomic(random, size, a)),
        // The stack at an unknown offset.
        11 if random.below(2) == 0 => Part::Insns(vec![
            mov(a, Operand::Reg(b)),
            alu(AluOp::And, a, Operand::Imm(7)),
            alu(AluOp::Add, a, Operand::Reg(Reg::R10)),
            Instruction::Store {
                size: Size::B,
                base: a,
                off: -(STACK - 8 * random.below(3) as i16),
                src: Operand::Imm(random.pick(&[0, 1])),
            },
            mov(a, Operand::Imm(number)),
        ]),
        12 => Part::Insns(lookup(random, a)),
        13 => Part::Insns(checksum(random, a)),
        14 if style.packet.is_some() => Part::Insns(packet(random, a)),
        15 => Part::Insns(constant(random, a, size)),
        // A copy at a distance that another register has.
        16 => Part::Insns(vec![
            mov(a, Operand::Reg(b)),
            mov(Reg::R0, Operand::Imm(random.below(40) as i32 - 8)),
            alu(random.pick(&[AluOp::Add, AluOp::Sub]), a, Operand::Reg(Reg::R0)),
        ]),
        // A number with bounds.
        17 => Part::Insns(vec![
            mov(a, Operand::Reg(b)),
            alu(
                random.pick(&[AluOp::And, AluOp::And, AluOp::And, AluOp::Mod]),
                a,
                Operand::Imm(1 + random.below(70) as i32),
            ),
        ]),
        18 => one(Instruction::MovSx {
            width: Width::W64,
            bits: 32,
            dst: a,
            src: b,
        }),
        23 => Part::Call,
        24 if style.kfuncs => Part::Iterate(random.pick(&[0, 3, 100]), element(random)),
        25 => Part::Loop(random.pick(&[1, 2, 10, 100_000])),
        _ => Part::Skip(
            jump(width, random.pick(&CONDS), a, src),
            random.below(room as u64 + 1) as usize,
        ),
    }
}

/// An atomic on numbers: on the stack, or in the map value.
fn atomic(random: &mut Random, size: Size, reg: Reg) -> Instruction {
    let (base, off) = match random.below(3) {
        0 => (Reg::R6, 8 * random.below(8) as i16),
        _ => (Reg::R10, stack_offset(random, size)),
    };
    match (random.below(4), size) {
        (0, _) => Instruction::LoadAcquire {
            size,
            dst: reg,
            base,
            off,
        },
        (1, _) => Instruction::StoreRelease {
            size,
            base,
            off,
            src: reg,
        },
        (_, Size::W | Size::Dw) => {
            let fetch = random.below(2) == 0;
            let op = random.pick(&[
                AtomicOp::Add { fetch },
                AtomicOp::Or { fetch },
                AtomicOp::And { fetch },
                AtomicOp::Xor { fetch },
                AtomicOp::Xchg,
                AtomicOp::CmpXchg,
            ]);
            Instruction::Atomic {
                size,
                op,
                base,
                off,
                src: reg,
            }
        }
        _ => Instruction::LoadAcquire {
            size,
            dst: reg,
            base,
            off,
        },
    }
}

/// Numbers for the argument registers, which a call has clobbered.
fn arguments(code: &mut Vec<Instruction>) {
    code.push(mov(Reg::R1, Operand::Imm(3)));
    code.extend([2, 3, 4, 5].map(|n| load(Size::B, reg(n), Reg::R6, n as i16)));
}

/// Looks up a key, a constant or a number, and uses what is found, whether or not it was compared with NULL.
fn lookup(random: &mut Random, number: Reg) -> Vec<Instruction> {
    let (map, value) = random.pick(&[(1, 32), (1, 32), (2, 16)]);
    let size = random.pick(&[Size::W, Size::W, Size::W, Size::Dw, Size::B]);
    let at = KEY + random.pick(&[0, 0, 0, 4]);
    let key = match random.below(3) {
        0 => Operand::Reg(number),
        _ => Operand::Imm(random.below(5) as i32),
    };
    let mut code = vec![
        Instruction::Store {
            size,
            base: Reg::R10,
            off: if size == Size::Dw { KEY } else { at },
            src: key,
        },
        Instruction::LoadImm64 {
            dst: Reg::R1,
            imm: Imm64::MapIdx(map),
        },
        mov(Reg::R2, Operand::Reg(Reg::R10)),
        alu(AluOp::Add, Reg::R2, Operand::Imm(at.into())),
        Instruction::Call(CallTarget::Helper(1)),
    ];
    if random.below(8) != 0 {
        code.push(Instruction::Jump {
            width: Width::W64,
            cond: Cond::Eq,
            dst: Reg::R0,
            src: Operand::Imm(0),
            off: 2,
        });
    }
    code.push(load(
        random.pick(&SIZES),
        Reg::R2,
        Reg::R0,
        random.below(value - 6) as i16,
    ));
    code.push(mov(Reg::R0, Operand::Reg(Reg::R2)));
    // Otherwise it is the pointer, or zero.
    code.push(mov(Reg::R0, Operand::Imm(random.number() as i32)));
    arguments(&mut code);
    code
}

/// Gives a helper memory of a size that a number says, or perhaps none.
fn checksum(random: &mut Random, number: Reg) -> Vec<Instruction> {
    let mut code = vec![mov(Reg::R0, Operand::Reg(number))];
    let limit = Operand::Imm(random.pick(&[3, 4, 7, 8, 15, 20, 31, 40]));
    match random.below(4) {
        0 => code.push(alu(AluOp::And, Reg::R0, limit)),
        1 => code.push(alu(AluOp::And, Reg::R0, Operand::Imm(random.below(40) as i32))),
        2 => code.push(mov(Reg::R0, limit)),
        _ => {
            let width = random.pick(&[Width::W32, Width::W64]);
            let (dst, src, off) = (Reg::R0, limit, 1);
            let cond = random.pick(&[Cond::Lt, Cond::Le, Cond::Lt, Cond::Le, Cond::Slt]);
            code.push(Instruction::Jump {
                width,
                cond,
                dst,
                src,
                off,
            });
            code.push(mov(Reg::R0, Operand::Imm(4)));
        }
    }
    code.push(mov(Reg::R2, Operand::Reg(Reg::R0)));
    code.extend(match random.below(3) {
        0 => [
            mov(Reg::R1, Operand::Reg(Reg::R6)),
            alu(AluOp::Add, Reg::R1, Operand::Imm(random.below(28) as i32)),
        ],
        1 => [
            mov(Reg::R1, Operand::Imm(0)),
            alu(AluOp::And, Reg::R2, Operand::Imm(random.pick(&[0, 0, 0, 4]))),
        ],
        _ => [
            mov(Reg::R1, Operand::Reg(Reg::R10)),
            alu(AluOp::Add, Reg::R1, Operand::Imm(-64)),
        ],
    });
    code.extend([
        mov(Reg::R3, Operand::Imm(0)),
        mov(Reg::R4, Operand::Imm(0)),
        mov(Reg::R5, Operand::Imm(0)),
        Instruction::Call(CallTarget::Helper(28)),
    ]);
    arguments(&mut code);
    code
}

/// Loads from the packet somewhere behind a number, if that is not behind its end.
fn packet(random: &mut Random, number: Reg) -> Vec<Instruction> {
    let mask = random.pick(&[7, 15, 0xff, 0xfff, 0xffff, 0x1ffff]);
    let size = random.pick(&SIZES);
    let len = size.bytes() as i32 + random.below(3) as i32;
    let off = if random.below(8) == 0 {
        -1
    } else {
        random.below(3) as i16
    };
    let swapped = random.below(2) == 0;
    let (dst, src) = if swapped {
        (Reg::R8, Reg::R5)
    } else {
        (Reg::R5, Reg::R8)
    };
    let cond = match (random.below(8), swapped) {
        (0, _) => random.pick(&CONDS),
        (_, true) => random.pick(&[Cond::Lt, Cond::Le]),
        (_, false) => random.pick(&[Cond::Gt, Cond::Ge]),
    };
    let op = if random.below(16) == 0 { AluOp::Sub } else { AluOp::Add };
    vec![
        mov(Reg::R5, Operand::Reg(number)),
        alu(AluOp::And, Reg::R5, Operand::Imm(mask)),
        mov(Reg::R0, Operand::Reg(Reg::R7)),
        alu(AluOp::Add, Reg::R0, Operand::Imm(random.below(4) as i32)),
        alu(op, Reg::R0, Operand::Reg(Reg::R5)),
        mov(Reg::R5, Operand::Reg(Reg::R0)),
        alu(AluOp::Add, Reg::R5, Operand::Imm(len + i32::from(off))),
        Instruction::Jump {
            width: Width::W64,
            cond,
            dst,
            src: Operand::Reg(src),
            off: 1,
        },
        load(size, Reg::R5, Reg::R0, off),
        mov(Reg::R0, Operand::Imm(1)),
        mov(Reg::R5, Operand::Imm(2)),
    ]
}

/// A constant of the program's data.
fn constant(random: &mut Random, number: Reg, size: Size) -> Vec<Instruction> {
    vec![
        Instruction::LoadImm64 {
            dst: number,
            imm: Imm64::MapValueIdx {
                index: 3,
                off: random.below(8) as u32,
            },
        },
        Instruction::Load {
            size,
            signed: size != Size::Dw && random.below(2) == 0,
            dst: number,
            base: number,
            off: random.below(10) as i16,
        },
    ]
}

/// Uses one of the numbers as an offset; returns the code, in which jumps count slots.
fn epilogue(random: &mut Random, parts: &mut Vec<Part>, style: Style) -> Vec<Instruction> {
    let index = reg(random.below(6));
    let size = random.pick(&SIZES);
    let less = random.below(8) as i32 / 2 - 1;
    if style.changes {
        // The registers at the end.
        let kept = (0..6).map(|n| Instruction::Store {
            size: Size::Dw,
            base: Reg::R6,
            off: 8 * n,
            src: Operand::Reg(reg(n as u64)),
        });
        parts.push(Part::Insns(kept.collect()));
    }
    let Some(_) = style.packet else {
        return vec![mov(Reg::R0, Operand::Reg(index)), Instruction::Exit];
    };
    let mut code = Vec::new();
    if random.below(3) == 0 {
        let limit = Operand::Imm(random.below(70) as i32);
        let check = jump(
            random.pick(&[Width::W32, Width::W64]),
            random.pick(&CONDS),
            index,
            limit,
        );
        let Instruction::Jump {
            width, cond, dst, src, ..
        } = check
        else {
            unreachable!("just made");
        };
        code.push(Instruction::Jump {
            width,
            cond,
            dst,
            src,
            off: 8,
        });
    } else {
        parts.push(Part::Insns(vec![alu(AluOp::And, index, Operand::Imm(63))]));
    }
    code.extend([
        mov(Reg::R9, Operand::Reg(Reg::R6)),
        alu(AluOp::Add, Reg::R9, Operand::Reg(index)),
        Instruction::Store {
            size: Size::B,
            base: Reg::R9,
            off: 0,
            src: Operand::Imm(1),
        },
        alu(AluOp::Add, Reg::R7, Operand::Reg(index)),
        mov(Reg::R9, Operand::Reg(Reg::R7)),
        alu(AluOp::Add, Reg::R9, Operand::Imm(size.bytes() as i32 + less)),
        Instruction::Jump {
            width: Width::W64,
            cond: random.pick(&[Cond::Gt, Cond::Ge, Cond::Gt, Cond::Ge, Cond::Lt]),
            dst: Reg::R9,
            src: Operand::Reg(Reg::R8),
            off: 1,
        },
        load(size, Reg::R0, Reg::R7, 0),
        mov(Reg::R0, Operand::Imm(0)),
        Instruction::Exit,
    ]);
    code
}

/// A subprogram of two numbers; it looks at uninitialised stack, too.
fn subprogram(random: &mut Random, style: Style) -> Vec<Instruction> {
    let op = random.pick(&OPS[..6]);
    vec![
        mov(Reg::R0, Operand::Reg(Reg::R1)),
        Instruction::Store {
            size: if style.changes { Size::Dw } else { Size::W },
            base: Reg::R10,
            off: -8,
            src: Operand::Reg(Reg::R2),
        },
        Instruction::Jump {
            width: Width::W64,
            cond: random.pick(&CONDS),
            dst: Reg::R0,
            src: Operand::Imm(random.below(70) as i32),
            off: 2,
        },
        load(random.pick(&SIZES), Reg::R3, Reg::R10, -8),
        alu(op, Reg::R0, Operand::Reg(Reg::R3)),
        alu(AluOp::And, Reg::R0, Operand::Imm(random.pick(&[63, 255, -1]))),
        Instruction::Exit,
    ]
}

/// What is done with an element, a number at `r0`: it goes into one of the numbers on the stack.
fn element(random: &mut Random) -> Vec<Instruction> {
    let off = stack_offset(random, Size::Dw);
    let op = random.pick(&[AluOp::Add, AluOp::And, AluOp::Or, AluOp::Mov, AluOp::Rsh]);
    let number = random.below(32) as i32;
    let src = random.pick(&[Operand::Reg(Reg::R2), Operand::Imm(number)]);
    let src = if op == AluOp::Rsh { Operand::Imm(number) } else { src };
    vec![
        load(Size::W, Reg::R2, Reg::R0, 0),
        load(Size::Dw, Reg::R3, Reg::R10, off),
        alu(op, Reg::R3, src),
        Instruction::Store {
            size: Size::Dw,
            base: Reg::R10,
            off,
            src: Operand::Reg(Reg::R3),
        },
    ]
}

/// What `bpf_loop` calls: it changes one of the numbers on the caller's stack, and may go on.
fn turn(random: &mut Random) -> Vec<Instruction> {
    let off = 8 * random.below(4) as i16;
    let op = random.pick(&[AluOp::Add, AluOp::And, AluOp::Or, AluOp::Mov, AluOp::Rsh]);
    let number = if op == AluOp::Rsh { 1 } else { random.below(70) as i32 };
    let operand = if random.below(4) == 0 {
        Operand::Reg(Reg::R1)
    } else {
        Operand::Imm(number)
    };
    let mut code = vec![load(Size::Dw, Reg::R3, Reg::R2, off)];
    if random.below(2) == 0 {
        code.push(Instruction::Jump {
            width: Width::W64,
            cond: random.pick(&CONDS),
            dst: random.pick(&[Reg::R1, Reg::R3]),
            src: Operand::Imm(random.below(70) as i32),
            off: 2,
        });
    }
    code.extend([
        alu(op, Reg::R3, operand),
        Instruction::Store {
            size: Size::Dw,
            base: Reg::R2,
            off,
            src: Operand::Reg(Reg::R3),
        },
        mov(Reg::R0, Operand::Reg(Reg::R3)),
        alu(AluOp::And, Reg::R0, Operand::Imm(random.pick(&[0, 1, 1, 3]))),
        Instruction::Exit,
    ]);
    code
}

/// Lays the parts out one after the other.
fn assemble(parts: &[Part], tail: Vec<Instruction>, random: &mut Random, style: Style) -> Vec<Insn> {
    // After a call the arguments are loaded again.
    let call = |off| {
        let mut code = vec![Instruction::Call(CallTarget::Subprog(off))];
        arguments(&mut code);
        code
    };
    // The address is loaded in the second slot.
    let repeat = |turns: i32, off: i32| {
        let mut code = vec![
            mov(Reg::R1, Operand::Imm(turns)),
            Instruction::LoadImm64 {
                dst: Reg::R2,
                imm: Imm64::Func(off - 1),
            },
            mov(Reg::R3, Operand::Reg(Reg::R10)),
            alu(AluOp::Add, Reg::R3, Operand::Imm(-i32::from(STACK))),
            mov(Reg::R4, Operand::Imm(0)),
            Instruction::Call(CallTarget::Helper(LOOP)),
        ];
        arguments(&mut code);
        code
    };
    let iterate = |end: i32, body: &[Instruction]| {
        let kfunc = |name| {
            Instruction::Call(CallTarget::Kfunc {
                id: super::btf::kfunc_id(name),
                fd_idx: 0,
            })
        };
        let place = [
            mov(Reg::R1, Operand::Reg(Reg::R10)),
            alu(AluOp::Add, Reg::R1, Operand::Imm(ITERATOR)),
        ];
        let len = body.iter().map(Instruction::slots).sum::<usize>() as i32;
        let none = Instruction::Jump {
            width: Width::W64,
            cond: Cond::Eq,
            dst: Reg::R0,
            src: Operand::Imm(0),
            off: len + 1,
        };
        let mut code = place.to_vec();
        code.extend([mov(Reg::R2, Operand::Imm(0)), mov(Reg::R3, Operand::Imm(end))]);
        code.push(kfunc("bpf_iter_num_new"));
        code.extend(place.iter().cloned());
        code.extend([kfunc("bpf_iter_num_next"), none]);
        code.extend_from_slice(body);
        // To the next element.
        code.push(Instruction::Goto {
            off: -(len + 5),
            long: false,
        });
        code.extend(place);
        code.push(kfunc("bpf_iter_num_destroy"));
        code.push(mov(Reg::R0, Operand::Imm(0)));
        arguments(&mut code);
        code
    };
    let slots = |insns: &[Instruction]| insns.iter().map(Instruction::slots).sum::<usize>();
    let mut starts = vec![0];
    for part in parts {
        let len = match part {
            Part::Insns(insns) => slots(insns),
            Part::Skip(..) | Part::Back(..) => 1,
            Part::MayGoBack(_) => 2,
            Part::Call => slots(&call(0)),
            Part::Loop(_) => slots(&repeat(0, 0)),
            Part::Iterate(end, body) => slots(&iterate(*end, body)),
        };
        starts.push(starts.last().expect("not empty") + len);
    }
    let sub = starts[parts.len()] + slots(&tail);
    let subprogram = subprogram(random, style);
    let called = parts.iter().any(|part| matches!(part, Part::Call));
    let back = if called { sub + slots(&subprogram) } else { sub };
    let target = |insn: &Instruction, from: usize, to: usize| match *insn {
        Instruction::Jump {
            width, cond, dst, src, ..
        } => Instruction::Jump {
            width,
            cond,
            dst,
            src,
            off: to as i32 - from as i32 - 1,
        },
        other => other,
    };
    let mut code = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let at = starts[index];
        match part {
            Part::Insns(insns) => code.extend_from_slice(insns),
            Part::Skip(insn, over) => {
                code.push(target(insn, at, starts[(index + 1 + over).min(parts.len())]));
            }
            Part::Back(insn, to) => code.push(target(insn, at, starts[*to])),
            Part::MayGoBack(to) => {
                let off = starts[*to] as i32 - at as i32 - 2;
                let long = false;
                code.extend([Instruction::MayGoto { off: 1 }, Instruction::Goto { off, long }]);
            }
            Part::Call => code.extend(call(sub as i32 - at as i32 - 1)),
            Part::Iterate(end, body) => code.extend(iterate(*end, body)),
            Part::Loop(turns) => code.extend(repeat(*turns, back as i32 - at as i32 - 1)),
        }
    }
    code.extend(tail);
    if called {
        code.extend(subprogram);
    }
    if parts.iter().any(|part| matches!(part, Part::Loop(_))) {
        code.extend(turn(random));
    }
    code.iter().flat_map(encode).collect()
}
