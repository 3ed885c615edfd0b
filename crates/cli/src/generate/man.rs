//! Manual pages: man(7).

use std::fmt::Write as _;

use kernel::act::Act;
use vimage::{Kind, Param, Registry};

use crate::{
    TOOLS,
    flags::{COMMON, Flag, Tool, Word},
    show,
};

/// The page of a tool, in section 8.
pub(super) fn page(tool: &Tool, registry: &Registry<Act>) -> String {
    let mut page = Page::default();
    page.begin(tool.name, (8, "System Manager's Manual"), tool.about);
    page.line(".SH SYNOPSIS");
    for (n, synopsis) in tool.synopsis.iter().enumerate() {
        if n > 0 {
            page.line(".br");
        }
        page.line(&format!("\\fB{}\\fR {}", tool.name, escaped(synopsis)));
    }
    page.line(".SH DESCRIPTION");
    page.paragraphs(tool.doc);
    page.line(".SH OPTIONS");
    for flag in tool.flags.iter().chain(COMMON).filter(|f| f.exists(registry)) {
        page.flag(flag);
    }
    if tool.words.contains(&Word::Definition) {
        page.parameters(registry);
    }
    page.line(".SH ENVIRONMENT");
    page.item("JAIL_ROOT", "The folder of the jails' records, where \\-\\-root is not given.");
    page.line(".SH FILES");
    page.item("/run/jail", "The records of the jails, where nothing else is said.");
    page.line(".SH EXIT STATUS");
    page.text(tool.exit);
    page.line(".SH EXAMPLES");
    for (command, what) in tool.examples {
        page.item(&escaped(command), &escaped(what));
    }
    if !tool.diagnostics.is_empty() {
        page.line(".SH DIAGNOSTICS");
        page.text(&format!(
            "What was done goes to standard output. What went wrong goes to error output, behind {}:, the name of a \
             configured jail, and the parameter that it is about; advice may follow in a line of its own. ERROR stands for what \
             was found wrong, mostly by the kernel.",
            tool.name
        ));
        for diagnostic in tool.diagnostics {
            page.item(&escaped(&(diagnostic.text)()), &escaped(diagnostic.means));
        }
    }
    page.line(".SH SEE ALSO");
    let others: Vec<_> = TOOLS.iter().filter(|t| t.name != tool.name).map(|t| t.name).collect();
    let mut others: Vec<_> = others.into_iter().map(|name| format!("\\fB{name}\\fR(8)")).collect();
    if tool.name == "jail" {
        others.extend(["jail.conf", "devfs.rules"].map(|name| format!("\\fB{name}\\fR(5)")));
    }
    others.extend(["cgroups", "namespaces"].map(|name| format!("\\fB{name}\\fR(7)")));
    page.line(&others.join(",\n"));
    page.into_text()
}

/// The text of a page.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// The head of a page, of a section of a manual.
    pub(super) fn begin(&mut self, name: &str, (section, manual): (u8, &str), about: &str) {
        let (title, version) = (escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"));
        self.line(&format!(".TH {title} {section} \"\" \"vimage {version}\" \"{manual}\""));
        self.line(".SH NAME");
        self.line(&format!("{} \\- {}", escaped(name), escaped(about)));
    }

    /// A line of roff.
    pub(super) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Text that is no roff.
    pub(super) fn text(&mut self, text: &str) {
        self.line(&escaped(text));
    }

    pub(super) fn paragraphs(&mut self, all: &[&str]) {
        for (n, paragraph) in all.iter().enumerate() {
            if n > 0 {
                self.line(".PP");
            }
            self.text(paragraph);
        }
    }

    /// A term and what it means; both are roff.
    pub(super) fn item(&mut self, term: &str, meaning: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{term}\\fR"));
        self.line(meaning);
    }

    /// Text whose lines stay as they are.
    pub(super) fn verbatim(&mut self, text: &str) {
        self.line(".nf");
        self.text(text);
        self.line(".fi");
    }

    /// The whole page.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn flag(&mut self, flag: &Flag) {
        let names = [("\\-", flag.short), ("\\-\\-", flag.long)];
        let names: Vec<_> = names
            .into_iter()
            .filter(|(_, name)| !name.is_empty())
            .map(|(dash, name)| format!("\\fB{dash}{}\\fR", escaped(name)))
            .collect();
        let value = flag.value.map(|v| format!(" \\fI{}\\fR", escaped(v))).unwrap_or_default();
        self.line(".TP");
        self.line(&(names.join(", ") + &value));
        let stands = flag.stands_for.map(|param| format!(" The same as {param}.")).unwrap_or_default();
        self.text(&format!("{}{stands}", flag.doc));
    }

    /// All parameters by subsystem, in the order in which they are made.
    fn parameters(&mut self, registry: &Registry<Act>) {
        self.line(".SH PARAMETERS");
        self.text(
            "Each is followed by its type, by when it can be given (create, modify, or read: not at all), and by \
             its default.",
        );
        for subsystem in registry.iter().filter(|s| !s.params().is_empty()) {
            self.line(&format!(".SS {}", escaped(subsystem.name())));
            self.text(&sentence(subsystem.about()));
            if !subsystem.doc().is_empty() {
                self.line(".PP");
                self.text(subsystem.doc());
            }
            for param in subsystem.params() {
                self.parameter(param);
            }
        }
        self.line(".SS refused");
        self.text("These parameters of FreeBSD's are known and refused.");
        for row in registry.refused() {
            self.line(".TP");
            self.line(&format!("\\fB{}\\fR", escaped(row.name)));
            let hint = row.hint;
            self.text(&format!("{} Instead: {hint}.", sentence(row.reason)));
        }
    }

    fn parameter(&mut self, param: &Param) {
        self.line(".TP");
        let default = param.default.map(|d| format!(", default {}", if d.is_empty() { "empty" } else { d }));
        let about = format!("({}, {}{})", param.kind_text(), show::when(param), default.unwrap_or_default());
        self.line(&format!("\\fB{}\\fR {}", escaped(param.name), escaped(&about)));
        let doc = if param.doc.is_empty() { sentence(param.help) } else { param.doc.to_owned() };
        let range = match param.kind {
            Kind::Int { min, max } | Kind::Percent { min, max } if max < i64::MAX => {
                format!(" From {min} to {max}.")
            }
            _ => String::new(),
        };
        let lifted = if param.can_be_lifted() { " An empty value lifts it." } else { "" };
        self.text(&format!("{doc}{range}{lifted}"));
    }
}

/// A line without a full stop as a sentence.
pub(super) fn sentence(line: &str) -> String {
    let mut letters = line.chars();
    let mut text: String = letters.next().map(char::to_uppercase).into_iter().flatten().collect();
    let _ = write!(text, "{}.", letters.as_str());
    text
}

/// Text as roff: nothing in it is a request or an escape.
pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A dot or quote that begins a line begins a request.
    let text = text.replace("\n.", "\n\\&.").replace("\n'", "\n\\&'");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_be_a_request() {
        assert_eq!(escaped(".TH x"), "\\&.TH x");
        assert_eq!(escaped("a\\b -c\n.d"), "a\\eb \\-c\n\\&.d");
        assert_eq!(sentence("pid namespace"), "Pid namespace.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn the_sections_are_those_of_a_manual() {
        let registry = crate::registry(&[]).unwrap();
        let text = page(&crate::jexec::TOOL, &registry);
        let sections: Vec<_> = text.lines().filter_map(|l| l.strip_prefix(".SH ")).collect();
        let expected = [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "ENVIRONMENT",
            "FILES",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ];
        assert_eq!(sections, expected);
        assert!(text.starts_with(".TH JEXEC 8 "));
        assert!(text.contains("\n\\fB\\-d\\fR \\fIDIR\\fR\n"));
    }
}
