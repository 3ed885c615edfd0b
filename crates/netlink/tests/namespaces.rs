//! Ids of namespaces, and the notice of their death.

mod alone;

use std::{os::fd::AsFd, time::Duration};

use alone::{Netns, alone, open};
use netlink::{NsidEvents, nsid};
use rustix::io::Errno;

#[test]
fn a_namespace_dies() {
    alone("a_namespace_dies", || {
        let mut socket = open();
        let mut events = NsidEvents::open().unwrap();
        let (first, second) = (Netns::new(), Netns::new());
        let (one, two) = (first.file(), second.file());
        assert_eq!(socket.nsid(one.as_fd()).unwrap(), None);
        let (set_one, set_two) = (nsid::set(one.as_fd(), Some(42)), nsid::set(two.as_fd(), None));
        socket.batch(&[set_one, set_two]).unwrap();
        assert_eq!(socket.nsid(one.as_fd()).unwrap(), Some(42));
        let auto = socket.nsid(two.as_fd()).unwrap().unwrap();
        assert!(auto >= 0 && auto != 42);
        let error = socket.batch(&[nsid::set(one.as_fd(), Some(43))]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::EXIST);

        // That ids were given is not what is waited for.
        assert_eq!(events.wait(Some(Duration::from_millis(50))).unwrap(), None);
        assert_eq!(events.wait(Some(Duration::ZERO)).unwrap(), None);
        drop((first, one));
        assert_eq!(events.wait(Some(Duration::from_secs(10))).unwrap(), Some(42));
        assert_eq!(events.wait(Some(Duration::ZERO)).unwrap(), None);
        drop((second, two));
        assert_eq!(events.wait(None).unwrap(), Some(auto));
    });
}

#[test]
fn only_a_namespace_has_an_id() {
    alone("only_a_namespace_has_an_id", || {
        let file = std::fs::File::open("/dev/null").unwrap();
        let refused = open().nsid(file.as_fd()).unwrap_err();
        assert_eq!(refused.errno(), Errno::INVAL);
    });
}
