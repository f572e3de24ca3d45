//! What a caller says of a program's instructions: functions, source lines, relocations, in records of a size that it says.
//!
//! They are the records of `.BTF.ext`, and read as such. A caller whose records have more fields than there are here has to leave
//! them zero.

use std::sync::Arc;

use hitless_btf::{Btf, BtfExt, Linkage, Type};
use hitless_object::{CoreRelocation, Line, Subprogram};
use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;
use crate::btf::LoadedBtf;

const BTF_FD: Field<u32> = Field::at(72);
const FUNC: Records = Records {
    size: Field::at(76),
    address: Field::at(80),
    count: Field::at(88),
    known: 8,
};
const LINE: Records = Records {
    size: Field::at(92),
    address: Field::at(96),
    count: Field::at(104),
    known: 16,
};
const CORE: Records = Records {
    size: Field::at(136),
    address: Field::at(128),
    count: Field::at(116),
    known: 16,
};

/// The most bytes of a record.
const MAX_RECORD: u32 = 252;

/// Where records are, how many, how large.
struct Records {
    size: Field<u32>,
    address: Field<u64>,
    count: Field<u32>,
    /// Bytes of the fields that there are here.
    known: u32,
}

/// What a caller says of a program's instructions.
#[derive(Debug, Default)]
pub(crate) struct Debug {
    pub(crate) btf: Option<Arc<LoadedBtf>>,
    pub(super) subprograms: Vec<Subprogram>,
    pub(super) lines: Vec<Line>,
    pub(super) core_relos: Vec<CoreRelocation>,
    /// The records as they were given, without what is not known here.
    pub(crate) func_info: Vec<u8>,
    pub(crate) line_info: Vec<u8>,
}

/// Reads what the caller says of a program with this name.
pub(super) fn read(call: &Call<'_>, name: &str, insns: usize) -> Result<Debug, Errno> {
    let attr = call.attr;
    let main = Subprogram {
        name: name.to_owned(),
        start: 0,
        func: None,
        global: true,
    };
    let counts = [&FUNC, &LINE, &CORE].map(|records| attr.get(records.count));
    if counts == [0; 3] {
        return Ok(Debug {
            subprograms: vec![main],
            ..Debug::default()
        });
    }
    let loaded = call.btf(attr.get(BTF_FD))?;
    let func_info = FUNC.read(call, insns)?;
    let line_info = LINE.read(call, insns)?;
    let core_relos = CORE.read(call, insns)?;
    let ext = ext(&[(&func_info, 8), (&line_info, 16), (&core_relos, 16)]);
    let ext = BtfExt::parse(&ext, &loaded.btf).map_err(|_| Errno::INVAL)?;
    let mut subprograms = subprograms(&ext, &loaded.btf, insns)?;
    if subprograms.is_empty() {
        subprograms.push(main);
    }
    let core_relos = ext.core_relos.into_iter().flat_map(|section| section.records);
    let core_relos = core_relos.map(|relo| {
        let pc = relo.insn_off as usize / 8;
        let is_there = relo.insn_off.is_multiple_of(8) && pc < insns;
        is_there.then_some(CoreRelocation { pc, relo }).ok_or(Errno::INVAL)
    });
    Ok(Debug {
        lines: lines(&ext.lines, insns)?,
        core_relos: core_relos.collect::<Result<_, _>>()?,
        btf: Some(loaded),
        subprograms,
        func_info,
        line_info,
    })
}

fn subprograms(ext: &BtfExt, btf: &Btf, insns: usize) -> Result<Vec<Subprogram>, Errno> {
    let mut found: Vec<Subprogram> = Vec::new();
    for func in ext.funcs.iter().flat_map(|section| &section.records) {
        let start = func.insn_off as usize;
        let Some(Type::Func(function)) = btf.get(func.func) else {
            return Err(Errno::INVAL);
        };
        let is_next = found.last().map_or(start == 0, |last| start > last.start);
        if !is_next || start >= insns {
            return Err(Errno::INVAL);
        }
        found.push(Subprogram {
            name: function.name.to_string(),
            start,
            func: Some(func.func),
            global: found.is_empty() || function.linkage == Linkage::Global,
        });
    }
    Ok(found)
}

fn lines(records: &[hitless_btf::SectionRecords<hitless_btf::LineInfo>], insns: usize) -> Result<Vec<Line>, Errno> {
    let mut found: Vec<Line> = Vec::new();
    for line in records.iter().flat_map(|section| &section.records) {
        let pc = line.insn_off as usize;
        if found.last().is_some_and(|last| pc <= last.pc) || pc >= insns {
            return Err(Errno::INVAL);
        }
        found.push(Line {
            pc,
            file: line.file.clone(),
            line: line.line,
            column: line.column,
            text: line.text.clone(),
        });
    }
    Ok(found)
}

impl Records {
    /// The known part of each record, one behind the other: at most one for each of so many instructions.
    fn read(&self, call: &Call<'_>, insns: usize) -> Result<Vec<u8>, Errno> {
        let count = call.attr.get(self.count);
        if count == 0 {
            return Ok(Vec::new());
        }
        let size = call.attr.get(self.size);
        if count as usize > insns || size < self.known || size > MAX_RECORD || !size.is_multiple_of(4) {
            return Err(Errno::INVAL);
        }
        let mut found = Vec::new();
        let mut record = vec![0; size as usize];
        let at = call.attr.get(self.address);
        for number in 0..u64::from(count) {
            let at = at.checked_add(number * u64::from(size)).ok_or(Errno::FAULT)?;
            call.caller.read(at, &mut record)?;
            let (known, tail) = record.split_at(self.known as usize);
            if tail.iter().any(|byte| *byte != 0) {
                // What is known here is said where the caller has said what it knows.
                call.caller
                    .write(call.attr.address_of(self.size), &self.known.to_ne_bytes())?;
                return Err(Errno::TOOBIG);
            }
            found.extend_from_slice(known);
        }
        Ok(found)
    }
}

/// A `.BTF.ext` of one section without a name, with records of these sizes.
fn ext(parts: &[(&[u8], u32); 3]) -> Vec<u8> {
    const HEADER: u32 = 32;
    let mut body = Vec::new();
    let mut places = Vec::new();
    for (records, size) in parts {
        let start = body.len() as u32;
        if !records.is_empty() {
            let count = records.len() as u32 / size;
            for word in [*size, 0, count] {
                body.extend_from_slice(&word.to_le_bytes());
            }
            body.extend_from_slice(records);
        }
        places.extend([start, body.len() as u32 - start]);
    }
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend_from_slice(&HEADER.to_le_bytes());
    bytes.extend(places.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(body);
    bytes
}
