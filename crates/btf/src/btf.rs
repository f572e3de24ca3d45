//! [`Btf`]: types that have been checked, and the questions asked of them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use crate::check::{Facts, check, check_encoding};
use crate::error::{BtfError, DatasecError};
use crate::name::{Name, Strings};
use crate::parse;
use crate::types::*;
use crate::write::Encoder;

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
    base: Option<Arc<Btf>>,
    /// Id of the first of `types`: how many types the base has.
    first: u32,
    types: Vec<Type>,
    facts: Vec<Facts>,
    /// Declaration tags by what they are on, sorted.
    tags: Vec<(TypeId, Option<u32>, TypeId)>,
    /// The first of `types` with each name, by kind; made when first asked for.
    names: OnceLock<Vec<HashMap<Name, TypeId>>>,
    /// The string section that this was parsed from, or that it would be written with.
    strings: OnceLock<Arc<Strings>>,
}

impl PartialEq for Btf {
    fn eq(&self, other: &Btf) -> bool {
        self.types == other.types && self.base == other.base
    }
}

impl Eq for Btf {}

impl Btf {
    /// Parses the bytes of a `.BTF` section or of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`BtfError`]: one variant for each way in which bytes can fail to be BTF, or types can fail to make sense.
    pub fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
        let (types, strings) = parse::parse(bytes, 0, None)?;
        let btf = Btf::checked(types, None)?;
        Ok(Btf {
            strings: Arc::new(strings).into(),
            ..btf
        })
    }

    /// Parses split BTF, such as that of a kernel module: types and strings that go on where those of `base` end. `base`
    /// has to be the very BTF, parsed from the very bytes, that it was split from (or, if `base` was not parsed, what
    /// [`Btf::to_bytes`] makes of it).
    ///
    /// # Errors
    /// As for [`Btf::parse`].
    pub fn parse_split(bytes: &[u8], base: Arc<Btf>) -> Result<Btf, BtfError> {
        let (types, strings) = parse::parse(bytes, base.len() as u32, Some(Arc::clone(base.strings())))?;
        let btf = Btf::checked(types, Some(base))?;
        Ok(Btf {
            strings: Arc::new(strings).into(),
            ..btf
        })
    }

    /// Checks types that were made otherwise. The first must be [`Type::Void`], as ids are indices.
    ///
    /// # Errors
    /// As for [`Btf::parse`], but for errors of the encoding; [`BtfError::TooManyItems`], [`BtfError::BadEnumerator`],
    /// [`BtfError::LongName`] and others if the types could not be written.
    pub fn new(types: Vec<Type>) -> Result<Btf, BtfError> {
        if types.first() != Some(&Type::Void) {
            return Err(BtfError::BadTypeId {
                id: TypeId::VOID,
                target: TypeId::VOID,
                count: 0,
            });
        }
        check_encoding(&types, 0)?;
        Btf::checked(types, None)
    }

    /// Checks types that were made otherwise and follow those of `base`: the first has the id `base.len()`.
    ///
    /// # Errors
    /// As for [`Btf::new`].
    pub fn new_split(types: Vec<Type>, base: Arc<Btf>) -> Result<Btf, BtfError> {
        check_encoding(&types, base.len() as u32)?;
        Btf::checked(types, Some(base))
    }

    fn checked(types: Vec<Type>, base: Option<Arc<Btf>>) -> Result<Btf, BtfError> {
        let facts = check(&types, base.as_deref())?;
        let first = base.as_ref().map_or(0, |base| base.len() as u32);
        let tag = |(id, ty): (TypeId, &Type)| match ty {
            Type::DeclTag(tag) => Some((tag.ty, tag.component, id)),
            _ => None,
        };
        let mut tags: Vec<_> = (first..).map(TypeId).zip(&types).filter_map(tag).collect();
        tags.sort_unstable();
        Ok(Btf {
            base,
            first,
            types,
            facts,
            tags,
            names: OnceLock::new(),
            strings: OnceLock::new(),
        })
    }

    /// The bytes of a `.BTF` section with these types, its strings in the order in which types name them, each once. Of
    /// split BTF, only what comes on top of its base; names that the base has are not repeated.
    ///
    /// Parsing the bytes gives the same types, and writing those gives the same bytes. To write a `.BTF.ext` with them, see
    /// [`Encoder`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Encoder::new(self).finish()
    }

    /// What this is split from.
    #[must_use]
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// How many types there are, `void` and those of the base included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always `void`")]
    pub fn len(&self) -> usize {
        self.first as usize + self.types.len()
    }

    /// All types by id, `void` first, those of the base included.
    pub fn types(&self) -> impl ExactSizeIterator<Item = (TypeId, &Type)> {
        (0..self.len() as u32).map(|id| (TypeId(id), self.get(TypeId(id)).unwrap_or(&Type::Void)))
    }

    /// The types that the base does not have; all of them if there is no base.
    pub fn own_types(&self) -> impl ExactSizeIterator<Item = (TypeId, &Type)> {
        let id = |index: usize| TypeId(self.first + index as u32);
        self.types.iter().enumerate().map(move |(index, ty)| (id(index), ty))
    }

    /// The type with this id, as it stands.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        let owner = self.owner(id)?;
        owner.types.get((id.0 - owner.first) as usize)
    }

    /// This BTF, or the one below it, that would hold a type of this id.
    fn owner(&self, id: TypeId) -> Option<&Btf> {
        self.chain().find(|btf| btf.first <= id.0)
    }

    /// This BTF, its base, the base of that.
    fn chain(&self) -> impl Iterator<Item = &Btf> {
        std::iter::successors(Some(self), |btf| btf.base.as_deref())
    }

    pub(crate) fn facts(&self, id: TypeId) -> Option<&Facts> {
        let owner = self.owner(id)?;
        owner.facts.get((id.0 - owner.first) as usize)
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

    /// Size in bytes; `None` for `void`, functions, forward declarations, tags, unknown ids, and arrays of 4 GiB or more.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u32> {
        self.facts(id)?.size
    }

    /// The first type of this kind with this name. The first call makes an index, so that the others are quick.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        let found = |btf: &Btf| btf.names().get(kind as usize)?.get(name).copied();
        self.chain().filter_map(found).min()
    }

    fn names(&self) -> &[HashMap<Name, TypeId>] {
        self.names.get_or_init(|| {
            let mut names = vec![HashMap::new(); Kind::Enum64 as usize + 1];
            for (id, ty) in self.own_types() {
                if let Some(name) = ty.name_in_table() {
                    names[ty.kind() as usize].entry(name.clone()).or_insert(id);
                }
            }
            names
        })
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
        let id = self.find(Kind::Datasec, name)?;
        match self.get(id)? {
            Type::Datasec(sec) => Some((id, sec)),
            _ => None,
        }
    }

    /// Texts of the declaration tags on exactly this type (`component` `None`) or on one of its members or parameters.
    pub fn decl_tags(&self, id: TypeId, component: Option<u32>) -> impl Iterator<Item = &str> {
        let on = move |btf: &'_ Btf| {
            let from = btf.tags.partition_point(|&(ty, at, _)| (ty, at) < (id, component));
            let to = btf.tags.partition_point(|&(ty, at, _)| (ty, at) <= (id, component));
            from..to
        };
        self.chain()
            .flat_map(move |btf| &btf.tags[on(btf)])
            .filter_map(|&(_, _, tag)| self.get(tag))
            .map(Type::name)
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
                Some(Type::Restrict(to) | Type::TypeTag(TypeTag { ty: to, .. })) => {
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

    /// Completes a data section with what only the object file's symbols say: its size, and the offset and the linkage of
    /// each variable that `place_of` knows (by the variable's name and linkage so far). Variables are then sorted by offset.
    ///
    /// # Errors
    /// [`DatasecError::NotDatasec`] if `id` is something else, or of the base, [`DatasecError::OutOfBounds`] if a variable would not lie
    /// inside the section; nothing is changed then.
    pub fn fix_datasec(
        &mut self,
        id: TypeId,
        size: u32,
        mut place_of: impl FnMut(&Var) -> Option<(u32, Linkage)>,
    ) -> Result<(), DatasecError> {
        let index = id.0.wrapping_sub(self.first) as usize;
        let Some(Type::Datasec(sec)) = self.types.get(index) else {
            return Err(DatasecError::NotDatasec { id });
        };
        let mut vars = sec.vars.clone();
        let mut linkages = Vec::new();
        for entry in &mut vars {
            let Some(Type::Var(var)) = self.get(entry.ty) else {
                continue;
            };
            if let Some((offset, linkage)) = place_of(var) {
                entry.offset = offset;
                linkages.push((entry.ty, linkage));
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
        if let Some(Type::Datasec(sec)) = self.types.get_mut(index) {
            sec.vars = vars;
            sec.size = size;
            self.facts[index].size = Some(size);
        }
        for (id, linkage) in linkages {
            // Variables of the base stay as they are.
            let index = id.0.wrapping_sub(self.first) as usize;
            if let Some(Type::Var(var)) = self.types.get_mut(index) {
                var.linkage = linkage;
            }
        }
        Ok(())
    }

    pub(crate) fn strings(&self) -> &Arc<Strings> {
        self.strings.get_or_init(|| {
            let base = self.base.as_ref().map(|base| Arc::clone(base.strings()));
            Arc::new(Strings::new(&Encoder::new(self).into_strings(), base))
        })
    }
}
