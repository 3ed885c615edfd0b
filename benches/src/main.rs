//! The project's figures: what a jail costs, against the kernel's floor and against the host.
//!
//! Nothing here asserts a time. Every figure is a ratio of pairs that were measured one right after the other,
//! with the interval of its median: a machine is noisy, and its noise is in both halves of a pair.

/// Prints a line. Whoever reads no more, as head(1), is no reason to end without cleaning up.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _nobody_reads = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod census;
mod churn;
mod classic;
mod conf;
mod create;
mod ipc;
mod lab;
mod list;
mod memory;
mod orphan;
mod pairs;
mod removal;
mod served;
mod start;
mod stats;

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
    time::Duration,
};

use lab::{Lab, Result};

const USAGE: &str =
    "usage: figures [create|ipc|classic|served|memory|orphan|census|conf|start|list|removal|churn|all] [--pairs=N] [--jails=N] [--rounds=N]

create  one jail with its own network stack, made, run and removed, against the same done bare
ipc     what ipc of its own adds to a jail's creation, and its throughput against the host's
classic what holding a jail to an address of the host's costs its sockets, and its creation
served  what nginx and iperf3 in such a jail serve, and what each program takes a run
memory  what an idle jail takes, against the same namespaces held bare
orphan  how long a stack with an orphaned connection lives on, against a bare one
census  how long it takes to find who holds a jail among thousands of files, processes and sockets
conf    how long it takes to know what a jail.conf of ten thousand jails says, against wc(1); needs no root
start   how long two hundred configured jails take to start at once, against a command for each
list    how long it takes to list a thousand jails, against reading what is written of them
removal how long a thousand jails with connections take to be gone; takes a minute, and is not part of all
churn   what thousands of jails leave behind that use all they have; takes minutes, and is not part of all

--pairs=30   how many pairs of create, ipc, classic, served, conf and list
--jails=N    how many jails: 100 of memory, 200 of start, 1000 of list and removal, 10000 of conf and churn
--rounds=5   how often memory, orphan, census, start and removal are measured
--patience=5 for how many seconds orphan waits for the bare stack";

/// Says that we are in namespaces of our own.
const INSIDE: &str = "VIMAGE_FIGURES_INSIDE";

/// What was asked.
#[derive(Debug)]
struct Asked {
    what: String,
    pairs: usize,
    jails: Option<usize>,
    rounds: usize,
    patience: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(asked) = parse()? else {
        say!("{USAGE}");
        return Ok(());
    };
    let conf = || conf::figures(asked.pairs, asked.jails.unwrap_or(10_000));
    if asked.what == "conf" {
        return conf();
    }
    if std::env::var_os(INSIDE).is_none() {
        // A network stack and mounts that end with us, whatever happens.
        let error = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        return Err(format!("cannot start unshare(1): {error}").into());
    }
    let lab = Lab::new()?;
    let wants = |what: &str| asked.what == what || asked.what == "all";
    if wants("create") {
        create::figures(&lab, asked.pairs)?;
    }
    if wants("ipc") {
        ipc::figures(&lab, asked.pairs)?;
    }
    if wants("classic") {
        classic::figures(&lab, asked.pairs)?;
    }
    if asked.what == "served" {
        served::figures(&lab, asked.pairs)?;
    }
    if wants("memory") {
        memory::figures(&lab, asked.jails.unwrap_or(100), asked.rounds)?;
    }
    if wants("orphan") {
        orphan::figures(&lab, asked.rounds, Duration::from_secs(asked.patience))?;
    }
    if wants("census") {
        census::figures(&lab, asked.rounds)?;
    }
    if asked.what == "all" {
        conf()?;
    }
    if wants("start") {
        start::figures(&lab, asked.jails.unwrap_or(200), asked.rounds)?;
    }
    if wants("list") {
        list::figures(&lab, asked.jails.unwrap_or(1_000), asked.pairs)?;
    }
    if asked.what == "removal" {
        removal::figures(&lab, asked.jails.unwrap_or(1_000), asked.rounds)?;
    }
    if asked.what == "churn" {
        churn::figures(&lab, asked.jails.unwrap_or(10_000))?;
    }
    Ok(())
}

/// What the arguments ask for; `None`: only how to ask.
fn parse() -> Result<Option<Asked>> {
    let mut asked = Asked { what: "all".to_owned(), pairs: 30, jails: None, rounds: 5, patience: 5 };
    for word in std::env::args().skip(1) {
        let value = |text: &str| match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{word}: not a number above 0\n{USAGE}")),
        };
        match word.split_once('=') {
            Some(("--pairs", text)) => asked.pairs = value(text)?,
            Some(("--jails", text)) => asked.jails = Some(value(text)?),
            Some(("--rounds", text)) => asked.rounds = value(text)?,
            Some(("--patience", text)) => asked.patience = value(text)? as u64,
            _ if [
                "create", "ipc", "classic", "served", "memory", "orphan", "census", "conf", "start", "list",
                "removal", "churn", "all",
            ]
            .contains(&word.as_str()) =>
            {
                asked.what = word;
            }
            _ if ["-h", "--help"].contains(&word.as_str()) => return Ok(None),
            _ => return Err(format!("{word}: unknown\n{USAGE}").into()),
        }
    }
    Ok(Some(asked))
}
