//! Configurations, and files that they include: read, resolved for each jail, printed and read again as the same.
//! Never a panic, nothing that a terminal obeys in a message, and never a hang.
#![no_main]

use std::io;

use conf::{Conf, Known, Loader, Tree, Unknown};
use libfuzzer_sys::fuzz_target;

/// The parts of the input, divided by null bytes, are files that are named by their numbers. After some reads there are
/// no more: files that include each other are read tens of thousands of times before that is refused.
struct Parts<'b> {
    files: Vec<&'b [u8]>,
    reads: usize,
}

impl Loader for Parts<'_> {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        self.reads += 1;
        let part = path.parse().ok().and_then(|number: usize| self.files.get(number));
        part.filter(|_| self.reads < 200)
            .map(|part| part.to_vec())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        let names = (0..self.files.len()).map(|number| number.to_string());
        Ok(names.filter(|name| conf::glob::matches(pattern, name)).collect())
    }
}

/// Some words are lists, some are negated, and some are unknown.
fn vocabulary(word: &str) -> Result<Known, Unknown> {
    match word.strip_prefix("no") {
        Some("such") => Err(Unknown { message: format!("unknown parameter: {word}"), hint: None }),
        Some(positive) => Ok(Known { name: positive.to_owned(), list: false }),
        None => Ok(Known { name: word.to_owned(), list: word.contains('.') }),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let main = parts[0].to_vec();
    if let Ok(tree) = Tree::parse("0", &main) {
        let printed = tree.to_string();
        let again = Tree::parse("0", printed.as_bytes()).expect("what is printed can be read");
        assert_eq!(printed, again.to_string());
    }
    let conf = match Conf::load("0", main, &mut Parts { files: parts, reads: 0 }) {
        Ok(conf) => conf,
        Err(report) => {
            assert!(!report.to_string().contains(|c: char| c.is_control() && c != '\n'));
            return;
        }
    };
    let mut resolver = conf.resolver(&vocabulary);
    let names: Vec<_> = resolver.jails().map(|jail| jail.name).collect();
    assert!(names.iter().copied().eq(conf.jails()));
    for jail in resolver.jails() {
        for problem in &jail.problems {
            assert!(!conf.show(problem).to_string().contains(|c: char| c.is_control() && c != '\n'));
        }
        for value in jail.params.iter().flat_map(|param| &param.values) {
            assert!(!conf::quoted(&value.text).contains(char::is_control));
            assert!(conf.place(value.span).line > 0);
        }
    }
});
