//! Sets of whole numbers as lists of processors are written: `0-3,8`, cpuset(1).

use std::{collections::BTreeSet, fmt};

/// A set of whole numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeSet<u32>);

impl Numbers {
    /// The set of a list of numbers and ranges, none above `max`; `None`: it is no such list.
    #[must_use]
    pub fn parse(text: &str, max: u32) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n| digits && *n <= max)
        };
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            set.extend(first..=last);
        }
        Some(Self(set))
    }

    /// Those that another has, too.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Those that another has not.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As the kernel writes it: in order, with the longest ranges.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> Numbers {
        Numbers::parse(text, 99).unwrap()
    }

    #[test]
    fn lists_have_ranges_and_one_way_to_be_written() {
        for (text, written) in [("3,1,2,0,8", "0-3,8"), ("0-3,2-5", "0-5"), ("007", "7"), ("1,2", "1-2")] {
            assert_eq!(set(text).to_string(), written, "{text}");
        }
        for bad in
            ["", ",", "1,", "-1", "1-", "3-1", "1--2", "+1", " 1", "1 ", "100", "0-100", "a", "1-2-3", "٣"]
        {
            assert_eq!(Numbers::parse(bad, 99), None, "{bad}");
        }
    }

    #[test]
    fn sets_are_compared() {
        assert_eq!(set("0-3").within(&set("2-5")).to_string(), "2-3");
        assert_eq!(set("0-3").beyond(&set("2-5")).to_string(), "0-1");
        assert!(set("0-3").within(&set("4")).is_empty() && set("2").beyond(&set("0-3")).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in proptest::collection::btree_set(0_u32..99, 1..40)) {
            let all = Numbers(numbers);
            prop_assert_eq!(Numbers::parse(&all.to_string(), 99), Some(all));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9,\\- a]{0,12}") {
            if let Some(read) = Numbers::parse(&text, 99) {
                prop_assert!(!read.is_empty() && set(&read.to_string()) == read);
            }
        }
    }
}
