//! What is going on: who holds a namespace. Changes nothing, and knows no jail.

mod census;

pub use census::{Holder, Namespace, What, comm, namespaces_of, take};
