//! Two PostgreSQL servers that would collide on one machine: in the port, in the System V key, in the names of POSIX
//! shared memory.

use std::time::{Duration, Instant};

use vimage_tests::{Lab, Tree, lab_test};

lab_test!(two_servers_with_one_port_and_one_key for root; needs [Debian, CgroupV2]; with timeout(240); |lab| {
    let trees = [lab.debian(), lab.debian()];
    let servers = [Server::start(lab, &trees[0], "db1", "10.9.0.11"), Server::start(lab, &trees[1], "db2", "10.9.0.12")];
    // PostgreSQL takes its key from the inode of its data directory: fresh file systems number theirs alike.
    let keys = servers.each_ref().map(|server| server.keys(lab));
    assert!(keys[0].len() == 1 && keys[0] == keys[1], "{keys:?}");
    for server in &servers {
        let posix = lab.sh(&format!("jexec {} ls /dev/shm", server.jail));
        assert!(posix.contains("PostgreSQL."), "{posix}");
    }
    assert_eq!(objects(lab), "", "the lab sees what belongs to jails");

    let tree = &trees[0];
    lab.sh(&format!(r#"jail -c name=client path={tree} vnet vnet.link="eth0 lan 10.9.0.21/24" persist"#));
    for server in &servers {
        server.client(lab, "pgbench --initialize --scale=5 --quiet");
        server.client(lab, &format!("psql --command 'CREATE TABLE owner AS SELECT $${}$$ AS name'", server.jail));
    }
    let start = Instant::now();
    let benches = servers.each_ref().map(|server| {
        lab.spawn(&server.as_client("exec", "pgbench --client=4 --time=10 --no-vacuum"))
    });
    let reports = benches.map(|bench| bench.finish().ok());
    assert!(start.elapsed() < Duration::from_secs(18), "they ran one after the other");
    for (server, report) in servers.iter().zip(&reports) {
        assert!(report.contains("number of failed transactions: 0 "), "{report}");
        let done = number(report, "number of transactions actually processed: ");
        assert!(done > 0, "{report}");
        // Neither has seen the other's transactions, nor lost one of its own.
        let ask = |query: &str| server.client(lab, &format!("psql --tuples-only --no-align --command '{query}'"));
        assert_eq!(ask("SELECT count(*) FROM pgbench_history").trim(), done.to_string());
        assert_eq!(ask("SELECT name FROM owner").trim(), server.jail);
        println!("{}: {done} transactions in 10 s beside the other", server.jail);
    }
    assert_eq!(objects(lab), "", "the lab sees what belongs to jails");
    lab.sh("jail -r client db1 db2");
});

lab_test!(contents_outlive_the_server_but_not_the_jail for root;
    needs [Debian, CgroupV2]; with timeout(120); |lab| {
    let tree = lab.debian();
    let server = Server::start(lab, &tree, "db1", "10.9.0.11");
    let local = |sql: &str| lab.sh(&format!("jexec -U postgres db1 psql --tuples-only --no-align --command '{sql}'"));
    local("CREATE TABLE kept AS SELECT 42 AS answer");
    let keys = server.keys(lab);
    // Killed whole, it leaves its segment and its lock behind, and finds both when it comes again.
    lab.sh("jexec db1 sh -c 'kill -KILL -1'");
    assert_eq!(server.keys(lab), keys);
    server.run(lab);
    assert_eq!(local("SELECT answer FROM kept").trim(), "42");
    lab.sh("jail -r db1");

    let server = Server::start(lab, &tree, "db1", "10.9.0.11");
    assert_eq!(local("SELECT to_regclass($$kept$$) IS NULL").trim(), "t");
    lab.sh(&format!("jail -r {}", server.jail));
});

/// A PostgreSQL server in a jail of its own, with its data on a file system that is made with the jail.
struct Server {
    jail: &'static str,
    address: &'static str,
}

impl Server {
    fn start(lab: &Lab, tree: &Tree, jail: &'static str, address: &'static str) -> Self {
        lab.sh(&format!(
            r#"jail -c name={jail} path={tree} vnet vnet.link="eth0 lan {address}/24" \
                mount="none /var/lib/postgresql tmpfs" mount="none /run/postgresql tmpfs mode=1777" persist"#
        ));
        let server = Self { jail, address };
        lab.sh(&format!(
            "jexec {jail} chown postgres:postgres /var/lib/postgresql
            jexec -U postgres {jail} {BIN}/initdb --auth=trust --no-sync --locale=C --encoding=UTF8 -D {DATA}
            jexec -U postgres {jail} tee -a {DATA}/postgresql.conf <<end
                listen_addresses = '*'
                shared_memory_type = sysv
                dynamic_shared_memory_type = posix
end
            echo host all all 10.9.0.0/24 trust | jexec -U postgres {jail} tee -a {DATA}/pg_hba.conf"
        ));
        server.run(lab);
        server
    }

    fn run(&self, lab: &Lab) {
        let Self { jail, .. } = self;
        lab.sh(&format!(
            "jexec -U postgres {jail} {BIN}/pg_ctl --wait --silent -D {DATA} -l {DATA}/log start"
        ));
        // pg_ctl is content with a lock file of a ready server, and one that crashed may have had the same pid.
        let ready = || lab.cmd("jexec").arg_line(&format!("{jail} pg_isready --quiet")).run();
        lab.until("the server is ready", || ready().status.success());
    }

    /// Returns the keys of the System V segments in the jail.
    fn keys(&self, lab: &Lab) -> Vec<String> {
        let table = lab.sh(&format!("jexec {} cat /proc/sysvipc/shm", self.jail));
        table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// Runs one of PostgreSQL's clients in the jail `client`, across the segment.
    fn client(&self, lab: &Lab, line: &str) -> String {
        lab.sh(&self.as_client("", line))
    }

    fn as_client(&self, how: &str, line: &str) -> String {
        let Self { address, .. } = self;
        format!("{how} jexec client env PGHOST={address} PGUSER=postgres PGDATABASE=postgres {line}")
    }
}

const BIN: &str = "/usr/lib/postgresql/15/bin";
const DATA: &str = "/var/lib/postgresql/data";

/// Returns the System V objects and POSIX shared memory that the lab itself sees.
fn objects(lab: &Lab) -> String {
    lab.sh("tail -q -n +2 /proc/sysvipc/msg /proc/sysvipc/sem /proc/sysvipc/shm; ls /dev/shm")
}

/// Returns the number that follows `label`.
fn number(report: &str, label: &str) -> u64 {
    let found =
        report.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("{report}"));
    found.trim().parse().unwrap_or_else(|_| panic!("{report}"))
}
