use super::{Kind, keeps_a_store, lab_test};
use crate::devices::Host;

// With rules of its own a jail opens what these show, and with none what every jail has: by no name, and by no node
// that its root makes.
lab_test!(no_other_device_is_opened for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    let kinds = Kind::all(lab).into_iter().chain(Kind::shared(lab));
    let _host = Host::new(lab, "[toys=10]\nadd include $devfsrules_jail\nadd path toy unhide mode 666\n");
    let tries = [
        ("openat -100 /dev/null 2", "ok", "ok"),
        ("openat -100 /dev/toy 2", "ENOENT", "ok"),
        ("openat -100 /dev/disk0 0", "ENOENT", "ENOENT"),
        ("openat -100 /dev/mem 0", "ENOENT", "ENOENT"),
        ("openat -100 /dev/net/tun 2", "ENOENT", "ENOENT"),
        ("mknodat -100 /dev/x 0x61b0 0x800", "EPERM", "EPERM"),
        ("mknodat -100 /dev/x 0x21b0 0x101", "EPERM", "EPERM"),
        ("mknodat -100 /dev/x 0x21b0 0x103", "EPERM", "EPERM"),
        ("mknodat -100 /dev/shm/x 0x61b0 0x800", "EPERM", "EPERM"),
        // A file of the jail's own in /dev is no device, and the mount cannot be changed.
        ("mknodat -100 /dev/file 0x81b0 0; openat -100 /dev/file 2", "ok", "ok"),
        ("mount none /dev none 0x20 0", "EPERM", "EPERM"),
    ];
    let calls: Vec<_> = tries.iter().map(|(calls, ..)| *calls).collect();
    let calls = calls.join("\n") + "\n";
    for kind in kinds {
        let plain: Vec<_> = tries.iter().map(|(_, answer, _)| *answer).collect();
        assert_eq!(kind.attempt(lab, &calls), plain, "{kind:?}");
        let toys: Vec<_> = tries.iter().map(|(.., answer)| *answer).collect();
        assert_eq!(kind.attempt_with(lab, "devfs_ruleset=toys", &calls), toys, "{kind:?}");
    }
});
