//! A namespace that belongs to a user namespace below the caller's.
//!
//! Whoever makes a user namespace has every capability over it as its owner, as long as it stays in the one above
//! (user_namespaces(7)), whatever it drops there. So it rules what belongs to that user namespace, and nothing else.

use std::{
    ffi::CString,
    rc::Rc,
    sync::atomic::{AtomicI32, Ordering::SeqCst},
};

use linux_raw_sys::general as sys;

use crate::{
    namespace::Kind,
    spawn::{self, How},
    step::{End, Gates, Program, Step, call},
};

/// What [`Step::Below`] needs: a process makes the two namespaces, opens the one that is wanted, and ends. The
/// caller itself would be in the user namespace that it makes, and not come back.
#[derive(Debug)]
pub struct Below {
    kind: Kind,
    pub(crate) maker: Program,
    opened: Rc<AtomicI32>,
}

impl Below {
    /// Of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let opened = Rc::new(AtomicI32::new(-1));
        // No name of a kind has a null byte.
        let path = CString::new(format!("/proc/self/ns/{}", kind.name())).unwrap_or_default();
        let steps = vec![Step::Open(path, opened.clone())];
        Self { kind, maker: Program::new(steps, End::Exit).immortal(), opened }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Makes the namespace and joins it: 0, or the negative error number.
    ///
    /// # Safety
    /// As [`Program::run`].
    pub(crate) unsafe fn take(&self, gates: &Gates, parent: i32) -> isize {
        let control = &self.maker.control;
        let namespaces = u64::from(Kind::User.flag() | self.kind.flag());
        let how = How { namespaces, vfork: true, ..How::default() };
        // SAFETY: the maker is part of the running program, so what was promised of that holds of it.
        let pid = unsafe { spawn::clone(&self.maker, how, gates, parent) };
        if pid < 0 {
            return pid;
        }
        // It has ended: nobody is to take it for a process that is left.
        let pidfd = control.pidfd.swap(-1, SeqCst);
        call(sys::__NR_close, [pidfd as usize, 0, 0, 0, 0, 0]);
        // Nothing to collect where our caller ignores the end of children.
        call(sys::__NR_wait4, [pid as usize, 0, sys::__WALL as usize, 0, 0, 0]);
        let ns = self.opened.load(SeqCst);
        if ns < 0 {
            return -(control.errno.load(SeqCst).max(1) as isize);
        }
        let joined = call(sys::__NR_setns, [ns as usize, self.kind.flag() as usize, 0, 0, 0, 0]);
        call(sys::__NR_close, [ns as usize, 0, 0, 0, 0, 0]);
        joined
    }
}
