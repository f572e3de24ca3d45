//! What a compiler would make of a struct, and what it takes to get the layout that BTF has instead.
//!
//! BTF knows where members are, not why. A struct is written packed if its members are not where natural alignment allows
//! them to be; any gap that remains is filled with bitfields without a name, which have no influence on alignment.

use crate::btf::Btf;
use crate::types::*;

/// How a struct or union has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Its alignment in bytes, when written so.
    pub(super) align: u32,
    /// Whether it needs `__attribute__((packed))`.
    pub(super) packed: bool,
    /// Whether its members overlap or are out of order, which C cannot say.
    pub(super) opaque: bool,
}

/// Where a member is, bitfields of old compilers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// First bit.
    pub(super) start: u64,
    /// One past the last bit.
    pub(super) end: u64,
    /// Width of a bitfield, else 0.
    pub(super) width: u8,
    /// Bits of its type, if a bitfield, or of its alignment.
    pub(super) unit: u64,
}

/// Fits of the types of a BTF, each found once.
pub(super) struct Fits<'a> {
    btf: &'a Btf,
    known: Vec<Option<Fit>>,
}

impl<'a> Fits<'a> {
    pub(super) fn new(btf: &'a Btf) -> Fits<'a> {
        Fits {
            btf,
            known: vec![None; btf.len()],
        }
    }

    /// Alignment in bytes of a type as it is written. By-value nesting, and so recursion, ends after `MAX_DEPTH` types.
    pub(super) fn align(&mut self, id: TypeId) -> u32 {
        match self.btf.resolve(id) {
            Some((_, Type::Int(t))) => t.size,
            Some((_, Type::Ptr(_))) => 8,
            Some((_, Type::Enum(t) | Type::Enum64(t))) => t.size,
            Some((_, Type::Float(t))) if matches!(t.size, 4 | 8) => t.size,
            Some((_, Type::Array(t))) => self.align(t.elem),
            Some((id, Type::Struct(_) | Type::Union(_))) => self.fit(id).align,
            _ => 1,
        }
    }

    /// How struct or union `id` has to be written.
    pub(super) fn fit(&mut self, id: TypeId) -> Fit {
        if let Some(Some(fit)) = self.known.get(id.0 as usize) {
            return *fit;
        }
        let fit = match self.btf.get(id) {
            Some(Type::Struct(t)) => self.struct_fit(t, false),
            Some(Type::Union(t)) => self.struct_fit(t, true),
            _ => Fit {
                align: 1,
                packed: false,
                opaque: false,
            },
        };
        if let Some(known) = self.known.get_mut(id.0 as usize) {
            *known = Some(fit);
        }
        fit
    }

    fn struct_fit(&mut self, t: &Composite, union: bool) -> Fit {
        let (mut align, mut natural, mut end) = (1, true, 0);
        for member in &t.members {
            let place = self.place(member);
            if place.start < end && !union {
                return Fit {
                    align: 1,
                    packed: true,
                    opaque: true,
                };
            }
            end = place.end;
            align = align.max((place.unit / 8) as u32);
            natural &= match u64::from(place.width) {
                0 => place.start.is_multiple_of(place.unit),
                width => place.start % place.unit + width <= place.unit,
            };
        }
        natural &= t.size.is_multiple_of(align);
        Fit {
            align: if natural { align } else { 1 },
            packed: !natural,
            opaque: false,
        }
    }

    /// Where a member is, and where it may be.
    pub(super) fn place(&mut self, member: &Member) -> Place {
        let size = u64::from(self.btf.size_of(member.ty).unwrap_or(0)) * 8;
        let start = u64::from(member.bit_offset);
        let (start, width) = match self.btf.resolve(member.ty) {
            // The type itself says which of its bits are meant.
            Some((_, Type::Int(t))) if member.bitfield_size == 0 && u64::from(t.bits) != size => {
                (start + u64::from(t.bit_offset), t.bits)
            }
            _ => (start, member.bitfield_size),
        };
        let (end, unit) = if width == 0 {
            (start + size, u64::from(self.align(member.ty)) * 8)
        } else {
            (start + u64::from(width), size)
        };
        Place {
            start,
            end,
            width,
            unit,
        }
    }
}

impl Place {
    /// Where it would be put if it followed bit `at`.
    pub(super) fn after(self, at: u64, packed: bool) -> u64 {
        match (self.width, packed) {
            (0, true) => at.next_multiple_of(8),
            (0, false) => at.next_multiple_of(self.unit),
            (_, true) => at,
            (width, false) if at % self.unit + u64::from(width) <= self.unit => at,
            (_, false) => at.next_multiple_of(self.unit),
        }
    }
}

/// Bitfields without a name that fill the bits from `at` up to `end`: their types and widths.
pub(super) fn padding(at: u64, end: u64) -> impl Iterator<Item = (&'static str, u64)> {
    let mut at = at;
    std::iter::from_fn(move || {
        let gap = end.checked_sub(at).filter(|&gap| gap > 0)?;
        // None crosses a boundary of its type.
        let width = gap.min(64 - at % 64);
        let unit = [("char", 8), ("short", 16), ("int", 32), ("long", 64)];
        let (name, _) = unit.into_iter().find(|(_, bits)| at % bits + width <= *bits)?;
        at += width;
        Some((name, width))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_up_to_boundaries() {
        let fill = |at, end| padding(at, end).collect::<Vec<_>>();
        assert_eq!(fill(0, 0), []);
        assert_eq!(fill(32, 64), [("int", 32)]);
        assert_eq!(fill(8, 64), [("long", 56)]);
        assert_eq!(fill(3, 8), [("char", 5)]);
        assert_eq!(fill(60, 200), [("char", 4), ("long", 64), ("long", 64), ("char", 8)]);
    }
}
