//! A folder with jails of toys, driven as a real owner of records drives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use vimage::{
    Driver, Error, Fault, Fds, Given, House as _, Instance, Journal, Known, Ledger, Owner, Param, Piece,
    Recorder, Registry, Result, Settings, Shared,
};

use crate::{
    counters::{Counters, LIST, MODE},
    house::Folder,
    tallies::Tallies,
};

/// Declared first and needed last, so that the order is the registry's doing.
pub static GAUGES: Counters = Counters {
    name: "gauges",
    after: &["counters"],
    params: &[
        Param { name: "gauges", ..MODE },
        Param { name: "gauges.names", ..LIST },
        Param { name: "gauges.pools", ..LIST },
    ],
};
pub static COUNTERS: Counters = Counters {
    name: "counters",
    after: &[],
    params: &[
        Param { name: "counters", ..MODE },
        Param { name: "counters.names", ..LIST },
        Param { name: "counters.pools", ..LIST },
    ],
};

pub struct Lab {
    pub house: Folder,
    pub registry: Registry<()>,
    pub _dir: Option<tempfile::TempDir>,
}

/// All that can be seen of the jails and of what they share, but for what only grows.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    files: BTreeMap<PathBuf, Option<String>>,
    pieces: BTreeSet<String>,
}

pub fn no_fault() -> Recorder {
    Recorder::new(None)
}

pub fn failing_at(n: u64) -> Recorder {
    Recorder::new(Fault::parse(&format!("fail:{n}")))
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Self::at(dir.path());
        Self { _dir: Some(dir), ..lab }
    }

    pub fn at(root: &Path) -> Self {
        Self {
            house: Folder::at(root),
            registry: Registry::new(&[&GAUGES, &COUNTERS, &Tallies]).unwrap(),
            _dir: None,
        }
    }

    pub fn root(&self) -> &Path {
        self.house.root()
    }

    pub fn driver<'a>(&'a self, recorder: &'a Recorder) -> Driver<'a, ()> {
        Driver { registry: &self.registry, house: &self.house, recorder }
    }

    fn folder(&self, jid: u32) -> PathBuf {
        self.root().join("jails").join(jid.to_string())
    }

    /// The jail as its files say it is: what any later command knows of it.
    pub fn owner(&self, jid: u32) -> Owner<'static> {
        let dir = self.folder(jid);
        fs::create_dir_all(&dir).unwrap();
        let settings = fs::read(dir.join("settings")).ok();
        Owner {
            name: format!("j{jid}"),
            jid,
            settings: settings.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default(),
            parent: None,
            journal: Journal::open(&dir.join("journal"), self.recorded(jid)).unwrap(),
            fds: Fds::default(),
        }
    }

    /// The pieces that were there when the jail was changed last.
    fn recorded(&self, jid: u32) -> Vec<Piece> {
        let pieces = fs::read(self.folder(jid).join("pieces")).ok();
        pieces.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn save(&self, jid: u32, settings: &Settings) {
        fs::write(self.folder(jid).join("settings"), serde_json::to_vec(settings).unwrap()).unwrap();
    }

    fn ask(&self, recorder: &Recorder, owner: &Owner<'_>, words: &str, new: bool) -> Result<Settings> {
        let mut given = Given::default();
        words.split_whitespace().try_for_each(|word| self.registry.define(&mut given, word))?;
        let instance = owner.instance(&self.house);
        let living = (!new).then_some(&instance);
        Ok(self.driver(recorder).ask(&owner.name, owner.jid, &given, None, living)?.settings)
    }

    /// Creates a jail; of one that fails nothing is left.
    pub fn create(&self, recorder: &Recorder, jid: u32, words: &str) -> Result<()> {
        let mut owner = self.owner(jid);
        owner.settings = self.ask(recorder, &owner, words, true)?;
        let driver = self.driver(recorder);
        let made = driver
            .prepare(&mut owner)
            .and_then(|_birth| driver.provide(&mut owner))
            .and_then(|()| driver.create(&mut owner))
            .and_then(|()| driver.furnish(&mut owner))
            .and_then(|()| driver.complete(&mut owner));
        if made.is_err() {
            assert_eq!(self.unmake(recorder, owner), [], "after {made:?}");
            return made;
        }
        self.save(jid, &owner.settings);
        Ok(())
    }

    pub fn update(&self, recorder: &Recorder, jid: u32, words: &str) -> Result<()> {
        let mut owner = self.owner(jid);
        let new = self.ask(recorder, &owner, words, false)?;
        let (name, dir) = (owner.name.clone(), self.folder(jid));
        fs::write(dir.join("wanted"), serde_json::to_vec(&new).unwrap()).unwrap();
        fs::write(dir.join("pieces"), serde_json::to_vec(owner.journal.pieces()).unwrap()).unwrap();
        owner.journal.folded().unwrap();
        self.driver(recorder).update(&mut owner, &name, &new, &mut |_, _| Ok(()))?;
        self.save(jid, &owner.settings);
        Ok(())
    }

    /// Takes an update back that was killed.
    pub fn restore(&self, recorder: &Recorder, jid: u32) -> Result<()> {
        let wanted = fs::read(self.folder(jid).join("wanted")).unwrap();
        let wanted = serde_json::from_slice(&wanted).unwrap();
        self.driver(recorder).restore(&mut self.owner(jid), &wanted, &mut |_, _| Ok(()))
    }

    pub fn remove(&self, recorder: &Recorder, jid: u32) -> Vec<Error> {
        self.unmake(recorder, self.owner(jid))
    }

    fn unmake(&self, recorder: &Recorder, mut owner: Owner<'_>) -> Vec<Error> {
        let jid = owner.jid;
        let errors = self.driver(recorder).unmake(std::slice::from_mut(&mut owner));
        if owner.journal.pieces().is_empty() {
            fs::remove_dir_all(self.folder(jid)).unwrap();
        }
        Ledger::add(&self.root().join("ledger"), &recorder.take_freed()).unwrap();
        errors
    }

    pub fn jids(&self) -> Vec<u32> {
        let entries = fs::read_dir(self.root().join("jails")).unwrap().flatten();
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
    }

    /// All pieces of jails and of what they share.
    pub fn pieces(&self) -> Vec<Piece> {
        let own = |jid| Journal::replay(&self.folder(jid).join("journal"), self.recorded(jid)).unwrap();
        let shared = Shared::names(self.house.shelf()).unwrap();
        let shared = shared.iter().flat_map(|name| Shared::peek(self.house.shelf(), name).unwrap().1);
        self.jids().into_iter().flat_map(own).chain(shared).collect()
    }

    /// What an audit says.
    pub fn findings(&self) -> Vec<String> {
        let recorder = no_fault();
        let driver = self.driver(&recorder);
        let jids = self.jids();
        let mut all = Vec::new();
        for jid in &jids {
            all.extend(driver.missing(&self.owner(*jid).instance(&self.house)).unwrap());
        }
        all.extend(driver.shared_findings(&|jid| jids.contains(&jid)).unwrap());
        all.extend(driver.strays(&Known::of(&self.pieces())));
        all.iter().map(|f| f.to_string().replace(&format!("{}/", self.root().display()), "")).collect()
    }

    pub fn nobody<'a>(&'a self, settings: &'a Settings) -> Instance<'a> {
        let (fds, house) = (Fds::default(), &self.house);
        Instance { name: "nobody", jid: 0, settings, parent: None, pieces: &[], fds, house }
    }

    pub fn state(&self) -> State {
        let mut files = BTreeMap::new();
        for dir in ["counters", "gauges", "tallies", "held", "shared"] {
            walk(&self.root().join(dir), &mut files);
        }
        files.retain(|path, _| !path.ends_with("journal"));
        State { files, pieces: self.pieces().iter().map(ToString::to_string).collect() }
    }

    /// Nothing is left but the ledger, and it says so.
    pub fn assert_clean(&self) {
        assert_eq!(self.findings(), [""; 0]);
        let state = self.state();
        assert!(state.files.values().all(Option::is_none) && state.files.len() == 5, "{state:#?}");
        assert!(state.pieces.is_empty(), "{state:#?}");
        assert_eq!(self.jids(), [0; 0]);
        for (kind, count) in self.ledger().iter() {
            assert_eq!(count.made, count.freed, "{kind}");
        }
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::read(&self.root().join("ledger"), &self.pieces()).unwrap()
    }

    /// Does as [`crate::child`] is told, in a process of its own, with a fault.
    pub fn in_child(&self, fault: &str, what: &str) -> ExitStatus {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child"]).env("JAIL_FAULT", fault);
        command.env("TOY_ROOT", self.root()).env("TOY_DO", what);
        command.output().unwrap().status
    }
}

fn walk(path: &Path, into: &mut BTreeMap<PathBuf, Option<String>>) {
    let Ok(entries) = fs::read_dir(path) else {
        into.insert(path.to_owned(), fs::read_to_string(path).ok());
        return;
    };
    into.insert(path.to_owned(), None);
    entries.flatten().for_each(|e| walk(&e.path(), into));
}
