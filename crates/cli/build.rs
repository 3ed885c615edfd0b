//! Links the tools statically and at a fixed address, where the C library is there to be linked so. A jail takes
//! hardly longer than the start of a program, and a third of the start of a dynamic one is finding, mapping and
//! relocating libraries.
//!
//! rustc's own switch for it, `crt-static`, is for everything that is compiled, and no macro of a dependency can be
//! compiled so. Therefore the libraries that it names to the linker as shared ones are given another meaning here.

use std::{env, fs, path::Path, process::Command};

/// What rustc links with on Linux with glibc, and the static library in its place.
const LIBRARIES: [(&str, &str); 7] = [
    ("c", "libc.a"),
    ("dl", "libdl.a"),
    ("gcc_s", "libgcc_eh.a"),
    ("m", "libm.a"),
    ("pthread", "libpthread.a"),
    ("rt", "librt.a"),
    ("util", "libutil.a"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
    if !LIBRARIES.iter().all(|(_, archive)| is_there(archive)) {
        return;
    }
    let dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    for (name, archive) in LIBRARIES {
        // A linker script. The C library and the compiler's need each other.
        let script = format!("GROUP ( -l:{archive} -l:libc.a -l:libgcc_eh.a -l:libgcc.a )\n");
        fs::write(Path::new(&dir).join(format!("lib{name}.so")), script).expect("OUT_DIR can be written to");
    }
    println!("cargo::rustc-link-arg-bins=-static");
    println!("cargo::rustc-link-arg-bins=-L{dir}");
}

/// Whether the C compiler, which rustc links with, finds a library: it prints a path then, else the bare name.
fn is_there(library: &str) -> bool {
    let found = Command::new("cc").arg(format!("-print-file-name={library}")).output();
    found.is_ok_and(|found| found.stdout.contains(&b'/'))
}
