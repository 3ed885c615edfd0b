//! The virtualised subsystems, one file or folder each.

pub mod vnet;
