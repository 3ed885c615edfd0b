use std::{
    os::fd::AsFd as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kernel::{
    affinity,
    spawn::{How, Running, reap, spawn},
    step::{End, Exec, Program, Step},
};
use rustix::thread::sched_getaffinity;

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

/// A process that reaches its first gate, and goes on with what it is handed.
fn expectant() -> Program {
    Program::new(vec![Step::Reached(0)], End::Later)
}

fn started() -> Running {
    let child = spawn(expectant(), How::default()).unwrap();
    assert!(child.reached(0));
    child
}

#[test]
fn a_process_goes_on_with_a_program_that_is_made_while_it_runs() {
    let child = started();
    let grandchild = Program::new(vec![Step::Reached(1)], End::Exit);
    let rest = vec![Step::Spawn(Box::new(grandchild), How::default())];
    child.go_on(Program::new(rest, End::Exit)).unwrap();
    assert!(child.reached(1));
    let pidfds = child.finish().unwrap().pidfds;
    assert_eq!(pidfds.len(), 2);
    assert_eq!(reap(pidfds[0].as_fd()), Ok(0));
}

#[test]
fn what_fails_in_a_program_that_came_later_is_reported_and_it_comes_once() {
    let child = started();
    let missing = || Program::new(vec![Step::Chdir(c"/nosuch".into())], End::Exit);
    child.go_on(missing()).unwrap();
    child.go_on(Program::new(vec![Step::Chdir(c"/another".into())], End::Exit)).unwrap();
    let failed = child.finish().unwrap_err();
    let what = "cannot change to the directory \"/nosuch\": No such file or directory (os error 2)";
    assert_eq!(failed.to_string(), what);
    let child = started();
    let exec = End::Exec(vec![c"/nosuch".into()], Exec::new(vec![c"nosuch".into()], Vec::new()));
    child.go_on(Program::new(Vec::new(), exec)).unwrap();
    assert!(child.finish().unwrap_err().is_exec());
}

#[test]
fn a_process_that_nothing_comes_for_ends() {
    let pidfds = started().finish().unwrap().pidfds;
    assert_eq!(reap(pidfds[0].as_fd()), Ok(1 << 8));
    drop(started());
}

#[test]
fn a_gate_that_nobody_will_reach_is_not_waited_for() {
    let child = spawn(Program::new(vec![Step::Chdir(c"/nosuch".into())], End::Exit), How::default()).unwrap();
    assert!(!child.reached(0));
}

/// What is made aside stays off our CPU, and what it makes may run on all again.
#[test]
fn a_process_that_is_made_aside_keeps_off_our_cpu_and_its_children_need_not() {
    if !affinity::is_free() {
        return eprintln!("SKIP a_process_that_is_made_aside_keeps_off_our_cpu: there is none but ours");
    }
    let ours = sched_getaffinity(None).unwrap();
    let child = vec![Step::Reached(0), Step::Anywhere, Step::Reached(1), Step::Wait(2)];
    let child = Step::Spawn(Box::new(Program::new(child, End::Exit)), How::default());
    let how = How { aside: true, ..How::default() };
    let maker = spawn(Program::new(vec![child, Step::Wait(2)], End::Exit), how).unwrap();
    let of = |process| sched_getaffinity(Some(kernel::pidfd::pid(process).unwrap())).unwrap();
    assert_eq!(of(maker.pidfd()).count() + 1, ours.count());
    assert!(maker.reached(1));
    assert_eq!(of(maker.last()), ours);
    maker.finish().unwrap();
}
