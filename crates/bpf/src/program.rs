//! Programs given to the kernel.

use std::os::fd::OwnedFd;

use kernel::bpf::{Program, prog_load};

use crate::unavailable::{Result, Unavailable};

/// Loads a program; once more when it is refused, to know why.
pub(crate) fn load(program: &Program<'_>) -> Result<OwnedFd> {
    prog_load(program, &mut []).or_else(|errno| {
        let mut log = vec![0; 1 << 16];
        // Whatever it says this time, the first answer was the one without a log that may be too small.
        prog_load(program, &mut log).map_err(|_| Unavailable::Refused { errno, log: text(&log) })
    })
}

/// The text in a log.
fn text(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_at_its_nul() {
        assert_eq!(text(b"why not\n\0\0\0"), "why not");
        assert_eq!(text(b"why"), "why");
        assert_eq!(text(&[]), "");
    }
}
