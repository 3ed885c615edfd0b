//! Jails that are made or removed at once, each by a copy of this process: the commands of one keep no other waiting, and
//! what happens to one process happens to one jail.

use std::os::fd::{AsFd as _, OwnedFd};

use ::jail::{hooks, schedule::Order};
use kernel::{
    fork::fork,
    signal::{Signals, send},
    spawn::reap,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::Signal,
    stdio::{dup2_stderr, dup2_stdout},
};
use vimage::{Context as _, Error, ErrorKind, Result};

use super::{complain, progress::Progress, stream::Stream};
use crate::output::Output;

/// What is to be done with each of some jails, by their numbers in an [`Order`].
pub(super) trait Work {
    /// The jail's name.
    fn name(&self, n: usize) -> &str;
    /// Whether it is done together with all others that are ready and of which the same is said.
    fn joins(&self, n: usize) -> bool;
    /// Whether its turn is to be used.
    fn may_begin(&mut self, n: usize) -> bool;
    /// Does it, perhaps in a copy of this process. Returns whether it was done.
    fn act(&self, job: &[usize], out: &mut Output) -> bool;
    /// Writes down what this process has done so far, lest its copies do. One complaint is enough where it cannot.
    fn write_down(&self, complains: bool);
    /// Is told that it was its turn, and whether it was done.
    fn ended(&mut self, n: usize, done: bool);
}

/// One copy of this process.
struct Worker {
    job: Vec<usize>,
    process: OwnedFd,
    streams: [Stream; 2],
}

/// How many jails are at their commands at once, unless it is said.
pub(super) const AT_ONCE: usize = 32;

/// Does the work on all in their order, on so many at once.
///
/// # Errors
/// `interrupted`; nobody can be waited for.
pub(super) fn run(
    work: &mut dyn Work,
    mut order: Order,
    at_once: usize,
    mut progress: Progress,
    out: &mut Output,
) -> Result<()> {
    let Some(first) = next(work, &mut order) else { return Ok(()) };
    if first.len() == order.len() {
        // They have nobody to wait for, and the terminal to themselves.
        let done = work.act(&first, out);
        first.iter().for_each(|n| work.ended(*n, done));
        return Ok(());
    }
    work.write_down(true);
    let signals = hooks::catch()?;
    let (mut workers, mut waiting, mut interrupted) = (Vec::new(), Some(first), false);
    loop {
        while let Some(job) = waiting.take() {
            progress.began(job.len());
            out.flush();
            match Worker::start(job, work, &signals) {
                Ok(worker) => workers.push(worker),
                Err((job, error)) => {
                    for n in job {
                        complain("jail", &error.clone().doing(work.name(n)));
                        finish(work, &mut order, n, false);
                    }
                }
            }
            if !interrupted && workers.len() < at_once {
                waiting = next(work, &mut order);
            }
        }
        if workers.is_empty() {
            break;
        }
        progress.show(workers.iter().flat_map(|w: &Worker| &w.job).map(|n| work.name(*n)));
        wait(&workers, &signals, &progress)?;
        progress.hide();
        let asked = signals.next().doing("cannot read a signal")?.is_some();
        interrupted |= asked;
        let mut going = Vec::new();
        for mut worker in workers {
            if asked {
                // One that has ended needs none.
                let _ended = send(&worker.process, Signal::TERM.as_raw());
            }
            // Before its output is read: it writes nothing after.
            let status = worker.ended()?;
            worker.streams.iter_mut().for_each(|stream| stream.copy(out));
            let Some(status) = status else {
                going.push(worker);
                continue;
            };
            let [first, second] = worker.streams;
            first.end(out);
            second.end(out);
            for n in worker.job {
                if status & 0x7f != 0 && !interrupted {
                    let text = format!("the process at it was killed by signal {}", status & 0x7f);
                    complain("jail", &Error::new(ErrorKind::Failed, text).doing(work.name(n)));
                }
                finish(work, &mut order, n, status == 0);
            }
        }
        workers = going;
        if !interrupted && workers.len() < at_once {
            waiting = next(work, &mut order);
        }
    }
    if interrupted { Err(Error::new(ErrorKind::Failed, "interrupted")) } else { Ok(()) }
}

fn finish(work: &mut dyn Work, order: &mut Order, n: usize, done: bool) {
    work.ended(n, done);
    order.done(n);
}

/// Those whose turn it is.
fn next(work: &mut dyn Work, order: &mut Order) -> Option<Vec<usize>> {
    loop {
        let first = order.next_ready()?;
        let mut job = vec![first];
        if work.joins(first) {
            job.extend(order.take_ready(|n| work.joins(n)));
        }
        job.retain(|n| {
            let may = work.may_begin(*n);
            if !may {
                order.done(*n);
            }
            may
        });
        if !job.is_empty() {
            return Some(job);
        }
    }
}

/// Waits until something has happened.
fn wait(workers: &[Worker], signals: &Signals, progress: &Progress) -> Result<()> {
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    for worker in workers {
        fds.push(PollFd::new(&worker.process, PollFlags::IN));
        fds.extend(worker.streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN)));
    }
    match poll(&mut fds, progress.due().as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e).doing("cannot wait for what is under way"),
    }
}

impl Worker {
    fn start(job: Vec<usize>, work: &dyn Work, signals: &Signals) -> Result<Self, (Vec<usize>, Error)> {
        let doing = "cannot start a process";
        let started = Stream::pair().and_then(|streams| {
            let process = fork(|| {
                // As one that was started by itself: who asks it to end is obeyed.
                signals.let_go();
                let [first, second] = &streams;
                if dup2_stdout(first.end_to_write()).is_err() || dup2_stderr(second.end_to_write()).is_err() {
                    return 1;
                }
                let mut out = Output::default();
                let done = work.act(&job, &mut out);
                work.write_down(false);
                u8::from(out.finish().is_err() || !done)
            });
            Ok((process.doing(doing)?, streams))
        });
        match started {
            Ok((process, streams)) => Ok(Self { job, process, streams }),
            Err(error) => Err((job, error)),
        }
    }

    /// Its wait status, as waitpid(2); `None`: it is at work.
    fn ended(&self) -> Result<Option<i32>> {
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        let now = rustix::time::Timespec::default();
        if poll(&mut fds, Some(&now)).doing("cannot look at a process")? == 0 {
            return Ok(None);
        }
        reap(self.process.as_fd()).doing("cannot wait for a process").map(Some)
    }
}
