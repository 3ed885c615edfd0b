//! `vnet.sysctl`: `"net.NAME=VALUE"`, and the one that every stack of ours is given.

use std::{fmt, fs, io, os::fd::AsFd, path::PathBuf};

use kernel::namespace::Visit;
use serde_json::json;
use vimage::{Context as _, Error, Instance, Piece, Result, Settings, Site};

use super::{NAME, stack};

/// The kind of the piece of a value that a change has brought. Its key is the name; it knows what was there before, for
/// a change that is taken back. A jail that is removed takes its values along.
pub const KIND: &str = "sysctl";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (KIND, "sysctl");

/// One value, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The name as the user wrote it.
    name: String,
    /// What is written.
    value: String,
}

impl Spec {
    /// Reads one item. As with sysctl(8) a slash in a name stands for a dot that separates nothing:
    /// `net.ipv4.conf.eth0/100.forwarding`.
    ///
    /// # Errors
    /// `vnet.sysctl: "kernel.x=1": not a name below net`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::usage(format!("vnet.sysctl: \"{text}\": {what}"));
        let (name, value) =
            text.split_once('=').ok_or_else(|| bad("value missing").hint("net.NAME=VALUE"))?;
        let spec = Self { name: name.trim().to_owned(), value: value.trim().to_owned() };
        let words: Vec<_> = spec.name.split('.').collect();
        let fair = |word: &&str| {
            let signs = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:@/".contains(&b));
            // A word of slashes alone would be a path of dots.
            signs && word.bytes().any(|b| b != b'/')
        };
        if words.len() < 2 || words[0] != "net" || !words.iter().all(fair) {
            return Err(bad("not a name below net"));
        }
        if spec.value.is_empty() || spec.value.contains(['\n', '\0']) {
            return Err(bad("not a value"));
        }
        Ok(spec)
    }

    /// Reads all items.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse_all(items: &[String]) -> Result<Vec<Self>> {
        items.iter().map(|item| Self::parse(item)).collect()
    }

    /// Its file, seen from inside the stack.
    fn path(&self) -> PathBuf {
        let swapped = self.name.split('.').map(|word| word.replace('/', "."));
        ["/proc/sys".to_owned()].into_iter().chain(swapped).collect()
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Gives a new stack its values, before it has interfaces: `net.ipv4.conf.default` is for those that come.
/// Returns those whose files are not there yet: an interface brings its own.
///
/// # Errors
/// The stack cannot be entered, or a value is refused.
pub fn begin(stack: impl AsFd, specs: &[Spec]) -> Result<Vec<&Spec>> {
    if specs.is_empty() {
        return Ok(Vec::new());
    }
    let _inside = stack::visit(stack)?;
    let mut later = Vec::new();
    for spec in specs {
        match fs::write(spec.path(), &spec.value) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => later.push(spec),
            other => other.doing_with(|| format!("vnet.sysctl: \"{spec}\""))?,
        }
    }
    Ok(later)
}

/// Writes the values, and keeps the given interfaces from being configured by routers.
///
/// # Errors
/// The stack cannot be entered, or a value is refused.
pub fn set(stack: impl AsFd, specs: &[&Spec], quiet: &[&str]) -> Result<()> {
    if specs.is_empty() && quiet.is_empty() {
        return Ok(());
    }
    write(&stack::visit(stack)?, specs, quiet)
}

/// As [`set`], of the stack that is being visited.
///
/// # Errors
/// A value is refused.
pub fn write(_inside: &Visit, specs: &[&Spec], quiet: &[&str]) -> Result<()> {
    for name in quiet {
        // No such file: the kernel has no IPv6.
        off(&format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0")?;
    }
    specs.iter().try_for_each(|spec| {
        fs::write(spec.path(), &spec.value).doing_with(|| format!("vnet.sysctl: \"{spec}\""))
    })
}

/// Changes the values of a living jail's stack. One that is taken away keeps its value.
///
/// # Errors
/// As [`set`].
pub fn change(site: &mut Site<'_>, stack: impl AsFd, specs: &[Spec], old: &Settings) -> Result<()> {
    let pieces: Vec<_> = site.instance().pieces_of(NAME, KIND).cloned().collect();
    for piece in pieces.iter().filter(|piece| specs.iter().all(|spec| spec.name != piece.key)) {
        site.unmake(piece, || Ok(()))?;
    }
    // What the old settings say needs no piece to be found again.
    let listed = Spec::parse_all(old.list("vnet.sysctl")).unwrap_or_default();
    let names: Vec<_> = listed.iter().map(|spec| &spec.name).chain(pieces.iter().map(|p| &p.key)).collect();
    let (kept, new): (Vec<_>, Vec<_>) = specs.iter().partition(|spec| names.contains(&&spec.name));
    set(stack.as_fd(), &kept, &[])?;
    for spec in new {
        let was = {
            let _inside = stack::visit(stack.as_fd())?;
            fs::read_to_string(spec.path()).ok()
        };
        let piece = Piece::new(KIND, &spec.name).with(json!({ "was": was.as_deref().map(str::trim) }));
        site.make(piece, || set(stack.as_fd(), &[spec], &[]))?;
    }
    Ok(())
}

/// Gives a value that a change has brought back for what was there before.
///
/// # Errors
/// The stack cannot be entered, or the value is refused.
pub fn undo(of: &Instance<'_>, piece: &Piece) -> Result<()> {
    let (Some(was), Some(jail)) = (piece.text("was"), of.fd("net")?) else { return Ok(()) };
    let spec = Spec { name: piece.key.clone(), value: was.to_owned() };
    let _inside = stack::visit(&*jail)?;
    match fs::write(spec.path(), &spec.value) {
        // It went with its interface.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing_with(|| format!("vnet.sysctl: \"{spec}\"")),
    }
}

/// Keeps a stack that only switches frames from looking into them: no IPv6 of its own on any port, and no
/// bridge-nf, whose hooks are on in every new stack where the module is loaded. With them jails on one bridge
/// cost time quadratic in their number, since each new port's chatter goes through the hooks of all.
///
/// # Errors
/// The stack cannot be entered, or the kernel refuses a value.
pub fn switch_only(stack: impl AsFd) -> Result<()> {
    let _inside = stack::visit(stack)?;
    for conf in ["all", "default"] {
        off(&format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1")?;
    }
    for tables in ["iptables", "ip6tables", "arptables"] {
        off(&format!("/proc/sys/net/bridge/bridge-nf-call-{tables}"), "0")?;
    }
    Ok(())
}

fn off(path: &str, value: &str) -> Result<()> {
    match fs::write(path, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing_with(|| format!("cannot write {path}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_a_path_below_net() {
        let path = |text| Spec::parse(text).unwrap().path().display().to_string();
        assert_eq!(path("net.ipv4.ip_forward=1"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(
            path("net.ipv4.conf.eth0/100.forwarding = 1"),
            "/proc/sys/net/ipv4/conf/eth0.100/forwarding"
        );
        assert_eq!(Spec::parse("net.ipv4.ip_local_port_range = 1 2").unwrap().value, "1 2");
        for bad in [
            "",
            "net.ipv4.ip_forward",
            "net=1",
            "kernel.hostname=x",
            "net.=1",
            "net..x=1",
            "net.//.kernel.hostname=x",
            "net.../x=1",
            "net.a b=1",
            "net.x=",
            "/net.x=1",
        ] {
            assert!(Spec::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_or_leaves_net(text in "net[a-z./=1]{0,20}|\\PC{0,30}") {
            if let Ok(spec) = Spec::parse(&text) {
                prop_assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec.clone());
                let path = spec.path();
                prop_assert!(path.starts_with("/proc/sys/net/"));
                prop_assert!(path.components().all(|c| c.as_os_str() != ".."));
            }
        }
    }
}
