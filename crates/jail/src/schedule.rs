//! In which order jails go that need each other.

use std::collections::BTreeMap;

/// Why something has no place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It needs itself, or what needs it.
    Loop,
    /// It needs one that has no place.
    Needs,
}

/// The numbers of things, those first that need none of the others: each group needs nothing but what is in groups
/// before it. The second part are those that have no place, in the order given.
///
/// A need that is none of the things is met.
#[must_use]
pub fn order(things: &[(&str, Vec<&str>)]) -> (Vec<Vec<usize>>, Vec<(usize, Why)>) {
    let numbers: BTreeMap<&str, usize> = things.iter().enumerate().map(|(n, (name, _))| (*name, n)).collect();
    let needs: Vec<Vec<usize>> = things
        .iter()
        .map(|(_, needs)| needs.iter().filter_map(|name| numbers.get(name).copied()).collect())
        .collect();
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); things.len()];
    for (n, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| needed_by[*need].push(n));
    }
    let mut groups = Vec::new();
    let mut ready: Vec<usize> = (0..things.len()).filter(|n| missing[*n] == 0).collect();
    while !ready.is_empty() {
        let mut next = Vec::new();
        for done in &ready {
            for waiting in &needed_by[*done] {
                missing[*waiting] -= 1;
                if missing[*waiting] == 0 {
                    next.push(*waiting);
                }
            }
        }
        next.sort_unstable();
        groups.push(std::mem::replace(&mut ready, next));
    }
    let left: Vec<usize> = (0..things.len()).filter(|n| missing[*n] > 0).collect();
    let why = |n: usize| if reaches(&needs, n) { Why::Loop } else { Why::Needs };
    (groups, left.into_iter().map(|n| (n, why(n))).collect())
}

/// Whether something needs itself, over however many others.
fn reaches(needs: &[Vec<usize>], start: usize) -> bool {
    let mut seen = vec![false; needs.len()];
    let mut waiting = needs[start].clone();
    while let Some(n) = waiting.pop() {
        if n == start {
            return true;
        }
        if !std::mem::replace(&mut seen[n], true) {
            waiting.extend(&needs[n]);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_otherwise_all_stay_as_given() {
        let things =
            [("web", vec!["db", "net"]), ("db", vec!["net"]), ("net", vec![]), ("mail", vec!["elsewhere"])];
        assert_eq!(order(&things), (vec![vec![2, 3], vec![1], vec![0]], vec![]));
        assert_eq!(order(&[]), (vec![], vec![]));
    }

    #[test]
    fn a_loop_is_told_from_what_waits_for_it() {
        let things = [("a", vec!["b"]), ("b", vec!["a"]), ("c", vec!["a"]), ("d", vec!["d"]), ("e", vec![])];
        let left = vec![(0, Why::Loop), (1, Why::Loop), (2, Why::Needs), (3, Why::Loop)];
        assert_eq!(order(&things), (vec![vec![4]], left));
    }

    #[test]
    fn ten_thousand_in_a_row_are_ordered_at_once() {
        let names: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let need = |n: usize| if n > 0 { vec![names[n - 1].as_str()] } else { Vec::new() };
        let things: Vec<_> = (0..names.len()).map(|n| (names[n].as_str(), need(n))).collect();
        assert_eq!(order(&things).0.len(), names.len());
    }
}
