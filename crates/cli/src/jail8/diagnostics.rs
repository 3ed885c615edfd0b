//! What jail(8) prints, and what it means. Each text is made by what prints it.

use ::jail::{
    LIMIT_EXCEEDED, account, core, hooks,
    privilege::{self, NOT_PERMITTED},
    schedule,
};
use kernel::step::Exec;
use subsystems::{
    inet,
    root::{self, fstab},
};
use vimage::Param;

use super::{CREATED, DEPRECATED, REMOVED, UPDATED, exists, no_jail, not_found};
use crate::flags::Diagnostic;

const fn says(text: fn() -> String, means: &'static str) -> Diagnostic {
    Diagnostic { text, means }
}

/// All that has a meaning of its own.
pub(super) static ALL: &[Diagnostic] = &[
    says(
        || format!("NAME: {CREATED}"),
        "A configured jail is there. NAME is the name of its block. A jail that is given on the command line is named \
         with -v alone.",
    ),
    says(|| format!("NAME: {UPDATED}"), "A configured jail was changed, or was as it is to be."),
    says(
        || format!("NAME: {REMOVED}"),
        "The jail is gone: its processes have ended, its name and number are free. It is said where there is a \
         configuration or several jails were meant.",
    ),
    says(
        || exists("NAME").to_string(),
        "The jail is not made, as one of this name is there. -cm changes that one.",
    ),
    says(
        || not_found("NAME").to_string(),
        "No jail has this name or number; where one is to be made, no block of the configuration has it. With -q it is not \
         said of a jail that is to be removed.",
    ),
    says(|| no_jail().to_string(), "A jail is to be changed or removed, and nothing says which."),
    says(
        || format!("NAME: {}", schedule::SKIPPED),
        "Nothing was done to the jail. One that it needs failed; or, where it was to be removed, one that needs it is \
         still there. The advice says which.",
    ),
    says(
        || format!("NAME: {}", schedule::LOOP),
        "The jail needs itself, by depend or by the jails that it is in, over however many others. Nothing was done to \
         it.",
    ),
    says(
        || core::nonexistent("NAME").to_string(),
        "The parameter depend names a jail that neither is there nor is configured. Nothing was made.",
    ),
    says(
        || format!("{}: {NOT_PERMITTED}", privilege::SET),
        "A privilege is missing, which the advice names. In a jail, its children.max is 0.",
    ),
    says(
        || LIMIT_EXCEEDED.to_owned(),
        "There are as many jails in the jail, or in one that it is in, as children.max lets it have.",
    ),
    says(
        || format!("{}ERROR", inet::lookup::failed("NAME")),
        "With ip_hostname, the resolver does not know the host name, or does not answer. Nothing was made.",
    ),
    says(|| root::relative("DIR").to_string(), "The parameter path does not begin with a /."),
    says(
        || Param { name: "PARAM", ..Param::BASE }.cannot_change().to_string(),
        "A living jail was to have another value of this parameter, which can be given when a jail is made. Nothing of \
         the jail was changed. Of a configured jail, -mr makes it anew.",
    ),
    says(
        || conf::no_variable("NAME"),
        "A value in the configuration has a variable or parameter that nothing has set. The lines below say where. Nothing \
         was done to the jail.",
    ),
    says(
        || conf::VARIABLE_LOOP.to_owned(),
        "A variable or parameter in the configuration needs itself. The advice shows the way round.",
    ),
    says(
        || conf::ARRAY_INLINE.to_owned(),
        "A variable of several values is part of a longer text. By itself it would stand for them all.",
    ),
    says(|| conf::like_a_parameter("NAME"), "A variable would look like this parameter and would not be it."),
    says(
        || conf::redefined("PARAM"),
        "A jail is given its name or jid a second time: which jail it is the configuration can say once.",
    ),
    says(
        || format!("{}: ERROR", fstab::file("FILE")),
        "The file cannot be read, or has a line that is none of fstab(5). The jail is not made.",
    ),
    says(
        || account::no_such_user("NAME").to_string(),
        "The user of exec.jail_user is not in the jail's passwd(5), or that of exec.system_user not in the host's. The \
         command is not run, and a jail that was being made is not there after.",
    ),
    says(
        || format!("{}: ERROR", Exec::of("COMMAND")),
        "The program of a command is not there, or cannot be executed. A jail that was being made is removed again.",
    ),
    says(
        || format!("COMMAND: {}", hooks::FAILED),
        "The command ended with a status that is not 0. A jail that was being made is removed again, and one that was to \
         be removed stays, unless the command comes after the removal.",
    ),
    says(|| format!("COMMAND: {}", hooks::exited_on("NUMBER")), "A signal ended the command. It has failed."),
    says(
        || format!("COMMAND: {}", hooks::TIMED_OUT),
        "The command took longer than exec.timeout says, and was killed. It has failed.",
    ),
    says(|| DEPRECATED.to_owned(), "A warning. The flag is taken, and changes nothing."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;

    /// FreeBSD's messages, each with why it is not printed, if it is not.
    const FREEBSDS: &[(&str, Option<&str>)] = &[
        ("NAME: created", None),
        ("NAME: updated", None),
        ("NAME: removed", None),
        ("\"NAME\" already exists", None),
        ("\"NAME\" not found", None),
        ("no jail specified", None),
        ("NAME: skipped", None),
        ("NAME: dependency loop", None),
        (
            "depends on undefined jail",
            Some("a jail that is not configured may be there: only one that is not there is an error"),
        ),
        ("depends on nonexistent jail \"NAME\"", None),
        ("path DIR: not an absolute pathname", None),
        ("PARAM cannot be changed after creation", None),
        ("variable \"NAME\" not found", None),
        ("variable loop", None),
        ("array cannot be substituted inline", None),
        ("variable \"$NAME\" cannot have the same name as a parameter.", None),
        ("cannot redefine parameter \"PARAM\".", None),
        ("mount.fstab: FILE: ERROR", None),
        ("jail_attach: ", Some("there is no such system call: what failed on the way in is named")),
        ("jail_remove: ", Some("there is no such system call: what cannot be undone is named")),
        ("NAME: no such user", None),
        ("exec COMMAND: ERROR", Some("it is execvp(): COMMAND: ERROR, as jexec(8) has it")),
        ("host.hostname NAME: ", None),
        ("-d is deprecated", None),
        ("allow.dying is deprecated", Some("it is taken without a word")),
        ("COMMAND: failed", None),
        ("COMMAND: exited on signal NUMBER", None),
        ("COMMAND: timed out", None),
    ];

    #[test]
    fn every_message_of_freebsd_is_explained_if_it_is_printed() {
        let registry = crate::registry(&[]).unwrap();
        let page = generate(&crate::jail8::TOOL, &registry, "man").unwrap();
        let (_, section) = page.split_once(".SH DIAGNOSTICS\n").unwrap();
        let (section, _) = section.split_once(".SH").unwrap();
        let printed: Vec<String> = ALL.iter().map(|diagnostic| (diagnostic.text)()).collect();
        for (message, why_not) in FREEBSDS {
            let is_there = section.contains(&format!("\\fB{}", message.replace('-', "\\-")));
            assert_eq!(is_there, why_not.is_none(), "{message}");
            assert_eq!(printed.iter().any(|text| text.starts_with(message)), is_there, "{message}");
        }
    }

    #[test]
    fn a_message_is_one_line_and_is_explained_once() {
        for diagnostic in ALL {
            let text = (diagnostic.text)();
            assert!(!text.contains('\n') && diagnostic.means.ends_with('.'), "{text}");
            assert_eq!(ALL.iter().filter(|other| (other.text)() == text).count(), 1, "{text}");
        }
    }
}
