use kernel::probe::{Feature, has};

use crate::lab;

#[test]
fn this_kernel_has_what_its_release_says() {
    let name = rustix::system::uname();
    let release = name.release().to_str().unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap());
    if (numbers.next(), numbers.next()) < (Some(6), Some(18)) || !initial_root() {
        return eprintln!("SKIP this_kernel_has: not the machine's root on Linux 6.18");
    }
    for feature in Feature::ALL {
        assert!(has(feature), "{}", feature.name());
        assert!(has(feature), "the second time: {}", feature.name());
    }
}

fn initial_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[test]
fn a_masked_feature_is_absent() {
    let mask: Vec<&str> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    if let Some(status) = lab::again("JAIL_MASK", &mask.join(",")) {
        return assert!(status.success());
    }
    for feature in Feature::ALL {
        assert!(!has(feature), "{}", feature.name());
    }
}
