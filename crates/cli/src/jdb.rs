//! jdb(8): the shared debugger.

use std::{ffi::OsString, process::ExitCode};

use kernel::act::Act;
use vimage::{Error, Registry, Result};

use crate::open;

pub(crate) fn run(registry: &Registry<Act>, args: Vec<OsString>) -> Result<ExitCode> {
    match args.first().and_then(|a| a.to_str()) {
        Some("audit") => {
            let findings = open(None, registry)?.audit()?;
            findings.iter().for_each(|finding| println!("{finding}"));
            Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => Err(Error::usage("usage: jdb audit [--all]")),
    }
}
