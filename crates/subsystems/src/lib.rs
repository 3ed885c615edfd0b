//! The virtualised subsystems: one file or folder each, and one line in the table.

pub mod proc;
pub mod root;
pub mod user;

use kernel::act::Act;
use vimage::Subsystem;

/// All of them. The registry finds their order.
pub static TABLE: &[&dyn Subsystem<Act>] = &[&user::User, &proc::Proc, &root::Root];
