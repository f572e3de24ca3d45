//! From an image to native functions, one for each subprogram.

mod alu;
mod arguments;
mod call;
mod function;
mod memory;
mod select;
mod simplify;

use std::ops::Range;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{self, AbiParam, ExternalName, MemFlagsData, Signature, Type, UserFuncName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CodegenError, Context, Final, FinalizedRelocTarget, MachSrcLoc};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use hitless_isa::{Instruction, Size, Width};

use crate::{Image, Op};
use function::Translator;

/// A compiled subprogram.
pub(super) struct Function {
    pub(super) code: Vec<u8>,
    pub(super) calls: Vec<Call>,
    /// Whether it may end with a tail call.
    pub(super) tail_calls: bool,
    /// Where its loops are, in bytes.
    pub(super) loops: Vec<Range<usize>>,
}

/// A call of another subprogram, to be linked.
pub(super) struct Call {
    /// Offset of the field to be filled in, in bytes.
    pub(super) offset: usize,
    pub(super) kind: Reloc,
    /// Which subprogram.
    pub(super) callee: usize,
    /// Added to the distance from the field to the callee.
    pub(super) addend: i64,
}

/// Memory that is there, as the verifier has proved.
const MEMORY: MemFlagsData = MemFlagsData::new().with_notrap();

/// Compiles every subprogram of an image, the main program first.
///
/// # Errors
/// What cannot be compiled, in words.
pub(super) fn functions(isa: &dyn TargetIsa, image: &Image) -> Result<Vec<Function>, String> {
    let mut context = Context::new();
    let mut builder_context = FunctionBuilderContext::new();
    let ends = image
        .frames
        .iter()
        .skip(1)
        .map(|frame| frame.first)
        .chain([image.ops.len()]);
    let ranges: Vec<Range<usize>> = image
        .frames
        .iter()
        .zip(ends)
        .map(|(frame, end)| frame.first..end)
        .collect();
    let args = arguments::arguments(image, &ranges)?;
    let tail_calls: Vec<bool> = ranges.iter().map(|ops| makes_tail_calls(image, ops)).collect();
    let program = Program {
        isa,
        image,
        ranges: &ranges,
        args: &args,
        tail_calls: &tail_calls,
    };
    let mut functions = Vec::with_capacity(ranges.len());
    for (index, ops) in ranges.iter().enumerate() {
        context.clear();
        let signature = signature(isa, 1 + args[index], true);
        context.func = ir::Function::with_name_signature(UserFuncName::user(0, index as u32), signature);
        let builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let frame = &image.frames[index];
        Translator::new(&program, ops.clone(), builder).translate(frame)?;
        context
            .compile(isa, &mut ControlPlane::default())
            .map_err(|error| match error.inner {
                CodegenError::Verifier(errors) => errors.to_string(),
                other => other.to_string(),
            })?;
        let code = context.compiled_code().ok_or("no code")?;
        let mut calls = Vec::new();
        for reloc in code.buffer.relocs() {
            let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = reloc.target else {
                return Err(format!("a relocation of kind {:?}", reloc.kind));
            };
            calls.push(Call {
                offset: reloc.offset as usize,
                kind: reloc.kind,
                callee: context.func.params.user_named_funcs()[name].index as usize,
                addend: reloc.addend,
            });
        }
        functions.push(Function {
            code: code.code_buffer().to_vec(),
            calls,
            tail_calls: tail_calls[index],
            loops: loops(image, code.buffer.get_srclocs_sorted()),
        });
    }
    Ok(functions)
}

/// Of so many 64-bit arguments, returning a 64-bit value or nothing.
fn signature(isa: &dyn TargetIsa, args: usize, returns: bool) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend((0..args).map(|_| AbiParam::new(I64)));
    signature.returns.extend(returns.then(|| AbiParam::new(I64)));
    signature
}

/// What is known of a program before its functions are translated.
#[derive(Clone, Copy)]
struct Program<'a> {
    isa: &'a dyn TargetIsa,
    image: &'a Image,
    /// The operations of each subprogram.
    ranges: &'a [Range<usize>],
    /// How many arguments each takes.
    args: &'a [usize],
    /// Whether each may end with a tail call.
    tail_calls: &'a [bool],
}

fn makes_tail_calls(image: &Image, ops: &Range<usize>) -> bool {
    image.ops[ops.clone()]
        .iter()
        .any(|op| matches!(op, Op::TailCall { .. }))
}

fn of_width(width: Width) -> Type {
    match width {
        Width::W32 => I32,
        Width::W64 => I64,
    }
}

fn of_size(size: Size) -> Type {
    int(8 * size.bytes() as u8)
}

fn int(bits: u8) -> Type {
    match bits {
        8 => I8,
        16 => I16,
        32 => I32,
        _ => I64,
    }
}

/// Where the loops are in code that was made of operations, by the places of the latter.
fn loops(image: &Image, places: &[MachSrcLoc<Final>]) -> Vec<Range<usize>> {
    let mut loops = Vec::new();
    for jump in places {
        let index = jump.loc.bits() as usize;
        let Some(Op::Insn(Instruction::Jump { off, .. } | Instruction::Goto { off, .. })) = image.ops.get(index) else {
            continue;
        };
        let Some(target) = (index + 1)
            .checked_add_signed(*off as isize)
            .filter(|target| *target <= index)
        else {
            continue;
        };
        let inside = places
            .iter()
            .filter(|place| (target..=index).contains(&(place.loc.bits() as usize)));
        if let Some(start) = inside.map(|place| place.start).min() {
            loops.push(start as usize..jump.end as usize);
        }
    }
    loops
}
