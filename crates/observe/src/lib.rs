//! What is going on: who holds a namespace. Changes nothing, and knows no jail.

mod census;
mod descriptor;
mod hidden;
mod holder;
mod process;
mod sockets;

pub use census::take;
pub use hidden::hidden;
pub use holder::{Holder, Namespace, Open, What};
pub use process::{comm, namespaces_of, waits};
