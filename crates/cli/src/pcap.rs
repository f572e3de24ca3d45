//! Captures: the frames of a pcap or pcapng file.

use std::ops::ControlFlow;

use pcap_parser::nom;
use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le};
use pcap_parser::{LegacyPcapBlock, Linktype, PcapError};

/// Why a file cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CaptureError {
    /// The first bytes are those of no capture.
    Magic { found: Vec<u8> },
    /// The file ends within its header.
    Header { found: usize, expected: usize },
    /// Frames of another link type.
    LinkType { found: i32 },
    /// The file ends within a record (of a pcap) or a block (of a pcapng).
    Cut {
        what: &'static str,
        number: u64,
        found: usize,
        expected: u64,
    },
    /// A record that is larger than any frame.
    TooLong { number: u64, found: u32 },
    /// A block of a pcapng file that makes no sense.
    Malformed { number: u64 },
    /// There is nothing to replay.
    Empty,
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CaptureError::Magic { found } => {
                write!(
                    f,
                    "not a capture: starts with {found:02x?}, expected the magic number of pcap or pcapng"
                )
            }
            CaptureError::Header { found, expected } => {
                write!(
                    f,
                    "cut off: {found} bytes, expected at least {expected} for the header of a capture"
                )
            }
            CaptureError::LinkType { found } => {
                write!(
                    f,
                    "link type {found}{}, expected {} (Ethernet)",
                    link_name(*found),
                    Linktype::ETHERNET.0
                )
            }
            CaptureError::Cut {
                what,
                number,
                found,
                expected,
            } => {
                write!(f, "cut off in {what} {number}: {found} bytes, expected {expected}")
            }
            CaptureError::TooLong { number, found } => {
                write!(
                    f,
                    "record {number}: a frame of {found} bytes, expected at most {MAX_FRAME}"
                )
            }
            CaptureError::Malformed { number } => write!(f, "block {number}: malformed"),
            CaptureError::Empty => f.write_str("0 packets, expected at least 1"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// The largest frame: what tcpdump and Wireshark take for sane (`MAXIMUM_SNAPLEN`).
const MAX_FRAME: u32 = 262_144;
/// Sizes of the headers of a pcap file and of its records.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// First bytes of a pcapng file: the type of a section header block.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The names of link types that a capture of packets may well have.
fn link_name(link_type: i32) -> &'static str {
    match Linktype(link_type) {
        Linktype::NULL => " (BSD loopback)",
        Linktype::RAW => " (raw IP)",
        Linktype::IPV4 => " (raw IPv4)",
        Linktype::IPV6 => " (raw IPv6)",
        Linktype::LINUX_SLL => " (Linux cooked capture)",
        Linktype::LINUX_SLL2 => " (Linux cooked capture v2)",
        Linktype(105) => " (IEEE 802.11)",
        _ => "",
    }
}

/// The frames of a capture of Ethernet frames, as far as they were captured, in order.
///
/// # Errors
/// [`CaptureError`], by variant.
pub(crate) fn parse(file: &[u8]) -> Result<Vec<&[u8]>, CaptureError> {
    let magic = file.first_chunk::<4>().ok_or(CaptureError::Header {
        found: file.len(),
        expected: FILE_HEADER,
    })?;
    let frames = if *magic == SECTION_HEADER {
        parse_pcapng(file)?
    } else {
        parse_pcap(file)?
    };
    if frames.is_empty() {
        return Err(CaptureError::Empty);
    }
    Ok(frames)
}

/// Parses one record of a pcap file.
type ParseFrame = fn(&[u8]) -> nom::IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

fn check_link_type(link_type: Linktype) -> Result<(), CaptureError> {
    if link_type == Linktype::ETHERNET {
        Ok(())
    } else {
        Err(CaptureError::LinkType { found: link_type.0 })
    }
}

/// Classic pcap, of either byte order, with microseconds or nanoseconds.
fn parse_pcap(file: &[u8]) -> Result<Vec<&[u8]>, CaptureError> {
    use pcap_parser::{parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header};

    let (mut rest, header) = parse_pcap_header(file).map_err(|error| match error {
        nom::Err::Incomplete(_) => CaptureError::Header {
            found: file.len(),
            expected: FILE_HEADER,
        },
        _ => CaptureError::Magic {
            found: file[..4].to_vec(),
        },
    })?;
    // The high bits say whether frames have a check sequence.
    check_link_type(Linktype(header.network.0 & 0xffff))?;
    let (parse_frame, record_header) = if header.is_modified_format() {
        (parse_pcap_frame_modified as ParseFrame, RECORD_HEADER + 8)
    } else if header.is_bigendian() {
        (parse_pcap_frame_be as ParseFrame, RECORD_HEADER)
    } else {
        (parse_pcap_frame as ParseFrame, RECORD_HEADER)
    };
    let word = if header.is_bigendian() {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let number = frames.len() as u64 + 1;
        let captured = rest
            .get(8..)
            .and_then(|rest| rest.first_chunk())
            .map(|bytes| word(*bytes));
        if let Some(found) = captured.filter(|len| *len > MAX_FRAME) {
            return Err(CaptureError::TooLong { number, found });
        }
        let Ok((after, frame)) = parse_frame(rest) else {
            return Err(CaptureError::Cut {
                what: "record",
                number,
                found: rest.len(),
                expected: record_header as u64 + captured.filter(|_| rest.len() >= record_header).map_or(0, u64::from),
            });
        };
        frames.push(frame.data);
        rest = after;
    }
    Ok(frames)
}

fn parse_pcapng(file: &[u8]) -> Result<Vec<&[u8]>, CaptureError> {
    let mut capture = Pcapng::default();
    let mut rest = file;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let parse_block = if capture.big_endian {
            parse_block_be
        } else {
            parse_block_le
        };
        match parse_block(rest) {
            Ok((after, block)) => {
                if let ControlFlow::Break(error) = capture.block(number, block) {
                    return Err(error);
                }
                rest = after;
            }
            Err(error) => return Err(capture.error(number, rest, &error)),
        }
    }
    Ok(capture.frames)
}

/// What was read of a pcapng file so far.
#[derive(Default)]
struct Pcapng<'a> {
    big_endian: bool,
    /// Link types of the section's interfaces.
    interfaces: Vec<Linktype>,
    /// The first interface's limit on captured bytes, 0 for none: simple packet blocks do not say how much was captured.
    snap_len: u32,
    frames: Vec<&'a [u8]>,
}

impl<'a> Pcapng<'a> {
    fn block(&mut self, number: u64, block: Block<'a>) -> ControlFlow<CaptureError> {
        let (interface, frame, captured) = match block {
            Block::SectionHeader(section) => {
                self.big_endian = section.big_endian();
                self.interfaces.clear();
                return ControlFlow::Continue(());
            }
            Block::InterfaceDescription(interface) => {
                if self.interfaces.is_empty() {
                    self.snap_len = interface.snaplen;
                }
                self.interfaces.push(interface.linktype);
                return ControlFlow::Continue(());
            }
            Block::EnhancedPacket(packet) => (packet.if_id, packet.data, packet.caplen),
            Block::SimplePacket(packet) => {
                let limit = if self.snap_len == 0 { u32::MAX } else { self.snap_len };
                (0, packet.data, packet.origlen.min(limit))
            }
            _ => return ControlFlow::Continue(()),
        };
        let Some(link_type) = self.interfaces.get(interface as usize) else {
            return ControlFlow::Break(CaptureError::Malformed { number });
        };
        if let Err(error) = check_link_type(*link_type) {
            return ControlFlow::Break(error);
        }
        if captured > MAX_FRAME {
            return ControlFlow::Break(CaptureError::TooLong {
                number,
                found: captured,
            });
        }
        match frame.get(..captured as usize) {
            Some(frame) => {
                self.frames.push(frame);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(CaptureError::Malformed { number }),
        }
    }

    fn error(&self, number: u64, rest: &[u8], error: &nom::Err<PcapError<&[u8]>>) -> CaptureError {
        let word = if self.big_endian {
            u32::from_be_bytes
        } else {
            u32::from_le_bytes
        };
        let expected = match rest.get(4..).and_then(|rest| rest.first_chunk()) {
            Some(len) if rest.len() >= 12 => u64::from(word(*len)),
            _ => 12,
        };
        match error {
            nom::Err::Incomplete(_) if expected > rest.len() as u64 => CaptureError::Cut {
                what: "block",
                number,
                found: rest.len(),
                expected,
            },
            _ => CaptureError::Malformed { number },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURE: &[u8] = include_bytes!("../../../testdata/flows.pcap");

    /// A pcap file with these frames.
    fn pcap(magic: u32, link_type: u32, frames: &[&[u8]], bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut file = bytes(magic).to_vec();
        file.extend(if bytes(1)[0] == 1 { [2, 0, 4, 0] } else { [0, 2, 0, 4] });
        for word in [0, 0, 65535, link_type] {
            file.extend(bytes(word));
        }
        for frame in frames {
            for word in [1, 2, frame.len() as u32, frame.len() as u32] {
                file.extend(bytes(word));
            }
            file.extend(*frame);
        }
        file
    }

    fn pcapng(bytes: fn(u32) -> [u8; 4], link_type: u8, frames: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut block = |kind: u32, body: &[u8]| {
            let len = body.len() as u32 + 12;
            file.extend(bytes(kind).into_iter().chain(bytes(len)));
            file.extend(body);
            file.extend(bytes(len));
        };
        let mut section = bytes(0x1a2b_3c4d).to_vec();
        section.extend(if bytes(1)[0] == 1 { [1, 0, 0, 0] } else { [0, 1, 0, 0] });
        section.extend([0xff; 8]);
        block(0x0a0d_0d0a, &section);
        let link = if bytes(1)[0] == 1 {
            [link_type, 0, 0, 0]
        } else {
            [0, link_type, 0, 0]
        };
        block(1, &[link, bytes(0)].concat());
        for (index, frame) in frames.iter().enumerate() {
            let len = frame.len() as u32;
            let mut body = if index % 2 == 0 {
                [0, 0, 0, len, len].map(bytes).concat()
            } else {
                bytes(len).to_vec()
            };
            body.extend(*frame);
            body.resize(body.len().next_multiple_of(4), 0);
            block(if index % 2 == 0 { 6 } else { 3 }, &body);
        }
        file
    }

    #[test]
    fn every_form_of_pcap_is_read() {
        let frames: [&[u8]; 3] = [b"first", b"", b"the third"];
        for bytes in [u32::to_le_bytes, u32::to_be_bytes] {
            for magic in [0xa1b2_c3d4, 0xa1b2_3c4d] {
                assert_eq!(parse(&pcap(magic, 1, &frames, bytes)).unwrap(), frames);
            }
            assert_eq!(parse(&pcapng(bytes, 1, &frames)).unwrap(), frames);
        }
    }

    #[test]
    fn other_link_types_are_refused_by_name() {
        let raw = pcap(0xa1b2_c3d4, 101, &[b"x"], u32::to_le_bytes);
        let text = parse(&raw).unwrap_err().to_string();
        assert_eq!(text, "link type 101 (raw IP), expected 1 (Ethernet)");
        let raw = pcapng(u32::to_be_bytes, 101, &[b"x"]);
        assert_eq!(parse(&raw).unwrap_err().to_string(), text);
    }

    #[test]
    fn a_capture_cut_at_any_place_is_refused() {
        let frames: [&[u8]; 3] = [b"first", b"", b"the third"];
        let whole = pcap(0xa1b2_c3d4, 1, &frames, u32::to_be_bytes);
        let ends = [24 + 21, 24 + 21 + 16, whole.len()];
        for len in 0..whole.len() {
            let parsed = parse(&whole[..len]);
            match ends.iter().position(|end| *end == len) {
                Some(last) => assert_eq!(parsed.unwrap(), frames[..=last]),
                None => drop(parsed.unwrap_err()),
            }
        }
        let whole = pcapng(u32::to_le_bytes, 1, &frames[..1]);
        for len in 0..whole.len() {
            parse(&whole[..len]).unwrap_err();
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        let text = |file: &[u8]| parse(file).unwrap_err().to_string();
        assert_eq!(text(&CAPTURE[..24]), "0 packets, expected at least 1");
        assert_eq!(text(&CAPTURE[..30]), "cut off in record 1: 6 bytes, expected 16");
        assert_eq!(text(&CAPTURE[..100]), "cut off in record 1: 76 bytes, expected 126");
        assert_eq!(
            text(&CAPTURE[..20]),
            "cut off: 20 bytes, expected at least 24 for the header of a capture"
        );
        assert_eq!(
            text(b"\x7fELF\x02\x01"),
            "not a capture: starts with [7f, 45, 4c, 46], expected the magic number of pcap or pcapng"
        );
        let mut long = CAPTURE[..100].to_vec();
        long[24 + 8..24 + 12].copy_from_slice(&0x7000_0000u32.to_le_bytes());
        assert_eq!(
            text(&long),
            "record 1: a frame of 1879048192 bytes, expected at most 262144"
        );
        let block = pcapng(u32::to_le_bytes, 1, &[b"frame"]);
        assert_eq!(text(&block[..60]), "cut off in block 3: 12 bytes, expected 40");
    }

    #[test]
    fn no_changed_byte_does_harm() {
        let frames: [&[u8]; 3] = [b"first", b"", b"the third"];
        for bytes in [u32::to_le_bytes, u32::to_be_bytes] {
            for file in [pcap(0xa1b2_c3d4, 1, &frames, bytes), pcapng(bytes, 1, &frames)] {
                for at in 0..file.len() {
                    for value in 0..=255 {
                        let mut file = file.clone();
                        file[at] = value;
                        // Whatever comes of it.
                        if let Err(error) = parse(&file) {
                            assert!(!error.to_string().is_empty());
                        }
                    }
                }
            }
        }
    }
}
