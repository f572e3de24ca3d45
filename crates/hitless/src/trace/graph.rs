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
    }
}
