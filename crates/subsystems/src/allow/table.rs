//! Every privilege of FreeBSD's jails, and what it is on Linux.

use kernel::{
    capability as cap,
    seccomp::{ArgEq, Rule},
};
use rustix::io::Errno;
use vimage::{Child, Kind, Param, When};

/// A privilege.
#[derive(Debug)]
pub struct Row {
    /// The parameter.
    pub name: &'static str,
    /// Whether a jail has it by default.
    pub default: bool,
    /// When it can be granted.
    pub can: Can,
    /// Capabilities that come and go with it.
    pub caps: &'static [u8],
    /// System calls that are denied without it.
    pub calls: &'static [Rule<'static>],
    /// One line.
    pub help: &'static str,
    /// The manual's paragraph.
    pub doc: &'static str,
}

/// When a privilege can be granted. Each text is the reason why not.
#[derive(Clone, Copy, Debug)]
pub enum Can {
    /// In every jail.
    Always,
    /// It means nothing any more, and can be given at any time.
    Ignored,
    /// With `user=inherit` and `vnet=inherit`: the kernel asks for a capability over the host's user namespace.
    SharedUser(&'static str),
    /// With `user=inherit`.
    SharedIds(&'static str),
    /// With `vnet=new`.
    OwnStack(&'static str),
    /// With `host=new` and a user namespace of the jail's own.
    OwnHost,
    /// With `vnet=new` or in the host's user namespace.
    OwnStackOrSharedUser(&'static str),
    /// Together with another privilege, which includes it.
    With(&'static str, &'static str),
    /// Together with another privilege.
    Beside(&'static str, &'static str),
    /// With ids and pids of the jail's own, and one of the privileges that say what can be mounted.
    Mounting(&'static str),
    /// In no jail; what to do instead.
    Never(&'static str, &'static str),
}

impl Can {
    /// What a jail is given with it, so that it can be granted; `None`: no jail needs anything, or all would need more
    /// than there is.
    #[must_use]
    pub const fn needs(self) -> Option<&'static str> {
        match self {
            Self::Always | Self::Ignored | Self::Never(..) => None,
            Self::SharedUser(_) => Some("user=inherit and vnet=inherit"),
            Self::SharedIds(_) => Some("user=inherit"),
            Self::OwnStack(_) => Some("vnet=new"),
            Self::OwnHost => Some("host=new, and user=new or vnet=new"),
            Self::OwnStackOrSharedUser(_) => Some("vnet=new or user=inherit"),
            Self::With(other, _) | Self::Beside(other, _) => Some(other),
            Self::Mounting(_) => Some("user=new and proc=new"),
        }
    }

    /// Why not every jail can be granted it, where the kernel is the reason.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Always | Self::Ignored | Self::OwnHost => None,
            Self::SharedUser(reason)
            | Self::SharedIds(reason)
            | Self::OwnStack(reason)
            | Self::OwnStackOrSharedUser(reason)
            | Self::With(_, reason)
            | Self::Beside(_, reason)
            | Self::Mounting(reason)
            | Self::Never(reason, _) => Some(reason),
        }
    }
}

impl Row {
    /// A privilege that changes nothing; the other fields by struct update.
    const BASE: Self =
        Self { name: "", default: false, can: Can::Always, caps: &[], calls: &[], help: "", doc: "" };

    /// A kind of mount that a jail's root could make on FreeBSD, and here could not or need not.
    const fn unmounted(
        name: &'static str,
        reason: &'static str,
        instead: &'static str,
        help: &'static str,
    ) -> Self {
        Self { name, can: Can::Never(reason, instead), help, doc: "Not supported.", ..Self::BASE }
    }
}

/// The new calls for mounts hide from a filter what they do; programs fall back to mount(2).
pub(super) const NEW_CALLS: Rule<'static> = Rule {
    syscalls: &[
        "open_tree",
        "open_tree_attr",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        // These tell of what the jail's root covers, too.
        "listmount",
        "statmount",
    ],
    condition: None,
    errno: Errno::NOSYS,
};

// Flags of mount(2), by which it does what it does, in this order of importance. The upper half of the flags may be a number
// that old programs had there, and means nothing then.
const MS_BIND: u64 = 0x1000;
const MS_REMOUNT: u64 = 0x20;
const MS_MOVE: u64 = 0x2000;

/// mount(2) of what is there already, and what is changed of one mount alone.
pub(super) const BINDS: Rule<'static> = Rule {
    syscalls: &["mount"],
    condition: Some(ArgEq { index: 3, value: MS_BIND, mask: MS_BIND }),
    errno: Errno::PERM,
};

/// mount(2) of a file system: nothing else that it does.
pub(super) const MOUNTS: Rule<'static> = Rule {
    syscalls: &["mount"],
    condition: Some(ArgEq { index: 3, value: 0, mask: MS_BIND | MS_REMOUNT | MS_MOVE }),
    errno: Errno::PERM,
};

/// What the host name takes, where CAP_SYS_ADMIN over the jail's user namespace would do.
pub(super) const HOSTNAME: Rule<'static> =
    Rule { syscalls: &["sethostname", "setdomainname"], condition: None, errno: Errno::PERM };

/// Why some file systems come with tmpfs.
const ALIKE: &str = "a filter of system calls tells no file system from another, but for nullfs";

/// Address families by the bits of their number, of which the kernel has 46: these leave 1 (unix), 2 and 10
/// (inet), 16 (netlink, the counterpart of route), 17 (packet, which takes CAP_NET_RAW) and 0 (none at all).
const fn families(mask: u64, value: u64) -> Rule<'static> {
    Rule { syscalls: &["socket"], condition: Some(ArgEq { index: 0, value, mask }), errno: Errno::NOSYS }
}

/// Families 32 and above: those that reach past a network namespace or need no privilege (vsock, alg,
/// qipcrtr, smc, kcm, nfc, rxrpc).
const NEW_FAMILIES: [Rule<'static>; 2] = [families(0x20, 0x20), URING];

/// io_uring(7) makes sockets of any family, and no filter sees which: it goes with every rule about families.
pub(super) const URING: Rule<'static> =
    Rule { syscalls: &["io_uring_setup"], condition: None, errno: Errno::NOSYS };

/// Those below. A jail with a user and network namespace of its own is spared the rules: most of these
/// families exist in the host's stack alone, or belong to a stack as inet does.
pub(super) const OLD_FAMILIES: [Rule<'static>; 4] =
    [families(0x04, 0x04), families(0x03, 0x03), families(0x0a, 0x08), families(0x12, 0x12)];

/// Packet sockets: they would see all that the host's stack sends and receives.
pub(super) const PACKET: Rule<'static> = families(0xffff_ffff, 17);

const SHARED_CAP: &str = "the kernel wants the capability for it over the host's user namespace";

/// The privileges by their order in FreeBSD's jail(8).
pub static ROWS: [Row; 31] = [
    Row {
        name: "allow.set_hostname",
        default: true,
        can: Can::OwnHost,
        help: "root in the jail may set its host name",
        doc: "sethostname(2) and setdomainname(2) in the jail. They take CAP_SYS_ADMIN over the user namespace that \
              the host name belongs to, which is one for the host name alone: its owner is the jail's root, and that \
              cannot enter it. Only with host=new, and with user=new or vnet=new; true by default where it can be, \
              as on FreeBSD.",
        ..Row::BASE
    },
    Row {
        name: "allow.sysvipc",
        can: Can::Never("deprecated parameter", "give sysvmsg=inherit, sysvsem=inherit and sysvshm=inherit"),
        help: "deprecated and refused: sysvmsg, sysvsem and sysvshm say it",
        doc: "Deprecated on FreeBSD, and refused here: give sysvmsg, sysvsem and sysvshm instead.",
        ..Row::BASE
    },
    Row {
        name: "allow.raw_sockets",
        can: Can::OwnStackOrSharedUser("raw sockets of the host's stack take a capability of the host's"),
        caps: &[cap::NET_RAW],
        help: "root in the jail may use raw sockets",
        doc: "Raw IP sockets, which ping(8) and traceroute(8) may need. A jail with vnet=new has them anyway. \
              Otherwise it takes user=inherit; packet sockets stay denied then. What a jail with ip4.addr sends with \
              another address is dropped, and not given its own as on FreeBSD: ping -I ADDRESS.",
        ..Row::BASE
    },
    Row {
        name: "allow.chflags",
        can: Can::SharedUser(SHARED_CAP),
        caps: &[cap::LINUX_IMMUTABLE],
        help: "root in the jail may change system file flags",
        doc: "The file attributes a and i of chattr(1): CAP_LINUX_IMMUTABLE. Only with user=inherit and vnet=inherit.",
        ..Row::BASE
    },
    Row {
        name: "allow.mount",
        can: Can::Mounting("CAP_SYS_ADMIN over the host would be far more"),
        help: "root in the jail may mount file systems",
        doc: "CAP_SYS_ADMIN over the jail's own user namespace: mount(2) and umount(2) of what allow.mount.tmpfs and \
              allow.mount.nullfs say, one of which it takes. What the jail was given is locked, mount_namespaces(7): it cannot be \
              unmounted, nor be made writable; but for /proc, /sys and /dev/mqueue of its own, which it made itself. What is \
              mounted inside goes with the jail's last process. Namespaces of mounts and pids can be made, and no others. What lies at /dev and /dev/shm of a jail that does not persist is nobody's to know then, \
              and devfs_ruleset and shm.size are not changed. The newer calls, fsopen(2) and the like, fail with ENOSYS, so that programs use mount(2). Only \
              with user=new and proc=new. A jail with children.max mounts in any case.",
        ..Row::BASE
    },
    Row::unmounted(
        "allow.mount.devfs",
        "devices are made by the host alone",
        "devfs_ruleset says which the jail has",
        "root in the jail may mount devfs",
    ),
    Row::unmounted(
        "allow.mount.fdescfs",
        "/dev/fd of every jail leads to /proc/self/fd",
        "leave it out",
        "root in the jail may mount fdescfs",
    ),
    Row::unmounted(
        "allow.mount.fusefs",
        "whoever looks something up in the jail from outside would wait for a process of the jail's",
        "mount it on the host, and hand it in with the parameter mount",
        "root in the jail may mount fuse file systems",
    ),
    Row {
        name: "allow.mount.linprocfs",
        can: Can::Beside("allow.mount.tmpfs", ALIKE),
        help: "root in the jail may mount procfs",
        doc: "As allow.mount.procfs: Linux has one.",
        ..Row::BASE
    },
    Row {
        name: "allow.mount.linsysfs",
        can: Can::Beside("allow.mount.tmpfs", ALIKE),
        help: "root in the jail may mount sysfs",
        doc: "The kernel lets it have the sysfs of a stack of its own, vnet=new. Only with allow.mount.tmpfs, which includes it.",
        ..Row::BASE
    },
    Row {
        name: "allow.mount.nullfs",
        can: Can::Beside("allow.mount", "mounting takes CAP_SYS_ADMIN"),
        help: "root in the jail may mount directories elsewhere",
        doc: "mount(2) with MS_BIND: what the jail has, at another place, too. Only with allow.mount.",
        ..Row::BASE
    },
    Row {
        name: "allow.mount.procfs",
        can: Can::Beside("allow.mount.tmpfs", ALIKE),
        help: "root in the jail may mount procfs",
        doc: "The proc(5) of the jail's own pids. Only with allow.mount.tmpfs, which includes it.",
        ..Row::BASE
    },
    Row {
        name: "allow.mount.tmpfs",
        can: Can::Beside("allow.mount", "mounting takes CAP_SYS_ADMIN"),
        help: "root in the jail may mount tmpfs",
        doc: "mount(2) of the file systems that the kernel lets root of any user namespace mount: tmpfs, ramfs, proc, sysfs, \
              devpts, mqueue, cgroup, binfmt_misc and overlay, with what the jail has anyway. None of a disk. What is in a \
              tmpfs is memory, which rctl.memoryuse limits. Only with allow.mount.",
        ..Row::BASE
    },
    Row::unmounted(
        "allow.mount.zfs",
        "zfs is no part of Linux",
        "hand its directories in with the parameter mount",
        "root in the jail may mount zfs",
    ),
    Row {
        name: "allow.quotas",
        can: Can::Never("quotactl(2) takes CAP_SYS_ADMIN over the host", "set quotas from outside"),
        help: "root in the jail may set file system quotas",
        doc: "Not supported: quotactl(2) takes CAP_SYS_ADMIN over the host's user namespace.",
        ..Row::BASE
    },
    Row {
        name: "allow.socket_af",
        calls: &NEW_FAMILIES,
        help: "the jail may use address families other than unix, inet, inet6 and netlink",
        doc: "Without it socket(2) fails with ENOSYS for address families from 32 on, such as vsock and alg, and \
              with user=inherit and vnet=inherit for all but unix, inet, inet6, netlink and packet; and so does io_uring_setup(2), \
              since io_uring makes sockets of any family. 32-bit x86 programs that use \
              socketcall(2) get no socket at all, because the family cannot be seen there.",
        ..Row::BASE
    },
    Row {
        name: "allow.mlock",
        can: Can::SharedUser(SHARED_CAP),
        caps: &[cap::IPC_LOCK],
        help: "root in the jail may lock memory without limit",
        doc: "CAP_IPC_LOCK. Only with user=inherit and vnet=inherit. Without it memory can be locked up to the \
              resource limit, RLIMIT_MEMLOCK.",
        ..Row::BASE
    },
    Row {
        name: "allow.nfsd",
        can: Can::Never(
            "the kernel's NFS server takes CAP_SYS_ADMIN over the host",
            "run an NFS server in user space",
        ),
        help: "root in the jail may run the kernel's NFS server",
        doc: "Not supported: the kernel's NFS server is ruled by CAP_SYS_ADMIN over the host's user namespace.",
        ..Row::BASE
    },
    Row {
        name: "allow.read_msgbuf",
        can: Can::SharedUser(SHARED_CAP),
        caps: &[cap::SYSLOG],
        calls: &[Rule { syscalls: &["syslog"], condition: None, errno: Errno::NOSYS }],
        help: "the jail may read the kernel's messages",
        doc: "syslog(2) and CAP_SYSLOG, for dmesg(1). Only with user=inherit and vnet=inherit.",
        ..Row::BASE
    },
    Row {
        name: "allow.extattr",
        can: Can::Never(
            "trusted.* extended attributes take CAP_SYS_ADMIN over the host",
            "user.* and security.capability attributes work without",
        ),
        help: "root in the jail may use system extended attributes",
        doc: "Not supported: the trusted.* attributes of xattr(7), the counterpart of FreeBSD's system namespace, \
              take CAP_SYS_ADMIN over the host's user namespace.",
        ..Row::BASE
    },
    Row {
        name: "allow.adjtime",
        can: Can::With("allow.settime", "what may adjust the time can also set it, adjtimex(2)"),
        help: "root in the jail may adjust the time",
        doc: "Linux has one capability for adjusting and setting the time, and adjtimex(2) can do both, so this is \
              accepted together with allow.settime only.",
        ..Row::BASE
    },
    Row {
        name: "allow.settime",
        can: Can::SharedUser(SHARED_CAP),
        caps: &[cap::SYS_TIME],
        help: "root in the jail may set and adjust the host's time",
        doc: "CAP_SYS_TIME: the time is the host's. Only with user=inherit and vnet=inherit.",
        ..Row::BASE
    },
    Row {
        name: "allow.routing",
        can: Can::OwnStack("CAP_NET_ADMIN over the host's stack would be all of its configuration"),
        help: "root in the jail may change the routing table",
        doc: "A jail with vnet=new rules its own stack anyway. In the host's stack it is not supported, because \
              CAP_NET_ADMIN is about all of a stack's configuration.",
        ..Row::BASE
    },
    Row {
        name: "allow.setaudit",
        can: Can::Never(
            "CAP_AUDIT_CONTROL also switches the host's audit off",
            "set audit state from outside before the command is run",
        ),
        help: "root in the jail may set audit session state",
        doc: "Not supported: CAP_AUDIT_CONTROL would let the jail switch off the host's audit.",
        ..Row::BASE
    },
    Row {
        name: "allow.reserved_ports",
        default: true,
        caps: &[cap::NET_BIND_SERVICE],
        help: "root in the jail may bind ports below 1024",
        doc: "CAP_NET_BIND_SERVICE. Without it nobody in the jail binds ports below \
              net.ipv4.ip_unprivileged_port_start; root of a jail with vnet=new can change that number. A jail with ids of \
              its own in the host's stack has no capability over that: a program at its cgroup lets its root bind them, which \
              only root outside of any jail can put there. For others, jails in jails among them, the default is false then.",
        ..Row::BASE
    },
    Row {
        name: "allow.unprivileged_proc_debug",
        default: true,
        calls: &[Rule {
            syscalls: &["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"],
            condition: None,
            errno: Errno::PERM,
        }],
        help: "processes in the jail may debug others",
        doc: "Without it ptrace(2), process_vm_readv(2), process_vm_writev(2), kcmp(2) and pidfd_getfd(2) fail \
              with EPERM, for the jail's root, too. With user=inherit and vnet=inherit the jail's root debugs \
              processes of its own user alone in any case.",
        ..Row::BASE
    },
    Row {
        name: "allow.suser",
        default: true,
        help: "root in the jail has any privilege",
        doc: "Without it all processes of the jail lose all capabilities, whatever the other allow parameters say.",
        ..Row::BASE
    },
    Row {
        name: "allow.unprivileged_parent_tampering",
        can: Can::SharedIds("with ids of its own the jail's users are no users of the host"),
        help: "unprivileged users of the host may signal the jail's processes of the same user",
        doc: "With user=new never; with user=inherit always, since Linux compares user ids alone: true is accepted \
              there, and the default, false, changes nothing.",
        ..Row::BASE
    },
    Row {
        name: "allow.vmm",
        help: "the jail may run virtual machines",
        doc: "The jail has the host's /dev/kvm, the counterpart of bhyve's device, and with vnet=new /dev/net/tun, by \
              which its root makes taps in its own stack; with the mode and owner that they have on the host, in the \
              jail's numbers, unless a rule of devfs_ruleset says others. What the host lacks when the jail is made is \
              said, and is not there: without /dev/kvm qemu(1) emulates, -accel tcg. With none of them the jail is \
              refused. /dev/kvm is a large part of the host's kernel to let a jail at.",
        ..Row::BASE
    },
    Row {
        name: "allow.vmm_ppt",
        can: Can::Never("bhyve's device does not exist on Linux", "hand a vfio device in"),
        help: "the jail may pass devices through to bhyve",
        doc: "Not supported: the counterpart is a vfio device.",
        ..Row::BASE
    },
    Row {
        name: "allow.dying",
        can: Can::Ignored,
        help: "deprecated, without effect",
        doc: "Deprecated on FreeBSD and without effect: a dying jail keeps neither its name nor its number.",
        ..Row::BASE
    },
];

/// Why they are of creation alone.
pub const FIXED: &str = "a process that runs cannot be given capabilities, nor be freed of its filter";

/// The rows as parameters. They can be given at creation only: what a running process has lost it cannot
/// get back, and its filter and capabilities cannot be changed from outside.
pub static PARAMS: [Param; ROWS.len()] = {
    let mut params = [Param::BASE; ROWS.len()];
    let mut at = 0;
    while at < params.len() {
        let row = &ROWS[at];
        let ignored = matches!(row.can, Can::Ignored);
        params[at] = Param {
            name: row.name,
            kind: Kind::Bool,
            when: if ignored { When::Modify } else { When::Create },
            // What depends on other values is filled in when they are known.
            default: match row.can {
                Can::OwnHost => None,
                _ => Some(if row.default { "true" } else { "false" }),
            },
            fixed: if ignored { None } else { Some(FIXED) },
            child: if ignored { Child::Free } else { Child::AndParent },
            help: row.help,
            doc: row.doc,
        };
        at += 1;
    }
    params
};

#[cfg(test)]
mod tests;
