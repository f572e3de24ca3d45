//! What is in an object, as plain data. Names of fields are bpftool's where it has them.

use anyhow::{Context, Result};
use hitless_btf::{Btf, Type, TypeId};
use hitless_object::{
    Element, Extern, ExternKind, MapSpec, ObjectSpec, Pinning, ProgramKind, ProgramSpec, SectionKind, map_type_name,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::flags::map_flag_names;
use crate::elf::BtfSections;

/// An object.
#[derive(Serialize)]
pub(super) struct Description {
    pub(super) object: String,
    pub(super) bytes: usize,
    pub(super) license: String,
    pub(super) btf: Option<BtfDescription>,
    pub(super) programs: Vec<Program>,
    pub(super) maps: Vec<Map>,
    pub(super) externs: Vec<ExternDescription>,
}

/// Sizes of the type information.
#[derive(Serialize)]
pub(super) struct BtfDescription {
    pub(super) types: usize,
    pub(super) bytes_btf: usize,
    pub(super) bytes_btf_ext: usize,
}

/// A program.
#[derive(Serialize)]
pub(super) struct Program {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) section: String,
    /// Where it runs; `None` if only its author knows.
    pub(super) hook: Option<String>,
    /// Why nobody knows where it runs.
    pub(super) unknown: Option<String>,
    pub(super) attach_type: Option<&'static str>,
    pub(super) target: Option<String>,
    pub(super) sleepable: bool,
    pub(super) frags: bool,
    pub(super) autoload: bool,
    pub(super) insns: usize,
    pub(super) subprograms: Vec<Subprogram>,
    pub(super) core_relos: usize,
    pub(super) externs: Vec<String>,
    pub(super) maps: Vec<String>,
}

/// A function in a program's instructions.
#[derive(Serialize)]
pub(super) struct Subprogram {
    pub(super) name: String,
    pub(super) start: usize,
    pub(super) global: bool,
}

/// A map.
#[derive(Serialize)]
pub(super) struct Map {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) flags: u32,
    pub(super) flag_names: Vec<String>,
    pub(super) bytes_key: u32,
    pub(super) bytes_value: u32,
    pub(super) max_entries: u32,
    pub(super) map_extra: u64,
    pub(super) numa_node: Option<u32>,
    pub(super) pinning: &'static str,
    pub(super) frozen: bool,
    pub(super) key_type: Option<String>,
    pub(super) value_type: Option<String>,
    pub(super) inner: Option<Box<Map>>,
    pub(super) values: Vec<Initial>,
    pub(super) variables: Option<Vec<Variable>>,
    pub(super) struct_ops: Option<StructOps>,
}

/// An element that is there from the start.
#[derive(Serialize)]
pub(super) struct Initial {
    pub(super) index: u32,
    #[serde(flatten)]
    pub(super) element: InitialElement,
}

/// What such an element is.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum InitialElement {
    Map(String),
    Program(String),
}

/// A variable of global data.
#[derive(Serialize)]
pub(super) struct Variable {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) ty: String,
    pub(super) offset: u32,
    pub(super) size: u32,
    /// What it is from the start; `None` for a section that holds zeros only.
    pub(super) value: Option<Box<RawValue>>,
}

/// A struct of functions.
#[derive(Serialize)]
pub(super) struct StructOps {
    #[serde(rename = "type")]
    pub(super) ty: String,
    pub(super) link: bool,
    pub(super) functions: Vec<StructOpsMember>,
}

/// A member that a program implements.
#[derive(Serialize)]
pub(super) struct StructOpsMember {
    pub(super) member: String,
    pub(super) program: String,
}

/// Something that must come from where the object is loaded.
#[derive(Serialize)]
pub(super) struct ExternDescription {
    pub(super) kind: &'static str,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
    pub(super) weak: bool,
    /// Where in the map `.kconfig` it stands.
    pub(super) offset: Option<u32>,
    pub(super) size: Option<u32>,
}

impl Description {
    pub(super) fn new(
        object: String,
        bytes: usize,
        sections: &BtfSections<'_>,
        spec: &ObjectSpec,
    ) -> Result<Description> {
        Ok(Description {
            object,
            bytes,
            license: spec.license.clone(),
            btf: spec.btf.as_ref().map(|btf| BtfDescription {
                types: btf.len() - 1,
                bytes_btf: sections.btf.len(),
                bytes_btf_ext: sections.ext.len(),
            }),
            programs: (0..)
                .zip(&spec.programs)
                .map(|(index, prog)| program(spec, index, prog))
                .collect(),
            maps: spec
                .maps
                .iter()
                .map(|spec_map| map(spec, spec_map))
                .collect::<Result<_>>()?,
            externs: spec.externs.iter().map(|ext| extern_(spec.btf.as_ref(), ext)).collect(),
        })
    }
}

fn program(spec: &ObjectSpec, index: usize, program: &ProgramSpec) -> Program {
    let kind = program.kind();
    let known = match kind {
        SectionKind::Program(kind) => Some(kind),
        _ => None,
    };
    let own_subprograms = program.subprograms.iter().filter(|subprogram| subprogram.start != 0);
    let mut externs: Vec<_> = program
        .extern_refs
        .iter()
        .filter_map(|reference| spec.externs.get(reference.index))
        .map(|ext| ext.name.clone())
        .collect();
    externs.sort();
    externs.dedup();
    Program {
        kind: kind.type_name(),
        name: program.name.clone(),
        section: program.section.clone(),
        hook: hook(spec, index, kind),
        unknown: match kind {
            SectionKind::Unknown { reason } => Some(reason.to_owned()),
            _ => None,
        },
        attach_type: known.and_then(|kind| kind.attach_type).map(|ty| ty.name()),
        target: known.and_then(|kind| kind.target).map(str::to_owned),
        sleepable: known.is_some_and(|kind| kind.sleepable),
        frags: known.is_some_and(|kind| kind.frags),
        autoload: program.autoload,
        insns: program.insns.len(),
        subprograms: own_subprograms
            .map(|subprogram| Subprogram {
                name: subprogram.name.clone(),
                start: subprogram.start,
                global: subprogram.global,
            })
            .collect(),
        core_relos: program.core_relos.len(),
        externs,
        maps: used_maps(spec, program),
    }
}

/// Where a program runs, in the words of section names.
fn hook(spec: &ObjectSpec, index: usize, kind: SectionKind<'_>) -> Option<String> {
    match kind {
        SectionKind::Program(ProgramKind { section, .. }) if section.starts_with("struct_ops") => {
            let members = spec.maps.iter().filter_map(|map| {
                let ops = map.struct_ops.as_ref()?;
                let function = ops.functions.iter().find(|function| function.program == index)?;
                let member = member_name(spec.btf.as_ref(), ops.ty, function.offset);
                Some(format!("{}.{member}", map.name))
            });
            let members: Vec<_> = members.collect();
            (!members.is_empty()).then(|| members.join(", "))
        }
        SectionKind::Program(ProgramKind { section, target, .. }) => Some(match target {
            Some(target) => format!("{section}/{target}"),
            None => section.to_owned(),
        }),
        SectionKind::MapTrace { map, event } => Some(format!("map_trace/{map}/{event}")),
        SectionKind::Migrate { map } => Some(format!("migrate/{map}")),
        SectionKind::Hook { name } => Some(format!("hook/{name}")),
        _ => None,
    }
}

/// Names of the maps that a program's instructions refer to, in the object's order.
fn used_maps(spec: &ObjectSpec, program: &ProgramSpec) -> Vec<String> {
    use hitless_isa::{Imm64, Instruction, decode};
    let mut used = vec![false; spec.maps.len()];
    for pc in 0..program.insns.len() {
        if let Ok(Instruction::LoadImm64 {
            imm: Imm64::MapIdx(index) | Imm64::MapValueIdx { index, .. },
            ..
        }) = decode(&program.insns, pc)
            && let Some(used) = used.get_mut(index as usize)
        {
            *used = true;
        }
    }
    let maps = spec.maps.iter().zip(used).filter(|(_, used)| *used);
    maps.map(|(map, _)| map.name.clone()).collect()
}

fn map(spec: &ObjectSpec, map: &MapSpec) -> Result<Map> {
    let btf = spec.btf.as_ref();
    let type_name = |id: Option<TypeId>| btf.zip(id).map(|(btf, id)| btf.type_name(id));
    let data = map.data.as_deref();
    Ok(Map {
        kind: map_type_name(map.map_type).map_or_else(|| format!("type {}", map.map_type), str::to_owned),
        name: map.name.clone(),
        flags: map.flags,
        flag_names: map_flag_names(map.flags),
        bytes_key: map.key_size,
        bytes_value: map.value_size,
        max_entries: map.max_entries,
        map_extra: map.map_extra,
        numa_node: map.numa_node,
        pinning: match map.pinning {
            Pinning::None => "none",
            Pinning::ByName => "by_name",
            Pinning::InObject => "in_object",
        },
        frozen: map.frozen,
        key_type: type_name(map.key_type),
        value_type: type_name(map.value_type).filter(|_| data.is_none()),
        inner: match &map.inner {
            Some(inner) => Some(Box::new(self::map(spec, inner)?)),
            None => None,
        },
        values: map
            .values
            .iter()
            .map(|value| Initial {
                index: value.index,
                element: match value.element {
                    Element::Map(index) => InitialElement::Map(spec.maps[index].name.clone()),
                    Element::Program(index) => InitialElement::Program(spec.programs[index].name.clone()),
                },
            })
            .collect(),
        variables: match (data, btf.zip(map.value_type)) {
            (Some(data), Some((btf, id))) => {
                Some(variables(btf, id, data).with_context(|| format!("map {}", map.name))?)
            }
            _ => None,
        },
        struct_ops: map.struct_ops.as_ref().map(|ops| StructOps {
            ty: ops.type_name.clone(),
            link: ops.link,
            functions: ops
                .functions
                .iter()
                .map(|function| StructOpsMember {
                    member: member_name(btf, ops.ty, function.offset),
                    program: spec.programs[function.program].name.clone(),
                })
                .collect(),
        }),
    })
}

/// The variables of a data section; `data` is the start of its content, zeros follow.
fn variables(btf: &Btf, section: TypeId, data: &[u8]) -> Result<Vec<Variable>> {
    let Some(Type::Datasec(section)) = btf.get(section) else {
        return Ok(Vec::new());
    };
    let mut variables = Vec::with_capacity(section.vars.len());
    for entry in &section.vars {
        let Some(Type::Var(var)) = btf.get(entry.ty) else {
            continue;
        };
        let value = if data.is_empty() {
            None
        } else {
            let size = btf.size_of(var.ty).unwrap_or(entry.size) as usize;
            let mut bytes: Vec<u8> = data.iter().skip(entry.offset as usize).take(size).copied().collect();
            bytes.resize(size, 0);
            let value = btf
                .value(var.ty, &bytes)
                .with_context(|| format!("variable {}", var.name))?;
            Some(RawValue::from_string(value.to_string())?)
        };
        variables.push(Variable {
            name: var.name.to_string(),
            ty: btf.type_name(var.ty),
            offset: entry.offset,
            size: entry.size,
            value,
        });
    }
    Ok(variables)
}

/// The member of a struct at a byte offset.
fn member_name(btf: Option<&Btf>, ty: TypeId, offset: u32) -> String {
    let members = btf.map_or(&[][..], |btf| btf.members(ty));
    let member = members
        .iter()
        .find(|member| u64::from(member.bit_offset) == u64::from(offset) * 8);
    member.map_or_else(|| format!("+{offset}"), |member| member.name.to_string())
}

fn extern_(btf: Option<&Btf>, ext: &Extern) -> ExternDescription {
    let (kind, place) = match ext.kind {
        ExternKind::Kconfig { offset, size } => ("kconfig", Some((offset, size))),
        ExternKind::Variable { .. } => ("ksym", None),
        ExternKind::Function => ("kfunc", None),
    };
    ExternDescription {
        kind,
        name: ext.name.clone(),
        ty: btf.zip(ext.ty).map(|(btf, ty)| btf.type_name(ty)),
        weak: ext.weak,
        offset: place.map(|(offset, _)| offset),
        size: place.map(|(_, size)| size),
    }
}
