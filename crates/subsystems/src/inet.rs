//! `ip4` and `ip6`: a jail in the host's network stack that has some of its addresses, and uses no others.
//!
//! Programs that the kernel runs for the sockets of the jail's cgroup (`bpf::confine`) put its addresses where it says
//! none, and refuse others; the last of them drop what would leave or arrive with another address all the same. They go
//! with the cgroup.

pub mod alias;
pub mod item;
pub mod lookup;

use std::{fs::File, net::IpAddr, os::fd::AsFd as _};

use bpf::confine::{Addresses, Confined, Family as Held};
use kernel::{act::Act, namespace};
use vimage::{
    Ask, Child, Context as _, Doomed, Error, ErrorKind, House, Instance, Kind, Known, Mode, Param, Piece,
    Result, Settings, Site, Subsystem, Value, When,
};

use crate::{children, user};
use item::{Family, Item};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Inet;

const NAME: &str = "inet";
/// The privilege that takes a program where the jail has no capability over the stack.
const PORTS: &str = "allow.reserved_ports";
/// What attaching one takes.
const NEEDS: &str = "it takes CONFIG_CGROUP_BPF, and root outside of any jail";
/// The piece of the programs at the jail's cgroup.
const PROGRAMS: &str = "programs";

const fn mode(name: &'static str, help: &'static str, doc: &'static str) -> Param {
    Param {
        name,
        kind: Kind::Mode(&[Mode::New, Mode::Inherit, Mode::Disable]),
        child: Child::AtMost,
        help,
        doc,
        ..Param::BASE
    }
}

const fn list(name: &'static str, help: &'static str, doc: &'static str) -> Param {
    Param { name, kind: Kind::List { commas: true }, help, doc, ..Param::BASE }
}

const fn select(name: &'static str) -> Param {
    Param {
        name,
        kind: Kind::Bool,
        default: Some("true"),
        help: "a source address is chosen by the destination",
        doc: "Whether a socket that sends without an address of its own takes the first of the jail's whose network has \
              the destination, and the primary one where none has. Otherwise it is always the primary one. The network \
              of an address is what its /LENGTH says.",
        ..Param::BASE
    }
}

static PARAMS: [Param; 8] = [
    mode(
        "ip4",
        "which IPv4 addresses of the host's stack the jail has",
        "With inherit, those of the host, or of the jail that it is in; with new, those of ip4.addr; with disable, none. \
         By default it is inherit, unless ip4.addr is given, or ip6 is not inherit: a jail that has addresses of one \
         family has none of the other that are not given. A jail with a stack of its own (vnet=new) has all that is in it.",
    ),
    list(
        "ip4.addr",
        "the jail's IPv4 addresses",
        "Addresses that the jail has, each as [INTERFACE|]ADDRESS[/LENGTH], the first of which is its primary one. It \
         binds to no other, and nothing leaves it or arrives with another. The loopback address stands for the primary \
         one, and so does 0.0.0.0 where there is but one: of several a socket has all. A socket \
         that has all, or one at :: of a jail with both families, has but the primary one if others may have the same port \
         (SO_REUSEADDR for datagrams; SO_REUSEPORT where the jail's users are the host's, user=inherit), as it would take, and \
         lose, what comes to that port of theirs. Before Linux 6.1 it has all, and does. Unix sockets without a file are those of \
         the host's stack. An interface, of the item or of the parameter interface, is given the address (with a /32 if \
         no length is said) while a jail that asks for it is there; one that has it keeps it.",
    ),
    select("ip4.saddrsel"),
    mode("ip6", "which IPv6 addresses of the host's stack the jail has", "As ip4, for IPv6 and ip6.addr."),
    list("ip6.addr", "the jail's IPv6 addresses", "As ip4.addr, with /128 if no length is said."),
    select("ip6.saddrsel"),
    Param {
        name: "interface",
        kind: Kind::Text { max: 15 },
        help: "the interface that is given ip4.addr and ip6.addr",
        doc: "The interface of the host that is given the addresses of ip4.addr and ip6.addr that name none themselves.",
        ..Param::BASE
    },
    Param {
        name: lookup::PARAM,
        kind: Kind::Bool,
        when: When::Create,
        default: Some("false"),
        help: "the jail has the addresses of its host name",
        doc: "Looks host.hostname up when the jail is made, and adds what the resolver has for it to ip4.addr and ip6.addr.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Inet {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "addresses of the host's network stack"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn after(&self) -> &'static [&'static str] {
        &["jail", "user", "allow"]
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        if ask.living.is_some() {
            return;
        }
        if ask.given.get(PORTS).is_none() && has_ports(&ask.settings) && !can_give_ports() {
            ask.settings.set(PORTS, Value::Bool(false));
        }
        lookup::resolve(ask);
        let said = Family::ALL.map(|family| ask.settings.get(family.mode()).is_some());
        let restricted = Family::ALL.map(|family| is_restricted(family, &ask.settings));
        for (at, family) in Family::ALL.into_iter().enumerate() {
            if !said[at] {
                let mode = if restricted[1 - at] { Mode::Disable } else { Mode::Inherit };
                let own = Value::Text(mode.word().to_owned());
                let param = &PARAMS[3 * at];
                let own =
                    param.narrowed(&own, ask.above.and_then(|above| above.get(family.mode()))).unwrap_or(own);
                ask.settings.set(family.mode(), own);
            }
        }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        lookup::check(ask)?;
        if ask.living.is_none() && has_ports(&ask.settings) && !can_give_ports() {
            let error = Error::unsupported(format!("{PORTS}: {NEEDS}"));
            return Err(error.hint("with vnet=new or user=inherit it can be granted"));
        }
        let restricted: Vec<_> =
            Family::ALL.into_iter().filter(|family| is_restricted(*family, &ask.settings)).collect();
        if let Some(living) = ask.living.filter(|living| children::hosts(living.settings)) {
            let freed =
                |family: &Family| is_restricted(*family, living.settings) && !restricted.contains(family);
            if let Some(family) = Family::ALL.into_iter().find(freed) {
                return Err(loosened(family));
            }
        }
        if restricted.is_empty() {
            return Ok(());
        }
        if ask.settings.is_new("vnet") {
            return Err(Error::usage("vnet jails cannot have IP address restrictions")
                .hint("vnet.link gives a jail addresses in a stack of its own"));
        }
        for family in restricted {
            let parents = ask.above.filter(|above| is_restricted(family, above));
            let parents = parents.map(|above| items(family, above)).transpose()?;
            for item in items(family, &ask.settings)? {
                if parents.as_ref().is_some_and(|parents| !parents.iter().any(|other| other.ip == item.ip)) {
                    let what = format!("{}: {}: Operation not permitted", family.list(), item.ip);
                    return Err(
                        Error::new(ErrorKind::Denied, what).hint("the jail that it is in does not have it")
                    );
                }
                let had = ask.living.is_some_and(|living| had(family, &item, living.settings, &ask.settings));
                if let Some(interface) = interface(&item, &ask.settings).filter(|_| !had) {
                    alias::check(family, &item, interface)?;
                }
                let hosts = |living: &Instance<'_>| {
                    children::hosts(living.settings) && is_restricted(family, living.settings)
                };
                if !had && ask.living.is_some_and(hosts) {
                    return Err(loosened(family));
                }
            }
        }
        Ok(())
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        for (interface, family, item) in aliases(site.settings)? {
            alias::share(site, &interface, family, &item)?;
        }
        Ok(())
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        confine(site)
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        let before = aliases(old)?;
        let now = aliases(site.settings)?;
        // One that it has already it keeps, also if its interface is gone meanwhile.
        let had: Vec<_> = before.iter().map(|(interface, _, item)| (interface, item)).collect();
        for (interface, family, item) in
            now.iter().filter(|(interface, _, item)| !had.contains(&(interface, item)))
        {
            alias::share(site, interface, *family, item)?;
        }
        confine(site)?;
        let kept: Vec<_> = now.iter().map(|(interface, _, item)| alias::key(interface, item)).collect();
        for (interface, _, item) in &before {
            let key = alias::key(interface, item);
            if !kept.contains(&key) {
                site.leave(&key)?;
            }
        }
        Ok(Vec::new())
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        let undo = |doomed: &Doomed<'_>| match doomed.piece.kind.as_str() {
            alias::KIND => alias::undo(doomed.piece),
            // Those of a jail that goes are taken along by its cgroup.
            PROGRAMS if doomed.alone => free(&doomed.piece.key),
            _ => Ok(()),
        };
        doomed.iter().map(undo).collect()
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        match piece.kind.as_str() {
            alias::KIND => alias::exists(piece),
            PROGRAMS => is_confined(&piece.key),
            _ => Ok(true),
        }
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        alias::strays(known, house)
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        &[(alias::KIND, "address of an interface"), (PROGRAMS, "programs at a cgroup")]
    }
}

/// Whether a jail has not all addresses of a family.
#[must_use]
pub fn is_restricted(family: Family, settings: &Settings) -> bool {
    settings.get(family.mode()).is_some() && settings.mode(family.mode()) != Mode::Inherit
}

/// The interface that is to have an address.
fn interface<'a>(item: &'a Item, settings: &'a Settings) -> Option<&'a str> {
    item.interface.as_deref().or_else(|| settings.text("interface").filter(|name| !name.is_empty()))
}

/// The addresses that interfaces are to have.
fn aliases(settings: &Settings) -> Result<Vec<(String, Family, Item)>> {
    let mut aliases = Vec::new();
    for family in Family::ALL {
        for item in items(family, settings)? {
            if let Some(interface) = interface(&item, settings) {
                aliases.push((interface.to_owned(), family, item));
            }
        }
    }
    Ok(aliases)
}

/// The addresses of a family that a jail has by itself.
fn items(family: Family, settings: &Settings) -> Result<Vec<Item>> {
    if settings.is_new(family.mode()) { Item::all(family, settings) } else { Ok(Vec::new()) }
}

/// Whether a living jail has an address already, at the same interface.
fn had(family: Family, item: &Item, before: &Settings, now: &Settings) -> bool {
    let all = items(family, before).unwrap_or_default();
    all.iter().any(|other| other == item && interface(other, before) == interface(item, now))
}

/// Jails that it has made are held by its own programs, perhaps, and by no others.
fn loosened(family: Family) -> Error {
    let what = format!("{}: a jail that makes jails is given no more addresses as it lives", family.list());
    Error::unsupported(what).hint("jails that it has made would have them, too; make it anew")
}

/// Whether what the jail that we are in is held to is all that one is held to.
fn same(family: Family, above: &Settings, own: &Settings) -> bool {
    let all = |settings| -> Vec<_> {
        items(family, settings).unwrap_or_default().into_iter().map(|item| (item.ip, item.len)).collect()
    };
    let alike = || all(above) == all(own) && above.get(family.select()) == own.get(family.select());
    !is_restricted(family, own) || (is_restricted(family, above) && alike())
}

/// What the kernel is to hold a jail to.
fn confined(settings: &Settings, reserved_ports: Option<u32>) -> Result<Confined> {
    let addresses = |family: Family| -> Result<Vec<(IpAddr, u8)>> {
        let items = items(family, settings)?.into_iter();
        Ok(items.map(|item| (item.ip, item.prefix())).collect())
    };
    let v4 = addresses(Family::Four)?.into_iter().filter_map(|(ip, len)| match ip {
        IpAddr::V4(ip) => Some((ip, len)),
        IpAddr::V6(_) => None,
    });
    let v6 = addresses(Family::Six)?.into_iter().filter_map(|(ip, len)| match ip {
        IpAddr::V6(ip) => Some((ip, len)),
        IpAddr::V4(_) => None,
    });
    let (v4, v6) = (v4.collect(), v6.collect());
    let select = |family: Family| settings.bool(family.select());
    Ok(Confined {
        v4: held(is_restricted(Family::Four, settings), Addresses::new(v4, select(Family::Four))),
        v6: held(is_restricted(Family::Six, settings), Addresses::new(v6, select(Family::Six))),
        reserved_ports,
        same_users: !settings.is_new("user"),
    })
}

fn held<A>(is_restricted: bool, addresses: Option<Addresses<A>>) -> Held<A> {
    match addresses {
        _ if !is_restricted => Held::Inherit,
        None => Held::Disable,
        Some(addresses) => Held::New(addresses),
    }
}

/// Whether root of the jail may have ports below 1024 of the host's stack, over which it has no capability.
fn has_ports(settings: &Settings) -> bool {
    settings.bool(PORTS) && user::has_namespace(settings) && !settings.is_new("vnet")
}

/// Whether we are root outside of any jail, who can let it have them.
fn can_give_ports() -> bool {
    namespace::is_first(namespace::Kind::User).is_ok_and(|first| first)
}

/// Has the kernel hold the jail to its addresses.
fn confine(site: &mut Site<'_>) -> Result<()> {
    let restricted = Family::ALL.into_iter().any(|family| is_restricted(family, site.settings));
    // In a jail no programs can be attached, and need not be for what that is held to.
    let above = site.house.above();
    let is_held = above.is_some_and(|above| Family::ALL.into_iter().all(|f| same(f, above, site.settings)));
    let ports = above.is_none() && has_ports(site.settings);
    let needed = ports || (restricted && !is_held);
    let instance = site.instance();
    let there = instance.pieces_of(NAME, PROGRAMS).next().cloned();
    let Some(dir) = instance.anchor("cgroup").map(|cgroup| cgroup.object().to_owned()) else { return Ok(()) };
    if there.is_none() && !needed {
        return Ok(());
    }
    let root = site.settings.bool(PORTS).then(|| user::nearest_ids(&instance).map_or(0, |ids| ids.base));
    let confined = if needed { confined(site.settings, root)? } else { Confined::default() };
    let attach = || {
        let cgroup = File::open(&dir).doing("cannot open the jail's cgroup")?;
        confined.attach(cgroup.as_fd()).map_err(|unavailable| {
            if restricted {
                let error = Error::unsupported(format!("ip4, ip6: {unavailable}"));
                error.hint(format!("{NEEDS}; vnet=new does without"))
            } else {
                let error = Error::unsupported(format!("{PORTS}: {unavailable}"));
                error.hint(format!("{NEEDS}; allow.noreserved_ports does without"))
            }
        })
    };
    match there {
        None => site.make(Piece::new(PROGRAMS, dir.as_str()), attach),
        Some(piece) if !needed => site.unmake(&piece, attach),
        Some(_) => attach(),
    }
}

/// Takes our programs from a cgroup; one that is gone has taken them along.
fn free(dir: &str) -> Result<()> {
    let Ok(cgroup) = File::open(dir) else { return Ok(()) };
    Confined::default()
        .attach(cgroup.as_fd())
        .map_err(|unavailable| Error::unsupported(format!("ip4, ip6: {unavailable}")))
}

/// Whether programs of ours are at a cgroup.
fn is_confined(dir: &str) -> Result<bool> {
    let Ok(cgroup) = File::open(dir) else { return Ok(false) };
    // Who may not ask takes the record's word.
    Ok(!Confined::default().is_attached(cgroup.as_fd()).unwrap_or(false))
}
