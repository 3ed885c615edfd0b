//! All rules, of jails that are there and of those that are not: a text of one rule a line in a folder of the store. Whoever
//! changes it holds the folder's lock; it is replaced whole.

use std::{fs, io, path::PathBuf};

use vimage::{Context as _, Error, ErrorKind, House, Result, file};

use super::rule::Rule;

/// The folder of the store, which has a lock.
pub const FOLDER: &str = "rules";

/// The rules, and what is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they were added.
    pub rules: Vec<Rule>,
    /// What is wrong with each line that is no rule.
    pub damaged: Vec<Error>,
}

/// Where they are.
fn path(house: &dyn House) -> PathBuf {
    house.shelf().with_file_name(FOLDER).join("rctl")
}

/// All rules. A line that was damaged is not one, and takes no other along.
///
/// # Errors
/// The file cannot be read.
pub fn read(house: &dyn House) -> Result<Rules> {
    Ok(of(&file::read(&path(house))?.unwrap_or_default()))
}

/// Replaces all rules.
///
/// # Errors
/// The file cannot be written; it is as it was.
pub fn write(house: &dyn House, rules: &[Rule]) -> Result<()> {
    let path = path(house);
    if rules.is_empty() {
        return match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.doing_with(|| format!("cannot remove {}", path.display())),
        };
    }
    let text: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
    file::replace(&path, text)
}

fn of(text: &[u8]) -> Rules {
    let mut all = Rules::default();
    for (n, line) in text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let rule = match std::str::from_utf8(line) {
            Ok(line) => Rule::parse(line),
            Err(_) => Err(Error::new(ErrorKind::Failed, "not UTF-8")),
        };
        match rule.doing_with(|| format!("line {} of the rules is damaged, and is none", n + 1)) {
            Ok(rule) if all.rules.contains(&rule) => {}
            Ok(rule) => all.rules.push(rule),
            Err(error) => all.damaged.push(error),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_takes_no_other_along() {
        let text =
            b"jail:a:nthr:deny=7\njail:a:nth\xff\n\0\0\njail:a:nthr:deny=7\njail:b:pcpu:deny=50\njail:c:p";
        let Rules { rules, damaged } = of(text);
        assert_eq!(
            rules.iter().map(Rule::to_string).collect::<Vec<_>>(),
            ["jail:a:nthr:deny=7", "jail:b:pcpu:deny=50"]
        );
        assert_eq!(damaged.len(), 3);
        assert_eq!(damaged[0].to_string(), "line 2 of the rules is damaged, and is none: not UTF-8");
    }
}
