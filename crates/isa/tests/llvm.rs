//! LLVM's assembler as a second opinion on encodings, where its syntax is the kernel's.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::single_field_variations;
use hitless_isa::{Instruction, Size, decode, disasm};

/// The instruction in LLVM's words, if they differ from the kernel's by no more than how a jump's target is written. LLVM
/// 19 knows no load-acquire, names 32-bit registers in 32-bit atomic operations, and takes long jumps to labels only.
fn llvm_text(instruction: &Instruction) -> Option<String> {
    let same = match *instruction {
        Instruction::Atomic { size, op, .. } => size == Size::Dw && !op.fetches(),
        Instruction::Goto { off, .. } => i16::try_from(off).is_ok(),
        Instruction::LoadPacket { index, .. } => index.is_none(),
        Instruction::LoadAcquire { .. }
        | Instruction::StoreRelease { .. }
        | Instruction::LoadImm64 { .. }
        | Instruction::Call(_) => false,
        _ => true,
    };
    if !same {
        return None;
    }
    let text = disasm::text(instruction, &disasm::no_names).to_string();
    Some(text.replace("goto pc", "goto ").replace("gotol pc", "gotol "))
}

#[test]
fn llvm_encodes_the_texts_to_the_same_slots() {
    let mut source = String::new();
    let mut expected = Vec::new();
    for insn in single_field_variations() {
        let Ok(instruction) = decode(&[insn], 0) else { continue };
        if let Some(text) = llvm_text(&instruction) {
            source += &text;
            source.push('\n');
            expected.push((text, insn.to_bytes()));
        }
    }
    let child = Command::new("llvm-mc-19")
        .args(["-triple=bpfel", "-mcpu=v4", "-show-encoding"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: llvm-mc-19: {error}");
            return;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(source.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let listing = String::from_utf8(output.stdout).unwrap();
    let encodings: Vec<Vec<u8>> = listing
        .lines()
        .filter_map(|line| line.split_once("encoding: ["))
        .map(|(_, bytes)| {
            let bytes = bytes.trim_end_matches(']').split(',');
            bytes.map(|byte| u8::from_str_radix(&byte[2..], 16).unwrap()).collect()
        })
        .collect();
    assert_eq!(encodings.len(), expected.len());
    assert!(expected.len() > 3_000, "{}", expected.len());
    for ((text, ours), llvms) in expected.iter().zip(&encodings) {
        assert_eq!(llvms[..], ours[..], "{text}");
    }
}
