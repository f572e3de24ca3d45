//! Numbers as text.

use super::Output;

/// The digits of a number, and its sign.
pub(super) struct Number {
    digits: [u8; 20],
    /// Where the digits begin.
    first: usize,
    sign: Option<u8>,
}

/// What a number is filled up with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Spaces before it.
    Before,
    /// Spaces behind it.
    Behind,
    /// Zeros between sign and digits.
    Zeros,
}

impl Number {
    /// In decimal.
    pub(super) fn decimal(magnitude: u64, sign: Option<u8>) -> Number {
        Number::new(magnitude, 10, b"0123456789", sign)
    }

    /// In hexadecimal.
    pub(super) fn hexadecimal(value: u64, upper: bool) -> Number {
        let digits = if upper {
            b"0123456789ABCDEF"
        } else {
            b"0123456789abcdef"
        };
        Number::new(value, 16, digits, None)
    }

    fn new(mut value: u64, base: u64, letters: &[u8], sign: Option<u8>) -> Number {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = letters[(value % base) as usize];
            value /= base;
            if value == 0 {
                return Number { digits, first, sign };
            }
        }
    }

    /// Prints it with at least `width` characters.
    pub(super) fn print(&self, width: usize, fill: Fill, out: &mut Output<'_>) {
        let digits = &self.digits[self.first..];
        let count = width.saturating_sub(digits.len() + usize::from(self.sign.is_some()));
        if fill == Fill::Before {
            out.fill(b' ', count);
        }
        out.text(self.sign.as_slice());
        if fill == Fill::Zeros {
            out.fill(b'0', count);
        }
        out.text(digits);
        if fill == Fill::Behind {
            out.fill(b' ', count);
        }
    }
}
