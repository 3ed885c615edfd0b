//! Jails of a configuration: by name, in the order in which they need each other.

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

/// Writes the configuration that `jail -f /tmp/jail.conf` reads.
#[track_caller]
fn write(lab: &Lab, text: &str) {
    std::fs::write("/tmp/jail.conf", text).unwrap();
    // The hooks of these tests write down what they see.
    lab.sh(": > /tmp/log");
}

fn log(lab: &Lab) -> String {
    lab.sh("cat /tmp/log; : > /tmp/log")
}

const THREE: &str = r#"
# What all have.
path = "/";
host.hostname = "${name}.example.org";
persist;
exec.created = "echo created $name >> /tmp/log";
exec.prestop = "echo prestop $name >> /tmp/log";
mail { depend = web, db; }
web { depend = db; host.hostname = "www"; }
db { }
alone { nopersist; exec.start = "hostname >&2"; }
"#;

lab_test!(a_jail_comes_after_what_it_needs_and_goes_before_it for root; needs [CgroupV2]; |lab| {
    write(lab, THREE);
    prints(lab, "jail -f /tmp/jail.conf -c mail", "db: created\nweb: created\nmail: created\n");
    assert_eq!(log(lab), "created db\ncreated web\ncreated mail\n");
    prints(lab, "jls name host.hostname", "db db.example.org\nweb www\nmail mail.example.org\n");
    // What another needs is there already: only who is asked for by name must not be.
    gives(lab, "jail -f /tmp/jail.conf -c '*'", 0, "alone: created\n", "alone.example.org\n");
    gives(lab, "jail -f /tmp/jail.conf -p 1 -c '*'", 0, "alone: created\n", "alone.example.org\n");
    refused(lab, "jail -f /tmp/jail.conf -c web", "jail: web: \"web\" already exists\n");
    log(lab);
    prints(lab, "jail -f /tmp/jail.conf -r db", "mail: removed\nweb: removed\ndb: removed\n");
    assert_eq!(log(lab), "prestop mail\nprestop web\nprestop db\n");
    refused(lab, "jail -f /tmp/jail.conf -r db", "jail: \"db\" not found\n");
    all_gone(lab);
});

lab_test!(the_end_of_a_jail_is_as_its_file_says_now for root; needs [CgroupV2]; |lab| {
    write(lab, "path = \"/\"; persist; exec.stop = false; a { } b { } c { }");
    prints(lab, "jail -f /tmp/jail.conf -p 1 -c", "a: created\nb: created\nc: created\n");
    gives(lab, "jail -f /tmp/jail.conf -r a", 1, "", "jail: a: false: failed\n");
    write(lab, "path = \"/\"; persist; a { } b { exec.poststop = \"echo b is gone >> /tmp/log\"; }");
    prints(lab, "jail -f /tmp/jail.conf -p 1 -r a b", "a: removed\nb: removed\n");
    assert_eq!(log(lab), "b is gone\n");
    // Of one that is in no file, or without a file, it is as it was made.
    gives(lab, "jail -f /tmp/nosuch -r c", 1, "", "jail: c: false: failed\n");
    quiet(lab, "jail -R c");
    all_gone(lab);
});

lab_test!(the_forms_of_a_command_do_what_the_manual_says for root; needs [CgroupV2]; |lab| {
    write(lab, "path = \"/\"; persist; a { children.max = 0; } b.c { } b { children.max = 2; } 77 { name = n; }");
    let jail = |words: &str| format!("jail -f /tmp/jail.conf {words}");
    refused(lab, &jail("-m a"), "jail: a: \"a\" not found\n");
    refused(lab, &jail("-c x"), "jail: \"x\" not found\n");
    prints(lab, &jail("-cm a"), "a: created\n");
    prints(lab, &jail("-cm a"), "a: updated\n");
    prints(lab, &jail("-m a"), "a: updated\n");
    prints(lab, &jail("-i -cm a"), "1\n");
    prints(lab, &jail("-q -cm a"), "");
    // One that is in another needs it; the block of a number is called by that, the jail has its name.
    prints(lab, &jail("-c b.c"), "b: created\nb.c: created\n");
    prints(lab, &jail("-c 77"), "77: created\n");
    prints(lab, "jls -j 77 name", "n\n");
    prints(lab, &jail("-J /tmp/jids -rc a"), "a: removed\na: created\n");
    prints(lab, "cut -f 2- /tmp/jids; grep -c '^jid=[0-9]*.name=a' /tmp/jids", "name=a\tpath=/\tpersist\tchildren.max=0\n1\n");
    quiet(lab, "jail -q -J /tmp/jids -c name=z persist; test \"$(cut -f 1 /tmp/jids)\" = jid=$(jls -j z jid); jail -r z");
    // Nothing differs that cannot be changed, and then something does.
    prints(lab, &jail("-mr a"), "a: updated\n");
    write(lab, "path = \"/\"; persist; a { exec.start = true; }");
    refused(lab, &jail("-m a"), "jail: a: exec.start cannot be changed after creation\n");
    prints(lab, &jail("-mr a"), "a: removed\na: created\n");
    prints(lab, "cat /tmp/jail.conf | jail -p 1 -f - -r a b", "a: removed\nb.c: removed\nb: removed\n");
    prints(lab, "jail -r '*'", "n: removed\n");
    gives(lab, &jail("-e ' '"), 0, "name=a path=/ persist exec.start=true\n", "");
    // It only prints.
    for words in ["-e , -c", "-e , -r a", "-e , a"] {
        assert!(lab.cmd("sh").args(["-c", &jail(words)]).run().fails(1).starts_with("usage: "), "{words}");
    }
    all_gone(lab);
});

lab_test!(all_that_is_wrong_is_said_with_its_place_and_nothing_is_made for root; needs [CgroupV2]; |lab| {
    write(lab, "a {\n  path = \"/;\n}\n");
    let before = lab.snapshot();
    let out = lab.cmd("jail").args(["-f", "/tmp/jail.conf", "-c"]).run();
    let text = out.fails(1);
    assert!(text.starts_with("jail: /tmp/jail.conf"), "{text}");
    write(lab, "persist; path = \"/\";\na { pth = x; }\nb { children.max = x; }\nc { loop = 1; depend = d; }\nd { depend = c; }\ne { depend = d; }\n");
    let text = lab.cmd("jail").args(["-f", "/tmp/jail.conf", "-c"]).run().fails(1);
    for expected in [
        "jail: a: unknown parameter: pth\n  at /tmp/jail.conf line 2\n",
        "jail: b: /tmp/jail.conf line 3: children.max: non-integer value \"x\"\n",
        "jail: c: unknown parameter: loop\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    write(lab, "persist; path = \"/\"; c { depend = d; } d { depend = c; } e { depend = d; } f { depend = nosuch; }");
    gives(lab, "jail -f /tmp/jail.conf -c", 1, "", "jail: c: dependency loop\njail: d: dependency loop\n\
        jail: e: skipped\nhint: it needs d, which failed\njail: f: depends on nonexistent jail \"nosuch\"\n");
    write(lab, "persist; path = \"/\"; a { depend = b; } b { children.max = x; } c { pth = x; }");
    gives(lab, "jail -f /tmp/jail.conf -c a", 1, "", "jail: b: /tmp/jail.conf line 1: children.max: non-integer value \"x\"\n\
        jail: a: depends on nonexistent jail \"b\"\n");
    refused(lab, "jail -f /tmp/nosuch -c a", "jail: /tmp/nosuch: No such file or directory\n");
    refused(lab, "jail -f /tmp/jail.conf -rc name=x persist", "jail: only a configured jail is made anew\nhint: jail -r JAIL && jail -c PARAM=VALUE ...\n");
    lab.until("nothing has changed", || {
        lab.sweep();
        lab.snapshot().since(&before).is_empty()
    });
});

lab_test!(a_configuration_includes_others_and_a_pattern_is_for_many for root; needs [CgroupV2]; |lab| {
    lab.sh("mkdir -p /tmp/jail.conf.d");
    std::fs::write("/tmp/jail.conf.d/b.conf", "web.two { }\n").unwrap();
    std::fs::write("/tmp/jail.conf.d/a.conf", "web.one { }\n").unwrap();
    write(lab, "path = \"/\"; persist; web { children.max = 5; }\nweb.* { host.hostname = \"$name.lan\"; }\n.include \"jail.conf.d/*.conf\";\n");
    prints(lab, "jail -f /tmp/jail.conf -p 1 -c", "web: created\nweb.one: created\nweb.two: created\n");
    prints(lab, "jls -q name host.hostname | sort", "web web\nweb.one web.one.lan\nweb.two web.two.lan\n");
    refused(lab, "jail -f /tmp/jail.conf -c 'nosuch.*'", "jail: \"nosuch.*\" not found\n");
    quiet(lab, "jail -q -r 'web.*'");
    assert_eq!(names(lab), ["web"]);
    quiet(lab, "jail -q -r web");
    all_gone(lab);
});

lab_test!(what_a_configuration_says_of_the_jails_in_one_goes_for_their_end for root; needs [CgroupV2]; |lab| {
    write(lab, "path = \"/\"; persist; a { children.max = 2; } a.b { }");
    prints(lab, "jail -f /tmp/jail.conf -c", "a: created\na.b: created\n");
    write(lab, "path = \"/\"; persist; exec.prestop = \"echo prestop $name >> /tmp/log\"; a { children.max = 2; } a.b { }");
    prints(lab, "jail -f /tmp/jail.conf -r a", "a.b: removed\na: removed\n");
    assert_eq!(log(lab), "prestop a.b\nprestop a\n");
    all_gone(lab);
});

lab_test!(thousands_of_configured_jails_are_sorted_at_once for root; needs [CgroupV2]; |lab| {
    let row: String = (1..4000).map(|n| format!("j{n} {{ depend = j{}; }}\n", n - 1)).collect();
    write(lab, &format!("path = \"/\"; persist; exec.prepare = false; j0 {{ }}\n{row}"));
    let start = std::time::Instant::now();
    let out = lab.cmd("jail").args(["-q", "-f", "/tmp/jail.conf", "-c", "j3999"]).run();
    assert!(out.fails(1).starts_with("jail: j0: false: failed\njail: j1: skipped\nhint: it needs j0, which failed\n"));
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
});

lab_test!(what_comes_after_a_jail_that_is_gone_can_be_run_for_it for root; needs [CgroupV2]; |lab| {
    write(lab, "path = \"/\"; persist; exec.prestop = \"echo prestop $name >> /tmp/log\"; exec.poststop = \"echo poststop $name >> /tmp/log\"; \
        exec.release = 'echo release $JNAME $JID >> /tmp/log'; a { jid = 7; } b { }");
    quiet(lab, "jail -q -f /tmp/jail.conf -c b");
    prints(lab, "jail -f /tmp/jail.conf -C a", "");
    assert_eq!(log(lab), "poststop a\nrelease a 7\n");
    // One that is there ends as always.
    prints(lab, "jail -f /tmp/jail.conf -rC '*'", "b: removed\n");
    assert!(log(lab).starts_with("prestop b\npoststop b\n"));
    refused(lab, "jail -f /tmp/jail.conf -C x", "jail: \"x\" not found\n");
    refused(lab, "jail -C", "jail: no jail specified\nhint: jail -C JAIL ..., or '*' for all\n");
    all_gone(lab);
});

lab_test!(with_a_jail_those_that_need_it_start_anew for root; needs [CgroupV2]; |lab| {
    let conf = |db: &str| format!("path = \"/\"; persist; exec.created = \"echo created $name >> /tmp/log\"; exec.prestop = \"echo prestop $name >> /tmp/log\"; \
        net {{ }} db {{ depend = net; children.max = 2; {db} }} db.in {{ }} web {{ depend = db; }} idle {{ depend = db; }} other {{ }}");
    write(lab, &conf(""));
    quiet(lab, "jail -q -f /tmp/jail.conf -c db.in && jail -q -f /tmp/jail.conf -c web && jail -q -f /tmp/jail.conf -c other");
    log(lab);
    prints(lab, "jail -p 1 -f /tmp/jail.conf -rc db", "db.in: removed\nweb: removed\ndb: removed\ndb: created\ndb.in: created\nweb: created\n");
    assert_eq!(log(lab), "prestop db.in\nprestop web\nprestop db\ncreated db\ncreated db.in\ncreated web\n");
    // So it is where something has changed that only a new jail has.
    write(lab, &conf("exec.start = true;"));
    prints(lab, "jail -p 1 -f /tmp/jail.conf -mr db", "db.in: removed\nweb: removed\ndb: removed\ndb: created\ndb.in: created\nweb: created\n");
    // What does not go is not made again, nor is what needs it.
    quiet(lab, "jail -q -m name=web exec.prestop=false");
    write(lab, &conf("").replace("depend = db; } idle", "depend = db; exec.prestop = false; } idle"));
    gives(lab, "jail -p 1 -f /tmp/jail.conf -rc db", 1, "db.in: removed\n", "jail: web: false: failed\n\
        jail: db: skipped\nhint: web needs it, and was not removed\njail: db.in: skipped\nhint: it needs db, which failed\n");
    // One that was not there is made, with a word.
    gives(lab, "jail -f /tmp/jail.conf -rc idle", 0, "idle: created\n", "jail: \"idle\" not found\n");
    quiet(lab, "jail -q -R '*'");
    all_gone(lab);
});

lab_test!(a_jail_is_depended_on_by_any_of_its_names for root; needs [CgroupV2]; |lab| {
    write(lab, "path = \"/\"; persist; 77 { name = n; } a { depend = 77; command = \"true\"; exec.clean; }");
    prints(lab, "jail -p 1 -f /tmp/jail.conf -c a", "77: created\na: created\n");
    prints(lab, "jls -j a depend", "n\n");
    prints(lab, "jail -p 1 -f /tmp/jail.conf -r n", "a: removed\nn: removed\n");
    // What is printed is in the order of the file.
    prints(lab, "jail -f /tmp/jail.conf -e ' ' | tail -n 1", "name=a path=/ persist depend=77 command=true exec.clean\n");
    all_gone(lab);
});

lab_test!(who_may_make_no_jail_is_told_that_alone for root; needs [CgroupV2]; |lab| {
    write(lab, "path = \"/\"; persist; a { } b { }");
    quiet(lab, "jail -q -f /tmp/jail.conf -c; jail -q -r '*'; chmod 644 /tmp/jail.conf");
    let text = run(lab, "setpriv --reuid=1 --clear-groups --bounding-set=-all jail -f /tmp/jail.conf -c").fails(1);
    assert!(text.starts_with("jail: jail_set: Operation not permitted\nhint: ") && text.lines().count() == 2, "{text}");
    all_gone(lab);
});
