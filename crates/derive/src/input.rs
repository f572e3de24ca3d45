//! What the derives have in common: a struct that C can have, and its attributes.

use syn::{Attribute, Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, LitStr, Result, Type};

/// A `#[repr(C)]` struct with named fields.
pub(crate) struct Input {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// Its tag in C.
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// A field of it.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// Its name in C.
    pub(crate) name: String,
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
            Ok(Field {
                name: given_name(&field.attrs)?.unwrap_or(plain),
                ty: field.ty.clone(),
                ident,
            })
        };
        Ok(Input {
            ident: input.ident.clone(),
            generics: input.generics.clone(),
            name: given_name(&input.attrs)?.unwrap_or_else(|| snake_case(&input.ident.to_string())),
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

/// The name in `#[btf(name = "...")]`.
fn given_name(attrs: &[Attribute]) -> Result<Option<String>> {
    let mut name = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("btf")) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error("unknown, expected #[btf(name = \"...\")]"));
            }
            let text: LitStr = meta.value()?.parse()?;
            let value = text.value();
            let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if value.is_empty() || !value.chars().all(word) || value.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(Error::new_spanned(&text, "no identifier of C"));
            }
            name = Some(value);
            Ok(())
        })?;
    }
    Ok(name)
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
            parse("#[repr(C)] #[btf(name = \"pkt\")] struct P { r#type: u8, #[btf(name = \"n\")] x: u8 }").unwrap();
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
            ("#[repr(C)] #[btf(nam = \"x\")] struct S { a: u8 }", "unknown"),
            (
                "#[repr(C)] #[btf(name = \"x y\")] struct S { a: u8 }",
                "no identifier of C",
            ),
        ] {
            assert!(refusal(text).contains(reason), "{text}: {}", refusal(text));
        }
    }
}
