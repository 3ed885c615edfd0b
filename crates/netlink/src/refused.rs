//! What the kernel says when it does not do as asked.

use std::{error::Error, fmt, io};

use rustix::io::Errno;

/// A request that failed: an errno, and the kernel's own words where it gave any.
///
/// The errno is the kernel's answer to the request, or that of the socket call that failed (`ENOBUFS`: answers
/// were lost), or `EBADMSG` for an answer that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    errno: Errno,
    says: Option<String>,
}

impl Refused {
    /// A refusal with the kernel's words, if there are any.
    #[must_use]
    pub fn new(errno: Errno, says: Option<String>) -> Self {
        Self { errno, says }
    }

    /// An answer that could not be decoded.
    pub(crate) fn malformed(what: impl fmt::Display) -> Self {
        Self::new(Errno::BADMSG, Some(what.to_string()))
    }

    /// The error number, never 0.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The text of `NLMSGERR_ATTR_MSG`; only a socket with `NETLINK_EXT_ACK` gets it, and only some refusals
    /// have one.
    #[must_use]
    pub fn says(&self) -> Option<&str> {
        self.says.as_deref()
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::new(errno, None)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from(self.errno).to_string();
        // The standard library appends the number, which tells a reader nothing that the text does not.
        f.write_str(error.split(" (os error").next().unwrap_or(&error))?;
        self.says.as_ref().map_or(Ok(()), |says| write!(f, ": {says}"))
    }
}

impl Error for Refused {}

impl From<Refused> for io::Error {
    /// Keeps the kind, and `raw_os_error` too unless the kernel's words have to be carried along.
    fn from(refused: Refused) -> Self {
        let bare = Self::from(refused.errno);
        if refused.says.is_none() { bare } else { Self::new(bare.kind(), refused) }
    }
}

/// The first message of a batch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// Its place in the batch, from 0. After a failure of the socket itself: the first message that had no
    /// answer by then.
    pub index: usize,
    /// What went wrong.
    pub refused: Refused,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {}: {}", self.index, self.refused)
    }
}

impl Error for BatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refused)
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        error.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_errno_then_the_kernels_words() {
        assert_eq!(Refused::from(Errno::EXIST).to_string(), "File exists");
        let refused = Refused::new(Errno::INVAL, Some("IPv4: Invalid prefix".into()));
        assert_eq!(refused.to_string(), "Invalid argument: IPv4: Invalid prefix");
        assert_eq!(
            BatchError { index: 2, refused }.to_string(),
            "message 2: Invalid argument: IPv4: Invalid prefix"
        );
    }

    #[test]
    fn io_error_keeps_what_it_can() {
        let bare = io::Error::from(Refused::from(Errno::OPNOTSUPP));
        assert_eq!(bare.raw_os_error(), Some(Errno::OPNOTSUPP.raw_os_error()));
        assert_eq!(bare.kind(), io::ErrorKind::Unsupported);
        let worded = io::Error::from(Refused::new(Errno::PERM, Some("no".into())));
        assert_eq!(worded.kind(), io::ErrorKind::PermissionDenied);
        assert!(worded.to_string().ends_with(": no"));
    }
}
