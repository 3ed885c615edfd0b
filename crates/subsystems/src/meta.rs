//! `meta` and `env`: strings that go with a jail, as FreeBSD 15 has them. They are in its record; what the jail may
//! read of them is a file of the store, which is mounted in it while there is something in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    act::Act,
    namespace::Kind as Ns,
    step::{Stage, Step},
};
use vimage::{
    Context as _, Cost, Doomed, Entry, House, Instance, Kind, Known, Param, Piece, Result, Settings, Site,
    Subsystem, file,
};

use crate::shown::{attach, folder, remove};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Meta;

const NAME: &str = "meta";
/// The piece of the file that the store keeps for the jail.
const FILE: &str = "file";
/// The name of the file in the jail.
const SHOWN: &str = "env";
/// The greatest length: security.jail.meta_maxbufsize of FreeBSD, without the null byte.
const LONGEST: usize = 4095;

static PARAMS: [Param; 2] = [
    Param {
        name: NAME,
        kind: Kind::Pairs { max: LONGEST },
        default: Some(""),
        help: "strings that go with the jail, which it cannot read",
        doc: "Any text, for whoever looks after the jail: jls(8) shows it, and nothing in the jail does. It is also a \
              store of pairs, a line KEY=VALUE for each. meta.KEY=VALUE adds a pair in front of the others, or \
              replaces it; meta.KEY= stores an empty value, and meta.KEY without = drops the pair; jls meta.KEY \
              prints the value. What is given is done in its order, and meta=TEXT replaces all. At most 4095 \
              bytes; a jail in the jail starts without.",
        ..Param::BASE
    },
    Param {
        name: "env",
        kind: Kind::Pairs { max: LONGEST },
        default: Some(""),
        help: "strings that go with the jail, which it can read",
        doc: "As meta, but the jail reads it, and cannot write it, as the file /run/jail/env, which follows when it \
              is changed, and is there while env is not empty. In a tree of the jail's own the place to mount it on is \
              made where it is missing, and stays; a symbolic link on the way there is not followed.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Meta {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "strings of the administrator's"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        if env(site.settings).is_empty() { Ok(()) } else { make(site) }
    }

    fn enter(&self, of: &Instance<'_>, how: Entry) -> Result<Vec<Act>> {
        let text = env(of.settings);
        if how == Entry::Joining || text.is_empty() {
            return Ok(Vec::new());
        }
        let path = path(of.house, of.jid);
        if how == Entry::First {
            // It lies on the host, where it may have been removed.
            write(&path, text)?;
        }
        // After all mounts: what the links of a tree lead to does not matter, since none is followed.
        Ok(attach(&path, SHOWN)?.into_iter().map(|step| Act::Step(Stage::Root, step)).collect())
    }

    /// The file is written in place: it is what is mounted. The mount comes with the first text and goes with the last,
    /// so that who has none pays for none.
    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        let text = env(site.settings);
        if text == env(old) {
            return Ok(Vec::new());
        }
        let path = path(site.house, site.jid);
        let there = site.instance().pieces_of(NAME, FILE).next().cloned();
        match (there, text.is_empty()) {
            (Some(_), false) => return write(&path, text).map(|()| Vec::new()),
            (Some(piece), true) => site.unmake(&piece, || remove(&path))?,
            (None, false) => make(site)?,
            // A change that was to bring it is taken back.
            (None, true) => {}
        }
        let Some(mounts) = site.instance().fd(Ns::Mnt.name())? else { return Ok(Vec::new()) };
        // An earlier one, should it be there still.
        let mut steps = vec![Step::Unmount(c"/run/jail/env".into())];
        if !text.is_empty() {
            steps.extend(attach(&path, SHOWN)?);
        }
        let steps = steps.into_iter().map(|step| Act::Step(Stage::Mounts, step));
        Ok(std::iter::once(Act::Namespace(Ns::Mnt, Some(mounts))).chain(steps).collect())
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        doomed.iter().map(|d| remove(Path::new(&d.piece.key))).collect()
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Path::new(&piece.key).try_exists().doing_with(|| format!("cannot look for {}", piece.key))
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let paths = fs::read_dir(folder(house, FOLDER)).into_iter().flatten().flatten().map(|e| e.path());
        let keys = paths.map(|p| p.to_string_lossy().into_owned());
        Ok(keys.filter(|key| !known.has(NAME, FILE, key)).map(|key| Piece::new(FILE, key)).collect())
    }

    fn cost(&self, piece: &Piece, _house: &dyn House) -> Cost {
        let bytes = fs::metadata(&piece.key).map_or(0, |file| file.len());
        Cost::default().bytes(bytes, "files")
    }
}

fn env(settings: &Settings) -> &str {
    settings.text("env").unwrap_or_default()
}

/// The folder of the store with the files of all jails. In a jail, what its own is called is another name.
const FOLDER: &str = "envs";

fn path(house: &dyn House, jid: u32) -> PathBuf {
    folder(house, FOLDER).join(jid.to_string())
}

/// Makes the file.
fn make(site: &mut Site<'_>) -> Result<()> {
    let (path, text) = (path(site.house, site.jid), env(site.settings));
    site.make(Piece::new(FILE, path.to_string_lossy()), || write(&path, text))
}

/// Writes the file.
fn write(path: &Path, text: &str) -> Result<()> {
    file::show(path, format!("{text}\n").as_bytes()).doing("env")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_and_goes() {
        let dir = std::env::temp_dir().join(format!("env-{}", std::process::id()));
        let path = dir.join("below/1");
        write(&path, "a=1").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a=1\n");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!Meta.exists(&Piece::new(FILE, path.to_string_lossy()), &crate::host::tests::Toy).unwrap());
        fs::remove_dir_all(dir).unwrap();
    }
}
