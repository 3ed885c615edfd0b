//! The kernel's types with anything in their bytes: never a panic, and nothing is found that leads outside.
#![no_main]

use bpf::btf::{Btf, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let wanted = [Kind::Function, Kind::Struct].map(|kind| (kind, "a"));
    for id in btf.find(wanted).into_iter().flatten() {
        for path in [&["a"][..], &["a", "b"], &["b", "a", "c"]] {
            if let Some(field) = btf.field(id, path) {
                btf.pointee(field.id);
                btf.integer(field.id);
            }
        }
    }
});
