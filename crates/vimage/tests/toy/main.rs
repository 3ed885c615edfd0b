//! The framework's promise, on a toy: whoever says how a thing is made, undone and found gets rollback,
//! repair, audit, ledger and trace without a line of its own. `tallies` is the promise in sixty lines; `counters`, of
//! which there are two, adds what is changed in part, shared between jails and made in an order.

mod audit;
mod counters;
mod faults;
mod house;
mod lab;
mod life;
mod random;
mod sharing;
mod tallies;

use vimage::Recorder;

/// Not a test of its own: what a test runs in another process, so that it can die there.
#[test]
fn child() {
    let Some(root) = std::env::var_os("TOY_ROOT") else { return };
    let lab = lab::Lab::at(root.as_ref());
    let what = std::env::var("TOY_DO").unwrap();
    let mut words = what.splitn(3, ' ');
    let (verb, jid) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
    let rest = words.next().unwrap_or("");
    let recorder = Recorder::from_env();
    match verb {
        "create" => lab.create(&recorder, jid, rest).unwrap(),
        "update" => lab.update(&recorder, jid, rest).unwrap(),
        _ => assert_eq!(lab.remove(&recorder, jid), []),
    }
}
