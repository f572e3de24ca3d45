//! Changes to bytes that keep them interesting.

use std::ops::Range;

use fastrand::Rng;
use object::LittleEndian;
use object::elf::{FileHeader64, SHF_EXECINSTR, SHT_NOBITS};
use object::read::elf::{FileHeader, SectionHeader};

/// A part of a file.
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) range: Range<usize>,
    pub(crate) executable: bool,
}

/// The sections of an ELF file that have contents; none if the bytes are something else.
pub(crate) fn sections(bytes: &[u8]) -> Vec<Section> {
    read_sections(bytes).unwrap_or_default()
}

fn read_sections(bytes: &[u8]) -> Option<Vec<Section>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let table = header.sections(endian, bytes).ok()?;
    let mut out = Vec::new();
    for section in table.iter().filter(|section| section.sh_type(endian) != SHT_NOBITS) {
        let (start, size) = (section.sh_offset(endian), section.sh_size(endian));
        let range = usize::try_from(start).ok()?..usize::try_from(start.checked_add(size)?).ok()?;
        if range.is_empty() || range.end > bytes.len() {
            continue;
        }
        let name = table.section_name(endian, section).unwrap_or_default();
        out.push(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            range,
            executable: section.sh_flags(endian).0 & SHF_EXECINSTR.0 != 0,
        });
    }
    Some(out)
}

/// Changes a few places of `bytes`: of one section if they are an ELF file, and anywhere otherwise or once in a while.
/// Now and then the end is cut off.
pub fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        bytes.push(rng.u8(..));
    }
    let mut range = 0..bytes.len();
    if rng.u8(..8) != 0
        && let Some(section) = rng.choice(sections(bytes))
    {
        range = section.range;
    }
    for _ in 0..rng.usize(1..=4) {
        change(&mut bytes[range.clone()], rng);
    }
    if rng.u8(..32) == 0 {
        bytes.truncate(rng.usize(..=bytes.len()));
    }
}

/// Numbers at which code that counts, adds or indexes goes wrong.
const EDGES: [u32; 12] = [
    0,
    1,
    2,
    7,
    0x7f,
    0xff,
    0xffff,
    0x0100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

fn change(part: &mut [u8], rng: &mut Rng) {
    let at = rng.usize(..part.len());
    // Most formats here are made of aligned words.
    let word = at & !3;
    let word = (part.len() >= 4).then(|| word.min(part.len() - 4));
    match (rng.u8(..6), word) {
        (0, _) | (_, None) => part[at] ^= 1 << rng.u8(..8),
        (1, _) => part[at] = rng.u8(..),
        (2, Some(word)) => part[word..word + 4].copy_from_slice(&rng.choice(EDGES).unwrap_or(0).to_le_bytes()),
        (3, Some(word)) => {
            let bytes: [u8; 4] = part[word..word + 4].try_into().expect("four bytes");
            let delta = rng.i32(-16..=16);
            let value = u32::from_le_bytes(bytes).wrapping_add_signed(delta);
            part[word..word + 4].copy_from_slice(&value.to_le_bytes());
        }
        (4, Some(word)) => {
            // A number that stands elsewhere is often a valid id or offset.
            let from = rng.usize(..=part.len() - 4) & !3;
            part.copy_within(from..from + 4, word);
        }
        _ => {
            let len = rng.usize(1..=part.len().min(64));
            let from = rng.usize(..=part.len() - len);
            let to = rng.usize(..=part.len() - len);
            part.copy_within(from..from + len, to);
        }
    }
}
