use kernel::clock::local;

use crate::lab;

#[test]
fn a_moment_is_written_in_local_time() {
    if let Some(status) = lab::again("TZ", "XYZ-5:30") {
        return assert!(status.success());
    }
    assert_eq!(local(0), "1970-01-01T05:30:00+05:30");
    assert_eq!(local(1_772_323_199), "2026-03-01T05:29:59+05:30");
    assert_eq!(local(u64::MAX), u64::MAX.to_string());
}
