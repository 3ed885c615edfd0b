//! The manual page for who comes from FreeBSD: jail-freebsd(7).

mod names;
mod verdict;

use kernel::act::Act;
use vimage::Registry;

use super::man::{Page, escaped};
use verdict::Verdict;

const SAME: &[&str] = &[
    "Names of tools, flags and parameters; types and values; the language of jail.conf(5); modes -c, -m, -cm, -r, -R, -rc, -mr \
     and -cmr; the order in which commands, mounts and interfaces come and go; messages and exit statuses; jls(8)'s columns and \
     libxo output, and jls -s, which can be fed to jail -c.",
    "Jails in jails: names with dots, children.max, a child that is at most what its parent is, and loses at once what its \
     parent loses.",
    "A jail's root changes nothing outside of it, and sees nothing of it.",
];

/// What is there and is not quite the same, each with how.
const DIFFERS: &[(&str, &str)] = &[
    (
        "addresses",
        "A jail that says nothing of ip4 and ip6 has all addresses of the host's stack, where FreeBSD's has none; one that \
         has addresses of one family has none of the other. The host's own sockets at 0.0.0.0 take a port from jails, too. \
         A jail with a stack of its own, vnet, gets addresses with vnet.link=\"eth0 SEGMENT ADDR/LEN\": a segment is a bridge of \
         ours that needs no set-up. vnet.host gives the host an interface on it, and a bridge of the host's serves as a \
         segment, too. What addm of ifconfig(8) does for an interface of the host's, such as the tap(4) of a virtual machine, \
         vnet.member does.",
    ),
    (
        "ids",
        "The jail's root is nobody on the host: user=new. The files of its path keep their owners, by id-mapped mounts. What \
         takes a capability of the host's, such as raw sockets of the host's stack, is granted with user=inherit, where ids are \
         the host's.",
    ),
    (
        "processes",
        "The jail sees its own processes alone, with pids of their own: proc=new. With proc=inherit pids are the host's, as on \
         FreeBSD.",
    ),
    (
        "jails in jails",
        "A jail makes jails itself with children.max, user=new and proc=new, and has the tools in its tree. Numbers are not the \
         machine's but each jail's own: the jail 2 of the jail 1 is 1.2 outside, as the jail b of the jail a is a.b. What was made \
         from outside is seen inside, is entered and removed from outside alone, and its number begins with a dot there. A jail \
         with a network stack is made in one that has one itself. The ids of a jail that a jail makes are the maker's.",
    ),
    ("mounts", "None of a jail's mounts is ever seen on the host."),
    (
        "POSIX IPC",
        "Message queues and shared memory are the jail's own, and not those of whoever has the same root: mqueue and shm are \
         parameters.",
    ),
    (
        "commands",
        "What exec.prestop and the like say is kept with the jail, and is run when it is removed, also where no configuration \
         has the jail. One that has it goes before.",
    ),
    (
        "limits",
        "Each resource of rctl(8) is a parameter of the jail, too: rctl.memoryuse. Rules are of jails alone, and do what the \
         kernel does at a limit: deny, throttle or, for cputime, sigkill; what would take a daemon, log, devctl and other signals, \
         is refused. What Linux limits for each process needs /process behind the amount: jail:web:openfiles:deny=1024/process. \
         No tunable switches accounting on. What cpuset -l -j says is a parameter: cpuset.cpus.",
    ),
    (
        "removal",
        "Name and number of a removed jail are free at once, also while something holds what was its own: jdb holders JAIL says \
         what. jail -r takes any number of jails down together.",
    ),
    (
        "at boot",
        "There is no rc.conf(5). systemd(1) units are printed by jail --generate systemd and systemd@, for all configured jails \
         and for one by its name.",
    ),
    (
        "more",
        "jdb(8) shows what a jail has, who holds a jail that is dying, and what is left over; jexec(8) gives commands a \
         terminal of the jail's.",
    ),
];

const INTRODUCTION: &str = "All parameters of FreeBSD's jail(8) and resources of its rctl(8), and what each is here. What is the same is so in name, type, \
    values and meaning. What differs does so in what is said of it; to change what is given at creation alone is an error. \
    What is refused is known, and refused with its reason, so that no jail is less than its configuration says. Parameters that \
    FreeBSD does not have are in jail(8).";

/// The page, in section 7.
pub(super) fn page(registry: &Registry<Act>) -> String {
    let mut page = Page::default();
    page.begin("jail-freebsd", (7, "Miscellaneous Information Manual"), "jails for who comes from FreeBSD");
    page.line(".SH THE SAME");
    page.paragraphs(SAME);
    page.line(".SH OTHERWISE");
    for (what, how) in DIFFERS {
        page.item(&escaped(what), &escaped(how));
    }
    page.line(".SH PARAMETERS");
    page.text(INTRODUCTION);
    for group in names::ALL {
        page.line(&format!(".SS {}", escaped(group.title)));
        if let Some(reason) = group.fixed {
            page.text(&format!("Most are given at creation alone: {reason}."));
        }
        let verdicts = group.rows.iter().map(|row| (row.name, Verdict::of(row, registry)));
        let verdicts: Vec<_> = verdicts.collect();
        // Neighbours of which the same is to be said share it, where that is more than a word.
        for alike in verdicts.chunk_by(|(_, one), (_, next)| one == next && *one != Some(Verdict::Same)) {
            // Most names have room beside what is said of them.
            let requests = std::iter::once(".TP 20").chain(std::iter::repeat(".TQ"));
            for (request, (name, _)) in requests.zip(alike) {
                page.line(request);
                page.line(&format!("\\fB{}\\fR", escaped(name)));
            }
            page.text(
                &alike
                    .iter()
                    .find_map(|(_, verdict)| verdict.as_ref().map(Verdict::text))
                    .unwrap_or_default(),
            );
        }
    }
    page.line(".SH SEE ALSO");
    page.line("\\fBjail.conf\\fR(5),\n\\fBjail\\fR(8),\n\\fBjdb\\fR(8),\n\\fBjexec\\fR(8),\n\\fBjls\\fR(8),\n\\fBrctl\\fR(8)");
    page.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_that_is_named_is_one() {
        let registry = crate::registry(&[]).unwrap();
        let text = page(&registry);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
        let dotted = words.map(|word| word.trim_matches('.')).filter(|word| word.contains('.'));
        let of_ours = ["vnet.", "rctl.", "exec.", "mount.", "allow.", "children."];
        for word in dotted.filter(|word| of_ours.iter().any(|group| word.starts_with(group))) {
            assert!(registry.param(word).is_some() || registry.refusal(word).is_some(), "{word}");
        }
    }
}
