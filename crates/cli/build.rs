//! Links the tools at a fixed address: a position-independent program of this size spends a third of its start on
//! relocating its tables, and a jail takes hardly longer than that start.

fn main() {
    println!("cargo::rustc-link-arg-bins=-no-pie");
    println!("cargo::rerun-if-changed=build.rs");
}
