//! Arithmetic on scalars.

use hitless_isa::{AluOp, EndOp, Width};

use super::Scalar;
use crate::domain::interval::{Interval, Word};
use crate::domain::tnum::Tnum;

/// `a op b`.
pub(crate) fn arithmetic(width: Width, op: AluOp, a: &Scalar, b: &Scalar) -> Scalar {
    match (width, op) {
        (Width::W64, AluOp::Mov) => return *b,
        (Width::W32, AluOp::Mov) => return b.truncated(32),
        _ => {}
    }
    if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) && may_exceed(width, b) {
        return Scalar::TOP;
    }
    if let (Some(x), Some(y)) = (a.as_constant(), b.as_constant()) {
        return Scalar::constant(concrete(width, op, x, y));
    }
    match width {
        Width::W64 => {
            let count = b.u32;
            let (u32, s32) = low_half(op, a, b, count);
            Scalar {
                bits: bitwise(op, a.bits, b.bits, count, 64),
                u64: unsigned(op, a.u64, b.u64, count),
                s64: signed(op, a.s64, b.s64, count),
                u32,
                s32,
            }
            .tightened()
        }
        Width::W32 => Scalar::from_low(
            bitwise(op, a.bits.truncate(32), b.bits.truncate(32), b.u32, 32),
            unsigned(op, a.u32, b.u32, b.u32),
            signed(op, a.s32, b.s32, b.u32),
        ),
    }
}

/// The low half of a 64-bit result, where it depends on the low halves of the operands alone.
fn low_half(op: AluOp, a: &Scalar, b: &Scalar, count: Interval<u32>) -> (Interval<u32>, Interval<i32>) {
    match op {
        AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor => {
            (unsigned(op, a.u32, b.u32, count), signed(op, a.s32, b.s32, count))
        }
        AluOp::Lsh if count.max < 32 => (a.u32.lsh(count), a.s32.lsh(count)),
        _ => (Interval::TOP, Interval::TOP),
    }
}

/// `-a`.
pub(crate) fn negate(width: Width, a: &Scalar) -> Scalar {
    arithmetic(width, AluOp::Sub, &Scalar::constant(0), a)
}

/// The low `bits` (8, 16, 32 or 64) of `a`, sign-extended to 64 bits.
pub(crate) fn sign_extend(a: &Scalar, bits: u32) -> Scalar {
    let limit = 1i64 << (bits - 1).min(62);
    let fits = bits == 64 || -limit <= a.s64.min && a.s64.max < limit;
    if fits {
        return *a;
    }
    let s64 = if bits == 32 {
        Interval {
            min: a.s32.min.into(),
            max: a.s32.max.into(),
        }
    } else {
        Interval {
            min: -limit,
            max: limit - 1,
        }
    };
    Scalar {
        bits: a.bits.sign_extend(bits),
        s64,
        ..Scalar::TOP
    }
    .tightened()
}

/// Byte-order conversion of the low `bits` (16, 32 or 64) on a little-endian host.
pub(crate) fn byte_order(op: EndOp, bits: u32, a: &Scalar) -> Scalar {
    match op {
        EndOp::ToLe => a.truncated(bits),
        EndOp::ToBe | EndOp::Swap => Scalar {
            bits: a.bits.swap_bytes(bits),
            ..Scalar::TOP
        }
        .tightened(),
    }
}

/// Whether a shift by `b` may be one by as many bits as there are, or by more. The instruction masks the count, but Linux
/// takes nothing to be known of the result. It looks at all of the register, also where half of it is shifted.
fn may_exceed(width: Width, b: &Scalar) -> bool {
    match width {
        Width::W64 => b.u64.max >= 64,
        Width::W32 => b.u64.max >= 32,
    }
}

fn unsigned<T: Word>(op: AluOp, a: Interval<T>, b: Interval<T>, count: Interval<u32>) -> Interval<T> {
    let zero = T::wrap(0);
    match op {
        AluOp::Add => a.add(b),
        AluOp::Sub => a.sub(b),
        AluOp::Mul => a.mul(b),
        AluOp::Div => a.div(b),
        AluOp::Mod => a.rem(b),
        AluOp::And => Interval {
            min: zero,
            max: a.max.min(b.max),
        },
        AluOp::Or => Interval {
            min: a.min.max(b.min),
            max: ones_up_to(a.max.max(b.max)),
        },
        AluOp::Xor => Interval {
            min: zero,
            max: ones_up_to(a.max.max(b.max)),
        },
        AluOp::Lsh => a.lsh(count),
        AluOp::Rsh => a.rsh(count),
        AluOp::Mov => b,
        AluOp::SDiv | AluOp::SMod | AluOp::Arsh => Interval::TOP,
    }
}

fn signed<T: Word>(op: AluOp, a: Interval<T>, b: Interval<T>, count: Interval<u32>) -> Interval<T> {
    match op {
        AluOp::Add => a.add(b),
        AluOp::Sub => a.sub(b),
        AluOp::Mul => a.mul(b),
        AluOp::SDiv => a.div(b),
        AluOp::SMod => a.rem(b),
        AluOp::Lsh => a.lsh(count),
        AluOp::Arsh => a.rsh(count),
        AluOp::Mov => b,
        AluOp::And | AluOp::Or | AluOp::Xor => {
            // Numbers that fit so many bits, the sign's copies above, do so afterwards.
            let magnitude = |x: T| if x.widen() < 0 { !x.widen() } else { x.widen() };
            let greatest = [a.min, a.max, b.min, b.max]
                .into_iter()
                .map(magnitude)
                .fold(0, i128::max);
            let max = ones_up_to(T::wrap(greatest));
            Interval {
                min: T::wrap(!max.widen()),
                max,
            }
        }
        AluOp::Div | AluOp::Mod | AluOp::Rsh => Interval::TOP,
    }
}

/// The least number of the form 2^n - 1 that is not below `x`.
fn ones_up_to<T: Word>(x: T) -> T {
    let x = x.widen() as u128;
    T::wrap((u128::MAX.checked_shr(x.leading_zeros()).unwrap_or(0)) as i128)
}

/// The bits of the result. Operands of 32-bit operations come truncated, and the upper half of the result is ignored.
fn bitwise(op: AluOp, a: Tnum, b: Tnum, count: Interval<u32>, width: u32) -> Tnum {
    match op {
        AluOp::Add => a.add(b),
        AluOp::Sub => a.sub(b),
        AluOp::Mul => a.mul(b),
        AluOp::And => a.and(b),
        AluOp::Or => a.or(b),
        AluOp::Xor => a.xor(b),
        AluOp::Lsh if count.min == count.max => a.lsh(count.min),
        // At least as many low bits are zero as before.
        AluOp::Lsh => Tnum::TOP.lsh((a.max().trailing_zeros().min(width - 1) + count.min).min(63)),
        AluOp::Rsh if count.min == count.max => a.rsh(count.min),
        AluOp::Arsh if count.min == count.max => a.sign_extend(width).arsh(count.min),
        AluOp::Mov => b,
        AluOp::Rsh | AluOp::Arsh | AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod => Tnum::TOP,
    }
}

/// The operation on two numbers, as RFC 9669 defines it.
pub(super) fn concrete(width: Width, op: AluOp, x: u64, y: u64) -> u64 {
    match width {
        Width::W64 => {
            let (sx, sy) = (x as i64, y as i64);
            match op {
                AluOp::Add => x.wrapping_add(y),
                AluOp::Sub => x.wrapping_sub(y),
                AluOp::Mul => x.wrapping_mul(y),
                AluOp::Div => x.checked_div(y).unwrap_or(0),
                AluOp::SDiv => {
                    if y == 0 {
                        0
                    } else {
                        sx.wrapping_div(sy) as u64
                    }
                }
                AluOp::Mod => x.checked_rem(y).unwrap_or(x),
                AluOp::SMod => {
                    if y == 0 {
                        x
                    } else {
                        sx.wrapping_rem(sy) as u64
                    }
                }
                AluOp::Or => x | y,
                AluOp::And => x & y,
                AluOp::Xor => x ^ y,
                AluOp::Lsh => x << (y & 63),
                AluOp::Rsh => x >> (y & 63),
                AluOp::Arsh => (sx >> (y & 63)) as u64,
                AluOp::Mov => y,
            }
        }
        Width::W32 => {
            let (x, y) = (x as u32, y as u32);
            let (sx, sy) = (x as i32, y as i32);
            u64::from(match op {
                AluOp::Add => x.wrapping_add(y),
                AluOp::Sub => x.wrapping_sub(y),
                AluOp::Mul => x.wrapping_mul(y),
                AluOp::Div => x.checked_div(y).unwrap_or(0),
                AluOp::SDiv => {
                    if y == 0 {
                        0
                    } else {
                        sx.wrapping_div(sy) as u32
                    }
                }
                AluOp::Mod => x.checked_rem(y).unwrap_or(x),
                AluOp::SMod => {
                    if y == 0 {
                        x
                    } else {
                        sx.wrapping_rem(sy) as u32
                    }
                }
                AluOp::Or => x | y,
                AluOp::And => x & y,
                AluOp::Xor => x ^ y,
                AluOp::Lsh => x << (y & 31),
                AluOp::Rsh => x >> (y & 31),
                AluOp::Arsh => (sx >> (y & 31)) as u32,
                AluOp::Mov => y,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scalar::tests::{number, set};
    use proptest::prelude::*;

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn results_contain_every_concrete_result((a, x) in set(), (b, y) in set()) {
            for op in OPS {
                for width in [Width::W64, Width::W32] {
                    let result = arithmetic(width, op, &a, &b);
                    let value = concrete(width, op, x, y);
                    prop_assert!(result.contains(value), "{width:?} {op:?} {x:#x} {y:#x}: {value:#x} not in {result:?}");
                }
            }
        }

        #[test]
        fn constant_shifts_are_sound((a, x) in set(), count in 0..64u64) {
            for op in [AluOp::Lsh, AluOp::Rsh, AluOp::Arsh] {
                for width in [Width::W64, Width::W32] {
                    let result = arithmetic(width, op, &a, &Scalar::constant(count));
                    prop_assert!(result.contains(concrete(width, op, x, count)));
                }
            }
        }

        #[test]
        fn unary_operations_are_sound((a, x) in set()) {
            prop_assert!(negate(Width::W64, &a).contains(x.wrapping_neg()));
            prop_assert!(negate(Width::W32, &a).contains(u64::from((x as u32).wrapping_neg())));
            prop_assert!(sign_extend(&a, 8).contains(x as i8 as u64));
            prop_assert!(sign_extend(&a, 16).contains(x as i16 as u64));
            prop_assert!(sign_extend(&a, 32).contains(x as i32 as u64));
            for bits in [16, 32, 64] {
                let low = x & (u64::MAX >> (64 - bits));
                let swapped = low.swap_bytes() >> (64 - bits);
                prop_assert!(byte_order(EndOp::ToLe, bits, &a).contains(low));
                prop_assert!(byte_order(EndOp::ToBe, bits, &a).contains(swapped));
                prop_assert!(byte_order(EndOp::Swap, bits, &a).contains(swapped));
            }
        }

        #[test]
        fn constants_stay_constant(x in number(), y in number()) {
            for op in OPS {
                let result = arithmetic(Width::W64, op, &Scalar::constant(x), &Scalar::constant(y));
                let shifts = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
                let expected = (!shifts || y < 64).then(|| concrete(Width::W64, op, x, y));
                prop_assert_eq!(result.as_constant(), expected);
            }
        }
    }

    #[test]
    fn clang_idioms_stay_precise() {
        // (header & 15) * 4, as shifts and as a product.
        let byte = Scalar::loaded(1, false);
        let shifted = arithmetic(Width::W32, AluOp::Lsh, &byte, &Scalar::constant(2));
        let length = arithmetic(Width::W32, AluOp::And, &shifted, &Scalar::constant(0x3c));
        assert_eq!((length.u64.max, length.bits), (60, Tnum { value: 0, mask: 0x3c }));
        let nibble = arithmetic(Width::W64, AluOp::And, &byte, &Scalar::constant(15));
        assert_eq!(
            arithmetic(Width::W64, AluOp::Mul, &nibble, &Scalar::constant(4))
                .u64
                .max,
            60
        );
        let half = arithmetic(Width::W64, AluOp::Rsh, &Scalar::TOP, &Scalar::constant(60));
        assert_eq!(half.u64.max, 15);
        assert_eq!(
            arithmetic(Width::W64, AluOp::Mod, &Scalar::TOP, &Scalar::constant(10))
                .u64
                .max,
            9
        );
    }
}
