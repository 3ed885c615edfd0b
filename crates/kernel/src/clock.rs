//! Moments as people write them.

use std::mem::MaybeUninit;

/// A moment, in seconds since 1970, in local time: `2026-11-24T17:58:29+01:00` (ISO 8601, localtime(3)).
#[must_use]
pub fn local(seconds: u64) -> String {
    let Ok(time) = libc::time_t::try_from(seconds) else { return seconds.to_string() };
    let mut parts = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both point to what the call wants, and no other thread of ours changes the environment.
    if unsafe { libc::localtime_r(&raw const time, parts.as_mut_ptr()) }.is_null() {
        return seconds.to_string();
    }
    // SAFETY: the call has filled it in.
    let tm = unsafe { parts.assume_init() };
    let (sign, east) = (if tm.tm_gmtoff < 0 { '-' } else { '+' }, tm.tm_gmtoff.abs() / 60);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
        tm.tm_year + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        east / 60,
        east % 60,
    )
}
