//! How values are printed: columns, name=value, arguments of jail(8), JSON as libxo(3) has it.

use serde_json::{Map, Value as Tree, json};
use vimage::{Error, Kind, Result, Value};

use super::values::{Column, Values};

/// The manner of printing, as the flags say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// A line of names first.
    pub header: bool,
    /// name=value.
    pub names: bool,
    /// Values are quoted.
    pub quote: bool,
    /// Only what can be given to jail(8).
    pub skip: bool,
    /// Several lines a jail.
    pub verbose: bool,
    /// Names in place of numbers.
    pub by_name: bool,
}

impl Manner {
    /// Of these flags, of which a later one undoes an earlier one that it contradicts.
    pub(super) fn of<'f>(flags: impl IntoIterator<Item = &'f str>, named: bool) -> Self {
        let mut manner = Self::default();
        for flag in flags {
            manner = match flag {
                "h" => Self { header: true, skip: false, verbose: false, ..manner },
                "N" => Self { by_name: true, ..manner },
                "n" => Self { names: true, verbose: false, ..manner },
                "q" => Self { quote: true, ..manner },
                "s" => Self { names: true, quote: true, skip: true, header: false, verbose: false, ..manner },
                "v" => Self { verbose: true, header: false, names: false, skip: false, ..manner },
                _ => manner,
            };
        }
        Self { verbose: manner.verbose && !named, ..manner }
    }
}

/// The number of a jail: a text where it is one of a jail in another.
fn number(values: &Values) -> Tree {
    values.number.parse::<u32>().map_or_else(|_| values.number.as_str().into(), Tree::from)
}

/// The heading of the usual columns.
pub(super) fn heading(manner: &Manner) -> &'static str {
    match (manner.verbose, manner.by_name) {
        (true, _) => {
            "   JID  Hostname                      Path\n        Name                          State\n        \
             CPUSetID\n        IP Address(es)"
        }
        (false, false) => "   JID  IP Address      Hostname                      Path",
        (false, true) => " JID             IP Address      Hostname                      Path",
    }
}

/// The lines of a jail in the usual columns.
pub(super) fn standard(values: &Values, manner: &Manner) -> String {
    let (host, path) = (cut(values.hostname(), 29), cut(values.text("path"), 74));
    if manner.verbose {
        let (name, state) = (cut(&values.name, 29), state(values));
        let mut text =
            format!("{:>6}  {host:29} {path}\n        {name:29} {state}\n        -\n", values.number);
        for address in values.addresses() {
            text += &format!("        {address}\n");
        }
        return text;
    }
    let addresses = values.addresses();
    let address = cut(addresses.first().copied().unwrap_or_default(), 15);
    if manner.by_name {
        format!(" {:15} {address:15} {host:29} {path}\n", values.name)
    } else {
        format!("{:>6}  {address:15} {host:29} {path}\n", values.number)
    }
}

fn state(values: &Values) -> &'static str {
    if values.dying { "DYING" } else { "ACTIVE" }
}

/// At most so many characters.
fn cut(text: &str, width: usize) -> String {
    harmless(&text.chars().take(width).collect::<String>())
}

/// A text that tells a terminal nothing: what a jail's root has set may be meant to.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '?' } else { c }).collect()
}

/// The line of a jail's named parameters.
pub(super) fn named(values: &Values, columns: &[Column], manner: &Manner) -> String {
    let mut words = Vec::new();
    for column in columns {
        if manner.skip && !values.can_be_given(column) {
            continue;
        }
        let value = values.get(column);
        let name = &*column.name;
        match value.as_deref() {
            // Without its value a pair is dropped by jail(8).
            None if column.key.is_some() => {
                words.push(if manner.names { name.to_owned() } else { String::new() });
            }
            Some(Value::Bool(yes)) if manner.names => {
                words.push(if *yes { name.to_owned() } else { negated(name) });
            }
            Some(Value::List(items))
                if manner.skip
                    && !items.is_empty()
                    && column.param.kind == (Kind::List { commas: false }) =>
            {
                words.extend(items.iter().map(|item| format!("{name}={}", quoted(item))));
            }
            value => {
                let before = if manner.names { format!("{name}=") } else { String::new() };
                words.push(before + &printed(value, manner));
            }
        }
    }
    words.join(" ")
}

fn printed(value: Option<&Value>, manner: &Manner) -> String {
    let empty = match value {
        None => true,
        Some(Value::List(items)) => items.is_empty(),
        Some(_) => false,
    };
    match (value, empty) {
        (_, true) if manner.quote => "\"\"".to_owned(),
        (_, true) if manner.names => String::new(),
        (Some(value), false) => {
            let text = value.text();
            match text.is_empty() {
                true => "\"\"".to_owned(),
                false if manner.quote => quoted(&text),
                false => harmless(&text),
            }
        }
        _ => "-".to_owned(),
    }
}

/// `allow.noraw_sockets` of `allow.raw_sockets`.
fn negated(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, last)) => format!("{stem}.no{last}"),
        None => format!("no{name}"),
    }
}

/// A value as one word of a shell: as it is, or in the quotes that leave it as it is.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+".contains(c);
    if text.is_empty() {
        "\"\"".to_owned()
    } else if text.chars().all(plain) {
        text.to_owned()
    } else if !text.contains(['"', '$', '`', '\\', '!']) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A jail's named parameters. All values are text, as libxo(3) has them.
pub(super) fn named_json(values: &Values, columns: &[Column]) -> Tree {
    // A pair that is not there is left out.
    let there = columns.iter().filter(|c| c.key.is_none() || values.get(c).is_some());
    let text = |c: &Column| values.get(c).map(|value| value.text()).unwrap_or_default();
    let named: Map<_, _> = there.map(|c| (c.name.to_string(), Tree::String(text(c)))).collect();
    Tree::Object(named)
}

/// A jail in the usual columns.
pub(super) fn standard_json(values: &Values, manner: &Manner) -> Tree {
    let (host, path) = (values.hostname(), values.text("path"));
    let (v6, v4): (Vec<&str>, Vec<&str>) = values.addresses().into_iter().partition(|a| a.contains(':'));
    if manner.verbose {
        return json!({
            "jid": number(values), "hostname": host, "path": path, "name": values.name,
            "state": state(values), "ipv4_addrs": v4, "ipv6_addrs": v6,
        });
    }
    let mut jail = json!({ "hostname": host, "path": path });
    // FreeBSD's key; what is no such address has one of its own.
    jail["ipv4"] = v4.first().copied().unwrap_or_default().into();
    if let (Some(v6), None) = (v6.first(), v4.first()) {
        jail["ipv6"] = (*v6).into();
    }
    if manner.by_name {
        jail["name"] = values.name.clone().into();
    } else {
        jail["jid"] = number(values);
    }
    jail
}

/// A form of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Json {
    pretty: bool,
}

impl Json {
    /// Of libxo's options; `None`: text.
    ///
    /// # Errors
    /// Another format.
    pub(super) fn parse(text: &str) -> Result<Option<Self>> {
        let mut json = None;
        let mut pretty = false;
        for option in text.split(',') {
            match option {
                "json" => json = Some(()),
                "text" => json = None,
                "pretty" => pretty = true,
                other => {
                    return Err(Error::unsupported(format!("--libxo: unknown format \"{other}\""))
                        .hint("text, json, or json,pretty"));
                }
            }
        }
        Ok(json.map(|()| Self { pretty }))
    }

    /// The document of these jails.
    pub(super) fn document(self, jails: Vec<Tree>) -> String {
        let tree = json!({ "__version": "2", "jail-information": { "jail": jails } });
        if self.pretty { format!("{tree:#}") } else { tree.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jls::values;
    use vimage::Settings;

    fn web() -> Values {
        let mut settings = Settings::default();
        settings.set("jid", Value::Int(3));
        settings.set("name", Value::Text("web".into()));
        settings.set("path", Value::Text("/srv/web".into()));
        settings.set("persist", Value::Bool(true));
        settings.set("user", Value::Text("new".into()));
        settings.set("mount.fstab", Value::Text(String::new()));
        settings.set("host.hostname", Value::Text("a.very.long.host.name.of.many.parts".into()));
        settings.set("mount", Value::List(vec!["tmpfs /a tmpfs rw 0 0".into(), "x".into()]));
        let links = ["eth0 lan 10.0.0.2/24 fd00::2/64 mac 02:00:00:00:00:01", "eth1 b:x", "e2 c mtu 9/9"];
        settings.set("vnet.link", Value::List(links.map(str::to_owned).to_vec()));
        Values { settings, number: "3".into(), name: "web".into(), dying: false }
    }

    fn line(flags: &[&str], words: &[&str]) -> String {
        let registry = crate::registry(&[]).unwrap();
        let manner = Manner::of(flags.iter().copied(), !words.is_empty());
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let columns = values::columns(&registry, &words, &manner).unwrap();
        named(&web(), &columns, &manner)
    }

    #[test]
    fn the_usual_columns_are_upstreams() {
        let manner = Manner::default();
        assert_eq!(heading(&manner), "   JID  IP Address      Hostname                      Path");
        assert_eq!(
            standard(&web(), &manner),
            "     3  10.0.0.2        a.very.long.host.name.of.many /srv/web\n"
        );
        let manner = Manner { by_name: true, ..manner };
        assert_eq!(heading(&manner), " JID             IP Address      Hostname                      Path");
        assert_eq!(
            standard(&web(), &manner),
            " web             10.0.0.2        a.very.long.host.name.of.many /srv/web\n"
        );
    }

    #[test]
    fn verbose_has_a_line_an_address() {
        let manner = Manner { verbose: true, ..Manner::default() };
        let expected = "     3  a.very.long.host.name.of.many /srv/web\n        web                           \
                        ACTIVE\n        -\n        10.0.0.2\n        fd00::2\n";
        assert_eq!(standard(&web(), &manner), expected);
    }

    #[test]
    fn named_parameters_are_in_the_order_asked() {
        assert_eq!(line(&[], &["name", "jid", "persist"]), "web 3 true");
        assert_eq!(line(&["n"], &["name", "persist", "dying"]), "name=web persist dying=");
        assert_eq!(line(&[], &["mount.fstab", "exec.start"]), "\"\" -");
        assert_eq!(line(&["n"], &["mount.fstab", "exec.start"]), "mount.fstab=\"\" exec.start=");
        assert_eq!(line(&["nq"], &["mount"]), "tmpfs /a tmpfs rw 0 0,x");
        assert_eq!(line(&["q"], &["mount"]), "\"tmpfs /a tmpfs rw 0 0,x\"");
    }

    #[test]
    fn arguments_of_jail_are_one_an_item_and_leave_out_what_cannot_be_given() {
        assert_eq!(
            line(&["s"], &["jid", "parent", "persist", "mount", "exec.start", "mount.fstab"]),
            "jid=3 persist mount=\"tmpfs /a tmpfs rw 0 0\" mount=x mount.fstab=\"\""
        );
    }

    #[test]
    fn later_flags_undo_earlier_ones() {
        assert!(Manner::of(["s", "h"], false).header);
        assert!(!Manner::of(["s", "h"], false).skip);
        assert!(!Manner::of(["h", "s"], false).header);
        assert!(!Manner::of(["v"], true).verbose);
    }

    #[test]
    fn quotes_leave_a_value_as_it_is_in_a_shell() {
        assert_eq!(quoted("10.0.0.1/24"), "10.0.0.1/24");
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("say \"x\""), "'say \"x\"'");
        assert_eq!(quoted("it's $x"), "'it'\\''s $x'");
        assert_eq!(quoted("a;b"), "\"a;b\"");
        assert_eq!(negated("allow.raw_sockets"), "allow.noraw_sockets");
        assert_eq!(negated("persist"), "nopersist");
    }

    #[test]
    fn json_is_libxos() {
        let json = Json::parse("json").unwrap().unwrap();
        assert_eq!(
            json.document(vec![standard_json(&web(), &Manner::default())]),
            "{\"__version\":\"2\",\"jail-information\":{\"jail\":[{\"hostname\":\
             \"a.very.long.host.name.of.many.parts\",\"ipv4\":\"10.0.0.2\",\"jid\":3,\"path\":\"/srv/web\"}]}}"
        );
        assert!(Json::parse("json,pretty").unwrap().unwrap().pretty);
        assert_eq!(Json::parse("text").unwrap(), None);
        assert!(Json::parse("xml").is_err());
    }
}
