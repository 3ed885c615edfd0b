use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kernel::{
    spawn::{How, spawn},
    step::{End, Program, Step},
};

/// A program that makes one process after another, each of which waits for a gate that nobody opens.
fn busy() -> Program {
    let one = || Step::Spawn(Box::new(Program::new(vec![Step::Wait(0)], End::Exit)), How::default());
    Program::new((0..12).map(|_| one()).collect(), End::Exit)
}

/// The kernel tells the number of a pidfd before it knows whether there will be a process: a maker that is killed
/// just then leaves the number of none.
#[test]
fn a_program_that_is_dropped_while_it_makes_processes_is_waited_for_no_longer_than_they_live() {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for round in 0..3_000 {
            let child = spawn(busy(), How::default()).unwrap();
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(round % 400) {}
            drop(child);
        }
        send.send(()).unwrap();
    });
    receive.recv_timeout(Duration::from_secs(60)).expect("it waits for a process that was never made");
}
