//! The end of a network stack with a connection whose peer is dead, and that no process has any more.

use std::{process::Command, time::Duration};

use crate::{
    lab::{Lab, Result},
    stats::median,
};

/// What both have in common: a server; a client that connects, is cut off, and ends; `now` in microseconds.
const COMMON: &str = r#"
# Whatever fails, nothing keeps our output open.
trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT
now() { date +%s%N | cut -c 1-16; }
connect() { mkfifo words; "$@" < words > said & client=$!; exec 4> words
    until grep -q connected said; do sleep 0.01; done; }
orphan() { exec 4>&-; wait $client; }
"#;

/// In jails: to `jail -r`, and until `jdb wait` says that the jail is gone.
const JAILS: &str = r#"
jail -q -c name=server vnet vnet.link="eth0 benchlan 10.99.0.1/24" path="$TREE" command=/bin/busy serve & server=$!
until jexec server true 2>/dev/null; do sleep 0.01; done; sleep 0.1
jid=$(jail -i -c name=client persist vnet vnet.link="eth0 benchlan 10.99.0.2/24" path="$TREE")
connect jexec client /bin/busy orphan 10.99.0.1
jexec server /bin/busybox ip link set eth0 down
orphan
from=$(now); jail -q -r client; jdb wait "$jid" 2>/dev/null || true; to=$(now)
jail -q -r server; wait $server || true
echo $((to - from))
"#;

/// Bare: from the deletion of the name until a link that ends in the stack is gone.
const BARE: &str = r#"
hold() { unshare --net --fork sleep 1000 & }
hold; a=$!; hold; b=$!; sleep 0.2
a=$(pgrep -P $a); b=$(pgrep -P $b)
ip link add watch type veth peer name end netns "$a"
ip link add e0 netns "$a" type veth peer name e0 netns "$b"
inside() { nsenter -t "$1" -n "${@:2}"; }
inside "$a" ip link set lo up; inside "$a" ip address add 10.99.0.2/24 dev e0; inside "$a" ip link set e0 up
inside "$b" ip address add 10.99.0.1/24 dev e0; inside "$b" ip link set e0 up
nsenter -t "$b" -n "$TREE/bin/busy" serve & server=$!
sleep 0.2
connect nsenter -t "$a" -n "$TREE/bin/busy" orphan 10.99.0.1
inside "$b" ip link set e0 down
orphan
from=$(now); kill -9 "$a"; end=$((from + PATIENCE * 1000000)); to=$from
there() { ip link show watch > /dev/null 2>&1; }
while there && [ "$to" -lt "$end" ]; do sleep 0.005; to=$(now); done
if there; then echo kept; ip link delete watch; fi
kill -9 $server "$b"
echo $((to - from))
"#;

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, rounds: usize, patience: Duration) -> Result<()> {
    let ours = (0..rounds).map(|_| Ok(run(lab, JAILS, patience)?.0)).collect::<Result<Vec<_>>>()?;
    let (bare, kept) = run(lab, BARE, patience)?;
    say!("\norphan: a stack with a connection to a dead peer, from its removal until it is gone");
    let than = if kept { "still there after" } else { "gone after" };
    say!("a jail, two programs started included: {:.1} ms, median of {rounds}", median(&ours) / 1e3);
    say!("bare, its last process killed: {than} {:.1} ms", bare / 1e3);
    lab.remove_all()
}

/// Microseconds, and whether it was still there.
fn run(lab: &Lab, script: &str, patience: Duration) -> Result<(f64, bool)> {
    let dir = lab.scratch_dir()?;
    let mut command: Command = lab.shell(&format!("set -e; cd {}; {COMMON}{script}", dir.display()));
    command.env("TREE", lab.tree()).env("PATIENCE", patience.as_secs().to_string());
    let output = command.output()?;
    std::fs::remove_dir_all(dir)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let took = text.lines().last().and_then(|line| line.parse().ok());
    let took = took.ok_or_else(|| format!("{}{text}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((took, text.contains("kept")))
}
