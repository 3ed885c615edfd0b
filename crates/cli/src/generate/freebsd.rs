//! The manual page for who comes from FreeBSD: jail-freebsd(7).

use kernel::act::Act;
use vimage::Registry;

use super::man::{Page, escaped, sentence};

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
        "A jail in the host's network stack is not restricted to addresses, and ip4.addr is refused. A jail that is to have \
         addresses has a stack of its own, vnet, with vnet.link=\"eth0 SEGMENT ADDR/LEN\": a segment is a bridge of ours that \
         needs no set-up. vnet.host gives the host an interface on it, and a bridge of the host's serves as a segment, too.",
    ),
    (
        "vnet.interface",
        "Interfaces are moved in and come home, also when the jail ends by itself, with the name, MAC, MTU and state that they \
         had. An epair(4) is a veth(4) pair here: ip link add NAME type veth peer NAME. With vnet.link there is none to make.",
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
        "path",
        "The default is /, the host's own tree, which the jail sees with the rights of others, and with a /run, /tmp and \
         /var/tmp of its own. The tree of another path is one of a Linux system, as debootstrap(8) makes them.",
    ),
    (
        "mounts",
        "Every jail has its /dev, /dev/fd and /proc, and none of a jail's mounts is ever seen on the host. The types nullfs, \
         none and bind of mount and mount.fstab mount a directory or file. enforce_statfs is 2.",
    ),
    (
        "System V IPC",
        "sysvmsg, sysvsem and sysvshm are new by default, and go with POSIX message queues, mqueue: either all of them are the \
         jail's own or none is. Each can be disabled by itself. allow.sysvipc is refused.",
    ),
    (
        "limits",
        "What rctl(8) says by rules is a parameter of the jail: rctl.memoryuse, rctl.maxproc, rctl.pcpu. What cpuset -l -j says \
         is another: cpuset.cpus.",
    ),
    (
        "env",
        "What security.jail.env is to a jail is the file /run/jail/env, which is there while env is not empty.",
    ),
    (
        "removal",
        "Name and number of a removed jail are free at once, also while something holds what was its own: jdb holders JAIL says \
         what. jail -r takes any number of jails down together.",
    ),
    ("environment", "exec.clean gives the PATH of a login: that of root has the directories named sbin."),
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
    page.line(".SH REFUSED");
    page.text(
        "These parameters are known, and each is refused with its reason, so that no jail is less than its configuration says. Of \
         allow.* jail(8) says which can be granted, and to which jails.",
    );
    for row in registry.refused() {
        page.item(&escaped(row.name), &escaped(&format!("{} Instead: {}.", sentence(row.reason), row.hint)));
    }
    page.line(".SH SEE ALSO");
    page.line("\\fBjail.conf\\fR(5),\n\\fBjail\\fR(8),\n\\fBjdb\\fR(8),\n\\fBjexec\\fR(8),\n\\fBjls\\fR(8)");
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
            assert!(registry.param(word).is_some(), "{word}");
        }
        assert!(registry.refused().all(|row| text.contains(&format!("\\fB{}\\fR", escaped(row.name)))));
    }
}
