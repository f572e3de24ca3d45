//! Arithmetic and comparisons on values. What C leaves undefined has a result here: division by zero yields 0, a
//! remainder by zero the dividend, the least number divided by -1 itself, and shift counts are masked.

use hitless_isa::{AluOp, Cond, EndOp, Width};

/// `a op b` on all 64 bits.
#[inline(always)]
pub(super) fn alu64(op: AluOp, a: u64, b: u64) -> u64 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::SDiv if b == 0 => 0,
        AluOp::SDiv => a.cast_signed().wrapping_div(b.cast_signed()).cast_unsigned(),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a.wrapping_shl(b as u32),
        AluOp::Rsh => a.wrapping_shr(b as u32),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::SMod if b == 0 => a,
        AluOp::SMod => a.cast_signed().wrapping_rem(b.cast_signed()).cast_unsigned(),
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Arsh => a.cast_signed().wrapping_shr(b as u32).cast_unsigned(),
    }
}

/// `a op b` on the low halves; the result has no upper half.
#[inline(always)]
pub(super) fn alu32(op: AluOp, a: u64, b: u64) -> u64 {
    let (a, b) = (a as u32, b as u32);
    let result = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::SDiv if b == 0 => 0,
        AluOp::SDiv => a.cast_signed().wrapping_div(b.cast_signed()).cast_unsigned(),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a.wrapping_shl(b),
        AluOp::Rsh => a.wrapping_shr(b),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::SMod if b == 0 => a,
        AluOp::SMod => a.cast_signed().wrapping_rem(b.cast_signed()).cast_unsigned(),
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Arsh => a.cast_signed().wrapping_shr(b).cast_unsigned(),
    };
    result.into()
}

/// Whether `a cond b`, at this width.
#[inline(always)]
pub(super) fn holds(width: Width, cond: Cond, a: u64, b: u64) -> bool {
    // Zero-extended halves compare like the halves themselves; only signed comparisons need the sign.
    let (a, b, signed_a, signed_b) = match width {
        Width::W64 => (a, b, a.cast_signed(), b.cast_signed()),
        Width::W32 => (
            a & 0xffff_ffff,
            b & 0xffff_ffff,
            i64::from(a as i32),
            i64::from(b as i32),
        ),
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => signed_a > signed_b,
        Cond::Sge => signed_a >= signed_b,
        Cond::Slt => signed_a < signed_b,
        Cond::Sle => signed_a <= signed_b,
        Cond::Set => a & b != 0,
    }
}

/// The low `bits` of a value, sign-extended to `width`.
#[inline(always)]
pub(super) fn extend(width: Width, bits: u8, value: u64) -> u64 {
    let extended = match bits {
        8 => i64::from(value as i8),
        16 => i64::from(value as i16),
        _ => i64::from(value as i32),
    };
    truncate(width, extended.cast_unsigned())
}

/// A value cut to `width`.
#[inline(always)]
pub(super) fn truncate(width: Width, value: u64) -> u64 {
    match width {
        Width::W32 => value & 0xffff_ffff,
        Width::W64 => value,
    }
}

/// A byte-order conversion of the low `bits`.
#[inline(always)]
pub(super) fn end(op: EndOp, bits: u8, value: u64) -> u64 {
    match bits {
        16 => {
            let value = value as u16;
            match op {
                EndOp::ToLe => value.to_le(),
                EndOp::ToBe => value.to_be(),
                EndOp::Swap => value.swap_bytes(),
            }
            .into()
        }
        32 => {
            let value = value as u32;
            match op {
                EndOp::ToLe => value.to_le(),
                EndOp::ToBe => value.to_be(),
                EndOp::Swap => value.swap_bytes(),
            }
            .into()
        }
        _ => match op {
            EndOp::ToLe => value.to_le(),
            EndOp::ToBe => value.to_be(),
            EndOp::Swap => value.swap_bytes(),
        },
    }
}
