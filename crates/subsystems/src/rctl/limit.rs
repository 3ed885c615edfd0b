//! Limits as files of a cgroup directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use vimage::{Context as _, Error, Numbers, Result, Settings, Value};

use super::rule;

/// A limit and its files.
#[derive(Debug)]
pub struct Limit {
    /// The parameters: of several that are one to the kernel the strictest counts.
    pub params: &'static [&'static str],
    /// The controller that enforces it.
    pub controller: &'static str,
    /// Its file in a version 2 hierarchy.
    pub unified: Format,
    /// Its file in a version 1 hierarchy; `None`: the controller has no such limit there.
    pub legacy: Option<Format>,
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
    /// A line for each block device of the machine, with the same number.
    Devices {
        /// What stands before the number.
        key: &'static str,
    },
}

/// The folder with the block devices, sysfs(5).
const DEVICES: &str = "/sys/block";

/// The greatest number of a processor: that of the largest kernels, CONFIG_NR_CPUS.
pub const LAST_CPU: u32 = 8191;

const fn number(file: &'static str, none: &'static str, unit: i64, tail: &'static str) -> Format {
    Format { file, none, form: Form::Number { unit, tail } }
}

const fn cpus(offer: &'static str) -> Format {
    Format { file: "cpuset.cpus", none: "", form: Form::Set { offer } }
}

const fn devices(file: &'static str, none: &'static str, key: &'static str) -> Format {
    Format { file, none, form: Form::Devices { key } }
}

/// A limit of what is read or written.
const fn io(
    params: &'static [&'static str],
    key: &'static str,
    legacy: &'static str,
    without: &'static str,
) -> Limit {
    Limit {
        params,
        controller: IO,
        unified: devices("io.max", "max", key),
        legacy: Some(devices(legacy, "0", "")),
        seeds: &[],
        lack: "cgroup controller io",
        without,
    }
}

/// The controller of block devices as version 2 calls it.
const IO: &str = "io";

/// All limits. The period of processor time is the kernel's default of 100,000 microseconds, of which one
/// percent is 1,000 (cgroup v2's cpu.max; version 1 has the period in a file of its own).
pub static LIMITS: [Limit; 9] = [
    Limit {
        params: &["rctl.memoryuse"],
        controller: "memory",
        unified: number("memory.max", "max", 1, ""),
        legacy: Some(number("memory.limit_in_bytes", "-1", 1, "")),
        seeds: &[],
        lack: "cgroup controller memory",
        without: "rctl.memoryuse is refused",
    },
    Limit {
        params: &["rctl.swapuse"],
        controller: "memory",
        unified: number("memory.swap.max", "max", 1, ""),
        // memory.memsw.limit_in_bytes is of both together.
        legacy: None,
        seeds: &[],
        lack: "cgroup controller memory of version 2",
        without: "rctl.swapuse is refused",
    },
    Limit {
        params: &["rctl.maxproc", "rctl.nthr"],
        controller: "pids",
        unified: number("pids.max", "max", 1, ""),
        legacy: Some(number("pids.max", "max", 1, "")),
        seeds: &[],
        lack: "cgroup controller pids",
        without: "rctl.maxproc and rctl.nthr are refused",
    },
    Limit {
        params: &["rctl.pcpu"],
        controller: "cpu",
        unified: number("cpu.max", "max", 1000, " 100000"),
        legacy: Some(number("cpu.cfs_quota_us", "-1", 1000, "")),
        seeds: &[],
        lack: "cgroup controller cpu",
        without: "rctl.pcpu is refused",
    },
    Limit {
        params: &["cpuset.cpus"],
        controller: "cpuset",
        unified: cpus("cpuset.cpus.effective"),
        legacy: Some(cpus("cpuset.cpus")),
        seeds: &["cpuset.mems", "cpuset.cpus"],
        lack: "cgroup controller cpuset",
        without: "cpuset.cpus is refused",
    },
    io(&["rctl.readbps"], "rbps=", "blkio.throttle.read_bps_device", "rctl.readbps is refused"),
    io(&["rctl.writebps"], "wbps=", "blkio.throttle.write_bps_device", "rctl.writebps is refused"),
    io(&["rctl.readiops"], "riops=", "blkio.throttle.read_iops_device", "rctl.readiops is refused"),
    io(&["rctl.writeiops"], "wiops=", "blkio.throttle.write_iops_device", "rctl.writeiops is refused"),
];

impl Limit {
    /// What a jail's values come to: the strictest of its parameters and of the rules that it is under; `None`: no limit.
    #[must_use]
    pub fn value(&self, settings: &Settings) -> Option<Value> {
        match self.unified.form {
            Form::Set { .. } => settings.get(self.name()).cloned(),
            _ => rule::least(settings, self.params).map(Value::Int),
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.params.first().copied().unwrap_or_default()
    }

    /// The name of its controller in a version 1 hierarchy.
    #[must_use]
    pub fn legacy_controller(&self) -> &'static str {
        if self.controller == IO { "blkio" } else { self.controller }
    }
}

impl Format {
    /// The file's text for a value; `None`: no limit.
    fn text(&self, value: Option<&Value>) -> String {
        match (self.form, value) {
            (Form::Number { unit, tail }, Some(Value::Int(n))) => format!("{}{tail}", n.saturating_mul(unit)),
            (Form::Number { tail, .. }, None) => format!("{}{tail}", self.none),
            (Form::Devices { key }, value) => {
                let number = value.map_or_else(|| self.none.to_owned(), Value::text);
                format!("{key}{number}")
            }
            (_, Some(value)) => value.text(),
            (_, None) => self.none.to_owned(),
        }
    }

    /// The value in the file's text; `None`: no limit.
    fn value(&self, text: &str) -> Option<Value> {
        if let Form::Devices { key } = self.form {
            let words = text.lines().flat_map(|line| line.split_whitespace().skip(1));
            let numbers = words.filter_map(|word| word.strip_prefix(key)?.parse().ok());
            return numbers.filter(|n| *n > 0).min().map(Value::Int);
        }
        let word = text.split_whitespace().next()?;
        match self.form {
            Form::Number { unit, .. } => {
                let number = word.parse::<i64>().ok().filter(|n| *n >= 0 && word != self.none)?;
                Some(Value::Int(number / unit))
            }
            Form::Set { .. } => Some(Value::Text(Numbers::parse(word, LAST_CPU)?.to_string())),
            Form::Devices { .. } => None,
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
    let write = |text: &str| {
        fs::write(&file, text).doing_with(|| format!("cannot write \"{text}\" to {}", file.display()))
    };
    if !matches!(format.form, Form::Devices { .. }) {
        return write(&text);
    }
    for device in block_devices()? {
        match write(&format!("{device} {text}")) {
            // It went away meanwhile.
            Err(_) if !block_devices()?.contains(&device) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The numbers of the machine's block devices, `8:0`; of a disk, not of its parts.
fn block_devices() -> Result<Vec<String>> {
    let doing = || format!("cannot read {DEVICES}");
    let entries =
        fs::read_dir(DEVICES).doing_with(doing)?.collect::<io::Result<Vec<_>>>().doing_with(doing)?;
    let number = |dir: PathBuf| fs::read_to_string(dir.join("dev")).ok().map(|text| text.trim().to_owned());
    Ok(entries.into_iter().filter_map(|entry| number(entry.path())).collect())
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
        let [memory, swap, pids, cpu, cpuset, read, ..] = &LIMITS;
        let legacy = |limit: &'static Limit| limit.legacy.as_ref().unwrap();
        let (int, text) = (Value::Int, |text: &str| Value::Text(text.into()));
        assert_eq!(memory.unified.text(Some(&int(64 << 20))), "67108864");
        assert_eq!(legacy(memory).text(None), "-1");
        assert_eq!(pids.unified.text(None), "max");
        assert_eq!(cpu.unified.text(Some(&int(150))), "150000 100000");
        assert_eq!(cpu.unified.text(None), "max 100000");
        assert_eq!(legacy(cpu).text(Some(&int(20))), "20000");
        assert_eq!(cpuset.unified.text(Some(&text("0-3,8"))), "0-3,8");
        assert_eq!(
            (read.unified.text(Some(&int(9))), legacy(read).text(Some(&int(9)))),
            ("rbps=9".into(), "9".into())
        );
        assert_eq!((read.unified.text(None), legacy(read).text(None)), ("rbps=max".into(), "0".into()));
        assert!(swap.legacy.is_none() && swap.unified.text(Some(&int(0))) == "0");
    }

    #[test]
    fn of_a_limit_for_each_device_the_least_is_what_there_is() {
        let [.., read, _, _, writes] = &LIMITS;
        let unified = "8:0 rbps=2097152 wbps=max riops=max wiops=120\n254:0 rbps=1048576 wbps=max riops=max wiops=max\n";
        assert_eq!(read.unified.value(unified), Some(Value::Int(1 << 20)));
        assert_eq!(writes.unified.value(unified), Some(Value::Int(120)));
        let legacy = read.legacy.as_ref().unwrap();
        assert_eq!(legacy.value("8:0 7\n254:0 5\n"), Some(Value::Int(5)));
        assert_eq!((legacy.value(""), read.unified.value("8:0 rbps=max\n")), (None, None));
    }

    #[test]
    fn the_strictest_of_parameters_and_rules_counts() {
        let pids = LIMITS.iter().find(|l| l.name() == "rctl.maxproc").unwrap();
        let value = |list: &[(&str, i64)], rules: &[&str]| {
            let mut settings: Settings =
                list.iter().map(|(name, n)| ((*name).to_owned(), Value::Int(*n))).collect();
            settings.set(rule::RULES, Value::List(rules.iter().map(|r| (*r).to_owned()).collect()));
            pids.value(&settings)
        };
        let rules = ["jail:a:nthr:deny=7", "jail:a:maxproc:deny=9", "jail:a:memoryuse:deny=1"];
        assert_eq!(value(&[], &[]), None);
        assert_eq!(value(&[("rctl.nthr", 8)], &[]), Some(Value::Int(8)));
        assert_eq!(value(&[("rctl.nthr", 8), ("rctl.maxproc", 6)], &rules), Some(Value::Int(6)));
        assert_eq!(value(&[("rctl.nthr", 8)], &rules), Some(Value::Int(7)));
        assert_eq!(value(&[], &rules[1..]), Some(Value::Int(9)));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for limit in &LIMITS {
            for format in [Some(&limit.unified), limit.legacy.as_ref()].into_iter().flatten() {
                let values = match format.form {
                    Form::Devices { .. } => continue,
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
        let check = |text: &str| LIMITS[4].unified.check(&top, "cpuset.cpus", &Value::Text(text.into()));
        assert!(check("1,4").is_ok() && LIMITS[0].unified.check(&top, "x", &Value::Int(1)).is_ok());
        let error = check("1-4,7").unwrap_err();
        assert_eq!(error.to_string(), "cpuset.cpus: no such processor 2-3,7");
        assert_eq!(error.advice(), Some("this host has 0-1,4"));
        // Which is what one has that is not limited any more.
        fs::create_dir_all(top.join("1")).unwrap();
        let write = |value: Option<&Value>| write(&top.join("1"), &top, &LIMITS[4].unified, value).unwrap();
        let written = || fs::read_to_string(top.join("1/cpuset.cpus")).unwrap();
        write(Some(&Value::Text("4".into())));
        assert_eq!(written(), "4");
        write(None);
        assert_eq!(written(), "0-1,4");
        fs::remove_dir_all(top).unwrap();
    }
}
