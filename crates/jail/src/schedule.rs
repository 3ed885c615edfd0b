//! In which order jails go that need each other.

use std::collections::{BTreeMap, BTreeSet};

/// Why something has no place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It needs itself, or what needs it.
    Loop,
    /// It needs one that has no place.
    Needs,
}

/// Things by their numbers, each of which waits for those that it needs.
///
/// A need that is none of the things is met.
#[derive(Debug)]
pub struct Order {
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
    /// How many needs of each are not met.
    missing: Vec<usize>,
    ready: BTreeSet<usize>,
}

/// A jail that needs one which is not as it was to be: jail(8)'s word.
pub const SKIPPED: &str = "skipped";
/// A jail that needs itself: jail(8)'s words.
pub const LOOP: &str = "dependency loop";

impl Order {
    /// Of things with the names of those that each needs.
    #[must_use]
    pub fn new(things: &[(&str, Vec<&str>)]) -> Self {
        let numbers: BTreeMap<&str, usize> =
            things.iter().enumerate().map(|(n, (name, _))| (*name, n)).collect();
        let met = |names: &[&str]| names.iter().filter_map(|name| numbers.get(name).copied()).collect();
        Self::of(things.iter().map(|(_, needs)| met(needs)).collect())
    }

    fn of(needs: Vec<Vec<usize>>) -> Self {
        let missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let ready = (0..needs.len()).filter(|n| missing[*n] == 0).collect();
        let mut needed_by = vec![Vec::new(); needs.len()];
        for (n, needs) in needs.iter().enumerate() {
            needs.iter().for_each(|need| needed_by[*need].push(n));
        }
        Self { needs, needed_by, missing, ready }
    }

    /// The other way round: what is needed waits for those that need it.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::of(self.needed_by)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// Takes the first that waits for nothing any more.
    pub fn next_ready(&mut self) -> Option<usize> {
        self.ready.pop_first()
    }

    /// Takes those that wait for nothing any more and are wanted.
    pub fn take_ready(&mut self, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let taken: Vec<_> = self.ready.iter().copied().filter(|n| wanted(*n)).collect();
        self.ready.retain(|n| !wanted(*n));
        taken
    }

    /// Says that one has had its turn: those that wait for it alone are ready.
    pub fn done(&mut self, n: usize) {
        for waiting in &self.needed_by[n] {
            self.missing[*waiting] -= 1;
            if self.missing[*waiting] == 0 {
                self.ready.insert(*waiting);
            }
        }
    }

    /// Those that never get their turn, and why.
    #[must_use]
    pub fn stuck(&self) -> Vec<(usize, Why)> {
        let mut order = Self::of(self.needs.clone());
        while let Some(n) = order.next_ready() {
            order.done(n);
        }
        let why = |n: usize| if reaches(&self.needs, n) { Why::Loop } else { Why::Needs };
        (0..self.len()).filter(|n| order.missing[*n] > 0).map(|n| (n, why(n))).collect()
    }
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

    fn turns(mut order: Order) -> Vec<usize> {
        let mut turns = Vec::new();
        while let Some(n) = order.next_ready() {
            order.done(n);
            turns.push(n);
        }
        turns
    }

    #[test]
    fn what_is_needed_comes_first_and_otherwise_all_stay_as_given() {
        let things =
            [("web", vec!["db", "net"]), ("db", vec!["net"]), ("net", vec![]), ("mail", vec!["elsewhere"])];
        assert_eq!(turns(Order::new(&things)), [2, 1, 0, 3]);
        assert_eq!(turns(Order::new(&things).reversed()), [0, 1, 2, 3]);
        assert!(Order::new(&[]).is_empty());
    }

    #[test]
    fn those_that_need_nothing_of_each_other_are_ready_together() {
        let mut order = Order::new(&[("a", vec![]), ("b", vec!["a"]), ("c", vec![]), ("d", vec!["a", "c"])]);
        assert_eq!((order.next_ready(), order.next_ready(), order.next_ready()), (Some(0), Some(2), None));
        order.done(2);
        assert_eq!(order.next_ready(), None);
        order.done(0);
        assert_eq!((order.take_ready(|n| n > 1), order.next_ready()), (vec![3], Some(1)));
    }

    #[test]
    fn a_loop_is_told_from_what_waits_for_it() {
        let things = [("a", vec!["b"]), ("b", vec!["a"]), ("c", vec!["a"]), ("d", vec!["d"]), ("e", vec![])];
        let order = Order::new(&things);
        assert_eq!(order.stuck(), [(0, Why::Loop), (1, Why::Loop), (2, Why::Needs), (3, Why::Loop)]);
        assert_eq!(turns(order), [4]);
    }

    #[test]
    fn ten_thousand_in_a_row_are_ordered_at_once() {
        let names: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let need = |n: usize| if n > 0 { vec![names[n - 1].as_str()] } else { Vec::new() };
        let things: Vec<_> = (0..names.len()).map(|n| (names[n].as_str(), need(n))).collect();
        assert_eq!(turns(Order::new(&things)).len(), names.len());
    }
}
