//! The audit: the records against the kernel, both ways.

use serde::{Deserialize, Serialize};

use crate::{Context as _, Doomed, Driver, Instance, Known, Piece, Result, Settings, Shared, shared::User};

/// Where record and kernel disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// A record has a piece that does not exist.
    Missing {
        /// Whose record.
        owner: String,
        /// The piece.
        piece: Piece,
    },
    /// Something carries our mark and is in no record.
    Stray {
        /// What would undo it.
        piece: Piece,
    },
    /// Something shared has users that are gone.
    Unused {
        /// The shared thing.
        owner: String,
        /// Who is gone.
        jids: Vec<u32>,
    },
    /// A change of a jail was interrupted, and cannot be taken back.
    Unfinished {
        /// The jail.
        owner: String,
        /// Why.
        error: String,
    },
    /// A subsystem could not look.
    Unknown {
        /// Which.
        subsystem: String,
        /// Why.
        error: String,
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { owner, piece } => write!(f, "{owner}: {piece} is recorded and does not exist"),
            Self::Stray { piece } => write!(f, "{piece} is in no record"),
            Self::Unused { owner, jids } => write!(f, "{owner} has users that are gone: {jids:?}"),
            Self::Unfinished { owner, error } => {
                write!(f, "{owner}: an interrupted change of it cannot be taken back: {error}")
            }
            Self::Unknown { subsystem, error } => write!(f, "{subsystem}: cannot look: {error}"),
        }
    }
}

impl Finding {
    /// The command that mends it; `None`: none does, or it takes a look at what is wrong first.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::Stray { .. } | Self::Unused { .. } => Some("jdb repair".to_owned()),
            Self::Unfinished { owner, .. } => Some(format!("jail -r {owner}")),
            Self::Missing { .. } | Self::Unknown { .. } => None,
        }
    }
}

impl<S> Driver<'_, S> {
    /// Pieces of an instance that do not exist.
    ///
    /// # Errors
    /// A subsystem cannot tell.
    pub fn missing(&self, of: &Instance<'_>) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for piece in of.pieces {
            if !self
                .exists(piece, &User::of(of.jid, of.name))
                .doing_with(|| piece.to_string())
                .doing(of.name)?
            {
                findings.push(Finding::Missing { owner: of.name.to_owned(), piece: piece.clone() });
            }
        }
        Ok(findings)
    }

    pub(crate) fn exists(&self, piece: &Piece, owner: &User) -> Result<bool> {
        match (self.registry.subsystem(&piece.subsystem), piece.kind.as_str()) {
            (_, Piece::INSTANCE) => Ok(self.is_alive(piece)),
            (_, Shared::USE) => {
                let name = Shared::name(&piece.subsystem, &piece.key);
                Shared::has_user(self.house.shelf(), &name, owner)
            }
            (Some(subsystem), _) => subsystem.exists(piece, self.house),
            (None, _) => Ok(true),
        }
    }

    /// What is wrong with what jails share; `alive` tells whether a jid has a record.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn shared_findings(&self, alive: &dyn Fn(u32) -> bool) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for owner in Shared::names(self.house.shelf())? {
            match self.shared_findings_of(&owner, alive) {
                Ok(found) => findings.extend(found),
                Err(error) => findings.push(Finding::Unknown { subsystem: owner, error: error.to_string() }),
            }
        }
        Ok(findings)
    }

    /// What is found is looked at again while nobody makes, joins or leaves it: in between, the record is ahead of
    /// the kernel or behind it.
    fn shared_findings_of(&self, owner: &str, alive: &dyn Fn(u32) -> bool) -> Result<Vec<Finding>> {
        if self.find_shared(owner, alive)?.is_empty() {
            return Ok(Vec::new());
        }
        match Shared::lock_there(self.house.shelf(), owner)? {
            Some(_locked) => self.find_shared(owner, alive),
            None => Ok(Vec::new()),
        }
    }

    fn find_shared(&self, owner: &str, alive: &dyn Fn(u32) -> bool) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let (users, pieces) = Shared::look(self.house.shelf(), owner)?;
        let gone: Vec<_> = users.iter().filter(|user| !self.stays(user, alive)).cloned().collect();
        if !gone.is_empty() || users.is_empty() {
            findings.push(Finding::Unused { owner: owner.to_owned(), jids: User::jids(&gone) });
        }
        for piece in pieces {
            if !self.exists(&piece, &User::of(0, owner))? {
                findings.push(Finding::Missing { owner: owner.to_owned(), piece });
            }
        }
        Ok(findings)
    }

    /// What carries our mark and is not among the known pieces.
    #[must_use]
    pub fn strays(&self, known: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for subsystem in self.registry.iter() {
            match subsystem.strays(known, self.house) {
                Ok(strays) => findings.extend(strays.into_iter().map(|p| Finding::Stray {
                    piece: Piece { subsystem: subsystem.name().to_owned(), ..p },
                })),
                Err(e) => findings
                    .push(Finding::Unknown { subsystem: subsystem.name().to_owned(), error: e.to_string() }),
            }
        }
        findings
    }

    /// Undoes a stray, on behalf of nobody's instance.
    ///
    /// # Errors
    /// It will not go.
    pub fn undo_stray(&self, piece: &Piece, nobody: &Instance<'_>) -> Result<()> {
        let Some(subsystem) = self.registry.subsystem(&piece.subsystem) else { return Ok(()) };
        self.undo_one(subsystem, &Doomed { piece, of: nobody, alone: false })?;
        self.recorder.freed(piece);
        Ok(())
    }

    /// Ends the use of shared things by jails that are gone, and what has no users with it. Goes on past what
    /// would not go.
    ///
    /// # Errors
    /// The first that would not go.
    pub fn sweep_shared(&self, alive: &dyn Fn(u32) -> bool) -> Result<()> {
        // What is shared may itself use something shared, so go on until nothing changes.
        loop {
            let names = Shared::names(self.house.shelf())?;
            let mut swept = Ok(());
            for name in &names {
                let one = self.sweep_one(name, &|user| self.stays(user, alive)).doing(name);
                swept = swept.and(one);
            }
            if Shared::names(self.house.shelf())?.len() == names.len() {
                return swept;
            }
        }
    }

    fn sweep_one(&self, name: &str, stays: &dyn Fn(&User) -> bool) -> Result<()> {
        let (users, _) = Shared::look(self.house.shelf(), name)?;
        if !users.is_empty() && users.iter().all(stays) {
            return Ok(());
        }
        let Some(shared) = Shared::lock_there(self.house.shelf(), name)? else { return Ok(()) };
        // Looked at again: now nobody comes or goes.
        let (users, _) = Shared::look(self.house.shelf(), name)?;
        let gone = users.into_iter().filter(|user| !stays(user));
        shared
            .end(gone, &Settings::default(), self.house, |of, journal| self.unmake_shared(of, journal, true))
    }

    /// Whether a user of something shared is still there: asked anew each time, since others come and go.
    pub(crate) fn stays(&self, user: &User, alive: &dyn Fn(u32) -> bool) -> bool {
        match user {
            User::Jail(jid) => alive(*jid),
            User::Thing(name) => Shared::names(self.house.shelf()).map_or(true, |names| names.contains(name)),
        }
    }
}
