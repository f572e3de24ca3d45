//! [`Btf`]: types that have been checked, and the questions asked of them.

use std::collections::HashMap;
use std::fmt::Write;

use crate::check::check;
use crate::error::{BtfError, DatasecError};
use crate::name::Strings;
use crate::parse;
use crate::types::*;

/// How many fields [`Btf::embedded`] looks at before it stops looking.
const EMBEDDED_BUDGET: usize = 1 << 16;

/// The types of one object file, program or kernel.
///
/// # Examples
/// ```
/// use hitless_btf::{Btf, Int, IntEncoding, Type, TypeId, Typedef};
///
/// let int = Int { name: "unsigned int".into(), size: 4, encoding: IntEncoding::Unsigned, bit_offset: 0, bits: 32 };
/// let u32_ = Typedef { name: "u32".into(), ty: TypeId(1) };
/// let btf = Btf::new(vec![Type::Void, Type::Int(int), Type::Typedef(u32_)])?;
/// assert_eq!(btf.size_of(TypeId(2)), Some(4));
/// assert_eq!(btf.resolve(TypeId(2)).map(|(id, _)| id), Some(TypeId(1)));
/// assert_eq!(btf.type_name(TypeId(2)), "u32");
/// # Ok::<(), hitless_btf::BtfError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<Type>,
    sizes: Vec<Option<u32>>,
    tags: HashMap<(TypeId, Option<u32>), Vec<TypeId>>,
    strings: Option<Strings>,
}

impl PartialEq for Btf {
    fn eq(&self, other: &Btf) -> bool {
        self.types == other.types
    }
}

impl Eq for Btf {}

impl Btf {
    /// Parses the bytes of a `.BTF` section or of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`BtfError`]: one variant for each way in which bytes can fail to be BTF, or types can fail to make sense.
    pub fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
        let (types, strings) = parse::parse(bytes)?;
        let mut btf = Btf::new(types)?;
        btf.strings = Some(strings);
        Ok(btf)
    }

    /// Checks types that were made otherwise. The first must be [`Type::Void`], as ids are indices.
    ///
    /// # Errors
    /// As for [`Btf::parse`], but for errors of the encoding.
    pub fn new(types: Vec<Type>) -> Result<Btf, BtfError> {
        if types.first() != Some(&Type::Void) {
            return Err(BtfError::BadTypeId {
                id: TypeId::VOID,
                target: TypeId::VOID,
                count: 0,
            });
        }
        let sizes = check(&types)?;
        let mut tags = HashMap::<_, Vec<_>>::new();
        for (id, ty) in (0..).map(TypeId).zip(&types) {
            if let Type::DeclTag(tag) = ty {
                tags.entry((tag.ty, tag.component)).or_default().push(id);
            }
        }
        Ok(Btf {
            types,
            sizes,
            tags,
            strings: None,
        })
    }

    /// How many types there are, `void` included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always `void`")]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// All types by id, `void` first.
    pub fn types(&self) -> impl ExactSizeIterator<Item = (TypeId, &Type)> {
        self.types
            .iter()
            .enumerate()
            .map(|(index, ty)| (TypeId(index as u32), ty))
    }

    /// The type with this id, as it stands.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id.index())
    }

    /// The type behind typedefs, modifiers and type tags. `None` only if `id` is not of this BTF.
    #[must_use]
    pub fn resolve(&self, id: TypeId) -> Option<(TypeId, &Type)> {
        let mut id = id;
        loop {
            let ty = self.get(id)?;
            match ty.alias_of() {
                Some(target) => id = target,
                None => return Some((id, ty)),
            }
        }
    }

    /// Size in bytes; `None` for `void`, functions, forward declarations, tags and unknown ids.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u32> {
        self.sizes.get(id.index()).copied().flatten()
    }

    /// The first type of this kind with this name.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        self.types()
            .find(|(_, ty)| ty.kind() == kind && ty.name() == name)
            .map(|(id, _)| id)
    }

    /// The members of a struct or union, through typedefs and modifiers; none for other types.
    #[must_use]
    pub fn members(&self, id: TypeId) -> &[Member] {
        match self.resolve(id) {
            Some((_, Type::Struct(t) | Type::Union(t))) => &t.members,
            _ => &[],
        }
    }

    /// The data section with this name (".bss").
    #[must_use]
    pub fn datasec(&self, name: &str) -> Option<(TypeId, &Datasec)> {
        self.types().find_map(|(id, ty)| match ty {
            Type::Datasec(sec) if sec.name == name => Some((id, sec)),
            _ => None,
        })
    }

    /// Texts of the declaration tags on exactly this type (`component` `None`) or on one of its members or parameters.
    pub fn decl_tags(&self, id: TypeId, component: Option<u32>) -> impl Iterator<Item = &str> {
        let tags = self.tags.get(&(id, component)).map_or(&[][..], Vec::as_slice);
        tags.iter().filter_map(|&tag| self.get(tag)).map(Type::name)
    }

    /// The type as C would write it in a declaration without a name ("struct flow_stats", `u32[4]`, "const char *").
    /// Very long names are cut short.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> String {
        const MAX: usize = 128;
        let mut suffix = String::new();
        let mut words = Vec::new();
        let mut id = id;
        loop {
            match self.get(id) {
                None => words.push("?".to_string()),
                Some(Type::Void) => words.push("void".into()),
                Some(Type::Ptr(to)) => {
                    suffix.insert(0, '*');
                    id = *to;
                    continue;
                }
                Some(Type::Array(array)) => {
                    // Inner dimensions are written last.
                    write!(suffix, "[{}]", array.len).unwrap_or_default();
                    id = array.elem;
                    continue;
                }
                Some(Type::Const(to)) => {
                    words.push("const".into());
                    id = *to;
                    continue;
                }
                Some(Type::Volatile(to)) => {
                    words.push("volatile".into());
                    id = *to;
                    continue;
                }
                Some(Type::Restrict(to) | Type::TypeTag(Typedef { ty: to, .. })) => {
                    id = *to;
                    continue;
                }
                Some(ty) => {
                    let keyword = match ty {
                        Type::Struct(_) | Type::Fwd(Fwd { union: false, .. }) => "struct ",
                        Type::Union(_) | Type::Fwd(Fwd { union: true, .. }) => "union ",
                        Type::Enum(_) | Type::Enum64(_) => "enum ",
                        Type::FuncProto(_) => "function",
                        _ => "",
                    };
                    let name = ty.name();
                    let anonymous = name.is_empty() && !matches!(ty, Type::FuncProto(_));
                    words.push(format!("{keyword}{}", if anonymous { "(anonymous)" } else { name }));
                }
            }
            break;
        }
        let mut name = words.join(" ");
        if suffix.starts_with('*') {
            name.push(' ');
        }
        name.push_str(&suffix);
        if name.len() > MAX {
            name.truncate(name.floor_char_boundary(MAX));
            name.push('…');
        }
        name
    }

    /// Byte offsets, inside a value of type `id`, of every struct named `name`: nested at any depth in structs, and in the
    /// variables of a data section, but not in arrays or unions.
    #[must_use]
    pub fn embedded(&self, id: TypeId, name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let mut todo = vec![(id, 0u32)];
        let mut budget = EMBEDDED_BUDGET;
        while let Some((id, base)) = todo.pop() {
            let Some(left) = budget.checked_sub(1) else { break };
            budget = left;
            match self.resolve(id) {
                Some((_, Type::Struct(t))) if t.name == *name => found.push(base),
                Some((_, Type::Struct(t))) if t.members.len() <= budget => {
                    budget -= t.members.len();
                    todo.extend(t.members.iter().map(|m| (m.ty, base.saturating_add(m.bit_offset / 8))));
                }
                Some((_, Type::Datasec(sec))) => todo.extend(sec.vars.iter().map(|v| (v.ty, v.offset))),
                Some((_, Type::Var(var))) => todo.push((var.ty, base)),
                _ => {}
            }
        }
        found.sort_unstable();
        found
    }

    /// Completes a data section with what only the object file's symbols say: its size, and the offset of each variable
    /// that `offset_of` knows (by the variable's name and linkage). Variables are then sorted by offset.
    ///
    /// # Errors
    /// [`DatasecError::NotDatasec`] if `id` is something else, [`DatasecError::OutOfBounds`] if a variable would not lie
    /// inside the section; nothing is changed then.
    pub fn fix_datasec(
        &mut self,
        id: TypeId,
        size: u32,
        mut offset_of: impl FnMut(&Var) -> Option<u32>,
    ) -> Result<(), DatasecError> {
        let Some(Type::Datasec(sec)) = self.get(id) else {
            return Err(DatasecError::NotDatasec { id });
        };
        let mut vars = sec.vars.clone();
        for entry in &mut vars {
            let Some(Type::Var(var)) = self.get(entry.ty) else {
                continue;
            };
            if let Some(offset) = offset_of(var) {
                entry.offset = offset;
            }
            let needs = self.size_of(entry.ty).unwrap_or(0).max(entry.size);
            let end = u64::from(entry.offset) + u64::from(needs);
            if end > u64::from(size) {
                return Err(DatasecError::OutOfBounds {
                    name: var.name.to_string(),
                    offset: entry.offset,
                    end,
                    size,
                });
            }
        }
        vars.sort_by_key(|var| var.offset);
        if let Some(Type::Datasec(sec)) = self.types.get_mut(id.index()) {
            sec.vars = vars;
            sec.size = size;
            self.sizes[id.index()] = Some(size);
        }
        Ok(())
    }

    pub(crate) fn strings(&self) -> Option<&Strings> {
        self.strings.as_ref()
    }
}
