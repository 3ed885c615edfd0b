//! The subsystems of a jail, each the kernel facility of a folder or file.

pub mod allow;
pub mod host;
pub mod mqueue;
pub mod rctl;
pub mod shm;
pub mod sysvipc;
