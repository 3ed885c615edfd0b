//! What servers in a jail that has an address of the host's serve, against the same servers of the host.

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    process::Command,
};

use bpf::confine::Point;
use kernel::bpf::{prog_open, prog_query};

use crate::{
    lab::{Lab, Result},
    pairs::{Pairs, head, in_turn},
};

/// The host's address and the jail's, both on an interface without a wire.
const ADDRESSES: [&str; 2] = ["10.254.78.1", "10.254.78.2"];

/// What is measured: its name and unit, and what prints one number.
const MEASURED: [(&str, &str, &str); 3] = [
    (
        "connections (wrk, nginx)",
        "a second",
        "wrk -t 1 -c 16 -d 1s -H 'Connection: close' http://$IP:7080/ | awk '/Requests.sec/ { print $2 }'",
    ),
    ("TCP (iperf3)", "Mbit/s", "iperf3 -c $IP -p 7090 -t 1 -f m | awk '/receiver/ { print $7 }'"),
    (
        "UDP (iperf3)",
        "Mbit/s",
        "iperf3 -u -b 0 -l 1400 -c $IP -p 7090 -t 1 -f m | awk '/receiver/ { print $7 }'",
    ),
];

/// Starts the servers of both sides: each with the address `IP`, its configuration in `DIR`, which it sees as `SEEN`, and
/// what it writes in `TMP`.
const SERVERS: &str = r#"set -e
for program in wrk nginx iperf3; do
    command -v $program > /dev/null || { echo "no $program on PATH" >&2; exit 1; }
done
ip link add served0 type bridge; ip link set served0 up; ip link set lo up
for ip in $HOST $OWN; do ip addr add $ip/24 dev served0; done
mkdir host jail; chmod 755 . host jail
configure() {
    cat > $DIR/nginx.conf <<END
worker_processes 1; pid $TMP/served.pid; error_log $TMP/served.log; events { }
http { access_log off; client_body_temp_path $TMP/body; proxy_temp_path $TMP/proxy; fastcgi_temp_path $TMP/fastcgi;
    uwsgi_temp_path $TMP/uwsgi; scgi_temp_path $TMP/scgi;
    server { listen $IP:7080 backlog=1024; location / { return 200 ok; } } }
END
}
start() {
    "$@" nginx -c $SEEN/nginx.conf
    "$@" iperf3 -s -D -B $IP -p 7090 -I $TMP/served.iperf3
}
DIR=host SEEN=$PWD/host TMP=$PWD/host IP=$HOST; configure; start env
DIR=jail SEEN=/srv TMP=/tmp IP=$OWN; configure
jail -q -c name=served persist path=/ ip4.addr=$OWN mount="$PWD/jail /srv none ro 0 0"
start jexec served
"#;

/// Ends those of the host.
const STOP: &str =
    "cd host; kill $(cat served.pid served.iperf3 2> /dev/null | tr '\\0' ' '); ip link del served0";

/// Measures and prints.
///
/// # Errors
/// A program is not there or fails.
pub fn figures(lab: &Lab, pairs: usize) -> Result<()> {
    let [host, own] = ADDRESSES;
    let work = lab.scratch_dir()?;
    let script = |script: &str| {
        let mut command = lab.shell(script);
        command.current_dir(&work).env("HOST", host).env("OWN", own);
        command
    };
    let measured = measure(pairs, &script);
    // The jail's end with it.
    let stopped = said(script(STOP));
    fs::remove_dir_all(&work)?;
    lab.remove_all()?;
    measured.and(stopped).map(drop)
}

fn measure(pairs: usize, script: &impl Fn(&str) -> Command) -> Result<String> {
    let [host, own] = ADDRESSES;
    said(script(SERVERS))?;
    head("served: a server in a jail of one address, against the host's", "jail", "host");
    for (what, unit, measure) in MEASURED {
        let one =
            |ip: &str| -> Result<f64> { Ok(said(script(&format!("IP={ip}; {measure}")))?.trim().parse()?) };
        let runs = in_turn(pairs, || one(own), || one(host))?;
        Pairs::of(runs.into_iter().map(|[jail, host]| (jail, host))).print(what, unit);
    }
    let counts = "/proc/sys/kernel/bpf_stats_enabled";
    fs::write(counts, "1").map_err(|e| format!("cannot write {counts}: {e}"))?;
    let ran = MEASURED
        .iter()
        .try_for_each(|(_, _, measure)| said(script(&format!("IP={own}; {measure}"))).map(drop));
    fs::write(counts, "0").map_err(|e| format!("cannot write {counts}: {e}"))?;
    ran?;
    say!("\nserved: what the kernel counted of each program meanwhile");
    for (name, runs, ns) in programs(&cgroup(script)?)? {
        say!("{name:<30} {ns:>7.1} ns a run, of {runs}");
    }
    Ok(String::new())
}

/// What a command prints.
fn said(mut command: Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(String::from_utf8(output.stdout)?) } else { Err(error.trim().into()) }
}

/// The jail's cgroup.
fn cgroup(script: &impl Fn(&str) -> Command) -> Result<PathBuf> {
    let path = said(script(r#"jdb show served | awk '$1 == "jail" && $2 == "cgroup" { print $3 }'"#))?;
    Ok(path.trim().into())
}

/// The programs at a cgroup that ran: their names, how often, and for how many nanoseconds on average.
fn programs(cgroup: &Path) -> Result<Vec<(&'static str, u64, f64)>> {
    let dir = File::open(cgroup)?;
    let mut found = Vec::new();
    for point in Point::ALL {
        for id in prog_query(dir.as_fd(), point.attach_type())? {
            let program = prog_open(id)?;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
            let field = |name: &str| {
                let line = info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
                line.unwrap_or_default()
            };
            let (runs, ns) = (field("run_cnt:"), field("run_time_ns:"));
            if runs > 0 {
                found.push((point.name().to_str()?, runs.into(), f64::from(ns) / f64::from(runs)));
            }
        }
    }
    Ok(found)
}
