//! The format strings of `bpf_trace_printk()`, `bpf_snprintf()` and `bpf_seq_printf()`, taken apart as the kernel does.
//!
//! They are less than C's: flags `0`, `-`, `+` and space, a width, no precision, and the kernel's own conversions of
//! pointers. The verifier counts the arguments that a constant format asks for; the runtime prints by the same pieces.

/// A part of a format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// Text that stands for itself.
    Text(&'a [u8]),
    /// Text right behind a pointer's conversion, which is checked but never printed.
    Ignored,
    /// An argument.
    Conversion(Conversion),
}

/// How an argument is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conversion {
    /// Flag `-`: filled up on the right.
    pub left: bool,
    /// Flag `+`: numbers that are not negative get this sign.
    pub plus: bool,
    /// Flag space: such numbers get a space for a sign.
    pub space: bool,
    /// Flag `0`: filled up with zeros.
    pub zero: bool,
    /// The least number of characters, if one is given.
    pub width: Option<u32>,
    /// What the argument is.
    pub kind: Kind,
}

/// What an argument is, and in which form it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `%d`, `%i` (signed), `%u`.
    Decimal {
        /// With `l` or `ll`: all of the argument counts, not its low 32 bits.
        long: bool,
        /// Whether it may be negative.
        signed: bool,
    },
    /// `%x` and `%X`.
    Hexadecimal {
        /// As for decimal numbers.
        long: bool,
        /// Whether letters are capitals.
        upper: bool,
    },
    /// `%c`.
    Char,
    /// `%s`, `%pks` and `%pus`: the address of a string. Those of the latter two are printed without flags and width.
    Text {
        /// Whether flags and width count.
        padded: bool,
    },
    /// `%p` and `%pK`: an address that is not told.
    Hidden,
    /// `%px`: an address.
    Address,
    /// `%ps` and `%pS`: the symbol at an address.
    Symbol,
    /// `%pB`: the symbol of a return address. Printed without flags and width.
    Backtrace,
    /// `%pI4` and `%pi4`: the address of an IPv4 address. Printed without flags and width.
    Ipv4 {
        /// `i`: three digits for each byte.
        zeros: bool,
    },
    /// `%pI6` and `%pi6`: the address of an IPv6 address. Printed without flags and width.
    Ipv6 {
        /// `I`: with colons.
        colons: bool,
    },
}

impl Kind {
    /// Whether it begins with `%p`, so that letters and digits behind it are not printed.
    fn is_pointer(self) -> bool {
        match self {
            Kind::Decimal { .. } | Kind::Hexadecimal { .. } | Kind::Char | Kind::Text { padded: true } => false,
            Kind::Text { padded: false }
            | Kind::Hidden
            | Kind::Address
            | Kind::Symbol
            | Kind::Backtrace
            | Kind::Ipv4 { .. }
            | Kind::Ipv6 { .. } => true,
        }
    }
}

/// A format says something that the kernel does not understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid;

/// The pieces of a format, which ends where the string ends (without a zero).
///
/// # Examples
/// ```
/// use hitless_verifier::format::{Invalid, Kind, Piece, pieces};
///
/// let mut parts = pieces(b"at %px: %5d%%");
/// assert_eq!(parts.next(), Some(Ok(Piece::Text(b"at "))));
/// assert!(matches!(parts.next(), Some(Ok(Piece::Conversion(c))) if c.kind == Kind::Address));
/// assert_eq!(parts.next(), Some(Ok(Piece::Text(b": "))));
/// assert!(matches!(parts.next(), Some(Ok(Piece::Conversion(c))) if c.width == Some(5)));
/// assert_eq!(parts.next(), Some(Ok(Piece::Text(b"%"))));
/// assert_eq!(parts.next(), None);
/// assert_eq!(pieces(b"%f").next(), Some(Err(Invalid)));
/// ```
#[must_use]
pub fn pieces(format: &[u8]) -> Pieces<'_> {
    Pieces {
        rest: format,
        after_pointer: false,
    }
}

/// See [`pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a [u8],
    after_pointer: bool,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        let after_pointer = std::mem::take(&mut self.after_pointer);
        let (piece, rest) = match self.rest {
            [] => return None,
            [b'%', b'%', rest @ ..] => (Piece::Text(&self.rest[..1]), rest),
            [b'%', rest @ ..] => match conversion(rest) {
                Some((conversion, rest)) => {
                    self.after_pointer = conversion.kind.is_pointer();
                    (Piece::Conversion(conversion), rest)
                }
                None => return self.fail(),
            },
            text => {
                let ends = |byte: &u8| *byte == b'%' || after_pointer && !is_alphanumeric(*byte);
                let len = match text.iter().position(ends) {
                    // Not ignored at all.
                    Some(0) => text.iter().position(|byte| *byte == b'%').unwrap_or(text.len()),
                    len => len.unwrap_or(text.len()),
                };
                let (text, rest) = text.split_at(len);
                // Text may be in any encoding that has ASCII.
                if text.iter().any(|byte| byte.is_ascii_control() && !is_space(*byte)) {
                    return self.fail();
                }
                let ignored = after_pointer && is_alphanumeric(text[0]);
                (if ignored { Piece::Ignored } else { Piece::Text(text) }, rest)
            }
        };
        self.rest = rest;
        Some(Ok(piece))
    }
}

impl<'a> Pieces<'a> {
    fn fail(&mut self) -> Option<Result<Piece<'a>, Invalid>> {
        self.rest = &[];
        Some(Err(Invalid))
    }
}

/// A conversion, of which the percent sign was taken already, and what is behind it.
fn conversion(format: &[u8]) -> Option<(Conversion, &[u8])> {
    let flags = format.iter().position(|byte| !b"0-+ ".contains(byte))?;
    let (flags, format) = format.split_at(flags);
    let digits = format.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, format) = format.split_at(digits);
    let width = digits.iter().fold(0u32, |width, digit| {
        width.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    let longs = format.iter().take(2).take_while(|byte| **byte == b'l').count();
    let long = longs > 0;
    let (&letter, rest) = format[longs..].split_first()?;
    let (kind, rest) = match letter {
        b'd' | b'i' => (Kind::Decimal { long, signed: true }, rest),
        b'u' => (Kind::Decimal { long, signed: false }, rest),
        b'x' => (Kind::Hexadecimal { long, upper: false }, rest),
        b'X' => (Kind::Hexadecimal { long, upper: true }, rest),
        _ if long => return None,
        b's' if ends_word(rest) => (Kind::Text { padded: true }, rest),
        b'c' => (Kind::Char, rest),
        b'p' => pointer(rest)?,
        _ => return None,
    };
    let conversion = Conversion {
        left: flags.contains(&b'-'),
        plus: flags.contains(&b'+'),
        space: flags.contains(&b' '),
        zero: flags.contains(&b'0'),
        width: (!digits.is_empty()).then_some(width),
        kind,
    };
    Some((conversion, rest))
}

/// The conversion of a pointer, and what is behind it.
fn pointer(format: &[u8]) -> Option<(Kind, &[u8])> {
    Some(match *format {
        [b'k' | b'u', b's', ref rest @ ..] if ends_word(rest) => (Kind::Text { padded: false }, rest),
        [case @ (b'i' | b'I'), b'4', ref rest @ ..] => (Kind::Ipv4 { zeros: case == b'i' }, rest),
        [case @ (b'i' | b'I'), b'6', ref rest @ ..] => (Kind::Ipv6 { colons: case == b'I' }, rest),
        [b'K', ref rest @ ..] => (Kind::Hidden, rest),
        [b'x', ref rest @ ..] => (Kind::Address, rest),
        [b's' | b'S', ref rest @ ..] => (Kind::Symbol, rest),
        [b'B', ref rest @ ..] => (Kind::Backtrace, rest),
        _ if ends_word(format) => (Kind::Hidden, format),
        _ => return None,
    })
}

/// Whether a word that ends here can have ended.
fn ends_word(rest: &[u8]) -> bool {
    rest.first().is_none_or(|byte| is_space(*byte) || is_punctuation(*byte))
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte) || byte == 0xa0
}

/// As in Latin-1.
fn is_punctuation(byte: u8) -> bool {
    byte.is_ascii_punctuation() || matches!(byte, 0xa1..=0xbf | 0xd7 | 0xf7)
}

/// As in Latin-1.
fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0xc0 && !is_punctuation(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many arguments a format asks for.
    fn conversions(format: &[u8]) -> Result<usize, Invalid> {
        let pieces: Result<Vec<_>, _> = pieces(format).collect();
        Ok(pieces?
            .iter()
            .filter(|piece| matches!(piece, Piece::Conversion(_)))
            .count())
    }

    /// As found by asking Linux.
    #[test]
    fn formats() {
        let counts = [
            ("", 0),
            ("hello\n", 0),
            ("%%5c", 0),
            ("\u{e9}", 0),
            ("%d", 1),
            ("%5lld", 1),
            ("%+-0 5d", 1),
            ("% d", 1),
            ("%us", 1),
            ("%-5us", 1),
            ("%08x", 1),
            ("%10p", 1),
            ("%5c", 1),
            ("%pks", 1),
            ("%pI6c", 1),
            ("%px4", 1),
            ("%p", 1),
            ("%p%%", 1),
            ("%p%d", 2),
            ("%pks%d", 2),
            ("%s %lu", 2),
            ("%d %s %x", 3),
            ("%cabc", 1),
        ];
        for (text, count) in counts {
            assert_eq!(conversions(text.as_bytes()), Ok(count), "{text}");
        }
        let wrong = [
            "%", "%o", "%f", "%hd", "%zd", "%lc", "%ls", "%lp", "%l", "%lll", "%llld", "%ks", "%pi", "%pi5", "%pk",
            "%pU", "%p4", "%#x", "%.5d", "%*d", "%d%", "%5%", "%05-d", "%5 d", "%0", "\x01", "%d\x01", "%pi4%", "%sx",
            "%pksx", "%s\u{e9}", "%pxa\x01",
        ];
        for text in wrong {
            assert_eq!(conversions(text.as_bytes()), Err(Invalid), "{text}");
        }
    }

    #[test]
    fn what_follows_a_pointer_is_not_printed() {
        let texts = |format| -> Vec<Piece<'_>> {
            let pieces = pieces(format).map(Result::unwrap);
            pieces.filter(|piece| !matches!(piece, Piece::Conversion(_))).collect()
        };
        assert_eq!(texts(b"%px\xe9bc def%pI4%d"), [Piece::Ignored, Piece::Text(b" def")]);
        assert_eq!(texts(b"%dabc"), [Piece::Text(b"abc")]);
        assert_eq!(texts(b"%px\xaa1"), [Piece::Text(b"\xaa1")]);
    }
}
