//! The map of our own user namespace, /proc/self/uid_map of user_namespaces(7): lines of first id inside, first
//! id outside, number of ids.

use std::fs;

use kernel::namespace::{self, Kind};
use vimage::{Context as _, Error, ErrorKind, Result};

use super::Ids;

/// The map of a user namespace below ours in which each of our ids is itself; `file` is `uid_map` or `gid_map`.
///
/// # Errors
/// Our own map cannot be read.
pub(super) fn same(file: &str) -> Result<String> {
    let lines = read(file)?;
    Ok(lines.into_iter().map(|[inside, _, count]| format!("{inside} {inside} {count}\n")).collect())
}

/// The ids of our own user namespace, if it is not the initial one.
///
/// # Errors
/// Our own map cannot be read.
pub(super) fn own_ids() -> Result<Option<Ids>> {
    // Its map need not be read.
    if namespace::is_first(Kind::User).is_ok_and(|first| first) {
        return Ok(None);
    }
    let lines = read("uid_map")?;
    let Some([inside, _, count]) = lines.first().copied() else { return Err(odd("uid_map")) };
    let own = Ids { base: inside, lower: inside, count, identity: true, children: 0 };
    Ok((count != u32::MAX).then_some(own))
}

fn read(file: &str) -> Result<Vec<[u32; 3]>> {
    let path = format!("/proc/self/{file}");
    let text = fs::read_to_string(&path).doing_with(|| format!("cannot read {path}"))?;
    parse(&text).ok_or_else(|| odd(file))
}

fn parse(text: &str) -> Option<Vec<[u32; 3]>> {
    let line = |line: &str| {
        let numbers: Option<Vec<u32>> = line.split_whitespace().map(|n| n.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    text.lines().map(line).collect()
}

fn odd(file: &str) -> Error {
    Error::new(ErrorKind::Failed, format!("user: cannot understand /proc/self/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_lines_of_three_numbers() {
        assert_eq!(parse("         0          0 4294967295\n"), Some(vec![[0, 0, u32::MAX]]));
        assert_eq!(parse("0 1000 1\n1 100000 65536\n"), Some(vec![[0, 1000, 1], [1, 100_000, 65_536]]));
        assert_eq!(parse(""), Some(vec![]));
        for bad in ["0 1", "0 1 2 3", "0 1 x", "0 0 4294967296"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
