//! The elements of a map one by one, without keeping anybody from changing them meanwhile.

use super::{Entry, Map, MapError};

/// The elements of a map, from [`Map::iter`].
///
/// A key that is there throughout shows up exactly once, with its value at some moment, as [`Map::lookup`] returns it. After an
/// error there is nothing more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    map: &'a Map,
    next: u64,
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
    /// Copies the next element into the two buffers, which have the map's key size and [`Map::host_value_size`]. False at the end.
    pub(crate) fn next_into(&mut self, key: &mut [u8], value: &mut [u8]) -> Result<bool, MapError> {
        let map = self.map;
        while self.next < map.ops.positions() {
            let position = self.next;
            self.next += 1;
            let found = map.slots.run(|run| match map.live_at(position) {
                None => Ok(None),
                Some((elem, key)) => map.read_for_host(run, elem, value).map(|()| Some(key)),
            });
            match found.map_err(MapError::from).flatten() {
                Ok(None) => {}
                Ok(Some(found)) => {
                    key.copy_from_slice(found.bytes());
                    return Ok(true);
                }
                Err(error) => {
                    self.next = u64::MAX;
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
        let (mut key, mut value) = (vec![0; def.key_size as usize], vec![0; self.map.host_value_size()]);
        match self.next_into(&mut key, &mut value) {
            Ok(true) => Some(Ok((key, value))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
