//! What a comparison tells about its operands.

use hitless_isa::{Cond, Width};

use super::Scalar;
use crate::domain::interval::{Interval, Word};
use crate::domain::tnum::Tnum;

/// The operands for which `a cond b` is `outcome`, or `None` if it never is.
pub(crate) fn assume(width: Width, cond: Cond, outcome: bool, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
    let (cond, outcome) = if outcome { (cond, true) } else { negated(cond) };
    match cond {
        Cond::Eq => equal(width, a, b),
        Cond::Ne => different(width, a, b),
        Cond::Set if outcome => some_bit_common(width, a, b),
        Cond::Set => no_bit_common(width, a, b),
        Cond::Gt => ordered(width, b, a, false, false).map(swap),
        Cond::Ge => ordered(width, b, a, true, false).map(swap),
        Cond::Lt => ordered(width, a, b, false, false),
        Cond::Le => ordered(width, a, b, true, false),
        Cond::Sgt => ordered(width, b, a, false, true).map(swap),
        Cond::Sge => ordered(width, b, a, true, true).map(swap),
        Cond::Slt => ordered(width, a, b, false, true),
        Cond::Sle => ordered(width, a, b, true, true),
    }
}

fn swap<T>((a, b): (T, T)) -> (T, T) {
    (b, a)
}

/// The condition that holds exactly if `cond` does not; only `Set` has none, and stays with the outcome false.
fn negated(cond: Cond) -> (Cond, bool) {
    match cond {
        Cond::Eq => (Cond::Ne, true),
        Cond::Ne => (Cond::Eq, true),
        Cond::Gt => (Cond::Le, true),
        Cond::Ge => (Cond::Lt, true),
        Cond::Lt => (Cond::Ge, true),
        Cond::Le => (Cond::Gt, true),
        Cond::Sgt => (Cond::Sle, true),
        Cond::Sge => (Cond::Slt, true),
        Cond::Slt => (Cond::Sge, true),
        Cond::Sle => (Cond::Sgt, true),
        Cond::Set => (Cond::Set, false),
    }
}

fn equal(width: Width, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
    match width {
        Width::W64 => a.meet(b).map(|both| (both, both)),
        Width::W32 => {
            let u32 = a.u32.meet(b.u32)?;
            let s32 = a.s32.meet(b.s32)?;
            let low = a.bits.truncate(32).meet(b.bits.truncate(32))?;
            let with_low = |x: &Scalar| {
                Scalar {
                    bits: x.bits.with_low32(low),
                    u32,
                    s32,
                    ..*x
                }
                .tighten()
            };
            Some((with_low(a)?, with_low(b)?))
        }
    }
}

fn different(width: Width, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
    Some((without(width, a, b)?, without(width, b, a)?))
}

/// `a` without the number that `b` is, if it is only one.
fn without(width: Width, a: &Scalar, b: &Scalar) -> Option<Scalar> {
    match width {
        Width::W64 => {
            let Some(x) = b.as_constant() else { return Some(*a) };
            Scalar {
                u64: a.u64.without(x)?,
                s64: a.s64.without(x as i64)?,
                ..*a
            }
            .tighten()
        }
        Width::W32 => {
            let Some(x) = b.bits.truncate(32).as_constant() else {
                return Some(*a);
            };
            Scalar {
                u32: a.u32.without(x as u32)?,
                s32: a.s32.without(x as i32)?,
                ..*a
            }
            .tighten()
        }
    }
}

/// `a < b`, or `a <= b` if `inclusive`.
fn ordered(width: Width, a: &Scalar, b: &Scalar, inclusive: bool, signed: bool) -> Option<(Scalar, Scalar)> {
    let (mut a, mut b) = (*a, *b);
    match (width, signed) {
        (Width::W64, false) => (a.u64, b.u64) = cut(a.u64, b.u64, inclusive)?,
        (Width::W64, true) => (a.s64, b.s64) = cut(a.s64, b.s64, inclusive)?,
        (Width::W32, false) => (a.u32, b.u32) = cut(a.u32, b.u32, inclusive)?,
        (Width::W32, true) => (a.s32, b.s32) = cut(a.s32, b.s32, inclusive)?,
    }
    Some((a.tighten()?, b.tighten()?))
}

fn cut<T: Word>(a: Interval<T>, b: Interval<T>, inclusive: bool) -> Option<(Interval<T>, Interval<T>)> {
    Some((a.below(b.max, inclusive)?, b.above(a.min, inclusive)?))
}

fn significant(width: Width) -> u64 {
    match width {
        Width::W64 => u64::MAX,
        Width::W32 => u32::MAX.into(),
    }
}

/// `a & b != 0`: impossible if no bit can be set in both; if only one bit can, it is.
fn some_bit_common(width: Width, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
    let possible = a.bits.max() & b.bits.max() & significant(width);
    if possible == 0 {
        return None;
    }
    if !possible.is_power_of_two() {
        return Some((*a, *b));
    }
    let with_bit = |x: &Scalar| {
        let bits = x.bits.meet(Tnum {
            value: possible,
            mask: !possible,
        })?;
        Scalar { bits, ..*x }.tighten()
    };
    Some((with_bit(a)?, with_bit(b)?))
}

/// `a & b == 0`: a bit known to be set in one is clear in the other.
fn no_bit_common(width: Width, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
    let clear = |x: &Scalar, set: u64| {
        let bits = x.bits.meet(Tnum {
            value: 0,
            mask: !(set & significant(width)),
        })?;
        Scalar { bits, ..*x }.tighten()
    };
    Some((clear(a, b.bits.value)?, clear(b, a.bits.value)?))
}

/// Whether the condition holds of two numbers.
#[cfg(test)]
pub(super) fn holds(width: Width, cond: Cond, x: u64, y: u64) -> bool {
    let (x, y, sx, sy) = match width {
        Width::W64 => (x, y, x as i64, y as i64),
        Width::W32 => (x & 0xffff_ffff, y & 0xffff_ffff, (x as i32).into(), (y as i32).into()),
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scalar::tests::set;
    use proptest::prelude::*;

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_actual_outcome_keeps_the_operands((a, x) in set(), (b, y) in set()) {
            for cond in CONDS {
                for width in [Width::W64, Width::W32] {
                    let outcome = holds(width, cond, x, y);
                    let refined = assume(width, cond, outcome, &a, &b);
                    prop_assert!(
                        refined.is_some_and(|(a, b)| a.contains(x) && b.contains(y)),
                        "{width:?} {cond:?} {outcome} {x:#x} {y:#x}: {refined:?}"
                    );
                    if let Some((p, q)) = refined {
                        prop_assert!(p.leq(&a) && q.leq(&b), "{width:?} {cond:?}: refinement widens");
                    }
                }
            }
        }

        #[test]
        fn constants_decide((_, x) in set(), (_, y) in set()) {
            for cond in CONDS {
                for width in [Width::W64, Width::W32] {
                    let wrong = !holds(width, cond, x, y);
                    prop_assert_eq!(assume(width, cond, wrong, &Scalar::constant(x), &Scalar::constant(y)), None);
                }
            }
        }
    }

    #[test]
    fn bounds_after_comparisons() {
        let (less, _) = assume(Width::W64, Cond::Lt, true, &Scalar::TOP, &Scalar::constant(16)).unwrap();
        assert_eq!(less.u64, Interval { min: 0, max: 15 });
        let byte = Scalar::loaded(1, false);
        let (more, _) = assume(Width::W32, Cond::Lt, false, &byte, &Scalar::constant(20)).unwrap();
        assert_eq!(more.u64, Interval { min: 20, max: 255 });
        assert_eq!(assume(Width::W64, Cond::Gt, true, &byte, &Scalar::constant(255)), None);
        let (bit, _) = assume(Width::W64, Cond::Set, true, &Scalar::TOP, &Scalar::constant(4)).unwrap();
        assert_eq!(bit.bits.value, 4);
    }
}
