//! The first step: arguments into a buffer.

use hitless_verifier::format::{Kind, Piece, pieces};

use super::Output;
use super::number::{Fill, Number};
use crate::helpers::errno::{EINVAL, ENOSPC, Errno};
use crate::helpers::probe;

/// How many bytes all arguments may take.
const ROOM: usize = 512;

/// Staged arguments. Numbers begin at multiples of four, everything else follows what is before it.
pub(in crate::helpers) struct Staged {
    bytes: [u8; ROOM],
    len: usize,
}

impl Staged {
    /// Stages what a format asks for. Arguments that it does not ask for are ignored.
    pub(in crate::helpers) fn new(format: &[u8], args: &[u64]) -> Result<Staged, Errno> {
        let mut staged = Staged {
            bytes: [0; ROOM],
            len: 0,
        };
        let mut args = args.iter();
        for piece in pieces(format) {
            if let Piece::Conversion(conversion) = piece.map_err(|_| EINVAL)? {
                let arg = *args.next().ok_or(EINVAL)?;
                staged.add(conversion.kind, arg)?;
            }
        }
        Ok(staged)
    }

    /// Reads what was staged, from the beginning.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            bytes: &self.bytes,
            at: 0,
        }
    }

    fn add(&mut self, kind: Kind, arg: u64) -> Result<(), Errno> {
        match kind {
            Kind::Decimal { long: false, .. } | Kind::Hexadecimal { long: false, .. } => {
                self.number(&(arg as u32).to_ne_bytes())
            }
            Kind::Decimal { long: true, .. }
            | Kind::Hexadecimal { long: true, .. }
            | Kind::Hidden
            | Kind::Address
            | Kind::Symbol => self.number(&arg.to_ne_bytes()),
            Kind::Char => self.push(&[arg as u8]),
            Kind::Text { .. } => {
                let room = self.room(1)?;
                let copied = probe::read_string(arg, room);
                self.len += copied.unwrap_or_else(|_| {
                    room[0] = 0;
                    1
                });
                Ok(())
            }
            Kind::Backtrace => {
                self.text(|out| symbol(arg, out));
                Ok(())
            }
            Kind::Ipv4 { zeros } => {
                self.room(4)?;
                self.text(|out| ipv4(read_or_zero(arg), zeros, out));
                Ok(())
            }
            Kind::Ipv6 { colons } => {
                self.room(16)?;
                self.text(|out| ipv6(read_or_zero(arg), colons, out));
                Ok(())
            }
        }
    }

    /// What is left of the buffer, if it is that much.
    fn room(&mut self, least: usize) -> Result<&mut [u8], Errno> {
        let room = &mut self.bytes[self.len..];
        if room.len() < least { Err(ENOSPC) } else { Ok(room) }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.room(bytes.len())?[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    fn number(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.len = self.len.next_multiple_of(4);
        self.push(bytes)
    }

    /// Adds text with a zero at its end, cut off if there is no room for it.
    fn text(&mut self, print: impl FnOnce(&mut Output<'_>)) {
        let mut out = Output::to_slice(&mut self.bytes[self.len..]);
        print(&mut out);
        self.len = (self.len + out.finish() + 1).min(ROOM);
    }
}

/// Takes staged arguments in their order.
pub(super) struct Reader<'a> {
    bytes: &'a [u8; ROOM],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = *self.take();
        byte
    }

    pub(super) fn word(&mut self) -> u32 {
        self.at = self.at.next_multiple_of(4);
        u32::from_ne_bytes(*self.take())
    }

    pub(super) fn long(&mut self) -> u64 {
        self.at = self.at.next_multiple_of(4);
        u64::from_ne_bytes(*self.take())
    }

    pub(super) fn text(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        self.at += len + 1;
        &rest[..len]
    }

    /// The next bytes; zeros if there are none, which is after text that was not taken because nobody would have seen it.
    fn take<const N: usize>(&mut self) -> &'a [u8; N] {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at += N;
        bytes.unwrap_or(&[0; N])
    }
}

/// The symbol at an address: none is known, as in a kernel without symbols.
pub(super) fn symbol(address: u64, out: &mut Output<'_>) {
    out.text(b"0x");
    Number::hexadecimal(address, false).print(0, Fill::Before, out);
}

fn ipv4(address: [u8; 4], zeros: bool, out: &mut Output<'_>) {
    for (i, byte) in address.into_iter().enumerate() {
        if i > 0 {
            out.text(b".");
        }
        let width = if zeros { 3 } else { 0 };
        Number::decimal(byte.into(), None).print(width, Fill::Zeros, out);
    }
}

fn ipv6(address: [u8; 16], colons: bool, out: &mut Output<'_>) {
    for (i, byte) in address.into_iter().enumerate() {
        if colons && i > 0 && i % 2 == 0 {
            out.text(b":");
        }
        Number::hexadecimal(byte.into(), false).print(2, Fill::Zeros, out);
    }
}

fn read_or_zero<const N: usize>(address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    match probe::read(address, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => [0; N],
    }
}
