//! FreeBSD's parameters that are not honoured: jail(8) as of FreeBSD 15, but for `allow.*`, whose table has its own
//! reasons. To support one is to take its row away.

use vimage::Refused;

const fn row(name: &'static str, reason: &'static str, hint: &'static str) -> Refused {
    Refused { name, reason, hint }
}

/// A command on the host's side of a jail's life.
const fn command(name: &'static str) -> Refused {
    row(
        name,
        "it is run by a configuration, and there are no configuration files here",
        "run it before or after jail(8)",
    )
}

/// How the commands of a jail are run.
const fn manner(name: &'static str, hint: &'static str) -> Refused {
    row(name, "the commands of a new jail are run by its root, in the environment of jail(8)", hint)
}

/// Addresses of a jail that uses the host's network stack.
const fn address(name: &'static str) -> Refused {
    row(
        name,
        "a jail in the host's network stack is not restricted to addresses",
        "vnet.link=\"eth0 SEGMENT ADDR/LEN\" gives addresses to a jail with a stack of its own",
    )
}

/// All of them, by the order of the manual.
pub static ROWS: &[Refused] = &[
    row(
        "securelevel",
        "Linux has no securelevels",
        "what the jail's root may do is said by allow.* parameters",
    ),
    row(
        "osreldate",
        "uname(2) tells the version of the one kernel that there is",
        "the jail's own files tell its release",
    ),
    row(
        "osrelease",
        "uname(2) tells the version of the one kernel that there is",
        "setarch --uname-2.6 changes what it says",
    ),
    row("cpuset.id", "Linux has no numbered sets of processors", "cpuset.cpus of the jail's cgroup pins it"),
    row(
        "devfs_ruleset",
        "Linux has no rule sets of devices",
        "a jail's /dev has null, zero, full, random, urandom, tty and its terminals",
    ),
    row("meta", "a jail keeps no strings of its user's", "a file named after the jail does"),
    row("meta.*", "a jail keeps no strings of its user's", "a file named after the jail does"),
    row("env", "a jail keeps no strings of its user's", "the environment of its command does"),
    row("env.*", "a jail keeps no strings of its user's", "the environment of its command does"),
    row("desc", "Linux has no descriptors of jails", "a name or a number says which jail"),
    row("lastjid", "it selects a jail for jail_get(2)", "jls lists all jails by their numbers"),
    address("ip4"),
    address("ip4.addr"),
    address("ip4.saddrsel"),
    address("ip6"),
    address("ip6.addr"),
    address("ip6.saddrsel"),
    address("interface"),
    address("ip_hostname"),
    row("linux", "every jail runs Linux programs, in this kernel's own way", "leave it out"),
    row("linux.*", "every jail runs Linux programs, in this kernel's own way", "leave it out"),
    row(
        "mac.label",
        "Linux has labels of its security modules for programs, not for jails",
        "set one by the module's own tools",
    ),
    row(
        "zfs.*",
        "a dataset cannot be handed to a jail",
        "mount=\"/MOUNTPOINT /DIR none\" hands its files in",
    ),
    row("mount.devfs", "every jail has a /dev of its own", "leave it out"),
    row("mount.fdescfs", "every jail has /dev/fd", "leave it out"),
    row("mount.procfs", "every jail has a /proc", "leave it out"),
    command("exec.prepare"),
    command("exec.prestart"),
    command("exec.created"),
    command("exec.poststart"),
    command("exec.prestop"),
    command("exec.stop"),
    command("exec.poststop"),
    command("exec.release"),
    manner("exec.clean", "exec.start=\"env -i PATH=/bin:/usr/bin COMMAND\""),
    manner("exec.jail_user", "jexec -U USER JAIL COMMAND"),
    manner("exec.system_user", "jexec -u USER JAIL COMMAND"),
    manner("exec.system_jail_user", "jexec -u USER JAIL COMMAND"),
    manner("exec.timeout", "exec.start=\"timeout SECONDS COMMAND\""),
    manner("exec.consolelog", "redirect the output of jail(8)"),
    manner("exec.fib", "vnet.route says where packets go"),
    row("stop.timeout", "a jail's processes are killed at once", "end them by jexec before jail -r"),
    row(
        "depend",
        "it orders configured jails, and there are no configuration files here",
        "create jails in the order that they need",
    ),
];

#[cfg(test)]
mod tests {
    use kernel::act::Act;
    use vimage::{Given, Param, Registry, Subsystem};

    use super::*;

    /// In place of the jail's own, which the others come after.
    struct Core;
    impl Subsystem<Act> for Core {
        fn name(&self) -> &'static str {
            "jail"
        }
        fn about(&self) -> &'static str {
            "a test"
        }
        fn params(&self) -> &'static [Param] {
            &[]
        }
    }

    fn table() -> Vec<&'static dyn Subsystem<Act>> {
        crate::TABLE.iter().copied().chain([&Core as &'static dyn Subsystem<Act>]).collect()
    }

    #[test]
    fn every_parameter_of_freebsd_is_honoured_or_has_a_reason() {
        let registry = Registry::<Act>::new(&table()).unwrap().refusing(ROWS);
        let names = "securelevel osreldate osrelease cpuset.id devfs_ruleset enforce_statfs=1 meta env meta.k=v env.k= \
                     desc host host.hostname=x host.domainname=x host.hostuuid=x host.hostid=1 vnet ip4 ip6=inherit ip4.addr=1.2.3.4 \
                     ip6.addr=::1 ip4.saddrsel ip4.nosaddrsel ip6.saddrsel sysvmsg sysvsem sysvshm linux linux.osname=x \
                     linux.osrelease=x linux.oss_version=1 mac.label=x zfs.mount_snapshot=1 zfs.dataset=x exec.prepare=x \
                     exec.prestart=x exec.created=x exec.poststart=x exec.prestop=x exec.stop=x exec.poststop=x \
                     exec.release=x exec.clean exec.noclean exec.jail_user=x exec.system_user=x exec.system_jail_user \
                     exec.timeout=1 exec.consolelog=x exec.fib=1 stop.timeout=1 interface=x ip_hostname vnet.interface=x \
                     mount=x mount.fstab=x mount.devfs mount.nodevfs mount.fdescfs mount.procfs depend=x";
        for definition in names.split_whitespace() {
            let done = registry.define(&mut Given::default(), definition);
            let text = done.err().map(|e| (e.to_string(), e.advice().is_some()));
            assert!(
                text.as_ref().is_none_or(|(t, hint)| !t.contains("unknown") && *hint),
                "{definition}: {text:?}"
            );
        }
    }

    #[test]
    fn a_row_is_of_no_parameter_that_there_is() {
        let registry = Registry::<Act>::new(&table()).unwrap();
        for row in ROWS {
            assert!(registry.param(row.name).is_none(), "{}", row.name);
            assert!(!row.reason.ends_with('.') && !row.hint.ends_with('.'), "{}", row.name);
        }
    }
}
