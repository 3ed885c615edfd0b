//! Which of the known names a user may have meant.

/// The name nearest to a word, if it is near: one slip in a short word, more in a longer one.
pub(crate) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let most = 1 + word.chars().count() / 3;
    let near = names.map(|name| (distance(word, name), name)).filter(|(d, _)| *d <= most);
    near.min().map(|(_, name)| name)
}

/// How many letters must be put in, left out, changed or swapped with their neighbours to make one of the other
/// (Damerau and Levenshtein, each letter touched once).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_one_slip() {
        for (a, b, slips) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("ab", "ba", 1),
            ("vnet.lnik", "vnet.link", 1),
            ("rctl.memusage", "rctl.memoryuse", 5),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (slips, slips), "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let names = ["path", "persist", "rctl.maxproc", "rctl.memoryuse", "vnet", "vnet.link"];
        let near = |word| nearest(word, names.into_iter());
        assert_eq!(near("ptah"), Some("path"));
        assert_eq!(near("rctl.memusage"), Some("rctl.memoryuse"));
        assert_eq!(near("rctl.memory"), Some("rctl.memoryuse"));
        assert_eq!(near("vent"), Some("vnet"));
        for far in ["x", "blabla", "hostname", "inet.x.y.z", ""] {
            assert_eq!(near(far), None, "{far}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_nearest_to_itself(word in "[a-z.]{1,12}") {
            proptest::prop_assert_eq!(nearest(&word, [word.as_str(), "x"].into_iter()), Some(word.as_str()));
        }
    }
}
