//! Texts of pairs, as FreeBSD's `meta` and `env` are: a line KEY=VALUE for each, and perhaps others.

use crate::{Error, Result};

/// One change of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It becomes another text.
    All(String),
    /// A pair becomes the first line, in place of all that have its key; without a value, these go.
    Pair {
        /// Its key.
        key: String,
        /// Its value.
        value: Option<String>,
    },
}

impl Edit {
    /// The change of one pair.
    ///
    /// # Errors
    /// The key or the value is none that a line can have.
    pub fn pair(key: &str, value: Option<&str>) -> Result<Self> {
        if key.is_empty() || key.contains(['=', '\n', '\0']) {
            return Err(Error::usage(format!("not a key \"{key}\"")).hint("it is one line, without ="));
        }
        if value.is_some_and(|value| value.contains('\n')) {
            return Err(Error::usage("value with a line break").hint("without a key, all lines can be given"));
        }
        Ok(Self::Pair { key: key.to_owned(), value: value.map(str::to_owned) })
    }

    /// The text that it makes of one.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let (key, value) = match self {
            Self::All(new) => return new.clone(),
            Self::Pair { key, value } => (key, value),
        };
        let pair = value.as_ref().map(|value| format!("{key}={value}"));
        let others = text.split('\n').filter(|line| !text.is_empty() && of_line(line, key).is_none());
        pair.as_deref().into_iter().chain(others).collect::<Vec<_>>().join("\n")
    }
}

/// The value of a key; `None`: there is no line of it. Only the first `=` of a line is none of the value's.
#[must_use]
pub fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.split('\n').find_map(|line| of_line(line, key))
}

fn of_line<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    line.strip_prefix(key)?.strip_prefix('=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str, key: &str, value: &str) -> String {
        Edit::pair(key, Some(value)).unwrap().apply(text)
    }

    fn drop_key(text: &str, key: &str) -> String {
        Edit::pair(key, None).unwrap().apply(text)
    }

    #[test]
    fn a_pair_comes_to_the_front() {
        let text = set(&set(&set("", "a", "1"), "c", "3"), "b", "2");
        assert_eq!(text, "b=2\nc=3\na=1");
        let text = set(&set(&text, "a", "A"), "c", "C");
        assert_eq!(text, "c=C\na=A\nb=2");
        assert_eq!(drop_key(&set(&text, "a", ""), "b"), "a=\nc=C");
        assert_eq!(set("ttt", "b", "="), "b==\nttt");
    }

    #[test]
    fn only_a_whole_key_at_the_start_of_a_line_counts() {
        let text = "aa=1\nb=a=2\n a=3\na\na=4\na=5\n";
        assert_eq!((value(text, "a"), value(text, "b"), value(text, "c")), (Some("4"), Some("a=2"), None));
        assert_eq!(set(text, "a", "6"), "a=6\naa=1\nb=a=2\n a=3\na\n");
        assert_eq!((value("", "a"), value("a=", "a"), drop_key("", "a")), (None, Some(""), String::new()));
    }

    #[test]
    fn what_no_line_can_have_is_refused() {
        for (key, value) in [("", "x"), ("a\nb", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "x\ny")] {
            assert!(Edit::pair(key, Some(value)).is_err(), "{key:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_and_nothing_else_changes(
            text in "[ab=\n]{0,20}", key in "[ab]{1,2}", new in "[ab=]{0,4}", other in "[ab]{1,3}",
        ) {
            let edited = set(&text, &key, &new);
            prop_assert_eq!(value(&edited, &key), Some(new.as_str()));
            let first = format!("{key}={new}");
            prop_assert_eq!(edited.split('\n').next(), Some(first.as_str()));
            prop_assert_eq!(set(&edited, &key, &new), edited.clone());
            let dropped = drop_key(&edited, &key);
            prop_assert_eq!(value(&dropped, &key), None);
            if other != key {
                prop_assert_eq!(value(&edited, &other), value(&text, &other));
            }
        }

        #[test]
        fn a_key_is_there_once_and_other_lines_keep_their_order(
            text in "[ab=\n]{1,20}", key in "[ab]{1,2}", new in "[ab=]{0,4}",
        ) {
            let others = |text: &str| -> Vec<String> {
                text.split('\n').filter(|line| of_line(line, &key).is_none()).map(str::to_owned).collect()
            };
            let edited = set(&text, &key, &new);
            prop_assert_eq!(others(&edited), others(&text));
            prop_assert_eq!(edited.split('\n').count(), others(&text).len() + 1);
            prop_assert_eq!(drop_key(&edited, &key), others(&text).join("\n"));
        }

        #[test]
        fn two_keys_do_not_get_in_each_others_way(text in "[ab=\n]{0,20}", x in "[ab]{0,4}", y in "[ab]{0,4}") {
            for text in [set(&set(&text, "k", &x), "l", &y), set(&set(&text, "l", &y), "k", &x)] {
                prop_assert_eq!((value(&text, "k"), value(&text, "l")), (Some(x.as_str()), Some(y.as_str())));
            }
        }
    }
}
