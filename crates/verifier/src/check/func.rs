//! Arguments of global functions: at the call all that is known of them is their types.

use hitless_btf::TypeId;
use hitless_isa::Reg;

use super::call::{arg_reg, context, memory};
use super::{Context, object};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{FuncArg, MemUse, Trust};
use crate::members;

/// The arguments of the call of the global function `subprog` are of its types.
pub(super) fn arguments(cx: &mut Context<'_, '_>, subprog: usize) -> Result<(), Failure> {
    let Some(func) = cx.program.global(subprog) else {
        return Ok(());
    };
    let args = match &func.args {
        Ok(args) => args,
        Err(reason) => return Err(Failure::new(reason.clone(), reason.clone())),
    };
    cx.recorder.called(subprog);
    if cx.state.regions.open().is_some() && cx.program.might_sleep(subprog) {
        let message = "global functions that may sleep are not allowed in non-sleepable context, \
                       i.e., in a RCU/IRQ/preempt-disabled section, or in a non-sleepable program";
        return Err(Failure::new("a function that may sleep", message));
    }
    for (index, arg) in (0..).zip(args) {
        let reg = arg_reg(index);
        let value = cx.state.reg(reg);
        if value == Value::Uninit {
            return Err(Failure::new("nothing", format!("R{} !read_ok", reg.index())));
        }
        match *arg {
            FuncArg::Scalar if value.as_scalar().is_some() => {}
            FuncArg::Scalar => {
                let message = format!("R{} is not a scalar", reg.index());
                return Err(Failure::new(value.to_string(), message));
            }
            FuncArg::Context => context(&value, reg)?,
            FuncArg::Memory { nullable: true, .. } | FuncArg::Object { nullable: true, .. } if value.is_zero() => {
                cx.uses.value(reg);
            }
            FuncArg::Object { ty, nullable } => trusted(cx, reg, &value, ty, nullable)?,
            FuncArg::Memory { size, nullable } => {
                let pointer = value.not_null();
                if !nullable && (pointer != value || value.is_zero()) {
                    let message = format!("arg#{index} is expected to be non-NULL");
                    return Err(Failure::new(value.to_string(), message));
                }
                if program_moves_packet(cx, subprog, &value) {
                    let message = format!(
                        "R{} packet memory cannot be passed to a function that changes it",
                        reg.index()
                    );
                    return Err(Failure::new(value.to_string(), message));
                }
                memory(cx, index, &pointer, size.into(), MemUse::ReadAndWrite, false)?;
                cx.recorder.given(cx.pc, index, subprog);
            }
        }
    }
    Ok(())
}

/// The object is of the type, and is kept alive while the function runs. Linux takes others as well.
fn trusted(cx: &Context<'_, '_>, reg: Reg, value: &Value, ty: TypeId, nullable: bool) -> Result<(), Failure> {
    let wanted = cx.program.input.types.map_or("", |types| members::name(types, ty));
    object::typed(cx, reg, value, wanted, nullable)?;
    match value.as_object() {
        Some(object) if object.worth() == Trust::Trusted => Ok(()),
        _ => {
            let message = format!("R{} must be referenced or trusted", reg.index());
            Err(Failure::new(value.to_string(), message))
        }
    }
}

fn program_moves_packet(cx: &Context<'_, '_>, subprog: usize, value: &Value) -> bool {
    let in_packet = value
        .as_pointer()
        .is_some_and(|pointer| pointer.kind.is_packet_family());
    in_packet && cx.program.changes_packet(subprog)
}
