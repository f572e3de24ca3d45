//! Arithmetic: everything is defined on numbers, little on pointers. Copied in part, negated or compared, a pointer is
//! just a number that nothing is known of.

use hitless_isa::{AluOp, Operand, Reg, Width};

use super::Context;
use crate::domain::pointer::{MAX_OFFSET, Pointer, PointerKind};
use crate::domain::scalar::Scalar;
use crate::domain::value::Value;
use crate::error::Failure;
use crate::transfer::{offset_by, operand};

/// Arithmetic is defined on the operands.
pub(super) fn defined(
    cx: &mut Context<'_, '_>,
    width: Width,
    op: AluOp,
    dst: Reg,
    src: Operand,
) -> Result<(), Failure> {
    let right = operand(cx.state, src);
    let index = dst.index();
    if op == AluOp::Mov {
        return Ok(());
    }
    let left = cx.state.reg(dst);
    match (left.as_pointer(), right.as_pointer()) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => {
            // The distance is some number, whatever they point to.
            if op == AluOp::Sub {
                return Ok(());
            }
            let message = format!("R{index} pointer {} pointer prohibited", symbol(op));
            Err(Failure::new(format!("{left} and {right}"), message))
        }
        (Some(pointer), None) => {
            cx.uses.operand(src);
            with_number(width, op, index, pointer, &right, false)
        }
        (None, Some(pointer)) => {
            cx.uses.value(dst);
            with_number(width, op, index, pointer, &left, true)
        }
    }
}

/// A pointer and a number, which comes first if `reversed`.
fn with_number(
    width: Width,
    op: AluOp,
    index: usize,
    pointer: &Pointer,
    number: &Value,
    reversed: bool,
) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(format!("{pointer} and {number}"), message));
    let kind = pointer.kind;
    let name = kind.name();
    if width == Width::W32 {
        // Half of the difference is some number, whatever the pointer points to.
        if op == AluOp::Sub {
            return Ok(());
        }
        return fail(format!("R{index} 32-bit pointer arithmetic prohibited"));
    }
    match kind {
        _ if kind.is_nullable() => {
            return fail(format!(
                "R{index} pointer arithmetic on {name} prohibited, null-check it first"
            ));
        }
        PointerKind::Map { .. } if op == AluOp::Add && number.is_zero() => {}
        PointerKind::Map { .. } | PointerKind::PacketEnd => {
            return fail(format!("R{index} pointer arithmetic on {name} prohibited"));
        }
        PointerKind::Object(object) if object.is_socket() => {
            return fail(format!("R{index} pointer arithmetic on {name} prohibited"));
        }
        _ => {}
    }
    match op {
        AluOp::Add => {}
        AluOp::Sub if reversed => return fail(format!("R{index} tried to subtract pointer from scalar")),
        AluOp::Sub if matches!(kind, PointerKind::Stack { .. }) => {
            return fail(format!("R{index} subtraction from stack pointer prohibited"));
        }
        AluOp::Sub => {}
        _ => {
            return fail(format!(
                "R{index} pointer arithmetic with {} operator prohibited",
                symbol(op)
            ));
        }
    }
    let Some(scalar) = number.as_scalar() else {
        return fail(format!("R{index} !read_ok"));
    };
    if kind.is_anywhere() {
        return Ok(());
    }
    sane_offset(scalar, name).or_else(fail)?;
    let result = offset_by(pointer, op, scalar, 0);
    if result.fixed.abs() >= MAX_OFFSET {
        return fail(format!("value {} makes {name} pointer be out of bounds", result.fixed));
    }
    sane_offset(&result.var, name).or_else(fail)
}

/// The kernel's limits on what may be added to a pointer.
fn sane_offset(scalar: &Scalar, name: &str) -> Result<(), String> {
    if let Some(constant) = scalar.as_constant() {
        let constant = constant as i64;
        if !(-MAX_OFFSET < constant && constant < MAX_OFFSET) {
            return Err(format!("math between {name} pointer and {constant} is not allowed"));
        }
    }
    match scalar.s64.min {
        i64::MIN => Err(format!(
            "math between {name} pointer and register with unbounded min value is not allowed"
        )),
        min if min <= -MAX_OFFSET => Err(format!("value {min} makes {name} pointer be out of bounds")),
        _ => Ok(()),
    }
}

fn symbol(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::SDiv => "s/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod => "%=",
        AluOp::SMod => "s%=",
        AluOp::Xor => "^=",
        AluOp::Mov => "=",
        AluOp::Arsh => "s>>=",
    }
}
