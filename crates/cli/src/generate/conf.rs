//! The manual page of the configuration: jail.conf(5).

use super::man::{Page, escaped};

/// What a file is made of, each with what it means.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "NAME { ... }",
        "A jail, with what is said of it between the braces. A block in a block is a jail in a jail: its \
         name begins with that of the other and a dot. A NAME that is a number is the jail's jid, and its name if no name is \
         given.",
    ),
    (
        "PATTERN { ... }",
        "All jails whose names the pattern meets: in it * stands for one part of a name between dots, and at \
         its end for one or more. The block applies by its place: it overrides what is before it, and what is behind it \
         overrides it.",
    ),
    (
        "PARAMETER;",
        "A parameter that stands by itself: a boolean that is true or, with no before the last part of its \
         name, false; a mode that is new.",
    ),
    (
        "PARAMETER = VALUE, VALUE;",
        "A parameter with its value; a list may have several. A later definition overrides an \
         earlier one.",
    ),
    ("PARAMETER += VALUE, VALUE;", "Adds to a list."),
    ("$VARIABLE = VALUE;", "A variable, which is no parameter and is there for values alone."),
    (
        ".include \"FILE\";",
        "Reads another file in its place. The name is relative to the directory of the file that it is \
         in, has no variables, and may be a pattern as of glob(7), which may meet no file. Files include each other 32 deep.",
    ),
];

const VALUES: &[&str] = &[
    "A value is a word of letters, digits and most signs, a string in double quotes, a string in single quotes, or several \
     of these without a blank between them.",
    "Outside of single quotes $NAME and ${NAME.WITH.DOTS} stand for the value of a variable or of a parameter: the one that \
     it has in the end, for each jail its own. So path = \"/jails/$name\"; outside of all blocks gives each jail a directory \
     named after it. What has several values cannot be part of a longer text.",
    "A backslash makes a sign of what is behind it: \\n, \\t and the like as in C, \\ooo and \\xhh for a character by its \
     number, and at the end of a line nothing of both.",
    "Comments begin with # or // and end with their line, or begin with /* and end with */.",
];

const JAILS: &[&str] = &[
    "What is outside of any block applies to all jails that follow, and to those before it where it overrides them.",
    "A jail needs those that its parameter depend names, and the one that it is in: these are created first, and it is removed \
     before them. A dependency that goes round in a circle is an error of the jails in it.",
    "In a file, command is one more line of exec.start, after the others.",
    "All that is wrong with a file and those that it includes is reported at once, each with its line. Then nothing is done. A \
     jail of which a parameter is wrong is not touched, and the others are.",
];

const EXAMPLE: &str = "# What all have.\n\
    path = \"/jails/$name\";\n\
    host.hostname = \"$name.example.org\";\n\
    exec.start = \"/bin/sh /etc/rc.local\";\n\
    exec.clean;\n\
    persist;\n\
    \n\
    db  { vnet.link = \"eth0 lan 10.9.0.11/24\"; }\n\
    web {\n\
    \x20   vnet.link = \"eth0 lan 10.9.0.12/24\";\n\
    \x20   mount = \"/srv/pages /var/www none ro\";\n\
    \x20   depend = db;\n\
    }";

/// The page, in section 5.
pub(super) fn page() -> String {
    let mut page = Page::default();
    page.begin("jail.conf", (5, "File Formats Manual"), "configuration of jails");
    page.line(".SH DESCRIPTION");
    page.text(
        "A text that says which jails there are, for jail(8). Its language is FreeBSD's. The parameters are those of jail(8).",
    );
    for (statement, meaning) in STATEMENTS {
        page.item(&escaped(statement), &escaped(meaning));
    }
    page.line(".SS Values");
    page.paragraphs(VALUES);
    page.line(".SS Jails");
    page.paragraphs(JAILS);
    page.line(".SH FILES");
    page.item("/etc/jail.conf", "What jail(8) reads where it is given no other.");
    page.item(
        "/etc/jail.conf.d/*.conf",
        "What it reads behind that, unless /etc/jail.conf has the name of the directory in it: then it is for that to include \
         them.",
    );
    page.line(".SH EXAMPLES");
    page.verbatim(EXAMPLE);
    page.line(".SH SEE ALSO");
    page.line("\\fBdevfs.rules\\fR(5),\n\\fBglob\\fR(7),\n\\fBjail\\fR(8)");
    page.into_text()
}

#[cfg(test)]
mod tests {
    use ::jail::configuration::Configuration;

    use super::*;

    #[test]
    fn the_example_is_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jail.conf");
        std::fs::write(&file, EXAMPLE).unwrap();
        let registry = crate::registry(&[]).unwrap();
        let configuration = Configuration::read(file.to_str(), &registry).unwrap();
        let jails = configuration.jails();
        assert!(jails.iter().all(|jail| jail.wrong.is_empty()), "{jails:?}");
        let said: Vec<_> =
            jails.iter().map(|j| (j.jail(), j.given.settings.text("path").unwrap_or_default())).collect();
        assert_eq!(said, [("db", "/jails/db"), ("web", "/jails/web")]);
        assert!(page().contains("\n.SS Values\n"));
    }
}
