//! Virtual machines: as the program of a jail, and on the host beside jails.

use std::time::{Duration, Instant};

use vimage_tests::{Lab, guest, lab_test};

use crate::shell::{all_gone, quiet, refused, run};

/// As `Lab::until`, for a machine that is emulated on a machine that has much to do.
#[track_caller]
fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !condition() {
        assert!(Instant::now() < deadline, "still not so after 100 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The command that starts a guest with this address, whose card is the tap `tap0`. It meets its peers one after the
/// other. What it starts from is in `dir`; `console` is where it says what it does.
fn machine(dir: &str, console: &str, address: &str, peers: &str) -> String {
    format!(
        "qemu-system-x86_64 -accel tcg -m 128 -nodefaults -no-user-config -display none -no-reboot \
         -serial file:{console} -kernel {dir}/kernel -initrd {dir}/initrd \
         -append \"console=ttyS0 quiet panic=-1 ip4={address} peers={peers}\" \
         -netdev tap,id=n,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=n,mac=02:00:00:00:00:20,romfile="
    )
}

/// What is in a directory for guests, and for jails that serve a page.
fn files(lab: &Lab) {
    lab.sh("mkdir /tmp/guest /tmp/b /tmp/c; echo b >/tmp/b/index.html; echo c >/tmp/c/index.html");
    guest::write("/tmp/guest".as_ref(), "guest\n");
}

lab_test!(a_guest_a_vnet_jail_and_a_classic_jail_meet_on_a_segment for root;
needs [CgroupV2, Program("qemu-system-x86_64"), Program("busybox"), Program("ping"), Device("/dev/net/tun"), GuestKernel];
with timeout(240); |lab| {
    files(lab);
    let before = lab.snapshot();
    // Beside the example's machine and its jail with a stack, a jail in the host's that has one of its addresses.
    let mut conf = include_str!("../../../examples/guest.conf").to_owned();
    for (from, to) in [
        ("\"/srv/guest\"", "\"/tmp/guest\""),
        ("\"console=ttyS0 quiet ip=10.9.0.20::10.9.0.1:255.255.255.0:guest:eth0:off\"",
         "\"console=ttyS0 quiet panic=-1 ip4=10.9.0.20/24 peers=10.9.0.12,10.9.0.2\""),
        ("-accel kvm -accel tcg", "-accel tcg"),
        ("lan 10.9.0.1/24", "lan 10.9.0.1/24 10.9.0.2/24"),
        ("vnet.route =", "mount = \"/tmp/b /srv none ro\"; exec.start = \"busybox httpd -p 80 -h /srv\"; vnet.route ="),
    ] {
        assert!(conf.contains(from), "{from}");
        conf = conf.replace(from, to);
    }
    std::fs::write("/tmp/jail.conf", conf).unwrap();
    lab.sh("jail -q -f /tmp/jail.conf -c");
    quiet(lab, r#"jail -c name=c ip4.addr=10.9.0.2 user=inherit allow.raw_sockets persist mount="/tmp/c /srv none ro" \
        exec.start="busybox httpd -p 80 -h /srv""#);
    let console = || run(lab, "jexec guest cat /tmp/console").to_string();
    soon("the guest has met all", || {
        let said = console();
        assert!(lab.sh("jexec guest pgrep -c qemu || :") == "1\n", "{said}");
        said.contains("the guest has met all")
    });
    let said = console();
    assert!(said.contains("10.9.0.12 served b\r\n10.9.0.2 served c\r\n"), "{said}");
    for (jail, ping) in [("web", "ping"), ("c", "ping -I 10.9.0.2")] {
        lab.sh(&format!("jexec {jail} {ping} -n -c1 -w5 10.9.0.20"));
        assert_eq!(lab.sh(&format!("jexec {jail} busybox wget -q -O - http://10.9.0.20/")), "guest\n");
    }
    assert_eq!(lab.sh("jexec web busybox wget -q -O - http://10.9.0.2/; jexec c busybox wget -q -O - http://10.9.0.12/"), "c\nb\n");
    lab.sh("jexec web ping -n -c1 -w5 10.9.0.2; jexec c ping -I 10.9.0.2 -n -c1 -w5 10.9.0.12; jdb audit --all");
    quiet(lab, "jail -r guest");
    assert_eq!(lab.sh("pgrep qemu || :; ip -o link | grep tap || :"), "");
    quiet(lab, "jail -q -r web c");
    all_gone(lab);
    assert_eq!(lab.snapshot().since(&before), [""; 0]);
});

lab_test!(a_guest_of_the_hosts_is_on_a_segment_while_a_jail_asks_for_it for root;
needs [CgroupV2, Program("qemu-system-x86_64"), Program("busybox"), Program("ping"), Device("/dev/net/tun"), GuestKernel];
with timeout(240); |lab| {
    files(lab);
    let mut machine = lab.spawn(&format!("exec {}", machine("/tmp/guest", "/tmp/console", "10.9.0.20/24", "10.9.0.12")));
    soon("there is a tap", || run(lab, "ip link set tap0 up").status.success());
    let state = || lab.sh("ip -o link show tap0");
    let before = state();
    let create = r#"jail -c name=b vnet vnet.link="eth0 lan 10.9.0.12/24" vnet.member="lan tap0" persist \
        mount="/tmp/b /srv none ro" exec.start="busybox httpd -p 80 -h /srv""#;
    for _ in 0..2 {
        quiet(lab, create);
        soon("the guest has met the jail", || {
            std::fs::read_to_string("/tmp/console").unwrap().contains("10.9.0.12 served b\r\n")
        });
        lab.sh("jexec b ping -n -c1 -w20 10.9.0.20; jdb audit --all");
        assert_eq!(lab.sh("jexec b busybox wget -q -O - http://10.9.0.20/"), "guest\n");
        quiet(lab, "jail -r b");
        assert_eq!(state(), before);
    }
    // It ends while it is on the segment.
    quiet(lab, create);
    machine.kill();
    let _killed = machine.finish();
    quiet(lab, "jail -r b");
    all_gone(lab);
    assert_eq!(lab.sh("ip -o link | grep tap || :"), "");
});

lab_test!(a_jail_is_granted_the_devices_that_the_host_has for root; needs [CgroupV2]; |lab| {
    // What is called kvm and tun is /dev/null.
    lab.sh("mount -t tmpfs -o mode=755 devices /mnt; cd /mnt; mkdir net
            mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
            mknod -m 660 kvm c 1 3; chown 0:7 kvm; mknod -m 666 net/tun c 1 3; mount --move /mnt /dev");
    let has = |jail: &str| lab.sh(&format!("jexec {jail} sh -c 'cd /dev; stat -c \"%n %a %u %g\" kvm net/tun 2>/dev/null || :'"));
    let both = "kvm 660 0 7\nnet/tun 666 0 0\n";
    for given in ["", "user=inherit"] {
        for (more, devices) in [("vnet", ""), ("vnet allow.vmm", both), ("allow.vmm", "kvm 660 0 7\n")] {
            quiet(lab, &format!("jail -c name=a persist {given} {more}"));
            assert_eq!(has("a"), devices, "{given} {more}");
            quiet(lab, "jail -m name=a devfs_ruleset=5");
            assert_eq!(has("a"), devices, "{given} {more}");
            quiet(lab, "jail -r a");
        }
    }
    // Only with its parent's consent.
    quiet(lab, "jail -c name=a vnet children.max=2 persist; jail -c name=v vnet allow.vmm children.max=2 persist; jail -c name=v.b vnet allow.vmm persist");
    assert_eq!((has("v.b").as_str(), has("a").as_str()), (both, ""));
    assert!(run(lab, "jail -c name=a.b vnet allow.vmm persist").fails(1).contains("allow.vmm"));
    quiet(lab, "jail -c name=v.c vnet persist");
    assert_eq!(has("v.c"), "");
    refused(lab, "jail -m name=v allow.novmm", "jail: allow.vmm cannot be changed after creation\nhint: a process that runs cannot be given capabilities, nor be freed of its filter\n");
    quiet(lab, "jail -q -r a v");
    // What is not there is said.
    lab.sh("rm /dev/kvm");
    let made = run(lab, "jail -c name=a vnet allow.vmm persist");
    assert_eq!((made.status.success(), made.stderr.as_str()), (true, "jail: a: allow.vmm: the host has no /dev/kvm\n"));
    assert_eq!(has("a"), "net/tun 666 0 0\n");
    quiet(lab, "jail -r a");
    refused(lab, "jail -c name=a allow.vmm persist", "jail: allow.vmm: the host has no /dev/kvm\n");
    lab.sh("rm /dev/net/tun");
    refused(lab, "jail -c name=a vnet allow.vmm persist", "jail: allow.vmm: the host has no /dev/kvm and no /dev/net/tun\n");
    lab.sh("umount /dev");
});
