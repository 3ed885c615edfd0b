//! Places where a test can do no harm.

use std::env;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;

use rustix::io::Result;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `body` on a thread of its own in new namespaces; says so and does nothing where that is refused.
pub fn apart(flags: UnshareFlags, body: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let thread = thread::Builder::new().name(name.clone()).spawn(move || {
        // SAFETY: the flags leave the table of file descriptors shared.
        match unsafe { unshare_unsafe(flags) } {
            Ok(()) => body(),
            Err(errno) => eprintln!("SKIP {name}: unshare: {errno}"),
        }
    });
    if let Err(panic) = thread.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs the calling test once more in a process of its own with an environment variable, or returns
/// `None` when this is that process.
pub fn again(variable: &str, value: &str) -> Option<ExitStatus> {
    if env::var_os("LAB_AGAIN").is_some() {
        return None;
    }
    let name = thread::current().name().unwrap().to_owned();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args([&name, "--exact", "--test-threads=1"]).env("LAB_AGAIN", "1").env(variable, value);
    let output = again.output().unwrap();
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Some(output.status)
}

/// Mounts an empty file system that this mount namespace alone sees, and returns where.
pub fn scratch() -> Result<&'static Path> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let path = Path::new("/tmp");
    mount("tmpfs", path, "tmpfs", MountFlags::empty(), None)?;
    Ok(path)
}
