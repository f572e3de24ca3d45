//! Programs as listings: text like that of `bpftool prog dump xlated`, or JSON with its keys.

use std::fmt::Write;
use std::path::Path;

use hitless_isa::{Insn, decode};
use hitless_object::{ObjectSpec, ProgramSpec};
use serde::Serialize;

use super::annotate::Annotator;
use crate::error::printable;

/// A program, line by line.
pub(super) struct Listing<'a> {
    program: &'a ProgramSpec,
    lines: Vec<InsnLine<'a>>,
}

/// An instruction.
struct InsnLine<'a> {
    pc: usize,
    slots: &'a [Insn],
    text: String,
    notes: Vec<String>,
    /// The function that begins here.
    function: Option<&'a str>,
    /// The source line that begins here.
    source: Option<&'a hitless_object::Line>,
}

impl<'a> Listing<'a> {
    /// The program with this index, as the object has it, or relocated.
    pub(super) fn new(object: &'a ObjectSpec, relocated: Option<&'a ObjectSpec>, index: usize) -> Listing<'a> {
        let names = Annotator::new(object, relocated, index);
        let program = names.program();
        let mut lines = Vec::with_capacity(program.insns.len());
        let (mut functions, mut sources) = (program.subprograms.iter().peekable(), program.lines.iter().peekable());
        let mut pc = 0;
        while pc < program.insns.len() {
            let decoded = decode(&program.insns, pc);
            let (text, slots) = match &decoded {
                Ok(instruction) => (names.text(pc, instruction), instruction.slots()),
                Err(error) => (format!("<{error}>"), 1),
            };
            // Both tables are sorted; what begins inside an instruction is no beginning.
            while functions.next_if(|function| function.start < pc).is_some() {}
            while sources.next_if(|line| line.pc < pc).is_some() {}
            lines.push(InsnLine {
                pc,
                slots: &program.insns[pc..pc + slots],
                text,
                notes: names.notes(pc, decoded.as_ref().ok()),
                function: functions
                    .next_if(|function| function.start == pc)
                    .map(|function| &*function.name),
                source: sources.next_if(|line| line.pc == pc),
            });
            pc += slots;
        }
        Listing { program, lines }
    }
}

pub(super) fn text(listings: &[Listing<'_>], opcodes: bool) -> String {
    let mut out = String::new();
    for (index, listing) in listings.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        // Writing to a string does not fail.
        let program = listing.program;
        let title = format!(
            "prog {}  section {}  insns {}",
            program.name,
            program.section,
            program.insns.len()
        );
        let _ = writeln!(out, "{}", printable(&title));
        // Parts of a line that follow each other are told apart by their columns only.
        let mut last = None;
        for line in &listing.lines {
            let place = line.source.map(|source| (&source.file, source.line));
            line.text(&mut out, opcodes, place != last);
            last = place.or(last);
        }
    }
    out
}

impl InsnLine<'_> {
    fn text(&self, out: &mut String, opcodes: bool, source: bool) {
        if let Some(name) = self.function {
            let _ = writeln!(out, "{}:", printable(name));
        }
        if let Some(source) = self.source.filter(|_| source) {
            let _ = writeln!(out, "; {}", printable(&source.to_string()));
        }
        let notes = if self.notes.is_empty() {
            String::new()
        } else {
            format!(" ; {}", self.notes.join(", "))
        };
        let line = format!("{}{notes}", self.text);
        let _ = writeln!(out, "{:4}: ({:02x}) {}", self.pc, self.slots[0].code, printable(&line));
        if opcodes {
            let bytes = self.slots.iter().flat_map(|slot| slot.to_bytes());
            let bytes: Vec<_> = bytes.map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(out, "       {}", bytes.join(" "));
        }
    }
}

/// Programs for JSON.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    object: String,
    programs: Vec<JsonProgram<'a>>,
}

#[derive(Serialize)]
struct JsonProgram<'a> {
    name: &'a str,
    section: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    insns: Vec<JsonInsn<'a>>,
}

#[derive(Serialize)]
struct JsonInsn<'a> {
    pc: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_num: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_col: Option<u32>,
    disasm: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    opcodes: Option<Opcodes>,
}

/// The fields of an instruction as bpftool has them: hexadecimal, and those of several bytes as bytes.
#[derive(Serialize)]
struct Opcodes {
    code: String,
    src_reg: String,
    dst_reg: String,
    off: Vec<String>,
    imm: Vec<String>,
}

pub(super) fn json<'a>(object: &Path, listings: &'a [Listing<'a>], opcodes: bool) -> Report<'a> {
    Report {
        object: object.display().to_string(),
        programs: listings
            .iter()
            .map(|listing| JsonProgram {
                name: &listing.program.name,
                section: &listing.program.section,
                kind: listing.program.kind().type_name(),
                insns: listing.lines.iter().map(|line| line.json(opcodes)).collect(),
            })
            .collect(),
    }
}

impl InsnLine<'_> {
    fn json(&self, opcodes: bool) -> JsonInsn<'_> {
        JsonInsn {
            pc: self.pc,
            function: self.function,
            src: self.source.map(|line| line.text.trim()),
            file: self.source.map(|line| &*line.file),
            line_num: self.source.map(|line| line.line),
            line_col: self.source.map(|line| line.column),
            disasm: format!("({:02x}) {}", self.slots[0].code, self.text),
            notes: &self.notes,
            opcodes: opcodes.then(|| Opcodes::new(self.slots)),
        }
    }
}

impl Opcodes {
    fn new(slots: &[Insn]) -> Opcodes {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:#04x}")).collect::<Vec<_>>();
        let insn = slots[0];
        let imms: Vec<u8> = slots.iter().flat_map(|slot| slot.imm.to_le_bytes()).collect();
        Opcodes {
            code: format!("{:#04x}", insn.code),
            src_reg: format!("{:#x}", insn.src),
            dst_reg: format!("{:#x}", insn.dst),
            off: hex(&insn.off.to_le_bytes()),
            imm: hex(&imms),
        }
    }
}
