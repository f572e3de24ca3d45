//! What a section's name says about the programs in it.

use std::fmt;

/// Where the programs of a section run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// `xdp`, `xdp/...`, `xdp.frags`, `xdp.frags/...`.
    Xdp {
        /// Whether it handles packets in several fragments.
        frags: bool,
    },
    /// `map_trace/<map>/<event>`.
    MapTrace {
        /// The map's name.
        map: String,
        /// What it is called for.
        event: MapEvent,
    },
    /// Something else: the section's name.
    Other(String),
}

/// What happens to an element of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapEvent {
    /// `UPDATE_ELEM`: it is set.
    Update,
    /// `DELETE_ELEM`: it is deleted.
    Delete,
    /// `EVICT_ELEM`: the map makes room for another.
    Evict,
}

impl SectionKind {
    /// Reads a section's name. A leading `?` (libbpf: do not load by default) says nothing about where programs run.
    #[must_use]
    pub fn of(section: &str) -> SectionKind {
        let name = section.strip_prefix('?').unwrap_or(section);
        let (head, rest) = name.split_once('/').unwrap_or((name, ""));
        match head {
            "xdp" => SectionKind::Xdp { frags: false },
            "xdp.frags" => SectionKind::Xdp { frags: true },
            "map_trace" => match rest.rsplit_once('/') {
                Some((map, event)) if !map.is_empty() => match MapEvent::of(event) {
                    Some(event) => SectionKind::MapTrace { map: map.into(), event },
                    None => SectionKind::Other(section.into()),
                },
                _ => SectionKind::Other(section.into()),
            },
            _ => SectionKind::Other(section.into()),
        }
    }
}

impl MapEvent {
    fn of(name: &str) -> Option<MapEvent> {
        [MapEvent::Update, MapEvent::Delete, MapEvent::Evict]
            .into_iter()
            .find(|event| event.name() == name)
    }

    /// The event as section names have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MapEvent::Update => "UPDATE_ELEM",
            MapEvent::Delete => "DELETE_ELEM",
            MapEvent::Evict => "EVICT_ELEM",
        }
    }
}

impl fmt::Display for MapEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_names() {
        let trace = |map: &str, event| SectionKind::MapTrace { map: map.into(), event };
        let other = |name: &str| SectionKind::Other(name.into());
        assert_eq!(SectionKind::of("xdp"), SectionKind::Xdp { frags: false });
        assert_eq!(SectionKind::of("?xdp/eth0"), SectionKind::Xdp { frags: false });
        assert_eq!(SectionKind::of("xdp.frags"), SectionKind::Xdp { frags: true });
        assert_eq!(
            SectionKind::of("map_trace/flows/UPDATE_ELEM"),
            trace("flows", MapEvent::Update)
        );
        assert_eq!(
            SectionKind::of("map_trace/flows/DELETE_ELEM"),
            trace("flows", MapEvent::Delete)
        );
        assert_eq!(
            SectionKind::of("map_trace/flows/EVICT_ELEM"),
            trace("flows", MapEvent::Evict)
        );
        for name in [
            "xdpx",
            "map_trace",
            "map_trace/flows",
            "map_trace//UPDATE_ELEM",
            "map_trace/flows/LOOKUP",
            "tc",
        ] {
            assert_eq!(SectionKind::of(name), other(name));
        }
    }
}
