//! What it takes to know what a large jail.conf says, against counting its words.

use std::{fmt::Write as _, fs, hint::black_box, io, process::Command, process::Stdio, time::Instant};

use conf::{Conf, Known, Loader, Unknown};

use crate::{
    lab::{Result, time},
    pairs::{Pairs, head},
};

/// Includes nothing.
struct Alone;

impl Loader for Alone {
    fn read(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn glob(&mut self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Measures and prints.
///
/// # Errors
/// wc(1) cannot be started, a temporary file cannot be written, or a configuration is wrong.
pub fn figures(pairs: usize, jails: usize) -> Result<()> {
    head(
        &format!("conf: jail.conf of {jails} jails read, parsed and resolved, against wc(1) of it"),
        "conf",
        "wc",
    );
    for (what, text) in [("one pattern", by_pattern(jails)), ("all in each", by_bodies(jails))] {
        let path = std::env::temp_dir().join(format!("vimage-figures-{}.conf", std::process::id()));
        fs::write(&path, &text)?;
        let measured = Pairs::measure(pairs, |_, is_ours| {
            if is_ours {
                let start = Instant::now();
                resolve(fs::read(&path)?, jails)?;
                return Ok(start.elapsed().as_secs_f64() * 1e6);
            }
            time(Command::new("wc").arg(&path).env("LC_ALL", "C").stdout(Stdio::null()))
        });
        fs::remove_file(&path)?;
        measured?.print(&format!("{what}, {:.1} MB", text.len() as f64 / 1e6), "us");
    }
    Ok(())
}

fn resolve(text: Vec<u8>, jails: usize) -> Result<()> {
    let conf = Conf::load("jail.conf", text, &mut Alone)?;
    let mut resolver = conf.resolver(&parameter);
    // All are kept, as jail(8) does to order them by what they depend on.
    let resolved: Vec<_> = resolver.jails().collect();
    if resolved.len() != jails || resolved.iter().any(|jail| !jail.problems.is_empty()) {
        return Err("the configuration is wrong".into());
    }
    black_box(resolved);
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "what knows parameters may refuse them")]
fn parameter(word: &str) -> std::result::Result<Known, Unknown> {
    let list =
        word.starts_with("exec.") && word != "exec.clean" || word.ends_with(".addr") || word == "depend";
    Ok(Known { name: word.to_owned(), list })
}

const BODY: &str = "    path = \"/jails/$name\";\n    host.hostname = \"${name}.example.org\";\n    \
                    exec.start = \"/bin/sh /etc/rc\";\n    exec.stop = \"/bin/sh /etc/rc.shutdown\";\n    \
                    exec.consolelog = \"/var/log/jail_${name}_console.log\";\n    exec.clean;\n    \
                    mount.devfs;\n    devfs_ruleset = 4;\n    enforce_statfs = 2;\n    persist;\n";

/// One block that says nearly everything, and one for each jail.
fn by_pattern(jails: usize) -> String {
    let mut text = format!("# Defaults.\n* {{\n{BODY}}}\n");
    for n in 0..jails {
        let (high, low) = (n / 250 % 250, n % 250 + 1);
        let _into_memory = writeln!(text, "jail{n} {{ ip4.addr = 10.1.{high}.{low}; }}");
    }
    text
}

/// A block for each jail that says everything.
fn by_bodies(jails: usize) -> String {
    let mut text = String::new();
    for n in 0..jails {
        let (high, low) = (n / 250 % 250, n % 250 + 1);
        let depend = n.saturating_sub(1);
        let _into_memory = writeln!(
            text,
            "# Jail {n}.\njail{n} {{\n{BODY}    ip4.addr = 10.1.{high}.{low};\n    depend = jail{depend};\n}}"
        );
    }
    text
}
