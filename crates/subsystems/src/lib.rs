//! The virtualised subsystems: one file or folder each, and one line in the table.

pub mod allow;
pub mod children;
pub mod host;
pub mod inet;
pub mod meta;
pub mod mqueue;
mod needs;
pub mod proc;
pub mod rctl;
pub mod refused;
pub mod root;
pub mod shm;
mod shown;
pub mod sysvipc;
pub mod user;
pub mod vnet;

use kernel::act::Act;
use vimage::Subsystem;

/// All of them. The registry finds their order.
pub static TABLE: &[&dyn Subsystem<Act>] = &[
    &user::User,
    &proc::Proc,
    &host::HOST,
    &sysvipc::SYSVMSG,
    &sysvipc::SYSVSEM,
    &sysvipc::SYSVSHM,
    &mqueue::MQUEUE,
    &shm::SHM,
    &root::Root,
    &children::Children,
    &allow::ALLOW,
    &rctl::RCTL,
    &inet::Inet,
    &meta::Meta,
    &vnet::Vnet,
];
