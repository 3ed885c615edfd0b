//! Where the figures are taken: a folder, a cgroup, a tree of files, the product's and our own programs.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Of anything here: errors are only printed.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The place. What it made goes with it.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    cgroup: PathBuf,
    jail: PathBuf,
    number: Cell<u32>,
}

/// The PATH of root's logins on most systems: what a jail's command is looked for along.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long the kernel takes a jail down after its last process has ended, and more: 50 ms on an idle machine.
/// Measured on, the next one would pay for it.
const SETTLED: Duration = Duration::from_millis(90);

impl Lab {
    /// Makes it.
    ///
    /// # Errors
    /// Not root; no product, busybox or compiler; no cgroup2.
    pub fn new() -> Result<Self> {
        let jail = std::env::current_exe()?.with_file_name("jail");
        if !jail.exists() {
            return Err(format!("{}: not there\nhint: cargo build --release first", jail.display()).into());
        }
        let pid = std::process::id();
        let dir = Path::new("/run").join(format!("vimage-figures-{pid}"));
        let cgroup = cgroup2()?.join(format!("figures-{pid}"));
        fs::create_dir(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        // From here on it is removed again.
        let lab = Self { jail: dir.join("jail"), dir, cgroup, number: Cell::new(0) };
        fs::create_dir(&lab.cgroup)
            .map_err(|e| format!("cannot make the cgroup {}: {e}\nhint: be root", lab.cgroup.display()))?;
        install(&jail, &lab.jail)?;
        for tool in ["jdb", "jexec", "jls"] {
            install(&jail.with_file_name(tool), &lab.jail.with_file_name(tool))?;
        }
        fs::create_dir(lab.run())?;
        // As /run is.
        finish(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(lab.run()))?;
        for dir in ["bin", "dev", "mnt", "proc", "sys", "tmp"] {
            fs::create_dir_all(lab.tree().join(dir))?;
        }
        let busybox = PATH.split(':').map(|dir| Path::new(dir).join("busybox")).find(|p| p.exists());
        let busybox = busybox.ok_or("no busybox on PATH\nhint: apt install busybox-static")?;
        fs::copy(busybox, lab.tree().join("bin/busybox"))?;
        for name in ["true", "sh"] {
            symlink("busybox", lab.tree().join("bin").join(name))?;
        }
        finish(Command::new("chroot").arg(lab.tree()).arg("/bin/true")).map_err(|e| {
            format!("{e}\nhint: busybox must be linked statically: apt install busybox-static")
        })?;
        lab.compile("floor", include_str!("../floor.c"), &lab.floor())?;
        lab.compile("ipc", include_str!("../ipc.c"), &lab.ipc())?;
        lab.compile("net", include_str!("../net.c"), &lab.net())?;
        lab.compile("busy", include_str!("../busy.c"), &lab.tree().join("bin/busy"))?;
        Ok(lab)
    }

    fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.run().join("jail")
    }

    /// The jails' root.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// The program that does the kernel's part of a jail and no more.
    pub fn floor(&self) -> PathBuf {
        self.dir.join("floor")
    }

    /// The program that uses ipc: in the tree, as bin/ipc.
    pub fn ipc(&self) -> PathBuf {
        self.tree().join("bin/ipc")
    }

    /// The program that uses sockets: in the tree, as bin/net.
    pub fn net(&self) -> PathBuf {
        self.tree().join("bin/net")
    }

    /// The cgroup of those that the floor makes.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The product's program.
    pub fn program(&self) -> &Path {
        &self.jail
    }

    /// A script for bash(1), which finds the product.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.quiet(Path::new("bash"));
        command.args(["-c", script]).env("PATH", format!("{}:{PATH}", self.dir.display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A directory for a command to work in, which is the caller's to remove.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch_dir(&self) -> Result<PathBuf> {
        let dir = self.dir.join("work");
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// A file for a command to write to.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// So many numbers that were not given before; the first of them.
    pub fn numbers(&self, count: u32) -> u32 {
        let first = self.number.get() + 1;
        self.number.set(first + count);
        first
    }

    /// Linked statically, as the tree has no libraries, and since the floor has nothing to load.
    fn compile(&self, name: &str, source: &str, to: &Path) -> Result<()> {
        let file = self.dir.join(name).with_extension("c");
        fs::write(&file, source)?;
        let linked = file.with_extension("out");
        finish(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&linked).arg(&file))
            .map_err(|e| format!("{e}\nhint: apt install build-essential"))?;
        install(&linked, to)
    }

    /// The product's jail(8) in the lab's own store.
    pub fn jail<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Command {
        let mut command = self.quiet(&self.jail);
        command.args(words);
        command
    }

    /// The words of the jail that is measured: with the lab's tree.
    pub fn path(&self) -> String {
        format!("path={}", self.tree().display())
    }

    /// A program without standard input and output, in an environment that is the same everywhere.
    pub fn quiet(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("JAIL_ROOT", self.store());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The product's jdb(8).
    pub fn jdb<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Command {
        let mut command = self.quiet(&self.jail.with_file_name("jdb"));
        command.args(words);
        command
    }

    /// The names of the jails that there are.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store().join("names")).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).collect()
    }

    /// Removes all jails of the lab, when those that have ended are gone.
    ///
    /// # Errors
    /// jail(8) fails.
    pub fn remove_all(&self) -> Result<()> {
        self.sweep()?;
        let names = self.names();
        if !names.is_empty() {
            finish(self.jail(["-r"]).args(names))?;
        }
        self.sweep()
    }

    /// Waits until nothing is left of the jails that were removed, for ten seconds at most.
    ///
    /// # Errors
    /// jail(8) cannot be started; something is left.
    pub fn all_gone(&self) -> Result<()> {
        for _ in 0..200 {
            self.sweep()?;
            if fs::read_dir(self.store().join("jails"))?.count() == self.names().len() {
                return Ok(());
            }
        }
        Err("jails that were removed are still dying".into())
    }

    /// Any command takes up what the one before had to leave to the kernel. This one finds no jail of its own.
    fn sweep(&self) -> Result<()> {
        settle();
        self.jail(["-q", "-r", "none"]).stderr(Stdio::null()).status()?;
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let complain = |done: Result<()>| {
            if let Err(error) = done {
                eprintln!("figures: {error}");
            }
        };
        if self.run().exists() {
            complain(self.remove_all());
        }
        complain(fs::remove_dir(&self.cgroup).or_else(gone).map_err(Into::into));
        if self.run().exists() {
            complain(finish(Command::new("umount").arg("-l").arg(self.run())));
        }
        complain(fs::remove_dir_all(&self.dir).map_err(Into::into));
    }
}

fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Puts a program where it is run from, as an installation does. What a linker has written lies in memory in single
/// pages, and a copy of it in larger pieces, from which it starts sooner.
fn install(program: &Path, to: &Path) -> Result<()> {
    fs::copy(program, to)?;
    Ok(())
}

/// Waits until the kernel has taken down what has ended.
pub fn settle() {
    std::thread::sleep(SETTLED);
}

/// Runs a command to its end.
///
/// # Errors
/// It failed.
pub fn finish(command: &mut Command) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}").into()),
        Err(error) => Err(format!("{command:?}: {error}").into()),
    }
}

/// Runs a command to its end. Returns how long it took, in microseconds, from before its start.
///
/// # Errors
/// It failed.
pub fn time(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let done = finish(command);
    let took = start.elapsed();
    done.map(|()| took.as_secs_f64() * 1e6)
}

/// Where the cgroup2 file system is mounted.
fn cgroup2() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let at = fields.next()?;
        (fields.next()? == "cgroup2").then(|| at.into())
    });
    Ok(found.ok_or("no cgroup2 file system is mounted\nhint: mount -t cgroup2 none /sys/fs/cgroup")?)
}
