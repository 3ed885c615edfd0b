//! Limits as files of a cgroup directory.

use std::{fs, path::Path};

use vimage::{Context as _, Result};

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
    /// What one of the parameter's units is in the file.
    pub unit: i64,
    /// What follows the value.
    pub tail: &'static str,
}

/// All limits. The period of processor time is the kernel's default of 100,000 microseconds, of which one
/// percent is 1,000 (cgroup v2's cpu.max; version 1 has the period in a file of its own).
pub static LIMITS: [Limit; 3] = [
    Limit {
        param: "rctl.memoryuse",
        controller: "memory",
        unified: Format { file: "memory.max", none: "max", unit: 1, tail: "" },
        legacy: Format { file: "memory.limit_in_bytes", none: "-1", unit: 1, tail: "" },
        lack: "cgroup controller memory",
        without: "rctl.memoryuse is refused",
    },
    Limit {
        param: "rctl.maxproc",
        controller: "pids",
        unified: Format { file: "pids.max", none: "max", unit: 1, tail: "" },
        legacy: Format { file: "pids.max", none: "max", unit: 1, tail: "" },
        lack: "cgroup controller pids",
        without: "rctl.maxproc is refused",
    },
    Limit {
        param: "rctl.pcpu",
        controller: "cpu",
        unified: Format { file: "cpu.max", none: "max", unit: 1000, tail: " 100000" },
        legacy: Format { file: "cpu.cfs_quota_us", none: "-1", unit: 1000, tail: "" },
        lack: "cgroup controller cpu",
        without: "rctl.pcpu is refused",
    },
];

impl Format {
    /// The file's text for a value; `None`: no limit.
    fn text(&self, value: Option<i64>) -> String {
        let value = value.map(|v| v.saturating_mul(self.unit).to_string());
        format!("{}{}", value.as_deref().unwrap_or(self.none), self.tail)
    }

    /// The value in the file's text; `None`: no limit.
    fn value(&self, text: &str) -> Option<i64> {
        let word = text.split_whitespace().next()?;
        let number = word.parse::<i64>().ok().filter(|n| *n >= 0 && word != self.none)?;
        Some(number / self.unit)
    }
}

/// Sets or lifts a limit.
///
/// # Errors
/// The kernel refused: `EBUSY` where a version 1 memory limit is below what cannot be reclaimed.
pub fn write(dir: &Path, format: &Format, value: Option<i64>) -> Result<()> {
    let (file, text) = (dir.join(format.file), format.text(value));
    fs::write(&file, &text).doing_with(|| format!("cannot write \"{text}\" to {}", file.display()))
}

/// A limit as the kernel has it; `None`: none.
///
/// # Errors
/// The file cannot be read.
pub fn read(dir: &Path, format: &Format) -> Result<Option<i64>> {
    let file = dir.join(format.file);
    let text = fs::read_to_string(&file).doing_with(|| format!("cannot read {}", file.display()))?;
    Ok(format.value(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_the_kernels_units() {
        let [memory, pids, cpu] = &LIMITS;
        assert_eq!(memory.unified.text(Some(64 << 20)), "67108864");
        assert_eq!(memory.legacy.text(None), "-1");
        assert_eq!(pids.unified.text(None), "max");
        assert_eq!(cpu.unified.text(Some(150)), "150000 100000");
        assert_eq!(cpu.unified.text(None), "max 100000");
        assert_eq!(cpu.legacy.text(Some(20)), "20000");
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for limit in &LIMITS {
            for format in [&limit.unified, &limit.legacy] {
                for value in [None, Some(1), Some(100), Some(1 << 40)] {
                    assert_eq!(format.value(&format!("{}\n", format.text(value))), value, "{}", format.file);
                }
                assert_eq!(format.value(""), None);
            }
        }
    }
}
