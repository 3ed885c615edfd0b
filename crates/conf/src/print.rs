//! Files from trees, and values for other programs.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use crate::{
    escape,
    lexer::is_bare,
    tree::{Item, Part, Tree, Word},
};

/// A value as `jail -e` prints it: in quotes if it is empty or has blanks or quotes in it, with a backslash before
/// backslashes and that quote. jail.conf(5) reads it as the same value. Unlike FreeBSD, control characters, line feeds
/// among them, are escaped, so that a line is a line and nothing is an order to a terminal.
#[must_use]
pub fn quoted(value: &str) -> Cow<'_, str> {
    let quote = match value {
        "" => Some('"'),
        _ if value.contains('\'') => Some('"'),
        _ if value.contains('"') => Some('\''),
        _ if value.contains([' ', '\t']) => Some('"'),
        _ => None,
    };
    if quote.is_none() && value.chars().all(|c| c != '\\' && escape::is_plain(c)) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len() + 2);
    text.extend(quote);
    for c in value.chars() {
        if c == '\\' || Some(c) == quote {
            text.push('\\');
        }
        push(&mut text, c);
    }
    text.extend(quote);
    Cow::Owned(text)
}

/// Adds a character, by its bytes' numbers if it does not show as itself.
fn push(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        '\r' => text.push_str("\\r"),
        c if escape::is_plain(c) => text.push(c),
        c => {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // A string takes everything.
                let _written = write!(text, "\\x{byte:02x}");
            }
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.iter().try_for_each(|item| write_item(f, item, 0))
    }
}

fn write_item(f: &mut fmt::Formatter<'_>, item: &Item, depth: usize) -> fmt::Result {
    let indent = 4 * depth;
    write!(f, "{:indent$}", "")?;
    match item {
        Item::Block(block) => {
            writeln!(f, "{} {{", name(&block.name))?;
            block.items.iter().try_for_each(|item| write_item(f, item, depth + 1))?;
            writeln!(f, "{:indent$}}}", "")
        }
        Item::Definition(definition) => {
            match definition.variable {
                true => f.write_str(&variable(&definition.name, None))?,
                false => f.write_str(&name(&definition.name))?,
            }
            if !definition.values.is_empty() {
                f.write_str(if definition.append { " += " } else { " = " })?;
                list(f, definition.values.iter())?;
            }
            f.write_str(";\n")
        }
        Item::Include(include) => {
            f.write_str(".include ")?;
            list(f, include.names.iter().map(|(name, _)| string(name)))?;
            f.write_str(";\n")
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, mut of: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    if let Some(first) = of.next() {
        write!(f, "{first}")?;
    }
    of.try_for_each(|next| write!(f, ", {next}"))
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.parts {
            [Part::Text(text)] if text.bytes().all(is_bare) => return f.write_str(text),
            [Part::Variable { name, .. }] => return f.write_str(&variable(name, None)),
            _ => {}
        }
        let mut text = String::from('"');
        for (n, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(part) => push_string(&mut text, part),
                Part::Variable { name, .. } => {
                    let behind = match self.parts.get(n + 1) {
                        Some(Part::Text(text)) => text.chars().next(),
                        _ => None,
                    };
                    text.push_str(&variable(name, behind));
                }
            }
        }
        text.push('"');
        f.write_str(&text)
    }
}

/// The name of a jail or parameter.
fn name(of: &str) -> Cow<'_, str> {
    let is_name = |byte| is_bare(byte) || byte == b'*';
    if !of.is_empty() && of.bytes().all(is_name) { Cow::Borrowed(of) } else { Cow::Owned(string(of)) }
}

fn string(of: &str) -> String {
    let mut text = String::from('"');
    push_string(&mut text, of);
    text.push('"');
    text
}

fn push_string(text: &mut String, of: &str) {
    for c in of.chars() {
        if matches!(c, '"' | '\\' | '$') {
            text.push('\\');
        }
        push(text, c);
    }
}

/// A variable before a character, without braces if they are not needed.
fn variable(name: &str, behind: Option<char>) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_word = name.chars().all(is_part) && name.starts_with(|c| is_part(c) && !c.is_ascii_digit());
    if is_word && !behind.is_some_and(is_part) {
        return format!("${name}");
    }
    let mut text = String::from("${");
    for c in name.chars() {
        match c {
            // They would end the name, or the string around it.
            '{' | '}' | '"' | '\\' => {
                // A string takes everything.
                let _written = write!(text, "\\x{:02x}", u32::from(c));
            }
            c => push(&mut text, c),
        }
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_jail_e_does_it() {
        for (value, wanted) in [
            ("", "\"\""),
            ("web", "web"),
            ("/bin/sh /etc/rc", "\"/bin/sh /etc/rc\""),
            ("a\tb", "\"a\\tb\""),
            ("it's", "\"it's\""),
            ("say \"x\"", "'say \"x\"'"),
            ("it's \"x\"", "\"it's \\\"x\\\"\""),
            ("a\\b", "a\\\\b"),
            ("a,b;c", "a,b;c"),
            ("é", "é"),
            ("\x1b[2J\n", "\\x1b[2J\\n"),
            ("\u{9b}", "\\xc2\\x9b"),
        ] {
            assert_eq!(quoted(value), wanted);
        }
    }
}
