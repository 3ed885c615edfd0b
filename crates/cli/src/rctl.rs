//! rctl(8): rules that limit what jails use.

use ::jail::{Jails, privilege};
use subsystems::rctl::{
    admit,
    rule::{Filter, Rule},
    rules::{self, Rules},
    usage::usage,
};
use vimage::{Context as _, Error, ErrorKind, Result};

use crate::{
    ExitCode, close,
    flags::{Call, Flag, Tool, Word},
    look, misused, open,
    output::complain,
};

/// The tool.
pub(crate) static TOOL: Tool = Tool {
    name: "rctl",
    about: "limit what jails use, by rules",
    synopsis: &[
        "[-hn] [FILTER ...]",
        "-a RULE ...",
        "[-hn] -l FILTER ...",
        "-r FILTER ...",
        "[-h] -u FILTER ...",
    ],
    doc: &[
        "A rule limits what the jail of a name uses, those in it included, as long as there is one: it can be added before the \
         jail is there, and stays when it is gone. It looks like jail:NAME:RESOURCE:ACTION=AMOUNT, or, where Linux limits each \
         process by itself, jail:NAME:RESOURCE:ACTION=AMOUNT/process. j stands for jail, and k, m, g, t, p and e behind an amount \
         for powers of 1024.",
        "Each resource is a parameter of jail(8), too, which says what it means to Linux: rctl.memoryuse. Of a jail's parameter \
         and the rules of its name the strictest counts. A living jail is limited at once, and has again what its parameter \
         says when a rule is removed. When a jail is renamed the rules stay with the name.",
        "A filter is a rule of which any part may be left out: jail:web are all rules of the jail web, ::memoryuse those of \
         memory of all jails, and : is all. Without any flag, the rules that a filter means are printed; without a filter, all.",
        "Resources with the action deny: memoryuse, swapuse, maxproc, nthr, pcpu (which waits), pseudoterminals, nmsgq, nsem, nsemop, nshm and \
         shmsize; with throttle: readbps, writebps, readiops and writeiops, of each block device; with deny and /process: \
         datasize, stacksize, coredumpsize, memorylocked, openfiles and vmemoryuse; with sigkill and /process: cputime, in \
         seconds. All other resources, actions and subjects of FreeBSD's are known and refused, each with its reason: there is no \
         daemon that would see that a limit is reached.",
        "Rules are in the folder of the jails' records, and are kept as long as that: those in /run/jail until the machine is \
         booted. grep -v '^#' /etc/rctl.conf | xargs rctl -a adds those of a file. A jail that makes jails itself has rules of its own for them.",
    ],
    flags: &[
        Flag {
            short: "a",
            help: "add rules",
            doc: "Adds rules. One that cannot be honoured, by this host or for a jail that is there, is refused.",
            ..Flag::BASE
        },
        Flag {
            short: "l",
            help: "the rules that a jail is under",
            doc: "Prints the rules that a jail is under: those of its name, and of the jails that it is in.",
            ..Flag::BASE
        },
        Flag {
            short: "r",
            help: "remove rules",
            doc: "Removes the rules that a filter means. Limits of each process are given back to those that are there if the caller may \
                  raise them (CAP_SYS_RESOURCE), and to later ones always.",
            ..Flag::BASE
        },
        Flag {
            short: "u",
            help: "what a jail uses",
            doc: "Prints what a jail uses, those in it included, as RESOURCE=AMOUNT, or, if the filter names one, of that resource \
                  alone. What the kernel does not count is left out; what is used in a second is looked at for a tenth of one.",
            ..Flag::BASE
        },
        Flag {
            short: "h",
            help: "amounts for people",
            doc: "Prints amounts with K, M, G and the like.",
            ..Flag::BASE
        },
        Flag {
            short: "n",
            help: "ids as numbers",
            doc: "Prints the ids of users as numbers: no rule here has one.",
            ..Flag::BASE
        },
    ],
    words: &[Word::OneOf(&["jail:"])],
    mixed: false,
    exit: "The number of rules and filters that failed, 0 if none did.",
    diagnostics: &[],
    examples: &[
        (
            "rctl -a jail:web:memoryuse:deny=512m jail:web:nthr:deny=200",
            "Limits the jail web, now or when it is made.",
        ),
        (
            "rctl -a jail:web:openfiles:deny=1024/process",
            "Each process of the jail web has 1,024 files open at most.",
        ),
        ("rctl -hu jail:web", "What it uses."),
        ("rctl -r jail:web", "Removes all its rules."),
    ],
    run,
};

/// What is done with each word.
type Verb = fn(&mut Call<'_>, &Jails<'_>, &str) -> Result<()>;

fn run(call: &mut Call<'_>) -> Result<ExitCode> {
    let verbs: [(&str, Verb); 4] = [("a", add), ("l", limits), ("r", remove), ("u", used)];
    let chosen: Vec<_> = verbs.into_iter().filter(|(flag, _)| call.has(flag)).collect();
    let mut words = call.texts()?;
    let (flag, verb) = match chosen[..] {
        [] => ("", show as Verb),
        [one] => one,
        _ => return Err(Error::usage("at most one of -a, -l, -r, or -u may be specified")),
    };
    match (words.is_empty(), flag) {
        (true, "") => words.push("::".to_owned()),
        (true, _) => return Ok(misused(call.tool)),
        _ => {}
    }
    let changes = ["a", "r"].contains(&flag);
    let jails = match changes {
        true => {
            privilege::check_set()?;
            Some(open(call)?)
        }
        false => look(&call.root, call.registry)?,
    };
    let Some(jails) = jails else { return without_jails(&words, flag) };
    let mut failed = 0_u8;
    for word in &words {
        if let Err(error) = verb(call, &jails, word) {
            complain("rctl", &error);
            failed = failed.saturating_add(1);
        }
    }
    let damaged = rules::read(&jails.premises)?.damaged;
    damaged.iter().for_each(|error| complain("rctl", error));
    if changes {
        close(call.tool, &jails, failed == 0);
    }
    Ok(ExitCode(failed.max(u8::from(!damaged.is_empty()))))
}

/// Where there is no store there is no rule and no jail.
fn without_jails(words: &[String], flag: &str) -> Result<ExitCode> {
    for word in words {
        let filter = Filter::parse(word)?;
        if flag == "u" {
            let jail = named(&filter).doing_with(|| consumption(word))?;
            return Err(Error::new(ErrorKind::NotFound, format!("jail \"{jail}\" not found"))
                .doing(consumption(word)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes the rules under their lock.
fn change(jails: &Jails<'_>, change: impl FnOnce(&mut Vec<Rule>)) -> Result<()> {
    let _held = jails.premises.store.hold_rules(true)?;
    let Rules { mut rules, .. } = rules::read(&jails.premises)?;
    change(&mut rules);
    rules::write(&jails.premises, &rules)
}

fn add(_: &mut Call<'_>, jails: &Jails<'_>, word: &str) -> Result<()> {
    let rule = Rule::parse(word)?;
    let doing = || format!("failed to add rule '{word}'");
    // One without a name is called by its number.
    let number = rule.jail.rsplit('.').next().and_then(|last| last.parse().ok());
    ::jail::core::check_name(&rule.jail, number).doing_with(doing)?;
    admit(rule.resource).doing_with(doing)?;
    let mut is_new = false;
    change(jails, |rules| {
        is_new = !rules.contains(&rule);
        if is_new {
            rules.push(rule.clone());
        }
    })
    .doing_with(doing)?;
    jails.renew(&rule.jail, true).map_err(|error| {
        let error = error.doing(doing());
        if !is_new {
            return error;
        }
        let back = change(jails, |rules| rules.retain(|other| *other != rule));
        match back.and_then(|()| jails.renew(&rule.jail, true)) {
            Ok(()) => error,
            Err(left) => error.hint(format!("not all could be undone: {left}")),
        }
    })
}

fn remove(_: &mut Call<'_>, jails: &Jails<'_>, word: &str) -> Result<()> {
    let filter = Filter::parse(word)?;
    let doing = || format!("failed to remove rule '{word}'");
    let mut removed: Vec<String> = Vec::new();
    change(jails, |rules| {
        removed.extend(rules.iter().filter(|rule| filter.means(rule)).map(|rule| rule.jail.clone()));
        rules.retain(|rule| !filter.means(rule));
    })
    .doing_with(doing)?;
    if removed.is_empty() && *word != *":" && *word != *"::" {
        return Err(Error::new(ErrorKind::NotFound, "no such rule").doing(doing()));
    }
    removed.sort_unstable();
    removed.dedup();
    removed.iter().try_for_each(|jail| jails.renew(jail, true)).doing_with(doing)
}

fn show(call: &mut Call<'_>, jails: &Jails<'_>, word: &str) -> Result<()> {
    let filter = Filter::parse(word)?;
    print(call, rules::read(&jails.premises)?.rules.iter().filter(|rule| filter.means(rule)));
    Ok(())
}

fn limits(call: &mut Call<'_>, jails: &Jails<'_>, word: &str) -> Result<()> {
    let filter = Filter::parse(word)?;
    let jail = named(&filter).doing_with(|| format!("failed to get limits for '{word}'"))?.to_owned();
    let all = rules::read(&jails.premises)?.rules;
    let is_in = |rule: &Rule| {
        jail.strip_prefix(&rule.jail).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut any = filter.clone();
    any.jail = None;
    print(call, all.iter().filter(|rule| is_in(rule) && any.means(rule)));
    Ok(())
}

fn used(call: &mut Call<'_>, jails: &Jails<'_>, word: &str) -> Result<()> {
    let filter = Filter::parse(word)?;
    let doing = || consumption(word);
    let record = jails.read(named(&filter).doing_with(doing)?).doing_with(doing)?;
    let used = jails.with_instance(&record, usage).doing_with(doing)?;
    let human = call.has("h");
    for (name, amount) in used.into_iter().filter(|(name, _)| filter.concerns(name)) {
        let amount = if human { for_people(amount) } else { amount.to_string() };
        call.out.line(format_args!("{name}={amount}"));
    }
    Ok(())
}

/// What fails of -u.
fn consumption(word: &str) -> String {
    format!("failed to show resource consumption for '{word}'")
}

/// The jail that a filter names.
fn named(filter: &Filter) -> Result<&str> {
    let error = || Error::usage("it names no jail").hint("it looks like jail:NAME");
    filter.jail.as_deref().ok_or_else(error)
}

fn print<'r>(call: &mut Call<'_>, rules: impl Iterator<Item = &'r Rule>) {
    let human = call.has("h");
    for rule in rules {
        let text = rule.to_string();
        let (before, amount) = text.split_once('=').unwrap_or((&text, ""));
        match (human, amount.split_once('/')) {
            (false, _) => call.out.line(&text),
            (true, Some((_, per))) => {
                call.out.line(format_args!("{before}={}/{per}", for_people(rule.amount.unsigned_abs())));
            }
            (true, None) => {
                call.out.line(format_args!("{before}={}", for_people(rule.amount.unsigned_abs())));
            }
        }
    }
}

/// An amount in three digits or so, as humanize_number(3) has it.
fn for_people(amount: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let power = UNITS.len().min(1 + (amount.max(1).ilog2() / 10) as usize) - 1;
    let unit = 1_u64 << (10 * power);
    let (whole, tenths) = (amount / unit, u128::from(amount % unit) * 10 / u128::from(unit));
    if power > 0 && whole < 10 {
        format!("{whole}.{tenths}{}", UNITS[power])
    } else {
        format!("{whole}{}", UNITS[power])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let amounts = [0, 7, 1023, 1024, 1536, 10 << 10, 512 << 20, 1 << 30, u64::MAX];
        let short = ["0", "7", "1023", "1.0K", "1.5K", "10K", "512M", "1.0G", "15E"];
        assert_eq!(amounts.map(for_people), short);
    }

    #[test]
    fn all_resources_are_in_the_manual() {
        let text = TOOL.doc.concat();
        for resource in &subsystems::rctl::resource::RESOURCES {
            assert!(text.contains(resource.name()), "{}", resource.name());
        }
    }
}
