//! What an interface of others was before a jail had it; and how that is written on it meanwhile, so that it finds home
//! without a record.

use netlink::{
    Route,
    link::{Link, Mac},
};
use serde::{Deserialize, Serialize};
use vimage::{Anchor, House, Known, Piece, Result};

use super::{
    NAME,
    segment::{HELD, mark},
    stack,
};

/// The kind of an interface's piece. Its key is its name and where it is at home.
pub const KIND: &str = "interface";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (KIND, "interface of another (borrowed)");

/// What an interface was before it was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Was {
    /// Its name.
    pub name: String,
    /// The anchor of its home stack.
    pub home: String,
    /// The anchor of the jail's stack.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jail: String,
    /// Its index, which it keeps in the jail unless that is taken there.
    pub index: u32,
    /// Its ethernet address.
    pub mac: Option<Mac>,
    /// Its MTU.
    pub mtu: u32,
    /// The kind of a virtual one.
    pub kind: Option<String>,
    /// Whether it was up.
    pub up: bool,
    /// The bridge it was a port of.
    pub master: Option<u32>,
    /// Its alias, in whose place stands what it was while the jail has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl Was {
    /// The interface's piece.
    pub fn piece(&self) -> Piece {
        Piece::new(KIND, format!("{}@{}", self.name, self.home)).with(self)
    }
}

/// What it costs that a jail has an interface, in words.
pub fn cost(piece: &Piece) -> String {
    format!("{} is not at home", piece.text("name").unwrap_or_default())
}

/// What the alias begins with.
const WORDS: &str = "jail borrowed ";
/// The longest alias, IFALIASZ of linux/if.h without the null byte.
const LONGEST: usize = 255;

/// The alias of an interface that a jail has. Empty: what it was is too long to be written there.
pub fn alias(house: &dyn House, was: &Was) -> Result<String> {
    let whole = written(house, was)?;
    if whole.len() <= LONGEST {
        return Ok(whole);
    }
    let short = written(house, &Was { alias: None, ..was.clone() })?;
    Ok(if short.len() <= LONGEST { short } else { String::new() })
}

fn written(house: &dyn House, was: &Was) -> Result<String> {
    // Where it is need not be said.
    let text = serde_json::to_string(&Was { jail: String::new(), ..was.clone() }).unwrap_or_default();
    let seal = seal(house, &text, &was.jail)?;
    Ok(format!("{WORDS}{text} {seal:016x} {}", mark(house)))
}

/// The jail's root may write what it likes: this only who knows the machine's secret.
fn seal(house: &dyn House, text: &str, jail: &str) -> Result<u64> {
    house.stable(&format!("borrowed {jail} {text}"))
}

/// What an interface was that is found in a stack, if its alias says so.
///
/// # Errors
/// The machine's secret cannot be read.
pub fn read(house: &dyn House, link: &Link, jail: &Anchor) -> Result<Option<Was>> {
    let words = link.alias.as_ref().and_then(|alias| alias.strip_prefix(WORDS)?.strip_suffix(&mark(house)));
    let Some((text, sealed)) = words.and_then(|words| words.trim_end().rsplit_once(' ')) else {
        return Ok(None);
    };
    if u64::from_str_radix(sealed, 16) != Ok(seal(house, text, &jail.0)?) {
        return Ok(None);
    }
    let was: Option<Was> = serde_json::from_str(text).ok();
    Ok(was.map(|was| Was { jail: jail.0.clone(), ..was }))
}

/// Interfaces in stacks that are held for them and that no record knows.
///
/// # Errors
/// The kernel could not be asked.
pub fn strays(known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
    let mut strays = Vec::new();
    for owner in house.held()?.into_iter().filter(|owner| !known.has(NAME, HELD, owner)) {
        let Some(jail) = anchor(&owner) else { continue };
        let Some(stack) = house.open(&jail)? else { continue };
        for link in stack::socket::<Route>(&stack)?.links().map_err(stack::refused)? {
            if let Some(was) = read(house, &link, &jail)? {
                strays.push(was.piece());
            }
        }
    }
    Ok(strays)
}

/// Under which name the stack of this anchor is held. No other stack ever has it, so that what a dying jail holds is
/// in nobody's way.
pub fn owner(anchor: &str) -> String {
    anchor.replace(':', "-")
}

fn anchor(owner: &str) -> Option<Anchor> {
    owner.starts_with("net-").then(|| Anchor(owner.replace('-', ":")))
}
