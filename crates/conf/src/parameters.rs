//! What the language does not know: which words are parameters.

/// Knows the parameters of jails. A function of [`Parameters::look_up`]'s kind is one, too.
pub trait Parameters {
    /// The parameter that a word in a file names.
    ///
    /// # Errors
    /// It names none, or one that is refused; the error says what a user reads.
    fn look_up(&self, word: &str) -> Result<Known, Unknown>;

    /// Whether a variable must not have this name, as it is a parameter's: `$path = …;` would look like a path and be
    /// none. One that does not reserve every name can read files that were written before the parameter was there.
    fn is_reserved(&self, name: &str) -> bool {
        self.look_up(name).is_ok()
    }
}

/// A parameter, as far as the language needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name. `nopersist` and `persist` are one parameter and have one name, so that the later overrides the earlier.
    pub name: String,
    /// Whether it takes several values.
    pub list: bool,
}

/// Why a word is no parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// One line: `unknown parameter: NAME`, or why it is refused.
    pub message: String,
    /// Advice, in one line.
    pub hint: Option<String>,
}

impl<F: Fn(&str) -> Result<Known, Unknown>> Parameters for F {
    fn look_up(&self, word: &str) -> Result<Known, Unknown> {
        self(word)
    }
}
