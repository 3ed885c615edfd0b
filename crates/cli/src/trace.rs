//! What commands did, by phase and piece, with the time that each took.

use serde_json::Value as Json;
use vimage::{Event, Node};

/// The phase of the event that begins a command; what it was done to are the command's words.
pub(crate) const COMMAND: &str = "command";

/// How many commands are printed where no jail is named.
pub(crate) const FEW: usize = 3;

/// What one command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    words: String,
    events: Vec<Event>,
}

/// The commands of a trace, oldest first.
pub(crate) fn commands(trace: Vec<Event>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for event in trace {
        if event.phase == COMMAND || commands.is_empty() {
            let words = if event.phase == COMMAND { event.what.clone() } else { String::new() };
            commands.push(Command { words, events: Vec::new() });
        }
        if let Some(command) = commands.last_mut().filter(|_| event.phase != COMMAND) {
            command.events.push(event);
        }
    }
    commands
}

/// Those of the commands that concern a jail, or all; of these the last, at `most` so many.
pub(crate) fn concerning(mut commands: Vec<Command>, jail: Option<&str>, most: usize) -> Vec<Command> {
    // One event may be of several jails that were removed together.
    let is_of = |event: &Event, jail: &str| event.jail.split(' ').any(|name| name == jail);
    commands.retain(|c| jail.is_none_or(|jail| c.events.iter().any(|e| is_of(e, jail))));
    commands.drain(..commands.len().saturating_sub(most));
    commands
}

impl Command {
    /// As a tree. Times are in microseconds, from the start of the command.
    pub(crate) fn node(&self) -> Node {
        let mut table = Node::table(&["at", "took", "phase", "jail", "what", "error"]);
        let mut events: Vec<_> = self.events.iter().collect();
        // An act is written down when it is over, after those that are part of it.
        events.sort_by_key(|e| (e.at, std::cmp::Reverse(e.took)));
        for event in events {
            let error = event.error.clone().map_or(Json::Null, Json::from);
            let texts = [&event.phase, &event.jail, &event.what].map(|text| Json::from(text.as_str()));
            let [phase, jail, what] = texts;
            table.row(vec![event.at.into(), event.took.into(), phase, jail, what, error]);
        }
        let mut node = Node::map();
        node.put("command", Node::leaf(self.words.as_str()));
        node.put("events", table);
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(jail: &str, phase: &str, what: &str, at: u64, took: u64) -> Event {
        Event { jail: jail.into(), phase: phase.into(), what: what.into(), at, took, error: None }
    }

    fn trace() -> Vec<Event> {
        vec![
            event("old", "make", "x/y/z", 5, 5),
            event("", COMMAND, "jail -c name=web persist", 0, 0),
            event("web", "make", "jail/cgroup/3", 20, 5),
            event("web", "prepare", "jail", 20, 9),
            event("", COMMAND, "jail -r web db", 0, 0),
            event("web db", "kill", "processes", 2, 100),
        ]
    }

    #[test]
    fn events_belong_to_the_command_before_them() {
        let all = commands(trace());
        assert_eq!(all.iter().map(|c| c.events.len()).collect::<Vec<_>>(), [1, 2, 1]);
        let of = |jail, most| concerning(commands(trace()), jail, most).len();
        assert_eq!((of(Some("web"), 9), of(Some("db"), 9), of(Some("w"), 9)), (2, 1, 0));
        assert_eq!((of(Some("web"), 1), of(None, 1), of(None, 2), of(None, usize::MAX)), (1, 1, 2, 3));
    }

    #[test]
    fn what_is_part_of_an_act_comes_after_it() {
        let text = concerning(commands(trace()), Some("web"), 9)[0].node().text();
        let expected = "\
command  jail -c name=web persist
events
  AT  TOOK  PHASE    JAIL  WHAT           ERROR
  20  9     prepare  web   jail           -
  20  5     make     web   jail/cgroup/3  -
";
        assert_eq!(text, expected);
    }
}
