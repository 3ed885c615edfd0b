//! What was written by others, so that it can be shown on a terminal.

use std::fmt;

/// Text without a character that a terminal would obey, or that would hide others: those are shown by their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'t>(pub &'t str);

/// Whether a character shows as itself.
pub(crate) fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if c.is_ascii() => false,
        // Control, format, private and unassigned characters, and those that combine with the one before.
        _ => c.escape_debug().nth(1).is_none(),
    }
}

/// Writes a character, by its number if it does not show as itself.
pub(crate) fn write_char(f: &mut impl fmt::Write, c: char) -> fmt::Result {
    match c {
        c if is_plain(c) => f.write_char(c),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c => write!(f, "{}", c.escape_unicode()),
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_char(f, c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_show_and_orders_to_a_terminal_do_not() {
        for (text, shown) in [
            ("web \"é\" '日本' \\", "web \"é\" '日本' \\"),
            ("\x1b]0;x\x07", "\\u{1b}]0;x\\u{7}"),
            ("a\nb\tc\r\0", "a\\nb\\tc\\r\\u{0}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}evil\u{200b}", "\\u{202e}evil\\u{200b}"),
            ("e\u{301}", "e\\u{301}"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
    }
}
