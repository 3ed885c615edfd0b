//! How values are printed: columns, name=value, arguments of jail(8), JSON as libxo(3) has it.

use std::{borrow::Cow, cell::Cell, result::Result};

use serde::{Serialize, Serializer};
use serde_json::{Value as Tree, json};
use vimage::{Error, Kind, Value};

use super::values::{Column, Values};
use crate::output::Output;

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
        let (name, state) = (cut(&values.record.name, 29), state(values));
        let mut text =
            format!("{:>6}  {host:29} {path}\n        {name:29} {state}\n        -\n", values.number());
        for address in values.addresses() {
            text += &format!("        {address}\n");
        }
        return text;
    }
    let addresses = values.addresses();
    let address = cut(addresses.first().copied().unwrap_or_default(), 15);
    if manner.by_name {
        format!(" {:15} {address:15} {host:29} {path}\n", values.record.name)
    } else {
        format!("{:>6}  {address:15} {host:29} {path}\n", values.number())
    }
}

fn state(values: &Values) -> &'static str {
    if values.is_dying() { "DYING" } else { "ACTIVE" }
}

/// At most so many characters.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    harmless(text.char_indices().nth(width).map_or(text, |(end, _)| &text[..end]).into())
}

/// A text that tells a terminal nothing: what a jail's root has set may be meant to.
fn harmless(text: Cow<'_, str>) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(harms) { text.replace(harms, "?").into() } else { text }
}

/// The number of a jail: a text where it is one of a jail in another.
fn number(values: &Values) -> Tree {
    values.number.as_deref().map_or_else(|| values.record.jid.into(), Tree::from)
}

/// The line of a jail's named parameters.
pub(super) fn named(values: &Values, columns: &[Column], manner: &Manner) -> String {
    // Of a thousand jails these are a hundred thousand words: none is a text of its own before it is in the line.
    let mut line = String::new();
    let mut word = |parts: &[&str]| {
        line.extend(parts.iter().copied());
        line.push(' ');
    };
    for column in columns {
        let value = values.get(column);
        if manner.skip && !values.can_be_given(column, value.as_deref()) {
            continue;
        }
        let name = &*column.name;
        match value.as_deref() {
            // Without its value a pair is dropped by jail(8).
            None if column.key.is_some() => word(&[if manner.names { name } else { "" }]),
            Some(Value::Bool(true)) if manner.names => word(&[name]),
            Some(Value::Bool(false)) if manner.names => word(&negated(name)),
            Some(Value::List(items))
                if manner.skip
                    && !items.is_empty()
                    && column.param.kind == (Kind::List { commas: false }) =>
            {
                items.iter().for_each(|item| word(&[name, "=", &quoted(item)]));
            }
            value => {
                let printed = printed(value, manner);
                if manner.names { word(&[name, "=", &printed]) } else { word(&[&printed]) }
            }
        }
    }
    line.pop();
    line
}

fn printed<'v>(value: Option<&'v Value>, manner: &Manner) -> Cow<'v, str> {
    let empty = match value {
        None => true,
        Some(Value::List(items)) => items.is_empty(),
        Some(_) => false,
    };
    match (value, empty) {
        (_, true) if manner.quote => "\"\"".into(),
        (_, true) if manner.names => "".into(),
        (Some(value), false) => match text(value) {
            text if text.is_empty() => "\"\"".into(),
            Cow::Borrowed(text) if manner.quote => quoted(text),
            Cow::Owned(text) if manner.quote => quoted(&text).into_owned().into(),
            text => harmless(text),
        },
        _ => "-".into(),
    }
}

/// The text of a value.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => text.into(),
        other => other.text().into(),
    }
}

/// `allow.noraw_sockets` of `allow.raw_sockets`, in parts.
fn negated(name: &str) -> [&str; 4] {
    match name.rsplit_once('.') {
        Some((stem, last)) => [stem, ".", "no", last],
        None => ["", "", "no", name],
    }
}

/// A value as one word of a shell: as it is, or in the quotes that leave it as it is.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+".contains(c);
    if text.is_empty() {
        "\"\"".into()
    } else if text.chars().all(plain) {
        text.into()
    } else if !text.contains(['"', '$', '`', '\\', '!']) {
        format!("\"{text}\"").into()
    } else {
        format!("'{}'", text.replace('\'', "'\\''")).into()
    }
}

/// A jail's named parameters. All values are text, as libxo(3) has them.
pub(super) struct NamedJson<'c> {
    /// The jail's values.
    pub values: Values,
    /// The parameters.
    pub columns: &'c [Column],
}

impl Serialize for NamedJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // A pair that is not there is left out.
        let there = self.columns.iter().map(|c| (c, self.values.get(c)));
        let there = there.filter(|(c, value)| c.key.is_none() || value.is_some());
        to.collect_map(there.map(|(c, value)| (&c.name, Text(value))))
    }
}

/// A value as libxo(3) has it.
struct Text<'v>(Option<Cow<'v, Value>>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.as_deref().map(text).unwrap_or_default())
    }
}

/// The columns as an object has them: by their names.
pub(super) fn in_order(mut columns: Vec<Column>) -> Vec<Column> {
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    columns
}

/// A jail in the usual columns.
pub(super) fn standard_json(values: &Values, manner: &Manner) -> Tree {
    let (host, path) = (values.hostname(), values.text("path"));
    let (v6, v4): (Vec<&str>, Vec<&str>) = values.addresses().into_iter().partition(|a| a.contains(':'));
    if manner.verbose {
        return json!({
            "jid": number(values), "hostname": host, "path": path, "name": values.record.name,
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
        jail["name"] = values.record.name.clone().into();
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
    pub(super) fn parse(text: &str) -> vimage::Result<Option<Self>> {
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

    /// Prints the document of these jails, each as it comes: all at once may be megabytes.
    pub(super) fn document<J: Iterator<Item: Serialize>>(self, out: &mut Output, jails: J) {
        let document =
            Document { version: "2", information: Information { jail: Sequence(Cell::new(Some(jails))) } };
        let done = match self.pretty {
            true => document.serialize(&mut serde_json::Serializer::pretty(&mut *out)),
            false => document.serialize(&mut serde_json::Serializer::new(&mut *out)),
        };
        debug_assert!(done.is_ok(), "texts and lists of them are JSON, and the output takes all");
        out.line("");
    }
}

/// What libxo(3) has around the jails.
#[derive(Serialize)]
struct Document<J> {
    #[serde(rename = "__version")]
    version: &'static str,
    #[serde(rename = "jail-information")]
    information: Information<J>,
}

#[derive(Serialize)]
struct Information<J> {
    jail: J,
}

/// What is written one after the other, once.
struct Sequence<J>(Cell<Option<J>>);

impl<J: Iterator<Item: Serialize>> Serialize for Sequence<J> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.take().into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use ::jail::record::{Record, State};
    use vimage::Settings;

    use super::*;
    use crate::jls::values;

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
        let record = Record { name: "web".into(), settings, ..Record::blank(3, State::Alive) };
        Values { record: Rc::new(record), live: Settings::default(), number: None }
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
        assert_eq!(negated("allow.raw_sockets").concat(), "allow.noraw_sockets");
        assert_eq!(negated("persist").concat(), "nopersist");
    }

    #[test]
    fn json_is_libxos() {
        let json = Json::parse("json").unwrap().unwrap();
        let mut out = Output::default();
        json.document(&mut out, [standard_json(&web(), &Manner::default())].into_iter());
        assert_eq!(
            out.take(),
            "{\"__version\":\"2\",\"jail-information\":{\"jail\":[{\"hostname\":\
             \"a.very.long.host.name.of.many.parts\",\"ipv4\":\"10.0.0.2\",\"jid\":3,\"path\":\"/srv/web\"}]}}\n"
        );
        assert!(Json::parse("json,pretty").unwrap().unwrap().pretty);
        assert_eq!(Json::parse("text").unwrap(), None);
        assert!(Json::parse("xml").is_err());
    }
}
