//! jdb(8): the debugger that all virtualised subsystems share.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ::jail::{Jails, privilege, record::State};
use vimage::{Context as _, Error, ErrorKind, Finding, Node, Result};

use crate::{
    ExitCode,
    bundle::bundle,
    close,
    flags::{Call, Flag, Tool, Word},
    holders, ledger, look, misused, open,
    output::{complain, warn},
    show, trace,
};

/// What jdb does.
const COMMANDS: &[&str] = &["show", "holders", "wait", "trace", "ledger", "audit", "repair", "bundle"];

/// The tool.
pub(crate) static TOOL: Tool = Tool {
    name: "jdb",
    about: "look into jails and the subsystems that make them",
    synopsis: &[
        "[--json] show subsystems|params|order|jails",
        "[--json] show JAIL [SUBSYSTEM]",
        "[--json] holders JAIL",
        "[--json] wait JAIL [SECONDS]",
        "[--json] [--last | --all] trace [JAIL]",
        "[--json] ledger",
        "[--json] [--all] audit [JAIL]",
        "repair",
        "bundle JAIL FILE",
    ],
    doc: &[
        "show prints the subsystems, their parameters, the order in which they are made, all jails in any state, \
         or all there is of one jail: its values, its pieces (what was made for it), its namespaces and \
         processes.",
        "holders prints who holds the namespaces and the cgroup of a jail, a line for each holder with the kinds \
         that it holds and what makes it let go: the jail's own processes (jail), what holds it while it persists \
         (vault), and all others, which keep a removed jail from being gone: processes and mounts (foreign), and what \
         the kernel has without a process, as connections that it still tries to end (kernel). A process holds a namespace by being in it, by a thread, a descriptor of it, \
         a mount of it, a socket or a tap that was made in it. Where nobody does, more is looked for: sockets in a \
         ring of io_uring(7) or mapped into memory, attached SysV segments, mounts that no process sees, descriptors that \
         one thread alone has, watches, unix(7) sockets that were connected to one inside, files that were opened inside, and what may hold it but cannot be looked \
         into (perhaps): descriptors in flight (SCM_RIGHTS, unix(7)), messages that were not read, requests that wait in a ring, calls that go on with what \
         was closed, mounts that are mounted nowhere, and open files of /proc that show a namespace or a process that has ended.",
        "What lives though nobody was found to hold it has a line of its own (nobody): the kernel may need it for a moment, \
         and jdb wait says when it is gone.",
        "wait waits until a jail, living or dying, is gone, and clears up what is let go meanwhile; with SECONDS, so \
         long at most. Whoever may not clear up waits until another does. As JSON it prints an object: jail, jid, gone (true \
         or false) and waited, in seconds.",
        "trace prints what the commands concerning a jail did, phase by phase and piece by piece, with the time \
         that each took in microseconds; without a jail, what the last three commands did, and with --all, all that \
         are traced.",
        "ledger prints, for each kind of thing that is made for jails, which object of the kernel it is (ours: what the \
         store has and the kernel does not know of), how many were made and freed, and how many are outstanding: in \
         the record of a jail, living or dying, or of what jails share. It counts since boot, as the store is in /run, \
         which goes with it; of a store that is elsewhere it says so, and counts since that was made. What is in no \
         record is for audit to find.",
        "audit compares the records with the kernel, both ways, and prints a line for each difference: a piece \
         that is recorded and does not exist, something with our mark that is in no record, something shared \
         whose users are gone. Behind it stands what that costs, if it costs anything: processes, memory, links, ids, an \
         address that no other can have; and in parentheses the command that mends it or says more. It clears up first \
         what jails that ended by themselves left. repair mends what can be mended, and prints what it did; it also \
         ends the connections that keep dying jails. A jail that is still dying is printed with the command that names its \
         holders: it waits for them, and is no difference.",
        "bundle writes all that is known of a jail to a file of JSON, for a report.",
        "A jail that is dying is named by its number, or by the name it had.",
    ],
    flags: &[
        Flag {
            long: "json",
            help: "print as JSON",
            doc: "Prints JSON: a table is an array of objects.",
            ..Flag::BASE
        },
        Flag {
            long: "all",
            help: "audit: dying jails, too; trace: all commands",
            doc: "With audit, prints also the jails that are dying, each with what of it is not gone. With trace and \
                  no jail, prints all commands that are traced, not the last three alone.",
            ..Flag::BASE
        },
        Flag {
            long: "last",
            help: "trace: only the last command",
            doc: "With trace, prints only the last command.",
            ..Flag::BASE
        },
    ],
    words: &[Word::OneOf(COMMANDS), Word::Jail, Word::File],
    mixed: true,
    exit: "0; 1 if anything failed, if a jail that was waited for is not gone, if audit found a difference, or if repair left one. A jail that others hold is none: repair prints it and succeeds.",
    diagnostics: &[],
    examples: &[
        ("jdb show web", "All there is of the jail web."),
        ("jdb holders 3", "Why the jail 3 is not gone."),
        ("jdb wait 3 10", "Until the jail 3 is gone, for ten seconds at most."),
        ("jdb --last trace web", "Where the last command's time went."),
    ],
    run,
};

fn run(call: &mut Call<'_>) -> Result<ExitCode> {
    obey(call).map_err(privilege::explain_reading)
}

fn obey(call: &mut Call<'_>) -> Result<ExitCode> {
    let words = call.texts()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let registry = call.registry;
    let node = match words[..] {
        ["show", "subsystems"] => show::subsystems(registry),
        ["show", "params"] => show::params(registry),
        ["show", "order"] => show::order(registry),
        ["show", "jails"] => show::jails(&store(call)?, moment(call))?,
        ["show", jail] => {
            let jails = store(call)?;
            show::jail(&jails, &jails.find(jail)?, moment(call))?
        }
        ["show", jail, subsystem] => {
            let jails = store(call)?;
            show::part(&jails, &jails.find(jail)?, subsystem)?
        }
        ["holders", jail] => {
            let jails = store(call)?;
            let record = jails.find(jail)?;
            privilege::sees_all()?;
            holders::table(&jails, &record)?
        }
        ["wait", jail] => return wait(call, jail, None),
        ["wait", jail, seconds] => return wait(call, jail, Some(seconds)),
        ["trace"] => return print_trace(call, None),
        ["trace", jail] => return print_trace(call, Some(jail)),
        ["ledger"] => {
            let jails = store(call)?;
            let table = ledger::table(&jails, call.has("json"))?;
            if let Some(since) = ledger::since(&jails) {
                warn(format_args!("{}: {since}", call.tool.name));
            }
            table
        }
        ["audit"] => return audit(call, None),
        ["audit", jail] => return audit(call, Some(jail)),
        ["repair"] => return repair(call),
        ["bundle", jail, file] => {
            let node = bundle(&store(call)?, jail)?;
            fs::write(file, format!("{:#}\n", node.json())).doing_with(|| format!("cannot write {file}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        [command, ..] if !COMMANDS.contains(&command) => {
            return Err(Error::usage(format!("unknown command: {command}")).hint(COMMANDS.join(", ")));
        }
        _ => return Ok(misused(call.tool)),
    };
    print(call, &node);
    Ok(ExitCode::SUCCESS)
}

/// How a moment is written: for people as local time, for programs in seconds since 1970.
fn moment(call: &Call<'_>) -> show::Moment {
    if call.has("json") { serde_json::Value::from } else { |seconds| kernel::clock::local(seconds).into() }
}

fn print(call: &mut Call<'_>, node: &Node) {
    if call.has("json") {
        let json = node.json();
        call.out.line(format_args!("{json:#}"));
    } else {
        let text = node.text();
        call.out.text(text);
    }
}

/// The store, to read it.
fn store<'r>(call: &Call<'r>) -> Result<Jails<'r>> {
    look(&call.root, call.registry)?.ok_or_else(|| absent(&call.root))
}

fn absent(root: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("{}: no jail was ever created there", root.display()))
        .hint("--root or JAIL_ROOT names another folder")
}

fn print_trace(call: &mut Call<'_>, jail: Option<&str>) -> Result<ExitCode> {
    let jails = store(call)?;
    // A jail that is gone has a trace, too; a number is that of one that is not.
    let name = jail.map(|word| jails.find(word).map_or_else(|_| word.to_owned(), |record| record.name));
    let all = trace::commands(jails.premises.store.trace());
    let most = match (&name, call.has("last"), call.has("all")) {
        (_, true, _) => 1,
        (None, false, false) => trace::FEW,
        _ => usize::MAX,
    };
    let found = trace::concerning(all, name.as_deref(), most);
    if let (Some(name), true) = (&name, found.is_empty()) {
        return Err(Error::new(ErrorKind::NotFound, format!("no command concerning \"{name}\" is traced")));
    }
    if call.has("json") {
        let json: serde_json::Value = found.iter().map(|command| command.node().json()).collect();
        call.out.line(format_args!("{json:#}"));
    } else {
        let texts: Vec<_> = found.iter().map(|command| command.node().text()).collect();
        call.out.text(texts.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store where there is any of it: a part that somebody has removed may have spoken of what is there still.
fn open_there<'r>(call: &Call<'r>) -> Result<Option<Jails<'r>>> {
    if call.root.is_dir() { open(call).map(Some) } else { Ok(None) }
}

fn audit(call: &mut Call<'_>, jail: Option<&str>) -> Result<ExitCode> {
    let Some(jails) = open_there(call)? else { return Ok(ExitCode::SUCCESS) };
    let name = jail.map(|word| jails.find(word)).transpose()?.map(|record| record.name);
    let done = jails.audit();
    let mut findings = done?;
    findings.retain(|finding| match (&name, finding) {
        (None, _) => true,
        (Some(name), Finding::Missing { owner, .. }) => owner == name,
        (Some(_), _) => false,
    });
    let (mut lines, mut json) = (Vec::new(), Vec::new());
    for finding in &findings {
        let (cost, mend) = (jails.driver().cost(finding).said(), finding.mend());
        let mut object = serde_json::to_value(finding).unwrap_or_default();
        lines.push(line(&finding.to_string(), cost.as_deref(), mend.as_deref()));
        (object["cost"], object["mend"]) = (cost.into(), mend.into());
        json.push(object);
    }
    if call.has("all") {
        for record in jails.list(true)?.into_iter().filter(|r| r.state == State::Dying) {
            if name.as_ref().is_some_and(|name| *name != record.name) {
                continue;
            }
            let holders = format!("jdb holders {}", record.jid);
            let cost = jails.driver().cost_of(&record.pieces).said();
            let finding = format!("{}: dying: {}", record.name, reasons(&record.reasons));
            lines.push(line(&finding, cost.as_deref(), Some(&holders)));
            json.push(serde_json::json!({
                "finding": "dying", "owner": record.name, "jid": record.jid, "reasons": record.reasons,
                "cost": cost, "mend": holders,
            }));
        }
    }
    close(call.tool, &jails, true);
    if call.has("json") {
        call.out.line(format_args!("{:#}", serde_json::Value::from(json)));
    } else {
        lines.iter().for_each(|line| call.out.line(line));
    }
    Ok(if lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was found, what it costs, and the command that mends it.
fn line(finding: &str, cost: Option<&str>, mend: Option<&str>) -> String {
    let cost = cost.map_or_else(String::new, |cost| format!(": {cost}"));
    let mend = mend.map_or_else(String::new, |mend| format!(" ({mend})"));
    format!("{finding}{cost}{mend}")
}

/// Waits until a jail is gone.
fn wait(call: &mut Call<'_>, jail: &str, seconds: Option<&str>) -> Result<ExitCode> {
    let limit = |word: &str| {
        if word.parse::<f64>().is_ok_and(|seconds| seconds < 0.0) {
            return Err(Error::usage("wait: seconds cannot be negative"));
        }
        let seconds = word.parse::<f64>().ok().and_then(|n| Duration::try_from_secs_f64(n).ok());
        seconds.ok_or_else(|| Error::usage(format!("wait: \"{word}\" is no number of seconds")))
    };
    let deadline = seconds.map(limit).transpose()?.map(|limit| Instant::now().checked_add(limit));
    let start = Instant::now();
    let record = store(call)?.find(jail)?;
    let jails = open(call)?;
    // It may be gone by now.
    let done = jails.find(jail).map_or(Ok(true), |record| jails.wait_gone(&record, deadline.flatten()));
    if privilege::check().is_ok() {
        close(call.tool, &jails, true);
    }
    let gone = done?;
    if call.has("json") {
        let waited = start.elapsed().as_secs_f64();
        let json =
            serde_json::json!({ "jail": record.name, "jid": record.jid, "gone": gone, "waited": waited });
        call.out.line(format_args!("{json:#}"));
    }
    if gone {
        return Ok(ExitCode::SUCCESS);
    }
    let error = Error::new(ErrorKind::Busy, format!("jail \"{jail}\" is not gone"));
    Err(error.hint(format!("jdb holders {jail} says who holds it")))
}

/// Why a jail is not gone. There is none while its removal is under way.
fn reasons(all: &[String]) -> String {
    if all.is_empty() { "its removal is under way".to_owned() } else { all.join(" ") }
}

/// Mends, and says what: the jails that were left over, and each finding that is no more.
fn repair(call: &mut Call<'_>) -> Result<ExitCode> {
    let Some(jails) = open_there(call)? else { return Ok(ExitCode::SUCCESS) };
    let mut left_over = Vec::new();
    for jid in jails.premises.store.jids()? {
        // One that cannot be read is named below, and keeps none of the others from being mended.
        let record = jails.premises.store.read(jid).ok().flatten().filter(|r| !jails.is_alive(r));
        left_over.extend(record.map(|record| (jid, record.name)));
    }
    let before = jails.audit()?;
    let errors = jails.repair()?;
    let after = jails.audit()?;
    let jids = jails.premises.store.jids()?;
    for (jid, name) in left_over {
        let left = jails.premises.store.read(jid).ok().flatten().filter(|record| record.name == name);
        match left.filter(|record| record.state == State::Dying) {
            Some(record) => {
                let reasons = reasons(&record.reasons);
                call.out.line(format_args!("{name}: still dying: {reasons} (jdb holders {jid})"));
            }
            None if jids.contains(&jid) => call.out.line(format_args!("{name}: still dying")),
            None => call.out.line(format_args!("{name}: cleared up")),
        }
    }
    for finding in before.iter().filter(|finding| !after.contains(finding)) {
        call.out.line(format_args!("mended: {finding}"));
    }
    for finding in &after {
        call.out.line(format_args!("left: {finding}"));
    }
    errors.iter().for_each(|error| complain(call.tool.name, error));
    close(call.tool, &jails, true);
    let clean = errors.is_empty() && after.is_empty();
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jail_is_not_dying_for_no_reason() {
        assert_eq!(reasons(&[]), "its removal is under way");
        assert_eq!(reasons(&["vnet/net".to_owned(), "x".to_owned()]), "vnet/net x");
    }
}
