//! Declarations: how C spells a type around a name.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::c::DumpError;
use super::fit::{Fits, padding};
use super::names::{Given, builtin, by_size, identifier};
use crate::btf::Btf;
use crate::types::*;

/// Gaps of more bits than this become an array, which has a name.
const MOST_PADDING: u64 = 16 * 64;

/// Writes declarations. Recursion follows types that are written inside one another, which [`order`](super::order) bounds.
pub(super) struct Writer<'a> {
    btf: &'a Btf,
    fits: Fits<'a>,
    tags: Given,
    idents: Given,
    /// The names that types have got.
    names: HashMap<TypeId, String>,
    /// The tags ("struct foo") that have been declared.
    declared: HashSet<String>,
    /// Those that have not, but that the current declaration uses.
    missing: Vec<String>,
    /// How many arrays of padding there are.
    pads: u32,
    left: usize,
    max: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(btf: &'a Btf, budget: usize) -> Writer<'a> {
        Writer {
            btf,
            fits: Fits::new(btf),
            tags: Given::default(),
            idents: Given::default(),
            names: HashMap::new(),
            declared: HashSet::new(),
            missing: Vec::new(),
            pads: 0,
            left: budget,
            max: budget,
        }
    }

    /// Declares a type, and before it the structs and unions that it uses by their name and that come later.
    pub(super) fn write(&mut self, id: TypeId, out: &mut String) -> Result<(), DumpError> {
        let text = self.definition(id)?;
        for tag in std::mem::take(&mut self.missing) {
            self.push(out, &format!("{tag};\n\n"))?;
        }
        if !text.is_empty() {
            self.push(out, &format!("{text};\n\n"))?;
        }
        Ok(())
    }

    fn definition(&mut self, id: TypeId) -> Result<String, DumpError> {
        let btf = self.btf;
        Ok(match btf.get(id) {
            Some(ty @ (Type::Struct(t) | Type::Union(t))) => {
                let tag = self.tag(id);
                // Inside its own definition it is declared.
                self.declared.insert(tag.clone());
                format!("{tag} {}", self.members(id, t, matches!(ty, Type::Union(_)), 0)?)
            }
            Some(Type::Enum(t) | Type::Enum64(t)) if !t.variants.is_empty() => {
                let tag = self.tag(id);
                let values = self.values(t, 0)?;
                let text = format!("{tag} {values}");
                self.declared.insert(tag);
                text
            }
            Some(Type::Enum(_) | Type::Enum64(_) | Type::Fwd(_)) => {
                self.refer(id);
                String::new()
            }
            Some(Type::Typedef(t)) => {
                let name = self.ident(id, &t.name);
                format!("typedef {}", self.declare(t.ty, name, 0)?)
            }
            Some(Type::Int(t)) => format!("typedef {} {}", by_size(t), self.ident(id, &t.name)),
            Some(Type::Float(t)) => {
                let name = self.ident(id, &t.name);
                format!("typedef struct {{\n\tunsigned char bytes[{}];\n}} {name}", t.size)
            }
            _ => String::new(),
        })
    }

    /// A tag, which has to be declared by now.
    fn refer(&mut self, id: TypeId) -> String {
        let tag = self.tag(id);
        if self.declared.insert(tag.clone()) {
            self.missing.push(tag.clone());
        }
        tag
    }

    fn push(&mut self, out: &mut String, text: &str) -> Result<(), DumpError> {
        self.spend(text.len())?;
        out.push_str(text);
        Ok(())
    }

    /// Takes from the budget, for text or for what has been looked at in vain.
    fn spend(&mut self, bytes: usize) -> Result<(), DumpError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(DumpError::TooLarge { max: self.max })?;
        Ok(())
    }

    /// "struct foo"; only "struct" if it has no name.
    fn tag(&mut self, id: TypeId) -> String {
        let (keyword, name, defined) = match self.btf.get(id) {
            Some(Type::Struct(t)) => ("struct", &t.name, true),
            Some(Type::Union(t)) => ("union", &t.name, true),
            Some(Type::Fwd(t)) => (if t.union { "union" } else { "struct" }, &t.name, false),
            Some(Type::Enum(t) | Type::Enum64(t)) => ("enum", &t.name, !t.variants.is_empty()),
            _ => return String::new(),
        };
        if name.is_empty() && defined {
            return keyword.into();
        }
        let name = self.names.entry(id).or_insert_with(|| {
            if defined {
                self.tags.define(name, keyword)
            } else {
                self.tags.forward(name, keyword)
            }
        });
        format!("{keyword} {name}")
    }

    /// The name of a typedef.
    fn ident(&mut self, id: TypeId, name: &str) -> String {
        let given = self.names.entry(id).or_insert_with(|| self.idents.define(name, ""));
        given.clone()
    }

    /// A declaration of `name` with a type: C writes pointers in front of it, arrays and functions behind it, and what is
    /// left at the very start.
    fn declare(&mut self, id: TypeId, name: String, indent: usize) -> Result<String, DumpError> {
        let btf = self.btf;
        let (mut id, mut text) = (id, name);
        let mut qualifiers: Vec<String> = Vec::new();
        let qualify = |qualifiers: &mut Vec<String>, word: String| {
            // Those of an array and of its elements come together.
            if !qualifiers.contains(&word) {
                qualifiers.push(word);
            }
        };
        let base = loop {
            match btf.get(id) {
                Some(Type::Const(to)) => {
                    qualify(&mut qualifiers, "const".into());
                    id = *to;
                }
                Some(Type::Volatile(to)) => {
                    qualify(&mut qualifiers, "volatile".into());
                    id = *to;
                }
                Some(Type::Restrict(to)) => {
                    if matches!(btf.get(*to), Some(Type::Ptr(_))) {
                        qualify(&mut qualifiers, "restrict".into());
                    }
                    id = *to;
                }
                Some(Type::TypeTag(t)) => {
                    qualifiers.extend(attribute(t));
                    id = t.ty;
                }
                Some(Type::Ptr(to)) => {
                    let space = if qualifiers.is_empty() || text.is_empty() {
                        ""
                    } else {
                        " "
                    };
                    let words: String = qualifiers.drain(..).map(|word| format!(" {word}")).collect();
                    text = format!("*{words}{space}{text}");
                    id = *to;
                }
                Some(Type::Array(t)) => {
                    if text.starts_with('*') {
                        text = format!("({text})");
                    }
                    write!(text, "[{}]", t.len).unwrap_or_default();
                    id = t.elem;
                }
                Some(Type::FuncProto(t)) => {
                    if text.starts_with('*') {
                        text = format!("({text})");
                    }
                    qualifiers.clear();
                    text.push_str(&self.params(t, indent)?);
                    id = t.ret;
                }
                _ => break self.base(id, indent)?,
            }
        };
        let (tags, words): (Vec<_>, Vec<_>) = qualifiers.into_iter().partition(|word| word.starts_with('_'));
        let mut out = String::new();
        for word in words {
            self.push(&mut out, &format!("{word} "))?;
        }
        self.push(&mut out, &base)?;
        for tag in tags {
            self.push(&mut out, &format!(" {tag}"))?;
        }
        if !text.is_empty() {
            self.push(&mut out, " ")?;
            self.push(&mut out, &text)?;
        }
        Ok(out)
    }

    fn params(&mut self, proto: &FuncProto, indent: usize) -> Result<String, DumpError> {
        let mut out = String::from("(");
        match proto.params.as_slice() {
            [] => out.push_str("void"),
            // What clang makes of a function declared without parameters.
            [only] if only.ty == TypeId::VOID => {}
            params => {
                for (index, param) in params.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    if param.ty == TypeId::VOID && index + 1 == params.len() {
                        out.push_str("...");
                    } else {
                        let name = identifier(&param.name).into_owned();
                        let text = self.declare(param.ty, name, indent)?;
                        self.push(&mut out, &text)?;
                    }
                }
            }
        }
        out.push(')');
        Ok(out)
    }

    /// A type that stands at the start of a declaration.
    fn base(&mut self, id: TypeId, indent: usize) -> Result<String, DumpError> {
        let btf = self.btf;
        Ok(match btf.get(id) {
            Some(ty @ (Type::Struct(t) | Type::Union(t))) if t.name.is_empty() => {
                let union = matches!(ty, Type::Union(_));
                format!("{} {}", self.tag(id), self.members(id, t, union, indent)?)
            }
            Some(Type::Enum(t) | Type::Enum64(t)) if t.name.is_empty() => {
                format!("enum {}", self.values(t, indent)?)
            }
            Some(Type::Struct(_) | Type::Union(_) | Type::Fwd(_) | Type::Enum(_) | Type::Enum64(_)) => self.refer(id),
            Some(Type::Typedef(t)) => self.ident(id, &t.name),
            Some(Type::Int(t)) => match builtin(t) {
                Some(name) => name.to_owned(),
                None => self.ident(id, &t.name),
            },
            Some(Type::Float(t)) => match t.size {
                4 => "float".to_owned(),
                8 => "double".to_owned(),
                _ => self.ident(id, &t.name),
            },
            _ => "void".to_owned(),
        })
    }

    /// The members of struct or union `id` in braces, and the attributes that give it its layout.
    fn members(&mut self, id: TypeId, t: &Composite, union: bool, indent: usize) -> Result<String, DumpError> {
        if t.members.is_empty() && t.size == 0 {
            return Ok("{}".into());
        }
        let (fit, tabs) = (self.fits.fit(id), "\t".repeat(indent + 1));
        let mut out = String::from("{\n");
        let (mut at, mut most) = (0, 0);
        let members = if fit.opaque { &[][..] } else { &t.members };
        if fit.opaque {
            self.push(&mut out, &format!("{tabs}/* members overlap, or are out of order */\n"))?;
        }
        for member in members {
            self.spend(1)?;
            let place = self.fits.place(member);
            let text = if member.name.is_empty() {
                // What is neither a struct nor a union is padding.
                let Some(text) = self.embedded(member.ty, indent + 1)? else {
                    continue;
                };
                text
            } else {
                self.declare(member.ty, identifier(&member.name).into_owned(), indent + 1)?
            };
            if !union && place.after(at, fit.packed) != place.start {
                self.pad(&mut out, &tabs, at, place.start)?;
            }
            self.push(&mut out, &tabs)?;
            self.push(&mut out, &text)?;
            if place.width != 0 {
                self.push(&mut out, &format!(": {}", place.width))?;
            }
            self.push(&mut out, ";\n")?;
            at = if union { 0 } else { place.end };
            most = most.max(place.end);
        }
        let size = u64::from(t.size) * 8;
        if most.next_multiple_of(u64::from(fit.align) * 8) < size {
            if union {
                self.bytes(&mut out, &tabs, t.size.into())?;
            } else {
                self.pad(&mut out, &tabs, at, size)?;
            }
        }
        let attributes = if fit.packed { " __attribute__((packed))" } else { "" };
        self.push(&mut out, &format!("{}}}{attributes}", &tabs[1..]))?;
        Ok(out)
    }

    /// A struct or union whose members are those of the struct around it; `None` if the type is something else.
    fn embedded(&mut self, id: TypeId, indent: usize) -> Result<Option<String>, DumpError> {
        match self.btf.resolve(id) {
            Some((id, Type::Struct(t))) => Ok(Some(format!("struct {}", self.members(id, t, false, indent)?))),
            Some((id, Type::Union(t))) => Ok(Some(format!("union {}", self.members(id, t, true, indent)?))),
            _ => Ok(None),
        }
    }

    /// Fills bits from `at` up to `end`.
    fn pad(&mut self, out: &mut String, tabs: &str, at: u64, end: u64) -> Result<(), DumpError> {
        let mut at = at;
        if end - at > MOST_PADDING {
            let start = at.next_multiple_of(8);
            for (name, width) in padding(at, start) {
                self.push(out, &format!("{tabs}{name}: {width};\n"))?;
            }
            self.bytes(out, tabs, (end - start) / 8)?;
            at = start + (end - start) / 8 * 8;
        }
        for (name, width) in padding(at, end) {
            self.push(out, &format!("{tabs}{name}: {width};\n"))?;
        }
        Ok(())
    }

    fn bytes(&mut self, out: &mut String, tabs: &str, len: u64) -> Result<(), DumpError> {
        self.pads += 1;
        let pad = self.pads;
        self.push(out, &format!("{tabs}unsigned char __btf_pad{pad}[{len}];\n"))
    }

    /// The values of an enum in braces, and the attribute that gives it its size.
    fn values(&mut self, t: &Enum, indent: usize) -> Result<String, DumpError> {
        let tabs = "\t".repeat(indent);
        let mut out = String::from("{\n");
        for v in &t.variants {
            let name = self.idents.define(&v.name, "");
            let value = match (t.signed, t.size) {
                (true, 8) if v.value == i64::MIN => "(-9223372036854775807LL - 1)".into(),
                (true, 8) => format!("{}LL", v.value),
                (true, _) => v.value.to_string(),
                (false, 8) => format!("{}ULL", v.value.cast_unsigned()),
                (false, _) => v.value.cast_unsigned().to_string(),
            };
            self.push(&mut out, &format!("{tabs}\t{name} = {value},\n"))?;
        }
        let negative = t.signed && t.variants.iter().any(|v| v.value < 0);
        let most = if negative { i64::from(i32::MAX) } else { u32::MAX.into() };
        let least = if t.signed { i32::MIN.into() } else { 0 };
        let natural = if t.variants.iter().all(|v| (least..=most).contains(&v.value)) {
            4
        } else {
            8
        };
        let mode = match t.size {
            size if size == natural => "",
            1 => " __attribute__((mode(byte)))",
            2 => " __attribute__((mode(HI)))",
            4 => " __attribute__((mode(SI)))",
            _ => " __attribute__((mode(DI)))",
        };
        self.push(&mut out, &format!("{tabs}}}{mode}"))?;
        Ok(out)
    }
}

/// A type tag as an attribute; `None` if its text is none that can be written.
fn attribute(tag: &TypeTag) -> Option<String> {
    if tag.attribute {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_(), ".contains(c);
        return tag
            .tag
            .chars()
            .all(plain)
            .then(|| format!("__attribute__(({}))", &*tag.tag));
    }
    let text: String = tag.tag.chars().flat_map(|c| c.escape_default()).collect();
    text.is_ascii()
        .then(|| format!("__attribute__((btf_type_tag(\"{text}\")))"))
}
