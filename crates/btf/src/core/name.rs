//! Essential names: what is left of a name without its flavour.

/// The name without a flavour: `task_struct` for `task_struct___old`. A flavour is what follows the last three underscores
/// that have something else before and behind them.
#[must_use]
pub fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separator = bytes
        .windows(5)
        .rposition(|w| w[0] != b'_' && &w[1..4] == b"___" && w[4] != b'_');
    // What stands before the separator ends with a whole character, as the separator is ASCII.
    separator.map_or(name, |at| &name[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_has_three_underscores_and_something_on_both_sides() {
        for (name, expected) in [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b", "a"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("a__b", "a__b"),
            ("___a", "___a"),
            ("a___", "a___"),
            ("", ""),
            ("é___b", "é"),
            ("a___é", "a"),
        ] {
            assert_eq!(essential(name), expected, "{name}");
        }
    }
}
