//! `allow.*`: what root in the jail may do, by capabilities(7) and one seccomp(2) filter.
//!
//! A jail with a user namespace of its own has capabilities over its own namespaces only, so dropping some
//! keeps it from making namespaces and mounts, and a short filter does for what no capability governs. Without,
//! with `user=inherit` and `vnet=inherit`, its root has the host's capabilities, and both carry the whole load.

pub mod table;

use std::{os::fd::OwnedFd, rc::Rc};

use kernel::{
    act::Act,
    capability::{self as cap, CapSet},
    seccomp::{ArgEq, Rule},
    step::{Stage, Step},
};
use rustix::io::Errno;
use vimage::{Ask, Entry, Error, Instance, Param, Result, Settings, Site, Subsystem, Support, Value};

use crate::{children, needs, user};
use table::{Can, ROWS, Row};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Allow;

/// Its instance for registries.
pub static ALLOW: Allow = Allow;

/// What no jail has unless it is granted: the capabilities that are about the machine. Programs of a whole
/// Debian system, PostgreSQL and sudo among them, were run without.
const HOSTS: CapSet = CapSet::of(&[
    cap::SYS_ADMIN,
    cap::SYS_MODULE,
    cap::SYS_RAWIO,
    cap::SYS_BOOT,
    cap::SYS_TIME,
    cap::SYSLOG,
    cap::MAC_ADMIN,
    cap::MAC_OVERRIDE,
    cap::AUDIT_CONTROL,
    cap::AUDIT_READ,
    cap::WAKE_ALARM,
    cap::BLOCK_SUSPEND,
    cap::PERFMON,
    cap::BPF,
    cap::CHECKPOINT_RESTORE,
    cap::LINUX_IMMUTABLE,
    cap::SYS_PACCT,
    cap::SYS_RESOURCE,
    cap::SYS_TTY_CONFIG,
    cap::MKNOD,
]);

/// What is about the host besides, where the jail has the host's user namespace: opening files by handle
/// past the jail's root directory (open_by_handle_at(2)), real-time scheduling, and debugging any process. A
/// new process of the jail uses the memory of whoever enters it until it calls exec: who may debug that one
/// is the host's root. Without the capability a jail's root still debugs processes of its own user.
const SHARED_USER: CapSet = CapSet::of(&[cap::DAC_READ_SEARCH, cap::SYS_NICE, cap::SYS_PTRACE]);

/// CLONE_NEWUSER of clone(2). All other namespaces need CAP_SYS_ADMIN.
const NEW_USER: Option<ArgEq> = Some(ArgEq { index: 0, value: 0x1000_0000, mask: 0x1000_0000 });

/// Denied in every jail. Short on purpose: each instruction is compiled whenever a filter is installed. What
/// needs a capability that the jail lacks, or that the host's sysctls deny to all but such, has no rule. For
/// the same reason the answer is ENOSYS, which the filter has at hand for unknown instruction sets: one
/// answer less.
const ALWAYS: [Rule<'static>; 2] = [
    // A process keeps the session keyring of whoever started the jail.
    Rule { syscalls: &["add_key", "request_key", "keyctl"], condition: None, errno: Errno::NOSYS },
    // TIOCSTI: typing into the terminal of whoever entered the jail.
    command(0x5412),
];

/// Denied where nobody in the jail makes jails. Who owns a user namespace could enter it, and would have all
/// capabilities there: the jail's root owns that of its host name, and where it is the host's root in the host's user
/// namespace, those of all other jails.
const ENTERING: Rule<'static> = Rule { syscalls: &["setns"], condition: None, errno: Errno::NOSYS };

/// Denied where the jail has the host's user namespace, besides.
const SHARED: [Rule<'static>; 5] = [
    Rule { syscalls: &["bpf", "perf_event_open"], condition: None, errno: Errno::NOSYS },
    // TIOCLINUX: pasting on the console.
    command(0x541c),
    // A nested user namespace would give all capabilities over further namespaces, mounts included.
    Rule { syscalls: &["unshare"], condition: NEW_USER, errno: Errno::PERM },
    Rule { syscalls: &["clone"], condition: NEW_USER, errno: Errno::PERM },
    // Its flags are in memory, out of a filter's sight; C libraries fall back to clone(2).
    Rule { syscalls: &["clone3"], condition: None, errno: Errno::NOSYS },
];

/// All of ioctl(2) with this command, whose 32 bits count.
const fn command(number: u64) -> Rule<'static> {
    let condition = Some(ArgEq { index: 1, value: number, mask: 0xffff_ffff });
    Rule { syscalls: &["ioctl"], condition, errno: Errno::NOSYS }
}

/// The limits of the jail's user namespace that deny nested ones, user_namespaces(7). Without a nested user
/// namespace all others need CAP_SYS_ADMIN over the jail's, which its processes lack unless they mount or make jails.
const LIMITS: [&std::ffi::CStr; 1] = [c"/proc/sys/user/max_user_namespaces"];
/// The limits of those others, and whether a jail makes some anew whenever it gets processes again.
const OTHER_LIMITS: [(&std::ffi::CStr, bool); 7] = [
    (c"/proc/sys/user/max_cgroup_namespaces", false),
    (c"/proc/sys/user/max_ipc_namespaces", false),
    (c"/proc/sys/user/max_mnt_namespaces", true),
    (c"/proc/sys/user/max_net_namespaces", false),
    (c"/proc/sys/user/max_pid_namespaces", true),
    (c"/proc/sys/user/max_time_namespaces", false),
    (c"/proc/sys/user/max_uts_namespaces", false),
];
/// How many namespaces of a kind there may be for each jail that a jail may make. It has two at most; those of jails
/// that were removed count until the kernel has freed them.
const NAMESPACES: i64 = 32;

impl Subsystem<Act> for Allow {
    fn name(&self) -> &'static str {
        "allow"
    }

    fn about(&self) -> &'static str {
        "privileges of root in the jail"
    }

    fn params(&self) -> &'static [Param] {
        &table::PARAMS
    }

    fn doc(&self) -> &'static str {
        "All but allow.dying are given when a jail is created, and not changed after: what is allowed is in the \
         capabilities and the filter of each process, and those of a process that runs cannot be widened from \
         outside; to widen or narrow those of later processes alone would make two kinds of root in one jail. On \
         FreeBSD they can be changed."
    }

    fn probe(&self) -> Support {
        needs::filters(&["allow"])
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        for (row, param) in ROWS.iter().zip(&table::PARAMS) {
            if ask.settings.get(row.name).is_none() {
                let own = Value::Bool(row.default && grantable(row, &ask.settings).is_ok());
                let parents = ask.above.and_then(|above| above.get(row.name));
                ask.settings.set(row.name, param.narrowed(&own, parents).unwrap_or(own));
            }
        }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        let mut granted = ROWS.iter().filter(|row| ask.settings.bool(row.name));
        granted.try_for_each(|row| grantable(row, &ask.settings))
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        let own = user::has_namespace(site.settings);
        if !own {
            return Ok(Vec::new());
        }
        let (administers, hosts) = (administers(site.settings), children::hosts(site.settings));
        let children = NAMESPACES * children::most(site.settings);
        // A limit is each user's, and not all users' together: one for that of the host name would be one for every other
        // user. It is there already, and stays as long as the jail.
        let users = if children > 0 { children + 1 } else { 0 };
        // The jail has its own besides, which were made before.
        let most = |again: bool| if hosts || again { children + NAMESPACES } else { 0 };
        let others = OTHER_LIMITS.iter().filter(|_| administers).map(|(file, again)| (*file, most(*again)));
        // As the jail's root, and while the host's /proc is still in sight: the jail may have none.
        let limit = |(file, most): (&std::ffi::CStr, i64)| {
            Act::Step(Stage::Namespaces, Step::Write(file.to_owned(), most.to_string().into_bytes()))
        };
        Ok(LIMITS.iter().map(|file| (*file, users)).chain(others).map(limit).collect())
    }

    fn enter(&self, of: &Instance<'_>, _how: Entry) -> Result<Vec<Act>> {
        let denied = rules(of.settings).into_iter().map(Act::Deny);
        Ok(denied.chain([Act::Drop(dropped(of.settings))]).collect())
    }
}

/// Whether a privilege can be given to a jail with these settings.
fn grantable(row: &Row, settings: &Settings) -> Result<()> {
    let own_user = user::has_namespace(settings);
    let own_stack = settings.is_new("vnet");
    let refused = |reason: &str| Error::unsupported(format!("{}: {reason}", row.name));
    let with = |needs: &str| format!("with {needs} it can be granted");
    let lacks = |reason: &str| Err(refused(reason).hint(with(row.can.needs().unwrap_or_default())));
    match row.can {
        // One that rules a stack of its own does so in a user namespace of its own.
        Can::SharedUser(reason) if own_user => lacks(reason),
        Can::SharedIds(reason) if settings.is_new("user") => lacks(reason),
        Can::OwnStack(reason) if !own_stack => lacks(reason),
        Can::OwnStackOrSharedUser(reason) if own_user && !own_stack => lacks(reason),
        Can::OwnHost if !settings.is_new("host") => {
            Err(refused("the host name is the parent's").hint(with("host=new")))
        }
        Can::OwnHost if !own_user => Err(refused("a jail in the host's user namespace makes none for it")
            .hint(with("user=new or vnet=new"))),
        Can::Never(reason, hint) => Err(refused(reason).hint(hint)),
        Can::With(other, reason) if !settings.bool(other) => {
            Err(refused(reason).hint(format!("{other} includes it")))
        }
        Can::Beside(other, reason) if !settings.bool(other) => lacks(reason),
        Can::Mounting(reason) if !(settings.is_new("user") && settings.is_new("proc")) => lacks(reason),
        Can::Mounting(_) if !MOUNTED.iter().any(|kind| settings.bool(kind)) => {
            Err(Error::usage(format!("{}: nothing that can be mounted is said", row.name))
                .hint(format!("give {}, too", MOUNTED.join(" or "))))
        }
        _ => Ok(()),
    }
}

/// Whether the root of a jail with these settings, which has a host name of its own, may change it.
#[must_use]
pub fn sets_hostname(settings: &Settings) -> bool {
    settings.bool("allow.set_hostname") && settings.bool("allow.suser")
}

/// What says which mounts a jail's root makes.
const MOUNTED: [&str; 2] = ["allow.mount.tmpfs", "allow.mount.nullfs"];

/// Whether the root of a jail with these settings may mount.
fn mounts(settings: &Settings) -> bool {
    settings.bool("allow.mount") && children::is_able(settings)
}

/// Whether the root of a jail with these settings has CAP_SYS_ADMIN over the jail's own user namespace, to mount or to make
/// jails: what could be undone with it has to be locked.
#[must_use]
pub fn administers(settings: &Settings) -> bool {
    mounts(settings) || children::hosts(settings)
}

/// The ids of a jail whose root has that, or may have it again.
pub(crate) fn administrator(of: &Instance<'_>) -> Option<user::Ids> {
    children::could_host(of).or_else(|| user::ids(of).filter(|_| mounts(of.settings)))
}

/// A mount that was prepared for a jail, by its name among the jail's open objects; `None`: it is there no more. Where the
/// jail's root mounts it is what is held of the jail, and nothing is looked up in the jail: that could lead anywhere.
///
/// # Errors
/// It cannot be opened; [`vimage::ErrorKind::Unsupported`]: it could only be looked up.
pub(crate) fn prepared(of: &Instance<'_>, name: &str) -> Result<Option<Rc<OwnedFd>>> {
    let open = of.fds.get(name);
    if open.is_none() && administrator(of).is_some() && !of.settings.bool("persist") {
        let at = name.strip_prefix("mount:").unwrap_or(name);
        let what = format!("the jail's root mounts, and what lies at {at} need not be what it was given");
        return Err(Error::unsupported(what).hint("a jail that persists is known by what is held of it"));
    }
    open.map_or_else(|| of.fd(name), |open| Ok(Some(open)))
}

/// The devices of the host, by their paths below /dev, that a jail with these settings has whatever its rule set shows.
#[must_use]
pub fn devices(settings: &Settings) -> &'static [&'static str] {
    match (settings.bool("allow.vmm"), settings.is_new("vnet")) {
        (false, _) => &[],
        // A tap is made in a stack that one rules.
        (true, false) => &["kvm"],
        (true, true) => &["kvm", "net/tun"],
    }
}

/// The capabilities that a jail's processes lose.
#[must_use]
pub fn dropped(settings: &Settings) -> CapSet {
    if !settings.bool("allow.suser") {
        return CapSet::FULL;
    }
    let mut lost = HOSTS;
    for row in &ROWS {
        lost = if settings.bool(row.name) { lost.without(row.caps) } else { lost.with(row.caps) };
    }
    if !user::has_namespace(settings) {
        lost.0 |= SHARED_USER.0;
    }
    if administers(settings) {
        lost = lost.without(&[cap::SYS_ADMIN]);
    }
    // A stack of its own belongs to its own user namespace: a capability over it is none over the host's, nor
    // over that of a link's other end, which a request can name (IFLA_TARGET_NETNSID, Linux 4.20).
    if settings.is_new("vnet") {
        lost.without(&[cap::NET_RAW])
    } else {
        lost.with(&[cap::NET_ADMIN, cap::NET_BROADCAST])
    }
}

/// The system calls that a jail's processes are denied.
#[must_use]
pub fn rules(settings: &Settings) -> Vec<Rule<'static>> {
    let mut rules = ALWAYS.to_vec();
    if administers(settings) && !sets_hostname(settings) {
        rules.push(table::HOSTNAME);
    }
    if !children::hosts(settings) {
        rules.push(ENTERING);
        rules.extend(mount_rules(settings));
    }
    for row in ROWS.iter().filter(|row| !settings.bool(row.name)) {
        rules.extend(row.calls);
    }
    if user::has_namespace(settings) {
        return rules;
    }
    rules.extend(SHARED);
    if !settings.bool("allow.socket_af") {
        rules.extend(table::OLD_FAMILIES);
    }
    if settings.bool("allow.raw_sockets") {
        rules.extend([table::PACKET, table::URING]);
    }
    rules
}

/// What is denied of mounts where only some may be made; without CAP_SYS_ADMIN none can.
fn mount_rules(settings: &Settings) -> Vec<Rule<'static>> {
    if !mounts(settings) {
        return Vec::new();
    }
    let kinds = MOUNTED.into_iter().zip([table::MOUNTS, table::BINDS]);
    let denied = kinds.filter(|(kind, _)| !settings.bool(kind)).map(|(_, rule)| rule);
    denied.chain([table::NEW_CALLS]).collect()
}

#[cfg(test)]
mod tests {
    use kernel::{
        act::fold,
        seccomp::{Abi, SockFilter, deny},
    };
    use vimage::{Given, Registry, Value};

    use super::*;
    use crate::host::tests::{Toy, ask};

    /// Defaults, and these over them: `user=new`, `allow.noraw_sockets`.
    fn settings(words: &[&str]) -> Settings {
        let registry = Registry::new(&[&ALLOW as &dyn Subsystem<Act>]).unwrap();
        let mut settings = registry.complete(&Given::default(), None, None).unwrap();
        settings.set("user", Value::Text("new".into()));
        settings.set("proc", Value::Text("new".into()));
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            let value = match value {
                "true" | "false" => Value::Bool(value == "true"),
                _ => value.parse().map_or_else(|_| Value::Text(value.into()), Value::Int),
            };
            settings.set(name, value);
        }
        settings
    }

    fn filter(words: &[&str]) -> Vec<SockFilter> {
        deny(Abi::X86_64, &rules(&settings(words))).unwrap()
    }

    #[test]
    fn the_default_filter_is_short() {
        let lengths = [&[][..], &["user=inherit"], &["allow.unprivileged_proc_debug=false"]]
            .map(|words| (words, filter(words).len()));
        println!("instructions: {lengths:?}");
        assert!(lengths[0].1 <= 34, "{lengths:?}");
        assert!(lengths[1].1 <= 101, "{lengths:?}");
    }

    #[test]
    fn a_vnet_jail_keeps_what_was_tried_but_locking_memory() {
        let settings = settings(&["vnet=new"]);
        assert_eq!(CapSet::FULL.0 & !dropped(&settings).0, 0xb08c_fdff & !(1 << cap::IPC_LOCK));
        let of = Instance {
            name: "web",
            jid: 1,
            settings: &settings,
            parent: None,
            pieces: &[],
            fds: vimage::Fds::default(),
            house: &Toy,
        };
        let folded = fold(ALLOW.enter(&of, Entry::Joining).unwrap()).unwrap();
        assert!(
            matches!(&folded.steps[..], [(_, Step::Seccomp(_)), (_, Step::Bound(mask))] if *mask == dropped(&settings).0)
        );
    }

    #[test]
    fn capabilities_follow_the_parameters() {
        let lost = |words: &[&str]| dropped(&settings(words));
        let has = |words: &[&str], cap| !lost(words).contains(cap);
        assert!(has(&[], cap::NET_BIND_SERVICE));
        assert!(!has(&["allow.reserved_ports=false"], cap::NET_BIND_SERVICE));
        assert!(!has(&["user=inherit"], cap::NET_RAW) && !has(&["user=inherit"], cap::NET_ADMIN));
        assert!(has(&["user=inherit", "allow.raw_sockets=true"], cap::NET_RAW));
        assert!(has(&["user=inherit", "vnet=new"], cap::NET_ADMIN) && has(&["vnet=new"], cap::NET_ADMIN));
        // Its root has no more than that of a jail with ids of its own.
        assert_eq!(lost(&["user=inherit", "vnet=new"]), lost(&["vnet=new"]));
        assert!(has(&["user=inherit", "allow.settime=true"], cap::SYS_TIME));
        assert!(has(&["user=inherit", "allow.mlock=true"], cap::IPC_LOCK));
        assert!(!has(&["user=inherit"], cap::SYS_PTRACE) && has(&[], cap::SYS_PTRACE));
        assert!(!has(&["user=inherit"], cap::DAC_READ_SEARCH) && has(&[], cap::DAC_READ_SEARCH));
        // Over its own namespaces, and never over the host's.
        assert!(has(&["children.max=1"], cap::SYS_ADMIN) && !has(&["children.max=1"], cap::SYS_RESOURCE));
        assert!(!has(&["children.max=1", "user=inherit"], cap::SYS_ADMIN));
        assert!(!has(&["children.max=1", "user=inherit", "vnet=new"], cap::SYS_ADMIN));
        assert_eq!(lost(&["allow.suser=false"]), CapSet::FULL);
    }

    #[test]
    fn nothing_grants_the_administrators_capability_over_the_host() {
        let mut words = vec!["user=inherit".to_owned()];
        words.extend(ROWS.iter().map(|row| format!("{}=true", row.name)));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let lost = dropped(&settings(&words));
        assert!(
            [cap::SYS_ADMIN, cap::SYS_MODULE, cap::SYS_RAWIO, cap::BPF].iter().all(|c| lost.contains(*c))
        );
    }

    #[test]
    fn what_linux_cannot_grant_is_refused_with_a_reason() {
        let check = |words: &[&str]| ALLOW.check(&ask("web", &settings(words))).map_err(|e| e.to_string());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["user=inherit"]), Ok(()));
        for row in ROWS.iter().filter(|row| matches!(row.can, Can::Never(..))) {
            assert!(!row.default, "{}", row.name);
            let error = check(&["user=inherit", "vnet=new", &format!("{}=true", row.name)]).unwrap_err();
            assert!(error.starts_with(&format!("{}: ", row.name)), "{error}");
        }
        assert!(check(&["allow.set_hostname=true"]).is_err());
        assert_eq!(check(&["allow.set_hostname=true", "host=new"]), Ok(()));
        assert!(check(&["allow.set_hostname=true", "host=new", "user=inherit"]).is_err());
        assert_eq!(check(&["allow.set_hostname=true", "host=new", "user=inherit", "vnet=new"]), Ok(()));
        assert!(check(&["allow.settime=true"]).is_err());
        assert_eq!(check(&["allow.settime=true", "user=inherit"]), Ok(()));
        assert!(check(&["allow.settime=true", "user=inherit", "vnet=new"]).is_err());
        assert!(check(&["allow.unprivileged_parent_tampering=true"]).is_err());
        assert_eq!(check(&["allow.unprivileged_parent_tampering=true", "user=inherit", "vnet=new"]), Ok(()));
        assert!(check(&["allow.adjtime=true", "user=inherit"]).is_err());
        assert_eq!(check(&["allow.adjtime=true", "allow.settime=true", "user=inherit"]), Ok(()));
        assert!(check(&["allow.routing=true", "user=inherit"]).is_err());
        assert_eq!(check(&["allow.routing=true", "vnet=new"]), Ok(()));
        assert!(check(&["allow.raw_sockets=true"]).is_err());
        assert_eq!(check(&["allow.raw_sockets=true", "vnet=new"]), Ok(()));
        assert_eq!(check(&["allow.raw_sockets=true", "user=inherit"]), Ok(()));
    }
}
