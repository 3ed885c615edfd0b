//! Network stacks on the running kernel: each test in namespaces of its own, with a house in a temporary
//! folder, and the framework's own driver.

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
use subsystems::vnet::{self, Vnet};
use vimage::{
    Anchor, Context as _, Driver, Fds, Given, House, Journal, Known, Owner, Recorder, Registry, Result,
    Settings, Shared,
};

/// Runs `body`, the body of the test called `name`, as root of new user, network and mount namespaces.
fn alone(name: &str, body: impl FnOnce(&Lab)) {
    if env::var_os("VNET_ALONE").is_some() {
        return body(&Lab::new());
    }
    let output = Command::new("unshare")
        .args(["-rn", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("VNET_ALONE", "1")
        .output()
        .expect("unshare is needed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A misspelt name would run nothing and succeed.
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// Records in a temporary folder; holds what it is given by descriptors.
#[derive(Debug)]
struct Lab {
    dir: tempfile::TempDir,
    shelf: PathBuf,
    held: RefCell<BTreeMap<String, Vec<OwnedFd>>>,
    number: Cell<u32>,
    recorder: Recorder,
}

impl House for Lab {
    fn mark(&self) -> &str {
        "jail"
    }
    fn held(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

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

fn new_stack() -> OwnedFd {
    let how = How { namespaces: u64::from(Kind::Net.flag()), ..How::default() };
    let child = spawn::spawn(Program::new(vec![Step::Wait(0)], End::Exit), how).unwrap();
    let stack = namespace::of_process(child.pidfd(), Kind::Net).unwrap();
    for pidfd in child.finish().unwrap().pidfds {
        spawn::reap(pidfd.as_fd()).unwrap();
    }
    stack
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            shelf: dir.path().join("shelf"),
            dir,
            held: RefCell::default(),
            number: Cell::new(0),
            recorder: Recorder::new(None),
        }
    }

    fn driver(&self) -> Driver<'_, Act> {
        Driver { registry: registry(), house: self, recorder: &self.recorder }
    }

    /// Definitions as a user writes them, over those of a living jail.
    fn settings(&self, words: &[&str], name: &str, jid: u32, living: Option<&Owner<'_>>) -> Result<Settings> {
        let mut given = Given::default();
        for word in words {
            registry().define(&mut given, word)?;
        }
        let living = living.map(|owner| owner.instance(self));
        Ok(self.driver().ask(name, jid, &given, None, living.as_ref())?.settings)
    }

    fn try_jail(&self, name: &str, jid: u32, words: &[&str]) -> Result<Owner<'static>> {
        let settings = self.settings(words, name, jid, None)?;
        let journal = Journal::open(&self.dir.path().join(format!("{name}.journal")), vec![])?;
        let mut owner =
            Owner { name: name.to_owned(), jid, settings, parent: None, journal, fds: Fds::default() };
        let made = self.driver().prepare(&mut owner).and_then(|plan| {
            let flags = fold(plan.birth).unwrap().namespaces;
            assert_eq!(flags, u64::from(Kind::Net.flag()));
            owner.fds.put("net", new_stack());
            self.driver().create(&mut owner)?;
            self.driver().furnish(&mut owner)
        });
        match made {
            Ok(()) => Ok(owner),
            Err(error) => {
                assert_eq!(self.driver().unmake(std::slice::from_mut(&mut owner)), []);
                Err(error)
            }
        }
    }

    fn jail(&self, name: &str, jid: u32, words: &[&str]) -> Owner<'static> {
        self.try_jail(name, jid, words).unwrap()
    }

    fn modify(&self, owner: &mut Owner<'_>, words: &[&str]) -> Result<()> {
        let (name, jid) = (owner.name.clone(), owner.jid);
        let new = self.settings(words, &name, jid, Some(owner))?;
        self.driver().update(owner, &new, &mut |_, _| Ok(()))
    }

    /// Removes jails as the product does; all of them must be gone at the end.
    fn remove(&self, mut owners: Vec<Owner<'_>>) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let instances: Vec<_> = owners.iter().map(|o| o.instance(self)).collect();
        assert_eq!(self.driver().quiesce(&instances, deadline), []);
        drop(instances);
        assert_eq!(self.driver().unmake(&mut owners), []);
        assert!(self.driver().settle(&mut owners, deadline).unwrap());
        assert!(owners.iter().all(|o| o.journal.pieces().is_empty()));
    }

    /// Neither record nor kernel has anything left.
    fn assert_clean(&self) {
        let left = Shared::names(self.shelf()).unwrap();
        assert!(left.is_empty(), "{left:?}");
        assert!(self.held.borrow().is_empty());
        assert_eq!(self.driver().strays(&Known::default()), []);
        let claims = self.dir.path().join("addresses");
        let own = std::fs::read_dir(claims).map_or(0, Iterator::count);
        assert_eq!(own, 0);
    }

    /// All pieces are where the records say, and nothing else is.
    fn assert_audit(&self, owners: &[&Owner<'_>]) {
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
fn run(words: &str) -> String {
    let mut words = words.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program in a jail's stack.
fn inside(owner: &Owner<'_>, words: &str) -> String {
    let stack = owner.fds.get("net").unwrap();
    run(&format!("nsenter --net=/proc/{}/fd/{} -- {words}", process::id(), stack.as_raw_fd()))
}

/// Whether an address answers from inside a jail.
fn reaches(from: &Owner<'_>, ip: &str) -> bool {
    inside(from, &format!("ping -n -c 1 -W 2 {ip}")).contains(" 0% packet loss")
}

#[test]
fn jails_on_a_segment_reach_each_other_and_leave_nothing() {
    alone("jails_on_a_segment_reach_each_other_and_leave_nothing", |lab| {
        let a = lab.jail(
            "a",
            1,
            &["vnet.link=eth0 lan 10.9.0.11/24 fd00:9::11/64", "vnet.route=default via 10.9.0.1"],
        );
        let words = [
            "vnet.link=eth0 lan 10.9.0.12/24 fd00:9::12/64 mac 02:00:00:00:00:12 mtu 1400",
            "vnet.link=eth1 wan",
        ];
        let b = lab.jail("b", 2, &words);
        assert!(reaches(&a, "10.9.0.12") && reaches(&b, "10.9.0.11") && reaches(&a, "fd00:9::12"));
        assert!(inside(&a, "ip route").contains("default via 10.9.0.1 dev eth0"));
        let eth0 = inside(&b, "ip address show eth0");
        assert!(
            eth0.contains("02:00:00:00:00:12") && eth0.contains("mtu 1400") && !eth0.contains("fe80"),
            "{eth0}"
        );
        assert!(eth0.contains("UP,LOWER_UP"), "{eth0}");
        let text =
            inside(&a, "cat /proc/sys/net/ipv4/tcp_orphan_retries /proc/sys/net/ipv6/conf/eth0/accept_ra");
        assert_eq!(text, "1\n0\n");
        // The host sees nothing of it.
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_audit(&[&a, &b]);
        let ips: Vec<_> =
            vnet::addresses(&b.instance(lab)).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ips, ["10.9.0.12", "fd00:9::12"]);
        let shown = vnet::show(&b.instance(lab)).unwrap().text();
        assert!(shown.contains("10.9.0.12/24") && shown.contains("eth1"), "{shown}");
        lab.remove(vec![a]);
        lab.assert_audit(&[&b]);
        lab.remove(vec![b]);
        lab.assert_clean();
    });
}

#[test]
fn a_failed_birth_leaves_nothing_and_takes_nothing_from_others() {
    alone("a_failed_birth_leaves_nothing_and_takes_nothing_from_others", |lab| {
        let a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24"]);
        let error = lab.try_jail("b", 2, &["vnet.link=eth0 lan 10.9.0.11/24"]).unwrap_err();
        assert_eq!(error.to_string(), "vnet: address 10.9.0.11 is already on segment lan");
        assert_eq!(error.advice(), Some("jail 1 has it"));
        let c = lab.jail("c", 3, &["vnet.link=eth0 other 10.9.0.11/24"]);
        let words = ["vnet.link=eth0 lan 10.9.0.13/24", "vnet.route=default via 10.8.0.1"];
        let error = lab.try_jail("d", 4, &words).unwrap_err().to_string();
        assert_eq!(error, "vnet.route: \"default via 10.8.0.1\": Network is unreachable");
        let error = lab.try_jail("d", 4, &["vnet.sysctl=net.ipv4.nonsense=1"]).unwrap_err().to_string();
        assert!(error.starts_with("vnet.sysctl: \"net.ipv4.nonsense=1\": No such file"), "{error}");
        lab.assert_audit(&[&a, &c]);
        lab.remove(vec![a, c]);
        lab.assert_clean();
    });
}

#[test]
fn the_parent_has_an_interface_while_any_jail_asks_for_it() {
    alone("the_parent_has_an_interface_while_any_jail_asks_for_it", |lab| {
        let host = "vnet.host=lan 10.9.0.1/24 10.9.0.2/24";
        let a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24", host]);
        let b = lab.jail("b", 2, &["vnet.link=eth0 lan 10.9.0.12/24", "vnet.host=lan 10.9.0.2/24"]);
        assert!(reaches(&a, "10.9.0.1") && reaches(&b, "10.9.0.2"));
        assert!(run("ping -n -c 1 -W 2 10.9.0.12").contains(" 0% packet loss"));
        let words = ["vnet.link=eth0 lan 10.9.0.13/24", "vnet.host=lan 10.9.0.3/24"];
        let error = lab.try_jail("c", 3, &words).unwrap_err();
        assert_eq!(
            error.to_string(),
            "vnet.host: \"lan 10.9.0.3/24\": 10.9.0.3/24 is not what another jail asked for"
        );
        let words = ["vnet.link=eth0 lan 10.9.0.1/24"];
        assert_eq!(lab.try_jail("c", 3, &words).unwrap_err().advice(), Some("the parent has it"));
        lab.assert_audit(&[&a, &b]);
        lab.remove(vec![a]);
        assert!(run("ip -o link").contains("lan@"));
        lab.remove(vec![b]);
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_clean();
    });
}

#[test]
fn a_foreign_bridge_is_used_and_stays_as_it_is() {
    alone("a_foreign_bridge_is_used_and_stays_as_it_is", |lab| {
        run("ip link add br0 mtu 1450 up type bridge");
        run("ip link add dummy0 mtu 1450 up type veth peer name dummy1");
        run("ip link set dummy0 master br0");
        run("ip address add 10.9.0.1/24 dev br0");
        let before = run("ip link show br0");
        let a = lab.jail("a", 1, &["vnet.link=eth0 br0 10.9.0.11/24"]);
        assert!(inside(&a, "ip link show eth0").contains("mtu 1450"));
        assert!(reaches(&a, "10.9.0.1"));
        let tidy = |text: String| {
            text.replace("state DOWN", "")
                .replace("state UP", "")
                .replace("NO-CARRIER,", "")
                .replace(",LOWER_UP", "")
        };
        assert_eq!(tidy(run("ip link show br0")), tidy(before.clone()));
        lab.assert_audit(&[&a]);
        let error = lab.try_jail("b", 2, &["vnet.link=eth0 dummy1"]).unwrap_err().to_string();
        assert_eq!(error, "vnet.link: dummy1 is an interface of the parent, but no bridge");
        lab.remove(vec![a]);
        lab.assert_clean();
        assert_eq!(tidy(run("ip link show br0")), tidy(before));
    });
}

#[test]
fn an_interface_is_borrowed_and_returned_as_it_was() {
    alone("an_interface_is_borrowed_and_returned_as_it_was", |lab| {
        run("ip link add e0a mtu 1400 address 02:00:00:00:00:0a up type veth peer name e0b");
        run("ip link set e0b up");
        let a = lab.jail("a", 1, &["vnet.interface=e0a,e0b"]);
        assert_eq!(run("ip -o link").lines().count(), 1);
        assert_eq!(inside(&a, "ip -o link").lines().count(), 3);
        let error = lab.try_jail("b", 2, &["vnet.interface=e0b"]).unwrap_err().to_string();
        assert_eq!(error, "vnet.interface: cannot move \"e0b\": No such device");
        // The jail's root does what it likes, and somebody takes the other's name.
        inside(&a, "ip link set e0a name mine address 02:00:00:00:00:0b mtu 1300");
        inside(&a, "ip link set mine name e9");
        run("ip link add e0b type veth peer name other");
        lab.assert_audit(&[&a]);
        lab.remove(vec![a]);
        let e0a = run("ip link show e0a");
        assert!(e0a.contains("mtu 1400") && e0a.contains("02:00:00:00:00:0a") && e0a.contains("UP"), "{e0a}");
        assert!(run("ip link show e0b.1").contains("was e0b"));
        lab.assert_clean();
    });
}

#[test]
fn a_living_jail_is_changed_in_place_and_back() {
    alone("a_living_jail_is_changed_in_place_and_back", |lab| {
        let mut a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24 10.9.0.21/24", "vnet.link=eth1 wan"]);
        let b = lab.jail("b", 2, &["vnet.link=eth0 lan 10.9.0.12/24"]);
        let index = |owner: &Owner<'_>| inside(owner, "cat /sys/class/net/eth0/ifindex");
        let before = index(&a);
        let words = [
            "vnet.link=eth0 lan 10.9.0.21/24 mtu 1400 mac 02:00:00:00:00:07",
            "vnet.link=eth2 new 10.7.0.1/24",
            "vnet.route=default via 10.9.0.1",
            "vnet.host=lan 10.9.0.1/24",
            "vnet.sysctl=net.ipv4.ip_forward=1",
        ];
        lab.modify(&mut a, &words).unwrap();
        assert_eq!(index(&a), before);
        let eth0 = inside(&a, "ip address show eth0");
        assert!(eth0.contains("10.9.0.21/24") && !eth0.contains("10.9.0.11/24"), "{eth0}");
        assert!(eth0.contains("mtu 1400") && eth0.contains("02:00:00:00:00:07"), "{eth0}");
        assert!(inside(&a, "ip link show eth1").contains("does not exist"));
        assert!(inside(&a, "ip route").contains("default via 10.9.0.1"));
        assert!(reaches(&a, "10.9.0.12") && reaches(&a, "10.9.0.1"));
        lab.assert_audit(&[&a, &b]);
        // The address that it gave up is free, one that it has is not.
        assert!(lab.try_jail("c", 3, &["vnet.link=eth0 lan 10.9.0.21/24"]).is_err());
        let c = lab.jail("c", 3, &["vnet.link=eth0 lan 10.9.0.11/24"]);
        // A change that fails is taken back.
        let words = ["vnet.link=eth0 lan 10.9.0.31/24", "vnet.route=default via 10.6.0.1", "vnet.host="];
        assert!(lab.modify(&mut a, &words).is_err());
        assert!(reaches(&a, "10.9.0.1") && inside(&a, "ip route").contains("default via 10.9.0.1"));
        assert!(inside(&a, "ip address show eth2").contains("10.7.0.1/24"));
        lab.assert_audit(&[&a, &b, &c]);
        lab.modify(&mut a, &["vnet.link=", "vnet.route=", "vnet.host="]).unwrap();
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_audit(&[&a, &b, &c]);
        lab.remove(vec![a, b, c]);
        lab.assert_clean();
    });
}
