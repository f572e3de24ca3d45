//! What is known of a 64-bit number: its bits, and the ranges of the number and of its low half, each read both as
//! unsigned and as signed.
//!
//! The five views describe one set, the intersection of what each allows. [`Scalar::tighten`] moves knowledge between
//! them until nothing changes; it only ever removes numbers that another view excludes.

mod alu;
mod branch;
#[cfg(test)]
mod exhaustive;

pub(crate) use alu::{arithmetic, byte_order, negate, sign_extend};
pub(crate) use branch::assume;

use std::fmt;

use super::interval::{Interval, Word};
use super::tnum::Tnum;

/// A set of 64-bit numbers. Never empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scalar {
    /// The number's bits.
    pub(crate) bits: Tnum,
    /// The number, unsigned.
    pub(crate) u64: Interval<u64>,
    /// The number, signed.
    pub(crate) s64: Interval<i64>,
    /// Its low half, unsigned.
    pub(crate) u32: Interval<u32>,
    /// Its low half, signed.
    pub(crate) s32: Interval<i32>,
}

impl Scalar {
    /// Every number.
    pub(crate) const TOP: Scalar = Scalar {
        bits: Tnum::TOP,
        u64: Interval::TOP,
        s64: Interval::TOP,
        u32: Interval::TOP,
        s32: Interval::TOP,
    };

    /// Exactly one number.
    pub(crate) const fn constant(x: u64) -> Scalar {
        Scalar {
            bits: Tnum::constant(x),
            u64: Interval::constant(x),
            s64: Interval::constant(x as i64),
            u32: Interval::constant(x as u32),
            s32: Interval::constant(x as i32),
        }
    }

    /// The numbers from `min` to `max`, signed, or `None` if there are none.
    pub(crate) fn signed(min: i64, max: i64) -> Option<Scalar> {
        Scalar {
            s64: Interval::new(min, max)?,
            ..Scalar::TOP
        }
        .tighten()
    }

    /// What a load of `size` bytes (1, 2, 4 or 8) yields of unknown memory.
    pub(crate) fn loaded(size: usize, signed: bool) -> Scalar {
        let bits = 8 * size as u32;
        let low = Scalar::TOP.truncated(bits);
        if signed { sign_extend(&low, bits) } else { low }
    }

    /// The number, if there is only one.
    pub(crate) fn as_constant(&self) -> Option<u64> {
        self.bits.as_constant()
    }

    /// The low `bits` (8, 16, 32 or 64), zero-extended.
    pub(crate) fn truncated(&self, bits: u32) -> Scalar {
        if bits == 64 || self.u64.max >> bits == 0 {
            return *self;
        }
        if bits == 32 {
            return Scalar::from_low(self.bits, self.u32, self.s32);
        }
        Scalar {
            bits: self.bits.truncate(bits),
            ..Scalar::TOP
        }
        .tightened()
    }

    /// A number whose upper half is zero, by what is known of its lower half.
    fn from_low(bits: Tnum, unsigned: Interval<u32>, signed: Interval<i32>) -> Scalar {
        Scalar {
            bits: bits.truncate(32),
            u64: Interval {
                min: unsigned.min.into(),
                max: unsigned.max.into(),
            },
            s64: Interval {
                min: unsigned.min.into(),
                max: unsigned.max.into(),
            },
            u32: unsigned,
            s32: signed,
        }
        .tightened()
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, x: u64) -> bool {
        self.bits.contains(x)
            && self.u64.contains(x)
            && self.s64.contains(x as i64)
            && self.u32.contains(x as u32)
            && self.s32.contains(x as i32)
    }

    /// Whether every member of `self` is one of `other`.
    pub(crate) fn leq(&self, other: &Scalar) -> bool {
        self.bits.leq(other.bits)
            && self.u64.leq(other.u64)
            && self.s64.leq(other.s64)
            && self.u32.leq(other.u32)
            && self.s32.leq(other.s32)
    }

    /// The members that both have.
    pub(crate) fn meet(&self, other: &Scalar) -> Option<Scalar> {
        Scalar {
            bits: self.bits.meet(other.bits)?,
            u64: self.u64.meet(other.u64)?,
            s64: self.s64.meet(other.s64)?,
            u32: self.u32.meet(other.u32)?,
            s32: self.s32.meet(other.s32)?,
        }
        .tighten()
    }

    /// The same set with every view as narrow as the others make it, or `None` if they exclude each other.
    pub(crate) fn tighten(mut self) -> Option<Scalar> {
        // Each pass can enable another; more than a few are never useful, and stopping early is sound.
        for _ in 0..4 {
            let before = self;
            self.u64 = self.u64.meet(Interval {
                min: self.bits.min(),
                max: self.bits.max(),
            })?;
            self.s64 = self.s64.meet(signed_bits(self.bits))?;
            let low = self.bits.truncate(32);
            self.u32 = self.u32.meet(Interval {
                min: low.min() as u32,
                max: low.max() as u32,
            })?;
            (self.u64, self.s64) = reconcile(self.u64, self.s64)?;
            self.narrow_low_half()?;
            (self.u32, self.s32) = reconcile(self.u32, self.s32)?;
            self.narrow_from_low_half()?;
            (self.u64, self.s64) = reconcile(self.u64, self.s64)?;
            self.bits = self.bits.meet(Tnum::range(self.u64.min, self.u64.max))?;
            let low = Tnum::range(self.u32.min.into(), self.u32.max.into());
            self.bits = self.bits.meet(Tnum::TOP.with_low32(low))?;
            if self == before {
                break;
            }
        }
        Some(self)
    }

    /// As [`Scalar::tighten`], for the result of an operation on sets that have members. On a path that cannot be taken,
    /// though no view shows it, they may have none; then any result will do.
    fn tightened(self) -> Scalar {
        self.tighten().unwrap_or(Scalar::TOP)
    }

    /// Low halves of consecutive numbers are consecutive until they wrap.
    fn narrow_low_half(&mut self) -> Option<()> {
        let (min, max) = (self.u64.min, self.u64.max);
        if max - min <= u64::from(u32::MAX) && min as u32 <= max as u32 {
            self.u32 = self.u32.meet(Interval {
                min: min as u32,
                max: max as u32,
            })?;
        }
        let (min, max) = (self.s64.min, self.s64.max);
        if max.wrapping_sub(min) as u64 <= u64::from(u32::MAX) && min as i32 <= max as i32 {
            self.s32 = self.s32.meet(Interval {
                min: min as i32,
                max: max as i32,
            })?;
        }
        Some(())
    }

    /// The ends of the wide ranges move inwards to the nearest number whose low half is possible.
    fn narrow_from_low_half(&mut self) -> Option<()> {
        let low = self.u32;
        self.u64 = Interval::new(next_with_low(self.u64.min, low)?, previous_with_low(self.u64.max, low)?)?;
        if i64::from(i32::MIN) <= self.s64.min && self.s64.max <= i64::from(i32::MAX) {
            // The number is its low half, sign-extended.
            self.s64 = self.s64.meet(Interval {
                min: self.s32.min.into(),
                max: self.s32.max.into(),
            })?;
        }
        Some(())
    }
}

/// The least number from `x` on whose low half is in `low`.
fn next_with_low(x: u64, low: Interval<u32>) -> Option<u64> {
    let upper = x >> 32 << 32;
    if x as u32 <= low.min {
        Some(upper | u64::from(low.min))
    } else if x as u32 <= low.max {
        Some(x)
    } else {
        Some(upper.checked_add(1 << 32)? | u64::from(low.min))
    }
}

/// The greatest number up to `x` whose low half is in `low`.
fn previous_with_low(x: u64, low: Interval<u32>) -> Option<u64> {
    let upper = x >> 32 << 32;
    if x as u32 >= low.max {
        Some(upper | u64::from(low.max))
    } else if x as u32 >= low.min {
        Some(x)
    } else {
        Some(upper.checked_sub(1 << 32)? | u64::from(low.max))
    }
}

/// The signed range of a tristate number: the sign bit counts the other way.
fn signed_bits(bits: Tnum) -> Interval<i64> {
    const SIGN: u64 = 1 << 63;
    Interval {
        min: (bits.value | bits.mask & SIGN) as i64,
        max: (bits.value | bits.mask & !SIGN) as i64,
    }
}

/// An unsigned and a signed range of the same word, each narrowed to what the other allows.
///
/// On either side of zero the two orders agree, so the negative and the other numbers are met apart and the parts that
/// remain are joined again.
fn reconcile<U: Word, S: Word>(unsigned: Interval<U>, signed: Interval<S>) -> Option<(Interval<U>, Interval<S>)> {
    let zero = S::wrap(0);
    let part = |half: Option<Interval<S>>| -> Option<Interval<U>> {
        let half = half?;
        unsigned.meet(Interval {
            min: U::wrap(half.min.widen()),
            max: U::wrap(half.max.widen()),
        })
    };
    let negative = part(signed.below(zero, false));
    let positive = part(signed.above(zero, true));
    let same = |i: Interval<U>| Interval {
        min: S::wrap(i.min.widen()),
        max: S::wrap(i.max.widen()),
    };
    match (positive, negative) {
        (None, None) => None,
        (Some(part), None) | (None, Some(part)) => Some((part, same(part))),
        (Some(low), Some(high)) => Some((
            Interval {
                min: low.min,
                max: high.max,
            },
            Interval {
                min: same(high).min,
                max: same(low).max,
            },
        )),
    }
}

impl fmt::Display for Scalar {
    /// In the manner of the kernel's log: only what is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.as_constant() {
            return write!(f, "scalar {}", value as i64);
        }
        f.write_str("scalar")?;
        let mut separator = " (";
        let mut item = |f: &mut fmt::Formatter<'_>, text: String| {
            let result = write!(f, "{separator}{text}");
            separator = ", ";
            result
        };
        if self.u64 != Interval::TOP {
            item(f, format!("u64 {}", self.u64))?;
        }
        if self.s64 != Interval::TOP && (self.s64.min < 0 || self.u64.max > i64::MAX as u64) {
            item(f, format!("s64 {}", self.s64))?;
        }
        if self.u64.max > u64::from(u32::MAX) && self.u32 != Interval::TOP {
            item(f, format!("u32 {}", self.u32))?;
        }
        if self.u64.max > u64::from(u32::MAX) && self.s32 != Interval::TOP && self.s32.min < 0 {
            item(f, format!("s32 {}", self.s32))?;
        }
        if self.bits != Tnum::range(self.u64.min, self.u64.max) {
            item(f, format!("bits {}", self.bits))?;
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers near the edges of the 32-bit and 64-bit ranges as often as others.
    pub(crate) fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            any::<i32>().prop_map(|x| x as u64),
            any::<u32>().prop_map(u64::from),
            (-20i64..300).prop_map(|x| x as u64),
            (0..64u32, -3i64..3).prop_map(|(shift, delta)| (1u64 << shift).wrapping_add(delta as u64)),
        ]
    }

    /// A set and a member of it: each view is made around the member, then all are tightened.
    pub(crate) fn set() -> impl Strategy<Value = (Scalar, u64)> {
        let mask = prop_oneof![
            Just(0u64),
            Just(u64::MAX),
            any::<u64>(),
            (0..64u32).prop_map(|s| (1 << s) - 1)
        ];
        (
            number(),
            mask,
            number(),
            number(),
            number(),
            number(),
            any::<[bool; 4]>(),
        )
            .prop_map(|(x, mask, a, b, c, d, use_view)| {
                let mut s = Scalar {
                    bits: Tnum { value: x & !mask, mask },
                    ..Scalar::TOP
                };
                if use_view[0] {
                    s.u64 = Interval {
                        min: x.min(a),
                        max: x.max(b),
                    };
                }
                if use_view[1] {
                    s.s64 = Interval {
                        min: (x as i64).min(c as i64),
                        max: (x as i64).max(d as i64),
                    };
                }
                if use_view[2] {
                    s.u32 = Interval {
                        min: (x as u32).min(b as u32),
                        max: (x as u32).max(c as u32),
                    };
                }
                if use_view[3] {
                    s.s32 = Interval {
                        min: (x as i32).min(d as i32),
                        max: (x as i32).max(a as i32),
                    };
                }
                (s.tighten().expect("has a member"), x)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn tightening_loses_no_member((s, x) in set()) {
            prop_assert!(s.contains(x), "{:?} lost {}", s, x);
            prop_assert!(s.leq(&Scalar::TOP) && s.leq(&s));
        }

        #[test]
        fn meet_keeps_common_members((a, x) in set(), (b, _) in set()) {
            if b.contains(x) {
                prop_assert!(a.meet(&b).is_some_and(|m| m.contains(x)));
            }
        }

        #[test]
        fn truncation_is_sound((a, x) in set()) {
            prop_assert!(a.truncated(8).contains(x & 0xff));
            prop_assert!(a.truncated(16).contains(x & 0xffff));
            prop_assert!(a.truncated(32).contains(x & 0xffff_ffff));
            prop_assert!(a.truncated(64).contains(x));
        }

        #[test]
        fn leq_means_subset((a, x) in set(), (b, _) in set()) {
            if a.leq(&b) {
                prop_assert!(b.contains(x));
            }
        }
    }

    #[test]
    fn views_inform_each_other() {
        let s = Scalar {
            s64: Interval { min: -4, max: 7 },
            u64: Interval { min: 0, max: 1000 },
            ..Scalar::TOP
        };
        let s = s.tighten().unwrap();
        assert_eq!(s.u64, Interval { min: 0, max: 7 });
        assert_eq!(s.bits, Tnum { value: 0, mask: 7 });
        assert_eq!(s.s32, Interval { min: 0, max: 7 });
        let empty = Scalar {
            u64: Interval { min: 5, max: 6 },
            u32: Interval { min: 0, max: 1 },
            ..Scalar::TOP
        };
        assert_eq!(empty.tighten(), None);
    }

    #[test]
    fn text_says_what_is_known() {
        assert_eq!(Scalar::TOP.to_string(), "scalar");
        assert_eq!(Scalar::constant(u64::MAX).to_string(), "scalar -1");
        assert_eq!(Scalar::loaded(1, false).to_string(), "scalar (u64 [0,255])");
    }
}
