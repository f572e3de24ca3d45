//! The public API as it was last reviewed: `public-api.txt` beside this, made of the sources. If this fails, look at what has
//! changed; with `UPDATE_PUBLIC_API=1` it writes the file anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::{Fields, ImplItem, Item, TraitItem, UseTree, Visibility};

/// What the crate says, module by module.
#[derive(Default)]
struct Crate {
    /// The items of each module, by its path.
    modules: BTreeMap<String, Vec<Item>>,
    /// Lines of the listing.
    lines: BTreeSet<String>,
    /// The types that can be named from outside.
    types: BTreeSet<String>,
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether an item is there in ordinary builds, and meant to be seen.
fn is_seen(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().all(|attr| {
        let text = attr.to_token_stream().to_string();
        let is_cfg = text.contains("cfg (");
        !(text.contains("doc (hidden)") || text.contains("cfg (hitless_model)") || is_cfg && text.contains("test"))
    })
}

/// Tokens as they are usually written.
fn text(tokens: impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    let mut out = String::new();
    let close = |c: char| ",.;:?>)]".contains(c);
    for word in text.split(' ') {
        let glued = out.is_empty()
            || out.ends_with(['<', '(', '[', '&', '!', '.'])
            || out.ends_with("::")
            || word.starts_with("::")
            || word.starts_with(close)
            || matches!(word.chars().next(), Some('<' | '(')) && !out.ends_with([',', '>', '=', '+']);
        if !glued {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

impl Crate {
    /// Reads a module and those in it.
    fn read(&mut self, path: &str, file: &Path, directory: &Path) {
        let source = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&source).expect("the crate compiles");
        self.add(path, parsed.items, directory);
    }

    fn add(&mut self, path: &str, items: Vec<Item>, directory: &Path) {
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if !is_seen(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let inner = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}::{name}")
            };
            let directory = directory.join(&name);
            if let Some((_, items)) = &module.content {
                self.add(&inner, items.clone(), &directory);
                continue;
            }
            let files = [directory.with_extension("rs"), directory.join("mod.rs")];
            match files.iter().find(|file| file.exists()) {
                Some(file) => self.read(&inner, file, &directory),
                // Which file it is, depends on the processor.
                None => assert!(!is_public(&module.vis), "module {inner} has a file"),
            }
        }
        self.modules.insert(path.to_owned(), items);
    }

    /// Lists what a module that is public under this name has.
    fn list(&mut self, path: &str) {
        for item in self.modules[path].clone() {
            match &item {
                Item::Use(item) if is_public(&item.vis) && is_seen(&item.attrs) => self.list_use(path, &item.tree, ""),
                Item::Mod(item) if is_public(&item.vis) && is_seen(&item.attrs) => {
                    let name = item.ident.to_string();
                    let inner = if path.is_empty() {
                        name
                    } else {
                        format!("{path}::{name}")
                    };
                    self.line(path, format!("mod {}", item.ident));
                    self.list(&inner);
                }
                other => self.list_item(path, other),
            }
        }
    }

    /// `prefix` is what was before the tree.
    fn list_use(&mut self, path: &str, tree: &UseTree, prefix: &str) {
        match tree {
            UseTree::Path(tree) => {
                let word = tree.ident.to_string();
                let prefix = match (word.as_str(), prefix) {
                    ("crate", _) => String::new(),
                    ("self", _) => path.to_owned(),
                    ("super", _) => path.rsplit_once("::").map_or("", |(outer, _)| outer).to_owned(),
                    (word, "") => {
                        let inner = if path.is_empty() {
                            word.to_owned()
                        } else {
                            format!("{path}::{word}")
                        };
                        if self.modules.contains_key(&inner) {
                            inner
                        } else {
                            word.to_owned()
                        }
                    }
                    (word, prefix) => format!("{prefix}::{word}"),
                };
                self.list_use(path, &tree.tree, &prefix);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.list_use(path, tree, prefix)),
            UseTree::Name(tree) => self.list_name(path, prefix, &tree.ident.to_string()),
            other => self.line(path, format!("use {prefix}::{}", text(other))),
        }
    }

    fn list_name(&mut self, path: &str, module: &str, name: &str) {
        let Some(items) = self.modules.get(module).cloned() else {
            self.line(path, format!("use {module}::{name}"));
            return;
        };
        for item in &items {
            match item {
                Item::Use(item) => {
                    // A module that passes it on.
                    let mut named = Vec::new();
                    names(&item.tree, String::new(), &mut named);
                    for (from, found) in named.into_iter().filter(|(_, found)| found == name) {
                        let inner = if module.is_empty() {
                            from.clone()
                        } else {
                            format!("{module}::{from}")
                        };
                        let from = if self.modules.contains_key(&inner) { inner } else { from };
                        if from != module {
                            self.list_name(path, &from, &found);
                        }
                    }
                }
                item if ident(item).is_some_and(|found| found == name) => self.list_item(path, item),
                // What a macro makes says the macro.
                Item::Macro(item) if text(&item.mac.tokens).contains(&format!("{name}:")) => {
                    self.line(path, format!("{}! {name}", text(&item.mac.path)));
                    self.types.insert(name.to_owned());
                }
                _ => {}
            }
        }
    }

    fn line(&mut self, path: &str, line: String) {
        let path = if path.is_empty() {
            "hitless".to_owned()
        } else {
            format!("hitless::{path}")
        };
        self.lines.insert(format!("{path}: {line}"));
    }

    fn list_item(&mut self, path: &str, item: &Item) {
        match item {
            Item::Struct(item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                self.line(path, format!("struct {name}{}", text(&item.generics)));
                let fields = item.fields.iter().filter(|field| is_public(&field.vis));
                for (index, field) in fields.enumerate() {
                    let field_name = field.ident.as_ref().map_or(index.to_string(), ToString::to_string);
                    self.line(path, format!("struct {name} {{ {field_name}: {} }}", text(&field.ty)));
                }
                self.types.insert(name);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                self.line(path, format!("enum {name}{}", text(&item.generics)));
                for variant in &item.variants {
                    let fields = match &variant.fields {
                        Fields::Unit => String::new(),
                        fields => {
                            let field = |field: &syn::Field| {
                                let name = field.ident.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
                                format!("{name}{}", text(&field.ty))
                            };
                            format!(" {{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
                        }
                    };
                    self.line(path, format!("enum {name} {}{fields}", variant.ident));
                }
                self.types.insert(name);
            }
            Item::Trait(item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                self.line(
                    path,
                    format!("trait {name}{}: {}", text(&item.generics), text(&item.supertraits)),
                );
                for inner in &item.items {
                    let (kind, signature) = match inner {
                        TraitItem::Fn(item) => ("", text(&item.sig)),
                        TraitItem::Const(item) => ("const ", format!("{}: {}", item.ident, text(&item.ty))),
                        TraitItem::Type(item) => ("type ", item.ident.to_string()),
                        _ => continue,
                    };
                    self.line(path, format!("trait {name} {{ {kind}{signature} }}"));
                }
                self.types.insert(name);
            }
            Item::Fn(item) if is_public(&item.vis) => self.line(path, text(&item.sig)),
            Item::Const(item) if is_public(&item.vis) => {
                self.line(path, format!("const {}: {}", item.ident, text(&item.ty)));
            }
            Item::Type(item) if is_public(&item.vis) => {
                self.line(path, format!("type {} = {}", item.ident, text(&item.ty)));
                self.types.insert(item.ident.to_string());
            }
            _ => {}
        }
    }

    /// Lists what types that are listed can do.
    fn list_impls(&mut self) {
        for item in self.modules.values().flatten().cloned().collect::<Vec<_>>() {
            let Item::Impl(item) = item else { continue };
            let syn::Type::Path(of) = &*item.self_ty else { continue };
            let Some(name) = of.path.segments.last().map(|segment| segment.ident.to_string()) else {
                continue;
            };
            if !self.types.contains(&name) || !is_seen(&item.attrs) {
                continue;
            }
            let generics = text(&item.generics);
            let of = text(&item.self_ty);
            if let Some((found, _)) = &item.trait_ {
                self.lines.insert(format!("impl{generics} {} for {of}", text(found)));
                continue;
            }
            for inner in &item.items {
                match inner {
                    ImplItem::Fn(inner) if is_public(&inner.vis) && is_seen(&inner.attrs) => {
                        self.lines
                            .insert(format!("impl{generics} {of} {{ {} }}", text(&inner.sig)));
                    }
                    ImplItem::Const(inner) if is_public(&inner.vis) => {
                        let constant = format!("const {}: {}", inner.ident, text(&inner.ty));
                        self.lines.insert(format!("impl{generics} {of} {{ {constant} }}"));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The names that a tree brings in, each with what is before it.
fn names(tree: &UseTree, prefix: String, found: &mut Vec<(String, String)>) {
    match tree {
        UseTree::Path(tree) => {
            let prefix = match (tree.ident.to_string().as_str(), prefix.as_str()) {
                ("crate" | "self", _) => String::new(),
                (word, "") => word.to_owned(),
                (word, prefix) => format!("{prefix}::{word}"),
            };
            names(&tree.tree, prefix, found);
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, prefix.clone(), found)),
        UseTree::Name(tree) => found.push((prefix, tree.ident.to_string())),
        _ => {}
    }
}

fn ident(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Struct(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Const(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    }
}

#[test]
fn the_public_api_is_as_reviewed() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut known = Crate::default();
    known.read("", &root.join("src/lib.rs"), &root.join("src"));
    known.list("");
    known.list_impls();
    let listing: String = known.lines.iter().map(|line| format!("{line}\n")).collect();
    let file = root.join("public-api.txt");
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        std::fs::write(&file, &listing).expect("the file can be written");
        return;
    }
    let reviewed = std::fs::read_to_string(&file).expect("public-api.txt is there");
    let (now, before): (BTreeSet<&str>, BTreeSet<&str>) = (listing.lines().collect(), reviewed.lines().collect());
    let gone = before.difference(&now).map(|line| format!("- {line}"));
    let new = now.difference(&before).map(|line| format!("+ {line}"));
    let changes: Vec<_> = gone.chain(new).collect();
    assert!(
        changes.is_empty(),
        "the public API has changed; if that is meant, UPDATE_PUBLIC_API=1 cargo test -p hitless --test public_api\n{}",
        changes.join("\n")
    );
}
