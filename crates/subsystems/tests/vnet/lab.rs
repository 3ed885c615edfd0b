//! Where the tests run: namespaces of their own, a house in a temporary folder, the framework's driver.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{self, Command},
    time::{Duration, Instant},
};

use kernel::{
    act::{Act, fold},
    namespace::{self, Handle, Kind},
    spawn::{self, How},
    step::{End, Program, Step},
};
use rustix::io::Errno;
use subsystems::vnet::Vnet;
use vimage::{
    Anchor, Context as _, Driver, Fault, Fds, Given, House, Instance, Journal, Known, Owner, Piece, Recorder,
    Registry, Result, Settings, Shared,
};

/// Runs `body`, the body of the test called `name`, as root of new user, network and mount namespaces.
pub fn alone(name: &str, body: impl FnOnce(&Lab)) {
    alone_without("", name, body);
}

/// As `alone`, on a kernel that lacks some features.
pub fn alone_without(features: &str, name: &str, body: impl FnOnce(&Lab)) {
    if env::var_os("VNET_ALONE").is_some() {
        return body(&Lab::new());
    }
    let output = Command::new("unshare")
        .args(["-rn", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("VNET_ALONE", "1")
        .env("JAIL_MASK", features)
        .output()
        .expect("unshare is needed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A misspelt name would run nothing and succeed.
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// Records in a temporary folder; holds what it is given by descriptors.
#[derive(Debug)]
pub struct Lab {
    dir: tempfile::TempDir,
    shelf: PathBuf,
    held: RefCell<BTreeMap<String, Vec<OwnedFd>>>,
    number: Cell<u32>,
    pub recorder: Recorder,
}

impl House for Lab {
    fn open(&self, anchor: &Anchor) -> Result<Option<OwnedFd>> {
        let handle: Handle = anchor.0.parse().doing("not a handle")?;
        match handle.open() {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::STALE) => Ok(None),
            Err(e) => Err(io::Error::from(e)).doing("cannot open"),
        }
    }
    fn anchor(&self, _: &str, object: BorrowedFd<'_>) -> Result<Anchor> {
        Ok(Anchor(Handle::of(object).map_err(io::Error::from).doing("cannot name")?.to_string()))
    }
    fn hold(&self, owner: &str, _: &str, object: BorrowedFd<'_>) -> Result<()> {
        let fd = object.try_clone_to_owned().doing("cannot hold")?;
        self.held.borrow_mut().entry(owner.to_owned()).or_default().push(fd);
        Ok(())
    }
    fn release(&self, owner: &str) -> Result<()> {
        drop(self.held.borrow_mut().remove(owner));
        Ok(())
    }
    fn mark(&self) -> &str {
        "lab"
    }
    fn held(&self) -> Result<Vec<String>> {
        Ok(self.held.borrow().keys().cloned().collect())
    }
    fn living(&self, jail: &str, kind: &str) -> Result<Option<Anchor>> {
        let pieces = Journal::replay(&self.dir.path().join(format!("{jail}.journal")), vec![])?;
        let instances = pieces.into_iter().filter(|p| p.kind == Piece::INSTANCE);
        Ok(instances.filter_map(|p| p.anchor).find(|a| a.kind() == kind))
    }
    fn number(&self, _: &str) -> Result<u32> {
        self.number.set(self.number.get() + 1);
        Ok(self.number.get())
    }
    fn stable(&self, words: &str) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        Ok(hasher.finish())
    }
    fn shelf(&self) -> &Path {
        &self.shelf
    }
}

fn registry() -> &'static Registry<Act> {
    Box::leak(Box::new(Registry::new(&[&Vnet]).unwrap()))
}

/// A stack of a process that takes the steps of its birth.
fn new_stack(birth: Vec<Act>) -> OwnedFd {
    let folded = fold(birth).unwrap();
    assert_eq!(folded.namespaces, u64::from(Kind::Net.flag()));
    let mut steps: Vec<_> = folded.steps.into_iter().map(|(_, step)| step).collect();
    steps.push(Step::Wait(0));
    let how = How { namespaces: folded.namespaces, ..How::default() };
    let child = spawn::spawn(Program::new(steps, End::Exit), how).unwrap();
    let stack = namespace::of_process(child.pidfd(), Kind::Net).unwrap();
    for pidfd in child.finish().unwrap().pidfds {
        spawn::reap(pidfd.as_fd()).unwrap();
    }
    stack
}

impl Lab {
    fn new() -> Self {
        Self::failing(None)
    }

    /// With a failure injected at the n-th point.
    pub fn failing(at: Option<u64>) -> Self {
        let fault = at.and_then(|at| Fault::parse(&format!("fail:{at}")));
        let dir = tempfile::tempdir().unwrap();
        Self {
            shelf: dir.path().join("shelf"),
            dir,
            held: RefCell::default(),
            number: Cell::new(0),
            recorder: Recorder::new(fault),
        }
    }

    pub fn driver(&self) -> Driver<'_, Act> {
        Driver { registry: registry(), house: self, recorder: &self.recorder }
    }

    /// Definitions as a user writes them, over those of a living jail.
    fn settings(
        &self,
        words: &[&str],
        name: &str,
        jid: u32,
        (parent, living): (Option<&Instance<'_>>, Option<&Owner<'_>>),
    ) -> Result<Settings> {
        let mut given = Given::default();
        for word in words {
            registry().define(&mut given, word)?;
        }
        let living = living.map(|owner| owner.instance(self));
        Ok(self.driver().ask(name, jid, &given, parent, living.as_ref())?.settings)
    }

    pub fn try_jail(&self, name: &str, jid: u32, words: &[&str]) -> Result<Owner<'static>> {
        self.try_child(None, name, jid, words)
    }

    pub fn try_child<'p>(
        &self,
        parent: Option<&'p Instance<'p>>,
        name: &str,
        jid: u32,
        words: &[&str],
    ) -> Result<Owner<'p>> {
        let settings = self.settings(words, name, jid, (parent, None))?;
        let journal = Journal::open(&self.dir.path().join(format!("{name}.journal")), vec![])?;
        let mut owner = Owner { name: name.to_owned(), jid, settings, parent, journal, fds: Fds::default() };
        let made = self.driver().prepare(&mut owner).and_then(|birth| {
            owner.fds.put("net", new_stack(birth));
            self.driver().provide(&mut owner)?;
            self.driver().create(&mut owner)?;
            self.driver().furnish(&mut owner)
        });
        match made {
            Ok(()) => Ok(owner),
            Err(error) => {
                assert_eq!(self.driver().quiesce(&[owner.instance(self)]), []);
                assert_eq!(self.driver().drain(&[owner.instance(self)], Instant::now()), []);
                // An injected failure comes once, here or there.
                let failed = self.driver().unmake(std::slice::from_mut(&mut owner));
                let rest = self.driver().unmake(std::slice::from_mut(&mut owner));
                assert!(failed.is_empty() || rest.is_empty(), "{failed:?} {rest:?}");
                Err(error)
            }
        }
    }

    pub fn jail(&self, name: &str, jid: u32, words: &[&str]) -> Owner<'static> {
        self.try_jail(name, jid, words).unwrap()
    }

    pub fn modify(&self, owner: &mut Owner<'_>, words: &[&str]) -> Result<()> {
        let (name, jid) = (owner.name.clone(), owner.jid);
        let new = self.settings(words, &name, jid, (owner.parent, Some(owner)))?;
        Ok(self.driver().update(owner, &name, &new, &mut |_, _| Ok(()))?)
    }

    /// Removes jails as the product does; all of them must be gone at the end.
    pub fn remove(&self, owners: Vec<Owner<'_>>) {
        self.remove_in(1, owners);
    }

    /// As `remove`, where only the last of so many passes must succeed.
    pub fn remove_in(&self, passes: u32, mut owners: Vec<Owner<'_>>) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let instances: Vec<_> = owners.iter().map(|o| o.instance(self)).collect();
        assert_eq!(self.driver().quiesce(&instances), []);
        assert_eq!(self.driver().drain(&instances, deadline), []);
        drop(instances);
        let last = (0..passes).map(|_| self.driver().unmake(&mut owners)).last();
        assert_eq!(last.unwrap(), []);
        assert!(self.driver().settle(&mut owners, deadline));
        assert!(owners.iter().all(|o| o.journal.pieces().is_empty()));
    }

    /// What happens to a jail whose stack went with its last process.
    pub fn bury(&self, mut owner: Owner<'_>) {
        owner.fds.clear();
        assert_eq!(self.driver().unmake(std::slice::from_mut(&mut owner)), []);
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(self.driver().settle(std::slice::from_mut(&mut owner), deadline));
    }

    /// Neither record nor kernel has anything left.
    pub fn assert_clean(&self) {
        let left = Shared::names(self.shelf()).unwrap();
        assert!(left.is_empty(), "{left:?}");
        assert!(self.held.borrow().is_empty());
        assert_eq!(self.driver().strays(&Known::default()), []);
        let claims = self.dir.path().join("addresses");
        let own = std::fs::read_dir(claims).map_or(0, Iterator::count);
        assert_eq!(own, 0);
    }

    /// All pieces are where the records say, and nothing else is.
    pub fn assert_audit(&self, owners: &[&Owner<'_>]) {
        let mut known: Vec<_> = Vec::new();
        for owner in owners {
            assert_eq!(self.driver().missing(&owner.instance(self)).unwrap(), []);
            known.extend(owner.journal.pieces().to_vec());
        }
        assert_eq!(self.driver().shared_findings(&|_| true).unwrap(), []);
        for name in Shared::names(self.shelf()).unwrap() {
            known.extend(Shared::peek(self.shelf(), &name).unwrap().1);
        }
        assert_eq!(self.driver().strays(&Known::of(&known)), []);
    }
}

/// Runs a program in the caller's stack; returns what it prints.
pub fn run(words: &str) -> String {
    let mut words = words.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program in a jail's stack.
pub fn inside(owner: &Owner<'_>, words: &str) -> String {
    let stack = owner.fds.get("net").unwrap();
    run(&format!("nsenter --net=/proc/{}/fd/{} -- {words}", process::id(), stack.as_raw_fd()))
}

/// Whether an address answers from inside a jail.
pub fn reaches(from: &Owner<'_>, ip: &str) -> bool {
    inside(from, &format!("ping -n -c 1 -W 2 {ip}")).contains(" 0% packet loss")
}
