//! `Value`: `BtfType`, and the promises of bytemuck's `Pod`, each checked by the compiler.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Result};

use crate::btf_type;
use crate::input::Input;

pub(crate) fn derive(input: &Input) -> Result<TokenStream> {
    let Input {
        ident,
        generics,
        fields,
        ..
    } = input;
    if !generics.params.is_empty() {
        return Err(Error::new_spanned(generics, "a value outlives what it could borrow"));
    }
    let described = btf_type::derive(input)?;
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let checks = types
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> ::hitless::private::plain::<#ty>();));
    let padding = format!("{ident} has padding; give it a name, as in `_pad: [u8; 4]`, so that its bytes have values");
    Ok(quote! {
        #described

        const _: () = {
            #(#checks)*
            assert!(
                ::core::mem::size_of::<#ident>() == 0 #(+ ::core::mem::size_of::<#types>())*,
                #padding
            );
        };

        // SAFETY: every field is `Pod`, and so valid when zeroed, as just checked.
        unsafe impl ::hitless::private::bytemuck::Zeroable for #ident {}
        // SAFETY: the struct is `repr(C)`, every field is `Pod`, and there is no padding, as just checked.
        unsafe impl ::hitless::private::bytemuck::Pod for #ident {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_borrow_nothing() {
        let input = syn::parse_str("#[repr(C)] struct S<'a> { a: &'a u8 }").unwrap();
        let error = derive(&Input::parse(&input).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "a value outlives what it could borrow");
    }
}
