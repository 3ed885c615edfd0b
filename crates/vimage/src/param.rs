//! Parameters: one declaration feeds the parser, the messages, `jls`, the manual and the completions.

use crate::{Error, Numbers, Result, pairs::Edit, settings::Value};

/// One parameter of a subsystem.
#[derive(Debug)]
pub struct Param {
    /// The full name, as the user writes it.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// When it can be given.
    pub when: When,
    /// The value of a jail that does not give it, in the user's notation; `None`: it has none.
    pub default: Option<&'static str>,
    /// How a child jail's value relates to its parent's.
    pub child: Child,
    /// Why it can be given at creation alone, if that needs to be said: one line without a full stop.
    pub fixed: Option<&'static str>,
    /// One line for lists and completions: small first letter, no full stop.
    pub help: &'static str,
    /// The manual's paragraph.
    pub doc: &'static str,
}

/// The values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `p`, `nop`, `p=true`, `p=false`.
    Bool,
    /// A whole number in the given range, decimal, or hexadecimal after `0x`.
    Int {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// Bytes: a whole number with an optional `K`, `M`, `G` or `T` (powers of 1024, as rctl(8)).
    Size,
    /// A share of one processor in percent, with or without the sign: `50`, `50%`.
    Percent {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// Text of at most this many bytes.
    Text {
        /// The greatest length in bytes.
        max: usize,
    },
    /// FreeBSD's `jailsys`: the modes that this one takes. An empty value means `new`.
    Mode(&'static [Mode]),
    /// A set of whole numbers up to this one, such as processors: `0-3,8`. A text, in order: [`Numbers`].
    Numbers {
        /// The greatest number.
        max: u32,
    },
    /// Text of at most this many bytes, whose lines KEY=VALUE can be given and read one by one, as `p.KEY`:
    /// [`crate::pairs`]. What is given changes what is there, one after the other.
    Pairs {
        /// The greatest length in bytes.
        max: usize,
    },
    /// A list. Repeating the parameter appends.
    List {
        /// Whether a comma in a value separates items.
        commas: bool,
    },
}

/// The modes of a subsystem, as FreeBSD's jailsys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// The facility is denied.
    Disable,
    /// The jail uses its parent's instance.
    Inherit,
    /// The jail has an instance of its own.
    New,
}

/// When a parameter can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At creation alone.
    Create,
    /// At creation, and of a living jail.
    Modify,
    /// Never: it can only be read.
    Read,
}

/// How a child jail's value relates to its parent's. A child can be given less, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// It does not.
    Free,
    /// A child that does not say takes the parent's value.
    Inherit,
    /// It is the parent's, and changes with it. That a child asks for no other is for the subsystem to check: it knows
    /// which words mean the same.
    Parents,
    /// A number not above the parent's (where the parent has one); a mode that the parent's does not disable.
    AtMost,
    /// A number smaller than the parent's; 0 where that is 0.
    Below,
    /// A list whose items are all in the parent's; a set of numbers that are.
    Subset,
    /// True only where the parent's is.
    AndParent,
}

impl Mode {
    /// The user's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Inherit => "inherit",
            Self::New => "new",
        }
    }

    /// The mode of a word, or of FreeBSD's numbers for them.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "disable" | "0" => Some(Self::Disable),
            "new" | "1" | "" => Some(Self::New),
            "inherit" | "2" => Some(Self::Inherit),
            _ => None,
        }
    }
}

impl Param {
    /// A modifiable parameter without default that a parent does not bound; the other fields by struct update.
    pub const BASE: Self = Self {
        name: "",
        kind: Kind::Text { max: 255 },
        when: When::Modify,
        default: None,
        child: Child::Free,
        fixed: None,
        help: "",
        doc: "",
    };

    /// The value of a text.
    ///
    /// # Errors
    /// FreeBSD's wording: `NAME: non-integer value "X"`, `NAME: unknown boolean value "X"`,
    /// `NAME: unknown jailsys value "X"` (jail(8)).
    pub fn parse(&self, text: &str) -> Result<Value> {
        let bad = |what: &str| Error::usage(format!("{}: {what} \"{text}\"", self.name));
        match self.kind {
            Kind::Bool => match text {
                "" | "true" | "1" => Ok(Value::Bool(true)),
                "false" | "0" => Ok(Value::Bool(false)),
                _ => Err(bad("unknown boolean value")),
            },
            Kind::Int { min, max } | Kind::Percent { min, max } => {
                let bare = text.strip_suffix('%').filter(|_| matches!(self.kind, Kind::Percent { .. }));
                let digits = bare.unwrap_or(text);
                let number = match digits.strip_prefix("0x") {
                    Some(hex) => i64::from_str_radix(hex, 16),
                    None => digits.parse(),
                }
                .map_err(|_| bad("non-integer value"))?;
                if (min..=max).contains(&number) {
                    Ok(Value::Int(number))
                } else {
                    Err(bad("value out of range").hint(format!("from {min} to {max}")))
                }
            }
            Kind::Size => size(text).map(Value::Int).ok_or_else(|| bad("non-integer value")),
            Kind::Text { max } => {
                if text.len() > max {
                    return Err(bad("value too long").hint(format!("at most {max} bytes")));
                }
                if text.contains('\0') {
                    return Err(bad("value with a null byte"));
                }
                Ok(Value::Text(text.to_owned()))
            }
            Kind::Numbers { max } => {
                let set = Numbers::parse(text, max).ok_or_else(|| {
                    bad("not a list of numbers")
                        .hint(format!("it looks like 0-3,8, with numbers up to {max}"))
                })?;
                Ok(Value::Text(set.to_string()))
            }
            Kind::Pairs { .. } if text.contains('\0') => Err(bad("value with a null byte")),
            Kind::Pairs { max } => self.fits(text, max).map(|()| Value::Text(text.to_owned())),
            Kind::Mode(modes) => {
                let mode = Mode::of(text).ok_or_else(|| bad("unknown jailsys value"))?;
                if modes.contains(&mode) {
                    return Ok(Value::Text(mode.word().to_owned()));
                }
                let takes: Vec<_> = modes.iter().map(|m| m.word()).collect();
                Err(bad("jailsys value not supported here").hint(format!("it takes {}", takes.join(", "))))
            }
            Kind::List { commas } => Ok(Value::List(match (text, commas) {
                ("", _) => Vec::new(),
                (_, true) => text.split(',').map(str::to_owned).collect(),
                (_, false) => vec![text.to_owned()],
            })),
        }
    }

    /// That a living jail's is to be another, and the parameter is of creation alone: jail(8)'s words.
    #[must_use]
    pub fn cannot_change(&self) -> Error {
        let error = Error::usage(format!("{} cannot be changed after creation", self.name));
        match self.fixed {
            Some(why) => error.hint(why),
            None => error,
        }
    }

    /// What changes make of a text of pairs.
    ///
    /// # Errors
    /// FreeBSD's wording of EFBIG: it would be larger than such a text may be.
    pub fn edited(&self, text: &str, edits: &[Edit]) -> Result<Value> {
        let text = edits.iter().fold(text.to_owned(), |text, edit| edit.apply(&text));
        self.parse(&text)
    }

    fn fits(&self, text: &str, max: usize) -> Result<()> {
        if text.len() <= max {
            return Ok(());
        }
        let what = format!("{}: File too large: {} bytes", self.name, text.len());
        Err(Error::usage(what).hint(format!("at most {max} bytes, all lines together")))
    }

    /// Whether a child may have `own` below a parent that has `parents`; the error says what the parent allows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Denied`].
    pub fn permit(&self, own: &Value, parents: Option<&Value>) -> Result<()> {
        let limit = self.narrowed(own, parents).filter(|_| self.child != Child::Parents);
        let Some(limit) = limit else { return Ok(()) };
        Err(Error::new(crate::ErrorKind::Denied, format!("{}: Operation not permitted", self.name))
            .hint(format!("its parent's allows a child at most {}", limit.text())))
    }

    /// What is left of a child's value below its parent's, if that is less than the value itself.
    #[must_use]
    pub fn narrowed(&self, own: &Value, parents: Option<&Value>) -> Option<Value> {
        match (self.child, own, parents?) {
            (Child::AtMost, Value::Int(own), Value::Int(limit)) if own > limit => Some(Value::Int(*limit)),
            (Child::Below, Value::Int(own), Value::Int(limit)) if *own > 0 && own >= limit => {
                Some(Value::Int((limit - 1).max(0)))
            }
            (Child::AtMost, Value::Text(own), Value::Text(limit)) if limit == "disable" && own != limit => {
                Some(Value::Text(limit.clone()))
            }
            (Child::Parents, own, parents) if own != parents => Some(parents.clone()),
            (Child::AndParent, Value::Bool(true), Value::Bool(false)) => Some(Value::Bool(false)),
            (Child::Subset, Value::Text(own), Value::Text(limit)) => self.left(own, limit).map(Value::Text),
            (Child::Subset, Value::List(own), Value::List(limit))
                if own.iter().any(|o| !limit.contains(o)) =>
            {
                Some(Value::List(own.iter().filter(|o| limit.contains(o)).cloned().collect()))
            }
            _ => None,
        }
    }

    /// What is left of a set of numbers within another, if that is less; where nothing is, all of the other.
    fn left(&self, own: &str, limit: &str) -> Option<String> {
        let Kind::Numbers { max } = self.kind else { return None };
        let (own, limit) = (Numbers::parse(own, max)?, Numbers::parse(limit, max)?);
        let within = own.within(&limit);
        match (within == own, within.is_empty()) {
            (true, _) => None,
            (false, true) => Some(limit.to_string()),
            (false, false) => Some(within.to_string()),
        }
    }

    /// Whether it is a limit that an empty value lifts: one that a jail need not have, in a living jail, too.
    #[must_use]
    pub fn can_be_lifted(&self) -> bool {
        let is_limit =
            matches!(self.kind, Kind::Int { .. } | Kind::Size | Kind::Percent { .. } | Kind::Numbers { .. });
        is_limit && self.when == When::Modify && self.default.is_none()
    }

    /// The user's words for the kind, for the manual and `jdb show params`.
    #[must_use]
    pub fn kind_text(&self) -> String {
        match self.kind {
            Kind::Bool => "bool".into(),
            Kind::Int { .. } => "int".into(),
            Kind::Size => "size".into(),
            Kind::Percent { .. } => "percent".into(),
            Kind::Text { .. } => "string".into(),
            Kind::Numbers { .. } => "numbers".into(),
            Kind::Pairs { .. } => "pairs".into(),
            Kind::Mode(modes) => modes.iter().map(|m| m.word()).collect::<Vec<_>>().join("|"),
            Kind::List { .. } => "list".into(),
        }
    }
}

/// Bytes of `64M`.
fn size(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (digits, shift) = match upper.strip_suffix(['K', 'M', 'G', 'T']) {
        Some(digits) => (digits, 10 * (1 + "KMGT".find(upper.chars().last()?)?)),
        None => (upper.as_str(), 0),
    };
    let number: i64 = digits.parse().ok().filter(|n| *n >= 0)?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn param(kind: Kind, child: Child) -> Param {
        Param { name: "p", kind, child, ..Param::BASE }
    }

    #[test]
    fn sizes_have_suffixes_and_do_not_overflow() {
        assert_eq!(size("64M"), Some(64 << 20));
        assert_eq!(size("1g"), Some(1 << 30));
        assert_eq!(size("7"), Some(7));
        for bad in ["", "M", "-1", "1.5G", "9999999999T", "1Q", "é"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn percents_may_have_their_sign() {
        let percent = param(Kind::Percent { min: 1, max: 400 }, Child::Free);
        assert_eq!(percent.parse("50%"), Ok(Value::Int(50)));
        assert_eq!(percent.parse("50"), Ok(Value::Int(50)));
        for bad in ["%", "50%%", "% 50", "0%", "401%", ""] {
            assert!(percent.parse(bad).is_err(), "{bad}");
        }
        assert!(param(Kind::Int { min: 1, max: 400 }, Child::Free).parse("50%").is_err());
    }

    #[test]
    fn sets_of_numbers_are_put_in_order() {
        let cpus = param(Kind::Numbers { max: 9 }, Child::Free);
        assert_eq!(cpus.parse("8,3,0-2"), Ok(Value::Text("0-3,8".into())));
        let error = cpus.parse("0-10").unwrap_err();
        assert_eq!(error.to_string(), "p: not a list of numbers \"0-10\"");
        assert_eq!(error.advice(), Some("it looks like 0-3,8, with numbers up to 9"));
    }

    #[test]
    fn errors_use_upstreams_words() {
        let text = |kind, text| param(kind, Child::Free).parse(text).unwrap_err().to_string();
        assert_eq!(text(Kind::Bool, "yes"), "p: unknown boolean value \"yes\"");
        assert_eq!(text(Kind::Int { min: 0, max: 9 }, "x"), "p: non-integer value \"x\"");
        assert_eq!(text(Kind::Mode(&[Mode::New]), "old"), "p: unknown jailsys value \"old\"");
    }

    #[test]
    fn a_child_has_at_most_what_its_parent_has() {
        let int = param(Kind::Int { min: 0, max: 99 }, Child::AtMost);
        assert!(int.permit(&Value::Int(5), Some(&Value::Int(5))).is_ok());
        assert!(int.permit(&Value::Int(6), Some(&Value::Int(5))).is_err());
        assert!(int.permit(&Value::Int(6), None).is_ok());
        let below = param(Kind::Int { min: 0, max: 99 }, Child::Below);
        let narrowed = |own, parents| below.narrowed(&Value::Int(own), Some(&Value::Int(parents)));
        assert_eq!((narrowed(5, 5), narrowed(5, 6)), (Some(Value::Int(4)), None));
        assert_eq!((narrowed(1, 0), narrowed(0, 0)), (Some(Value::Int(0)), None));
        let flag = param(Kind::Bool, Child::AndParent);
        assert!(flag.permit(&Value::Bool(true), Some(&Value::Bool(false))).is_err());
        assert!(flag.permit(&Value::Bool(false), Some(&Value::Bool(false))).is_ok());
        let cpus = param(Kind::Numbers { max: 9 }, Child::Subset);
        let narrowed = |own: &str, limit: &str| {
            let less = cpus.narrowed(&Value::Text(own.into()), Some(&Value::Text(limit.into())));
            less.map(|less| less.text())
        };
        assert_eq!((narrowed("1-2", "0-2"), narrowed("1-3", "0-2")), (None, Some("1-2".into())));
        assert_eq!(narrowed("3", "0,2"), Some("0,2".into()));
        let same = param(Kind::Text { max: 9 }, Child::Parents);
        let text = |text: &str| Value::Text(text.to_owned());
        assert!(same.permit(&text("4"), Some(&text("5"))).is_ok());
        assert_eq!(same.narrowed(&text("4"), Some(&text("5"))), Some(text("5")));
        assert_eq!(
            (same.narrowed(&text("5"), Some(&text("5"))), same.narrowed(&text("4"), None)),
            (None, None)
        );
        let list = param(Kind::List { commas: true }, Child::Subset);
        let items = |s: &str| Value::List(s.split(' ').map(str::to_owned).collect());
        assert_eq!(list.narrowed(&items("a b c"), Some(&items("c a"))), Some(items("a c")));
    }
}
