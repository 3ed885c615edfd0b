//! Rule sets for devices: the language of devfs.rules, and what the rules say.

use conf::devfs::{Class, Id, Rulesets};
use proptest::prelude::*;

fn sets(text: impl AsRef<[u8]>) -> Rulesets {
    Rulesets::read(vec![("devfs.rules".into(), text.as_ref().to_vec())])
}

/// All that is said of a text.
#[track_caller]
fn wrong(text: impl AsRef<[u8]>) -> String {
    sets(text).wrong().expect("something is wrong").to_string()
}

/// The first lines of all errors of a text.
#[track_caller]
fn complaints(text: impl AsRef<[u8]>) -> Vec<String> {
    let report = sets(text).wrong().expect("something is wrong");
    report.iter().map(|shown| shown.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

/// Of these paths those that a rule set shows.
#[track_caller]
fn visible(text: &str, set: &str, paths: &str) -> String {
    let sets = sets(text);
    let rules = sets.rules(sets.number(set).unwrap()).unwrap();
    let shown: Vec<_> = paths.split(' ').filter(|path| rules.verdict(path, None).is_visible).collect();
    shown.join(" ")
}

/// /etc/defaults/devfs.rules of FreeBSD, its statements whole.
const FREEBSD: &str = "\
# Very basic and secure ruleset: Hide everything.\n\
[devfsrules_hide_all=1]\nadd hide\n\n\
[devfsrules_unhide_basic=2]\nadd path null unhide\nadd path zero unhide\nadd path crypto unhide\n\
add path random unhide\nadd path urandom unhide\n\n\
[devfsrules_unhide_login=3]\nadd path 'ptyp*' unhide\nadd path 'ttyp*' unhide\nadd path ptmx unhide\n\
add path pts unhide\nadd path 'pts/*' unhide\nadd path fd unhide\nadd path 'fd/*' unhide\n\n\
[devfsrules_jail=4]\nadd include $devfsrules_hide_all\nadd include $devfsrules_unhide_basic\n\
add include $devfsrules_unhide_login\nadd path fuse unhide\nadd path zfs unhide\n\n\
[devfsrules_jail_vnet=5]\nadd include $devfsrules_hide_all\nadd include $devfsrules_unhide_basic\n\
add include $devfsrules_unhide_login\nadd include $devfsrules_jail\nadd path pf unhide\n";

#[test]
fn freebsds_own_file_is_read() {
    assert!(sets(FREEBSD).wrong().is_none());
    let devices = "ada0 null mem pts/0 pts fd/3 fd pf fuse ttyp7 bpf";
    assert_eq!(visible(FREEBSD, "devfsrules_jail", devices), "null pts/0 pts fd/3 fd fuse ttyp7");
    assert_eq!(visible(FREEBSD, "5", devices), "null pts/0 pts fd/3 fd pf fuse ttyp7");
    assert_eq!(visible(FREEBSD, "1", devices), "");
    assert_eq!(visible(FREEBSD, "2", "ada0 mem"), "ada0 mem");
}

#[test]
fn rules_apply_by_their_numbers_and_the_last_one_holds() {
    let text = "[a=1]\nadd 300 path x unhide\nadd 200 hide\nadd path y unhide\nadd path y mode 600\n";
    assert_eq!(visible(text, "a", "x y z"), "x y");
    let sets = sets("[a=1]\nadd mode 600 user ann\nadd path 'x*' mode 0640 group 7\nadd path xy user 8\n");
    let rules = sets.rules(1).unwrap();
    let of = |path| {
        let verdict = rules.verdict(path, None);
        (verdict.mode, verdict.user.map(|(id, _)| id.clone()), verdict.group.map(|(id, _)| id.clone()))
    };
    assert_eq!(of("z"), (Some(0o600), Some(Id::Name("ann".into())), None));
    assert_eq!(of("x"), (Some(0o640), Some(Id::Name("ann".into())), Some(Id::Number(7))));
    assert_eq!(of("xy"), (Some(0o640), Some(Id::Number(8)), Some(Id::Number(7))));
}

#[test]
fn a_pattern_stands_for_paths_of_as_many_parts() {
    let text =
        "[a=1]\nadd hide\nadd path 'snd/*' unhide\nadd path 'tty[0-3]' unhide\nadd path 'l?op*' unhide\n";
    let paths = "snd snd/a snd/a/b tty2 tty4 tty12 loop0 loop-control l/op";
    assert_eq!(visible(text, "a", paths), "snd/a tty2 loop0 loop-control");
}

#[test]
fn a_type_is_a_condition_as_a_path_is() {
    let sets = sets("[a=1]\nadd path 's*' type disk hide\nadd type mem hide\n");
    let rules = sets.rules(1).unwrap();
    let hidden = |path, class| !rules.verdict(path, class).is_visible;
    assert!(hidden("sda", Some(Class::Disk)) && hidden("mem", Some(Class::Mem)));
    assert!(!hidden("sda", Some(Class::Tape)) && !hidden("vda", Some(Class::Disk)) && !hidden("sda", None));
}

#[test]
fn a_condition_of_an_include_is_one_of_all_that_is_included() {
    let text = "[a=1]\nadd hide\nadd path 'x*' include $b\n[b=2]\nadd path '*1' unhide\n";
    assert_eq!(visible(text, "a", "x1 x2 y1"), "x1");
}

#[test]
fn words_are_the_shells() {
    let text = "  [a=1] # head\n\tadd hide # all\n# add path no unhide\nadd path \"a b\" \\\n  unhide\n\
                add path \\[x] unhide\nadd path c'#'\"d\" unhide\r\nadd path e#f unhide\nadd include \"${z}\"\n[z=9]\nadd path z unhide";
    assert!(sets(text).wrong().is_none());
    let sets = sets(text);
    let rules = sets.rules(1).unwrap();
    for path in ["a b", "c#d", "e#f", "z", "x"] {
        assert!(rules.verdict(path, None).is_visible, "{path}");
    }
    assert!(!rules.verdict("no", None).is_visible);
}

#[test]
fn a_later_text_replaces_a_set_of_the_same_number() {
    let more = "[mine=4]\nadd include $devfsrules_hide_all\nadd path kvm unhide\n[other=20]\nadd include $devfsrules_jail\n";
    let texts = vec![("one".into(), FREEBSD.into()), ("two".into(), more.into())];
    let sets = Rulesets::read(texts);
    for name in ["4", "mine", "devfsrules_jail", "other"] {
        let rules = sets.rules(sets.number(name).unwrap()).unwrap();
        assert!(rules.verdict("kvm", None).is_visible && !rules.verdict("null", None).is_visible, "{name}");
    }
    assert_eq!((sets.number("6"), sets.number("nosuch"), sets.number("0")), (None, None, None));
    assert_eq!(sets.names().last(), Some(&("other", 20)));
}

#[test]
fn who_uses_another_text_is_not_concerned_by_errors() {
    let sets = Rulesets::read(vec![
        ("one".into(), FREEBSD.into()),
        ("two".into(), b"[mine=20]\nadd hide\nad path x\n".to_vec()),
        ("three".into(), b"[user=30]\nadd include 20\n".to_vec()),
    ]);
    assert!(sets.rules(4).is_ok());
    for number in [20, 30] {
        let report = sets.rules(number).unwrap_err().to_string();
        assert!(report.starts_with("two line 3: ad: no line of a rule set\n"), "{report}");
    }
}

#[test]
fn all_errors_of_a_text_are_shown_at_once_each_with_its_place() {
    let text = "add hide\n[jail]\nadd path null show\n[a=0]\n[a-b=7]\n[b=70000]\n[c=7]\nadd type floppy hide\nadd mode 0888\n\
                add path\nadd path x\nadd hide unhide\nadd path a path b hide\nadd path /dev/null hide\nadd include d\n\
                add include c\nadd include $d\nadd include 70000\nadd 0 hide\nadd 70000 hide\nadd 'x\nadd user '' hide\ndelset\n";
    let wanted = [
        "devfs.rules line 1: a rule outside of a rule set",
        "devfs.rules line 2: [jail]: not the head of a rule set",
        "devfs.rules line 3: show: no part of a rule",
        "devfs.rules line 4: \"0\" is no number of a rule set: from 1 to 65535",
        "devfs.rules line 5: \"a-b\" is no name of a rule set: letters, digits and _",
        "devfs.rules line 6: \"70000\" is no number of a rule set: from 1 to 65535",
        "devfs.rules line 8: type: unknown type of devices \"floppy\"",
        "devfs.rules line 9: mode: not a mode \"0888\"",
        "devfs.rules line 10: path: value missing",
        "devfs.rules line 11: a rule that does nothing",
        "devfs.rules line 12: hide or unhide, not both",
        "devfs.rules line 13: path: given twice",
        "devfs.rules line 14: path: \"/dev/null\" is not relative to /dev",
        "devfs.rules line 15: include: no rule set d",
        "devfs.rules line 16: include: no rule set c",
        "devfs.rules line 17: include: no rule set $d",
        "devfs.rules line 18: include: no rule set 70000",
        "devfs.rules line 19: 0: no number of a rule",
        "devfs.rules line 20: 70000: no number of a rule",
        "devfs.rules line 21: unterminated string",
        "devfs.rules line 22: user: value missing",
        "devfs.rules line 23: delset: no line of a rule set",
    ];
    assert_eq!(complaints(text), wanted);
}

#[test]
fn an_error_has_its_line_a_mark_and_a_hint() {
    assert_eq!(
        wrong("[a=1]\nadd path x \\\n  visible\n"),
        "devfs.rules line 3: visible: no part of a rule\n    3 |   visible\n      |   ^^^^^^^\n  \
         hint: path PATTERN, type TYPE, hide, unhide, mode MODE, user USER, group GROUP, include RULESET"
    );
    assert_eq!(
        wrong("[a=1]\nadd include a\n"),
        "devfs.rules line 2: include: no rule set a\n    2 | add include a\n      |             ^\n  hint: $a is the number of a"
    );
}

#[test]
fn what_is_defined_twice_says_where_the_other_is() {
    let text = "[a=1]\nadd 5 hide\nadd 5 unhide\n[b=1]\n[a=2]\n";
    let wanted = ["rule 5 is defined twice", "rule set 1 is defined twice", "rule set a is defined twice"];
    let all = sets(text).wrong().unwrap();
    let said: Vec<_> =
        all.iter().map(|shown| (shown.problem().message(), shown.problem().advice().unwrap())).collect();
    let hints = ["the other is at line 2", "the other is at line 1", "the other is at line 1"];
    assert_eq!(said, std::iter::zip(wanted, hints).collect::<Vec<_>>());
}

#[test]
fn the_numbers_of_rules_end() {
    assert_eq!(
        complaints("[a=1]\nadd 65500 hide\nadd hide\n"),
        ["devfs.rules line 3: no number is left behind rule 65500"]
    );
}

#[test]
fn sets_that_include_each_other_are_an_error_of_who_uses_them() {
    let sets = sets("[a=1]\nadd include $b\n[b=2]\nadd include 1\n[c=3]\nadd hide\n[d=4]\nadd include 9\n");
    assert!(sets.wrong().is_none() && sets.rules(3).is_ok());
    let said = |number| sets.rules(number).unwrap_err().to_string();
    assert_eq!(
        said(1),
        "devfs.rules line 4: include: rule set 1 includes itself\n    4 | add include 1\n      |             ^\n  \
         hint: 1 includes 2 includes 1"
    );
    assert!(said(4).starts_with("devfs.rules line 8: include: no rule set 9\n"), "{}", said(4));
}

#[test]
fn sets_of_many_includes_end_in_time() {
    let twice: String =
        (1..30).map(|n| format!("[s{n}={n}]\nadd include {0}\nadd include {0}\n", n + 1)).collect();
    let text = twice + "[s30=30]\nadd hide\n";
    let report = sets(&text).rules(1).unwrap_err().to_string();
    assert!(report.contains("more than 10000 rules with those that are included"), "{report}");
    let deep: String = (1..5000).map(|n| format!("[s{n}={n}]\nadd include {}\n", n + 1)).collect();
    let report = sets(deep + "[s5000=5000]\nadd hide\n").rules(1).unwrap_err().to_string();
    assert!(report.contains("include: more than 32 deep"), "{report}");
}

#[test]
fn the_names_are_known_where_all_is_hidden_first() {
    let names = |text: &str| {
        let sets = sets(text);
        let rules = sets.rules(1).unwrap();
        rules.names().map(|names| names.into_iter().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        names("[a=1]\nadd hide\nadd path x unhide\nadd path net/tun unhide\nadd path q mode 1\n").as_deref(),
        Some("net/tun x")
    );
    assert_eq!(
        names("[a=1]\nadd include 2\nadd path x include 3\n[b=2]\nadd hide\n[c=3]\nadd unhide\n").as_deref(),
        Some("x")
    );
    for all in [
        "add path x unhide",
        "add hide\nadd path 'x*' unhide",
        "add hide\nadd type tty unhide",
        "add type disk hide",
    ] {
        assert_eq!(names(&format!("[a=1]\n{all}\n")), None, "{all}");
    }
}

#[test]
fn nothing_is_printed_raw_and_bytes_are_text() {
    let report = wrong("[a=1]\nadd path \x1b[2J\u{202e} \u{9b}x\n\x07\n");
    assert!(!report.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{report:?}");
    assert!(wrong(b"[a=1]\nadd path \xff hide\n").starts_with("devfs.rules line 2: word is not UTF-8\n"));
    assert!(wrong(b"[a=1]\nadd path a\0b hide\n").starts_with("devfs.rules line 2: null byte in a word\n"));
    let many = wrong("x\n".repeat(300));
    assert!(many.ends_with("\nand 201 more"), "{many}");
}

/// Reads a text, and asks all that can be asked of it.
fn everything(text: &[u8]) {
    let sets = sets(text);
    let plain =
        |report: conf::Report| assert!(!report.to_string().contains(|c: char| c.is_control() && c != '\n'));
    sets.wrong().into_iter().for_each(plain);
    for (name, number) in sets.names() {
        assert_eq!(sets.number(name), Some(number));
        match sets.rules(number) {
            Err(report) => plain(report),
            Ok(rules) => {
                let names = rules.names();
                for path in ["null", "net/tun", "a", "sda"] {
                    let is_visible = rules.verdict(path, Some(Class::Disk)).is_visible;
                    assert!(!is_visible || names.as_ref().is_none_or(|names| names.contains(path)), "{path}");
                }
            }
        }
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    const PIECES: [&str; 34] = [
        "[a=1]\n",
        "[b=2]\n",
        "[",
        "]",
        "=",
        "add ",
        "add ",
        "add hide\n",
        "100 ",
        "path ",
        "null ",
        "'*' ",
        "net/tun ",
        "a ",
        "type disk ",
        "type ",
        "hide",
        "unhide",
        "mode 0660 ",
        "mode ",
        "user u ",
        "group 5 ",
        "include ",
        "$a ",
        "${b} ",
        "1 ",
        "2 ",
        "\n",
        "\n",
        "\\\n",
        "#",
        "'",
        "\"",
        "\u{1b}",
    ];
    proptest::sample::select(&PIECES[..])
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        everything(&bytes);
    }

    #[test]
    fn any_pieces_of_the_language_are_read_or_refused(pieces in proptest::collection::vec(piece(), 0..60)) {
        everything(pieces.concat().as_bytes());
    }

    #[test]
    fn what_is_hidden_and_named_is_all_that_shows(names in proptest::collection::btree_set("[a-z]{1,3}(/[a-z]{1,3})?", 0..6), other in "[a-z]{1,3}") {
        let rules: String = names.iter().map(|name| format!("add path {name} unhide\n")).collect();
        let sets = sets(format!("[a=1]\nadd hide\n{rules}"));
        let rules = sets.rules(1).unwrap();
        for name in &names {
            prop_assert!(rules.verdict(name, None).is_visible);
        }
        prop_assert_eq!(rules.verdict(&other, None).is_visible, names.contains(&other));
        prop_assert_eq!(rules.names().unwrap(), names.iter().map(String::as_str).collect());
    }
}
