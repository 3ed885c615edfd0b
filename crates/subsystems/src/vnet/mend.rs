//! The ends of a cable, brought to where they belong; and the end of both.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

use netlink::link;
use serde::{Deserialize, Serialize};
use vimage::{Anchor, Error, ErrorKind, House, Piece, Result};

use super::{
    birth::routes,
    link::Spec,
    pair::{self, Pair, create, delete, find, living, locate, lock},
    port, route,
    stack::{self, Batch},
    sysctl,
};

/// What a jail declares of its end: beside the shared record, so that the other jail can restore it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Declared {
    /// The item of `vnet.link`.
    pub link: String,
    /// The items of `vnet.route`.
    pub routes: Vec<String>,
}

/// Where what is declared of an end is written.
pub fn paper(house: &dyn House, cable: &str, which: usize) -> PathBuf {
    house.shelf().join(cable).join(format!("end.{which}"))
}

/// Brings the ends of a cable that any jail declares to where they belong, and makes the pair anew if it is
/// gone. An end of a jail other than `own` whose name is taken there waits in the switch: what a jail's root
/// does keeps no other jail from being made.
///
/// # Errors
/// The kernel refuses.
pub fn mend(house: &dyn House, cable: &str, own: &str) -> Result<()> {
    let _lock = lock(house)?;
    let declared = [0, 1].map(|which| {
        let text = fs::read(paper(house, cable, which)).ok()?;
        serde_json::from_slice::<Declared>(&text).ok()
    });
    let Some(pair) = pair::read(house, cable)?.filter(|_| declared.iter().any(Option::is_some)) else {
        return Ok(());
    };
    let Some(switch) = house.open(&Anchor(pair.switch.clone()))? else { return Ok(()) };
    let found = [locate(house, &pair, 0)?, locate(house, &pair, 1)?];
    let whole = found.iter().all(Option::is_some);
    if !whole {
        // One end alone has the other in a stack that is dying.
        delete(found)?;
        create(house, &pair, &switch)?;
    }
    let other_mtu = |which: usize| {
        let spec = declared[1 - which].as_ref().and_then(|d| Spec::parse(&d.link).ok());
        spec.and_then(|spec| spec.mtu).map_or(String::new(), |mtu| format!(" mtu {mtu}"))
    };
    for (which, end) in pair.ends.iter().enumerate() {
        let far = &pair.ends[1 - which];
        let jail = far.jail.rsplit('.').next().unwrap_or_default();
        let bare = format!("{} {jail}:{}{}", end.name, far.name, other_mtu(which));
        let text = declared[which].as_ref().map_or(bare, |d| d.link.clone());
        match bring(house, (&pair, which), &switch, &Spec::parse(&text)?, declared[which].as_ref()) {
            Err(e) if end.jail != own && e.kind() == ErrorKind::Exists => {}
            other => other?,
        }
    }
    Ok(())
}

/// Brings an end into its jail, if that lives and it is not there yet.
fn bring(
    house: &dyn House,
    (pair, which): (&Pair, usize),
    switch: &OwnedFd,
    spec: &Spec,
    declared: Option<&Declared>,
) -> Result<()> {
    let (end, mtu) = (&pair.ends[which], spec.mtu.unwrap_or(port::MTU));
    let Some(stack) = living(house, &end.jail)? else { return Ok(()) };
    let mut outside = stack::socket(switch)?;
    let mut inside = stack::socket(&stack)?;
    let mut batch = Batch::default();
    if find(&mut outside, pair, which)?.is_none() {
        if let (Some(link), None) = (find(&mut inside, pair, which)?, declared)
            && link.mtu != mtu
        {
            batch.must("cannot change the other end", link::set_mtu(link.index, mtu));
        }
        return batch.send(&mut inside);
    }
    let doing = || format!("vnet.link: \"{spec}\": cannot plug it into jail {}", end.jail);
    let mac = port::mac(house, &end.jail, spec)?;
    batch.must(doing(), link::set_mac(end.index, mac));
    batch.must(doing(), link::set_mtu(end.index, mtu));
    batch.must(doing(), link::set_netns(end.index, stack.as_fd(), Some(&end.name)));
    batch.send(&mut outside)?;
    if find(&mut inside, pair, which)?.is_none() {
        return Err(Error::new(ErrorKind::Exists, "its index is taken").doing(doing()));
    }
    let quiet = [end.name.as_str()];
    sysctl::set(&stack, &[], if spec.autoconf { &[] } else { &quiet })?;
    // In the jail it looks like any other interface of its own.
    batch = Batch::default();
    batch.must(doing(), link::set_group(end.index, 0));
    batch.must(doing(), link::set_alias(end.index, ""));
    port::configure(&mut batch, spec, &port::all_addresses(house, &end.jail, spec)?, end.index);
    batch.send(&mut inside)?;
    for route in declared.into_iter().flat_map(|d| &d.routes) {
        // Each that can be made by now: a new jail's come later.
        let _later = route::Spec::parse(route).and_then(|route| routes(&mut inside, &[route]));
    }
    Ok(())
}

/// Unmakes a pair, wherever its ends are.
///
/// # Errors
/// The kernel refuses.
pub fn undo(house: &dyn House, piece: &Piece) -> Result<()> {
    let _lock = lock(house)?;
    let pair = Pair::of(piece)?;
    delete([locate(house, &pair, 0)?, locate(house, &pair, 1)?])
}
