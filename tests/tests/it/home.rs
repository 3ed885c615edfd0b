//! Interfaces that are not ours come home: as they were, to where they were, before the command returns.

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, gives, quiet, run};

/// Makes an interface of the host's, whose other end stays here.
fn card(lab: &Lab, state: &str) {
    lab.sh(&format!("ip link add card0 address 02:00:00:00:00:77 mtu 1400 type veth peer name card1; ip link set card1 up; ip link set card0 {state}"));
    lab.leaves_on_purpose("link card");
}

/// Name, flags, MTU and MAC of the interface as a stack has it.
fn state(lab: &Lab, stack: &str) -> String {
    lab.sh(&format!(
        "{stack} ip -o link show card0 | grep -o 'card0\\|mtu [0-9]*\\|link/ether [0-9a-f:]*\\|[<,]UP[,>]'"
    ))
}

/// What the jail's root does to it.
const SPOIL: &str =
    "ip link set card0 down name other address 02:00:00:00:00:99 mtu 1300; ip link set other up";

lab_test!(an_interface_comes_home_up_or_down_as_it_was for root; needs [CgroupV2]; |lab| {
    for up in ["up", "down"] {
        card(lab, up);
        let before = state(lab, "");
        assert_eq!(before.contains("UP"), up == "up", "{before}");
        quiet(lab, "jail -c name=a vnet vnet.interface=card0 persist");
        lab.sh(&format!("jexec a sh -c '{SPOIL}'"));
        // In one line, so that nothing comes between.
        lab.sh("jail -r a; ip link show card0");
        assert_eq!(state(lab, ""), before);
        lab.sh("ip link del card0");
    }
});

lab_test!(an_interface_of_a_parent_jail_comes_home_to_it for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    let on_the_host = state(lab, "");
    quiet(lab, "jail -c name=a children.max=2 vnet vnet.interface=card0 persist");
    lab.sh("jexec a ip link set card0 mtu 1350 up");
    let before = state(lab, "jexec a");
    assert!(before.contains("mtu 1350") && before.contains("UP"), "{before}");
    quiet(lab, "jail -c name=a.b vnet vnet.interface=card0 persist");
    lab.sh(&format!("jexec a.b sh -c '{SPOIL}'; jail -r a.b"));
    assert_eq!(state(lab, "jexec a"), before);
    // From the innermost to the host, by one removal of both.
    quiet(lab, "jail -c name=a.b vnet vnet.interface=card0 persist; jail -r a");
    assert_eq!(state(lab, ""), on_the_host);
    lab.sh("ip link del card0");
});

lab_test!(a_jail_that_ends_gives_its_interface_back_before_its_command_returns for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    let before = state(lab, "");
    for (command, status) in [("true", 0), ("sh -c 'exit 3'", 1), ("sh -c 'kill -9 $$'", 1), ("sh -c 'ip link set card0 mtu 1300 up'", 0)] {
        lab.sh(&format!("jail -c name=a vnet vnet.interface=card0 command={command} || test {status} = 1; ip link show card0"));
        assert_eq!(state(lab, ""), before, "{command}");
    }
    lab.sh("ip link del card0");
});

lab_test!(an_interface_whose_name_was_taken_comes_home_by_another_and_that_is_said for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    quiet(lab, "jail -c name=a vnet vnet.interface=card0 persist; ip link add card0 type bridge");
    gives(lab, "jail -r a", 0, "", "jail: a: vnet.interface: \"card0\" came home as card0.1: its name was taken\n");
    let home = lab.sh("ip -o link show card0.1");
    assert!(home.contains("02:00:00:00:00:77") && home.contains(",UP") && home.contains("alias was card0"), "{home}");
    lab.sh("ip link del card0; ip link del card0.1");
});

lab_test!(a_name_that_was_taken_by_one_just_like_it_is_not_mistaken_for_it for root; needs [CgroupV2]; |lab| {
    // Of one kind and, as the site wants it, with one address.
    card(lab, "up");
    quiet(lab, "jail -c name=a vnet vnet.interface=card0 persist");
    lab.sh("ip link add card0 address 02:00:00:00:00:77 mtu 1400 type veth peer name twin1");
    lab.leaves_on_purpose("link twin");
    let _said = lab.sh("jail -r a");
    assert!(lab.sh("ip -o link show card0").contains("card0@twin1"));
    assert!(lab.sh("ip -o link show card0.1").contains("card0.1@card1"));
    lab.sh("ip link del card0; ip link del card0.1");
});

lab_test!(an_interface_that_the_jail_deleted_is_not_waited_for for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    quiet(lab, "jail -c name=a vnet vnet.interface=card0 persist; jexec a ip link del card0");
    gives(lab, "jail -r a", 0, "",
        "jail: a: vnet.interface: \"card0\" does not come home: a process of the jail has deleted it or moved it on\n");
    all_gone(lab);
});

/// Kills a command at each point of its way, in turn, until it passes them all.
fn killed_everywhere(lab: &Lab, line: &str, mut each: impl FnMut(&str)) {
    for n in 1..300 {
        let fault = format!("kill:{n}");
        let done = lab.cmd("sh").args(["-c", line]).env("JAIL_FAULT", &fault).run().status.success();
        each(&fault);
        if done {
            return assert!(n > 20, "there are only {n} points");
        }
    }
    panic!("the points never end");
}

lab_test!(a_command_that_is_killed_anywhere_costs_nobody_an_interface for root; needs [CgroupV2]; |lab| {
    const CREATE: &str = "exec jail -c name=a vnet vnet.link='eth0 lan' vnet.interface=card0 persist";
    card(lab, "up");
    let before = state(lab, "");
    killed_everywhere(lab, CREATE, |fault| {
        let swept = run(lab, "jail -q -r a");
        assert_eq!(state(lab, ""), before, "{fault}: {swept}");
    });
    lab.sh(CREATE);
    // While another has its name.
    killed_everywhere(lab, "ip link add card0 type bridge; exec jail -r a", |fault| {
        lab.sweep();
        assert!(lab.sh("ip -o link show card0.1").contains("02:00:00:00:00:77"), "{fault}");
        lab.sh(&format!("ip link del card0; ip link set card0.1 down name card0 alias '' up; {CREATE}"));
    });
    quiet(lab, "jail -r a; ip link del card0");
    all_gone(lab);
});
