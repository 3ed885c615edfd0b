//! Patterns for jails: `*`, `web.*`, `*.db`.
//!
//! A component that is `*` stands for one component of a name, and for one or more at the pattern's end (jail.conf(5)).

use std::collections::HashMap;

/// Whether a name has a component that is `*`.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.split('.').any(|component| component == "*")
}

/// Whether a pattern stands for a jail of this name.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    while let (Some((want, wants)), Some((have, has))) = (pattern.split_once('.'), name.split_once('.')) {
        if want != have && want != "*" {
            return false;
        }
        (pattern, name) = (wants, has);
    }
    pattern == name || pattern == "*"
}

/// Many patterns, by their components, so that a name is not held against each of them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    next: HashMap<String, usize>,
    /// What patterns that end here stand for.
    here: Vec<usize>,
    /// What those stand for that have one `*` more, and end.
    below: Vec<usize>,
}

impl Index {
    /// Adds a pattern, and the number that it is known by.
    pub(crate) fn add(&mut self, pattern: &str, number: usize) {
        let mut at = 0;
        let mut rest = Some(pattern);
        self.nodes.resize_with(self.nodes.len().max(1), Node::default);
        while let Some(text) = rest {
            let (component, more) =
                text.split_once('.').map_or((text, None), |(first, more)| (first, Some(more)));
            if component == "*" && more.is_none() {
                self.nodes[at].below.push(number);
                return;
            }
            at = match self.nodes[at].next.get(component) {
                Some(next) => *next,
                None => {
                    let new = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].next.insert(component.to_owned(), new);
                    new
                }
            };
            rest = more;
        }
        self.nodes[at].here.push(number);
    }

    /// The numbers of the patterns that stand for a name, in order, and how many components were looked at for it.
    pub(crate) fn matching(&self, name: &str) -> (Vec<usize>, usize) {
        let (mut found, mut looked) = (Vec::new(), 0);
        let mut waiting = vec![(0, Some(name))];
        while let Some((at, rest)) = waiting.pop() {
            looked += 1;
            let Some(node) = self.nodes.get(at) else { continue };
            let Some(text) = rest else {
                found.extend(&node.here);
                continue;
            };
            found.extend(&node.below);
            let (component, more) =
                text.split_once('.').map_or((text, None), |(first, more)| (first, Some(more)));
            // A last component is not met by a `*` with more behind it: the rest has nothing to stand for.
            for next in [component, "*"].iter().take(if component == "*" { 1 } else { 2 }) {
                waiting.extend(node.next.get(*next).map(|next| (*next, more)));
            }
        }
        found.sort_unstable();
        (found, looked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_is_one_component_and_at_the_end_one_or_more() {
        for (pattern, name, wanted) in [
            ("*", "web", true),
            ("*", "web.a.b", true),
            ("web.*", "web", false),
            ("web.*", "web.a", true),
            ("web.*", "web.a.b", true),
            ("web.*", "webs.a", false),
            ("*.db", "web.db", true),
            ("*.db", "db", false),
            ("*.db", "a.b.db", false),
            ("*.db", "web.dbs", false),
            ("*.*", "web", false),
            ("*.*", "web.a.b", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.c.d", false),
            ("a.*.*", "a.b.c.d", true),
            ("w*", "web", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn only_a_whole_component_makes_a_pattern() {
        assert!(["*", "a.*", "*.a", "a.*.b"].into_iter().all(is_pattern));
        assert!(!["", "a", "a*", "*a.b", "a.b*c", "**"].into_iter().any(is_pattern));
    }

    proptest! {
        #[test]
        fn the_index_finds_what_each_pattern_by_itself_matches(
            patterns in proptest::collection::vec("[ab*](\\.[ab*]){0,3}", 0..12),
            name in "[ab](\\.[ab]){0,4}",
        ) {
            let mut index = Index::default();
            let patterns: Vec<_> = patterns.into_iter().filter(|p| is_pattern(p)).collect();
            for (number, pattern) in patterns.iter().enumerate() {
                index.add(pattern, number);
            }
            let all = (0..patterns.len()).filter(|n| matches(&patterns[*n], &name));
            prop_assert_eq!(index.matching(&name).0, all.collect::<Vec<_>>());
        }
    }
}
