//! Limits as files of a cgroup directory.

use std::{fs, path::Path};

use vimage::{Context as _, Error, Numbers, Result, Value};

/// A limit and its files.
#[derive(Debug)]
pub struct Limit {
    /// The parameter.
    pub param: &'static str,
    /// The controller that enforces it.
    pub controller: &'static str,
    /// Its file in a version 2 hierarchy.
    pub unified: Format,
    /// Its file in a version 1 hierarchy.
    pub legacy: Format,
    /// The files in which a directory of version 1 must have something before processes can be in it: taken from the
    /// directory above. A controller that has them refuses one less than those below have; so jails have theirs
    /// beside each other, and that a child has no more than its parent is seen to by the parameter's rule.
    pub seeds: &'static [&'static str],
    /// What a host without it lacks.
    pub lack: &'static str,
    /// What does not work there.
    pub without: &'static str,
}

/// A file, and how a value stands in it.
#[derive(Debug)]
pub struct Format {
    /// Its name.
    pub file: &'static str,
    /// The word for no limit.
    pub none: &'static str,
    /// How a value is written.
    pub form: Form,
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A number.
    Number {
        /// What one of the parameter's units is in the file.
        unit: i64,
        /// What follows the value.
        tail: &'static str,
    },
    /// A set of numbers; without a limit, all that there are. Nothing at all is refused while there are processes.
    Set {
        /// The file of a directory above that says which there are.
        offer: &'static str,
    },
}

/// The greatest number of a processor: that of the largest kernels, CONFIG_NR_CPUS.
pub const LAST_CPU: u32 = 8191;

const fn number(file: &'static str, none: &'static str, unit: i64, tail: &'static str) -> Format {
    Format { file, none, form: Form::Number { unit, tail } }
}

const fn cpus(offer: &'static str) -> Format {
    Format { file: "cpuset.cpus", none: "", form: Form::Set { offer } }
}

/// All limits. The period of processor time is the kernel's default of 100,000 microseconds, of which one
/// percent is 1,000 (cgroup v2's cpu.max; version 1 has the period in a file of its own).
pub static LIMITS: [Limit; 4] = [
    Limit {
        param: "rctl.memoryuse",
        controller: "memory",
        unified: number("memory.max", "max", 1, ""),
        legacy: number("memory.limit_in_bytes", "-1", 1, ""),
        seeds: &[],
        lack: "cgroup controller memory",
        without: "rctl.memoryuse is refused",
    },
    Limit {
        param: "rctl.maxproc",
        controller: "pids",
        unified: number("pids.max", "max", 1, ""),
        legacy: number("pids.max", "max", 1, ""),
        seeds: &[],
        lack: "cgroup controller pids",
        without: "rctl.maxproc is refused",
    },
    Limit {
        param: "rctl.pcpu",
        controller: "cpu",
        unified: number("cpu.max", "max", 1000, " 100000"),
        legacy: number("cpu.cfs_quota_us", "-1", 1000, ""),
        seeds: &[],
        lack: "cgroup controller cpu",
        without: "rctl.pcpu is refused",
    },
    Limit {
        param: "cpuset.cpus",
        controller: "cpuset",
        unified: cpus("cpuset.cpus.effective"),
        legacy: cpus("cpuset.cpus"),
        seeds: &["cpuset.mems", "cpuset.cpus"],
        lack: "cgroup controller cpuset",
        without: "cpuset.cpus is refused",
    },
];

impl Format {
    /// The file's text for a value; `None`: no limit.
    fn text(&self, value: Option<&Value>) -> String {
        match (self.form, value) {
            (Form::Number { unit, tail }, Some(Value::Int(n))) => format!("{}{tail}", n.saturating_mul(unit)),
            (Form::Number { tail, .. }, None) => format!("{}{tail}", self.none),
            (_, Some(value)) => value.text(),
            (_, None) => self.none.to_owned(),
        }
    }

    /// The value in the file's text; `None`: no limit.
    fn value(&self, text: &str) -> Option<Value> {
        let word = text.split_whitespace().next()?;
        match self.form {
            Form::Number { unit, .. } => {
                let number = word.parse::<i64>().ok().filter(|n| *n >= 0 && word != self.none)?;
                Some(Value::Int(number / unit))
            }
            Form::Set { .. } => Some(Value::Text(Numbers::parse(word, LAST_CPU)?.to_string())),
        }
    }

    /// Checks that there is what a value asks for, by what a directory above offers.
    ///
    /// # Errors
    /// There is not.
    pub fn check(&self, above: &Path, param: &str, value: &Value) -> Result<()> {
        let Some(there) = self.offered(above).doing(param)? else { return Ok(()) };
        let missing = Numbers::parse(&value.text(), LAST_CPU).unwrap_or_default().beyond(&there);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::usage(format!("{param}: no such processor {missing}"))
                .hint(format!("this host has {there}"))),
        }
    }

    /// All that a directory above offers of a set.
    fn offered(&self, above: &Path) -> Result<Option<Numbers>> {
        let Form::Set { offer } = self.form else { return Ok(None) };
        let file = above.join(offer);
        let text = fs::read_to_string(&file).doing_with(|| format!("cannot read {}", file.display()))?;
        Ok(Numbers::parse(text.trim(), LAST_CPU))
    }
}

/// Sets or lifts a limit of a directory below another.
///
/// # Errors
/// The kernel refused: `EBUSY` where a version 1 memory limit is below what cannot be reclaimed.
pub fn write(dir: &Path, above: &Path, format: &Format, value: Option<&Value>) -> Result<()> {
    let all = if value.is_none() { format.offered(above)? } else { None };
    let (file, text) = (dir.join(format.file), all.map_or_else(|| format.text(value), |all| all.to_string()));
    fs::write(&file, &text).doing_with(|| format!("cannot write \"{text}\" to {}", file.display()))
}

/// A limit as the kernel has it; `None`: none.
///
/// # Errors
/// The file cannot be read.
pub fn read(dir: &Path, format: &Format) -> Result<Option<Value>> {
    let file = dir.join(format.file);
    let text = fs::read_to_string(&file).doing_with(|| format!("cannot read {}", file.display()))?;
    Ok(format.value(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_the_kernels_units() {
        let [memory, pids, cpu, cpuset] = &LIMITS;
        let (int, text) = (Value::Int, |text: &str| Value::Text(text.into()));
        assert_eq!(memory.unified.text(Some(&int(64 << 20))), "67108864");
        assert_eq!(memory.legacy.text(None), "-1");
        assert_eq!(pids.unified.text(None), "max");
        assert_eq!(cpu.unified.text(Some(&int(150))), "150000 100000");
        assert_eq!(cpu.unified.text(None), "max 100000");
        assert_eq!(cpu.legacy.text(Some(&int(20))), "20000");
        assert_eq!(cpuset.unified.text(Some(&text("0-3,8"))), "0-3,8");
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for limit in &LIMITS {
            for format in [&limit.unified, &limit.legacy] {
                let values = match format.form {
                    Form::Number { .. } => [1, 100, 1 << 40].map(Value::Int),
                    Form::Set { .. } => ["0", "0-3,8", "8191"].map(|text| Value::Text(text.to_owned())),
                };
                for value in values.into_iter().map(Some).chain([None]) {
                    let text = format!("{}\n", format.text(value.as_ref()));
                    assert_eq!(format.value(&text), value, "{}", format.file);
                }
                assert_eq!(format.value(""), None);
            }
        }
    }

    #[test]
    fn what_is_asked_for_must_be_there() {
        let top = std::env::temp_dir().join(format!("offer-{}", std::process::id()));
        fs::create_dir_all(&top).unwrap();
        fs::write(top.join("cpuset.cpus.effective"), "0-1,4\n").unwrap();
        let check = |text: &str| LIMITS[3].unified.check(&top, "cpuset.cpus", &Value::Text(text.into()));
        assert!(check("1,4").is_ok() && LIMITS[0].unified.check(&top, "x", &Value::Int(1)).is_ok());
        let error = check("1-4,7").unwrap_err();
        assert_eq!(error.to_string(), "cpuset.cpus: no such processor 2-3,7");
        assert_eq!(error.advice(), Some("this host has 0-1,4"));
        // Which is what one has that is not limited any more.
        fs::create_dir_all(top.join("1")).unwrap();
        let write = |value: Option<&Value>| write(&top.join("1"), &top, &LIMITS[3].unified, value).unwrap();
        let written = || fs::read_to_string(top.join("1/cpuset.cpus")).unwrap();
        write(Some(&Value::Text("4".into())));
        assert_eq!(written(), "4");
        write(None);
        assert_eq!(written(), "0-1,4");
        fs::remove_dir_all(top).unwrap();
    }
}
