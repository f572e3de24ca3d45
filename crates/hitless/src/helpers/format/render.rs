//! The second step: text from a format and what was staged for it.

use hitless_verifier::format::{Conversion, Kind, Piece, pieces};

use super::Output;
use super::number::{Fill, Number};
use super::staging::{Reader, Staged, symbol};

/// How many digits an address has.
pub(super) const ADDRESS_DIGITS: usize = 16;

/// Width of text that names an address that is no symbol's.
const SYMBOL: usize = 20;

/// The last addresses are errors: they are shown as they are, like NULL.
const MAX_ERRNO: u64 = 4095;

/// Turns an address that is not to be told into a number of 32 bits.
pub(in crate::helpers) trait Hide {
    fn hide(&self, address: u64) -> u32;
}

impl Staged {
    /// Prints by the format that the arguments were staged for.
    pub(in crate::helpers) fn print(&self, format: &[u8], hide: &impl Hide, out: &mut Output<'_>) {
        let mut args = self.reader();
        for piece in pieces(format) {
            match piece {
                Ok(Piece::Text(text)) => out.text(text),
                Ok(Piece::Conversion(how)) => convert(&how, &mut args, hide, out),
                Ok(Piece::Ignored) => {}
                // Staging has refused it, unless another thread has changed the format since.
                Err(_) => return,
            }
        }
    }
}

/// What is shown of an address that is not to be told: errors and NULL as they are.
pub(super) fn hidden(address: u64, hide: &impl Hide) -> u64 {
    if address == 0 || address >= MAX_ERRNO.wrapping_neg() {
        address
    } else {
        hide.hide(address).into()
    }
}

fn convert(how: &Conversion, args: &mut Reader<'_>, hide: &impl Hide, out: &mut Output<'_>) {
    let width = how.width.unwrap_or(0) as usize;
    let fill = match how {
        Conversion { left: true, .. } => Fill::Behind,
        Conversion { zero: true, .. } => Fill::Zeros,
        _ => Fill::Before,
    };
    match how.kind {
        Kind::Decimal { long, signed } => {
            let value = match (long, signed) {
                (true, _) => args.long().cast_signed(),
                (false, true) => args.word().cast_signed().into(),
                (false, false) => args.word().into(),
            };
            let number = if signed {
                Number::decimal(value.unsigned_abs(), sign(how, value))
            } else {
                Number::decimal(value.cast_unsigned(), None)
            };
            number.print(width, fill, out);
        }
        Kind::Hexadecimal { long, upper } => {
            let value = if long { args.long() } else { args.word().into() };
            Number::hexadecimal(value, upper).print(width, fill, out);
        }
        Kind::Char => padded(&[args.byte()], how.left, width, out),
        Kind::Text { padded: true } => padded(args.text(), how.left, width, out),
        Kind::Text { padded: false } | Kind::Backtrace | Kind::Ipv4 { .. } | Kind::Ipv6 { .. } => {
            // What is not seen is not taken, as in Linux.
            if out.has_room() {
                out.text(args.text());
            }
        }
        Kind::Hidden => {
            address(hidden(args.long(), hide), how, fill, out);
        }
        Kind::Address => address(args.long(), how, fill, out),
        Kind::Symbol => {
            let mut text = [0; SYMBOL];
            let mut name = Output::to_slice(&mut text);
            symbol(args.long(), &mut name);
            let len = name.finish();
            padded(&text[..len], how.left, width, out);
        }
    }
}

fn sign(how: &Conversion, value: i64) -> Option<u8> {
    match how {
        _ if value < 0 => Some(b'-'),
        Conversion { plus: true, .. } => Some(b'+'),
        Conversion { space: true, .. } => Some(b' '),
        _ => None,
    }
}

/// An address has all of its digits, unless the format says how many.
fn address(value: u64, how: &Conversion, fill: Fill, out: &mut Output<'_>) {
    let (width, fill) = match how.width {
        Some(width) => (width as usize, fill),
        None if how.left => (ADDRESS_DIGITS, fill),
        None => (ADDRESS_DIGITS, Fill::Zeros),
    };
    Number::hexadecimal(value, false).print(width, fill, out);
}

fn padded(text: &[u8], left: bool, width: usize, out: &mut Output<'_>) {
    let count = width.saturating_sub(text.len());
    if !left {
        out.fill(b' ', count);
    }
    out.text(text);
    if left {
        out.fill(b' ', count);
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    struct Known;

    impl Hide for Known {
        fn hide(&self, _: u64) -> u32 {
            0xabcd_0123
        }
    }

    /// The text, cut off at `room` bytes, and how long all of it is.
    fn print(format: &str, args: &[u64], room: usize) -> (String, usize) {
        let mut bytes = vec![b'#'; room];
        let mut out = Output::to_slice(&mut bytes);
        let staged = Staged::new(format.as_bytes(), args).expect("a format with its arguments");
        staged.print(format.as_bytes(), &Known, &mut out);
        let len = out.finish();
        let end = bytes.iter().position(|byte| *byte == 0).expect("a zero at the end");
        (String::from_utf8(bytes[..end].to_vec()).unwrap(), len)
    }

    /// As Linux prints them.
    #[test]
    fn texts() {
        let hello = c"hello".as_ptr() as u64;
        let [v4, v6] = [
            [10u8, 0, 0, 1].as_ptr() as u64,
            [0x20u8, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].as_ptr() as u64,
        ];
        let minus = |value: i64| value.cast_unsigned();
        let cases: &[(&str, &[u64], &str)] = &[
            ("hello\n", &[], "hello\n"),
            ("100%%", &[1], "100%"),
            ("%d %i %u", &[minus(-5), minus(-6), minus(-1)], "-5 -6 4294967295"),
            ("%lld %llu", &[minus(-1), minus(-1)], "-1 18446744073709551615"),
            ("%5d|%-5d|%05d|%+d|% d", &[1, 2, 3, 4, 5], "    1|2    |00003|+4| 5"),
            ("%05d|%-05d|%+5d|", &[minus(-1), 2, 3], "-0001|2    |   +3|"),
            (
                "%x %X %08lx|%-8x|",
                &[0xabcd, 0xabcd, 0xabc, 0xdef],
                "abcd ABCD 00000abc|def     |",
            ),
            ("%+u %+x", &[1, 2], "1 2"),
            (
                "%s|%10s|%-10s|%010s",
                &[hello; 4],
                "hello|     hello|hello     |     hello",
            ),
            ("%20pks|%s", &[hello, 0], "hello|"),
            ("%c%5c|%-5c|", &[65, 66, 67], "A    B|C    |"),
            ("%pI4 %pi4 %20pI4|", &[v4, v4, 0], "10.0.0.1 010.000.000.001 0.0.0.0|"),
            (
                "%pI6c %pi6",
                &[v6, v6],
                "2001:0db8:0000:0000:0000:0000:0000:0001 20010db8000000000000000000000001",
            ),
            (
                "%p %p %pK %5p|%p",
                &[0, 9, 9, 9, minus(-1)],
                "0000000000000000 00000000abcd0123 00000000abcd0123 abcd0123|ffffffffffffffff",
            ),
            (
                "%px %10px|%-px|%020px",
                &[255; 4],
                "00000000000000ff         ff|ff              |000000000000000000ff",
            ),
            (
                "%ps %pSR %pB %10ps|%10pB|",
                &[0x1234; 5],
                "0x1234 0x1234 0x1234     0x1234|0x1234|",
            ),
        ];
        for (format, args, text) in cases {
            assert_eq!(print(format, args, 200), ((*text).to_owned(), text.len()), "{format}");
        }
    }

    #[test]
    fn texts_are_cut_off() {
        let long = [b'z'; 600];
        let (long, v4) = (long.as_ptr() as u64, [1u8; 4].as_ptr() as u64);
        assert_eq!(print("%d%d%d", &[100, 200, 300], 4), ("100".to_owned(), 9));
        // What is staged has room for 512 bytes, and text with a conversion of pointers is not counted when it is not seen.
        assert_eq!(print("%s", &[long], 8), ("zzzzzzz".to_owned(), 511));
        assert_eq!(print("%px %pI4", &[1, v4], 8), ("0000000".to_owned(), 17));
    }

    #[test]
    fn arguments_without_room_are_refused() {
        use crate::helpers::errno::{EINVAL, ENOSPC};
        let long = [b'z'; 600];
        let long = long.as_ptr() as u64;
        let error = |format: &str, args: &[u64]| Staged::new(format.as_bytes(), args).err();
        for format in ["%s%d", "%s%c", "%s%s", "%s%pI4", "%s%pI6", "%s%px"] {
            assert_eq!(error(format, &[long, 0]), Some(ENOSPC), "{format}");
        }
        assert_eq!(error("%d%d", &[1]), Some(EINVAL));
        assert_eq!(error("%s%f", &[long, 1]), Some(EINVAL));
        assert_eq!(error("%d", &[1, 2]), None);
    }
}
