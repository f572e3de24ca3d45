//! `BtfType`: a struct with its members, each described by its own type.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Result};

use crate::input::Input;

pub(crate) fn derive(input: &Input) -> Result<TokenStream> {
    if let Some(verdict) = &input.verdict {
        return Err(Error::new_spanned(verdict, "only contexts have a verdict: derive Ctx"));
    }
    if let Some(field) = input.fields.iter().find(|field| field.writable) {
        return Err(Error::new_spanned(
            &field.ident,
            "only members of contexts are writable: derive Ctx, and put it on the whole of this there",
        ));
    }
    Ok(describe(input))
}

/// The implementation.
pub(crate) fn describe(input: &Input) -> TokenStream {
    let Input {
        ident,
        generics,
        name,
        fields,
        ..
    } = input;
    let (params, args, clause) = generics.split_for_impl();
    let names = fields.iter().map(|field| &field.name);
    let types = fields.iter().map(|field| &field.ty);
    let idents = fields.iter().map(|field| &field.ident);
    quote! {
        // SAFETY: the members are the fields of the struct, where the compiler puts them, each described by its own type.
        unsafe impl #params ::hitless::BtfType for #ident #args #clause {
            fn describe(types: &mut ::hitless::btf::Builder) -> ::hitless::btf::TypeId {
                let members = [#((
                    #names,
                    <#types as ::hitless::BtfType>::describe(types),
                    ::core::mem::offset_of!(Self, #idents) as u32,
                )),*];
                types.structure(#name, ::core::mem::size_of::<Self>() as u32, &members)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_alone_are_written() {
        let refusal = |text| {
            let input = Input::parse(&syn::parse_str(text).unwrap()).unwrap();
            derive(&input).unwrap_err().to_string()
        };
        assert!(refusal("#[repr(C)] #[hitless(verdict = i32)] struct S { a: u8 }").contains("derive Ctx"));
        assert!(refusal("#[repr(C)] struct S { #[hitless(writable)] a: u8 }").contains("derive Ctx"));
    }
}
