//! Which maps lead to which: a tracer of one may write others, which may be traced in turn.
//!
//! A tracer is refused if what it may write leads back to the map that it would trace. The edges of an attachment are there
//! from before it begins until a grace period after it has ended, so attachments that only together would form a loop see each
//! other's.

/// What tracer programs that write maps lead to: from a traced map to the maps that its tracers may write.
#[derive(Debug, Default)]
pub(crate) struct TraceGraph {
    /// (link, traced map, written map), by id.
    edges: Vec<(u32, u32, u32)>,
    /// (map of maps, map in it), once for each key that it is under: who writes the one may write the other.
    held: Vec<(u32, u32)>,
}

impl TraceGraph {
    /// Whether tracing `map` with something that writes `written` would close a loop.
    pub(crate) fn closes_loop(&self, map: u32, written: &[u32]) -> bool {
        let mut seen = Vec::new();
        let mut open: Vec<u32> = written.to_vec();
        while let Some(at) = open.pop() {
            if at == map {
                return true;
            }
            if !seen.contains(&at) {
                seen.push(at);
                open.extend(self.edges.iter().filter(|edge| edge.1 == at).map(|edge| edge.2));
                open.extend(self.held.iter().filter(|held| held.0 == at).map(|held| held.1));
            }
        }
        false
    }

    pub(crate) fn add(&mut self, link: u32, map: u32, written: &[u32]) {
        self.edges.extend(written.iter().map(|to| (link, map, *to)));
    }

    pub(crate) fn remove(&mut self, link: u32) {
        self.edges.retain(|edge| edge.0 != link);
    }

    pub(crate) fn add_held(&mut self, outer: u32, inner: u32) {
        self.held.push((outer, inner));
    }

    pub(crate) fn remove_held(&mut self, outer: u32, inner: u32) {
        if let Some(at) = self.held.iter().position(|held| *held == (outer, inner)) {
            self.held.swap_remove(at);
        }
    }

    /// Forgets what a map of maps held that is no more.
    pub(crate) fn forget_outers(&mut self, is_there: impl Fn(u32) -> bool) {
        self.held.retain(|held| is_there(held.0));
    }

    /// Which map of maps holds which map.
    pub(crate) fn held(&self) -> impl Iterator<Item = (u32, u32)> {
        self.held.iter().copied()
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_however_long() {
        let mut graph = TraceGraph::default();
        assert!(graph.closes_loop(1, &[1]));
        graph.add(10, 1, &[2]);
        graph.add(11, 2, &[3, 4]);
        assert!(graph.closes_loop(4, &[1]));
        assert!(graph.closes_loop(3, &[9, 1]));
        assert!(!graph.closes_loop(5, &[1]));
        graph.remove(11);
        assert!(!graph.closes_loop(4, &[1]));
        graph.add_held(2, 4);
        graph.add_held(2, 4);
        assert!(graph.closes_loop(4, &[1]), "by way of a map of maps");
        graph.remove_held(2, 4);
        assert!(graph.closes_loop(4, &[1]));
        graph.remove_held(2, 4);
        assert!(!graph.closes_loop(4, &[1]));
    }
}
