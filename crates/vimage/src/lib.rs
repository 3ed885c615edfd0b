//! The framework in which a kernel subsystem is made virtual once.
//!
//! FreeBSD's VIMAGE project of 2010 wrote a general framework for virtualised kernel subsystems (`struct
//! vimage_subsys`: constructors and destructors in order, instances, shared debugging), which was never
//! merged. This is that framework for what Linux offers. It knows no subsystem, no jail and no Linux.
//!
//! A [`Subsystem`] declares parameters and makes things; each thing is a [`Piece`], written to a
//! [`Journal`] before it is made. From the pieces alone the [`Driver`] rolls back a failed create, removes,
//! repairs after a crash, audits, keeps the ledger, traces, and injects failures.

mod audit;
mod cost;
mod driver;
mod error;
pub mod file;
mod journal;
mod ledger;
mod nearest;
mod numbers;
pub mod pairs;
mod param;
mod piece;
mod record;
mod refused;
mod registry;
mod settings;
mod shared;
mod site;
mod snapshot;
mod subsystem;
mod told;

pub use audit::Finding;
pub use cost::Cost;
pub use driver::{Driver, Failed, Inside, Owner};
pub use error::{Cause, Context, Error, ErrorKind, Result};
pub use journal::Journal;
pub use ledger::{Count, Ledger};
pub use numbers::Numbers;
pub use param::{Child, Kind, Mode, Param, When};
pub use piece::{Anchor, Piece};
pub use record::{Event, Fault, Recorder};
pub use refused::Refused;
pub use registry::{Given, Named, Registry};
pub use settings::{Settings, Value};
pub use shared::Shared;
pub use site::{Fds, House, Instance, Site};
pub use snapshot::Node;
pub use subsystem::{Ask, Doomed, Entry, Known, Lack, Subsystem, Support};
pub use told::Told;
