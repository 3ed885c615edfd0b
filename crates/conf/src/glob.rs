//! Patterns for files, as `.include` takes them, for whoever reads directories: glob(7) without its I/O.

/// Whether a file's name is a pattern: it has one of `* ? [`.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The name, as a pattern that stands for it alone.
pub(crate) fn quote(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// Whether a pattern without a slash stands for a name without a slash: `*` for anything, `?` for one character, `[a-z]`
/// and `[!a-z]` for one of a set, `\` for what is behind it. A dot at the beginning of the name is met by a dot alone.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    if name.first() == Some(&'.') && !matches!(&*pattern, ['.', ..] | ['\\', '.', ..]) {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Behind the last star, and how much of the name it stands for: only the last need ever be tried again.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(next) = one(&pattern, p, name[n]) {
            (p, n) = (next, n + 1);
        } else if let Some((behind, from)) = star {
            star = Some((behind, from + 1));
            (p, n) = (behind, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// Where the pattern goes on if what is at `p` stands for the character.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => match set(pattern, p + 1) {
            Some(set) => {
                let within = set.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (within != set.negated).then_some(set.next)
            }
            // One that is not closed stands for itself.
            None => (c == '[').then_some(p + 1),
        },
        '\\' => match pattern.get(p + 1) {
            Some(escaped) => (*escaped == c).then_some(p + 2),
            None => (c == '\\').then_some(p + 1),
        },
        other => (other == c).then_some(p + 1),
    }
}

/// `[a-z_]`.
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
    /// Where the pattern goes on behind it.
    next: usize,
}

/// The set behind a bracket, if it is closed.
fn set(pattern: &[char], from: usize) -> Option<Set> {
    let negated = matches!(pattern.get(from), Some('!' | '^'));
    let (mut at, mut ranges) = (from + usize::from(negated), Vec::new());
    loop {
        match (pattern.get(at)?, pattern.get(at + 1), pattern.get(at + 2)) {
            // One at the beginning is a member.
            (']', ..) if !ranges.is_empty() => return Some(Set { negated, ranges, next: at + 1 }),
            (low, Some('-'), Some(high)) if *high != ']' => {
                ranges.push((*low, *high));
                at += 3;
            }
            ('\\', Some(escaped), _) => {
                ranges.push((*escaped, *escaped));
                at += 2;
            }
            (c, ..) => {
                ranges.push((*c, *c));
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_marks_and_sets_stand_for_what_the_shell_says() {
        for (pattern, name, wanted) in [
            ("*.conf", "web.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*.conf", "web.conf.bak", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXb", false),
            ("?", "é", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]-]", "-", true),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_few() {
        assert!(!matches(&"*a".repeat(2_000), &"a".repeat(1_999)));
    }

    proptest! {
        #[test]
        fn a_quoted_name_stands_for_itself_alone(name in "[a*?\\[\\]\\\\.-]{1,8}", other in "[a*?\\[\\]\\\\.-]{1,8}") {
            prop_assert!(matches(&quote(&name), &name));
            prop_assert_eq!(matches(&quote(&name), &other), name == other);
        }
    }
}
