//! Intervals of machine words, signed or unsigned, 32 or 64 bits wide.
//!
//! Bounds are computed in 128 bits, where no operation on two words overflows. A result whose bounds lie in the same
//! period of the word's modulus is brought back into range (so that a sum that certainly wraps stays precise); any other
//! is the whole range.

use std::fmt;

/// A machine word: one of `u32`, `i32`, `u64`, `i64`.
pub(crate) trait Word: Copy + Ord + fmt::Display + fmt::Debug {
    const MIN: Self;
    const MAX: Self;
    const BITS: u32;
    fn widen(self) -> i128;
    /// The word congruent to `x` modulo 2 to the power of its width.
    fn wrap(x: i128) -> Self;
}

macro_rules! words {
    ($($t:ty),*) => {$(
        impl Word for $t {
            const MIN: Self = <$t>::MIN;
            const MAX: Self = <$t>::MAX;
            const BITS: u32 = <$t>::BITS;
            fn widen(self) -> i128 {
                i128::from(self)
            }
            fn wrap(x: i128) -> Self {
                x as $t
            }
        }
    )*};
}
words!(u32, i32, u64, i64);

/// The numbers from `min` to `max`, both included. Never empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Interval<T> {
    pub(crate) min: T,
    pub(crate) max: T,
}

impl<T: Word> Interval<T> {
    pub(crate) const TOP: Interval<T> = Interval {
        min: T::MIN,
        max: T::MAX,
    };

    pub(crate) const fn constant(x: T) -> Interval<T> {
        Interval { min: x, max: x }
    }

    /// `min..=max`, or `None` if that is empty.
    pub(crate) fn new(min: T, max: T) -> Option<Interval<T>> {
        (min <= max).then_some(Interval { min, max })
    }

    #[cfg(test)]
    pub(crate) fn contains(self, x: T) -> bool {
        self.min <= x && x <= self.max
    }

    pub(crate) fn leq(self, other: Interval<T>) -> bool {
        other.min <= self.min && self.max <= other.max
    }

    pub(crate) fn meet(self, other: Interval<T>) -> Option<Interval<T>> {
        Interval::new(self.min.max(other.min), self.max.min(other.max))
    }

    /// The numbers less than `bound`, or not greater if `inclusive`.
    pub(crate) fn below(self, bound: T, inclusive: bool) -> Option<Interval<T>> {
        let top = bound.widen() - i128::from(!inclusive);
        if top < T::MIN.widen() {
            None
        } else {
            self.meet(Interval {
                min: T::MIN,
                max: T::wrap(top),
            })
        }
    }

    /// The numbers greater than `bound`, or not less if `inclusive`.
    pub(crate) fn above(self, bound: T, inclusive: bool) -> Option<Interval<T>> {
        let bottom = bound.widen() + i128::from(!inclusive);
        if bottom > T::MAX.widen() {
            None
        } else {
            self.meet(Interval {
                min: T::wrap(bottom),
                max: T::MAX,
            })
        }
    }

    /// All numbers but `x`, as far as an interval can say so: `x` is cut off at either end.
    pub(crate) fn without(self, x: T) -> Option<Interval<T>> {
        if self.min == x {
            self.above(x, false)
        } else if self.max == x {
            self.below(x, false)
        } else {
            Some(self)
        }
    }

    /// The words congruent to `min..=max`: exact unless those wrap around in the middle.
    fn wrapped(min: i128, max: i128) -> Interval<T> {
        let period = |x: i128| (x - T::MIN.widen()).div_euclid(1 << T::BITS);
        if period(min) == period(max) {
            Interval {
                min: T::wrap(min),
                max: T::wrap(max),
            }
        } else {
            Interval::TOP
        }
    }

    /// The smallest interval with all of `corners`, or top if one of them is not a word.
    fn hull(corners: [i128; 4]) -> Interval<T> {
        let min = corners.into_iter().fold(i128::MAX, i128::min);
        let max = corners.into_iter().fold(i128::MIN, i128::max);
        if min < T::MIN.widen() || max > T::MAX.widen() {
            Interval::TOP
        } else {
            Interval {
                min: T::wrap(min),
                max: T::wrap(max),
            }
        }
    }

    pub(crate) fn add(self, other: Interval<T>) -> Interval<T> {
        Interval::wrapped(
            self.min.widen() + other.min.widen(),
            self.max.widen() + other.max.widen(),
        )
    }

    pub(crate) fn sub(self, other: Interval<T>) -> Interval<T> {
        Interval::wrapped(
            self.min.widen() - other.max.widen(),
            self.max.widen() - other.min.widen(),
        )
    }

    /// Product; top if it can overflow.
    pub(crate) fn mul(self, other: Interval<T>) -> Interval<T> {
        let product = |a: T, b: T| a.widen().saturating_mul(b.widen());
        Interval::hull([
            product(self.min, other.min),
            product(self.min, other.max),
            product(self.max, other.min),
            product(self.max, other.max),
        ])
    }

    /// Shift left by a count below the width; top if bits can be lost.
    pub(crate) fn lsh(self, count: Interval<u32>) -> Interval<T> {
        let shift = |a: T, by: u32| a.widen() << by;
        Interval::hull([
            shift(self.min, count.min),
            shift(self.min, count.max),
            shift(self.max, count.min),
            shift(self.max, count.max),
        ])
    }

    /// Shift right by a count below the width: logical for unsigned words, arithmetic for signed ones.
    pub(crate) fn rsh(self, count: Interval<u32>) -> Interval<T> {
        let shift = |a: T, by: u32| a.widen() >> by;
        Interval::hull([
            shift(self.min, count.min),
            shift(self.min, count.max),
            shift(self.max, count.min),
            shift(self.max, count.max),
        ])
    }

    /// Division of BPF, truncating; by zero it yields 0, the minimum by -1 the minimum.
    pub(crate) fn div(self, other: Interval<T>) -> Interval<T> {
        let zero = 0i128;
        if other.min.widen() <= zero {
            // Magnitudes do not grow, except for the minimum by -1, which stays the minimum.
            if self.min.widen() >= zero && other.min.widen() >= zero {
                return Interval {
                    min: T::wrap(zero),
                    max: self.max,
                };
            }
            let greatest = self.min.widen().abs().max(self.max.widen().abs());
            return Interval::hull([-greatest, greatest, zero, zero]);
        }
        let quotient = |a: T, b: T| a.widen() / b.widen();
        Interval::hull([
            quotient(self.min, other.min),
            quotient(self.min, other.max),
            quotient(self.max, other.min),
            quotient(self.max, other.max),
        ])
    }

    /// Remainder of BPF, with the sign of the dividend; by zero it yields the dividend.
    pub(crate) fn rem(self, other: Interval<T>) -> Interval<T> {
        let (min, max) = (self.min.widen(), self.max.widen());
        if other.min.widen() > 0 {
            let greatest = other.max.widen() - 1;
            if min >= 0 && max < other.min.widen() {
                return self;
            }
            return Interval {
                min: T::wrap(min.max(-greatest).min(0)),
                max: T::wrap(max.min(greatest).max(0)),
            };
        }
        // A remainder is never further from zero than the dividend.
        Interval {
            min: T::wrap(min.min(0)),
            max: T::wrap(max.max(0)),
        }
    }
}

impl<T: Word> fmt::Display for Interval<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{}]", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unsigned() -> impl Strategy<Value = (Interval<u64>, u64)> {
        (word(), word(), word()).prop_map(|(a, b, c)| pick(a, b, c))
    }

    fn signed() -> impl Strategy<Value = (Interval<i32>, i32)> {
        (word(), word(), word()).prop_map(|(a, b, c)| pick(a as i32, b as i32, c as i32))
    }

    /// Numbers near the edges as often as others.
    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            0..20u64,
            (0..20u64).prop_map(|x| u64::MAX - x),
            (0..64u32).prop_map(|s| 1 << s)
        ]
    }

    fn pick<T: Word>(a: T, b: T, c: T) -> (Interval<T>, T) {
        let mut x = [a, b, c];
        x.sort();
        (Interval { min: x[0], max: x[2] }, x[1])
    }

    proptest! {
        #[test]
        fn unsigned_operations_are_sound((a, x) in unsigned(), (b, y) in unsigned(), count in 0..64u32) {
            let by = Interval::constant(count);
            let up_to = Interval { min: 0, max: count };
            prop_assert!(a.add(b).contains(x.wrapping_add(y)));
            prop_assert!(a.sub(b).contains(x.wrapping_sub(y)));
            prop_assert!(a.mul(b).contains(x.wrapping_mul(y)));
            prop_assert!(a.div(b).contains(x.checked_div(y).unwrap_or(0)));
            prop_assert!(a.rem(b).contains(x.checked_rem(y).unwrap_or(x)));
            prop_assert!(a.lsh(by).contains(x << count));
            prop_assert!(a.rsh(by).contains(x >> count));
            prop_assert!(a.rsh(up_to).contains(x >> (count / 2)));
        }

        #[test]
        fn signed_operations_are_sound((a, x) in signed(), (b, y) in signed(), count in 0..32u32) {
            let by = Interval::constant(count);
            let up_to = Interval { min: 0, max: count };
            let (quotient, remainder) = if y == 0 { (0, x) } else { (x.wrapping_div(y), x.wrapping_rem(y)) };
            prop_assert!(a.add(b).contains(x.wrapping_add(y)));
            prop_assert!(a.sub(b).contains(x.wrapping_sub(y)));
            prop_assert!(a.mul(b).contains(x.wrapping_mul(y)));
            prop_assert!(a.div(b).contains(quotient));
            prop_assert!(a.rem(b).contains(remainder));
            prop_assert!(a.lsh(by).contains(x << count));
            prop_assert!(a.rsh(by).contains(x >> count));
            prop_assert!(a.rsh(up_to).contains(x >> (count / 2)));
        }

        #[test]
        fn cuts_keep_what_they_should((a, x) in unsigned(), bound in word(), inclusive: bool) {
            let below = if inclusive { x <= bound } else { x < bound };
            let above = if inclusive { x >= bound } else { x > bound };
            if below {
                prop_assert!(a.below(bound, inclusive).is_some_and(|i| i.contains(x)));
            }
            if above {
                prop_assert!(a.above(bound, inclusive).is_some_and(|i| i.contains(x)));
            }
            if x != bound {
                prop_assert!(a.without(bound).is_some_and(|i| i.contains(x)));
            }
        }
    }

    #[test]
    fn sums_that_certainly_wrap_stay_precise() {
        let a = Interval {
            min: u64::MAX - 1,
            max: u64::MAX,
        };
        assert_eq!(a.add(Interval::constant(2)), Interval { min: 0, max: 1 });
        assert_eq!(a.add(Interval::constant(1)), Interval::TOP);
    }
}
