//! subsystems
