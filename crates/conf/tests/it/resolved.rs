use crate::{conf, jail, vocabulary};

#[test]
fn jails_are_listed_in_the_order_of_the_file_and_patterns_are_none() {
    let conf = conf("b { } * { } a { c { } * { } } web.* { } 5 { }");
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["b", "a", "a.c", "5"]);
    let mut resolver = conf.resolver(&vocabulary);
    assert_eq!(resolver.jails().map(|jail| jail.name).collect::<Vec<_>>(), ["b", "a", "a.c", "5"]);
    assert!(resolver.jail("*").is_none() && resolver.jail("x").is_none());
}

#[test]
fn a_later_definition_overrides_and_keeps_the_first_ones_place() {
    let conf = conf("web { path = /a; persist; path = /b; path = /c; }");
    assert_eq!(jail(&conf, "web"), ["path=/c", "persist"]);
}

#[test]
fn a_negated_word_overrides_the_word_and_the_other_way() {
    let conf = conf(
        "persist; allow.mount; allow.noraw_sockets; web { nopersist; allow.nomount; allow.raw_sockets = true; }",
    );
    assert_eq!(jail(&conf, "web"), ["nopersist", "allow.nomount", "allow.raw_sockets=true"]);
    let resolved = conf.resolver(&vocabulary).jail("web").unwrap();
    let names: Vec<_> = resolved.params.iter().map(|param| &*param.name).collect();
    assert_eq!(names, ["name", "persist", "allow.mount", "allow.raw_sockets"]);
}

#[test]
fn a_list_grows_is_replaced_and_is_emptied() {
    let conf = conf(
        "ip4.addr = 10.0.0.1, 10.0.0.2; a { ip4.addr += 10.0.0.3; ip4.addr += 10.0.0.4, 10.0.0.5; }
                     b { ip4.addr = 10.1.0.1; ip4.addr += 10.1.0.2; } c { ip4.addr; } d { exec.start += x; }",
    );
    assert_eq!(jail(&conf, "a"), ["ip4.addr=10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5"]);
    assert_eq!(jail(&conf, "b"), ["ip4.addr=10.1.0.1,10.1.0.2"]);
    assert_eq!(jail(&conf, "c"), ["ip4.addr"]);
    assert_eq!(jail(&conf, "d"), ["ip4.addr=10.0.0.1,10.0.0.2", "exec.start=x"]);
}

#[test]
fn variables_are_expanded_late_and_for_each_jail() {
    let text =
        "$root = /jails; path = \"$root/$name\"; host.hostname = \"$name.$domain\"; $domain = example.org;
                web { } db { $root = /tank; $domain = \"${name}.net\"; }";
    let conf = conf(text);
    assert_eq!(jail(&conf, "web"), ["path=/jails/web", "host.hostname=web.example.org"]);
    assert_eq!(jail(&conf, "db"), ["path=/tank/db", "host.hostname=db.db.net"]);
}

#[test]
fn any_parameter_may_be_referred_to() {
    let text = "web { path = \"/j/${host.hostname}\"; host.hostname = \"w.${ip4.addr}\"; ip4.addr = 10.0.0.1;
                exec.start = \"echo ${path}\", \"echo $name ${path}\"; }";
    let conf = conf(text);
    let wanted = [
        "path=/j/w.10.0.0.1",
        "host.hostname=w.10.0.0.1",
        "ip4.addr=10.0.0.1",
        "exec.start=\"echo /j/w.10.0.0.1\",\"echo web /j/w.10.0.0.1\"",
    ];
    assert_eq!(jail(&conf, "web"), wanted);
}

#[test]
fn a_variable_alone_brings_all_its_values() {
    let conf = conf("$a = 1, 2; $b = 0, $a, 3; $b += $a; web { exec.start = $b, \"$a\"; }");
    assert_eq!(jail(&conf, "web"), ["exec.start=0,1,2,3,1,2,1,2"]);
}

#[test]
fn what_a_variable_holds_is_not_looked_into_again() {
    let conf = conf("$a = '$name'; web { path = \"$a/${a}\"; }");
    assert_eq!(jail(&conf, "web"), ["path=$name/$name"]);
}

#[test]
fn patterns_apply_by_their_places() {
    let text = "* { path = /first; persist; } web { path = /own; } *.db { path = /db; } web.* { path = \"/below/$name\"; }
                web.db { } x.db { vnet; } * { stop.timeout = 5; nopersist; }";
    let conf = conf(text);
    assert_eq!(jail(&conf, "web"), ["path=/own", "nopersist", "stop.timeout=5"]);
    assert_eq!(jail(&conf, "web.db"), ["path=/below/web.db", "nopersist", "stop.timeout=5"]);
    assert_eq!(jail(&conf, "x.db"), ["path=/db", "nopersist", "vnet", "stop.timeout=5"]);
}

#[test]
fn definitions_outside_of_blocks_apply_by_their_places_too() {
    let conf = conf("path = /a; web { path = /own; } db { } path = /b; late { path = /late; }");
    assert_eq!(jail(&conf, "web"), ["path=/b"]);
    assert_eq!(jail(&conf, "db"), ["path=/b"]);
    assert_eq!(jail(&conf, "late"), ["path=/late"]);
}

#[test]
fn a_jail_in_a_jail_has_a_dotted_name_and_inherits_nothing() {
    let conf = conf("a { persist; b { path = \"/$name\"; c { } } children.max = 2; }");
    assert_eq!(conf.jails().collect::<Vec<_>>(), ["a", "a.b", "a.b.c"]);
    assert_eq!(jail(&conf, "a"), ["persist", "children.max=2"]);
    assert_eq!(jail(&conf, "a.b"), ["path=/a.b"]);
    assert_eq!(jail(&conf, "a.b.c"), [""; 0]);
}

#[test]
fn a_number_is_a_jid_and_the_name_unless_there_is_one() {
    let conf = conf("path = \"/j/$name\"; 5309 { } 12 { name = web; } db { jid = 7; } 0 { } +3 { } 3x { }");
    let mut resolver = conf.resolver(&vocabulary);
    let mut params = |name| {
        let jail = resolver.jail(name).unwrap();
        let text = |param: &conf::Param<'_>| format!("{}={}", param.name, param.values[0].text);
        jail.params.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(params("5309"), ["jid=5309", "path=/j/5309", "name=5309"]);
    assert_eq!(params("12"), ["jid=12", "path=/j/web", "name=web"]);
    assert_eq!(params("db"), ["name=db", "path=/j/db", "jid=7"]);
    assert_eq!(params("0"), ["name=0", "path=/j/0"]);
    assert_eq!(params("+3"), ["jid=+3", "path=/j/+3", "name=+3"]);
    assert_eq!(params("3x"), ["name=3x", "path=/j/3x"]);
}

#[test]
fn every_value_knows_its_line() {
    let conf = conf(
        "path =\n  \"/j/$name\";\nweb {\n  ip4.addr = 10.0.0.1,\n    10.0.0.2;\n  ip4.addr += 10.0.0.3;\n}",
    );
    let jail = conf.resolver(&vocabulary).jail("web").unwrap();
    let lines = |name: &str| {
        jail.param(name).unwrap().values.iter().map(|value| conf.place(value.span).line).collect::<Vec<_>>()
    };
    assert_eq!((lines("path"), lines("ip4.addr"), lines("name")), (vec![2], vec![4, 5, 6], vec![3]));
    assert_eq!(conf.place(jail.span).to_string(), "jail.conf line 3");
}

#[test]
fn a_jail_without_errors_is_resolved_beside_one_with() {
    let conf = conf("bad { path = $nothing; } good { persist; }");
    assert_eq!(crate::wrong(&conf, "bad").len(), 1);
    assert_eq!(jail(&conf, "good"), ["persist"]);
}
