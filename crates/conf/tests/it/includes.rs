use crate::{Files, complaints, jail, load};
use conf::Conf;

#[test]
fn what_is_included_stands_where_the_include_is() {
    let files =
        [("defaults.conf", "path = \"/jails/$name\";"), ("web.conf", "web { persist; } path = /late;")];
    let conf = load(".include defaults.conf; db { persist; } .include 'web.conf';", &files).unwrap();
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["db", "web"]);
    // A definition behind all jails applies to all of them.
    assert_eq!(jail(&conf, "db"), ["path=/late", "persist"]);
}

#[test]
fn in_a_block_it_belongs_to_the_block() {
    let conf =
        load("web { .include body.conf; } db { }", &[("body.conf", "persist; inner { vnet; }")]).unwrap();
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["web", "web.inner", "db"]);
    assert_eq!(jail(&conf, "web"), ["persist"]);
    assert_eq!(jail(&conf, "web.inner"), ["vnet"]);
    assert_eq!(jail(&conf, "db"), [""; 0]);
}

#[test]
fn a_file_is_relative_to_the_one_that_includes_it() {
    let files = [
        ("/etc/jails/a.conf", ".include deeper/b.conf; .include /etc/c.conf;"),
        ("/etc/jails/deeper/b.conf", "b { }"),
        ("/etc/c.conf", "c { }"),
    ];
    let text = b".include jails/a.conf;".to_vec();
    let conf = Conf::load("/etc/jail.conf", text, &mut Files::new(&files)).unwrap();
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn a_pattern_stands_for_files_in_order_or_for_none() {
    let files = [
        ("jail.conf.d/b.conf", "b { }"),
        ("jail.conf.d/a.conf", "a { }"),
        ("jail.conf.d/.hidden.conf", "hidden { }"),
    ];
    let conf = load(".include 'jail.conf.d/*.conf', \"none/*.conf\";", &files).unwrap();
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn only_what_is_written_is_a_pattern_and_not_the_directory() {
    let files = [("[x]/a.conf", ".include '*.part';"), ("[x]/b.part", "b { }"), ("x/c.part", "c { }")];
    let conf = load(".include '\\[x\\]/a.conf';", &files);
    // In a file's name an escape is read once: what is left is a set.
    assert_eq!(conf.unwrap().jails().count(), 0);
    let text = b".include '*.part';".to_vec();
    let conf = Conf::load("[x]/a.conf", text, &mut Files::new(&files)).unwrap();
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_file_without_a_pattern_must_exist() {
    let report = load("persist;\n.include nosuch.conf;", &[]).unwrap_err().to_string();
    let wanted = "nosuch.conf: No such file or directory\n  at jail.conf line 2\n    2 | .include nosuch.conf;\n      \
                  |          ^^^^^^^^^^^";
    assert_eq!(report, wanted);
}

#[test]
fn its_name_has_no_variables() {
    let wanted = ["jail.conf line 1: variables not permitted in '.include' filename"];
    assert_eq!(complaints(load("$d = x; .include \"$d/a.conf\";", &[])), wanted);
}

#[test]
fn a_file_that_includes_itself_ends_by_the_depth() {
    let files = [("jail.conf", ".include jail.conf;")];
    assert_eq!(complaints(load(files[0].1, &files)), ["jail.conf line 1: maximum include depth exceeded"]);
    // Twice at each level: only the first way down is gone.
    let files = [("jail.conf", ".include jail.conf; .include jail.conf;")];
    assert_eq!(complaints(load(files[0].1, &files)), ["jail.conf line 1: maximum include depth exceeded"]);
}

#[test]
fn thirty_two_files_deep_is_not_too_deep() {
    let chain = |length: usize| {
        let files: Vec<_> = (1..=length)
            .map(|n| {
                let more = if n < length { format!(".include f{};", n + 1) } else { "web { }".to_owned() };
                (format!("f{n}"), more)
            })
            .collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        complaints(load(".include f1;", &files))
    };
    assert_eq!(chain(32), [""; 0]);
    assert_eq!(chain(33), ["f32 line 1: maximum include depth exceeded"]);
}

#[test]
fn files_that_double_each_other_are_not_read_for_ever() {
    let files: Vec<_> =
        (0..31).map(|n| (format!("f{n}"), format!(".include f{}; .include f{};", n + 1, n + 1))).collect();
    let mut files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.push(("f31", ""));
    // Nor are directories that have nothing.
    let patterns = ".include 'none*';".repeat(100_000);
    assert_eq!(complaints(load(&patterns, &[])), ["jail.conf line 1: more than 65536 files included"]);
    let complaints = complaints(load(".include f0;", &files));
    assert!(
        matches!(&*complaints, [one] if one.ends_with("more than 65536 files included")),
        "{complaints:?}"
    );
}

#[test]
fn errors_of_all_files_are_reported_once_each() {
    let files = [("a.conf", "x = ;"), ("b.conf", "web { }\n= y;")];
    let report = load(".include a.conf; .include b.conf; .include a.conf; z", &files);
    let wanted =
        ["jail.conf: unexpected EOF", "a.conf line 1: ;: syntax error", "b.conf line 2: =: syntax error"];
    assert_eq!(complaints(report), wanted);
}

#[test]
fn an_included_file_closes_its_own_blocks() {
    let files = [("a.conf", "persist; }"), ("b.conf", "inner {")];
    let wanted = ["a.conf line 1: }: syntax error", "b.conf: unexpected EOF"];
    assert_eq!(complaints(load("web { .include a.conf; .include b.conf; }", &files)), wanted);
}

#[test]
fn a_value_knows_which_file_it_is_from() {
    let conf = load(".include a.conf;", &[("a.conf", "\n\nweb { path = /a; }")]).unwrap();
    let jail = conf.resolver(&crate::vocabulary).jail("web").unwrap();
    assert_eq!(conf.place(jail.params[1].values[0].span).to_string(), "a.conf line 3");
}
