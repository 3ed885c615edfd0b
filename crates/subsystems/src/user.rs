//! The user namespace: a jail's ids are not the host's. user_namespaces(7).
//!
//! A range of 65,536 ids is allocated for the jail, and as many more for each child it may have. Where we
//! are ourselves in a user namespace, which has no ids to spare, the jail's are ours.
//!
//! With `user=inherit` its ids are its parent's. To have a network stack of its own it is in a user namespace
//! all the same, of which the map changes nothing: capabilities over a stack that belongs to the host's user
//! namespace would be capabilities over every stack.

mod map;

use std::{
    ffi::CString,
    fs, io,
    os::{fd::AsFd as _, unix::fs::symlink},
    path::{Path, PathBuf},
};

use kernel::{
    act::Act,
    namespace::Kind as Namespace,
    probe::Feature,
    spawn::{How, reap, spawn},
    step::{End, Program, Stage, Step},
};
use serde::{Deserialize, Serialize};
use vimage::{
    Ask, Context as _, Cost, Doomed, Error, ErrorKind, House, Instance, Kind, Known, Mode, Node, Param,
    Piece, Result, Settings, Site, Subsystem, Support, When,
};

use crate::needs;

/// The subsystem.
#[derive(Debug)]
pub struct User;

/// The piece of a range of ids that is the jail's alone.
const OWN: &str = "range";
/// The piece that says which ids a jail has that are its parent's, or ours.
const SAME: &str = "ids";
/// What these are for the kernel.
const OBJECTS: &[(&str, &str)] =
    &[(OWN, "id range (ours)"), (SAME, "id range of another (ours)"), (Piece::INSTANCE, "user namespace")];

/// The ids of one jail.
const RANGE: u32 = 65_536;
/// The first id that we allocate. Below lie the ids of users, of /etc/subuid, and of systemd's containers,
/// which end at 0x6fff_ffff (systemd's UIDS-GIDS).
const FIRST: u32 = 0x7000_0000;
/// The first id above: the last ones stand for "nobody" and "no change".
const END: u32 = 0xfffe_0000;
/// How many ranges there are.
const RANGES: u32 = (END - FIRST) / RANGE;

/// Which ids a jail has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The jail's root, as our user namespace sees it.
    pub base: u32,
    /// The same, as the parent jail's user namespace sees it.
    pub lower: u32,
    /// How many ids.
    pub count: u32,
    /// Whether ids are the same inside and in the parent's user namespace, so that files need no mapping.
    pub identity: bool,
    /// How many children the jail has room for at most, since it was made.
    #[serde(default)]
    pub children: u32,
}

static PARAMS: &[Param] = &[Param {
    name: "user",
    kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
    when: When::Create,
    default: Some("new"),
    help: "whether the jail's ids are its own",
    doc: "With new, the jail has a user namespace of its own and a range of ids: its root is nobody on the host, \
          and the files of its tree keep their owners by an id-mapped mount. With inherit, an id inside is the \
          same id outside, as in FreeBSD: the jail's root is the host's for files, wherever it reaches them. With \
          vnet=new, too, it is in a user namespace that maps each id to itself, which makes it root of its own \
          network stack and of nothing else; with vnet=inherit it is in the host's user namespace, and a filter of \
          system calls is part of what keeps it from the host.",
    ..Param::BASE
}];

impl Subsystem<Act> for User {
    fn name(&self) -> &'static str {
        "user"
    }

    fn about(&self) -> &'static str {
        "user namespace and its range of ids"
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    fn probe(&self) -> Support {
        needs::namespaces(Feature::UserNamespaces, &["user", "vnet"])
    }

    fn after(&self) -> &'static [&'static str] {
        &["jail"]
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        let Some(Ids { children: most, .. }) = ask.living.and_then(ids) else { return Ok(()) };
        let wanted = ask.settings.int("children.max").unwrap_or(0);
        if wanted <= i64::from(most) {
            return Ok(());
        }
        // Of ids, and of user namespaces below it.
        let error = Error::unsupported(format!(
            "children.max: a living jail has room for {most} children, not {wanted}"
        ));
        Err(error.hint("give it when the jail is created"))
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        if !has_namespace(site.settings) {
            return Ok(Vec::new());
        }
        let root = Step::Ids { uid: 0, gid: 0, groups: Vec::new() };
        Ok(vec![Act::Namespace(Namespace::User, None), Act::Step(Stage::Ids, root)])
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        if !has_namespace(site.settings) {
            return Ok(());
        }
        let children = site.settings.int("children.max").unwrap_or(0);
        let children = u32::try_from(children).map_err(|_| too_many(children))?;
        let above = site.parent.and_then(range_around);
        match (above, map::own_ids()?) {
            _ if !site.settings.is_new("user") => same(site, "parents", children),
            (None, Some(_)) => same(site, "own", children),
            (Some(parents), _) => {
                let end = parents.base + parents.count;
                let slots = (parents.base..end).step_by(RANGE as usize).skip(1);
                take(site, slots, end, children, parents.base)
            }
            (None, None) => {
                let start = site.house.number("range")?;
                let slots = (0..RANGES).map(|n| FIRST + (start.wrapping_add(n) % RANGES) * RANGE);
                take(site, slots, END, children, 0)
            }
        }
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        let Some(ids) = ids(&site.instance()) else { return Ok(()) };
        site.adopt(Namespace::User.name())?;
        let process =
            site.fds.get("process").ok_or_else(|| Error::new(ErrorKind::Failed, "no process was born"))?;
        let pid = kernel::pidfd::pid(&process).doing("the first process has died")?.as_raw_nonzero();
        let files = ["uid_map", "gid_map"];
        let maps = files.map(|file| match site.parent.and_then(range_around) {
            _ if !ids.identity => Ok(format!("0 {} {}\n", ids.lower, ids.count)),
            Some(parents) => Ok(format!("0 0 {}\n", parents.count)),
            None => map::same(file),
        });
        let [uids, gids] = maps;
        let maps = [uids?, gids?];
        let paths = files.map(|file| format!("/proc/{pid}/{file}"));
        let doing = || format!("user: cannot write the map \"{}\"", maps[0].trim().replace('\n', ", "));
        let above = site.parent.map(|parent| parent.nearest(Namespace::User.name())).transpose()?.flatten();
        let Some(above) = above else {
            let mut both = paths.iter().zip(&maps);
            return both.try_for_each(|(path, map)| fs::write(path, map)).doing_with(doing);
        };
        // The kernel takes a map from a process in the namespace above alone, not from one further up. It
        // keeps our ids there: the file is ours, as the new process still shares our memory.
        let mut steps = vec![Step::Join(above, Namespace::User.flag())];
        for (path, map) in paths.into_iter().zip(&maps) {
            steps.push(Step::Write(CString::new(path).doing("user")?, map.clone().into_bytes()));
        }
        let writer = spawn(Program::new(steps, End::Exit), How::default()).doing_with(doing)?;
        for pidfd in writer.finish().doing_with(doing)?.pidfds {
            let _status = reap(pidfd.as_fd());
        }
        Ok(())
    }

    fn show(&self, of: &Instance<'_>) -> Result<Node> {
        let mut node = Node::map();
        let namespace = match ids(of) {
            None => "the parent's",
            Some(ids) if ids.identity => "its own, with the parent's ids",
            Some(_) => "its own, with ids of its own",
        };
        node.put("namespace", Node::leaf(namespace));
        if let Some(ids) = nearest_ids(of) {
            node.put("root", Node::leaf(ids.base));
            node.put("ids", Node::leaf(ids.count));
        }
        Ok(node)
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        doomed
            .iter()
            .map(|d| {
                let Some(ids) = read(d.piece).filter(|_| d.piece.kind == OWN) else { return Ok(()) };
                for slot in slots(ids.base, ids.count) {
                    let path = claim(d.of.house, slot, ids.base - ids.lower);
                    // Of two that wanted it at once, one has it: the other's piece is not to take it away.
                    let owner = owner(&path).unwrap_or_default();
                    if d.of.jid != 0 && owner.split(' ').nth(1) != Some(&d.of.jid.to_string()) {
                        continue;
                    }
                    match fs::remove_file(&path) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => {
                            return Err(e).doing_with(|| format!("cannot remove {}", path.display()));
                        }
                        _ => {}
                    }
                }
                Ok(())
            })
            .collect()
    }

    fn exists(&self, piece: &Piece, house: &dyn House) -> Result<bool> {
        let Some(ids) = read(piece).filter(|_| piece.kind == OWN) else { return Ok(true) };
        Ok(slots(ids.base, ids.count).all(|slot| owner(&claim(house, slot, ids.base - ids.lower)).is_some()))
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let mut strays = Vec::new();
        for entry in fs::read_dir(claim(house, 0, 0).with_file_name("")).into_iter().flatten().flatten() {
            let text = owner(&entry.path()).unwrap_or_default();
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let (slot, parent) = name.split_once('@').unwrap_or((name, "0"));
            let (Ok(slot), Ok(parent)) = (slot.parse::<u32>(), parent.parse::<u32>()) else { continue };
            // A slot says which range it is part of.
            if !known.has("user", OWN, text.split(' ').next().unwrap_or_default()) {
                let lower = slot.saturating_sub(parent);
                let ids = Ids { base: slot, lower, count: RANGE, identity: false, children: 0 };
                strays.push(Piece::new(OWN, name).with(ids));
            }
        }
        Ok(strays)
    }

    fn cost(&self, piece: &Piece, _house: &dyn House) -> Cost {
        let own = read(piece).filter(|_| piece.kind == OWN).map_or(0, |ids| ids.count);
        Cost::default().count(own.into(), "id that no jail can have", "ids that no jail can have")
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        OBJECTS
    }
}

/// Whether a jail with these settings has a user namespace of its own: for ids of its own, or to rule a network
/// stack of its own.
#[must_use]
pub fn has_namespace(settings: &Settings) -> bool {
    settings.is_new("user") || settings.is_new("vnet")
}

/// The ids of a jail that has a user namespace of its own.
#[must_use]
pub fn ids(of: &Instance<'_>) -> Option<Ids> {
    of.pieces_of("user", OWN).chain(of.pieces_of("user", SAME)).find_map(read)
}

/// The ids that a jail's root and users are on the host: its own, or the nearest ancestor's.
#[must_use]
pub fn nearest_ids(of: &Instance<'_>) -> Option<Ids> {
    ids(of).or_else(|| nearest_ids(of.parent?))
}

/// Whether we are in a user namespace ourselves, and have no rights over devices.
///
/// # Errors
/// Our own map cannot be read.
pub(crate) fn is_inside() -> Result<bool> {
    Ok(map::own_ids()?.is_some())
}

/// The range that a jail's ids are of, its own or the nearest ancestor's; `None`: they are the host's, or ours.
fn range_around(of: &Instance<'_>) -> Option<Ids> {
    ids(of).filter(|ids| !ids.identity).or_else(|| range_around(of.parent?))
}

/// Gives a jail the ids of its parent, or of ourselves.
fn same(site: &mut Site<'_>, whose: &str, children: u32) -> Result<()> {
    let around = site.parent.and_then(range_around);
    let whole = Ids { base: 0, lower: 0, count: u32::MAX, identity: true, children };
    let ids = match around {
        Some(parents) => Ids { lower: 0, identity: true, children, ..parents },
        None => map::own_ids()?.map_or(whole, |own| Ids { children, ..own }),
    };
    site.make(Piece::new(SAME, whose).with(ids), || Ok(()))
}

fn read(piece: &Piece) -> Option<Ids> {
    serde_json::from_value(piece.data.clone()).ok()
}

fn too_many(children: i64) -> Error {
    Error::new(ErrorKind::Failed, "user: no range of ids is free")
        .hint(format!("each jail has {RANGE} ids, and as many for each of the {children} of children.max"))
}

/// The slots of a range.
fn slots(base: u32, count: u32) -> impl Iterator<Item = u32> {
    (base..base + count).step_by(RANGE as usize)
}

/// The link that says that a slot is taken, and by whom: made whole, or not at all. Child jails take theirs inside their parent's range, where each
/// parent has a count of its own.
fn claim(house: &dyn House, slot: u32, parent: u32) -> PathBuf {
    let name = if parent == 0 { slot.to_string() } else { format!("{slot}@{parent}") };
    house.shelf().with_file_name("ranges").join(name)
}

/// Whose a slot is: the first id of its range and the jail's number.
fn owner(claim: &Path) -> Option<String> {
    fs::read_link(claim).ok().map(|owner| owner.to_string_lossy().into_owned())
}

/// Takes the first range of which all slots are free and below an end.
fn take(
    site: &mut Site<'_>,
    bases: impl Iterator<Item = u32>,
    end: u32,
    children: u32,
    parent: u32,
) -> Result<()> {
    let count = children.checked_add(1).and_then(|jails| jails.checked_mul(RANGE));
    let count = count.ok_or_else(|| too_many(i64::from(children)))?;
    let house = site.house;
    let dir = claim(house, 0, 0).with_file_name("");
    fs::create_dir_all(&dir).doing_with(|| format!("cannot make {}", dir.display()))?;
    for base in bases.filter(|base| base.checked_add(count).is_some_and(|last| last <= end)) {
        if slots(base, count).any(|slot| owner(&claim(house, slot, parent)).is_some()) {
            continue;
        }
        let ids = Ids { base, lower: base - parent, count, identity: false, children };
        let piece = Piece::new(OWN, base.to_string()).with(ids);
        let ours = format!("{base} {}", site.jid);
        let mut lost = false;
        site.make(piece.clone(), || {
            for slot in slots(base, count) {
                let path = claim(house, slot, parent);
                match symlink(&ours, &path) {
                    // Another took it between our look and now.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        lost = true;
                        return Ok(());
                    }
                    other => other.doing_with(|| format!("cannot make {}", path.display()))?,
                }
            }
            Ok(())
        })?;
        if !lost {
            return Ok(());
        }
        site.unmake(&Piece { subsystem: "user".to_owned(), ..piece }, || {
            // Those before the one that was lost.
            let paths = slots(base, count).map(|slot| claim(house, slot, parent));
            paths.filter(|path| owner(path).as_deref() == Some(&*ours)).try_for_each(|path| {
                fs::remove_file(&path).doing_with(|| format!("cannot remove {}", path.display()))
            })
        })?;
    }
    Err(too_many(i64::from(children)))
}
