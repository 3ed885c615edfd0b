use crate::{complaints, conf, jail, printed};
use conf::Tree;

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "\n", " \t\r\n", ";", ";;;", "# only a comment", "/**/", "//"] {
        assert_eq!(printed(text), "", "{text:?}");
    }
}

#[test]
fn comments_are_those_of_the_shell_of_c_and_of_cplusplus() {
    let text = "# one { ' \" ;\n// two /* not one\npath = /a; /* three\n * with lines ** / *//**/ persist;#";
    assert_eq!(printed(text), "path = \"/a\";\npersist;\n");
    assert_eq!(printed("path = /a/* between */;"), "path = \"/a\";\n");
}

#[test]
fn two_slashes_begin_a_comment_even_in_a_path() {
    // A path with quotes is what jail.conf(5) advises.
    assert_eq!(printed("path = /a//b;\n;"), "path = \"/a\";\n");
    assert_eq!(printed("path = \"/a//b\";"), "path = \"/a//b\";\n");
    assert_eq!(printed("path = '/a/*b*/';"), "path = \"/a/*b*/\";\n");
}

#[test]
fn a_comment_need_not_be_utf_8() {
    let text = b"# caf\xe9\npersist; // \xff\n/* \xfe */";
    assert_eq!(Tree::parse("f", text).unwrap().to_string(), "persist;\n");
}

#[test]
fn bare_text_has_letters_digits_and_many_signs() {
    let bare = "aZ09_!%&()-.:<>?@[]^`|~";
    assert_eq!(printed(&format!("x = {bare};")), format!("x = {bare};\n"));
    assert_eq!(printed("x = a$*+/b;"), "x = \"a\\$*+/b\";\n");
    assert_eq!(printed("x = $;"), "x = \"\\$\";\n");
    assert_eq!(printed("x = $5,*,+,/;"), "x = \"\\$5\", \"*\", \"+\", \"/\";\n");
}

#[test]
fn strings_in_quotes_take_everything_and_go_over_lines() {
    assert_eq!(printed("x = \"a b;{}#'\";"), "x = \"a b;{}#'\";\n");
    assert_eq!(printed("x = 'a b;{}#\"';"), "x = \"a b;{}#\\\"\";\n");
    assert_eq!(printed("x = 'two\nlines';"), "x = \"two\\nlines\";\n");
    assert_eq!(printed("x = \"é 日本\", '';"), "x = \"é 日本\", \"\";\n");
}

#[test]
fn escapes_are_those_of_c_in_quotes_of_both_kinds_and_without() {
    for quote in ["", "'", "\""] {
        let value = |text: &str| {
            let tree = Tree::parse("f", format!("x = {quote}{text}{quote};").as_bytes()).unwrap();
            let [conf::tree::Item::Definition(definition)] = &*tree.items else { panic!("one definition") };
            definition.values[0].text().unwrap().to_owned()
        };
        assert_eq!(value(r"\a\b\f\n\r\t\v"), "\x07\x08\x0c\n\r\t\x0b", "{quote}");
        assert_eq!(value(r"\101\60\1018\7"), "A0A8\x07", "{quote}");
        assert_eq!(value(r"\x41\x4a\x4Ag\xag"), "AJJg\ng", "{quote}");
        assert_eq!(value(r"\c\q\;\{\\\'\$x"), "cq;{\\'$x", "{quote}");
        assert_eq!(value(r#"\""#), "\"", "{quote}");
        assert_eq!(value("a\\\nb"), "ab", "{quote}");
        assert_eq!(value(r"\xc3\xa9\303\251"), "éé", "{quote}");
        assert_eq!(value("\\é"), "é", "{quote}");
    }
}

#[test]
fn parts_without_a_blank_between_are_one_value() {
    assert_eq!(printed("x = a\"b c\"'d'\\ e;"), "x = \"ab cd e\";\n");
    assert_eq!(printed("x = /jails/\"$name\"/root;"), "x = \"/jails/$name/root\";\n");
    assert_eq!(printed("x = ''\"\";"), "x = \"\";\n");
}

#[test]
fn variables_are_in_bare_text_and_in_double_quotes() {
    assert_eq!(printed("x = $a;"), "x = $a;\n");
    assert_eq!(printed("x = \"$a\";"), "x = $a;\n");
    assert_eq!(printed("x = '$a';"), "x = \"\\$a\";\n");
    assert_eq!(printed("x = $a$b.c;"), "x = \"$a$b.c\";\n");
    assert_eq!(printed("x = ${a}b;"), "x = \"${a}b\";\n");
    assert_eq!(printed("x = \"${host.hostname}.net\";"), "x = \"${host.hostname}.net\";\n");
    assert_eq!(printed("x = \"\\$a \\${b}\";"), "x = \"\\$a \\${b}\";\n");
    assert_eq!(printed("x = ${};"), "x = ${};\n");
    assert_eq!(printed("x = \"$a\\\"{\";"), "x = \"$a\\\"{\";\n");
}

#[test]
fn statements_are_names_values_lists_and_additions() {
    assert_eq!(printed("persist;"), "persist;\n");
    assert_eq!(printed("a=b;c = d ;e= \"f\" , g,h;"), "a = b;\nc = d;\ne = f, g, h;\n");
    assert_eq!(printed("a+=b;c += d, e;"), "a += b;\nc += d, e;\n");
    assert_eq!(printed("$a = b; $c += d; ${e.f} = g;"), "$a = b;\n$c += d;\n${e.f} = g;\n");
    assert_eq!(printed("\"a b\" = c;"), "\"a b\" = c;\n");
}

#[test]
fn the_equals_sign_may_be_left_out_as_upstream() {
    assert_eq!(
        printed("path /a; $x y; exec.start \"a\", b;"),
        "path = \"/a\";\n$x = y;\nexec.start = a, b;\n"
    );
}

#[test]
fn blocks_are_nested_and_named_by_patterns_numbers_and_quotes() {
    let text = "web { a; b { c; } d; } * {} web.* {} *.db {} 12 {} \"a b\" {} a/b {}";
    let wanted = "web {\n    a;\n    b {\n        c;\n    }\n    d;\n}\n\
                  * {\n}\nweb.* {\n}\n*.db {\n}\n12 {\n}\n\"a b\" {\n}\n\"a/b\" {\n}\n";
    assert_eq!(printed(text), wanted);
}

#[test]
fn only_a_word_behind_it_makes_an_include() {
    assert_eq!(printed(".include a, 'b/*.conf';"), ".include \"a\", \"b/*.conf\";\n");
    assert_eq!(printed(".include = a;"), ".include = a;\n");
    assert_eq!(printed(".include;"), ".include;\n");
}

#[test]
fn a_line_may_end_with_a_carriage_return() {
    assert_eq!(printed("# a\r\nweb {\r\n\tpath = /a;\r\n}\r\n"), "web {\n    path = \"/a\";\n}\n");
}

#[test]
fn an_item_knows_its_place() {
    let text = "a = \"b\",\n  c$d;";
    let tree = Tree::parse("f", text.as_bytes()).unwrap();
    let [conf::tree::Item::Definition(definition)] = &*tree.items else { panic!("one definition") };
    let part = |span: conf::Span| &text[span.start as usize..span.end as usize];
    assert_eq!(part(definition.span), "a");
    assert_eq!(definition.values.iter().map(|word| part(word.span)).collect::<Vec<_>>(), ["\"b\"", "c$d"]);
    let conf::tree::Part::Variable { span, .. } = definition.values[1].parts[1] else { panic!("a variable") };
    assert_eq!(part(span), "$d");
}

#[test]
fn the_manuals_example_is_read() {
    // jail.conf(5), EXAMPLES.
    let text = r#"
        # Typical static defaults:
        exec.start = "/bin/sh /etc/rc";
        exec.stop = "/bin/sh /etc/rc.shutdown";
        exec.clean;
        mount.devfs;
        # Dynamic wildcard parameter:
        path = "/var/jail/$name";
        foo {
            host.hostname = "foo.com";
            ip4.addr = 10.1.1.1, 10.1.1.2, 10.1.1.3;
        }
        bar {
            exec.start = '';
            exec.stop = '';
            path = /;
            mount.nodevfs;
            persist;        // Required because there are no processes
        }"#;
    let conf = conf(text);
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["foo", "bar"]);
    let foo = [
        "exec.start=\"/bin/sh /etc/rc\"",
        "exec.stop=\"/bin/sh /etc/rc.shutdown\"",
        "exec.clean",
        "mount.devfs",
        "path=/var/jail/foo",
        "host.hostname=foo.com",
        "ip4.addr=10.1.1.1,10.1.1.2,10.1.1.3",
    ];
    assert_eq!(jail(&conf, "foo"), foo);
    let bar = ["exec.start=\"\"", "exec.stop=\"\"", "exec.clean", "mount.nodevfs", "path=/", "persist"];
    assert_eq!(jail(&conf, "bar"), bar);
}

#[test]
fn what_is_before_an_error_and_behind_it_is_read() {
    let tree = Tree::parse("f", b"a; = b; c { d e f; } g");
    assert_eq!(
        complaints(tree),
        ["f line 1: =: syntax error", "f line 1: f: syntax error", "f: unexpected EOF"]
    );
}
