//! What a jail in which there are jails is told from above.

use serde::{Deserialize, Serialize};

use crate::Settings;

/// What a file for the jail says: of itself, or of a jail in it that was made from further up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The number that whoever made it knows it by.
    pub jid: u32,
    /// The last part of its name.
    pub name: String,
    /// The number of the jail that it is in; 0 where that is not told.
    pub parent: u32,
    /// Its values, as far as they are the jail's business.
    pub settings: Settings,
}

impl Told {
    /// The folder of such files, in a store and where the jail sees it.
    pub const FOLDER: &str = "above";
    /// The file about the jail itself; that about another is called by its number.
    pub const SELF: &str = "self";
}
