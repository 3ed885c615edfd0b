//! FreeBSD's parameters: jail(8) and jail.conf(5) as of FreeBSD 15. What each is here the declarations say; only what
//! they cannot say stands here.

use subsystems::allow::table::FIXED;

/// Parameters that belong together.
#[derive(Debug)]
pub(super) struct Group {
    /// The heading.
    pub title: &'static str,
    /// Why those that can be given at creation alone are such, if all have one reason.
    pub fixed: Option<&'static str>,
    /// By the order of FreeBSD's manual.
    pub rows: &'static [Row],
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its name.
    pub name: &'static str,
    /// Whether FreeBSD changes it in a living jail.
    pub changes: bool,
    /// What else is not as on FreeBSD.
    pub otherwise: Otherwise,
}

/// What is not as on FreeBSD, beside what follows from declarations.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// Nothing.
    Nothing,
    /// This: small first letter, no full stop.
    So(&'static str),
    /// What the declaration's paragraph says.
    Declared,
}

impl Row {
    const fn but(self, how: &'static str) -> Self {
        Self { otherwise: Otherwise::So(how), ..self }
    }

    const fn as_declared(self) -> Self {
        Self { otherwise: Otherwise::Declared, ..self }
    }
}

/// One that FreeBSD takes at creation alone, or only tells, or that is the tool's and not the kernel's.
const fn fixed(name: &'static str) -> Row {
    Row { name, changes: false, otherwise: Otherwise::Nothing }
}

/// One that FreeBSD changes in a living jail.
const fn changing(name: &'static str) -> Row {
    Row { name, changes: true, otherwise: Otherwise::Nothing }
}

/// One of the three facilities of System V IPC.
const fn sysv(name: &'static str) -> Row {
    changing(name)
        .but("new by default; of these three and mqueue some cannot be new while others are inherit")
}

/// All of them.
pub(super) static ALL: &[Group] = &[
    Group {
        title: "The jail",
        fixed: None,
        rows: &[
            fixed("jid"),
            changing("name").but("no name has a /, a comma or a blank in it"),
            fixed("parent"),
            fixed("path").but(
                "the default is /, the host's own tree, which the jail sees with the rights of others, and with a /run, \
                 /tmp and /var/tmp of its own; any other is the tree of a Linux system, as debootstrap(8) makes them",
            ),
            changing("persist"),
            fixed("dying"),
            changing("children.max")
                .but("with user=new a living jail is not given more than it was created with"),
            fixed("children.cur"),
            changing("securelevel"),
            fixed("osreldate"),
            fixed("osrelease"),
            fixed("cpuset.id"),
            changing("devfs_ruleset").but(
                "4 by default; a name says a rule set, too; 0, and a set that shows a disk or memory of the host, are \
                 refused",
            ),
            changing("enforce_statfs").as_declared(),
            changing("meta"),
            changing("env").but(
                "what security.jail.env is to a jail is the file /run/jail/env, which is there while env is not empty",
            ),
            fixed("desc"),
            fixed("lastjid"),
        ],
    },
    Group {
        title: "Host",
        fixed: None,
        rows: &[
            changing("host"),
            changing("host.hostname")
                .but("at most 64 bytes; the default is the last part of the jail's name, and not empty"),
            changing("host.domainname").but("at most 64 bytes"),
            changing("host.hostuuid").but(
                "it is /etc/machine-id in the jail; the default, and what one of zeroes stands for, is one that the \
                 jail's name always has on this machine",
            ),
            changing("host.hostid").but("32 bits, /etc/hostid in the jail"),
        ],
    },
    Group {
        title: "Network",
        fixed: None,
        rows: &[
            fixed("vnet"),
            fixed("vnet.interface").but(
                "interfaces come home, also when the jail ends by itself, with the name, MAC, MTU and state that they \
                 had, and without addresses; an epair(4) is a veth(4) pair here, ip link add NAME type veth peer NAME, \
                 and with vnet.link there is none to make",
            ),
            changing("ip4").but("inherit by default, unless the addresses of either family are said"),
            changing("ip4.addr").but("words for ifconfig(8) behind an address are refused; several jails may have the same"),
            changing("ip4.saddrsel").but("the network of an address is what its length says"),
            changing("ip6").but("inherit by default, unless the addresses of either family are said"),
            changing("ip6.addr").but("words for ifconfig(8) behind an address are refused; several jails may have the same"),
            changing("ip6.saddrsel").but("the network of an address is what its length says"),
            fixed("interface"),
            fixed("ip_hostname"),
        ],
    },
    Group {
        title: "System V IPC",
        fixed: None,
        rows: &[sysv("sysvmsg"), sysv("sysvsem"), sysv("sysvshm")],
    },
    Group {
        title: "Privileges",
        fixed: Some(FIXED),
        rows: &[
            changing("allow.set_hostname"),
            changing("allow.sysvipc"),
            changing("allow.raw_sockets").but("a packet with a source address that is not the jail's is dropped, and not given its own: ping -I ADDRESS"),
            changing("allow.chflags"),
            changing("allow.mount"),
            changing("allow.mount.devfs"),
            changing("allow.mount.fdescfs"),
            changing("allow.mount.fusefs"),
            changing("allow.mount.linprocfs"),
            changing("allow.mount.linsysfs"),
            changing("allow.mount.nullfs"),
            changing("allow.mount.procfs"),
            changing("allow.mount.tmpfs"),
            changing("allow.mount.zfs"),
            changing("allow.quotas"),
            changing("allow.socket_af").but("which families are denied without it depends on user and vnet"),
            changing("allow.mlock"),
            changing("allow.nfsd"),
            changing("allow.read_msgbuf"),
            changing("allow.extattr"),
            changing("allow.adjtime"),
            changing("allow.settime"),
            changing("allow.routing"),
            changing("allow.setaudit"),
            changing("allow.reserved_ports"),
            changing("allow.unprivileged_proc_debug")
                .but("without it the jail's root debugs nothing, either"),
            changing("allow.suser"),
            changing("allow.unprivileged_parent_tampering").but("there it is so whether it is given or not"),
            changing("allow.vmm").but("the device is /dev/kvm; with vnet=new there is /dev/net/tun, too, for taps"),
            changing("allow.vmm_ppt"),
            changing("allow.dying"),
        ],
    },
    Group {
        title: "Modules",
        fixed: None,
        rows: &[
            changing("linux"),
            changing("linux.osname"),
            changing("linux.osrelease"),
            changing("linux.oss_version"),
            changing("mac.label"),
            changing("zfs.mount_snapshot"),
            fixed("zfs.dataset"),
        ],
    },
    Group {
        title: "Resources of rctl(8)",
        fixed: None,
        rows: &[
            changing("rctl.cputime").as_declared(),
            changing("rctl.datasize").as_declared(),
            changing("rctl.stacksize").as_declared(),
            changing("rctl.coredumpsize").as_declared(),
            changing("rctl.memoryuse").as_declared(),
            changing("rctl.memorylocked").as_declared(),
            changing("rctl.maxproc").as_declared(),
            changing("rctl.openfiles").as_declared(),
            changing("rctl.vmemoryuse").as_declared(),
            changing("rctl.pseudoterminals").as_declared(),
            changing("rctl.swapuse").as_declared(),
            changing("rctl.nthr").as_declared(),
            changing("rctl.msgqqueued").as_declared(),
            changing("rctl.msgqsize").as_declared(),
            changing("rctl.nmsgq").as_declared(),
            changing("rctl.nsem").as_declared(),
            changing("rctl.nsemop").as_declared(),
            changing("rctl.nshm").as_declared(),
            changing("rctl.shmsize").as_declared(),
            changing("rctl.wallclock").as_declared(),
            changing("rctl.pcpu").as_declared(),
            changing("rctl.readbps").as_declared(),
            changing("rctl.writebps").as_declared(),
            changing("rctl.readiops").as_declared(),
            changing("rctl.writeiops").as_declared(),
        ],
    },
    Group {
        title: "Commands",
        fixed: None,
        rows: &[
            fixed("exec.prepare"),
            fixed("exec.prestart")
                .but("the jail's file systems are not mounted yet: they never are on the host"),
            fixed("exec.created"),
            fixed("exec.start"),
            fixed("command"),
            fixed("exec.poststart"),
            fixed("exec.prestop"),
            fixed("exec.stop"),
            fixed("exec.poststop"),
            fixed("exec.release"),
            fixed("exec.clean").but("PATH is that of a login: root's has the directories named sbin"),
            fixed("exec.jail_user"),
            fixed("exec.system_jail_user"),
            fixed("exec.system_user"),
            fixed("exec.timeout"),
            fixed("exec.consolelog"),
            fixed("exec.fib"),
            fixed("stop.timeout"),
        ],
    },
    Group {
        title: "Mounts and other jails",
        fixed: None,
        rows: &[
            fixed("mount").but(
                "the types nullfs, none and bind mount a directory or file; missing mount points are made in a tree of \
                 the jail's own; comes after mount.fstab",
            ),
            fixed("mount.fstab").but("comes before mount"),
            fixed("mount.devfs").as_declared(),
            fixed("mount.fdescfs").as_declared(),
            fixed("mount.procfs").as_declared(),
            fixed("depend"),
        ],
    },
];
