//! The lab: every test gets its own machine.
//!
//! A test written with [`lab_test!`] runs its test binary again in namespaces and a cgroup of its own. So tests
//! run in parallel, see and change a host that is theirs alone, and end whole: whatever they started dies
//! with them. What a test leaves behind in its machine fails it.
//!
//! A lab guards against accidents, not against malice: a root lab is root, and shares the host's file systems
//! (but for `/run`, `/tmp` and `/dev/shm`), its cgroup v1 hierarchies and whatever else has no namespace.

mod audit;
mod cmd;
mod debian;
pub mod guest;
mod inside;
mod machine;
mod mounts;
mod need;

pub use audit::Snapshot;
pub use cmd::{Background, Cmd, Output};
pub use debian::Tree;
pub use inside::Lab;
pub use machine::{Mode, Plan, run};
pub use mounts::{Mount, mounts};
pub use need::Need;

/// Declares a test that runs in a lab, once for each mode: `NAME::as_root` and `NAME::rootless`.
///
/// ```
/// vimage_tests::lab_test!(loopback_answers for root, rootless; needs [Program("ping")]; with timeout(10); |lab| {
///     lab.sh("ping -c 1 127.0.0.1");
/// });
/// ```
///
/// `needs` lists [`Need`]s: without them the test is skipped, audibly. `with` calls methods of [`Plan`].
#[macro_export]
macro_rules! lab_test {
    (@module $attributes:tt $name:ident $($mode:ident),+
        $(; needs [$($need:expr),+ $(,)?])?
        $(; with $($option:ident $(($value:expr))?),+)?
        ; |$lab:pat_param| $body:block
    ) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn body($lab: &$crate::Lab) $body

            fn plan() -> $crate::Plan {
                #[allow(unused_imports)]
                use $crate::Need::*;
                $crate::Plan::default() $($(.needs($need))+)? $($(.$option($($value)?))+)?
            }

            $($crate::lab_test!(@test $mode $attributes);)+
        }
    };
    (@test root [$($attribute:tt)*]) => {
        $($attribute)*
        #[test]
        fn as_root() {
            $crate::run($crate::Mode::Root, concat!(module_path!(), "::as_root"), &plan(), body);
        }
    };
    (@test rootless [$($attribute:tt)*]) => {
        $($attribute)*
        #[test]
        fn rootless() {
            $crate::run($crate::Mode::Rootless, concat!(module_path!(), "::rootless"), &plan(), body);
        }
    };
    ($(#[$attribute:meta])* $name:ident for $($rest:tt)+) => {
        $crate::lab_test!(@module [$(#[$attribute])*] $name $($rest)+);
    };
}
