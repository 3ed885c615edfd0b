use crate::{complaints, conf, load, wrong};
use conf::Tree;

/// What is shown of one text.
#[track_caller]
fn shown(text: impl AsRef<[u8]>) -> String {
    Tree::parse("jail.conf", text.as_ref()).unwrap_err().to_string()
}

#[test]
fn a_token_out_of_place_is_shown_with_its_line_and_a_mark() {
    let text = "web {\n\tpath = \"/a\" }\n";
    let wanted = "jail.conf line 2: }: syntax error\n    2 |     path = \"/a\" }\n      |                 ^\n  \
                  hint: a statement ends with ;";
    assert_eq!(shown(text), wanted);
}

#[test]
fn every_token_can_be_out_of_place() {
    for (text, token) in [
        ("= a;", "="),
        ("+= a;", "+="),
        (", a;", ","),
        ("{ }", "{"),
        ("}", "}"),
        ("a = ;", ";"),
        ("a = b, ;", ";"),
        ("a = , b;", ","),
        ("a = b c;", "c"),
        ("a b c;", "c"),
        ("a = = b;", "="),
        ("a b { c; }", "{"),
        ("a = \"b\" 'c';", "'c'"),
        ("$a { b; }", "{"),
        ("a$b = c;", "a$b"),
        ("a$b { c; }", "a$b"),
        ("a { b; } }", "}"),
        ("a = é;", "é"),
        ("a = \u{c};", "\u{c}"),
    ] {
        let report = Tree::parse("f", text.as_bytes()).unwrap_err();
        let first = report.iter().next().unwrap().problem().message().to_owned();
        assert_eq!(first, format!("{token}: syntax error"), "{text}");
    }
}

#[test]
fn all_errors_of_a_file_are_reported_at_once() {
    let text = "a = ;\nweb {\n  b c d;\n  e = 'f';\n  g = }\n}\nh { i = j, ; }\n$k\n";
    let wanted = [
        "jail.conf line 1: ;: syntax error",
        "jail.conf line 3: d: syntax error",
        "jail.conf line 5: }: syntax error",
        "jail.conf line 6: }: syntax error",
        "jail.conf line 7: ;: syntax error",
        "jail.conf: unexpected EOF",
    ];
    assert_eq!(complaints(Tree::parse("jail.conf", text.as_bytes())), wanted);
}

#[test]
fn a_block_behind_an_error_is_looked_into() {
    let text = "web server { path = ; }\ndb { persist; }";
    let wanted = ["f line 1: {: syntax error", "f line 1: ;: syntax error"];
    assert_eq!(complaints(Tree::parse("f", text.as_bytes())), wanted);
}

#[test]
fn what_ends_too_early_is_said_without_a_line() {
    assert!(shown("path = /a").starts_with("jail.conf: unexpected EOF\n"));
    let open =
        "jail.conf: unexpected EOF\n    1 | web {\n      | ^^^\n  hint: the block of web is not closed";
    assert_eq!(shown("web {\n path = /a;\n b { persist; }"), open);
    assert_eq!(complaints(Tree::parse("f", b"a { b {")), ["f: unexpected EOF"]);
    assert_eq!(complaints(Tree::parse("f", b"a { b { c = ")), ["f: unexpected EOF"]);
}

#[test]
fn comments_strings_and_variables_must_end() {
    let first = |text: &str| complaints(Tree::parse("f", text.as_bytes())).remove(0);
    assert_eq!(first("a;\n/* b"), "f line 2: unterminated comment");
    assert_eq!(first("a;\n/*/"), "f line 2: unterminated comment");
    assert_eq!(first("a;\nb = \"c;\n"), "f line 2: unterminated string");
    assert_eq!(first("a;\nb = 'c\\';\n"), "f line 2: unterminated string");
    assert_eq!(first("b = ${c;\n"), "f line 1: unterminated variable");
    assert_eq!(first("b = \"${c\";\n"), "f line 1: unterminated variable");
    assert_eq!(first("b = ${c{d}};\n"), "f line 1: unterminated variable");
    assert_eq!(first("b = ${c\nd};\n"), "f line 1: unterminated variable");
}

#[test]
fn one_missing_quote_is_one_error() {
    assert_eq!(
        complaints(Tree::parse("f", b"a = \"b;\nc = d;\ne = f;\n")),
        ["f line 1: unterminated string"]
    );
}

#[test]
fn a_string_that_swallowed_lines_is_hinted_at() {
    for text in ["a = 'b;\nc = 'd';\n", "a = 'b;\nc = ' d;\n"] {
        let shown = shown(text);
        assert!(shown.contains("hint: a string before it goes over several lines"), "{shown}");
    }
}

#[test]
fn nothing_is_printed_raw() {
    let text = "\x1b]0;owned\x07 = \u{202e};\n\"\x1b[2J\" \"\u{9b}1m\" '\x08' = x;";
    let report = Tree::parse("\x1b[31m.conf", text.as_bytes()).unwrap_err().to_string();
    assert!(!report.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{report:?}");
    assert!(report.contains("\\u{1b}[31m.conf line 1: \\u{1b}: syntax error"), "{report}");
}

#[test]
fn a_string_is_utf_8_without_null_bytes() {
    assert!(
        shown(b"a = 'caf\xe9';").contains("jail.conf line 1: string is not UTF-8\n    1 | a = 'caf\\xe9';\n")
    );
    assert!(shown("a = '\\xff';").starts_with("jail.conf line 1: string is not UTF-8\n"));
    assert!(shown("a = b\\0;").starts_with("jail.conf line 1: null byte in a string\n"));
    assert!(shown("a = \"\\x\";").starts_with("jail.conf line 1: null byte in a string\n"));
    assert!(shown(b"a = ${\xff};").starts_with("jail.conf line 1: name of a variable is not UTF-8\n"));
    assert!(shown(b"a = \xe9;").starts_with("jail.conf line 1: \u{fffd}: syntax error\n"));
}

#[test]
fn a_file_that_is_none_has_no_more_than_a_hundred_errors() {
    let report = Tree::parse("f", "}".repeat(100_000).as_bytes()).unwrap_err();
    assert_eq!((report.iter().count(), report.omitted()), (100, 99_900));
    assert!(report.to_string().ends_with("\nand 99900 more"));
}

#[test]
fn a_variable_that_is_not_there_is_shown_where_it_is_used() {
    let conf = conf("web {\n  path = \"/jails/$nme\";\n  persist;\n}");
    let jail = conf.resolver(&crate::vocabulary).jail("web").unwrap();
    let [problem] = &*jail.problems else { panic!("one problem") };
    let wanted = "path: variable \"nme\" not found\n  at jail.conf line 2\n    2 |   path = \"/jails/$nme\";\n      \
                  |                  ^^^^";
    assert_eq!(conf.show(problem).to_string(), wanted);
    // The rest of it is known.
    assert_eq!(crate::said(&jail), ["persist"]);
}

#[test]
fn a_parameter_without_a_value_is_no_variable() {
    let conf = conf("web { persist; path = \"$persist\"; } db { path = \"$vnet\"; }");
    assert_eq!(wrong(&conf, "web"), ["path: variable \"persist\" not found"]);
    assert_eq!(wrong(&conf, "db"), ["path: variable \"vnet\" not found"]);
}

#[test]
fn a_loop_of_variables_names_all_in_it() {
    let text = "$a = \"$b/x\"; $b = \"${path}\"; path = \"/$a\"; web { persist; } db { path = /db; }";
    let conf = conf(text);
    let jail = conf.resolver(&crate::vocabulary).jail("web").unwrap();
    let [problem] = &*jail.problems else { panic!("one problem") };
    assert_eq!(problem.message(), "a: variable loop");
    assert_eq!(problem.advice(), Some("a needs b needs path needs a"));
    // It is one only where nobody steps in.
    assert_eq!(crate::jail(&conf, "db"), ["path=/db"]);
}

#[test]
fn what_needs_itself_is_a_loop_and_what_needs_a_loop_is_silent() {
    let conf = conf("web { path = \"$path/x\"; host.hostname = \"$path\"; persist; }");
    assert_eq!(wrong(&conf, "web"), ["path: variable loop"]);
}

#[test]
fn several_values_are_no_part_of_a_longer_one() {
    let conf = conf("$all = a, b; web { exec.start = \"echo $all\"; } db { exec.start = $all; }");
    assert_eq!(wrong(&conf, "web"), ["exec.start: array cannot be substituted inline"]);
    assert_eq!(crate::jail(&conf, "db"), ["exec.start=a,b"]);
}

#[test]
fn a_variable_is_not_named_like_a_parameter() {
    let message = |name: &str| format!("variable \"${name}\" cannot have the same name as a parameter.");
    let reserved = conf("$path = /a; $name = b; $own = c; web { persist; }");
    assert_eq!(wrong(&reserved, "web"), [message("path"), message("name")]);
}

#[test]
fn a_caller_may_allow_variables_that_are_not_set_as_parameters() {
    struct Lenient;
    impl conf::Parameters for Lenient {
        fn look_up(&self, word: &str) -> Result<conf::Known, conf::Unknown> {
            crate::vocabulary(word)
        }
        fn is_reserved(&self, name: &str) -> bool {
            name != "vnet"
        }
    }
    let conf = conf("$vnet = br0; web { path = \"/$vnet\"; } db { vnet = new; }");
    let mut resolver = conf.resolver(&Lenient);
    assert_eq!(crate::said(&resolver.jail("web").unwrap()), ["path=/br0"]);
    let db = resolver.jail("db").unwrap();
    let messages: Vec<_> = db.problems.iter().map(|problem| problem.message()).collect();
    assert_eq!(messages, ["variable \"$vnet\" cannot have the same name as a parameter."]);
}

#[test]
fn a_jails_name_and_number_are_set_once() {
    let conf = conf("web { name = other; } 7 { jid = 8; name = x; name = y; } db { jid = 5; jid = 6; }");
    let message = |name| format!("cannot redefine parameter \"{name}\".");
    assert_eq!(wrong(&conf, "web"), [message("name")]);
    assert_eq!(wrong(&conf, "7"), [message("jid"), message("name")]);
    assert_eq!(wrong(&conf, "db"), [message("jid")]);
}

#[test]
fn a_parameter_that_nobody_knows_is_shown_with_its_hint() {
    let conf = conf("web {\n  pat = /a;\n}");
    let jail = conf.resolver(&crate::vocabulary).jail("web").unwrap();
    let wanted = "unknown parameter: pat\n  at jail.conf line 2\n    2 |   pat = /a;\n      |   ^^^\n  hint: see jail(8)";
    assert_eq!(conf.show(&jail.problems[0]).to_string(), wanted);
}

#[test]
fn only_lists_grow_and_have_several_values() {
    let conf = conf("web { path = /a; path += /b; host.hostname = a, b; ip4.addr += 10.0.0.1; }");
    let wanted = ["path: += needs a list", "host.hostname: takes one value, not 2"];
    assert_eq!(wrong(&conf, "web"), wanted);
}

#[test]
fn a_jail_that_is_defined_twice_is_wrong_at_both_places() {
    let conf = conf("web { }\ndb { }\nweb { }\n");
    let mut resolver = conf.resolver(&crate::vocabulary);
    let all: Vec<_> = resolver.jails().map(|jail| jail.problems).collect();
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(all[0][0].message(), "\"web\" is defined twice");
    assert_eq!(all[0][0].advice(), Some("the other is at jail.conf line 3"));
    assert_eq!(all[2][0].advice(), Some("the other is at jail.conf line 1"));
}

#[test]
fn a_jail_has_a_name_of_at_most_255_bytes() {
    assert_eq!(complaints(load("'' { }", &[])), ["jail.conf line 1: a jail without a name"]);
    let long = "x".repeat(300);
    let wanted = ["jail.conf line 1: a jail's name is longer than 255 bytes"];
    assert_eq!(complaints(load(&format!("{long} {{ persist; }}"), &[])), wanted);
    let long = "x".repeat(130);
    assert_eq!(complaints(load(&format!("{long} {{ {long} {{ }} }}"), &[])), wanted);
}
