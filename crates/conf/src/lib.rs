//! The jail.conf language of FreeBSD, jail.conf(5): blocks of parameters for jails, variables, patterns, includes.
//!
//! [`Conf::load`] reads a file and all that it includes; it does no I/O but asks its caller for texts ([`Loader`]).
//! [`Conf::resolver`] then says of each jail which parameters it has; which words are parameters, and which of them
//! take lists, it asks its caller, too ([`Parameters`]). Everything keeps its place in a file ([`Span`]), so that whoever
//! finds a value wrong can say `jail.conf line 12`, and what is wrong with a file is reported all at once, each with
//! its line ([`Report`]). [`Tree`] is one file by itself, which can be printed. The reading is total: whatever the bytes,
//! it ends, with an answer or an error, in time and memory that the limits on sizes bound.
//!
//! ```
//! use conf::{Conf, Known, Loader};
//! # struct Nothing;
//! # impl Loader for Nothing {
//! #     fn read(&mut self, _: &str) -> std::io::Result<Vec<u8>> { Err(std::io::ErrorKind::NotFound.into()) }
//! #     fn glob(&mut self, _: &str) -> std::io::Result<Vec<String>> { Ok(Vec::new()) }
//! # }
//! # let mut loader = Nothing;
//! let text = b"path = \"/jails/$name\"; web { persist; } db { depend = web; persist; nopersist; }";
//! let conf = Conf::load("jail.conf", text.to_vec(), &mut loader)?;
//! assert_eq!(conf.jails().collect::<Vec<_>>(), ["web", "db"]);
//!
//! let parameters = |word: &str| match word {
//!     "nopersist" => Ok(Known { name: "persist".into(), list: false }),
//!     word => Ok(Known { name: word.into(), list: word == "depend" }),
//! };
//! let mut resolver = conf.resolver(&parameters);
//! let db = resolver.jail("db").unwrap();
//! assert!(db.problems.is_empty());
//! let said: Vec<_> = db.params.iter().map(|p| (p.word, p.values.iter().map(|v| &*v.text).collect())).collect();
//! let wanted: [(_, Vec<_>); 4] =
//!     [("name", vec!["db"]), ("path", vec!["/jails/db"]), ("depend", vec!["web"]), ("nopersist", vec![])];
//! assert_eq!(said, wanted);
//! assert_eq!(conf.place(db.params[1].values[0].span).to_string(), "jail.conf line 1");
//! # Ok::<(), conf::Report>(())
//! ```
#![forbid(unsafe_code)]

pub mod devfs;
mod escape;
pub mod glob;
mod lexer;
mod load;
mod parameters;
mod parser;
pub mod pattern;
mod print;
mod problem;
mod resolve;
mod source;
pub mod tree;

pub use crate::{
    load::{Conf, Loader, MOST_BYTES},
    parameters::{Known, Parameters, Unknown},
    print::quoted,
    problem::{Problem, Report, Shown},
    resolve::{
        ARRAY_INLINE, Jail, Param, Resolver, VARIABLE_LOOP, Value, like_a_parameter, no_variable, redefined,
    },
    source::{FileId, Place, Span},
    tree::Tree,
};
