//! A new stack's links, addresses and routes, made from outside while the jail's process goes on.

use std::{collections::BTreeMap, ffi::CString, os::fd::OwnedFd, rc::Rc};

use kernel::{
    act::Act,
    namespace::{Kind, can_visit},
    step::{Stage, Step},
};
use netlink::{Route, Socket, encode, link};
use vimage::{Ask, Context as _, Error, ErrorKind, Mode, Result, Settings, Site};

use super::{
    address::Cidr,
    cable, claim, host, interface,
    link::Spec,
    member,
    port::{self, Made},
    route,
    segment::{self, Around},
    stack::{self, Batch},
    sysctl,
};

/// The index of `lo` in every stack.
const LO: u32 = 1;

/// All that the parameters ask for.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `vnet.link` on segments.
    pub links: Vec<Spec>,
    /// `vnet.link` to other jails.
    pub cables: Vec<Spec>,
    /// `vnet.host`.
    pub hosts: Vec<host::Spec>,
    /// `vnet.member`.
    pub members: Vec<member::Spec>,
    /// `vnet.route`.
    pub routes: Vec<route::Spec>,
    /// `vnet.sysctl`.
    pub sysctls: Vec<sysctl::Spec>,
    /// `vnet.interface`.
    pub interfaces: Vec<String>,
}

impl Wanted {
    /// Reads the parameters.
    ///
    /// # Errors
    /// A value is wrong; a name is given to two interfaces; a route leaves by none of them.
    pub fn of(settings: &Settings) -> Result<Self> {
        let (cables, links) =
            Spec::parse_all(settings.list("vnet.link"))?.into_iter().partition(|l| l.cable().is_some());
        let wanted = Self {
            links,
            cables,
            hosts: host::Spec::parse_all(settings.list("vnet.host"))?,
            members: member::Spec::parse_all(settings.list("vnet.member"))?,
            routes: route::Spec::parse_all(settings.list("vnet.route"))?,
            sysctls: sysctl::Spec::parse_all(settings.list("vnet.sysctl"))?,
            interfaces: settings.list("vnet.interface").to_vec(),
        };
        for (n, name) in wanted.interfaces.iter().enumerate() {
            if wanted.interfaces[..n].contains(name) || wanted.names().any(|l| l == name) {
                return Err(Error::usage(format!("vnet.interface: {name} is declared twice")));
            }
        }
        let of_members = || wanted.members.iter().flat_map(|member| &member.interfaces);
        if let Some(name) = wanted.interfaces.iter().find(|name| of_members().any(|member| member == *name)) {
            return Err(Error::usage(format!(
                "vnet.member: {name} is moved into the jail by vnet.interface"
            )));
        }
        for host in &wanted.hosts {
            let links = wanted.links.iter().filter(|l| l.segment == host.segment);
            let of_links: Vec<&Cidr> = links.flat_map(|l| &l.addresses).collect();
            if let Some(own) = host.addresses.iter().find(|a| of_links.iter().any(|l| l.ip == a.ip)) {
                let (ip, segment) = (own.ip, &host.segment);
                return Err(Error::usage(format!("vnet.host: {ip} twice on segment {segment}")));
            }
        }
        for spec in &wanted.routes {
            let Some(dev) = &spec.dev else { continue };
            let mut known = wanted.names().chain(wanted.interfaces.iter().map(String::as_str));
            if dev != "lo" && !known.any(|name| name == dev) {
                let error = Error::usage(format!("vnet.route: \"{spec}\": no interface {dev} in the jail"));
                return Err(error.hint("vnet.link makes one, vnet.interface moves one in"));
            }
        }
        Ok(wanted)
    }

    /// Whether anything is to be connected to the parent's stack.
    #[must_use]
    pub fn connects(&self) -> bool {
        self.segments().next().is_some() || !self.interfaces.is_empty()
    }

    /// The names of all links.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.links.iter().chain(&self.cables).map(|link| link.name.as_str())
    }

    /// The segments, each perhaps several times.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        let of_links = self.links.iter().map(|link| link.segment.as_str());
        let of_hosts = self.hosts.iter().map(|host| host.segment.as_str());
        of_links.chain(of_hosts).chain(self.members.iter().map(|member| member.segment.as_str()))
    }
}

/// Checks all values against each other and against the parent's stack. Changes nothing.
///
/// # Errors
/// A value is wrong, an address taken, a segment no bridge, an interface not to be moved.
pub fn check(ask: &Ask<'_>) -> Result<()> {
    let wanted = Wanted::of(&ask.settings)?;
    if ask.settings.mode("vnet") != Mode::New {
        return Ok(());
    }
    if !can_visit(Kind::Net) {
        let error = Error::new(ErrorKind::Denied, "vnet: Operation not permitted");
        return Err(error.hint("a jail in which jails have network stacks has one itself: vnet=new"));
    }
    cable::check(ask, &wanted)?;
    if !wanted.connects() {
        return Ok(());
    }
    let mut around = Around::of(ask.parent);
    for link in &wanted.links {
        around.foreign(ask.house, "vnet.link", &link.segment)?;
    }
    for host in &wanted.hosts {
        around.foreign(ask.house, "vnet.host", &host.segment)?;
    }
    for member in &wanted.members {
        member::check(&mut around, ask.house, ask.parent, member)?;
    }
    for link in &wanted.links {
        let key = segment::key(ask.parent, &link.segment);
        for address in &link.addresses {
            claim::check(ask.house, &key, address.ip, &claim::owner(ask.jid))?;
        }
    }
    let has = |name: &String| ask.living.is_some_and(|l| l.settings.list("vnet.interface").contains(name));
    for name in wanted.interfaces.iter().filter(|name| !has(name)) {
        interface::check(&mut around, name)?;
    }
    Ok(())
}

/// What the jail's first process does to its new stack while we do other things.
///
/// Every stack is told to try once only to send the rest of a connection that nobody holds any more: such an orphan
/// otherwise keeps a stack that has no process for minutes (`tcp_orphan_retries`, tcp(7)).
///
/// # Errors
/// None that is known.
pub fn begin() -> Result<Vec<Act>> {
    let retries = CString::new("/proc/sys/net/ipv4/tcp_orphan_retries").doing("vnet")?;
    let up = Step::Netlink { doing: "cannot bring up lo", message: encode(&link::set_up(LO)) };
    let steps = [Step::Write(retries, b"1".to_vec()), up];
    let steps = steps.into_iter().map(|step| Act::Step(Stage::Others, step));
    Ok(std::iter::once(Act::Namespace(Kind::Net, None)).chain(steps).collect())
}

/// Takes the jail's place among others, while its stack is made: segments, and addresses on them.
///
/// # Errors
/// A segment cannot be made; an address is taken.
pub fn provide(site: &mut Site<'_>) -> Result<()> {
    let wanted = Wanted::of(site.settings)?;
    if wanted.connects() {
        connect(site, &mut Around::of(site.parent), &wanted)?;
    }
    wanted.links.iter().try_for_each(|link| claims(site, link))
}

/// Makes everything that a new stack is asked to have.
///
/// # Errors
/// The kernel refuses something; the framework undoes what was made.
pub fn furnish(site: &mut Site<'_>) -> Result<()> {
    let Some(jail) = site.fds.get("net") else {
        return Err(Error::new(ErrorKind::Failed, "vnet: no network stack was born"));
    };
    let wanted = Wanted::of(site.settings)?;
    let later = sysctl::begin(&*jail, &wanted.sysctls)?;
    let mut around = if wanted.connects() { Some(Around::of(site.parent)) } else { None };
    if let Some(around) = &mut around {
        let links: Vec<_> = wanted.links.iter().collect();
        if !links.is_empty() {
            let places = segment::places(site, around, links.iter().map(|link| link.segment.as_str()))?;
            port::plug(site, &jail, &places, &links, None)?;
        }
    }
    let cabled = cable::furnish(site, &wanted)?;
    let quiet: Vec<_> = wanted.links.iter().filter(|l| !l.autoconf).map(|l| l.name.as_str()).collect();
    let (of_interfaces, of_links): (Vec<_>, Vec<_>) =
        later.into_iter().partition(|_| !wanted.interfaces.is_empty());
    let indexes: BTreeMap<_, _> = Made::all(site.instance().pieces)
        .into_iter()
        .map(|(_, made)| (made.name, made.inner))
        .chain(cabled)
        .chain([("lo".to_owned(), LO)])
        .collect();
    let mut batch = Batch::default();
    for spec in &wanted.links {
        let addresses = port::all_addresses(site.house, site.name, spec)?;
        let index = indexes.get(&spec.name).copied().unwrap_or_default();
        port::configure(&mut batch, spec, &addresses, index);
    }
    if wanted.interfaces.is_empty() {
        port::routes(&mut batch, &wanted.routes, |name| indexes.get(name).copied())?;
    }
    if !(of_links.is_empty() && quiet.is_empty() && batch.is_empty()) {
        let mut socket = {
            let inside = stack::visit(&*jail)?;
            sysctl::write(&inside, &of_links, &quiet)?;
            stack::socket_here(&inside)?
        };
        batch.send(&mut socket)?;
    }
    if let Some(mut around) = around.filter(|_| !wanted.interfaces.is_empty()) {
        for name in &wanted.interfaces {
            interface::take(site, &mut around, &jail, name)?;
        }
        sysctl::set(&*jail, &of_interfaces, &[])?;
        routes(&mut stack::socket(&*jail)?, &wanted.routes)?;
    }
    Ok(())
}

/// Makes segments that do not exist, and the parent's interfaces on them.
///
/// # Errors
/// As [`segment::share`], [`host::share`] and [`member::share`].
pub fn connect(site: &mut Site<'_>, around: &mut Around<'_>, wanted: &Wanted) -> Result<()> {
    segment::share(site, around, wanted.segments())?;
    let of_hosts = wanted.hosts.iter().map(|host| host.segment.as_str());
    let of_members = wanted.members.iter().map(|member| member.segment.as_str());
    let places = segment::places(site, around, of_hosts.chain(of_members))?;
    wanted.hosts.iter().try_for_each(|host| host::share(site, around, &places[&host.segment], host))?;
    wanted.members.iter().try_for_each(|member| member::share(site, around, &places[&member.segment], member))
}

/// Claims the addresses of a link.
///
/// # Errors
/// As [`claim::make`].
pub fn claims(site: &mut Site<'_>, link: &Spec) -> Result<()> {
    let key = segment::key(site.parent, &link.segment);
    let owner = claim::owner(site.jid);
    link.addresses.iter().try_for_each(|a| claim::make(site, claim::piece(&key, a.ip, &owner, &link.name)))
}

/// Adds the routes, by links that are looked up by name.
///
/// # Errors
/// The kernel refuses.
pub fn routes(jail: &mut Socket<Route>, specs: &[route::Spec]) -> Result<()> {
    if specs.is_empty() {
        return Ok(());
    }
    let links = jail.links().map_err(stack::refused)?;
    let index = |name: &str| links.iter().find(|l| l.name == name).map(|l| l.index);
    let mut batch = Batch::default();
    port::routes(&mut batch, specs, index)?;
    batch.send(jail)
}

/// The jail's own stack, opened.
///
/// # Errors
/// It is gone, or cannot be opened.
pub fn own_stack(site: &Site<'_>) -> Result<Rc<OwnedFd>> {
    site.instance()
        .fd("net")?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "vnet: the jail's network stack is gone"))
}
