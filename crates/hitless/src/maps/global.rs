//! Global variables of programs.

use std::marker::PhantomData;

use hitless_btf::{Btf, Type, TypeId};

use crate::Value;
use crate::btf_type::{LayoutMismatch, check_layout};
use crate::map::{MapError, MapHandle};

/// A global variable of a loaded object, from [`Collection::global`](crate::Collection::global).
///
/// Programs write it at any time; an integer is read and written whole, what is longer word by word.
#[derive(Clone, Debug)]
pub struct Global<T> {
    map: MapHandle,
    offset: u32,
    ty: PhantomData<fn() -> T>,
}

impl<T: Value> Global<T> {
    /// The variable at a place of a map, if it is of this type.
    pub(crate) fn new(map: &MapHandle, place: &Place<'_>) -> Result<Global<T>, LayoutMismatch> {
        check_layout::<T>(Some((place.btf, place.ty)), place.size as usize)?;
        Ok(Global {
            map: map.clone(),
            offset: place.offset,
            ty: PhantomData,
        })
    }

    /// Its value.
    ///
    /// # Errors
    /// [`MapError::Busy`] in a signal handler that interrupted a holder of a spin lock in the same section;
    /// [`MapError::Forked`].
    pub fn get(&self) -> Result<T, MapError> {
        let mut value = T::zeroed();
        self.map.read_global(self.offset, bytemuck::bytes_of_mut(&mut value))?;
        Ok(value)
    }

    /// Sets it, and leaves its neighbours alone. Traced like other changes of a map.
    ///
    /// # Errors
    /// [`MapError::Frozen`] for constants, which [`Object::set_global`](crate::Object::set_global) sets before they are
    /// loaded; [`MapError::Migrated`], [`MapError::Busy`], [`MapError::Forked`].
    pub fn set(&self, value: &T) -> Result<(), MapError> {
        self.map.write_global(self.offset, bytemuck::bytes_of(value))
    }

    /// The map of its section.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

/// Where a variable is in its section.
pub(crate) struct Place<'a> {
    pub(crate) btf: &'a Btf,
    pub(crate) ty: TypeId,
    pub(crate) offset: u32,
    pub(crate) size: u32,
}

/// The variable with this name in a section of global data.
pub(crate) fn find_global<'a>(btf: &'a Btf, section: TypeId, name: &str) -> Option<Place<'a>> {
    let found = variables(btf, section).find(|(known, _)| *known == name);
    found.map(|(_, place)| place)
}

/// The names of the variables in a section of global data.
pub(crate) fn known_globals(btf: &Btf, section: TypeId) -> impl Iterator<Item = String> {
    variables(btf, section).map(|(name, _)| name.to_owned())
}

fn variables(btf: &Btf, section: TypeId) -> impl Iterator<Item = (&str, Place<'_>)> {
    let vars = match btf.get(section) {
        Some(Type::Datasec(section)) => &section.vars[..],
        _ => &[],
    };
    vars.iter().filter_map(move |entry| match btf.get(entry.ty) {
        Some(Type::Var(var)) => Some((
            var.name.as_str(),
            Place {
                btf,
                ty: var.ty,
                offset: entry.offset,
                size: entry.size,
            },
        )),
        _ => None,
    })
}
