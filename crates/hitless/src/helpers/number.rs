//! Numbers that programs read from text: `bpf_strtol()` and `bpf_strtoul()`.
//!
//! The text need not end with a zero. It may begin with white space and a sign `-` (no `+`), and say its base by a prefix: `0x`, or
//! `0` for octal numbers. Of what is left then, the kernel looks at 63 characters.

use super::errno::{EINVAL, ERANGE, Errno};
use crate::region::SharedBytes;

/// How many characters of a number are looked at.
const MOST: usize = 63;

/// A number that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Parsed {
    negative: bool,
    magnitude: u64,
    /// How many bytes of the text were taken.
    taken: usize,
}

/// Reads a signed number. Returns how many bytes of the text it takes, too.
pub(super) fn signed(text: SharedBytes<'_>, flags: u64) -> Result<(i64, usize), Errno> {
    let parsed = parse(text, flags)?;
    let value = if parsed.negative {
        0i64.checked_sub_unsigned(parsed.magnitude)
    } else {
        i64::try_from(parsed.magnitude).ok()
    };
    Ok((value.ok_or(ERANGE)?, parsed.taken))
}

/// Reads a number that may not be negative.
pub(super) fn unsigned(text: SharedBytes<'_>, flags: u64) -> Result<(u64, usize), Errno> {
    let parsed = parse(text, flags)?;
    if parsed.negative {
        return Err(EINVAL);
    }
    Ok((parsed.magnitude, parsed.taken))
}

fn parse(text: SharedBytes<'_>, flags: u64) -> Result<Parsed, Errno> {
    let base = match flags {
        0 | 8 | 10 | 16 => flags,
        _ => return Err(EINVAL),
    };
    let spaces = (0..text.len()).take_while(|at| is_space(text.byte(*at))).count();
    let mut copy = [0; MOST + 1];
    let len = copy.len().min(text.len() - spaces);
    text.part(spaces, len).read(&mut copy[..len]);
    let (negative, number) = match &copy[..len] {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, &rest[..rest.len().min(MOST)]),
    };
    let before = spaces + usize::from(negative);
    let (base, prefix) = match (base, number) {
        (0, [b'0', b'x' | b'X', digit, ..]) if digit.is_ascii_hexdigit() => (16, 2),
        (0, [b'0', ..]) => (8, 0),
        (0, _) => (10, 0),
        (16, [b'0', b'x' | b'X', ..]) => (16, 2),
        _ => (base, 0),
    };
    let (mut magnitude, mut digits, mut overflow) = (0u64, 0, false);
    for byte in &number[prefix..] {
        let Some(digit) = char::from(*byte).to_digit(base as u32) else {
            break;
        };
        let (product, first) = magnitude.overflowing_mul(base);
        let (sum, second) = product.overflowing_add(digit.into());
        (magnitude, overflow) = (sum, overflow | first | second);
        digits += 1;
    }
    match digits {
        _ if overflow => Err(ERANGE),
        0 => Err(EINVAL),
        _ => Ok(Parsed {
            negative,
            magnitude,
            taken: before + prefix + digits,
        }),
    }
}

/// As in Latin-1.
fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte) || byte == 0xa0
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    /// As Linux reads them.
    #[test]
    fn numbers() {
        type Read = Result<(i64, usize), Errno>;
        let cases: &[(&str, u64, Read)] = &[
            ("42", 0, Ok((42, 2))),
            (" \t\n42abc", 0, Ok((42, 5))),
            ("-42", 10, Ok((-42, 3))),
            ("- 42", 10, Err(EINVAL)),
            ("+42", 10, Err(EINVAL)),
            ("0x1F", 0, Ok((31, 4))),
            ("0X1f", 16, Ok((31, 4))),
            ("1f", 16, Ok((31, 2))),
            ("0xg", 0, Ok((0, 1))),
            ("0xg", 16, Err(EINVAL)),
            ("0x", 16, Err(EINVAL)),
            ("017", 0, Ok((15, 3))),
            ("08", 0, Ok((0, 1))),
            ("17", 8, Ok((15, 2))),
            ("", 0, Err(EINVAL)),
            ("   ", 0, Err(EINVAL)),
            ("-", 0, Err(EINVAL)),
            ("-0", 0, Ok((0, 2))),
            ("42", 2, Err(EINVAL)),
            ("42", 32, Err(EINVAL)),
            ("42", 1 << 40, Err(EINVAL)),
            ("9223372036854775807", 0, Ok((i64::MAX, 19))),
            ("9223372036854775808", 0, Err(ERANGE)),
            ("-9223372036854775808", 0, Ok((i64::MIN, 20))),
            ("-9223372036854775809", 0, Err(ERANGE)),
            ("18446744073709551616", 0, Err(ERANGE)),
        ];
        for (text, flags, result) in cases {
            let read = signed(SharedBytes::from_slice(text.as_bytes()), *flags);
            assert_eq!(read, *result, "{text:?}, {flags}");
        }
    }

    #[test]
    fn numbers_without_a_sign() {
        let read = |text: &str| unsigned(SharedBytes::from_slice(text.as_bytes()), 0);
        assert_eq!(read("18446744073709551615"), Ok((u64::MAX, 20)));
        assert_eq!(read("18446744073709551616"), Err(ERANGE));
        assert_eq!(read("-1"), Err(EINVAL));
        assert_eq!(read("-99999999999999999999"), Err(ERANGE));
    }

    #[test]
    fn long_text_is_cut_off() {
        let zeros = [b"0".repeat(70), b"1".to_vec()].concat();
        assert_eq!(unsigned(SharedBytes::from_slice(&zeros), 10), Ok((0, 63)));
    }
}
