//! What a parameter of FreeBSD's is here, by what declares it.

use kernel::act::Act;
use subsystems::allow::table::{Can, ROWS};
use vimage::{Param, Registry, When};

use super::names::{Otherwise, Row};
use crate::generate::man::sentence;

/// What a parameter is here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What it is on FreeBSD.
    Same,
    /// Not quite that: how, one after another.
    Differs(Vec<String>),
    /// It is known and given to no jail.
    Refused {
        /// Why.
        reason: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// It can be given and changes nothing, as on FreeBSD. With what its declaration says of it.
    Ignored(&'static str),
}

impl Verdict {
    /// That of a parameter; `None`: nothing here knows it.
    pub(super) fn of(row: &Row, registry: &Registry<Act>) -> Option<Self> {
        let Some(param) = registry.param(row.name) else {
            return registry
                .refusal(row.name)
                .map(|refused| Self::Refused { reason: refused.reason, hint: refused.hint });
        };
        let mut how = Vec::new();
        if row.changes && param.when == When::Create {
            how.push("given at creation alone".to_owned());
        }
        match ROWS.iter().find(|privilege| privilege.name == row.name).map(|privilege| privilege.can) {
            Some(Can::Never(reason, hint)) => return Some(Self::Refused { reason, hint }),
            Some(Can::Ignored) => return Some(Self::Ignored(param.help)),
            Some(can) => how.extend(granted(can)),
            None => {}
        }
        match row.otherwise {
            Otherwise::Nothing => {}
            Otherwise::So(text) => how.push(text.to_owned()),
            Otherwise::Declared => how.push(phrase(param)),
        }
        Some(if how.is_empty() { Self::Same } else { Self::Differs(how) })
    }

    /// As the page has it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Same => "Same.".to_owned(),
            Self::Differs(how) => format!("Differs: {}.", how.join("; ")),
            Self::Refused { reason, hint } => format!("Refused: {reason}. Instead: {hint}."),
            Self::Ignored(what) => format!("Ignored as on FreeBSD: {what}."),
        }
    }
}

/// What a jail is to have to be granted a privilege, and why.
fn granted(can: Can) -> Option<String> {
    let needs = can.needs()?;
    Some(match can.reason() {
        Some(reason) => format!("only with {needs}: {reason}"),
        None => format!("only with {needs}"),
    })
}

/// The paragraph of a declaration as part of a sentence.
fn phrase(param: &Param) -> String {
    let doc = if param.doc.is_empty() { sentence(param.help) } else { param.doc.to_owned() };
    let mut letters = doc.trim_end_matches('.').chars();
    let first = letters.next().map(char::to_lowercase).into_iter().flatten();
    first.collect::<String>() + letters.as_str()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vimage::{ErrorKind, Given, Kind, Refused};

    use super::*;
    use crate::generate::{
        freebsd::{names, page},
        man::escaped,
    };

    fn rows() -> impl Iterator<Item = &'static Row> {
        names::ALL.iter().flat_map(|group| group.rows)
    }

    #[test]
    fn every_parameter_of_freebsd_is_known_and_on_the_page() {
        let registry = crate::registry(&[]).unwrap();
        let page = page(&registry);
        let mut seen = BTreeSet::new();
        for row in rows() {
            assert!(seen.insert(row.name), "{}", row.name);
            let verdict = Verdict::of(row, &registry).expect(row.name);
            let name = format!("\\fB{}\\fR", escaped(row.name));
            let entry = page.split_once(".SH PARAMETERS").unwrap().1.lines().skip_while(|line| *line != name);
            // Behind the names that share it.
            let said = entry.skip(1).find(|line| !line.starts_with(".TQ") && !line.starts_with("\\fB"));
            assert_eq!(said, Some(escaped(&verdict.text()).as_str()), "{name}");
        }
    }

    #[test]
    fn what_is_refused_is_not_honoured() {
        let registry = crate::registry(&[]).unwrap();
        for row in rows() {
            let refused = matches!(Verdict::of(row, &registry), Some(Verdict::Refused { .. }));
            let never = ROWS.iter().any(|p| p.name == row.name && matches!(p.can, Can::Never(..)));
            let error = registry.lookup(row.name).err();
            assert_eq!(refused, never || error.is_some(), "{}", row.name);
            if let Some(error) = error {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(error.advice().is_some(), "{error}");
            }
        }
    }

    #[test]
    fn what_is_honoured_can_be_given() {
        let registry = crate::registry(&[]).unwrap();
        let given = |definition: &str| registry.define(&mut Given::default(), definition);
        let honoured = rows().filter_map(|row| registry.param(row.name)).filter(|p| p.when != When::Read);
        for param in honoured {
            let name = param.name;
            let definitions = match param.kind {
                Kind::Bool => {
                    let (stem, last) = name.rsplit_once('.').unwrap_or(("", name));
                    let dot = if stem.is_empty() { "" } else { "." };
                    vec![name.to_owned(), format!("{name}=false"), format!("{stem}{dot}no{last}")]
                }
                Kind::Mode(modes) => {
                    modes.iter().map(|m| format!("{name}={}", m.word())).chain([name.to_owned()]).collect()
                }
                Kind::Int { min, .. } | Kind::Percent { min, .. } => vec![format!("{name}={min}")],
                Kind::Size => vec![format!("{name}=64K"), format!("{name}=")],
                Kind::Pairs { .. } => vec![name.to_owned(), format!("{name}.k=v"), format!("{name}.k")],
                _ => vec![format!("{name}=x")],
            };
            for definition in definitions {
                assert_eq!(given(&definition), Ok(()), "{definition}");
            }
        }
    }

    #[test]
    fn whatever_is_refused_or_a_privilege_is_freebsds() {
        let registry = crate::registry(&[]).unwrap();
        let found: Vec<&Refused> = rows().filter_map(|row| registry.refusal(row.name)).collect();
        assert!(registry.refused().all(|row| found.contains(&row)));
        assert!(ROWS.iter().all(|privilege| rows().any(|row| row.name == privilege.name)));
        // Of each group that has a reason, it is that of all.
        for group in names::ALL.iter().filter(|group| group.fixed.is_some()) {
            let params = group.rows.iter().filter_map(|row| registry.param(row.name));
            assert!(params.filter(|p| p.when == When::Create).all(|p| p.fixed == group.fixed));
        }
    }

    #[test]
    fn declarations_say_what_differs() {
        let registry = crate::registry(&[]).unwrap();
        let text = |name| {
            let row = rows().find(|row| row.name == name).unwrap();
            Verdict::of(row, &registry).unwrap().text()
        };
        assert_eq!(text("persist"), "Same.");
        assert_eq!(
            text("allow.routing"),
            "Differs: given at creation alone; only with vnet=new: CAP_NET_ADMIN over the host's stack would be all of \
             its configuration."
        );
        assert_eq!(
            text("securelevel"),
            "Refused: Linux has no securelevels. Instead: what the jail's root may do is said by allow.* parameters."
        );
        assert_eq!(text("mount.fdescfs"), "Differs: every jail has a /dev/fd, which leads to /proc/self/fd.");
        assert_eq!(text("allow.dying"), "Ignored as on FreeBSD: deprecated, without effect.");
    }
}
