//! The elements of a map one by one, without keeping anybody from changing them meanwhile.

use super::{Elem, Entry, Map, MapError};

/// The elements of a map, from [`Map::iter`].
///
/// A key that is changed meanwhile shows its old or its new value; one that is replaced may be left out or show up twice.
/// After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    map: &'a Map,
    next: u32,
}

impl Map {
    /// The elements one by one: each is read when it is asked for, in a run of its own, so that a long walk holds up nobody.
    #[must_use]
    pub fn iter(&self) -> Entries<'_> {
        Entries { map: self, next: 0 }
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = Result<Entry, MapError>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl Entries<'_> {
    /// Copies the next element into the two buffers, which have the map's key and value size. False at the end.
    pub(crate) fn next_into(&mut self, key: &mut [u8], value: &mut [u8]) -> Result<bool, MapError> {
        let map = self.map;
        while self.next < map.ops.indices() {
            let elem = Elem(self.next);
            self.next += 1;
            let found = map.slots.run(|run| match map.live(elem) {
                None => Ok(None),
                Some(key) => map.count_busy(map.read_element(run, elem, value)).map(|()| Some(key)),
            });
            match found.map_err(MapError::from).flatten() {
                Ok(None) => {}
                Ok(Some(found)) => {
                    key.copy_from_slice(found.bytes());
                    return Ok(true);
                }
                Err(error) => {
                    self.next = u32::MAX;
                    return Err(error);
                }
            }
        }
        Ok(false)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, MapError>;

    fn next(&mut self) -> Option<Result<Entry, MapError>> {
        let def = self.map.def();
        let (mut key, mut value) = (vec![0; def.key_size as usize], vec![0; def.value_size as usize]);
        match self.next_into(&mut key, &mut value) {
            Ok(true) => Some(Ok((key, value))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
