//! What the programs that hold a classic jail to its addresses cost its sockets.

use std::process::Command;

use crate::{
    ipc::{jail_of, used},
    lab::{Lab, Result, finish, settle, time},
    pairs::{Pairs, head, in_turn},
};

/// The host's address and the jail's, both on an interface without a wire.
const ADDRESSES: [&str; 2] = ["10.254.77.1", "10.254.77.2"];
/// What is printed of one run.
const LINES: usize = 4;

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, pairs: usize) -> Result<()> {
    let link = |script: &str| finish(&mut lab.shell(script));
    link(&format!(
        "ip link add classic0 type bridge; ip link set classic0 up; ip link set lo up; \
         for ip in {}; do ip addr add $ip/24 dev classic0; done",
        ADDRESSES.join(" ")
    ))?;
    let [host, own] = ADDRESSES;
    let addresses = format!("ip4.addr={own}");
    for (against, others) in [("the host", None), ("a jail of all addresses", Some("ip4=inherit"))] {
        let inside = || used(lab, net(lab, &addresses, own), LINES);
        let outside = || {
            let command = match others {
                Some(others) => net(lab, others, host),
                None => {
                    let mut command = lab.quiet(&lab.net());
                    command.arg(host);
                    command
                }
            };
            used(lab, command, LINES)
        };
        let runs = in_turn(pairs, inside, outside)?;
        head(&format!("classic: one operation in a jail of one address, against {against}"), "jail", "other");
        for n in 0..LINES {
            let pairs = runs.iter().map(|[inside, outside]| (inside[n].1, outside[n].1));
            Pairs::of(pairs).print(&runs[0][0][n].0, "ns");
        }
    }
    head("classic: a jail made, run and removed, against one of all addresses", "one", "all");
    let measured = Pairs::measure(pairs, |_, is_one| {
        settle();
        time(&mut jail_of(lab, &[if is_one { &addresses } else { "ip4=inherit" }], "true", &[]))
    })?;
    measured.print("one address", "us");
    measured.print_difference("us");
    link("ip link del classic0")?;
    lab.remove_all()
}

/// The program that uses sockets, in a jail.
fn net(lab: &Lab, parameter: &str, address: &str) -> Command {
    jail_of(lab, &[parameter], "net", &[address])
}
