//! Calls: of the runtime, of subprograms, and what stands in place of calls.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    BlockArg, ExtFuncData, ExternalName, FuncRef, InstBuilder, SigRef, UserExternalName, Value,
};
use hitless_isa::Reg;

use super::arguments::callee;
use super::function::Translator;
use super::{MEMORY, int, signature};
use crate::callee::ARGUMENTS;
use crate::native::calls::{self, EntryPoint};
use crate::{Arg, Callee, Elements, HashTable, Inline, Vm};

/// The most turns of `bpf_loop()`, and what it refuses with.
const MAX_TURNS: i64 = 1 << 23;
const E2BIG: i64 = 7;
const EINVAL: i64 = 22;

impl Translator<'_> {
    fn signature_of(&mut self, args: usize, returns: bool) -> SigRef {
        let form = (args, returns);
        if let Some(&(_, known)) = self.signatures.iter().find(|known| known.0 == form) {
            return known;
        }
        let signature = signature(self.program.isa, args, returns);
        let signature = self.builder.import_signature(signature);
        self.signatures.push((form, signature));
        signature
    }

    /// Calls a function of the runtime; returns what it does, if anything.
    pub(super) fn call_runtime(&mut self, entry: EntryPoint, args: &[Value]) -> Option<Value> {
        debug_assert_eq!(args.len(), entry.args);
        let signature = self.signature_of(entry.args, entry.returns);
        let address = self.builder.ins().iconst(I64, entry.address as i64);
        let call = self.builder.ins().call_indirect(signature, address, args);
        self.builder.inst_results(call).first().copied()
    }

    /// Calls a helper or a kernel function, or does what it would.
    pub(super) fn call_function(&mut self, callee: usize) -> Result<(), String> {
        let callee = &self.program.image.callees[callee];
        match callee.inline {
            Some(Inline::Slot) => {
                let slot = self.builder.ins().uload32(MEMORY, self.vm, Vm::SLOT);
                self.set(Reg::R0, slot);
            }
            Some(Inline::Element(elements)) => self.element(&elements),
            Some(Inline::Store { elements, size, closed }) => self.store_element(callee, &elements, size, closed),
            Some(Inline::Loop) => return self.bpf_loop(),
            Some(Inline::NextNumber) => self.next_number(),
            None => {
                let result = self.call_callee(callee);
                self.set_result(result);
            }
        }
        Ok(())
    }

    fn call_callee(&mut self, callee: &Callee) -> Option<Value> {
        let args = self.arguments(callee);
        let function = calls::function(callee.function, args.len());
        self.call_runtime(function, &args)
    }

    fn arguments(&mut self, callee: &Callee) -> Vec<Value> {
        let mut args = Vec::with_capacity(callee.args.len());
        for arg in &callee.args {
            let value = self.argument(*arg, &args);
            args.push(value);
        }
        args
    }

    /// An argument, behind these.
    fn argument(&mut self, arg: Arg, before: &[Value]) -> Value {
        match arg {
            Arg::Env => self.vm,
            Arg::EnvWord(off) => self.builder.ins().load(I64, MEMORY, self.vm, off as i32),
            Arg::Const(value) => self.builder.ins().iconst(I64, value.cast_signed()),
            Arg::Reg(reg) => self.get(reg),
            Arg::Load(reg, size) => self.load(size, false, reg, 0),
            Arg::Bucket(key, table) => self.bucket(&table, before[key]),
        }
    }

    /// What [`HashTable::bucket`] says.
    fn bucket(&mut self, table: &HashTable, key: Value) -> Value {
        let [start, multiplier, finish] = table
            .seed
            .map(|word| self.builder.ins().iconst(I64, word.cast_signed()));
        let hash = self.builder.ins().bxor(key, start);
        let hash = self.builder.ins().imul(hash, multiplier);
        let high = self.builder.ins().ushr_imm_u(hash, 32);
        let hash = self.builder.ins().bxor(hash, high);
        let hash = self.builder.ins().imul(hash, finish);
        let buckets = self.builder.ins().iconst(I64, i64::from(table.buckets));
        let number = self.builder.ins().umulhi(hash, buckets);
        let off = self.builder.ins().ishl_imm_u(number, i64::from(table.shift));
        let base = self.builder.ins().iconst(I64, table.base.cast_signed());
        self.builder.ins().iadd(base, off)
    }

    pub(super) fn set_result(&mut self, result: Option<Value>) {
        if let Some(result) = result {
            self.set(Reg::R0, result);
        }
    }

    /// The address of the element at an index, of the run's slot if there is one for each. `None` stands for the index that is
    /// always the same.
    fn element_address(&mut self, elements: &Elements, index: Option<Value>) -> Value {
        let known = elements.index.map_or(0, |index| u64::from(index) * elements.stride);
        let start = if index.is_some() {
            elements.base
        } else {
            elements.base.wrapping_add(known)
        };
        let mut address = self.builder.ins().iconst(I64, start.cast_signed());
        if elements.slot_stride != 0 {
            let slot = self.builder.ins().uload32(MEMORY, self.vm, Vm::SLOT);
            let off = self.builder.ins().imul_imm_s(slot, elements.slot_stride.cast_signed());
            address = self.builder.ins().iadd(address, off);
        }
        if let Some(index) = index {
            let index = self.builder.ins().uextend(I64, index);
            let off = self.builder.ins().imul_imm_s(index, elements.stride.cast_signed());
            address = self.builder.ins().iadd(address, off);
        }
        address
    }

    /// The index at `r2`, and whether there is such an element.
    fn index_at(&mut self, elements: &Elements) -> (Value, Value) {
        let key = self.get(Reg::R2);
        let index = self.builder.ins().load(I32, MEMORY, key, 0);
        let len = u64::from(elements.len) as i64;
        let inside = self.builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, index, len);
        (index, inside)
    }

    /// The address of an element of an array, or 0.
    fn element(&mut self, elements: &Elements) {
        if elements.index.is_some() {
            let address = self.element_address(elements, None);
            return self.set(Reg::R0, address);
        }
        let (index, inside) = self.index_at(elements);
        let address = self.element_address(elements, Some(index));
        let zero = self.builder.ins().iconst(I64, 0);
        let result = self.builder.ins().select(inside, address, zero);
        self.set(Reg::R0, result);
    }

    /// Copies a value into an element of an array, or calls what is called for all but the usual case.
    fn store_element(&mut self, callee: &Callee, elements: &Elements, size: u32, closed: u64) {
        let [unusual, done] = [(); 2].map(|()| self.builder.create_block());
        let result = self.builder.append_block_param(done, I64);
        self.builder.set_cold_block(unusual);

        let flags = self.get(Reg::R4);
        if self.known(flags) != Some(0) {
            self.branch(flags, unusual);
        }
        let closed = self.builder.ins().iconst(I64, closed.cast_signed());
        let closed = self.builder.ins().load(I32, MEMORY, closed, 0);
        self.branch(closed, unusual);
        let (index, inside) = self.index_at(elements);
        let next = self.builder.create_block();
        self.builder.ins().brif(inside, next, &[], unusual, &[]);
        self.continue_in(next);
        let (from, to) = (self.get(Reg::R3), self.element_address(elements, Some(index)));
        let word = if size < 8 { int(8 * size as u8) } else { I64 };
        for off in (0..size as i32).step_by(word.bytes() as usize) {
            let value = self.builder.ins().load(word, MEMORY, from, off);
            self.builder.ins().store(MEMORY, value, to, off);
        }
        let zero = self.builder.ins().iconst(I64, 0);
        self.builder.ins().jump(done, &[BlockArg::Value(zero)]);

        self.continue_in(unusual);
        let nothing = self.builder.ins().iconst(I64, 0);
        let called = self.call_callee(callee).unwrap_or(nothing);
        self.builder.ins().jump(done, &[BlockArg::Value(called)]);

        self.continue_in(done);
        self.set(Reg::R0, result);
    }

    /// `bpf_iter_num_next(it)`.
    fn next_number(&mut self) {
        let it = self.get(Reg::R1);
        let [more, end, done] = [(); 3].map(|()| self.builder.create_block());
        let result = self.builder.append_block_param(done, I64);
        let now = self.builder.ins().load(I32, MEMORY, it, 0);
        let next = self.builder.ins().iadd_imm_s(now, 1);
        let limit = self.builder.ins().load(I32, MEMORY, it, 4);
        let is_more = self.builder.ins().icmp(IntCC::SignedLessThan, next, limit);
        self.builder.ins().brif(is_more, more, &[], end, &[]);

        self.continue_in(more);
        self.builder.ins().store(MEMORY, next, it, 0);
        self.builder.ins().jump(done, &[BlockArg::Value(it)]);

        self.continue_in(end);
        let zero = self.builder.ins().iconst(I64, 0);
        self.builder.ins().store(MEMORY, zero, it, 0);
        self.builder.ins().jump(done, &[BlockArg::Value(zero)]);

        self.continue_in(done);
        self.set(Reg::R0, result);
    }

    /// `bpf_loop(count, function, context, flags)`.
    fn bpf_loop(&mut self) -> Result<(), String> {
        let function = self.body.functions[Reg::R2.index()];
        let count = self.operand(hitless_isa::Operand::Reg(Reg::R1), I32);
        let [address, context, flags] = [Reg::R2, Reg::R3, Reg::R4].map(|reg| self.get(reg));
        let [head, turn, check, done] = [(); 4].map(|()| self.builder.create_block());
        let result = self.builder.append_block_param(done, I64);
        let at = self.builder.append_block_param(head, I32);

        let zero = self.builder.ins().iconst(I32, 0);
        self.refuse(flags, IntCC::NotEqual, 0, EINVAL, done);
        let wide = self.builder.ins().uextend(I64, count);
        self.refuse(wide, IntCC::UnsignedGreaterThan, MAX_TURNS, E2BIG, done);
        self.builder.ins().jump(head, &[BlockArg::Value(zero)]);

        self.builder.switch_to_block(head);
        let more = self.builder.ins().icmp(IntCC::UnsignedLessThan, at, count);
        self.builder.ins().brif(more, turn, &[], done, &[BlockArg::Value(wide)]);

        self.continue_in(turn);
        let number = self.builder.ins().uextend(I64, at);
        let stop = match function {
            Some(function) => self.invoke(function, &[number, context])?,
            None => self.call_address(address, &[self.vm, number, context]),
        };
        let next = self.builder.ins().iadd_imm_s(at, 1);
        self.builder
            .ins()
            .brif(stop, check, &[], head, &[BlockArg::Value(next)]);

        self.continue_in(check);
        let turns = self.builder.ins().uextend(I64, next);
        self.builder.ins().jump(done, &[BlockArg::Value(turns)]);

        self.continue_in(done);
        self.set(Reg::R0, result);
        Ok(())
    }

    /// Goes to `done` with a negative errno if the comparison holds, else on.
    fn refuse(&mut self, value: Value, cc: IntCC, limit: i64, errno: i64, done: cranelift_codegen::ir::Block) {
        let refused = self.builder.ins().icmp_imm_u(cc, value, limit);
        let errno = self.builder.ins().iconst(I64, -errno);
        let next = self.builder.create_block();
        self.builder
            .ins()
            .brif(refused, done, &[BlockArg::Value(errno)], next, &[]);
        self.builder.switch_to_block(next);
    }

    /// Calls a subprogram; arguments that it does not take are left out, others are 0.
    pub(super) fn call_known(&mut self, subprog: usize, args: &[Value]) -> Value {
        let func = self.callee_ref(subprog);
        let mut all = vec![self.vm];
        all.extend(args);
        let zero = self.builder.ins().iconst(I64, 0);
        all.resize(1 + self.program.args[subprog], zero);
        let call = self.builder.ins().call(func, &all);
        self.builder.inst_results(call)[0]
    }

    fn call_address(&mut self, address: Value, args: &[Value]) -> Value {
        let signature = self.signature_of(args.len(), true);
        let call = self.builder.ins().call_indirect(signature, address, args);
        self.builder.inst_results(call)[0]
    }

    /// Calls a subprogram. If it has ended with a tail call, what that goes to runs now, and its result is the call's.
    pub(super) fn call_subprog(&mut self, index: usize, off: i32) -> Result<(), String> {
        let callee = callee(self.program.ranges, index, off)?;
        let args: Vec<_> = ARGUMENTS[..self.program.args[callee]]
            .iter()
            .map(|reg| self.get(*reg))
            .collect();
        if !self.program.tail_calls[callee] {
            let result = self.invoke(callee, &args)?;
            self.set(Reg::R0, result);
            return Ok(());
        }
        let owner = self.owner();
        let result = self.call_known(callee, &args);
        self.set(Reg::R0, result);
        let pending = self.builder.ins().load(I32, MEMORY, self.vm, Vm::PENDING);
        let (go_on, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(pending, go_on, &[], next, &[]);
        self.continue_in(go_on);
        let result = self.call_runtime(calls::go_on(), &[self.vm]);
        self.set_result(result);
        self.set_owner(owner);
        self.builder.ins().jump(next, &[]);
        self.continue_in(next);
        Ok(())
    }

    /// What runs.
    fn owner(&mut self) -> [Value; 2] {
        [0, 8].map(|off| self.builder.ins().load(I64, MEMORY, self.vm, Vm::OWNER + off))
    }

    /// This runs again.
    fn set_owner(&mut self, [first, second]: [Value; 2]) {
        for (off, word) in [(0, first), (8, second)] {
            self.builder.ins().store(MEMORY, word, self.vm, Vm::OWNER + off);
        }
    }

    /// All of a subprogram whose place another program takes.
    pub(super) fn replacement(&mut self, callee: usize, args: usize) {
        let owner = self.owner();
        let callee = &self.program.image.callees[callee];
        let given = self.arguments(callee);
        let Some(address) = self.call_runtime(calls::function(callee.function, given.len()), &given) else {
            return;
        };
        let mut given = vec![self.vm];
        given.extend(ARGUMENTS[..args].iter().map(|reg| self.get(*reg)));
        let result = self.call_address(address, &given);
        let pending = self.builder.ins().load(I32, MEMORY, self.vm, Vm::PENDING);
        let (go_on, end) = (self.builder.create_block(), self.builder.create_block());
        let last = self.builder.append_block_param(end, I64);
        self.builder
            .ins()
            .brif(pending, go_on, &[], end, &[BlockArg::Value(result)]);
        self.continue_in(go_on);
        let result = self.call_runtime(calls::go_on(), &[self.vm]);
        let result: Vec<_> = result.into_iter().map(BlockArg::Value).collect();
        self.builder.ins().jump(end, &result);
        self.continue_in(end);
        self.set_owner(owner);
        self.leave(last);
    }

    /// Looks for the program to go on with. If there is one, the subprogram ends, and its caller goes on with that.
    pub(super) fn tail_call(&mut self, callee: usize) {
        let callee = &self.program.image.callees[callee];
        let args = self.arguments(callee);
        let found = self.call_runtime(calls::function(callee.function, args.len()), &args);
        let Some(found) = found else { return };
        let (end, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(found, end, &[], next, &[]);
        self.continue_in(end);
        self.builder.ins().return_(&[found]);
        self.continue_in(next);
        self.set(Reg::R0, found);
    }

    pub(super) fn callee_ref(&mut self, callee: usize) -> FuncRef {
        if let Some(func) = self.callees[callee] {
            return func;
        }
        let func = self.import(callee);
        self.callees[callee] = Some(func);
        func
    }

    fn import(&mut self, callee: usize) -> FuncRef {
        let signature = signature(self.program.isa, 1 + self.program.args[callee], true);
        let signature = self.builder.import_signature(signature);
        let name = UserExternalName::new(0, callee as u32);
        let name = self.builder.func.declare_imported_user_function(name);
        self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }
}
