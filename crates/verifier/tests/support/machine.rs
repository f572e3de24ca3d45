//! A plain interpreter for checking what the verifier claims. It shares no code with it.
//!
//! Every object has an address range of its own, far from the others. Each step checks that the instruction was found
//! reachable, and each access that it stays inside one object of a region that was claimed for the instruction.

use hitless_isa::{AluOp, AtomicOp, CallTarget, Cond, EndOp, Imm64, Instruction, Operand, Size, Width, decode};
use hitless_verifier::claims::{Claim, Claims, Object, Step as Claimed};
use hitless_verifier::tables::helpers;
use hitless_verifier::{ArgType, Branch, ContextFieldKind, MapFacts, MapKind, MemSize, Region, RetType, Verified};

use super::Case;
use super::random::Random;

const CONTEXT: u64 = 0x1_0000_0000;
const MAPS: u64 = 0x2_0000_0000;
const STACK_TOP: u64 = 0x10_0000_0000;
const KEYS: u64 = 0x3_0000_0000;
const FUNCTIONS: u64 = 0x7000_0000_0000;
const FRAME: u64 = 0x1_0000_0000;
/// Where objects are. They have no memory: loads from them may yield anything.
const OBJECTS: u64 = 0x6000_0000_0000;
/// More steps than any accepted program takes.
const STEPS: usize = 1_100_000;

struct Memory {
    region: Region,
    base: u64,
    bytes: Vec<u8>,
}

/// A helper that calls back.
struct Loop {
    /// Its call, and how many frames there are at it.
    pc: usize,
    frames: usize,
    /// How many turns there still are.
    left: u64,
}

/// One run of one program.
pub struct Machine<'a> {
    case: &'a Case,
    verified: &'a Verified,
    claims: &'a ClaimsBySlot,
    /// For each slot the claim that was found to hold last; the next one is likely to hold next.
    found: Vec<usize>,
    random: &'a mut Random,
    objects: Vec<Memory>,
    packet: u64,
    packet_end: u64,
    packet_meta: u64,
    regs: [u64; 11],
    callers: Vec<([u64; 11], usize)>,
    loops: Vec<Loop>,
    /// Where iterators are, and how many elements they still have.
    iterators: Vec<(u64, u64)>,
    lock: Option<u64>,
    /// The objects that were handed out and have to be released.
    held: Vec<u64>,
    /// Where the next record goes.
    next_record: u64,
    /// Where dynptrs are, and where their bytes are; these are at 0 if there are none.
    dynptrs: Vec<(u64, u64, u64)>,
    /// How often `may_goto` still falls through.
    turns: u64,
}

type Step<T> = Result<T, String>;

/// What a verification claimed, to be found by slot. Kept from program to program.
#[derive(Default)]
pub struct ClaimsBySlot {
    pub claims: Claims,
    /// The steps in the order of their slots.
    steps: Vec<Claimed>,
    /// For each slot where its steps begin, and where the last one's end.
    starts: Vec<usize>,
}

impl ClaimsBySlot {
    /// Sorts the claims for a program of so many slots.
    pub fn sort(&mut self, slots: usize) {
        self.starts.clear();
        self.starts.resize(slots + 1, 0);
        for step in &self.claims.steps {
            self.starts[step.pc + 1] += 1;
        }
        for slot in 0..slots {
            self.starts[slot + 1] += self.starts[slot];
        }
        self.steps.clear();
        self.steps.extend_from_slice(&self.claims.steps);
        self.steps.sort_by_key(|step| step.pc);
    }

    fn at(&self, pc: usize) -> &[Claimed] {
        &self.steps[self.starts[pc]..self.starts[pc + 1]]
    }
}

impl<'a> Machine<'a> {
    pub fn new(
        case: &'a Case,
        verified: &'a Verified,
        claims: &'a ClaimsBySlot,
        random: &'a mut Random,
    ) -> Machine<'a> {
        let mut machine = Machine {
            case,
            verified,
            claims,
            found: vec![0; case.insns.len()],
            random,
            objects: Vec::new(),
            packet: 0,
            packet_end: 0,
            packet_meta: 0,
            regs: [0; 11],
            callers: Vec::new(),
            loops: Vec::new(),
            iterators: Vec::new(),
            lock: None,
            held: Vec::new(),
            next_record: 0x5_0000_0000,
            dynptrs: Vec::new(),
            turns: 0,
        };
        machine.turns = machine.random.below(40);
        machine.packet_meta = 0x8_0000_0000;
        machine.add_packet();
        for (index, map) in case.maps.iter().enumerate() {
            for element in 0..2 {
                let base = MAPS + ((index as u64) << 24) + (element << 16);
                machine.add(Region::MapValue { map: index as u32 }, base, map.value_size as usize);
                if let Some(frozen) = &map.frozen {
                    machine.objects.last_mut().expect("just added").bytes.clone_from(frozen);
                }
                let key = Region::MapKey { map: index as u32 };
                machine.add(key, keys(index as u32) + (element << 16), map.key_size as usize);
                if let Some(inner) = &map.inner {
                    let (outer, base) = (
                        index as u32,
                        values(case.maps.len() as u32 + index as u32) + (element << 16),
                    );
                    machine.add(Region::InnerMapValue { outer }, base, inner.value_size as usize);
                    let key = keys(case.maps.len() as u32 + index as u32) + (element << 16);
                    machine.add(Region::InnerMapKey { outer }, key, inner.key_size as usize);
                }
            }
        }
        for &(field, extent) in &verified.extents {
            machine.add(Region::ContextMemory { field }, context_memory(field), extent as usize);
        }
        machine.add(Region::Stack, STACK_TOP - 512, 512);
        for reg in &mut machine.regs {
            *reg = machine.random.next();
        }
        machine.regs[1] = CONTEXT;
        machine.regs[10] = STACK_TOP;
        machine
    }

    /// A new packet with metadata, further on.
    fn add_packet(&mut self) {
        let (meta, packet) = (self.random.below(3) * 4, self.random.below(90));
        self.packet_meta += 0x1_0000;
        self.packet = self.packet_meta + meta;
        self.packet_end = self.packet + packet;
        self.add(Region::Packet, self.packet_meta, (meta + packet) as usize);
        // The stack of the current frame stays last.
        self.objects.rotate_right(1);
    }

    fn add(&mut self, region: Region, base: u64, len: usize) {
        let bytes = self.random.bytes(len);
        self.objects.push(Memory { region, base, bytes });
    }

    /// Runs to the end; the error says which claim was wrong.
    pub fn run(mut self) -> Step<()> {
        let mut pc = 0;
        for _ in 0..STEPS {
            if !self.verified.facts.is_reachable(pc) {
                return Err(format!("insn {pc} is reached"));
            }
            self.check_claims(pc)?;
            match self.step(pc).map_err(|error| format!("insn {pc}: {error}"))? {
                Some(next) => pc = next,
                None => return Ok(()),
            }
        }
        Err("does not end".to_owned())
    }

    fn check_claims(&mut self, pc: usize) -> Step<()> {
        let states = self.claims.at(pc);
        let holds = |step: &Claimed| {
            let mut claims = self.claims.claims.of(step).iter();
            claims.all(|(reg, claim)| self.admits(claim, self.regs[usize::from(*reg)]))
        };
        let first = self.found[pc];
        let mut order = (first..states.len()).chain(0..first);
        if let Some(index) = order.find(|&index| holds(&states[index])) {
            self.found[pc] = (index + 1) % states.len();
            return Ok(());
        }
        Err(format!(
            "insn {pc}: no claim admits {:x?}; the last of {} is {:?}",
            self.regs,
            states.len(),
            states.last().map(|step| self.claims.claims.of(step))
        ))
    }

    /// How many frames there are below that of the last global function: its claims count from there.
    fn base(&self) -> u64 {
        let global = |next: usize| {
            // The one that a callback returns to is the call of a helper.
            if !matches!(
                decode(&self.case.insns, next - 1),
                Ok(Instruction::Call(CallTarget::Subprog(_)))
            ) {
                return false;
            }
            let start = next.wrapping_add_signed(self.case.insns[next - 1].imm as isize);
            self.case.global_funcs.iter().any(|func| func.start == start)
        };
        let last = self.callers.iter().rposition(|(_, next)| global(*next));
        last.map_or(0, |index| index as u64 + 1)
    }

    fn admits(&self, claim: &Claim, value: u64) -> bool {
        let (object, fixed, var) = match claim {
            Claim::Nothing => return true,
            Claim::Number(number) => return number.admits(value),
            Claim::Pointer(object, fixed, var) => (object, *fixed as u64, var),
        };
        let at = |base: u64| var.admits(value.wrapping_sub(base).wrapping_sub(fixed));
        // Start plus unknown part plus range.
        let checked = |range: &u32| value.wrapping_sub(fixed).wrapping_add(u64::from(*range));
        match object {
            Object::Context => at(CONTEXT),
            Object::Stack(frame) => at(STACK_TOP + (self.base() + u64::from(*frame)) * FRAME),
            Object::Packet(range) => at(self.packet) && (*range == 0 || checked(range) <= self.packet_end),
            Object::PacketMeta(range) => at(self.packet_meta) && (*range == 0 || checked(range) <= self.packet),
            Object::PacketEnd => value == self.packet_end,
            Object::Map(map) => value == map_address(*map),
            Object::Element => self.iterators.iter().any(|iterator| at(iterator.0)),
            Object::Func(subprog) => at(function_address(self.verified.subprogs[*subprog as usize].start)),
            Object::MapKey(map) => (0..2).any(|element| at(keys(*map) + (element << 16))),
            Object::InnerMapOrNull(map) => value == 0 || value == map_address(*map),
            Object::MapValue(map, nullable) => {
                let region = match map.checked_sub(self.case.maps.len() as u32) {
                    None => Region::MapValue { map: *map },
                    Some(outer) => Region::InnerMapValue { outer },
                };
                let mut elements = self.objects.iter().filter(|object| object.region == region);
                *nullable && value == 0 || elements.any(|object| at(object.base))
            }
            Object::ContextMemory(field) => at(context_memory(*field)),
            Object::Slice(map, size, record, nullable) => {
                let region = match (self.record_region(*map), record) {
                    (region, true) => region,
                    (Region::Record { map }, false) => Region::MapValue { map },
                    (Region::InnerRecord { outer }, false) => Region::InnerMapValue { outer },
                    _ => return false,
                };
                let inside = |object: &Memory| {
                    let starts = 0..=(object.bytes.len() as u64).saturating_sub((*size).into());
                    object.region == region
                        && *size as usize <= object.bytes.len()
                        && starts.clone().any(|start| at(object.base + start))
                };
                *nullable && value == 0 || self.objects.iter().any(inside)
            }
            Object::Record(map, size, nullable) => {
                let mut records = self.records(*map).filter(|record| record.bytes.len() == *size as usize);
                *nullable && value == 0 || records.any(|record| at(record.base))
            }
        }
    }

    /// The records reserved in a ring buffer.
    fn records(&self, map: u32) -> impl Iterator<Item = &Memory> {
        let region = self.record_region(map);
        self.objects.iter().filter(move |object| object.region == region)
    }

    fn record_region(&self, map: u32) -> Region {
        match map.checked_sub(self.case.maps.len() as u32) {
            None => Region::Record { map },
            Some(outer) => Region::InnerRecord { outer },
        }
    }

    fn reserve(&mut self, map: u32, size: u64) -> u64 {
        if size > 4096 || self.random.below(3) == 0 {
            return 0;
        }
        let base = self.next_record;
        self.next_record += 0x1_0000;
        self.add(self.record_region(map), base, size as usize);
        // The stack of the current frame stays last.
        self.objects.rotate_right(1);
        base
    }

    /// The address of an object, or NULL if there may be none.
    fn object(&mut self, nullable: bool) -> u64 {
        match self.random.below(3) {
            0 if nullable => 0,
            which => OBJECTS + (which << 24),
        }
    }

    /// The number in four bytes of some object.
    fn index(&self, address: u64) -> u64 {
        let object = self
            .objects
            .iter()
            .rev()
            .find(|object| address >= object.base && address - object.base + 4 <= object.bytes.len() as u64);
        object.map_or(u64::MAX, |object| {
            let start = (address - object.base) as usize;
            object.bytes[start..start + 4]
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        })
    }

    fn make_dynptr(&mut self, place: u64, bytes: u64, len: u64) -> Step<u64> {
        let fill = self.random.next() as u8;
        self.find(&[Region::Stack], place, 16, true)?.fill(fill);
        self.dynptrs.retain(|dynptr| dynptr.0.abs_diff(place) >= 16);
        self.dynptrs.push((place, bytes, len));
        Ok(self.random.number())
    }

    /// Where the bytes of the dynptr at `place` are, and how many.
    fn dynptr(&self, place: u64) -> Step<(u64, u64)> {
        let found = self.dynptrs.iter().find(|dynptr| dynptr.0 == place);
        found.map(|dynptr| (dynptr.1, dynptr.2)).ok_or("no dynptr".to_owned())
    }

    fn is_record(object: &Memory) -> bool {
        matches!(object.region, Region::Record { .. } | Region::InnerRecord { .. })
    }

    /// Submits or discards a record.
    fn release(&mut self, address: u64) -> Step<u64> {
        let whole = |object: &Memory| Machine::is_record(object) && object.base == address;
        let index = self.objects.iter().position(whole);
        self.objects.remove(index.ok_or("no such record")?);
        Ok(0)
    }

    fn step(&mut self, pc: usize) -> Step<Option<usize>> {
        let insn = decode(&self.case.insns, pc).map_err(|error| error.to_string())?;
        let next = pc + insn.slots();
        let target = |off: i32| (pc as i64 + 1 + i64::from(off)) as usize;
        match insn {
            Instruction::Alu { width, op, dst, src } => {
                let (x, y) = (self.regs[dst.index()], self.operand(src));
                self.regs[dst.index()] = alu(width, op, x, y);
            }
            Instruction::MovSx { width, bits, dst, src } => {
                let x = self.regs[src.index()];
                let extended = sign_extend(x, u32::from(bits));
                self.regs[dst.index()] = if width == Width::W32 {
                    extended & 0xffff_ffff
                } else {
                    extended
                };
            }
            Instruction::Neg { width, dst } => {
                self.regs[dst.index()] = alu(width, AluOp::Sub, 0, self.regs[dst.index()]);
            }
            Instruction::End { op, bits, dst } => {
                let bits = u32::from(bits);
                let x = self.regs[dst.index()] & (u64::MAX >> (64 - bits));
                self.regs[dst.index()] = if op == EndOp::ToLe {
                    x
                } else {
                    x.swap_bytes() >> (64 - bits)
                };
            }
            Instruction::LoadImm64 { dst, imm } => {
                self.regs[dst.index()] = match imm {
                    Imm64::Value(x) => x,
                    Imm64::MapIdx(map) => map_address(map),
                    Imm64::MapValueIdx { index, off } => MAPS + (u64::from(index) << 24) + u64::from(off),
                    Imm64::Func(off) => function_address(target(off)),
                    Imm64::BtfId { .. } => OBJECTS,
                    other => return Err(format!("{other:?}")),
                };
            }
            Instruction::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let x = self.load(pc, self.address(base, off), size)?;
                self.regs[dst.index()] = if signed {
                    sign_extend(x, 8 * size.bytes() as u32)
                } else {
                    x
                };
            }
            Instruction::LoadAcquire { size, dst, base, off } => {
                self.regs[dst.index()] = self.load(pc, self.address(base, off), size)?;
            }
            Instruction::Store { size, base, off, src } => {
                self.store(pc, self.address(base, off), size, self.operand(src))?;
            }
            Instruction::StoreRelease { size, base, off, src } => {
                self.store(pc, self.address(base, off), size, self.regs[src.index()])?;
            }
            Instruction::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => {
                self.atomic(pc, size, op, self.address(base, off), src.index())?;
            }
            Instruction::Jump {
                width,
                cond,
                dst,
                src,
                off,
            } => {
                let jumps = holds(width, cond, self.regs[dst.index()], self.operand(src));
                match self.verified.facts.at(pc).branch {
                    Some(Branch::Both) => {}
                    Some(Branch::Always) if jumps => {}
                    Some(Branch::Never) if !jumps => {}
                    claimed => return Err(format!("the jump was said to go {claimed:?}")),
                }
                if jumps {
                    return Ok(Some(target(off)));
                }
            }
            Instruction::MayGoto { off } => match self.turns.checked_sub(1) {
                Some(turns) => self.turns = turns,
                None => return Ok(Some(target(off))),
            },
            Instruction::Goto { off, .. } => return Ok(Some(target(off))),
            Instruction::Call(CallTarget::Subprog(off)) => {
                self.enter(next)?;
                return Ok(Some(target(off)));
            }
            Instruction::Call(CallTarget::Helper(id)) => {
                if let Some(start) = self.call_back(pc, id)? {
                    return Ok(Some(start));
                }
                self.helper(pc, id)?;
            }
            Instruction::Call(CallTarget::Kfunc { id, .. }) => self.kfunc(id)?,
            Instruction::Exit => {
                if self.callers.is_empty() && !self.iterators.is_empty() {
                    return Err("exit with an iterator".to_owned());
                }
                if self.callers.is_empty() && self.lock.is_some() {
                    return Err("exit with a lock".to_owned());
                }
                if self.callers.is_empty() && !self.held.is_empty() {
                    return Err("exit with an object that is held".to_owned());
                }
                if self.callers.is_empty() && self.objects.iter().any(Machine::is_record) {
                    return Err("exit with a record".to_owned());
                }
                let Some((saved, next)) = self.callers.pop() else {
                    return self.check_result().map(|()| None);
                };
                let result = self.regs[0];
                self.objects.pop();
                self.regs = saved;
                let frames = self.callers.len();
                if let Some(called) = self.loops.last_mut().filter(|called| called.frames == frames) {
                    match result {
                        0 => {}
                        1 => called.left = 0,
                        other => return Err(format!("a callback returns {other:#x}")),
                    }
                    return Ok(Some(called.pc));
                }
                self.regs[0] = result;
                for index in 1..6 {
                    self.regs[index] = self.random.next();
                }
                return Ok(Some(next));
            }
            Instruction::LoadPacket { size, .. } => {
                if self.regs[6] != CONTEXT || self.lock.is_some() || !self.callers.is_empty() {
                    return Err("a packet access without context".to_owned());
                }
                // The packet may be shorter.
                if self.random.below(4) == 0 {
                    self.regs[0] = 0;
                    return self.check_result().map(|()| None);
                }
                self.regs[0] = self.random.number() & (u64::MAX >> (64 - 8 * size.bytes()));
                for index in 1..6 {
                    self.regs[index] = self.random.next();
                }
            }
            other => return Err(format!("{other:?}")),
        }
        Ok(Some(next))
    }

    fn kfunc(&mut self, id: i32) -> Step<()> {
        let place = self.regs[1];
        let known = self.iterators.iter().position(|iterator| iterator.0 == place);
        let size = match super::btf::kfunc(id) {
            Some(name) if name.starts_with("bpf_iter_num_") => 8,
            _ => 16,
        };
        let fill = self.random.next() as u8;
        let result = match super::btf::kfunc(id) {
            Some("bpf_iter_num_new" | "bpf_iter_bits_new") => {
                if known.is_some() {
                    return Err("an iterator was lost".to_owned());
                }
                self.find(&[Region::Stack], place, size, true)?.fill(fill);
                let left = self.random.below(40);
                self.iterators.push((place, left));
                self.random.number()
            }
            Some("bpf_iter_num_next" | "bpf_iter_bits_next") => {
                let iterator = &mut self.iterators[known.ok_or("no iterator")?];
                match iterator.1.checked_sub(1) {
                    Some(left) => {
                        iterator.1 = left;
                        self.find(&[Region::Stack], place, size, true)?.fill(fill);
                        place
                    }
                    None => 0,
                }
            }
            Some("bpf_iter_num_destroy" | "bpf_iter_bits_destroy") => {
                self.iterators.remove(known.ok_or("no iterator")?);
                self.random.number()
            }
            Some("bpf_rcu_read_lock" | "bpf_rcu_read_unlock" | "bpf_preempt_disable" | "bpf_preempt_enable") => {
                self.random.number()
            }
            // What a dynptr says of itself is any number.
            Some("bpf_dynptr_adjust" | "bpf_dynptr_is_null" | "bpf_dynptr_is_rdonly" | "bpf_dynptr_size") => {
                self.random.number()
            }
            other => return Err(format!("{other:?}")),
        };
        for index in 1..6 {
            self.regs[index] = self.random.next();
        }
        self.regs[0] = result;
        Ok(())
    }

    /// A new frame, that returns to `next`.
    fn enter(&mut self, next: usize) -> Step<()> {
        self.callers.push((self.regs, next));
        for index in [0, 6, 7, 8, 9] {
            self.regs[index] = self.random.next();
        }
        self.regs[10] += FRAME;
        self.add(Region::Stack, self.regs[10] - 512, 512);
        if self.callers.len() >= self.verified.call_depth as usize {
            return Err(format!("more than {} frames", self.verified.call_depth));
        }
        Ok(())
    }

    /// The map at an address: one that is named, or, after those, the maps in one.
    fn map_at(&self, address: u64) -> Option<u32> {
        let count = self.case.maps.len() as u32;
        let inner = (0..count).filter(|outer| self.case.maps[*outer as usize].inner.is_some());
        let mut maps = (0..count).chain(inner.map(|outer| count + outer));
        maps.find(|map| map_address(*map) == address)
    }

    /// The function that a helper calls back, if it does so once more.
    fn call_back(&mut self, pc: usize, id: u32) -> Step<Option<usize>> {
        const FOR_EACH_MAP_ELEM: u32 = 164;
        const LOOP: u32 = 181;
        if !matches!(id, FOR_EACH_MAP_ELEM | LOOP) {
            return Ok(None);
        }
        let frames = self.callers.len();
        if self.loops.last().is_none_or(|called| called.frames != frames) {
            let turns = self.random.below(6);
            let most = if id == LOOP { self.regs[1] } else { 2 };
            let left = turns.min(most);
            self.loops.push(Loop { pc, frames, left });
        }
        let called = self.loops.last_mut().expect("just added");
        if called.left == 0 {
            self.loops.pop();
            return Ok(None);
        }
        called.left -= 1;
        let (regs, turn) = (self.regs, self.random.next());
        self.enter(pc)?;
        if id == LOOP {
            self.regs[1] = turn;
            self.regs[2] = regs[3];
        } else {
            let map = self.map_at(regs[1]).ok_or("no map")?;
            let frozen = self.case.maps.get(map as usize).is_some_and(|map| map.frozen.is_some());
            let element = if frozen { 0 } else { self.random.below(2) << 16 };
            self.regs[2] = keys(map) + element;
            self.regs[3] = values(map) + element;
            self.regs[4] = regs[3];
        }
        Ok(Some(((regs[2] - FUNCTIONS) / 8) as usize))
    }

    fn check_result(&self) -> Step<()> {
        match self.case.context.return_range {
            Some((min, max)) if !(min..=max).contains(&(self.regs[0] as i32)) => {
                Err(format!("returns {:#x}", self.regs[0]))
            }
            _ => Ok(()),
        }
    }

    fn operand(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Reg(reg) => self.regs[reg.index()],
            Operand::Imm(imm) => imm as u64,
        }
    }

    fn address(&self, base: hitless_isa::Reg, off: i16) -> u64 {
        self.regs[base.index()].wrapping_add(off as u64)
    }

    /// The bytes at an address, if they lie in one object of one of the regions.
    fn find(&mut self, regions: &[Region], address: u64, len: usize, write: bool) -> Step<&mut [u8]> {
        let case = self.case;
        let Some(object) =
            self.objects.iter_mut().rev().find(|object| {
                address >= object.base && address - object.base + len as u64 <= object.bytes.len() as u64
            })
        else {
            return Err(format!("{len} bytes at {address:#x} are nowhere"));
        };
        if !regions.contains(&object.region) {
            return Err(format!(
                "{len} bytes at {address:#x} are in {:?}, not in {regions:?}",
                object.region
            ));
        }
        let start = (address - object.base) as usize;
        match object.region {
            Region::MapValue { .. } | Region::InnerMapValue { .. } => {
                let facts = match object.region {
                    Region::InnerMapValue { outer } => inner(case, outer),
                    Region::MapValue { map } => &case.maps[map as usize],
                    _ => return Err("no map".to_owned()),
                };
                if facts.readonly_prog && write {
                    return Err("write into a read-only map".to_owned());
                }
                if let Some(lock) = facts.spin_lock.map(|lock| lock as usize)
                    && start < lock + 4
                    && lock < start + len
                {
                    return Err("access to a lock".to_owned());
                }
            }
            Region::MapKey { .. } | Region::InnerMapKey { .. } if write => {
                return Err("write into a key".to_owned());
            }
            Region::ContextMemory { field } if write && !writable(case, field) => {
                return Err("write into a key or value".to_owned());
            }
            Region::Packet if write && !case.context.packet_writable => return Err("write into a packet".to_owned()),
            _ => {}
        }
        Ok(&mut object.bytes[start..start + len])
    }

    fn load(&mut self, pc: usize, address: u64, size: Size) -> Step<u64> {
        let regions = self.verified.facts.access(pc);
        if regions == [Region::Object] {
            return Ok(self.random.number() & (u64::MAX >> (64 - 8 * size.bytes())));
        }
        if let Some(off) = address.checked_sub(CONTEXT).filter(|off| *off < 4096) {
            return self.load_context(pc, off as u32, size);
        }
        let bytes = self.find(regions, address, size.bytes(), false)?;
        let mut number = [0; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(number))
    }

    fn load_context(&mut self, pc: usize, off: u32, size: Size) -> Step<u64> {
        let len = size.bytes() as u32;
        let fields = &self.case.context.fields;
        let Some(index) = fields
            .iter()
            .position(|field| field.off <= off && off + len <= field.off + field.size)
        else {
            return Err(format!("no context field at {off}"));
        };
        if !self
            .verified
            .facts
            .access(pc)
            .contains(&Region::Context { field: index as u16 })
        {
            return Err(format!("field {index} was not claimed"));
        }
        Ok(match fields[index].kind {
            ContextFieldKind::Scalar | ContextFieldKind::Record => self.random.number() & (u64::MAX >> (64 - 8 * len)),
            ContextFieldKind::Packet => self.packet,
            ContextFieldKind::PacketEnd => self.packet_end,
            ContextFieldKind::PacketMeta => self.packet_meta,
            ContextFieldKind::Memory => context_memory(index as u16),
            ContextFieldKind::Buffer { .. } => self.random.pick(&[0, context_memory(index as u16)]),
            ContextFieldKind::Unsupported(what) => return Err(format!("{what} were loaded")),
            ContextFieldKind::Object(object) => self.object(object.nullable),
        })
    }

    fn store(&mut self, pc: usize, address: u64, size: Size, value: u64) -> Step<()> {
        let regions = self.verified.facts.access(pc);
        // A member that may be written.
        if regions == [Region::Object] && address >= OBJECTS {
            return Ok(());
        }
        if (CONTEXT..CONTEXT + 4096).contains(&address) {
            let off = (address - CONTEXT) as u32;
            let field = self.case.context.fields.iter().position(|field| {
                let len = size.bytes() as u32;
                let inside = field.off <= off && off + len <= field.off + field.size;
                inside && field.stores.allow(field.off, off, len)
            });
            return match field {
                Some(field) if regions.contains(&Region::Context { field: field as u16 }) => Ok(()),
                _ => Err(format!("store to context offset {off}")),
            };
        }
        let recorded = match self.region_at(address) {
            Region::MapValue { map } => self.verified.maps_stored.contains(&map),
            Region::InnerMapValue { outer } => self.verified.inner_maps_stored.contains(&outer),
            Region::ContextMemory { field } => self.verified.context_stored.contains(&field),
            _ => true,
        };
        if !recorded {
            return Err(format!("store to {:?} was not recorded", self.region_at(address)));
        }
        if self
            .dynptrs
            .iter()
            .any(|dynptr| address < dynptr.0 + 16 && dynptr.0 < address + size.bytes() as u64)
        {
            // A dynptr that was a reference would leave its record behind.
            self.dynptrs
                .retain(|dynptr| !(address < dynptr.0 + 16 && dynptr.0 < address + size.bytes() as u64));
        }
        let bytes = self.find(regions, address, size.bytes(), true)?;
        let len = bytes.len();
        bytes.copy_from_slice(&value.to_le_bytes()[..len]);
        Ok(())
    }

    fn region_at(&self, address: u64) -> Region {
        let inside = |object: &&Memory| address >= object.base && address - object.base < object.bytes.len() as u64;
        self.objects
            .iter()
            .find(inside)
            .map_or(Region::Stack, |object| object.region)
    }

    fn atomic(&mut self, pc: usize, size: Size, op: AtomicOp, address: u64, src: usize) -> Step<()> {
        if !address.is_multiple_of(size.bytes() as u64) {
            return Err("misaligned atomic".to_owned());
        }
        let old = self.load(pc, address, size)?;
        let operand = self.regs[src];
        let mask = u64::MAX >> (64 - 8 * size.bytes());
        let new = match op {
            AtomicOp::Add { .. } => old.wrapping_add(operand),
            AtomicOp::Or { .. } => old | operand,
            AtomicOp::And { .. } => old & operand,
            AtomicOp::Xor { .. } => old ^ operand,
            AtomicOp::Xchg => operand,
            AtomicOp::CmpXchg if self.regs[0] & mask == old => operand,
            AtomicOp::CmpXchg => old,
        };
        self.store(pc, address, size, new & mask)?;
        match op {
            AtomicOp::CmpXchg => self.regs[0] = old,
            op if op.fetches() => self.regs[src] = old,
            _ => {}
        }
        Ok(())
    }

    fn helper(&mut self, pc: usize, id: u32) -> Step<()> {
        let proto = self
            .case
            .helpers
            .iter()
            .find(|proto| proto.id == id)
            .ok_or("no such helper")?;
        let facts = self.verified.facts.at(pc);
        let (case, count) = (self.case, self.case.maps.len() as u32);
        let position = proto.args.iter().position(|ty| *ty == ArgType::ConstMap);
        let map = match (facts.map, facts.inner_of) {
            (Some(map), None) => Some(map),
            (None, Some(outer)) => Some(count + outer),
            // Not the same on every path.
            (None, None) => position.and_then(|index| self.map_at(self.regs[index + 1])),
            _ => return Err("two maps".to_owned()),
        };
        let map = map.map(|map| match map.checked_sub(count) {
            None => (map, &case.maps[map as usize]),
            Some(outer) => (map, inner(case, outer)),
        });
        if self.lock.is_some() && id != helpers::SPIN_UNLOCK {
            return Err("a call under a lock".to_owned());
        }
        for (index, ty) in proto.args.iter().enumerate() {
            let value = self.regs[index + 1];
            let size = match ty {
                ArgType::ConstMap => {
                    match map {
                        Some((map, _)) if value == map_address(map) => {}
                        _ => return Err(format!("{value:#x} is not map {map:?}")),
                    }
                    continue;
                }
                // The socket itself.
                ArgType::MapValue
                    if map.is_some_and(|(_, map)| matches!(map.kind, MapKind::Sockmap | MapKind::Sockhash)) =>
                {
                    continue;
                }
                ty => match ty.memory().map(|memory| memory.size) {
                    Some(MemSize::MapKey) => map.map_or(0, |(_, map)| map.key_size as usize),
                    Some(MemSize::MapValue) => map.map_or(0, |(_, map)| map.value_size as usize),
                    Some(MemSize::NextArgument) => self.regs[index + 2] as usize,
                    Some(MemSize::Fixed(size)) => size as usize,
                    None => continue,
                },
            };
            let nullable = ty.memory().is_some_and(|memory| memory.nullable);
            if size == 0 || nullable && value == 0 {
                continue;
            }
            let memory = facts.memory[index].ok_or("memory was not claimed")?;
            let write = ty.memory().is_some_and(|memory| memory.usage.writes());
            if memory.write != write {
                return Err("memory is used otherwise".to_owned());
            }
            if memory.regions == [Region::Object] && !write {
                continue;
            }
            let fill = self.random.next() as u8;
            let bytes = self.find(memory.regions, value, size, write)?;
            if write {
                bytes.fill(fill);
            }
        }
        if let Some(index) = facts.index {
            let found = match id {
                helpers::TAIL_CALL => self.regs[3],
                _ => {
                    let key = self.find(&[Region::Stack], self.regs[2], 4, false)?;
                    key.iter().rev().fold(0, |key, byte| key << 8 | u64::from(*byte))
                }
            };
            if found & 0xffff_ffff != u64::from(index) {
                return Err(format!("index {found:#x} was said to be {index}"));
            }
        }
        let recorded = map.is_none_or(|(map, _)| match map.checked_sub(count) {
            None => self.verified.maps_updated.contains(&map),
            Some(outer) => self.verified.inner_maps_updated.contains(&outer),
        });
        if proto.writes_map && !recorded {
            return Err("an update was not recorded".to_owned());
        }
        if proto.changes_packet {
            self.objects.retain(|object| object.region != Region::Packet);
            self.add_packet();
        }
        let result = match id {
            197 => {
                let made = self.random.below(4) != 0;
                let (bytes, len) = if made { (self.regs[1], self.regs[2]) } else { (0, 0) };
                self.make_dynptr(self.regs[4], bytes, len)?
            }
            198 => {
                let bytes = self.reserve(map.map_or(0, |(map, _)| map), self.regs[2] & 0xffff_ffff);
                let len = if bytes == 0 { 0 } else { self.regs[2] & 0xffff_ffff };
                self.make_dynptr(self.regs[4], bytes, len)?
            }
            199 | 200 => {
                let (bytes, _) = self.dynptr(self.regs[1])?;
                self.dynptrs.retain(|dynptr| dynptr.0 != self.regs[1]);
                if bytes == 0 { 0 } else { self.release(bytes)? }
            }
            201 => self.dynptr(self.regs[3]).map(|_| self.random.number())?,
            202 => {
                let (bytes, len) = self.dynptr(self.regs[1])?;
                let recorded = match self.region_at(bytes) {
                    Region::MapValue { map } => self.verified.maps_stored.contains(&map),
                    Region::InnerMapValue { outer } => self.verified.inner_maps_stored.contains(&outer),
                    _ => true,
                };
                if len > 0 && !recorded {
                    return Err("a write through a dynptr was not recorded".to_owned());
                }
                self.random.number()
            }
            203 => {
                let (bytes, len) = self.dynptr(self.regs[1])?;
                let end = (self.regs[2] & 0xffff_ffff).checked_add(self.regs[3]);
                let inside = bytes != 0 && end.is_some_and(|end| end <= len);
                if inside {
                    bytes + (self.regs[2] & 0xffff_ffff)
                } else {
                    0
                }
            }
            helpers::MAP_LOOKUP_ELEM if map.is_some_and(|(_, facts)| facts.inner.is_some()) => {
                let found = self.random.below(3) != 0;
                map.filter(|_| found).map_or(0, |(outer, _)| map_address(count + outer))
            }
            helpers::MAP_LOOKUP_ELEM if matches!(map, Some((_, facts)) if facts.kind == MapKind::Xskmap) => {
                self.object(true)
            }
            helpers::MAP_LOOKUP_ELEM if matches!(map, Some((_, facts)) if matches!(facts.kind, MapKind::Sockmap | MapKind::Sockhash)) =>
            {
                let socket = self.object(true);
                self.held.extend(Some(socket).filter(|socket| *socket != 0));
                socket
            }
            helpers::MAP_LOOKUP_ELEM if matches!(map, Some((_, facts)) if is_array(facts.kind)) => {
                let (map, facts) = map.ok_or("no map")?;
                match self.index(self.regs[2]) {
                    index if index >= u64::from(facts.max_entries) => 0,
                    index => values(map) + if facts.frozen.is_some() { 0 } else { (index & 1) << 16 },
                }
            }
            _ if proto.ret == RetType::MapValue => map.map_or(0, |(map, _)| values(map)),
            _ if proto.ret == RetType::MapValueOrNull => match (map, self.random.below(3)) {
                (Some((map, facts)), element @ 0..2) => {
                    let element = if facts.frozen.is_some() { 0 } else { element };
                    MAPS + (u64::from(map) << 24) + (element << 16)
                }
                _ => 0,
            },
            _ if proto.ret == RetType::MemOrNull => self.reserve(map.map_or(0, |(map, _)| map), self.regs[2]),
            _ if proto.acquires => {
                let object = self.object(true);
                self.held.extend(Some(object).filter(|object| *object != 0));
                object
            }
            _ if proto.releases && self.regs[1] >= OBJECTS => {
                let held = self.held.iter().position(|held| *held == self.regs[1]);
                self.held.remove(held.ok_or("no such object")?);
                self.random.number()
            }
            _ if proto.releases => self.release(self.regs[1])?,
            // A cast.
            _ if matches!(
                proto.ret,
                RetType::SocketOrNull | RetType::SocketCommonOrNull | RetType::TcpSocketOrNull
            ) =>
            {
                let socket = self.regs[1];
                self.random.pick(&[0, socket])
            }
            helpers::SPIN_LOCK => self.lock.replace(self.regs[1]).map_or(Ok(0), |_| Err("two locks"))?,
            helpers::SPIN_UNLOCK => self
                .lock
                .take()
                .filter(|lock| *lock == self.regs[1])
                .map(|_| 0)
                .ok_or("no lock")?,
            _ if proto.returns_size => {
                let size = facts
                    .memory
                    .iter()
                    .position(Option::is_some)
                    .map_or(0, |index| self.regs[index + 2]);
                match self.random.below(2) {
                    0 => self.random.below(4096).wrapping_neg(),
                    _ => self.random.below(size + 1),
                }
            }
            _ => self.random.number(),
        };
        for index in 1..6 {
            self.regs[index] = self.random.next();
        }
        self.regs[0] = result;
        Ok(())
    }
}

/// Whether the memory behind a context field may be written.
fn writable(case: &Case, field: u16) -> bool {
    case.context.fields[usize::from(field)].kind == ContextFieldKind::Buffer { writable: true }
}

/// Whether keys of such maps are indices.
fn is_array(kind: MapKind) -> bool {
    matches!(kind, MapKind::Array | MapKind::PercpuArray)
}

/// What the maps in a map of maps are like.
fn inner(case: &Case, outer: u32) -> &MapFacts {
    let inner = case.maps[outer as usize].inner.as_deref();
    inner.expect("only maps of maps have maps in them")
}

/// Where the values of a map are.
fn values(map: u32) -> u64 {
    MAPS + (u64::from(map) << 24)
}

fn keys(map: u32) -> u64 {
    KEYS + (u64::from(map) << 24)
}

fn function_address(start: usize) -> u64 {
    FUNCTIONS + 8 * start as u64
}

fn map_address(map: u32) -> u64 {
    0x4_0000_0000 + u64::from(map) * 64
}

fn context_memory(field: u16) -> u64 {
    0x6_0000_0000 + (u64::from(field) << 30)
}

fn sign_extend(x: u64, bits: u32) -> u64 {
    ((x << (64 - bits)) as i64 >> (64 - bits)) as u64
}

fn alu(width: Width, op: AluOp, x: u64, y: u64) -> u64 {
    let wide = width == Width::W64;
    let (x, y, bits) = if wide {
        (x, y, 64)
    } else {
        (x & 0xffff_ffff, y & 0xffff_ffff, 32)
    };
    let (sx, sy) = (sign_extend(x, bits) as i64, sign_extend(y, bits) as i64);
    let count = (y % u64::from(bits)) as u32;
    let result = match op {
        AluOp::Add => x.wrapping_add(y),
        AluOp::Sub => x.wrapping_sub(y),
        AluOp::Mul => x.wrapping_mul(y),
        AluOp::Div => x.checked_div(y).unwrap_or(0),
        AluOp::Mod => x.checked_rem(y).unwrap_or(x),
        AluOp::SDiv => sx.checked_div(sy).unwrap_or(if sy == 0 { 0 } else { sx }) as u64,
        AluOp::SMod => sx.checked_rem(sy).unwrap_or(if sy == 0 { sx } else { 0 }) as u64,
        AluOp::Or => x | y,
        AluOp::And => x & y,
        AluOp::Xor => x ^ y,
        AluOp::Lsh => x << count,
        AluOp::Rsh => x >> count,
        AluOp::Arsh => (sx >> count) as u64,
        AluOp::Mov => y,
    };
    if wide { result } else { result & 0xffff_ffff }
}

fn holds(width: Width, cond: Cond, x: u64, y: u64) -> bool {
    let bits = if width == Width::W64 { 64 } else { 32 };
    let mask = u64::MAX >> (64 - bits);
    let (x, y) = (x & mask, y & mask);
    let (sx, sy) = (sign_extend(x, bits) as i64, sign_extend(y, bits) as i64);
    match cond {
        Cond::Eq => x == y,
        Cond::Ne => x != y,
        Cond::Gt => x > y,
        Cond::Ge => x >= y,
        Cond::Lt => x < y,
        Cond::Le => x <= y,
        Cond::Sgt => sx > sy,
        Cond::Sge => sx >= sy,
        Cond::Slt => sx < sy,
        Cond::Sle => sx <= sy,
        Cond::Set => x & y != 0,
    }
}
