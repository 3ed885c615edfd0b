//! Creating a jail, and running its first commands.
//!
//! The jail is locked while it is made, and not while its commands run: meanwhile it can be entered, changed and
//! removed as any other. The record names the process that makes it, so that it is not swept between two commands
//! and not mistaken for a later jail of its number.

use std::{path::PathBuf, time::Instant};

use vimage::{Context as _, Error, ErrorKind, Fds, Given, Owner, Result, Settings, Value};

use crate::{
    Created, Jails, birth, cgroup, core, entry,
    jails::DRAINED,
    privilege,
    process::{self, Command, Running},
    record::{ProcessId, State, parent_of},
    store::{Locked, Wait},
};

/// How a new jail comes to its commands.
struct Plan {
    commands: Vec<Command>,
    /// Whether it persists.
    persist: bool,
    /// Whether it is born together with its one command. Of several, each finds the jail persisting.
    joint: bool,
    /// Who makes it, if there are commands to wait for.
    maker: Option<ProcessId>,
}

impl Plan {
    fn of(settings: &Settings) -> Result<Self> {
        let commands = commands(settings)?;
        let persist = settings.bool("persist");
        let joint = !persist && commands.len() == 1 && birth::can_join(settings.is_new("proc"));
        let maker = if commands.is_empty() { None } else { process::myself() };
        Ok(Self { commands, persist, joint, maker })
    }

    /// Whether the jail is held although it does not persist.
    fn holds(&self) -> bool {
        !self.joint && !self.persist
    }
}

impl Jails<'_> {
    /// Creates a jail, and starts its commands if it has any. `announce` is called as soon as the jail
    /// exists. Waits for the commands, one after another; if one fails the jail is removed again.
    ///
    /// # Errors
    /// See jail(8). Nothing is left of the jail.
    pub fn create(&self, given: &Given, announce: &mut dyn FnMut(&Created)) -> Result<Created> {
        privilege::check()?;
        let wanted = given.settings.text("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let jid = given.settings.int("jid").map(u32::try_from).transpose().doing("jid")?;
        if let Some(name) = &wanted {
            core::check_name(name, jid.map(i64::from))?;
        }
        let name = wanted.clone().or_else(|| jid.map(|j| j.to_string())).unwrap_or_default();
        // Locked against removal for as long as the child is made.
        let above = parent_of(&name).map(|p| self.lock_alive(p, Wait::Yes)).transpose()?;
        let ancestors = above.as_ref().map(|p| self.lineage(&p.record)).transpose()?;
        self.with_lineage(ancestors.as_deref().unwrap_or_default(), |parent| {
            if let Some(parent) = parent {
                self.room_below(parent)?;
            }
            // Checked before anything is made, under the name it will have or a stand-in for its number.
            let stand_in = if name.is_empty() { "new" } else { &name };
            let ask = self.driver().ask(stand_in, jid.unwrap_or(0), given, parent, None)?;
            let mut settings = ask.settings;
            let plan = Plan::of(&settings)?;
            let mut free = |jid| self.give_up(jid);
            let mut locked = self.premises.store.allocate(wanted.as_deref(), jid, &mut free)?;
            let created = Created { jid: locked.record.jid, name: locked.record.name.clone() };
            settings.set("name", Value::Text(created.name.clone()));
            settings.set("jid", Value::Int(i64::from(created.jid)));
            let mut journal = locked.journal()?;
            locked.record.settings = settings.clone();
            locked.record.maker = plan.maker;
            if let Err(error) = locked.save(&mut journal) {
                let _nothing_made = locked.forget(&self.premises.store);
                return Err(error);
            }
            let owner = Owner {
                name: created.name.clone(),
                jid: created.jid,
                settings,
                parent,
                journal,
                fds: Fds::default(),
            };
            // A command that is born with the jail may print at once.
            let mut ready = || {
                if plan.joint {
                    announce(&created);
                }
            };
            let born = self.make(locked, owner, &plan, &mut ready)?;
            drop(above);
            if !plan.joint {
                announce(&created);
            }
            self.run(&created, &plan, born)?;
            Ok(created)
        })
    }

    /// Makes the jail; with its command, if it is born together with one.
    fn make(
        &self,
        mut locked: Locked,
        mut owner: Owner<'_>,
        plan: &Plan,
        ready: &mut dyn FnMut(),
    ) -> Result<Option<Running>> {
        if plan.holds() {
            owner.settings.set("persist", Value::Bool(true));
        }
        let run = if plan.joint { plan.commands.first() } else { None };
        let done = birth::bear(&self.driver(), &mut owner, run, ready, &mut |owner, init| {
            locked.record.state = State::Alive;
            locked.record.init = init;
            self.recorder.timed(&owner.name, "record", "save", || locked.save(&mut owner.journal))?;
            if plan.persist { self.premises.store.set_pending(owner.jid, false) } else { Ok(()) }
        });
        owner.fds.clear();
        done.map_err(|error: Error| {
            let error = if plan.commands.is_empty() { error.doing(&owner.name) } else { error };
            self.undo(locked, owner, error)
        })
    }

    /// Runs the commands; then the jail stays if it persists or has processes.
    ///
    /// What earlier jails left to the kernel is looked at while the command runs: there is time then.
    fn run(&self, created: &Created, plan: &Plan, mut running: Option<Running>) -> Result<()> {
        if plan.commands.is_empty() {
            let _not_of_this_jail = self.sweep_dying();
            return Ok(());
        }
        let ours = running.as_ref().is_some_and(Running::is_ours);
        if !ours {
            let _not_of_this_jail = self.sweep_dying();
        }
        let done = plan.commands.iter().try_for_each(|command| {
            let running = match running.take() {
                Some(running) => running,
                None => self.next(created, plan, command)?,
            };
            // Of one that was born with its command the init is looked at below, under the lock.
            succeed(if plan.joint { running.status() } else { running.wait() }, command)
        });
        process::collect();
        if ours {
            // Not before: a sweep collects all children that have ended, and this one's status was wanted.
            let _not_of_this_jail = self.sweep_dying();
        }
        let Some(mut locked) = self.lock_own(created, plan)? else { return done };
        let lineage = self.lineage(&locked.record)?;
        self.with_lineage(&lineage[1..], |parent| {
            let mut owner = self.owner(&locked, parent)?;
            if let Err(error) = done {
                return Err(self.undo(locked, owner, error));
            }
            locked.record.maker = None;
            let persist = locked.record.settings.bool("persist");
            if plan.holds() && !persist {
                // The hold was for the time of the commands.
                let new = owner.settings.clone();
                owner.settings.set("persist", Value::Bool(true));
                let name = owner.name.clone();
                self.driver().update(&mut owner, &name, &new, &mut |of, acts| entry::inside(of, acts))?;
            }
            if persist || self.stays(&owner, locked.record.init.as_ref()) {
                return locked.save(&mut owner.journal);
            }
            let errors = self.unmake(vec![(locked, owner)], Instant::now() + DRAINED);
            errors.into_iter().next().map_or(Ok(()), Err)
        })
    }

    /// Starts one more command.
    fn next(&self, created: &Created, plan: &Plan, command: &Command) -> Result<Running> {
        let gone = || Error::new(ErrorKind::NotFound, format!("jail \"{}\" was removed", created.name));
        let mut locked = self.lock_own(created, plan)?.ok_or_else(gone)?;
        let lineage = self.lineage(&locked.record)?;
        self.with_lineage(&lineage[1..], |parent| {
            let mut owner = self.owner(&locked, parent)?;
            self.start(&mut locked, &mut owner, command)
        })
    }

    /// Locks the jail that we made; `None` if another removed it.
    fn lock_own(&self, created: &Created, plan: &Plan) -> Result<Option<Locked>> {
        let Some(locked) = self.premises.store.lock(created.jid, Wait::Yes)? else { return Ok(None) };
        let ours = self.is_named(&locked.record) && locked.record.maker == plan.maker;
        Ok(ours.then_some(locked))
    }

    /// Whether the jail has processes, and not only an init that is about to leave.
    fn stays(&self, owner: &Owner<'_>, init: Option<&ProcessId>) -> bool {
        let dir: Option<PathBuf> = owner.instance(&self.premises).anchor("cgroup").map(|a| a.object().into());
        let Some(dir) = dir.filter(|dir| cgroup::populated(dir)) else { return false };
        let pids = cgroup::all_pids(&dir);
        // Nobody enters: the jail is locked. So an init that is alone need not find out by itself.
        !pids.is_empty() && init.is_none_or(|init| pids != [init.pid])
    }

    /// Takes down what could not be made; returns the reason.
    fn undo(&self, locked: Locked, owner: Owner<'_>, error: Error) -> Error {
        // What the kernel refused it may not have: that is asked only now, when it costs nobody anything.
        let lack = self.registry.lack(&owner.settings);
        let error = lack.map_or(error, |lack| lack.doing(&owner.name));
        let left = self.unmake(vec![(locked, owner)], Instant::now() + DRAINED);
        match left.first() {
            Some(left) => error.hint(format!("not all could be undone: {left}")),
            None => error,
        }
    }

    pub(crate) fn start(
        &self,
        locked: &mut Locked,
        owner: &mut Owner<'_>,
        command: &Command,
    ) -> Result<Running> {
        let instance = owner.instance(&self.premises);
        let init = locked.record.init;
        let (running, init) =
            entry::enter(&self.driver(), &self.premises, &instance, init.as_ref(), command)?;
        if init.is_some() {
            locked.record.init = init;
            locked.save(&mut owner.journal)?;
        }
        Ok(running)
    }
}

/// The commands of a new jail, in order.
fn commands(settings: &Settings) -> Result<Vec<Command>> {
    let mut commands: Vec<_> =
        settings.list("exec.start").iter().map(|line| Command::new(process::words(line))).collect();
    let command = settings.list("command");
    if !command.is_empty() {
        commands.push(Command::new(command.iter().map(Into::into).collect()));
    }
    if commands.iter().any(|c| c.argv.is_empty()) {
        return Err(Error::usage("exec.start: an empty command"));
    }
    Ok(commands)
}

/// Waits for a command; one that fails is an error in jail(8)'s words.
fn succeed(status: Result<i32>, command: &Command) -> Result<()> {
    let status = status?;
    let name = command.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match (status & 0x7f, status >> 8) {
        (0, 0) => Ok(()),
        (0, _) => Err(Error::new(ErrorKind::Failed, format!("{name}: failed"))),
        (signal, _) => Err(Error::new(ErrorKind::Failed, format!("{name}: exited on signal {signal}"))),
    }
}
