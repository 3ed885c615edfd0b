//! A virtual machine that is small and starts in seconds: Debian's kernel, and busybox in an initial file system.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cmd::binaries;

/// The modules of a network card, in the order in which they can be loaded, below `/lib/modules/RELEASE/kernel`.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// The first process. `ip4` and `peers` are words of the kernel's command line. It serves a page, and says on the
/// console which of its peers have answered a ping and served one.
const INIT: &str = r#"#!/bin/busybox sh
box=/bin/busybox
$box mount -t proc proc /proc
$box mount -t devtmpfs dev /dev
for module in /modules/*; do $box insmod $module; done
$box ip link set lo up
$box ip address add $ip4 dev eth0
$box ip link set eth0 up
$box httpd -p 80 -h /www
echo "the guest is up"
fetch() { printf 'GET / HTTP/1.0\r\n\r\n' | $box nc -w 2 $1 80 | $box tail -n 1; }
for peer in $(echo $peers | $box tr , ' '); do
    until $box ping -c 1 -W 2 $peer >/dev/null && page=$(fetch $peer) && test "$page"; do $box sleep 0.1; done
    echo "$peer served $page"
done
echo "the guest has met all"
while :; do $box sleep 1000; done
"#;

/// Where a kernel is that a virtual machine can have, with its modules.
pub(crate) fn kernel() -> Option<(PathBuf, PathBuf)> {
    let releases = fs::read_dir("/lib/modules").ok()?.flatten().map(|entry| entry.path());
    releases
        .filter_map(|dir| {
            let kernel = Path::new("/boot").join(format!("vmlinuz-{}", dir.file_name()?.to_str()?));
            let whole = kernel.exists() && MODULES.iter().all(|module| module_file(&dir, module).exists());
            whole.then_some((kernel, dir))
        })
        .max()
}

fn module_file(dir: &Path, module: &str) -> PathBuf {
    dir.join("kernel").join(module).with_extension("ko")
}

/// The first process of one that runs a script, in a root that can be left, as that of every system.
const ROOT: &str = r#"#!/bin/busybox sh
box=/bin/busybox
$box mkdir /new; $box mount -t tmpfs none /new
$box cp -a /bin /script /new; cd /new; $box mkdir dev etc proc root run sys tmp var var/tmp
exec $box switch_root /new /bin/busybox sh /script
"#;

/// As [`write`], of one that runs a script with busybox and the product's tools.
///
/// # Panics
/// As [`write`].
pub fn write_script(dir: &Path, script: &str) {
    let (kernel, _) = kernel().expect("the test needs GuestKernel");
    fs::copy(kernel, dir.join("kernel")).expect("there is room for a kernel");
    let mut archive = Archive::default();
    archive.add("bin", 0o40755, b"");
    archive.add("bin/busybox", 0o100_755, &read("/bin/busybox".as_ref()));
    archive.add("bin/jail", 0o100_755, &read(&binaries().join("jail")));
    for name in ["jls", "jexec", "jdb", "rctl"] {
        archive.add(&format!("bin/{name}"), 0o120_777, b"jail");
    }
    archive.add("script", 0o100_644, script.as_bytes());
    archive.add("init", 0o100_755, ROOT.as_bytes());
    archive.add("TRAILER!!!", 0, b"");
    fs::write(dir.join("initrd"), archive.0).expect("there is room for a file system");
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes what a virtual machine starts from into a directory: `kernel`, and `initrd` with a page that says `page`.
///
/// # Panics
/// The test did not say that it needs a [`Need::GuestKernel`](crate::Need::GuestKernel).
pub fn write(dir: &Path, page: &str) {
    let (kernel, modules) = kernel().expect("the test needs GuestKernel");
    fs::copy(kernel, dir.join("kernel")).expect("there is room for a kernel");
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "proc", "modules", "www"] {
        archive.add(dir, 0o40755, b"");
    }
    archive.add("bin/busybox", 0o100_755, &read(Path::new("/bin/busybox")));
    for (n, module) in MODULES.iter().enumerate() {
        archive.add(&format!("modules/{n}"), 0o100_644, &read(&module_file(&modules, module)));
    }
    archive.add("www/index.html", 0o100_644, page.as_bytes());
    archive.add("init", 0o100_755, INIT.as_bytes());
    archive.add("TRAILER!!!", 0, b"");
    fs::write(dir.join("initrd"), archive.0).expect("there is room for a file system");
}

/// An archive as the kernel unpacks it: Documentation/driver-api/early-userspace/buffer-format.rst.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        let number = self.0.len();
        let (size, length) = (content.len(), name.len() + 1);
        let head = format!(
            "070701{number:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{length:08x}{0:08x}",
            0, 1
        );
        for (bytes, multiple) in [(head.as_bytes(), 1), (name.as_bytes(), 1), (b"\0", 4), (content, 4)] {
            self.0.extend_from_slice(bytes);
            self.0.resize(self.0.len().next_multiple_of(multiple), 0);
        }
    }
}
