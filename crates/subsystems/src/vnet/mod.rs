//! `vnet`: a network stack of the jail's own, and what connects it.
//!
//! Its interfaces are veth pairs, born with one end in the jail and the other on a segment: a bridge of ours
//! in a stack that only switches, where the host's own tools do not see it, or a foreign bridge of the
//! parent's. A cable is such a pair with an end in each of two jails. Everything is done from outside, by sockets opened in the stacks concerned; nothing is renamed
//! or moved, but for interfaces of the parent's that are handed in by `vnet.interface`, or to a segment by
//! `vnet.member`, and handed back at the end.

mod address;
mod audit;
mod birth;
mod borrowed;
mod bridge;
mod cable;
mod claim;
mod cost;
mod host;
mod interface;
mod link;
mod mac;
mod member;
mod mend;
mod pair;
mod params;
mod port;
mod route;
mod segment;
mod show;
pub(crate) mod stack;
mod sysctl;
mod teardown;
mod update;
mod visitor;

use std::time::Instant;

use kernel::{act::Act, probe::Feature};
use vimage::{
    Ask, Context as _, Cost, Doomed, Error, House, Instance, Known, Node, Param, Piece, Result, Settings,
    Site, Subsystem, Support,
};

use crate::needs;

/// The subsystem's name.
const NAME: &str = "vnet";

/// The network stack.
#[derive(Debug)]
pub struct Vnet;

impl Subsystem<Act> for Vnet {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "a network stack of the jail's own"
    }

    fn params(&self) -> &'static [Param] {
        &params::PARAMS
    }

    fn probe(&self) -> Support {
        needs::namespaces(Feature::NetNamespaces, &[NAME])
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        birth::check(ask)
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        if site.settings.is_new(NAME) { birth::begin() } else { Ok(Vec::new()) }
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        if site.settings.is_new(NAME) { birth::provide(site) } else { Ok(()) }
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        if site.settings.is_new(NAME) { site.adopt("net") } else { Ok(()) }
    }

    fn furnish(&self, site: &mut Site<'_>) -> Result<()> {
        if site.settings.is_new(NAME) { birth::furnish(site) } else { Ok(()) }
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        if site.settings.is_new(NAME) {
            update::update(site, old)?;
        }
        Ok(Vec::new())
    }

    fn show(&self, of: &Instance<'_>) -> Result<Node> {
        show::show(of)
    }

    fn quiesce(&self, of: &[Instance<'_>]) -> Vec<Error> {
        // An end of a cable does not go with the jail's stack, but back.
        let mut errors = cable::recall(of);
        errors.extend(teardown::quiesce(of));
        errors
    }

    fn drain(&self, of: &[Instance<'_>], deadline: Instant) -> Vec<Error> {
        teardown::drain(of, deadline)
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        doomed.iter().map(undo).collect()
    }

    fn exists(&self, piece: &Piece, house: &dyn House) -> Result<bool> {
        audit::exists(piece, house)
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        audit::strays(known, house)
    }

    fn cost(&self, piece: &Piece, house: &dyn House) -> Cost {
        cost::cost(piece, house)
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        cost::OBJECTS
    }
}

fn undo(&Doomed { piece, of, alone }: &Doomed<'_>) -> Result<()> {
    match piece.kind.as_str() {
        // A link goes with the jail's stack, whose death the framework waits for: to delete it costs 17 ms.
        port::KIND if !alone && of.anchor("net").is_some() => Ok(()),
        port::KIND => port::delete(of.house, piece),
        claim::KIND => claim::undo(of.house, piece),
        borrowed::KIND => interface::give_back(of.house, of.name, piece),
        visitor::KIND => visitor::give_back(of.house, piece),
        cable::END => cable::undo_end(of, piece),
        pair::KIND => mend::undo(of.house, piece),
        bridge::KIND | bridge::TRUNK => bridge::undo(of, piece, alone),
        segment::HELD => of.house.release(&piece.key),
        sysctl::KIND if alone => sysctl::undo(of, piece),
        _ => Ok(()),
    }
    .doing_with(|| format!("cannot unmake {piece}"))
}
