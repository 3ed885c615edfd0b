//! None of these takes more than a moment: what grows faster than its text ends with an error.

use std::fmt::Write as _;

use crate::{complaints, conf, jail, load, vocabulary, wrong};
use conf::Tree;

#[test]
fn a_hundred_and_twenty_eight_blocks_are_deep_enough() {
    let nested = |depth| "a{".repeat(depth) + &"}".repeat(depth);
    assert_eq!(complaints(Tree::parse("f", nested(128).as_bytes())), [""; 0]);
    let wanted = ["f line 1: blocks nested more than 128 deep"];
    assert_eq!(complaints(Tree::parse("f", nested(129).as_bytes())), wanted);
    assert_eq!(complaints(Tree::parse("f", nested(1_000_000).as_bytes())), wanted);
    // Nor do those that nobody closes need more of the stack.
    assert_eq!(complaints(Tree::parse("f", "a{".repeat(1_000_000).as_bytes())).len(), 2);
    assert_eq!(complaints(Tree::parse("f", "{".repeat(1_000_000).as_bytes())).len(), 100);
}

#[test]
fn variables_that_double_each_other_end_with_an_error() {
    let mut text = "$a0 = xxxxxxxxxxxxxxxx; web { path = $a60; persist; }".to_owned();
    for n in 1..=60 {
        write!(text, "$a{n} = \"$a{m}$a{m}\";", m = n - 1).unwrap();
    }
    assert_eq!(wrong(&conf(&text), "web"), ["a20: more than 16 MB when variables are expanded"]);
    let mut lists = "$a0 = x; web { exec.start = $a60; }".to_owned();
    for n in 1..=60 {
        write!(lists, "$a{n} = $a{m}, $a{m};", m = n - 1).unwrap();
    }
    let wrong = wrong(&conf(&lists), "web");
    assert!(matches!(&*wrong, [one] if one.ends_with("MB when variables are expanded")), "{wrong:?}");
}

#[test]
fn many_variables_that_are_long_end_with_an_error() {
    let mut text = format!("$a = \"{}\";", "x".repeat(1 << 20));
    for n in 0..5_000 {
        write!(text, "$a{n} = \"$a\";$b{n} = \"${{a}}\"'';").unwrap();
    }
    text.push_str("web { persist; } db { persist; }");
    for name in ["web", "db"] {
        // Without a copy they are no longer than once.
        assert_eq!(wrong(&conf(&text), name), [""; 0], "{name}");
    }
    let copies = conf(&text.replace("''", "y"));
    let wanted = ["b15: more than 16 MB when variables are expanded"];
    assert_eq!(
        (wrong(&copies, "web"), wrong(&copies, "db")),
        (wanted.map(str::to_owned).to_vec(), wanted.map(str::to_owned).to_vec())
    );
}

#[test]
fn many_jails_that_are_long_end_with_an_error() {
    let mut text = format!("$a = \"{}\"; exec.start = \"$a$a$a$a\";", "x".repeat(1 << 20));
    (0..1_000).for_each(|n| write!(text, "j{n} {{ }}").unwrap());
    let conf = conf(&text);
    let mut resolver = conf.resolver(&vocabulary);
    let fine = resolver.jails().take_while(|jail| jail.problems.is_empty()).count();
    assert_eq!(fine, 63);
    let wanted = "the configuration is too large when its variables and patterns are applied";
    assert!(resolver.jails().all(|jail| jail.problems[0].message() == wanted));
}

#[test]
fn patterns_that_all_match_every_jail_end_with_an_error() {
    let text = "*{persist;}".repeat(30_000) + &(0..30_000).map(|n| format!("j{n}{{}}")).collect::<String>();
    let conf = conf(&text);
    let last = conf.resolver(&vocabulary).jails().last().unwrap();
    assert!(last.problems[0].message().starts_with("the configuration is too large"));
}

#[test]
fn a_long_chain_of_variables_needs_no_stack() {
    let mut text = "web { path = \"/$v0\"; }".to_owned();
    (0..100_000).for_each(|n| write!(text, "$v{n} = \"$v{}\";", n + 1).unwrap());
    text.push_str("$v100000 = end;");
    assert_eq!(jail(&conf(&text), "web"), ["path=/end"]);
    let round = text.replace("= end", "= \"$v0\"");
    assert_eq!(wrong(&conf(&round), "web"), ["v0: variable loop"]);
}

#[test]
fn long_lists_and_words_are_read_in_one_pass() {
    let mut text = "web {".to_owned();
    (0..200_000).for_each(|n| write!(text, "ip4.addr += {n};").unwrap());
    text.push('}');
    let all = conf(&text);
    let jail = all.resolver(&vocabulary).jail("web").unwrap();
    assert_eq!((jail.params[1].values.len(), jail.problems.len()), (200_000, 0));
    let word = format!("$a = ''; web {{ path = {}; }}", "$a".repeat(500_000));
    assert_eq!(crate::jail(&conf(&word), "web"), ["path=\"\""]);
}

#[test]
fn names_are_not_longer_than_a_jails() {
    let wanted = ["jail.conf line 1: a name is longer than 255 bytes"];
    let (fits, long) = ("n".repeat(255), "n".repeat(256));
    for text in ["N = x;", "$N = x;", "N;", "x = $N;", "x = \"a${N}b\";", ".N x;"] {
        assert_eq!(complaints(load(&text.replace('N', &long), &[])), wanted, "{text}");
    }
    assert_eq!(complaints(load(&format!("{fits} = x; $x = ${fits}; {fits} {{ }}"), &[])), [""; 0]);
}

#[test]
fn much_that_becomes_nothing_ends_with_an_error() {
    let mut text = format!("$a = ''; exec.start = {};", "$a".repeat(200_000));
    (0..10_000).for_each(|n| write!(text, "j{n} {{ }}").unwrap());
    let conf = conf(&text);
    let last = conf.resolver(&vocabulary).jails().last().unwrap();
    assert!(last.problems[0].message().starts_with("the configuration is too large"));
}

#[test]
fn patterns_that_nearly_match_end_with_an_error() {
    // Half of each: a component, or a star for it.
    let mut text = String::new();
    for n in 0..4_096_u32 {
        let parts: Vec<_> = (0..12).map(|bit| if n >> bit & 1 == 0 { "a" } else { "*" }).collect();
        write!(text, "{}.x.*{{}}", parts.join(".")).unwrap();
    }
    (0..5_000).for_each(|n| write!(text, "{}.j{n}.y {{}}", ["a"; 12].join(".")).unwrap());
    let conf = conf(&text);
    let last = conf.resolver(&vocabulary).jails().last().unwrap();
    assert!(last.problems[0].message().starts_with("the configuration is too large"));
}

#[test]
fn ten_megabytes_are_read_and_garbage_ends_soon() {
    const SIZE: usize = 10 << 20;
    for unit in [
        "x", "'", "\"", "\\", "$", "${", "/*", "/* *", "{", "}", "a{", "a;", "a=", "'\n", "\"\n", "${\n",
        "${a\\\n", "#'\\\n\"", "a{}", "\0", "é", "a=b,",
    ] {
        let text = unit.repeat(SIZE / 20 / unit.len());
        // It is enough that it ends.
        drop(load(&text, &[]));
    }
    let large = format!("web {{ path = \"{}\"; }}", "x".repeat(SIZE));
    assert_eq!(jail(&conf(&large), "web")[0].len(), "path=".len() + SIZE);
    let huge = load(&" ".repeat(33 << 20), &[]);
    assert_eq!(complaints(huge), ["jail.conf: more than 32 MB with what is before it"]);
}

#[test]
fn ten_thousand_jails_and_as_many_patterns_are_resolved() {
    let mut text = "path = \"/jails/$name\";".to_owned();
    for n in 0..10_000 {
        write!(
            text,
            "p{n}.* {{ persist; }} p{n}.*.x {{ vnet; }} p{n}.a.x {{ host.hostname = \"$name.net\"; }}"
        )
        .unwrap();
    }
    let conf = conf(&text);
    let mut resolver = conf.resolver(&vocabulary);
    let jails: Vec<_> = resolver.jails().collect();
    assert_eq!(jails.len(), 10_000);
    assert!(jails.iter().all(|jail| jail.problems.is_empty() && jail.params.len() == 5));
}
