//! The manual page of the rule sets for devices: devfs.rules(5).

use subsystems::root::devfs::{BUILT_IN, FILE};

use super::man::{Page, escaped};

/// What a file is made of, each with what it means.
const LINES: &[(&str, &str)] = &[
    (
        "[NAME=NUMBER]",
        "Begins a rule set. NAME has letters, digits and _, NUMBER is from 1 to 65535. The set replaces one that is built in \
         and has the same number.",
    ),
    (
        "add [NUMBER] [path PATTERN] [type TYPE] ACTION ...",
        "A rule. Rules apply in the order of their numbers, and of two that are about the same device the later one holds. A \
         rule without a number has one that is 100 above the last. A rule without path and type is about all devices.",
    ),
];

const CONDITIONS: &[(&str, &str)] = &[
    (
        "path PATTERN",
        "Devices whose path below /dev the pattern meets, as of glob(7): no sign of it but / stands for a /.",
    ),
    (
        "type disk|mem|tape|tty",
        "Devices of this type: block devices and what else leads to disks (sg, nvme, mtd); memory (mem, port, dax, msr); \
         tapes; terminals.",
    ),
];

const ACTIONS: &[(&str, &str)] = &[
    ("hide", "The device is not in the jail's /dev."),
    ("unhide", "It is, and the directories that it is in."),
    (
        "mode MODE",
        "Its permissions, octal. What no rule says is as on the host; null, zero, full, random, urandom and tty have 0666.",
    ),
    (
        "user USER, group GROUP",
        "Its owner and group: a name of the host, or a number. In the jail it has this number.",
    ),
    ("include $NAME, include NUMBER", "The rules of another set, for the devices that this rule is about."),
];

const WORDS: &[&str] = &[
    "Words are written as for a shell: a quote or a backslash takes from a sign what it means, a line that ends with a \
     backslash goes on in the next, and a comment begins with # and ends with its line.",
    "All that is wrong with the file is reported at once, each with its line, when a jail is to have a rule set of it. Jails \
     with the sets that are built in are not concerned, if the file has none of these numbers.",
];

const LIMITS: &[&str] = &[
    "A rule set is about the devices that the host has in its /dev when the jail is made, or is given the set. The jail gets a \
     node of the same number; links of the host's it does not get. What the jail has of its own, ptmx, fd, stdin, stdout and \
     stderr, a rule can hide, too; pts, shm and mqueue are file systems, and always there.",
    "No jail is given a disk or memory of the host: who can write these is the host's root. A rule set that shows one is \
     refused. So a set begins with add include $devfsrules_hide_all, and one that unhides by patterns or types can end with add \
     type disk hide and add type mem hide.",
    "Many devices ask for more than their mode and owner, such as a capability over the host, which no jail's root has: to be \
     shown one is to be let open it, and no more.",
];

const EXAMPLE: &str = "# Virtual machines and tunnels.\n\
    [machines=10]\n\
    add include $devfsrules_jail\n\
    add path kvm unhide mode 0660 group kvm\n\
    add path net/tun unhide mode 0666\n\
    \n\
    [sound=11]\n\
    add include $devfsrules_jail\n\
    add path 'snd/*' unhide group audio";

/// The page, in section 5.
pub(super) fn page() -> String {
    let mut page = Page::default();
    page.begin("devfs.rules", (5, "File Formats Manual"), "rule sets for the devices of jails");
    page.line(".SH DESCRIPTION");
    page.text(
        "Rule sets that say which devices a jail has in its /dev. The parameter devfs_ruleset of jail(8) says which set is a \
         jail's. The language is FreeBSD's.",
    );
    for (title, rows) in [("", LINES), ("Conditions", CONDITIONS), ("Actions", ACTIONS)] {
        if !title.is_empty() {
            page.line(&format!(".SS {title}"));
        }
        rows.iter().for_each(|(line, meaning)| page.item(&escaped(line), &escaped(meaning)));
    }
    page.line(".SS Words");
    page.paragraphs(WORDS);
    page.line(".SS Devices");
    page.paragraphs(LIMITS);
    page.line(".SS Built in");
    page.text("These rule sets there are without a file.");
    page.verbatim(BUILT_IN.trim_end());
    page.line(".SH FILES");
    page.item(FILE, "Further rule sets, and others in the place of those that are built in.");
    page.line(".SH EXAMPLES");
    page.verbatim(EXAMPLE);
    page.line(".PP");
    page.text("A jail with them: jail -c name=vm devfs_ruleset=machines command=qemu-system-x86_64. Virtual machines need no rule set of their \
         own: allow.vmm has these two devices, as the host has them.");
    page.line(".SH SEE ALSO");
    page.line("\\fBjail.conf\\fR(5),\n\\fBglob\\fR(7),\n\\fBjail\\fR(8)");
    page.into_text()
}

#[cfg(test)]
mod tests {
    use conf::devfs::Rulesets;

    use super::*;

    #[test]
    fn the_example_is_what_it_says() {
        let texts = [("built in", BUILT_IN), ("example", EXAMPLE)];
        let sets =
            Rulesets::read(texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into());
        assert!(sets.wrong().is_none(), "{:?}", sets.wrong());
        let rules = sets.rules(sets.number("machines").unwrap()).unwrap();
        let shows = |path| rules.verdict(path, None).is_visible;
        assert!(shows("kvm") && shows("net/tun") && shows("null") && !shows("sda"));
        assert!(page().contains("\n[devfsrules_jail=4]\n"));
    }
}
