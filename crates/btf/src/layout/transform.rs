//! The copy operations that carry a value from one layout to another.

use std::ops::Range;

/// One step of a [`Transform`]. Offsets are in bytes, from the start of the value (inside [`CopyOp::Repeat`], for the first
/// element). What no step writes is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyOp {
    /// Copies bytes as they are.
    Copy {
        /// Offset in the old value.
        from: u32,
        /// Offset in the new value.
        to: u32,
        /// How many bytes.
        len: u32,
    },
    /// Copies a little-endian integer into a wider one.
    Extend {
        /// Offset in the old value.
        from: u32,
        /// Size there, in bytes.
        from_size: u32,
        /// Offset in the new value.
        to: u32,
        /// Size there, in bytes; more than `from_size`.
        to_size: u32,
        /// Whether the sign is extended.
        signed: bool,
    },
    /// Copies an integer of which one side, or both, is a bitfield. Bits count from the least significant of byte 0.
    Bits {
        /// First bit in the old value.
        from: u64,
        /// Width there.
        from_width: u8,
        /// First bit in the new value.
        to: u64,
        /// Width there.
        to_width: u8,
        /// Whether the sign is extended, if it gets wider.
        signed: bool,
    },
    /// Does the same for each element of an array.
    Repeat {
        /// How many elements.
        count: u32,
        /// Size of an element in the old value.
        from_stride: u32,
        /// Size of an element in the new value.
        to_stride: u32,
        /// What is done, as it stands for the first element.
        ops: Vec<CopyOp>,
    },
}

/// A way from values of one layout to values of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    old_size: u32,
    new_size: u32,
    ops: Vec<CopyOp>,
}

impl Transform {
    /// Copies values of `size` bytes as they are.
    #[must_use]
    pub fn identity(size: u32) -> Transform {
        let ops = if size == 0 {
            vec![]
        } else {
            vec![CopyOp::Copy {
                from: 0,
                to: 0,
                len: size,
            }]
        };
        Transform {
            old_size: size,
            new_size: size,
            ops,
        }
    }

    /// `ops` must stay inside of the two sizes.
    pub(super) fn new(old_size: u32, new_size: u32, ops: Vec<CopyOp>) -> Transform {
        Transform {
            old_size,
            new_size,
            ops: merge(ops),
        }
    }

    /// Size of old values in bytes.
    #[must_use]
    pub fn old_size(&self) -> usize {
        self.old_size as usize
    }

    /// Size of new values in bytes.
    #[must_use]
    pub fn new_size(&self) -> usize {
        self.new_size as usize
    }

    /// The steps. No two write the same bit.
    #[must_use]
    pub fn ops(&self) -> &[CopyOp] {
        &self.ops
    }

    /// Writes to `new` what becomes of `old`. Bytes beyond the two sizes are left alone.
    ///
    /// # Panics
    /// If `old` is shorter than [`old_size`](Transform::old_size) or `new` than [`new_size`](Transform::new_size).
    ///
    /// # Examples
    /// ```
    /// use hitless_btf::layout::Transform;
    ///
    /// let mut new = [0; 4];
    /// Transform::identity(4).apply(&[1, 2, 3, 4], &mut new);
    /// assert_eq!(new, [1, 2, 3, 4]);
    /// ```
    pub fn apply(&self, old: &[u8], new: &mut [u8]) {
        let old = &old[..self.old_size()];
        let new = &mut new[..self.new_size()];
        new.fill(0);
        run(&self.ops, old, new, 0, 0);
    }

    /// The bytes of old values that no step reads, in order: padding, and fields that are not carried over. Old keys that
    /// have anything but zero there could become equal.
    ///
    /// Takes time in proportion to the old size.
    #[must_use]
    pub fn unread(&self) -> Vec<Range<usize>> {
        let mut read = Vec::new();
        ranges(&self.ops, 0, &mut read);
        read.sort_unstable_by_key(|range| range.start);
        let mut unread = Vec::new();
        let mut at = 0;
        for range in read {
            if range.start > at {
                unread.push(at..range.start);
            }
            at = at.max(range.end);
        }
        if at < self.old_size() {
            unread.push(at..self.old_size());
        }
        unread
    }
}

fn run(ops: &[CopyOp], old: &[u8], new: &mut [u8], from_base: usize, to_base: usize) {
    for op in ops {
        match *op {
            CopyOp::Copy { from, to, len } => {
                let (from, to, len) = (from_base + from as usize, to_base + to as usize, len as usize);
                new[to..to + len].copy_from_slice(&old[from..from + len]);
            }
            CopyOp::Extend {
                from,
                from_size,
                to,
                to_size,
                signed,
            } => {
                let (from, to) = (from_base + from as usize, to_base + to as usize);
                let (from_size, to_size) = (from_size as usize, to_size as usize);
                let source = &old[from..from + from_size];
                let negative = signed && source.last().is_some_and(|&byte| byte >= 0x80);
                new[to..to + from_size].copy_from_slice(source);
                new[to + from_size..to + to_size].fill(if negative { 0xff } else { 0 });
            }
            CopyOp::Bits {
                from,
                from_width,
                to,
                to_width,
                signed,
            } => {
                let (from, to) = (from_base as u64 * 8 + from, to_base as u64 * 8 + to);
                let bit = |at: u64| old[(at / 8) as usize] >> (at % 8) & 1;
                for index in 0..u64::from(to_width) {
                    let value = match index < u64::from(from_width) {
                        true => bit(from + index),
                        false if signed && from_width > 0 => bit(from + u64::from(from_width) - 1),
                        false => 0,
                    };
                    let at = to + index;
                    // The new value starts as zero, and neighbours in the same byte keep their bits.
                    new[(at / 8) as usize] |= value << (at % 8);
                }
            }
            CopyOp::Repeat {
                count,
                from_stride,
                to_stride,
                ref ops,
            } => {
                for index in 0..count as usize {
                    let from = from_base + index * from_stride as usize;
                    run(ops, old, new, from, to_base + index * to_stride as usize);
                }
            }
        }
    }
}

fn ranges(ops: &[CopyOp], base: usize, out: &mut Vec<Range<usize>>) {
    for op in ops {
        let range = match *op {
            CopyOp::Copy { from, len, .. } => from as usize..from as usize + len as usize,
            CopyOp::Extend { from, from_size, .. } => from as usize..(from + from_size) as usize,
            CopyOp::Bits { from, from_width, .. } => {
                (from / 8) as usize..(from + u64::from(from_width)).div_ceil(8) as usize
            }
            CopyOp::Repeat {
                count,
                from_stride,
                ref ops,
                ..
            } => {
                for index in 0..count as usize {
                    ranges(ops, base + index * from_stride as usize, out);
                }
                continue;
            }
        };
        out.push(base + range.start..base + range.end);
    }
}

/// Joins copies of bytes that are next to each other on both sides, so that moved runs of fields become one copy.
fn merge(ops: Vec<CopyOp>) -> Vec<CopyOp> {
    let mut out: Vec<CopyOp> = Vec::with_capacity(ops.len());
    for op in ops {
        let op = match op {
            CopyOp::Repeat {
                count,
                from_stride,
                to_stride,
                ops,
            } => CopyOp::Repeat {
                count,
                from_stride,
                to_stride,
                ops: merge(ops),
            },
            op => op,
        };
        match (out.last_mut(), &op) {
            (
                Some(CopyOp::Copy { from, to, len }),
                CopyOp::Copy {
                    from: next_from,
                    to: next_to,
                    len: more,
                },
            ) if *from + *len == *next_from && *to + *len == *next_to => {
                *len += more;
            }
            (_, CopyOp::Copy { len: 0, .. }) => {}
            _ => out.push(op),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_copies_become_one() {
        let copy = |from, to, len| CopyOp::Copy { from, to, len };
        let t = Transform::new(
            16,
            16,
            vec![copy(0, 8, 4), copy(4, 12, 4), copy(8, 0, 0), copy(8, 4, 4)],
        );
        assert_eq!(t.ops(), [copy(0, 8, 8), copy(8, 4, 4)]);
        assert_eq!(t.unread(), vec![12..16; 1]);
    }

    #[test]
    fn integers_are_extended_by_sign() {
        let extend = |from, to, signed| CopyOp::Extend {
            from,
            from_size: 2,
            to,
            to_size: 4,
            signed,
        };
        let t = Transform::new(4, 8, vec![extend(0, 0, true), extend(2, 4, false)]);
        let mut new = [0xaa; 9];
        t.apply(&[0xfe, 0xff, 0xfe, 0xff], &mut new);
        assert_eq!(
            new,
            [0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0, 0, 0xaa],
            "bytes past the end are left alone"
        );
    }

    #[test]
    fn bits_leave_their_neighbours_alone() {
        let bits = |from, from_width, to, to_width, signed| CopyOp::Bits {
            from,
            from_width,
            to,
            to_width,
            signed,
        };
        let t = Transform::new(1, 2, vec![bits(4, 4, 0, 4, false), bits(0, 4, 4, 8, true)]);
        let mut new = [0xff; 2];
        t.apply(&[0xb9], &mut new);
        assert_eq!(new, [0x9b, 0x0f]);
    }

    #[test]
    fn repeat_counts_from_its_element() {
        let ops = vec![CopyOp::Extend {
            from: 1,
            from_size: 1,
            to: 2,
            to_size: 2,
            signed: false,
        }];
        let t = Transform::new(
            4,
            8,
            vec![CopyOp::Repeat {
                count: 2,
                from_stride: 2,
                to_stride: 4,
                ops,
            }],
        );
        let mut new = [1; 8];
        t.apply(&[1, 2, 3, 4], &mut new);
        assert_eq!(new, [0, 0, 2, 0, 0, 0, 4, 0]);
        assert_eq!(t.unread(), [0..1, 2..3]);
    }
}
