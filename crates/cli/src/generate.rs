//! Manual pages and completions, from the declarations of tools, flags and parameters.

mod complete;
mod conf;
mod freebsd;
mod man;
mod rules;
mod units;

use kernel::act::Act;
use vimage::{Error, Registry, Result};

use crate::flags::{COMMON, Flag, GENERATED, Tool};

/// Generates what is asked for.
///
/// # Errors
/// Nobody knows how.
pub(crate) fn generate(tool: &Tool, registry: &Registry<Act>, what: &str) -> Result<String> {
    match what {
        "man" => Ok(man::page(tool, registry)),
        "conf" if tool.name == "jail" => Ok(conf::page()),
        "freebsd" if tool.name == "jail" => Ok(freebsd::page(registry)),
        "systemd" if tool.name == "jail" => units::all(),
        "systemd@" if tool.name == "jail" => units::one(),
        "rules" if tool.name == "jail" => Ok(rules::page()),
        "bash" => Ok(complete::bash(tool, registry)),
        "zsh" => Ok(complete::zsh(tool, registry)),
        "fish" => Ok(complete::fish(tool, registry)),
        _ => Err(Error::usage(format!("cannot generate {what}")).hint(GENERATED.join(", "))),
    }
}

/// The flags that there are.
fn flags<'t>(tool: &'t Tool, registry: &'t Registry<Act>) -> impl Iterator<Item = &'t Flag> {
    tool.flags.iter().chain(COMMON).filter(|f| f.exists(registry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TOOLS;

    #[test]
    fn every_flag_is_in_everything_that_is_generated() {
        let registry = crate::registry(&[]).unwrap();
        for tool in TOOLS {
            for what in GENERATED {
                let text = generate(tool, &registry, what).unwrap();
                for flag in flags(tool, &registry) {
                    let names = match (*what, flag.short, flag.long) {
                        ("man", short, "") => format!("\\-{short}"),
                        ("man", _, long) => format!("\\-\\-{long}"),
                        ("fish", "", long) => format!("-l {long} "),
                        ("fish", short, _) => format!("-s {short} "),
                        (_, short, "") => format!("-{short}"),
                        (_, _, long) => format!("--{long}"),
                    };
                    assert!(text.contains(&names), "{} {what}: {names}", tool.name);
                }
            }
        }
    }

    #[test]
    fn every_parameter_is_in_the_manual_and_the_completions() {
        let registry = crate::registry(&[]).unwrap();
        for what in GENERATED {
            let text = generate(&crate::jail8::TOOL, &registry, what).unwrap();
            let names = generate(&crate::jls::TOOL, &registry, what).unwrap();
            for (param, subsystem) in registry.params() {
                // One that can only be read is nothing to type in a definition.
                let is_read = *what != "man" && param.when == vimage::When::Read;
                assert!(if is_read { &names } else { &text }.contains(param.name), "{what}: {}", param.name);
                assert!(*what != "man" || text.contains(&format!(".SS {subsystem}")), "{subsystem}");
            }
        }
    }

    #[test]
    fn an_unknown_form_is_refused() {
        let registry = crate::registry(&[]).unwrap();
        let error = generate(&crate::jls::TOOL, &registry, "tcsh").unwrap_err();
        assert_eq!(error.to_string(), "cannot generate tcsh");
        assert_eq!(error.advice(), Some("man, bash, zsh, fish"));
    }
}
