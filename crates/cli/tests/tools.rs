//! The tools as programs, on records that are written by hand: no rights are needed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

const JAIL: &str = env!("CARGO_BIN_EXE_jail");
const JLS: &str = env!("CARGO_BIN_EXE_jls");
const JEXEC: &str = env!("CARGO_BIN_EXE_jexec");
const JDB: &str = env!("CARGO_BIN_EXE_jdb");

/// What a tool answered: standard output, error output, exit status.
fn answer(tool: &str, root: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let done = Command::new(tool).args(args).env("JAIL_ROOT", root).output().unwrap();
    let Output { stdout, stderr, status } = done;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code())
}

fn record(root: &Path, jid: u32, name: &str, state: &str, settings: &str) {
    for dir in ["names", "shared", "numbers"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let dir = root.join("jails").join(jid.to_string());
    fs::create_dir_all(&dir).unwrap();
    let text = format!(
        r#"{{"version":1,"jid":{jid},"name":"{name}","state":"{state}","created":1,"pieces":[],
            "reasons":["a/b/c"],"settings":{{"jid":{jid},"name":"{name}","path":"/srv/{name}"{settings}}}}}"#
    );
    fs::write(dir.join("record"), text).unwrap();
    if state != "dying" {
        symlink(jid.to_string(), root.join("names").join(name)).unwrap();
    }
}

/// A persistent jail, one in it, and one that is dying.
fn three() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), 1, "web", "alive", r#","persist":true,"mount":["tmpfs /a tmpfs rw 0 0"]"#);
    record(dir.path(), 7, "web.db", "alive", r#","persist":true,"children.max":2"#);
    record(dir.path(), 9, "old", "dying", r#","persist":true"#);
    dir
}

/// A line of the usual columns without the host name, which is the machine's where a jail has none of its own.
fn nameless(line: &str) -> String {
    let (before, after): (Vec<_>, Vec<_>) = line.chars().enumerate().partition(|(n, _)| *n < 24);
    let column =
        |all: Vec<(usize, char)>, skip| all.into_iter().skip(skip).map(|(_, c)| c).collect::<String>();
    column(before, 0) + &column(after, 29)
}

#[test]
fn jails_are_listed_in_columns() {
    let dir = three();
    let (out, err, code) = answer(JLS, dir.path(), &[]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let mut lines = out.lines();
    let header = "   JID  IP Address      Hostname                      Path";
    assert_eq!(lines.next(), Some(header));
    let first = "     1                  ";
    let expected = [format!("{first} /srv/web"), format!("{} /srv/web.db", first.replace('1', "7"))];
    assert_eq!(lines.map(nameless).collect::<Vec<_>>(), expected);
    let (out, _, _) = answer(JLS, dir.path(), &["-d"]);
    assert!(out.lines().count() == 4 && out.ends_with(" /srv/old\n"), "{out}");
}

#[test]
fn parameters_are_listed_as_they_are_asked_for() {
    let dir = three();
    let line = |args: &[&str]| answer(JLS, dir.path(), args).0;
    assert_eq!(line(&["jid", "parent", "children.cur", "dying"]), "1 0 1 false\n7 1 0 false\n");
    assert_eq!(line(&["-j", "web.db", "-n", "name", "persist", "dying"]), "name=web.db persist nodying\n");
    let args = "jid=1 mount=\"tmpfs /a tmpfs rw 0 0\" name=web path=/srv/web persist\n";
    assert_eq!(line(&["-s", "-j", "web"]), args);
    let json = r#"{"__version":"2","jail-information":{"jail":[{"jid":"7","name":"web.db"}]}}"#;
    assert_eq!(line(&["--libxo=json", "-j", "7", "jid", "name"]), format!("{json}\n"));
}

#[test]
fn a_document_has_all_jails_or_none() {
    let dir = three();
    let json = |args: &[&str]| answer(JLS, dir.path(), &[&["--libxo=json,pretty"], args].concat()).0;
    let object = |jid: u32, name: &str| {
        format!("      {{\n        \"jid\": \"{jid}\",\n        \"name\": \"{name}\"\n      }}")
    };
    let document = |jails: &str| {
        format!("{{\n  \"__version\": \"2\",\n  \"jail-information\": {{\n    \"jail\": {jails}\n  }}\n}}\n")
    };
    let both = format!("[\n{},\n{}\n    ]", object(1, "web"), object(7, "web.db"));
    assert_eq!(json(&["name", "jid"]), document(&both));
    let none = tempfile::tempdir().unwrap();
    let answered = answer(JLS, none.path(), &["--libxo=json,pretty", "name"]);
    assert_eq!(answered, (document("[]"), String::new(), Some(0)));
}

#[test]
fn a_line_has_a_word_for_each_parameter_that_can_be_given() {
    let dir = three();
    let line = |args: &[&str]| answer(JLS, dir.path(), args).0;
    assert_eq!(line(&["-j", "web", "meta", "name", "env.x"]), "- web \n");
    assert_eq!(line(&["-s", "-j", "web", "dying", "parent"]), "\n");
    assert_eq!(
        line(&["-s", "-j", "web.db", "dying", "parent", "children.max", "jid"]),
        "children.max=2 jid=7\n"
    );
}

#[test]
fn a_jail_exists_or_not() {
    let dir = three();
    let silent = |args: &[&str]| {
        let (out, err, code) = answer(JLS, dir.path(), args);
        assert_eq!((out.as_str(), err.as_str()), ("", ""));
        code
    };
    assert_eq!(silent(&["-c", "-j", "web"]), Some(0));
    assert_eq!(silent(&["-c", "-j", "old"]), Some(1));
    assert_eq!(silent(&["-dc", "-j", "9"]), Some(0));
    let (_, err, code) = answer(JLS, dir.path(), &["-j", "x"]);
    assert_eq!((err.as_str(), code), ("jls: jail \"x\" not found\n", Some(1)));
    let (_, err, code) = answer(JLS, dir.path(), &["pth"]);
    assert_eq!((err.as_str(), code), ("jls: unknown parameter: pth\nhint: did you mean path?\n", Some(1)));
}

#[test]
fn without_a_store_there_is_no_jail_and_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("none");
    let (out, _, code) = answer(JLS, &root, &["-j", "x", "-c"]);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert_eq!(answer(JLS, &root, &["-n"]), (String::new(), String::new(), Some(0)));
    assert!(!root.exists());
}

#[test]
fn reading_works_where_nothing_can_be_written() {
    let dir = three();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(answer(JLS, dir.path(), &["name"]).0, "web\nweb.db\n");
    let (out, _, code) = answer(JDB, dir.path(), &["show", "jails"]);
    assert!(code == Some(0) && out.contains("\n9    old     dying  true "), "{out}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = three();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let done = Command::new(JLS).env("JAIL_ROOT", dir.path()).stdout(write).output().unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let done = Command::new(JLS).env("JAIL_ROOT", dir.path()).stdout(full).stderr(Stdio::piped()).output();
    let done = done.unwrap();
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(said, "jls: cannot write to standard output: No space left on device\n");
}

#[test]
fn wrong_calls_are_answered_on_error_output_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let error = |tool, args: &[&str]| {
        let (out, err, code) = answer(tool, dir.path(), args);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{args:?}");
        err
    };
    assert!(error(JAIL, &[]).starts_with("usage: jail "));
    assert!(error(JEXEC, &["-l"]).starts_with("usage: jexec [-l] [-d DIR] "));
    assert!(error(JDB, &["holders"]).starts_with("usage: jdb "));
    assert_eq!(error(JLS, &["-x"]), "jls: unknown option -x\nhint: jls --help lists the options\n");
    assert_eq!(error(JAIL, &["-C", "x"]), "jail: \"x\" not found\n");
    assert!(error(JAIL, &["-r", "name=x"]).starts_with("jail: name=x: -r takes names and numbers\n"));
    let absent = error(JAIL, &["-f", "/nonexistent/conf", "-rc", "x"]);
    assert_eq!(absent, "jail: /nonexistent/conf: No such file or directory\n");
    assert_eq!(error(JAIL, &["-p", "x", "-c", "a"]), "jail: -p x: not a number\n");
    assert!(error(JAIL, &["-e", ",", "-c", "x"]).starts_with("usage: jail "));
    assert_eq!(error(JAIL, &["-r", "x"]), "jail: \"x\" not found\n");
    assert_eq!(error(JAIL, &["-qr", "x"]), "");
    assert_eq!(error(JAIL, &["-m", "name=x", "persist"]), "jail: \"x\" not found\n");
    assert_eq!(
        error(JAIL, &["-c", "name=x", "persist=maybe"]),
        "jail: persist: unknown boolean value \"maybe\"\n"
    );
    assert_eq!(error(JEXEC, &["x", "id"]), "jexec: jail \"x\" not found\n");
    let absent = error(JDB, &["show", "x"]);
    assert_eq!(absent, "jdb: jail \"x\" not found\n");
}

#[test]
fn a_bundle_is_one_file_of_json() {
    let dir = three();
    let file = dir.path().join("bundle");
    let (_, err, code) = answer(JDB, dir.path(), &["bundle", "old", file.to_str().unwrap()]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let text = fs::read_to_string(file).unwrap();
    let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(tree["record"]["jid"], 9);
    assert_eq!(tree["live"]["state"], "dying");
    assert_eq!(tree["live"]["reasons"][0], "a/b/c");
    for part in ["journal", "kernel", "trace", "ledger", "audit", "holders", "processes"] {
        assert!(!tree[part].is_null(), "{part}");
    }
}

#[test]
fn a_ledger_says_which_objects_and_since_when() {
    // The one goes with the boot, the other does not.
    for (parent, stays) in [("/dev/shm", false), (env!("CARGO_TARGET_TMPDIR"), true)] {
        let dir = tempfile::tempdir_in(parent).unwrap();
        record(dir.path(), 1, "web", "alive", r#","persist":true"#);
        fs::write(dir.path().join("ledger"), "vnet/link 2\nmine/thing 1\n").unwrap();
        let (out, err, _) = answer(JDB, dir.path(), &["ledger"]);
        assert_eq!(
            out,
            "OBJECT     KIND        MADE  FREED  OUTSTANDING\n\
             thing      mine/thing  1     1      0\n\
             veth pair  vnet/link   2     2      0\n"
        );
        let on_disk = rustix::fs::statfs(dir.path()).unwrap().f_type != 0x0102_1994;
        assert_eq!(err.contains(": counted since it was made, not since boot\n"), stays && on_disk, "{err}");
        let (json, _, _) = answer(JDB, dir.path(), &["--json", "ledger"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let row = serde_json::json!({"object": "veth pair", "kind": "vnet/link", "made": 2, "freed": 2,
            "outstanding": 0, "alive": 0});
        assert_eq!(json[1], row);
    }
}

#[test]
fn every_tool_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for tool in [JAIL, JLS, JEXEC, JDB] {
        let name = Path::new(tool).file_name().unwrap().to_str().unwrap();
        let (version, _, code) = answer(tool, dir.path(), &["--version"]);
        assert_eq!((version, code), (format!("{name} (vimage) {}\n", env!("CARGO_PKG_VERSION")), Some(0)));
        let (help, _, code) = answer(tool, dir.path(), &["--help"]);
        assert!(code == Some(0) && help.contains("  --root DIR "), "{help}");
        let (page, _, _) = answer(tool, dir.path(), &["--generate", "man"]);
        assert!(page.starts_with(&format!(".TH {} 8 ", name.to_uppercase())), "{page}");
    }
}
