//! What commands on hosts print while they run: all of it into the log (`-v`), as much as a person can read onto the screen. Secrets are masked first.
use super::{context::Context, machine::MachineSecrets};
use crate::{
    model::{Clock, NodeName, RunId, Timestamp, since},
    report::progress::Observer,
    steps::Listener,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Characters of a line; what is longer is cut.
const LONGEST: usize = 400;
/// Lines that the screen takes of a node in one `WINDOW`.
const AT_ONCE: usize = 20;
const WINDOW: Duration = Duration::from_secs(1);

pub struct Listening {
    run: RunId,
    secrets: Arc<MachineSecrets>,
    clock: Arc<dyn Clock>,
    observer: Arc<Mutex<Box<dyn Observer>>>,
    flow: Mutex<BTreeMap<NodeName, Flow>>,
}

impl Listening {
    pub fn new(cx: &Context, run: &RunId, observer: Arc<Mutex<Box<dyn Observer>>>) -> Listening {
        Listening { run: run.clone(), secrets: cx.secrets.clone(), clock: cx.clock.clone(), observer, flow: Mutex::default() }
    }
}

impl Listening {
    fn show(&self, node: &NodeName, now: Timestamp, unshown: usize, text: &str) {
        let mut observer = self.observer.lock().unwrap_or_else(|e| e.into_inner());
        if unshown > 0 {
            observer.said(&self.run, node, now, &format!("({unshown} lines more; pitstop -v shows them)"));
        }
        observer.said(&self.run, node, now, text);
    }
}

impl Listener for Listening {
    fn line(&self, node: &NodeName, step: &str, line: &str) {
        let text = plain(&self.secrets.masked(line));
        tracing::info!(run = %self.run.short(), node = %node, step, "{text}");
        let now = self.clock.now();
        let through = self.flow.lock().unwrap_or_else(|e| e.into_inner()).entry(node.clone()).or_default().through(now, &text);
        if let Some(unshown) = through {
            self.show(node, now, unshown, &text);
        }
    }
    fn over(&self, node: &NodeName) {
        // The last line says how it went, also after a flood.
        let flow = self.flow.lock().unwrap_or_else(|e| e.into_inner()).remove(node);
        if let Some(Flow { unshown: unshown @ 1.., last, .. }) = flow {
            self.show(node, self.clock.now(), unshown - 1, &last);
        }
    }
    fn masked(&self, text: &str) -> String {
        self.secrets.masked(text)
    }
}

/// Of one node's lines in the current window.
#[derive(Default)]
struct Flow {
    since: Option<Timestamp>,
    shown: usize,
    unshown: usize,
    /// Of those, the last.
    last: String,
}
impl Flow {
    /// `None`: not shown. Else how many were not shown before it.
    fn through(&mut self, now: Timestamp, text: &str) -> Option<usize> {
        if self.since.is_none_or(|at| since(at, now) >= WINDOW) {
            (self.since, self.shown) = (Some(now), 0);
        }
        if self.shown >= AT_ONCE {
            (self.unshown, self.last) = (self.unshown + 1, text.to_owned());
            return None;
        }
        self.shown += 1;
        Some(std::mem::take(&mut self.unshown))
    }
}

/// One line that cannot move a cursor or change a colour.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            // A control sequence: up to its final letter.
            '\u{1b}' => drop(chars.find(|c| c.is_ascii_alphabetic() || *c == '\u{7}')),
            // A progress bar drawn over itself: its last state.
            '\r' => text.clear(),
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
        if text.len() > LONGEST {
            text.push('…');
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_screen_can_take() {
        assert_eq!(plain("a\u{1b}[31mred\u{1b}[0m\tb\u{8}"), "ared b");
        assert_eq!(plain("10 %\r 50 %\r100 %"), "100 %");
        assert!(plain(&"ä".repeat(5000)).len() < 500);
    }

    #[test]
    fn a_flood_is_counted_not_shown() {
        let mut flow = Flow::default();
        let now = Timestamp::UNIX_EPOCH;
        let shown = (0..1000).filter(|_| flow.through(now, "x").is_some()).count();
        assert_eq!(shown, AT_ONCE);
        assert_eq!(flow.through(now + WINDOW, "x"), Some(1000 - AT_ONCE));
        assert_eq!(flow.through(now + WINDOW, "x"), Some(0));
    }
}
