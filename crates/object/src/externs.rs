//! What the object refers to and does not have: undefined symbols, and what BTF says about them.
//!
//! `__kconfig` puts a variable into the BTF section `.kconfig`, `__ksym` puts variables and functions into `.ksyms`; there
//! are no ELF sections of these names. The values of `.kconfig` become a map, laid out as libbpf does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use hitless_btf::{Btf, Func, Int, IntEncoding, Linkage, Type, TypeId, Var};

use crate::elf::{Elf, Place, Symbol};
use crate::error::ObjectError;
use crate::spec::{Extern, ExternKind, MapSpec};

const KCONFIG: &str = ".kconfig";
const KSYMS: &str = ".ksyms";

/// Most bytes of all configuration values: a few lines of C can ask for any number, and all are written when the object
/// is relocated.
pub(crate) const MAX_OPTIONS_SIZE: u32 = 1 << 20;

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_RDONLY_PROG: u32 = 1 << 7;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The externs of an object.
#[derive(Default)]
pub(crate) struct Externs {
    /// By name.
    pub(crate) specs: Vec<Extern>,
    /// The map with the values of `.kconfig`, if there are any.
    pub(crate) kconfig: Option<MapSpec>,
    /// Index of the extern that a symbol stands for.
    by_symbol: HashMap<usize, usize>,
}

impl Externs {
    /// The extern that an undefined symbol stands for, by index.
    pub(crate) fn of(&self, symbol: usize) -> Option<usize> {
        self.by_symbol.get(&symbol).copied()
    }
}

/// Why an undefined symbol is no extern, and what to do.
pub(crate) fn why_undefined(btf: Option<&Btf>, name: &str) -> &'static str {
    let Some(btf) = btf else {
        return "is not defined in the object, and there is no BTF that says what it is: build with -g";
    };
    let is_it = |ty: &Type| match ty {
        Type::Var(Var {
            name: found, linkage, ..
        })
        | Type::Func(Func {
            name: found, linkage, ..
        }) => *linkage == Linkage::Extern && found.as_str() == name,
        _ => false,
    };
    if btf.types().any(|(_, ty)| is_it(ty)) {
        "is not defined in the object: declare it with __ksym if it is the kernel's, with __kconfig if it is a \
         configuration value, or link the object that defines it (bpftool gen object)"
    } else {
        "is not defined in the object, and BTF does not say what it is: build all of it with -g, or link the object that \
         defines it (bpftool gen object)"
    }
}

/// Finds all externs, and completes `btf` with where those of `.kconfig` are.
pub(crate) fn externs(elf: &Elf<'_>, btf: Option<&mut Btf>) -> Result<Externs, ObjectError> {
    let undefined = |(_, symbol): &(usize, &Symbol<'_>)| {
        symbol.place == Place::Undefined && !symbol.local && !symbol.name.is_empty()
    };
    let symbols: Vec<_> = elf.symbols.iter().enumerate().filter(undefined).collect();
    let Some(btf) = btf.filter(|_| !symbols.is_empty()) else {
        return Ok(Externs::default());
    };
    let declared = declared(btf);
    let mut by_name: BTreeMap<&str, Extern> = BTreeMap::new();
    for &(_, symbol) in &symbols {
        let Some(&(section, id)) = declared.get(symbol.name) else {
            continue;
        };
        if let Some(known) = by_name.get_mut(symbol.name) {
            known.weak &= symbol.weak;
            continue;
        }
        let (ty, kind) = kind(btf, section, id).map_err(|reason| ObjectError::Extern {
            name: symbol.name.into(),
            reason,
        })?;
        let spec = Extern {
            name: symbol.name.into(),
            weak: symbol.weak,
            ty: Some(ty),
            kind,
        };
        by_name.insert(symbol.name, spec);
    }
    let index: HashMap<&str, usize> = by_name.keys().copied().zip(0..).collect();
    let by_symbol = symbols
        .iter()
        .filter_map(|(at, symbol)| Some((*at, *index.get(symbol.name)?)))
        .collect();
    let mut specs: Vec<Extern> = by_name.into_values().collect();
    Ok(Externs {
        kconfig: kconfig(btf, &mut specs)?,
        specs,
        by_symbol,
    })
}

/// What `.kconfig` and `.ksyms` declare, by name: the section, and the variable or function.
fn declared(btf: &Btf) -> HashMap<String, (&'static str, TypeId)> {
    let sections = [KCONFIG, KSYMS]
        .into_iter()
        .filter_map(|name| Some((name, btf.datasec(name)?.1)));
    let entries = sections.flat_map(|(section, datasec)| datasec.vars.iter().map(move |entry| (section, entry.ty)));
    let declared = |(section, id)| match btf.get(id)? {
        Type::Var(Var { name, linkage, .. }) | Type::Func(Func { name, linkage, .. })
            if *linkage == Linkage::Extern =>
        {
            Some((name.to_string(), (section, id)))
        }
        _ => None,
    };
    entries.filter_map(declared).collect()
}

/// The type of an extern, and what it is, but for its offset; or why it can be neither.
fn kind(btf: &Btf, section: &str, id: TypeId) -> Result<(TypeId, ExternKind), String> {
    let ty = match btf.get(id) {
        Some(Type::Var(var)) => var.ty,
        _ if section == KCONFIG => return Err("is a function, expected a variable in .kconfig".into()),
        _ => return Ok((id, ExternKind::Function)),
    };
    if section == KSYMS {
        let typed = !matches!(btf.resolve(ty), Some((_, Type::Void)));
        return Ok((ty, ExternKind::Variable { typed }));
    }
    let Some((size, _)) = layout(btf, ty) else {
        let found = btf.type_name(ty);
        return Err(format!(
            "is a {found}, expected an integer, a bool, an enum libbpf_tristate or an array of char"
        ));
    };
    Ok((ty, ExternKind::Kconfig { offset: 0, size }))
}

/// Size and alignment of a configuration value, if it can be one.
fn layout(btf: &Btf, ty: TypeId) -> Option<(u32, u32)> {
    let int = |ty| match btf.resolve(ty) {
        Some((_, Type::Int(int))) => Some(int),
        _ => None,
    };
    match btf.resolve(ty)?.1 {
        Type::Int(Int {
            size,
            encoding: IntEncoding::Bool,
            ..
        }) if *size != 1 => None,
        Type::Int(Int {
            size: size @ (1 | 2 | 4 | 8),
            ..
        }) => Some((*size, *size)),
        Type::Enum(def) | Type::Enum64(def) if def.name == "libbpf_tristate" && def.size == 4 => Some((4, 4)),
        Type::Array(array) if array.len > 0 => {
            let char = int(array.elem).filter(|int| int.size == 1 && int.encoding != IntEncoding::Bool);
            char.map(|_| (array.len, 1))
        }
        _ => None,
    }
}

/// Gives the values of `.kconfig` their offsets: the most aligned first, then the smallest, then by name.
fn kconfig(btf: &mut Btf, specs: &mut [Extern]) -> Result<Option<MapSpec>, ObjectError> {
    let mut values = Vec::new();
    for spec in specs.iter_mut() {
        let ExternKind::Kconfig { offset, .. } = &mut spec.kind else {
            continue;
        };
        if let Some((size, align)) = spec.ty.and_then(|ty| layout(btf, ty)) {
            values.push((Reverse(align), size, &*spec.name, offset));
        }
    }
    values.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    let mut end = 0u32;
    let mut offsets = HashMap::new();
    for (Reverse(align), size, name, offset) in values {
        let start = end.checked_next_multiple_of(align);
        let place =
            start.and_then(|start| Some((start, start.checked_add(size).filter(|&end| end <= MAX_OPTIONS_SIZE)?)));
        let Some((start, after)) = place else {
            return Err(ObjectError::TooLarge {
                what: format!("bytes in section {KCONFIG}"),
                found: u64::from(end) + u64::from(size),
                max: MAX_OPTIONS_SIZE.into(),
            });
        };
        (*offset, end) = (start, after);
        offsets.insert(name, start);
    }
    let Some(id) = btf.datasec(KCONFIG).map(|(id, _)| id).filter(|_| !offsets.is_empty()) else {
        return Ok(None);
    };
    let place_of = |var: &Var| Some((*offsets.get(var.name.as_str())?, var.linkage));
    btf.fix_datasec(id, end, place_of)
        .map_err(|source| ObjectError::Datasec {
            section: KCONFIG.into(),
            source,
        })?;
    Ok(Some(MapSpec {
        name: KCONFIG.into(),
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: end,
        max_entries: 1,
        flags: BPF_F_RDONLY_PROG | BPF_F_MMAPABLE,
        value_type: Some(id),
        data: Some(Vec::new()),
        frozen: true,
        ..MapSpec::default()
    }))
}
