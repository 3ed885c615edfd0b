use conf::{
    Conf, Span, Tree,
    tree::{Block, Definition, Include, Item, Part, Word},
};
use proptest::{collection::vec, option, prelude::*};

use crate::{Files, vocabulary};

/// A name or text: mostly what people write, and whatever else there is.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9_.-]{0,6}", "[ -~\n\t]{0,8}", "[^\0]{0,6}", "[\\\\$\"'{}/*+#;,=]{0,6}"]
}

fn part() -> impl Strategy<Value = Part> {
    let variable = prop_oneof!["[a-z_][a-z_0-9.]{0,4}", "[^\0]{0,4}"];
    prop_oneof![
        text().prop_map(Part::Text),
        variable.prop_map(|name| Part::Variable { name, span: Span::default() })
    ]
}

fn word() -> impl Strategy<Value = Word> {
    vec(part(), 0..4).prop_map(|parts| {
        let mut joined: Vec<Part> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (_, Part::Text(text)) if text.is_empty() => {}
                (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
                (_, part) => joined.push(part),
            }
        }
        Word { parts: joined, span: Span::default() }
    })
}

fn item() -> impl Strategy<Value = Item> {
    let definition = (text(), any::<bool>(), any::<bool>(), vec(word(), 0..3)).prop_map(
        |(name, variable, append, values)| {
            let append = append && !values.is_empty();
            Item::Definition(Definition { name, variable, span: Span::default(), append, values })
        },
    );
    let include = vec(text(), 1..3).prop_map(|names| {
        Item::Include(Include { names: names.into_iter().map(|name| (name, Span::default())).collect() })
    });
    let leaf = prop_oneof![4 => definition, 1 => include];
    leaf.prop_recursive(3, 12, 4, |inner| {
        (text(), vec(inner, 0..4))
            .prop_map(|(name, items)| Item::Block(Block { name, span: Span::default(), items }))
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    vec(item(), 0..5).prop_map(|items| Tree { items })
}

/// What a file says, wherever it says it.
fn without_places(items: &mut [Item]) {
    for item in items {
        match item {
            Item::Block(block) => {
                block.span = Span::default();
                without_places(&mut block.items);
            }
            Item::Definition(definition) => {
                definition.span = Span::default();
                for word in &mut definition.values {
                    word.span = Span::default();
                    for part in &mut word.parts {
                        if let Part::Variable { span, .. } = part {
                            *span = Span::default();
                        }
                    }
                }
            }
            Item::Include(include) => include.names.iter_mut().for_each(|(_, span)| *span = Span::default()),
        }
    }
}

fn read(text: &str) -> Tree {
    let mut tree = Tree::parse("f", text.as_bytes()).unwrap_or_else(|report| panic!("{report}\n{text}"));
    without_places(&mut tree.items);
    tree
}

/// Reads, resolves, prints and reads again.
fn everything(bytes: &[u8]) {
    if let Ok(mut tree) = Tree::parse("f", bytes) {
        without_places(&mut tree.items);
        assert_eq!(read(&tree.to_string()), tree);
    }
    match Conf::load("f", bytes.to_vec(), &mut Files::new(&[("a", "b { $c = d; }")])) {
        Ok(conf) => {
            for jail in conf.resolver(&vocabulary).jails() {
                for problem in &jail.problems {
                    assert!(!conf.show(problem).to_string().is_empty());
                }
            }
        }
        Err(report) => assert!(!report.to_string().contains(|c: char| c.is_control() && c != '\n')),
    }
}

/// A piece of the language.
fn piece() -> impl Strategy<Value = &'static str> {
    const PIECES: [&str; 35] = [
        "a",
        "web",
        "*",
        ".*",
        "path",
        "persist",
        "nopersist",
        "ip4.addr",
        "12",
        "{",
        "}",
        ";",
        ";",
        "=",
        "+=",
        ",",
        " ",
        "\n",
        "$",
        "$a",
        "${a}",
        "${",
        "\"",
        "'",
        "\\",
        "\\x4",
        "\\0",
        "\\\n",
        "#",
        "//",
        "/*",
        "*/",
        ".include ",
        "é",
        "\u{1b}",
    ];
    proptest::sample::select(&PIECES[..])
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(tree in tree()) {
        let text = tree.to_string();
        prop_assert_eq!(read(&text), tree);
    }

    #[test]
    fn what_is_printed_once_is_printed_the_same_again(tree in tree()) {
        let text = tree.to_string();
        prop_assert_eq!(read(&text).to_string(), text);
    }

    #[test]
    fn a_quoted_value_is_read_as_the_value(value in text(), more in option::of(text())) {
        let value = value + more.as_deref().unwrap_or_default();
        // What jail -e leaves without quotes may have signs of the language in it.
        let quoted = conf::quoted(&value);
        if quoted.starts_with('\'') || quoted.starts_with('"') && !value.contains('$') {
            let tree = read(&format!("x = {quoted};"));
            let Item::Definition(definition) = &tree.items[0] else { panic!("a definition") };
            prop_assert_eq!(definition.values[0].text(), Some(value.as_str()));
        }
        prop_assert!(!quoted.contains(char::is_control));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        everything(&bytes);
    }

    #[test]
    fn any_pieces_of_the_language_are_read_or_refused(pieces in vec(piece(), 0..40)) {
        everything(pieces.concat().as_bytes());
    }
}
