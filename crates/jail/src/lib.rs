//! What a jail is: its record, its place in the tree, its processes, its birth, entry and removal.

pub mod cgroup;
pub mod record;
pub mod store;
pub mod vault;
