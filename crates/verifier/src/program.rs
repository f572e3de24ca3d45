//! A program as the search sees it: decoded, divided into subprograms, each instruction with its requirements.
//!
//! Everything that can be said without following paths is said here: that slots decode, that jumps and calls go
//! somewhere sensible, that nothing is unreachable for every path, that no subprogram calls itself. After this every `pc`
//! that the search can come to holds an instruction.

use hitless_btf::{Kind, Type, TypeId};
use std::collections::BTreeSet;

use hitless_isa::{CallTarget, Imm64, Instruction, decode, disasm};

use crate::domain::object::Object;
use crate::domain::pointer::PointerKind;
use crate::error::{Failure, VerifierError};
use crate::facts::{
    GlobalFunc, HelperProto, KfuncProto, MapFacts, MapKind, ObjectPointer, ObjectType, ProgramInput, SourceLine, Trust,
    ValueFields,
};
use crate::liveness;
use crate::requirements::{Requirement, kfunc_requirements, requirements};
use crate::state::MAX_FRAMES;
use crate::tables::helpers;
use crate::tables::kfuncs::IteratorStep;

/// The most instructions that a program may have, and that a verification may interpret.
pub(crate) const COMPLEXITY_LIMIT: usize = 1_000_000;

/// With so much stack in use by its callers a subprogram makes no tail calls.
const TAIL_CALL_STACK: u32 = 256;

/// A well-formed program.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) input: &'a ProgramInput<'a>,
    /// What is in each slot; `None` for the second slot of a wide immediate.
    pub(crate) code: Vec<Option<Instruction>>,
    /// First slot and end of the main program and of each subprogram, in slot order.
    pub(crate) subprogs: Vec<(usize, usize)>,
    /// Registers (bits) that may be read from here on before they are written.
    pub(crate) live: Vec<u16>,
    /// Where states are compared with earlier ones: where paths can meet.
    pub(crate) checkpoint: Vec<bool>,
}

/// What the calls of a program come to at the worst.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CallChain {
    /// Frames active at once.
    pub(crate) frames: u32,
    /// Bytes of stack in all of them.
    pub(crate) stack: u32,
}

/// A map by the index of one that the program names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NamedMap {
    /// That map.
    Itself(u32),
    /// One of the maps in that map.
    InnerOf(u32),
}

/// The instruction at `pc` as text, or why there is none.
pub(crate) fn text(input: &ProgramInput<'_>, pc: usize) -> String {
    let name = |id| {
        input
            .helpers
            .iter()
            .find(|proto| proto.id == id)
            .map(|proto| proto.name)
            .or_else(|| disasm::helper_name(id))
    };
    match decode(input.insns, pc) {
        Ok(instruction) => disasm::text(&instruction, &name).to_string(),
        Err(error) => error.to_string(),
    }
}

/// The source line that the instruction at `pc` comes from.
pub(crate) fn source<'a>(input: &ProgramInput<'a>, pc: usize) -> Option<&'a SourceLine> {
    let line = input.lines.partition_point(|line| line.pc <= pc);
    line.checked_sub(1).map(|line| &input.lines[line])
}

/// An error at `pc`.
pub(crate) fn error(input: &ProgramInput<'_>, pc: usize, requirement: Requirement, failure: Failure) -> VerifierError {
    VerifierError {
        pc,
        insn: text(input, pc),
        requirement,
        found: failure.found,
        message: failure.message,
        source: source(input, pc).cloned(),
    }
}

/// The slot that a jump or call with this offset at `pc` goes to.
pub(crate) fn target(pc: usize, off: i32) -> Option<usize> {
    usize::try_from(i64::try_from(pc).ok()? + 1 + i64::from(off)).ok()
}

fn jump_offset(instruction: &Instruction) -> Option<i32> {
    match *instruction {
        Instruction::Jump { off, .. } | Instruction::Goto { off, .. } | Instruction::MayGoto { off } => Some(off),
        _ => None,
    }
}

/// Whether the instruction after this one can be next.
fn falls_through(instruction: &Instruction) -> bool {
    !matches!(instruction, Instruction::Goto { .. } | Instruction::Exit)
}

impl<'a> Program<'a> {
    /// Decodes a program and checks its structure.
    pub(crate) fn new(input: &'a ProgramInput<'a>) -> Result<Program<'a>, Vec<VerifierError>> {
        let fail = |pc, requirement, failure| vec![error(input, pc, requirement, failure)];
        let len = input.insns.len();
        if len == 0 || len > COMPLEXITY_LIMIT {
            let message = if len == 0 {
                "empty program".to_owned()
            } else {
                format!("program too large ({len} insns)")
            };
            return Err(fail(
                0,
                Requirement::ProgramSize,
                Failure::new(format!("{len} instructions"), message),
            ));
        }
        let mut program = Program {
            input,
            code: decode_all(input)?,
            subprogs: Vec::new(),
            live: Vec::new(),
            checkpoint: vec![false; len],
        };
        program
            .find_subprogs()
            .map_err(|(pc, failure)| fail(pc, Requirement::CallTarget, failure))?;
        for index in 0..program.subprogs.len() {
            program
                .check_subprog(index)
                .map_err(|(pc, requirement, failure)| fail(pc, requirement, failure))?;
        }
        program
            .check_reachable()
            .map_err(|(pc, failure)| fail(pc, Requirement::StaticallyReachable, failure))?;
        program
            .check_recursion()
            .map_err(|(pc, failure)| fail(pc, Requirement::NoRecursion, failure))?;
        program.live = liveness::live_registers(&program);
        Ok(program)
    }

    /// The instruction at `pc`, which control can reach.
    pub(crate) fn insn(&self, pc: usize) -> &Instruction {
        self.code[pc]
            .as_ref()
            .expect("control reaches only slots that hold an instruction")
    }

    /// What the instruction at `pc` needs and does not exist.
    pub(crate) fn missing(&self, pc: usize) -> Option<&'a str> {
        let poisoned = self.input.poisoned;
        let index = poisoned.binary_search_by_key(&pc, |poisoned| poisoned.pc).ok()?;
        Some(&poisoned[index].missing)
    }

    /// Puts what the instruction at `pc` requires into `list`.
    pub(crate) fn requirements(&self, pc: usize, list: &mut Vec<Requirement>) {
        list.clear();
        if self.missing(pc).is_some() {
            list.push(Requirement::Exists);
        }
        requirements(self.insn(pc), self.input.helpers, list);
        if let Some(proto) = self.called_kfunc(pc) {
            kfunc_requirements(proto, list);
        }
        if let Some(subprog) = self.global_callee(pc) {
            list.push(Requirement::GlobalArguments { subprog });
        }
    }

    /// The prototype of a helper that the program may call.
    pub(crate) fn helper(&self, id: u32) -> Option<&'a HelperProto> {
        let helpers = self.input.helpers;
        let index = helpers.binary_search_by_key(&id, |proto| proto.id).ok()?;
        Some(&helpers[index])
    }

    /// The struct of this name among the host's types.
    pub(crate) fn struct_named(&self, name: &str) -> Option<TypeId> {
        self.input.types?.find(Kind::Struct, name)
    }

    /// What the address of a function or variable of the host's points to. Variables of each processor are not supported.
    pub(crate) fn host_symbol(&self, id: i32) -> Option<PointerKind> {
        let types = self.input.types?;
        let id = TypeId(u32::try_from(id).ok()?);
        let variable = match types.get(id)? {
            Type::Func(_) => return Some(PointerKind::Symbol { size: 0 }),
            Type::Var(variable) => variable,
            _ => return None,
        };
        let percpu = types
            .find(Kind::Datasec, ".data..percpu")
            .and_then(|section| types.get(section));
        if matches!(percpu, Some(Type::Datasec(section)) if section.vars.iter().any(|var| var.ty == id)) {
            return None;
        }
        match types.resolve(variable.ty)? {
            (id, Type::Struct(_) | Type::Union(_)) => {
                let pointer = ObjectPointer {
                    ty: ObjectType::Btf(id),
                    trust: Trust::Plain,
                    nullable: false,
                };
                Some(PointerKind::Object(Object::new(pointer, || 0)))
            }
            _ => Some(PointerKind::Symbol {
                size: types.size_of(variable.ty)?,
            }),
        }
    }

    /// The struct that the host has for a map, by name, and as an object of which nothing is known, if its types say.
    pub(crate) fn map_struct(&self, map: u32) -> Option<(&'static str, Object)> {
        let name = match self.map(map).kind {
            MapKind::Array | MapKind::PercpuArray | MapKind::ProgArray | MapKind::PerfEventArray => "bpf_array",
            MapKind::ArrayOfMaps | MapKind::CgroupArray => "bpf_array",
            MapKind::Hash | MapKind::PercpuHash | MapKind::LruHash => "bpf_htab",
            MapKind::LruPercpuHash | MapKind::HashOfMaps => "bpf_htab",
            MapKind::LpmTrie => "lpm_trie",
            MapKind::Queue | MapKind::Stack => "bpf_queue_stack",
            MapKind::Ringbuf | MapKind::UserRingbuf => "bpf_ringbuf_map",
            MapKind::StackTrace => "bpf_stack_map",
            _ => return None,
        };
        let pointer = ObjectPointer {
            ty: ObjectType::Btf(self.struct_named(name)?),
            trust: Trust::Untrusted,
            nullable: false,
        };
        Some((name, Object::new(pointer, || 0)))
    }

    /// The fields of an object that are more than bytes, if it is one that programs allocate.
    pub(crate) fn own_fields(&self, ty: ObjectType) -> Option<&'a ValueFields> {
        match ty {
            ObjectType::Own(ty) => self.input.own?.fields(ty),
            _ => None,
        }
    }

    /// A map that a [`Requirement::MapReference`] found to exist, or what is in one (see [`Program::inner_map`]).
    pub(crate) fn map(&self, map: u32) -> &'a MapFacts {
        match self.named_map(map) {
            NamedMap::Itself(map) => &self.input.maps[map as usize],
            NamedMap::InnerOf(outer) => self.input.maps[outer as usize]
                .inner
                .as_deref()
                .expect("only maps of maps have maps in them"),
        }
    }

    /// The number that stands for the maps in `outer`, if it is a map of maps. It follows those of the named maps.
    pub(crate) fn inner_map(&self, outer: u32) -> Option<u32> {
        let NamedMap::Itself(outer) = self.named_map(outer) else {
            return None;
        };
        let count = self.input.maps.len() as u32;
        self.map(outer).inner.is_some().then_some(count + outer)
    }

    /// Which map of the program a number stands for.
    pub(crate) fn named_map(&self, map: u32) -> NamedMap {
        match map.checked_sub(self.input.maps.len() as u32) {
            None => NamedMap::Itself(map),
            Some(outer) => NamedMap::InnerOf(outer),
        }
    }

    /// The subprogram that starts at `pc`.
    pub(crate) fn subprog_at(&self, pc: usize) -> Option<usize> {
        self.subprogs.binary_search_by_key(&pc, |subprog| subprog.0).ok()
    }

    /// What is known of a subprogram, if it is verified by itself.
    pub(crate) fn global(&self, subprog: usize) -> Option<&'a GlobalFunc> {
        let (funcs, start) = (self.input.global_funcs, self.subprogs[subprog].0);
        let index = funcs.binary_search_by_key(&start, |func| func.start).ok()?;
        Some(&funcs[index]).filter(|_| subprog != 0)
    }

    /// The function whose place the main program takes, if it does.
    pub(crate) fn replacement(&self) -> Option<&'a GlobalFunc> {
        self.input.global_funcs.first().filter(|func| func.start == 0)
    }

    /// The subprogram that the instruction at `pc` calls, if it is verified by itself.
    pub(crate) fn global_callee(&self, pc: usize) -> Option<usize> {
        let Some(Instruction::Call(CallTarget::Subprog(off))) = self.code[pc] else {
            return None;
        };
        let subprog = self.subprog_at(target(pc, off)?)?;
        self.global(subprog).map(|_| subprog)
    }

    /// Whether pointers to the packet are invalid after a call of the subprogram.
    pub(crate) fn changes_packet(&self, subprog: usize) -> bool {
        self.comes_to(subprog, |_, insn| match *insn {
            Instruction::Call(CallTarget::Helper(id)) => {
                id == helpers::TAIL_CALL || self.helper(id).is_some_and(|proto| proto.changes_packet)
            }
            _ => false,
        })
    }

    /// Whether a call of the subprogram may sleep.
    pub(crate) fn might_sleep(&self, subprog: usize) -> bool {
        self.comes_to(subprog, |pc, insn| match *insn {
            Instruction::Call(CallTarget::Helper(id)) => self.helper(id).is_some_and(|proto| proto.might_sleep),
            _ => self.called_kfunc(pc).is_some_and(KfuncProto::might_sleep),
        })
    }

    /// Whether the subprogram, or one that it calls, has such an instruction.
    fn comes_to(&self, subprog: usize, is_such: impl Fn(usize, &Instruction) -> bool) -> bool {
        let mut seen = vec![false; self.subprogs.len()];
        let mut todo = vec![subprog];
        while let Some(subprog) = todo.pop() {
            if std::mem::replace(&mut seen[subprog], true) {
                continue;
            }
            let (start, end) = self.subprogs[subprog];
            for pc in start..end {
                match &self.code[pc] {
                    Some(insn) if is_such(pc, insn) => return true,
                    Some(
                        Instruction::Call(CallTarget::Subprog(off))
                        | Instruction::LoadImm64 {
                            imm: Imm64::Func(off), ..
                        },
                    ) => {
                        todo.extend(target(pc, *off).and_then(|start| self.subprog_at(start)));
                    }
                    _ => {}
                }
            }
        }
        false
    }

    /// The subprogram that `pc` is part of.
    fn subprog_of(&self, pc: usize) -> usize {
        self.subprogs.partition_point(|subprog| subprog.0 <= pc) - 1
    }

    /// Calls of subprograms: slot of the call and first slot of the callee.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.code.iter().enumerate().filter_map(|(pc, slot)| match slot {
            Some(Instruction::Call(CallTarget::Subprog(off))) => Some((pc, target(pc, *off)?)),
            _ => None,
        })
    }

    /// Where control can go next inside the same subprogram.
    pub(crate) fn successors(&self, pc: usize) -> impl Iterator<Item = usize> + use<> {
        let insn = self.insn(pc);
        let next = falls_through(insn).then_some(pc + insn.slots());
        next.into_iter().chain(self.jump_target(pc))
    }

    /// Where the instruction at `pc` jumps to, if it is a jump.
    pub(crate) fn jump_target(&self, pc: usize) -> Option<usize> {
        target(pc, jump_offset(self.code[pc].as_ref()?)?)
    }

    /// Whether the instruction at `pc` counts turns of a loop.
    pub(crate) fn counts_turns(&self, pc: usize) -> bool {
        matches!(self.insn(pc), Instruction::MayGoto { .. }) || self.calls_back(pc) || self.takes_element(pc)
    }

    /// Whether the instruction at `pc` takes an element from an iterator.
    pub(crate) fn takes_element(&self, pc: usize) -> bool {
        let iterator = self.called_kfunc(pc).and_then(KfuncProto::iterator);
        matches!(iterator, Some((_, IteratorStep::Next)))
    }

    /// The helper that the instruction at `pc` calls.
    pub(crate) fn called_helper(&self, pc: usize) -> Option<&'a HelperProto> {
        match self.code[pc] {
            Some(Instruction::Call(CallTarget::Helper(id))) => self.helper(id),
            _ => None,
        }
    }

    /// The kfunc that the instruction at `pc` calls, if it is known which that is.
    pub(crate) fn called_kfunc(&self, pc: usize) -> Option<&'a KfuncProto> {
        match self.code[pc] {
            Some(Instruction::Call(CallTarget::Kfunc { id, fd_idx })) => self.kfunc(id, fd_idx),
            _ => None,
        }
    }

    /// A kfunc by its BTF id.
    pub(crate) fn kfunc(&self, id: i32, fd_idx: i16) -> Option<&'a KfuncProto> {
        let kfuncs = self.input.kfuncs.iter();
        let mut found = kfuncs.filter(|proto| (proto.id, proto.fd_idx) == (id, fd_idx));
        found.next()
    }

    /// Whether the instruction at `pc` calls a helper or kfunc that calls functions of the program before it returns.
    pub(crate) fn calls_back(&self, pc: usize) -> bool {
        self.called_helper(pc).is_some_and(HelperProto::calls_back_at_once)
            || self.called_kfunc(pc).is_some_and(KfuncProto::calls_back)
    }

    /// Where the address of a subprogram is loaded: slot, and first slot of the subprogram.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.code.iter().enumerate().filter_map(|(pc, slot)| match slot {
            Some(Instruction::LoadImm64 {
                imm: Imm64::Func(off), ..
            }) => Some((pc, target(pc, *off)?)),
            _ => None,
        })
    }

    fn is_instruction(&self, pc: usize) -> bool {
        self.code.get(pc).is_some_and(Option::is_some)
    }

    fn find_subprogs(&mut self) -> Result<(), (usize, Failure)> {
        let mut starts = vec![0];
        for (pc, slot) in self.code.iter().enumerate() {
            let (Some(Instruction::Call(CallTarget::Subprog(off)))
            | Some(Instruction::LoadImm64 {
                imm: Imm64::Func(off), ..
            })) = slot
            else {
                continue;
            };
            match target(pc, *off).filter(|&start| self.is_instruction(start)) {
                Some(start) => starts.push(start),
                None => {
                    let to = pc as i64 + 1 + i64::from(*off);
                    return Err((
                        pc,
                        Failure::new(format!("a call to insn {to}"), "call to invalid destination"),
                    ));
                }
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let ends = starts[1..].iter().copied().chain([self.code.len()]);
        self.subprogs = starts.iter().copied().zip(ends).collect();
        Ok(())
    }

    /// Jumps stay inside, and control does not run out of the end.
    fn check_subprog(&mut self, index: usize) -> Result<(), (usize, Requirement, Failure)> {
        let (start, end) = self.subprogs[index];
        let mut last = start;
        for pc in start..end {
            let Some(insn) = &self.code[pc] else { continue };
            last = pc;
            let calls_back = self.calls_back(pc) || self.takes_element(pc);
            if (calls_back || matches!(insn, Instruction::Call(CallTarget::Subprog(_)))) && pc + 1 < end {
                self.checkpoint[pc + 1] = true;
            }
            self.checkpoint[pc] |= calls_back;
            let Some(off) = jump_offset(insn) else { continue };
            let to = pc as i64 + 1 + i64::from(off);
            let Some(to) = target(pc, off).filter(|to| (start..end).contains(to)) else {
                let failure = Failure::new(
                    format!("a jump to insn {to}"),
                    format!("jump out of range from insn {pc} to {to}"),
                );
                return Err((pc, Requirement::JumpTarget, failure));
            };
            if !self.is_instruction(to) {
                let message = format!("jump into the middle of ldimm64 insn {to}");
                let failure = Failure::new(format!("a jump to the second slot of insn {}", to - 1), message);
                return Err((pc, Requirement::JumpTarget, failure));
            }
            self.checkpoint[to] = true;
            if matches!(insn, Instruction::Jump { .. } | Instruction::MayGoto { .. }) {
                self.checkpoint[pc] = true;
            }
        }
        match self.insn(last) {
            Instruction::Exit | Instruction::Goto { .. } => Ok(()),
            _ => {
                let failure = Failure::new("an instruction with a successor", "last insn is not an exit or jmp");
                Err((last, Requirement::SubprogEnd, failure))
            }
        }
    }

    fn check_reachable(&self) -> Result<(), (usize, Failure)> {
        let mut reached = vec![false; self.code.len()];
        let mut todo = vec![0];
        while let Some(pc) = todo.pop() {
            if std::mem::replace(&mut reached[pc], true) {
                continue;
            }
            if let Instruction::Call(CallTarget::Subprog(off))
            | Instruction::LoadImm64 {
                imm: Imm64::Func(off), ..
            } = self.insn(pc)
            {
                todo.extend(target(pc, *off));
            }
            todo.extend(self.successors(pc));
        }
        match (0..reached.len()).find(|&pc| !reached[pc] && self.code[pc].is_some()) {
            Some(pc) => Err((pc, Failure::new("no path", format!("unreachable insn {pc}")))),
            None => Ok(()),
        }
    }

    fn check_recursion(&self) -> Result<(), (usize, Failure)> {
        let mut callees = vec![Vec::new(); self.subprogs.len()];
        for (pc, start) in self.calls() {
            if let Some(callee) = self.subprog_at(start) {
                callees[self.subprog_of(pc)].push((pc, callee));
            }
        }
        // Subprograms are finished in an order in which callees come first; a call to one that is begun but not finished
        // closes a cycle.
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Begun,
            Finished,
        }
        let mut marks = vec![Mark::New; self.subprogs.len()];
        let mut path = vec![(0, 0)];
        marks[0] = Mark::Begun;
        while let Some((subprog, next)) = path.last_mut() {
            let Some(&(pc, callee)) = callees[*subprog].get(*next) else {
                marks[*subprog] = Mark::Finished;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[callee] {
                Mark::New => {
                    marks[callee] = Mark::Begun;
                    path.push((callee, 0));
                }
                Mark::Begun => {
                    let (from, to) = (self.subprogs[*subprog].0, self.subprogs[callee].0);
                    let message = format!("recursive call from insn {from}() to insn {to}()");
                    return Err((
                        pc,
                        Failure::new(format!("a call to insn {to}, which is active"), message),
                    ));
                }
                Mark::Finished => {}
            }
        }
        Ok(())
    }

    /// The first tail call in a subprogram.
    fn tail_call_in(&self, subprog: usize) -> Option<usize> {
        let (start, end) = self.subprogs[subprog];
        let tail_call = Instruction::Call(CallTarget::Helper(helpers::TAIL_CALL));
        (start..end).find(|&pc| self.code[pc] == Some(tail_call))
    }

    /// Checks the stack of each chain of calls and returns the worst, given how much each subprogram uses and which calls are
    /// ever made, and which helpers are `called_back` from. As in Linux who has a function's address counts as a caller,
    /// unless it is called `later`, with a stack of its own; but so does who passes the address to a helper.
    pub(crate) fn check_combined_stack(
        &self,
        depths: &[u32],
        made: impl Fn(usize) -> bool,
        later: impl Fn(usize) -> bool,
        called_back: &BTreeSet<(usize, usize)>,
    ) -> Result<CallChain, (usize, Failure)> {
        let mut callees = vec![Vec::new(); self.subprogs.len()];
        let at_once = |start: usize| !self.subprog_at(start).is_some_and(&later);
        let addresses = self.addresses().filter(|address| at_once(address.1));
        for (pc, start) in self.calls().chain(addresses).filter(|call| made(call.0)) {
            if let Some(callee) = self.subprog_at(start) {
                callees[self.subprog_of(pc)].push((pc, callee));
            }
        }
        for &(pc, callee) in called_back {
            callees[self.subprog_of(pc)].push((pc, callee));
        }
        /// Frames are rounded up as the kernel does for its compilers.
        fn rounded(depth: u32) -> u32 {
            depth.max(1).next_multiple_of(16)
        }
        // There is no recursion, so each round fixes at least the chains one call longer; a chain has eight frames at most.
        let mut above = vec![0u32; self.subprogs.len()];
        let mut below = vec![(0u32, 0u32); self.subprogs.len()];
        let mut frames = vec![1; self.subprogs.len()];
        let mut culprits = vec![0; self.subprogs.len()];
        for _ in 0..self.subprogs.len().min(MAX_FRAMES + 1) {
            for caller in 0..callees.len() {
                for &(pc, callee) in &callees[caller] {
                    above[callee] = above[callee].max(above[caller] + rounded(depths[caller]));
                    frames[caller] = frames[caller].max(frames[callee] + 1);
                    if frames[caller] > MAX_FRAMES {
                        let count = frames[caller];
                        let message = format!("the call stack of {count} frames is too deep");
                        return Err((pc, Failure::new(format!("{count} frames"), message)));
                    }
                    let total = rounded(depths[callee]) + below[callee].0;
                    if total > below[caller].0 {
                        below[caller] = (total, below[callee].1 + 1);
                        culprits[caller] = pc;
                    }
                }
            }
        }
        let mut worst = CallChain::default();
        for root in (0..self.subprogs.len()).filter(|&subprog| subprog == 0 || later(subprog)) {
            let total = rounded(depths[root]) + below[root].0;
            if total > 512 {
                let message = format!(
                    "combined stack size of {} calls is {total}. Too large",
                    below[root].1 + 1
                );
                return Err((culprits[root], Failure::new(format!("{total} bytes"), message)));
            }
            worst.frames = worst.frames.max(frames[root] as u32);
            worst.stack = worst.stack.max(total);
        }
        for (subprog, &depth) in above.iter().enumerate().filter(|(_, depth)| **depth >= TAIL_CALL_STACK) {
            if let Some(pc) = self.tail_call_in(subprog) {
                let message = format!(
                    "tail_calls are not allowed when call stack of previous frames is {depth} bytes. Too large"
                );
                return Err((pc, Failure::new(format!("{depth} bytes"), message)));
            }
        }
        Ok(worst)
    }
}

/// Decodes every slot; reports all that do not decode.
fn decode_all(input: &ProgramInput<'_>) -> Result<Vec<Option<Instruction>>, Vec<VerifierError>> {
    let mut code = Vec::with_capacity(input.insns.len());
    let mut errors = Vec::new();
    while code.len() < input.insns.len() {
        let pc = code.len();
        match decode(input.insns, pc) {
            Ok(instruction) => {
                code.push(Some(instruction));
                code.resize(pc + instruction.slots(), None);
            }
            Err(cause) => {
                let found = format!("opcode {:02x}", input.insns[pc].code);
                errors.push(error(
                    input,
                    pc,
                    Requirement::Decodable,
                    Failure::new(found, cause.to_string()),
                ));
                code.push(None);
            }
        }
    }
    if errors.is_empty() { Ok(code) } else { Err(errors) }
}
