//! What it takes to start the jails of a configuration at once, against a command for each.

use std::{collections::BTreeSet, fmt::Write as _, fs, time::Instant};

use crate::{
    lab::{Lab, Result, finish},
    pairs::{Pairs, head},
};

/// How many others each needs.
const NEEDS: usize = 3;

/// Measures and prints.
///
/// # Errors
/// A command failed.
pub fn figures(lab: &Lab, jails: usize, rounds: usize) -> Result<()> {
    head(
        &format!(
            "start: {jails} jails that need {NEEDS} others each, against a command for each, one after another"
        ),
        "at once",
        "in turn",
    );
    let dir = lab.scratch_dir()?;
    let file = dir.join("jail.conf");
    for (what, start) in [("nothing to run", None), ("20 ms of a command each", Some("sleep 0.02"))] {
        let command = start.map(|line| format!("exec.poststart=/bin/{line}"));
        fs::write(&file, text(lab, jails, start))?;
        let measured = Pairs::measure(rounds, |_, at_once| {
            let begin = Instant::now();
            if at_once {
                finish(lab.jail(["-q", "-f"]).arg(&file).arg("-c"))?;
            } else {
                for n in 0..jails {
                    let mut one = lab.jail(["-c", &format!("name=j{n}"), "persist", &lab.path()]);
                    finish(one.args(&command))?;
                }
            }
            let took = begin.elapsed().as_secs_f64() * 1e3;
            lab.remove_all()?;
            lab.all_gone()?;
            Ok(took)
        });
        measured?.print(what, "ms");
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}

/// The configuration. Which a jail needs is the same every time, and never itself or one after it.
fn text(lab: &Lab, jails: usize, start: Option<&str>) -> String {
    let mut text = format!("{}; persist;\n", lab.path());
    if let Some(line) = start {
        let _into_memory = writeln!(text, "exec.poststart = \"/bin/{line}\";");
    }
    for n in 0..jails {
        let needs: BTreeSet<_> =
            (1..=NEEDS).filter(|_| n > 0).map(|k| n * (7 * k + 3) % (11 * k + 5) % n).collect();
        let needs: Vec<_> = needs.iter().map(|n| format!("j{n}")).collect();
        let depend =
            if needs.is_empty() { String::new() } else { format!("depend = {}; ", needs.join(", ")) };
        let _into_memory = writeln!(text, "j{n} {{ {depend}}}");
    }
    text
}
