//! Structs of functions that programs implement: the variables in `.struct_ops` and `.struct_ops.link`, each of which
//! becomes a map. Programs are told apart from other functions only once they have been read, so the pointers to them
//! are resolved afterwards, as are the values of maps.

use std::collections::{BTreeMap, HashMap};

use hitless_btf::{Btf, Composite, Member, Type, TypeId, Var};

use crate::code::Programs;
use crate::elf::Elf;
use crate::error::ObjectError;
use crate::kind::SectionKind;
use crate::map_type;
use crate::maps::check_count;
use crate::pointer::{Names, Pointer, SIZE, pointers};
use crate::program_type::ProgramType;
use crate::spec::{MapSpec, ProgramSpec, StructOpsFunction, StructOpsSpec};

/// A section of such variables.
struct Section {
    name: &'static str,
    /// Whether they are attached by links.
    link: bool,
    /// Whether they are made only on request.
    optional: bool,
}

const fn section(name: &'static str, link: bool, optional: bool) -> Section {
    Section { name, link, optional }
}

const SECTIONS: [Section; 4] = [
    section(".struct_ops", false, false),
    section(".struct_ops.link", true, false),
    section("?.struct_ops", false, true),
    section("?.struct_ops.link", true, true),
];
const BPF_F_LINK: u32 = 1 << 13;

/// A variable that implements a struct.
pub(crate) struct DeclaredStructOps {
    /// Offset in its section.
    offset: u32,
    spec: MapSpec,
    ops: StructOpsSpec,
    pointers: Vec<Pointer>,
}

impl DeclaredStructOps {
    /// End of the variable in its section.
    fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.spec.value_size)
    }
}

/// Reads all of them, in the order of sections and offsets.
pub(crate) fn declared(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Vec<DeclaredStructOps>, ObjectError> {
    let mut all = Vec::new();
    for section in SECTIONS {
        let Some((index, header)) = elf.section(section.name).filter(|(_, header)| header.size > 0) else {
            continue;
        };
        let bad = |reason: String| ObjectError::Section {
            section: section.name.into(),
            reason,
        };
        let Some(btf) = btf else {
            return Err(ObjectError::MissingSection {
                section: ".BTF",
                because: format!("section {} (build with -g)", section.name),
            });
        };
        let Some((_, datasec)) = btf.datasec(section.name) else {
            let reason = format!("{} bytes, but .BTF does not describe them", header.size);
            return Err(bad(reason));
        };
        check_count("struct_ops variables", all.len() + datasec.vars.len())?;
        let mut found: Vec<DeclaredStructOps> = Vec::with_capacity(datasec.vars.len());
        for entry in &datasec.vars {
            let Some(Type::Var(var)) = btf.get(entry.ty) else {
                return Err(bad(format!("{} is no variable", btf.type_name(entry.ty))));
            };
            let after = found.last().map_or(0, DeclaredStructOps::end);
            let declared = variable(btf, var, entry.offset, &section, header.data, after);
            found.push(declared.map_err(|reason| ObjectError::Map {
                map: var.name.to_string(),
                reason,
            })?);
        }
        let names = Names::new(elf);
        for pointer in pointers(elf, index).map_err(bad)? {
            let at = found.partition_point(|ops| u64::from(ops.offset) <= pointer.at);
            let ops = at.checked_sub(1).map(|at| &mut found[at]);
            match ops.filter(|ops| pointer.at + SIZE <= ops.end()) {
                Some(ops) => ops.pointers.push(pointer),
                None => {
                    let (to, at) = (names.of(&pointer), pointer.at);
                    return Err(bad(format!("pointer to {to:?} at offset {at}, where no variable is")));
                }
            }
        }
        all.extend(found);
    }
    Ok(all)
}

/// Reads a variable of a section with this content, at or after offset `after`.
fn variable(
    btf: &Btf,
    var: &Var,
    offset: u32,
    section: &Section,
    content: &[u8],
    after: u64,
) -> Result<DeclaredStructOps, String> {
    let (ty, def) = structure(btf, var.ty)?;
    let start = offset as usize;
    let data = start
        .checked_add(def.size as usize)
        .and_then(|end| content.get(start..end))
        .filter(|_| u64::from(offset) >= after)
        .ok_or_else(|| {
            let (size, free) = (def.size, format!("bytes {after} to {} are free", content.len()));
            format!(
                "{size} bytes at offset {offset} of section {}, of which {free}",
                section.name
            )
        })?;
    Ok(DeclaredStructOps {
        offset,
        spec: MapSpec {
            name: var.name.to_string(),
            map_type: map_type::STRUCT_OPS,
            key_size: 4,
            value_size: def.size,
            max_entries: 1,
            flags: if section.link { BPF_F_LINK } else { 0 },
            ..MapSpec::default()
        },
        ops: StructOpsSpec {
            type_name: def.name.to_string(),
            ty,
            data: data.to_vec(),
            functions: Vec::new(),
            link: section.link,
            optional: section.optional,
        },
        pointers: Vec::new(),
    })
}

fn structure(btf: &Btf, ty: TypeId) -> Result<(TypeId, &Composite), String> {
    match btf.resolve(ty) {
        Some((id, Type::Struct(def))) if !def.name.is_empty() => Ok((id, def)),
        _ => Err(format!("type {}, expected a struct with a name", btf.type_name(ty))),
    }
}

/// Completes them with the programs that implement their members.
pub(crate) fn resolve<'b>(
    elf: &Elf<'_>,
    btf: Option<&'b Btf>,
    declared: Vec<DeclaredStructOps>,
    programs: &Programs,
) -> Result<Vec<MapSpec>, ObjectError> {
    let Some(btf) = btf.filter(|_| !declared.is_empty()) else {
        return Ok(Vec::new());
    };
    let names = Names::new(elf);
    let mut members: HashMap<TypeId, HashMap<u64, &'b Member>> = HashMap::new();
    let resolve = |mut declared: DeclaredStructOps| {
        let ty = declared.ops.ty;
        if !declared.pointers.is_empty() {
            let by_offset = |member: &'b Member| (u64::from(member.bit_offset), member);
            members
                .entry(ty)
                .or_insert_with(|| btf.members(ty).iter().map(by_offset).collect());
        }
        for pointer in &declared.pointers {
            let at = pointer.at - u64::from(declared.offset);
            let member = members[&ty].get(&(at * 8)).copied();
            let member = member.map_or_else(
                || Err(format!("{} has no member there", btf.type_name(ty))),
                |m| offset(btf, m),
            );
            let program = || program(pointer, programs);
            let (program, offset) =
                member
                    .and_then(|offset| Ok((program()?, offset)))
                    .map_err(|reason| ObjectError::StructOps {
                        name: declared.spec.name.clone(),
                        at,
                        target: names.of(pointer).into(),
                        reason,
                    })?;
            declared.ops.data[at as usize..][..SIZE as usize].fill(0);
            declared.ops.functions.push(StructOpsFunction { offset, program });
        }
        declared.spec.struct_ops = Some(declared.ops);
        Ok(declared.spec)
    };
    declared.into_iter().map(resolve).collect()
}

/// Makes programs be loaded with their object if, of what they implement, anything is made with it.
pub(crate) fn autoload(maps: &[MapSpec], programs: &mut [ProgramSpec]) {
    let mut wanted: BTreeMap<usize, bool> = BTreeMap::new();
    for spec in maps.iter().filter_map(|map| map.struct_ops.as_ref()) {
        for function in &spec.functions {
            *wanted.entry(function.program).or_default() |= !spec.optional;
        }
    }
    for (program, wanted) in wanted {
        programs[program].autoload = wanted;
    }
}

/// The offset of a member, if it is a pointer to a function.
fn offset(btf: &Btf, member: &Member) -> Result<u32, String> {
    let is_function = match btf.resolve(member.ty) {
        Some((_, Type::Ptr(to))) => matches!(btf.resolve(*to), Some((_, Type::FuncProto(_)))),
        _ => false,
    };
    if !is_function {
        let (name, found) = (member.name.as_str(), btf.type_name(member.ty));
        return Err(format!(
            "member {name:?} is of type {found}, only pointers to functions can be initialised with an address"
        ));
    }
    Ok(member.bit_offset / 8)
}

/// Index of the program that a pointer points to.
fn program(pointer: &Pointer, programs: &Programs) -> Result<usize, String> {
    let program = pointer.section.and_then(|section| programs.at(section, pointer.offset));
    let index = program.ok_or("is no program, expected one in a section struct_ops/...")?;
    let program = &programs.specs[index];
    match program.kind() {
        SectionKind::Program(kind) if kind.program_type == ProgramType::StructOps => Ok(index),
        _ => Err(format!(
            "is a program in section {}, expected one in a section struct_ops/...",
            program.section
        )),
    }
}
