//! Creating a jail, and running its first commands.
//!
//! The jail is locked while it is made, and not while its commands run: meanwhile it can be entered, changed and
//! removed as any other. The record names the process that makes it, so that it is not swept between two commands
//! and not mistaken for a later jail of its number.

use std::{path::PathBuf, time::Instant};

use kernel::{act::Act, signal::Signals};
use vimage::{
    Context as _, Driver, Error, ErrorKind, Fds, Given, House as _, Owner, Result, Settings, Value,
};

use crate::{
    Created, Jails, Place, above, birth, cgroup, core, entry,
    hooks::{self, Of},
    jails::DRAINED,
    privilege,
    process::{self, Command, Running},
    record::{ProcessId, State, parent_of},
    store::{Locked, Wait},
};

/// How a new jail comes to its commands.
struct Plan {
    commands: Vec<Command>,
    /// Whether commands on the host are run, too, once the jail is made.
    hooks: bool,
    /// Whether it persists.
    persist: bool,
    /// Whether it is born together with its one command. Of several, each finds the jail persisting.
    joint: bool,
    /// Who makes it, if there are commands to wait for.
    maker: Option<ProcessId>,
}

impl Plan {
    fn of(settings: &Settings, driver: &Driver<'_, Act>) -> Self {
        let commands = commands(settings);
        let persist = settings.bool("persist");
        let of = Of { name: "", jid: None, settings, signals: None };
        let hooks = of.has(&[hooks::CREATED, hooks::POSTSTART]);
        let alone = !persist && commands.len() == 1 && !of.has(&[hooks::CREATED]) && of.is_plain();
        let is_apart = driver.first(settings).iter().any(|act| matches!(act, Act::Apart));
        let joint = alone && !is_apart && birth::can_join(settings.is_new("proc"));
        let maker = if commands.is_empty() && !hooks { None } else { process::myself() };
        Self { commands, hooks, persist, joint, maker }
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
        privilege::check_set()?;
        let wanted = given.settings.text("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let jid = given.settings.int("jid").map(u32::try_from).transpose().doing("jid")?;
        if let Some(name) = &wanted {
            core::check_name(name, jid.map(i64::from))?;
        }
        let name = wanted.clone().or_else(|| jid.map(|j| j.to_string())).unwrap_or_default();
        for needed in given.settings.list("depend") {
            if self.read(needed).is_err() {
                return Err(core::nonexistent(needed));
            }
        }
        let signals = if begins_with_commands(&given.settings) { Some(hooks::catch()?) } else { None };
        let signals = signals.as_ref();
        self.before(given, &name, jid, signals)?;
        // Locked against removal for as long as the child is made.
        let above = parent_of(&name).map(|p| self.lock_alive(p, Wait::Yes)).transpose()?;
        let ancestors = above.as_ref().map(|p| self.lineage(&p.record)).transpose()?;
        self.with_lineage(ancestors.as_deref().unwrap_or_default(), |parent| {
            self.room_below(parent)?;
            if let Some(other) = above::others(&self.premises.store).iter().find(|told| told.name == name) {
                let what = format!("jail \"{}\" already exists", other.name);
                return Err(Error::new(ErrorKind::Exists, what).hint("it was made from outside this jail"));
            }
            // Checked before anything is made, under the name it will have or a stand-in for its number.
            let stand_in = if name.is_empty() { "new" } else { &name };
            let rules = self.premises.store.hold_rules(false)?;
            let ask = self.driver().ask(stand_in, jid.unwrap_or(0), given, parent, None)?;
            let mut settings = ask.settings;
            let mut plan = Plan::of(&settings, &self.driver());
            let mut free = |jid| self.give_up(jid);
            let mut locked = self.premises.store.allocate(wanted.as_deref(), jid, &mut free)?;
            let created = Created { jid: locked.record.jid, name: locked.record.name.clone() };
            if name.is_empty() && self.premises.store.has_rules() {
                // What is said of the number is known only now.
                let mut numbered = given.clone();
                numbered.settings.set("jid", Value::Int(i64::from(created.jid)));
                match self.driver().ask(&created.name, created.jid, &numbered, parent, None) {
                    Ok(ask) => settings = ask.settings,
                    Err(error) => {
                        let _nothing_made = locked.forget(&self.premises.store);
                        return Err(error);
                    }
                }
            }
            drop(rules);
            settings.set("name", Value::Text(created.name.clone()));
            settings.set("jid", Value::Int(i64::from(created.jid)));
            let of = Of { name: &created.name, jid: Some(created.jid), settings: &settings, signals };
            plan.commands.iter_mut().for_each(|command| of.tell(command));
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
            // Not for as long as the commands run.
            drop(above);
            if !plan.joint {
                announce(&created);
            }
            self.run(&created, &plan, born, signals)?;
            Ok(created)
        })
    }

    /// Runs the commands that come before a jail. Nothing is locked meanwhile: they may be about other jails.
    fn before(&self, given: &Given, name: &str, jid: Option<u32>, signals: Option<&Signals>) -> Result<()> {
        const HOOKS: [&str; 2] = [hooks::PREPARE, hooks::PRESTART];
        if !(Of { name, jid, settings: &given.settings, signals }).has(&HOOKS) {
            return Ok(());
        }
        let taken = |word: &str| self.read(word).is_ok();
        if !name.is_empty() && taken(name) {
            return Err(Error::new(ErrorKind::Exists, format!("jail \"{name}\" already exists")));
        }
        let above = parent_of(name).map(|parent| self.read(parent)).transpose()?;
        let ancestors = above.as_ref().map(|parent| self.lineage(parent)).transpose()?;
        let settings = self.with_lineage(ancestors.as_deref().unwrap_or_default(), |parent| {
            let stand_in = if name.is_empty() { "new" } else { name };
            // What they make may be what is missing: the directory of the jail. So only what is wrong whatever they do
            // is said before they run.
            let above = parent.map(|parent| parent.settings).or_else(|| self.premises.above());
            self.registry.complete(given, None, above).doing_with(|| stand_in.to_owned())
        })?;
        let of = Of { name, jid, settings: &settings, signals };
        HOOKS.into_iter().try_for_each(|hook| of.run(hook))
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
    fn run(
        &self,
        created: &Created,
        plan: &Plan,
        running: Option<Running>,
        signals: Option<&Signals>,
    ) -> Result<()> {
        if plan.commands.is_empty() && !plan.hooks {
            let _not_of_this_jail = self.sweep_dying();
            return Ok(());
        }
        let ours = running.as_ref().is_some_and(Running::is_ours);
        if !ours {
            let _not_of_this_jail = self.sweep_dying();
        }
        let done = self.in_turn(created, plan, running.as_ref(), signals);
        process::collect();
        if ours {
            // Not before: a sweep collects all children that have ended, and this one's status was wanted.
            let _not_of_this_jail = self.sweep_dying();
        }
        let Some(mut locked) = self.lock_own(created, plan)? else { return done };
        let ancestors = self.ancestors(&locked.record.name)?;
        self.with_lineage(&ancestors, |parent| {
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
            // Alone it ends by itself, while we looked: that need not be waited for twice.
            running.iter().for_each(Running::collect_init);
            let errors = self.unmake(locked, owner, Instant::now() + DRAINED);
            errors.into_iter().next().map_or(Ok(()), Err)
        })
    }

    /// Runs the commands of a jail that is made, one after another; of one that was born with its command, that runs.
    fn in_turn(
        &self,
        created: &Created,
        plan: &Plan,
        born: Option<&Running>,
        signals: Option<&Signals>,
    ) -> Result<()> {
        let settings = match plan.hooks || !plan.joint {
            true => self.premises.store.read(created.jid)?.map(|record| record.settings).unwrap_or_default(),
            false => Settings::default(),
        };
        let of = Of { name: &created.name, jid: Some(created.jid), settings: &settings, signals };
        of.run(hooks::CREATED)?;
        match (born, &plan.commands[..]) {
            (Some(running), [command]) => of.succeed(running, command)?,
            (_, commands) => {
                for command in commands {
                    of.go_on()?;
                    let running = self.next(created, plan, of, command)?;
                    of.succeed(&running, command)?;
                    if !command.background {
                        running.collect_init();
                    }
                }
            }
        }
        of.run(hooks::POSTSTART)
    }

    /// Starts one more command.
    fn next(&self, created: &Created, plan: &Plan, of: Of<'_>, command: &Command) -> Result<Running> {
        let gone = || Error::new(ErrorKind::NotFound, format!("jail \"{}\" was removed", created.name));
        let mut locked = self.lock_own(created, plan)?.ok_or_else(gone)?;
        let ancestors = self.ancestors(&locked.record.name)?;
        self.with_lineage(&ancestors, |parent| {
            let mut owner = self.owner(&locked, parent)?;
            let command = {
                let instance = owner.instance(&self.premises);
                of.inside(&Place::new(&instance, &self.premises, locked.record.init.as_ref())?, command)?
            };
            self.start(&mut locked, &mut owner, &command)
        })
    }

    /// Locks the jail that we made; `None` if another removed it.
    fn lock_own(&self, created: &Created, plan: &Plan) -> Result<Option<Locked>> {
        let Some(locked) = self.premises.store.lock(created.jid, Wait::Yes)? else { return Ok(None) };
        let ours = self.is_named(&locked.record) && locked.record.maker == plan.maker;
        Ok(ours.then_some(locked))
    }

    /// Whether the jail has processes, and not only an init that is about to leave. One that was killed and has not ended
    /// counts.
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
        let left = self.unmake(locked, owner, Instant::now() + DRAINED);
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
        let entered = entry::enter(&self.driver(), &self.premises, &instance, init.as_ref(), command)?;
        if entered.init.is_some() {
            (locked.record.init, locked.record.keeper) = (entered.init, entered.keeper);
            locked.save(&mut owner.journal)?;
        }
        Ok(entered.running)
    }
}

/// Whether anything is run while a jail of these settings is made.
fn begins_with_commands(settings: &Settings) -> bool {
    const ALL: [&str; 6] =
        [hooks::PREPARE, hooks::PRESTART, hooks::CREATED, hooks::START, "command", hooks::POSTSTART];
    ALL.iter().any(|name| !settings.list(name).is_empty())
}

/// The commands of a new jail, in order.
fn commands(settings: &Settings) -> Vec<Command> {
    let lines = settings.list(hooks::START).iter().map(|line| Command::line(line));
    let command = settings.list("command").iter().map(Into::into).collect::<Vec<_>>();
    lines.chain(Some(command).filter(|argv| !argv.is_empty()).map(Command::new)).collect()
}
