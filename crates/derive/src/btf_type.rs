//! `BtfType`: a struct with its members, each described by its own type.

use proc_macro2::TokenStream;
use quote::quote;

use syn::Result;

use crate::input::Input;

pub(crate) fn derive(input: &Input) -> Result<TokenStream> {
    let Input {
        ident,
        generics,
        name,
        fields,
    } = input;
    let (params, args, clause) = generics.split_for_impl();
    let names = fields.iter().map(|field| &field.name);
    let types = fields.iter().map(|field| &field.ty);
    let idents = fields.iter().map(|field| &field.ident);
    Ok(quote! {
        impl #params ::hitless::BtfType for #ident #args #clause {
            fn describe(types: &mut ::hitless::btf::Builder) -> ::hitless::btf::TypeId {
                let members = [#((
                    #names,
                    <#types as ::hitless::BtfType>::describe(types),
                    ::core::mem::offset_of!(Self, #idents) as u32,
                )),*];
                types.structure(#name, ::core::mem::size_of::<Self>() as u32, &members)
            }
        }
    })
}
