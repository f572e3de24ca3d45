//! What the derives have in common: a struct that C can have, and its attributes.

use syn::{Attribute, Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, LitStr, Result, Type};

/// A `#[repr(C)]` struct with named fields.
pub(crate) struct Input {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// Its tag in C.
    pub(crate) name: String,
    /// What the results of programs come to.
    pub(crate) verdict: Option<Type>,
    pub(crate) fields: Vec<Field>,
}

/// A field of it.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// Its name in C.
    pub(crate) name: String,
    /// Whether programs may write it.
    pub(crate) writable: bool,
}

impl Input {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Input> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new_spanned(&input.ident, "only structs have a layout in C"));
        };
        let Fields::Named(fields) = &data.fields else {
            return Err(Error::new_spanned(
                &input.ident,
                "the fields need names: programs know them by name",
            ));
        };
        if !is_repr_c(&input.attrs)? {
            return Err(Error::new_spanned(
                &input.ident,
                "the layout is not that of C; add #[repr(C)], without packed or align",
            ));
        }
        let is_lifetime = |param: &&GenericParam| matches!(param, GenericParam::Lifetime(_));
        if let Some(param) = input.generics.params.iter().find(|param| !is_lifetime(param)) {
            return Err(Error::new_spanned(param, "C has no generic types"));
        }
        let field = |field: &syn::Field| {
            let ident = field.ident.clone().expect("named fields have names");
            let plain = ident.to_string();
            let plain = plain.strip_prefix("r#").unwrap_or(&plain).to_owned();
            let options = Options::parse(&field.attrs)?;
            if let Some(verdict) = options.verdict {
                return Err(Error::new_spanned(verdict, "the verdict is that of the struct"));
            }
            Ok(Field {
                name: options.name.unwrap_or(plain),
                writable: options.writable,
                ty: field.ty.clone(),
                ident,
            })
        };
        let options = Options::parse(&input.attrs)?;
        if options.writable {
            return Err(Error::new_spanned(
                &input.ident,
                "fields are writable: put #[hitless(writable)] on them",
            ));
        }
        Ok(Input {
            ident: input.ident.clone(),
            generics: input.generics.clone(),
            name: options.name.unwrap_or_else(|| snake_case(&input.ident.to_string())),
            verdict: options.verdict,
            fields: fields.named.iter().map(field).collect::<Result<_>>()?,
        })
    }
}

/// Whether the representation is C's and nothing else.
fn is_repr_c(attrs: &[Attribute]) -> Result<bool> {
    let mut found = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        attr.parse_nested_meta(|meta| {
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<proc_macro2::TokenStream>()?;
            }
            found.push(meta.path.get_ident().map(Ident::to_string));
            Ok(())
        })?;
    }
    Ok(found == [Some("C".to_owned())])
}

/// What `#[hitless(...)]` says.
#[derive(Default)]
struct Options {
    name: Option<String>,
    writable: bool,
    verdict: Option<Type>,
}

impl Options {
    fn parse(attrs: &[Attribute]) -> Result<Options> {
        let mut options = Options::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("hitless")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    options.name = Some(identifier(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("writable") {
                    options.writable = true;
                } else if meta.path.is_ident("verdict") {
                    options.verdict = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error("unknown, expected name = \"...\", writable or verdict = Type"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

fn identifier(text: &LitStr) -> Result<String> {
    let value = text.value();
    let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if value.is_empty() || !value.chars().all(word) || value.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::new_spanned(text, "no identifier of C"));
    }
    Ok(value)
}

/// `FlowStats` as C would write it: `flow_stats`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.strip_prefix("r#").unwrap_or(name).chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_lower = i > 0 && chars[i - 1] != '_' && !chars[i - 1].is_uppercase();
        let last_of_many = i > 0 && chars[i - 1].is_uppercase() && chars.get(i + 1).is_some_and(|c| c.is_lowercase());
        if c.is_uppercase() && (after_lower || last_of_many) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Input> {
        Input::parse(&syn::parse_str(text).unwrap())
    }

    fn refusal(text: &str) -> String {
        parse(text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn names_are_those_of_c() {
        for (rust, c) in [
            ("Request", "request"),
            ("FlowStats", "flow_stats"),
            ("HTTPRequest", "http_request"),
            ("Ipv4Key", "ipv4_key"),
            ("A", "a"),
            ("already_c", "already_c"),
        ] {
            assert_eq!(snake_case(rust), c);
        }
        let input =
            parse("#[repr(C)] #[hitless(name = \"pkt\")] struct P { r#type: u8, #[hitless(name = \"n\")] x: u8 }")
                .unwrap();
        let names: Vec<_> = input.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!((input.name.as_str(), names), ("pkt", vec!["type", "n"]));
    }

    #[test]
    fn what_c_does_not_have_is_refused() {
        for (text, reason) in [
            ("enum E { A }", "only structs"),
            ("struct S(u8);", "the fields need names"),
            ("struct S { a: u8 }", "add #[repr(C)]"),
            ("#[repr(C, packed)] struct S { a: u8 }", "add #[repr(C)]"),
            ("#[repr(C, align(16))] struct S { a: u8 }", "add #[repr(C)]"),
            ("#[repr(C)] struct S<T> { a: T }", "no generic types"),
            ("#[repr(C)] struct S<const N: usize> { a: [u8; N] }", "no generic types"),
            (
                "#[repr(C)] #[hitless(nam = \"x\")] struct S { a: u8 }",
                "unknown, expected",
            ),
            (
                "#[repr(C)] #[hitless(name = \"x y\")] struct S { a: u8 }",
                "no identifier of C",
            ),
        ] {
            assert!(refusal(text).contains(reason), "{text}: {}", refusal(text));
        }
    }
}
