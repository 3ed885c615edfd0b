//! What a jail is: its record, its place in the tree, its processes, its birth, entry and removal.
//!
//! It is handed a registry of subsystems and names none of them but [`core::Core`], its own.

pub mod above;
pub mod account;
mod audit;
mod birth;
mod boot;
pub mod cgroup;
mod change;
pub mod configuration;
pub mod core;
mod creation;
mod entry;
pub mod hooks;
pub mod house;
mod jails;
mod listing;
mod lock;
mod notes;
mod place;
pub mod privilege;
pub mod process;
pub mod record;
mod removal;
mod rename;
pub mod schedule;
pub mod stop;
pub mod store;
pub mod users;
pub mod vault;
mod wait;

pub use jails::{Created, Jails, LIMIT_EXCEEDED, below};
pub use listing::Listing;
pub use place::Place;
