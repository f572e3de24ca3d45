//! Tristate numbers: each of 64 bits is 0, 1 or unknown.
//!
//! The domain and its arithmetic follow Vishwanathan, Shachnai, Narayana and Nagarakatte, "Sound, Precise, and Fast
//! Abstract Interpretation with Tristate Numbers" (CGO 2022).

use std::fmt;

/// A tristate number: a bit set in `mask` is unknown, any other has the value it has in `value`.
///
/// Invariant: `value & mask == 0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tnum {
    pub(crate) value: u64,
    pub(crate) mask: u64,
}

impl Tnum {
    /// Every number.
    pub(crate) const TOP: Tnum = Tnum {
        value: 0,
        mask: u64::MAX,
    };

    /// Exactly one number.
    pub(crate) const fn constant(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    const fn new(value: u64, mask: u64) -> Tnum {
        Tnum {
            value: value & !mask,
            mask,
        }
    }

    /// The smallest tristate number that has all of `min..=max`: the common leading bits, then unknown ones.
    pub(crate) const fn range(min: u64, max: u64) -> Tnum {
        let varying = 64 - (min ^ max).leading_zeros();
        let mask = if varying == 64 { u64::MAX } else { (1 << varying) - 1 };
        Tnum::new(min, mask)
    }

    /// The number, if there is only one.
    pub(crate) const fn as_constant(self) -> Option<u64> {
        if self.mask == 0 { Some(self.value) } else { None }
    }

    #[cfg(test)]
    pub(crate) const fn contains(self, x: u64) -> bool {
        x & !self.mask == self.value
    }

    /// The least member, unsigned.
    pub(crate) const fn min(self) -> u64 {
        self.value
    }

    /// The greatest member, unsigned.
    pub(crate) const fn max(self) -> u64 {
        self.value | self.mask
    }

    /// Whether every member of `self` is one of `other`.
    pub(crate) const fn leq(self, other: Tnum) -> bool {
        self.mask & !other.mask == 0 && self.value & !other.mask == other.value
    }

    /// The members that both have.
    pub(crate) const fn meet(self, other: Tnum) -> Option<Tnum> {
        let known_in_both = !self.mask & !other.mask;
        if (self.value ^ other.value) & known_in_both != 0 {
            return None;
        }
        Some(Tnum::new(self.value | other.value, self.mask & other.mask))
    }

    /// A tristate number with the members of both.
    #[cfg(test)]
    pub(crate) const fn join(self, other: Tnum) -> Tnum {
        Tnum::new(self.value, self.mask | other.mask | (self.value ^ other.value))
    }

    /// Sum. A sum bit is known if the operands' bits and the carry into it are: the carries of the least and the greatest
    /// sum differ exactly where some carry is unknown.
    pub(crate) const fn add(self, other: Tnum) -> Tnum {
        let least = self.value.wrapping_add(other.value);
        let unknown_sum = self.mask.wrapping_add(other.mask);
        let carries = least ^ least.wrapping_add(unknown_sum);
        Tnum::new(least, carries | self.mask | other.mask)
    }

    /// Difference.
    pub(crate) const fn sub(self, other: Tnum) -> Tnum {
        let middle = self.value.wrapping_sub(other.value);
        let borrows = middle.wrapping_add(self.mask) ^ middle.wrapping_sub(other.mask);
        Tnum::new(middle, borrows | self.mask | other.mask)
    }

    pub(crate) const fn and(self, other: Tnum) -> Tnum {
        let possible = self.max() & other.max();
        let certain = self.value & other.value;
        Tnum::new(certain, possible & !certain)
    }

    pub(crate) const fn or(self, other: Tnum) -> Tnum {
        let certain = self.value | other.value;
        Tnum::new(certain, (self.mask | other.mask) & !certain)
    }

    pub(crate) const fn xor(self, other: Tnum) -> Tnum {
        Tnum::new(self.value ^ other.value, self.mask | other.mask)
    }

    /// Product: the known parts are multiplied exactly, the uncertainty of each partial product is summed apart.
    pub(crate) const fn mul(self, other: Tnum) -> Tnum {
        let mut multiplier = self;
        let mut addend = other;
        let mut unknown = Tnum::constant(0);
        while multiplier.max() != 0 {
            if multiplier.value & 1 != 0 {
                unknown = unknown.add(Tnum::new(0, addend.mask));
            } else if multiplier.mask & 1 != 0 {
                unknown = unknown.add(Tnum::new(0, addend.max()));
            }
            multiplier = multiplier.rsh(1);
            addend = addend.lsh(1);
        }
        Tnum::constant(self.value.wrapping_mul(other.value)).add(unknown)
    }

    /// Shift left by less than 64.
    pub(crate) const fn lsh(self, count: u32) -> Tnum {
        Tnum {
            value: self.value << count,
            mask: self.mask << count,
        }
    }

    /// Logical shift right by less than 64.
    pub(crate) const fn rsh(self, count: u32) -> Tnum {
        Tnum {
            value: self.value >> count,
            mask: self.mask >> count,
        }
    }

    /// Arithmetic shift right by less than 64: an unknown sign bit is copied as unknown.
    pub(crate) const fn arsh(self, count: u32) -> Tnum {
        Tnum {
            value: ((self.value as i64) >> count) as u64,
            mask: ((self.mask as i64) >> count) as u64,
        }
    }

    /// The low `bits` (1 to 64), zero-extended.
    pub(crate) const fn truncate(self, bits: u32) -> Tnum {
        let keep = u64::MAX >> (64 - bits);
        Tnum {
            value: self.value & keep,
            mask: self.mask & keep,
        }
    }

    /// The low `bits` (1 to 64), sign-extended.
    pub(crate) const fn sign_extend(self, bits: u32) -> Tnum {
        self.lsh(64 - bits).arsh(64 - bits)
    }

    /// The low `bits` (16, 32 or 64) with their bytes in reverse order, zero-extended.
    pub(crate) const fn swap_bytes(self, bits: u32) -> Tnum {
        Tnum {
            value: self.value.swap_bytes(),
            mask: self.mask.swap_bytes(),
        }
        .rsh(64 - bits)
    }

    /// `self` with its low 32 bits replaced by those of `low`.
    pub(crate) const fn with_low32(self, low: Tnum) -> Tnum {
        const LOW: u64 = 0xffff_ffff;
        Tnum {
            value: self.value & !LOW | low.value & LOW,
            mask: self.mask & !LOW | low.mask & LOW,
        }
    }

    /// Whether every member is a multiple of `size`, a power of two.
    pub(crate) const fn is_aligned(self, size: u64) -> bool {
        self.max() & (size - 1) == 0
    }
}

impl fmt::Display for Tnum {
    /// As in the kernel's log: the number, or `(value; mask)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_constant() {
            Some(0) => f.write_str("0"),
            Some(value) => write!(f, "{value:#x}"),
            None => write!(f, "({:#x}; {:#x})", self.value, self.mask),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All tristate numbers of `bits` bits.
    fn all(bits: u32) -> Vec<Tnum> {
        let n = 1u64 << bits;
        (0..n)
            .flat_map(|value| (0..n).map(move |mask| (value, mask)))
            .filter(|(v, m)| v & m == 0)
            .map(|(v, m)| Tnum::new(v, m))
            .collect()
    }

    fn members(t: Tnum, bits: u32) -> impl Iterator<Item = u64> {
        (0..1u64 << bits).filter(move |&x| t.contains(x))
    }

    /// Every pair of members of every pair of 4-bit tristate numbers.
    fn sound_binary(abstract_op: fn(Tnum, Tnum) -> Tnum, concrete_op: fn(u64, u64) -> u64) {
        for a in all(4) {
            for b in all(4) {
                let result = abstract_op(a, b);
                assert_eq!(result.value & result.mask, 0);
                for x in members(a, 4) {
                    for y in members(b, 4) {
                        assert!(result.contains(concrete_op(x, y)), "{a} {b}: {x} {y} not in {result}");
                    }
                }
            }
        }
    }

    #[test]
    fn binary_operations_contain_every_concrete_result() {
        sound_binary(Tnum::add, u64::wrapping_add);
        sound_binary(Tnum::sub, u64::wrapping_sub);
        sound_binary(Tnum::and, |x, y| x & y);
        sound_binary(Tnum::or, |x, y| x | y);
        sound_binary(Tnum::xor, |x, y| x ^ y);
        sound_binary(Tnum::mul, u64::wrapping_mul);
    }

    /// All 8-bit tristate numbers against all 8-bit constants and against each other's bounds.
    #[test]
    fn eight_bits_exhaustively() {
        for a in all(8) {
            let xs: Vec<u64> = members(a, 8).collect();
            for y in 0..256 {
                let b = Tnum::constant(y);
                let results = [a.add(b), a.sub(b), a.and(b), a.or(b), a.xor(b), a.mul(b)];
                for &x in &xs {
                    let expected = [
                        x.wrapping_add(y),
                        x.wrapping_sub(y),
                        x & y,
                        x | y,
                        x ^ y,
                        x.wrapping_mul(y),
                    ];
                    for (result, value) in results.iter().zip(expected) {
                        assert!(
                            result.contains(value),
                            "{a} with {y}: {x} gives {value}, not in {result}"
                        );
                    }
                }
            }
            for count in 0..64 {
                for &x in &xs {
                    assert!(a.lsh(count).contains(x << count));
                    assert!(a.lsh(56).arsh(count).contains((((x << 56) as i64) >> count) as u64));
                    assert!(a.lsh(56).rsh(count).contains((x << 56) >> count));
                }
            }
            for &x in &xs {
                assert!(a.sign_extend(8).contains(x as u8 as i8 as u64));
                assert!(a.truncate(5).contains(x & 31));
                assert!(a.swap_bytes(16).contains(u64::from((x as u16).swap_bytes())));
                assert!((a.min()..=a.max()).contains(&x));
            }
        }
    }

    #[test]
    fn lattice_operations_agree_with_membership() {
        for a in all(4) {
            for b in all(4) {
                let subset = members(a, 4).all(|x| b.contains(x));
                assert_eq!(a.leq(b), subset, "{a} <= {b}");
                assert!(a.leq(a.join(b)) && b.leq(a.join(b)));
                let common: Vec<u64> = members(a, 4).filter(|&x| b.contains(x)).collect();
                match a.meet(b) {
                    None => assert!(common.is_empty()),
                    Some(m) => assert_eq!(members(m, 4).collect::<Vec<_>>(), common),
                }
            }
        }
    }

    #[test]
    fn range_has_all_of_its_numbers() {
        for min in 0..64 {
            for max in min..64 {
                let t = Tnum::range(min, max);
                assert!((min..=max).all(|x| t.contains(x)));
            }
        }
        assert_eq!(Tnum::range(0, u64::MAX), Tnum::TOP);
        assert_eq!(Tnum::range(5, 5), Tnum::constant(5));
    }

    #[test]
    fn alignment() {
        assert!(Tnum::TOP.lsh(2).is_aligned(4));
        assert!(!Tnum::TOP.lsh(1).is_aligned(4));
        assert!(Tnum::constant(8).is_aligned(8));
    }
}
