//! systemd.service(5) units that start jails at boot.

use vimage::{Context as _, Result};

/// All configured jails, in the order in which they need each other; stopped in reverse.
///
/// # Errors
/// The kernel does not say where this program is.
pub(super) fn all() -> Result<String> {
    let unit = "\
After=local-fs.target network.target remote-fs.target
ConditionPathExists=|/etc/jail.conf
ConditionDirectoryNotEmpty=|/etc/jail.conf.d
";
    // What is there already, as after a stop of the unit that failed, is changed to what is configured.
    service("Jails", unit, "-cm '*'", "-r '*'")
}

/// One of them, and what it needs: the instance's name is the jail's.
///
/// # Errors
/// As [`all`].
pub(super) fn one() -> Result<String> {
    let unit = "After=local-fs.target network.target remote-fs.target jail.service\n";
    service("Jail %i", unit, "-cm %i", "-r %i")
}

fn service(what: &str, unit: &str, start: &str, stop: &str) -> Result<String> {
    let program = std::env::current_exe().doing("cannot find this program")?;
    let program = program.display();
    Ok(format!(
        "\
[Unit]
Description={what}
Documentation=man:jail(8) man:jail.conf(5)
{unit}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} -q {start}
ExecStop={program} -q {stop}
# A jail takes as long as its commands do: exec.timeout and stop.timeout bound them.
TimeoutSec=infinity

[Install]
WantedBy=multi-user.target
"
    ))
}
