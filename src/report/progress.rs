//! A run while it goes on: bars on a terminal, one line per change elsewhere, or the records themselves as JSON lines.
use super::{
    Paint,
    fold::{NodeReport, NodeState, RunReport},
    summary,
};
use crate::{
    event::{Decision, Event, Record, Stop},
    model::{Answer, NodeName, Outcome, RunId, Skip, Timestamp, since},
    plan::Plan,
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

/// Told every record once it is durable. Side by side runs may share one.
pub trait Observer: Send {
    /// What the journal held before this process took the run up: known from here on, and not shown.
    fn earlier(&mut self, _: &[Record]) {}
    fn record(&mut self, record: &Record);
    /// A line that a command on the node's host has printed: no fact of the run, and so in no journal and no JSON.
    fn said(&mut self, _run: &RunId, _node: &NodeName, _at: Timestamp, _line: &str) {}
    fn finish(&mut self);
}

/// The runs seen so far.
#[derive(Default)]
struct Seen {
    runs: BTreeMap<RunId, RunReport>,
}
impl Seen {
    fn apply(&mut self, record: &Record, plan: Option<&Plan>) -> Option<&RunReport> {
        match self.runs.get_mut(&record.run) {
            Some(report) => report.apply(record),
            None => {
                self.runs.insert(record.run.clone(), RunReport::begin(record, plan)?);
            }
        }
        self.runs.get(&record.run)
    }
}

/// One line for what has changed, without its time; none for what no person would read. `after`: with the record applied.
pub fn line(record: &Record, after: &RunReport) -> Option<String> {
    let node = |name: &NodeName| after.find(name);
    let at_step = |name: &NodeName| node(name).and_then(|n| n.step.clone()).unwrap_or_else(|| "?".into());
    Some(match &record.event {
        Event::RunStarted { playbook, nodes, cluster, plan, .. } => {
            format!("run {} {playbook}: {} of {cluster}, plan {}", record.run, plural(nodes.len(), "node"), plan.get(..4).unwrap_or(plan))
        }
        Event::RunResumed { by, .. } => format!("run {} resumed by {by}: {}", record.run, summary::counted(after)),
        Event::StopRequested { how, by } => {
            let what = match how {
                Stop::Drain => "no further node is admitted, nodes in work are finished",
                Stop::Settle => "running steps settle, then the run ends resumable",
                Stop::GiveBack => "what is not yet reset is given back",
            };
            format!("stop asked by {by}: {what}")
        }
        Event::RunHalted { .. } => format!("run {} halted: {}", record.run, after.why.clone().unwrap_or_default()),
        Event::RunFinished => format!("run {} finished: {}", record.run, summary::counted(after)),
        Event::SightLost { why } if why.credential.is_some() => format!("{}: {why}; nothing new is done", after.cluster),
        Event::SightLost { why } => format!("{} not seen, nothing new is started: {why}", after.cluster),
        Event::NodeSkipped { node, why: Skip::NotDue { why } } => format!("{node} not due: {why}"),
        Event::NodeSkipped { node, why: Skip::Refused { fault } } => format!("{node} REFUSED: {fault}"),
        Event::NodeAdmitted { node, inherits, .. } if inherits.is_empty() => format!("{node} admitted"),
        Event::NodeAdmitted { node, inherits, .. } => {
            format!("{node} admitted; owed from before: {}", inherits.iter().map(|l| l.owed.as_str()).collect::<Vec<_>>().join(", "))
        }
        Event::StepStarted { node, kind, attempt: 0, .. } => format!("{node} {kind}: started"),
        Event::StepStarted { node, kind, attempt, .. } => format!("{node} {kind}: attempt {}", attempt + 1),
        Event::WaitChanged { node, blockers } if blockers.is_empty() => format!("{node} {}: waits for nothing named", at_step(node)),
        Event::WaitChanged { node, blockers } => {
            let all: Vec<String> = blockers.iter().map(|b| format!("{} ({})", b.object, b.why)).collect();
            format!("{node} {}: waiting for {}", at_step(node), all.join(", "))
        }
        Event::ActIntended { node, act, .. } => format!("{node} {}: {} → {}", at_step(node), act.what, act.to),
        Event::ActSettled { answer: Answer::Accepted, .. } => return None,
        Event::ActSettled { node, answer: Answer::Failed(fault) } => format!("{node} {}: not done: {fault}", at_step(node)),
        Event::ActSettled { node, answer: Answer::Unknown(fault) } => format!("{node} {}: no answer, it may have happened: {fault}", at_step(node)),
        Event::LoanFoundPaid { node, loan } => format!("{node} {} was already given back by someone else", loan.0),
        Event::StepSettled { node, kind, outcome: Outcome::Done { .. }, .. } => format!("{node} {kind}: done"),
        Event::StepSettled { node, kind, outcome: Outcome::Retry { fault }, .. } => format!("{node} {kind}: will be tried again: {fault}"),
        Event::StepSettled { node: name, kind, outcome: Outcome::Hold { fault }, .. } => {
            let next = node(name).and_then(|n| n.next.clone()).map(|n| format!("; next: {n}")).unwrap_or_default();
            format!("{name} HELD at {kind}: {fault}{next}")
        }
        Event::StepSettled { node: name, outcome: Outcome::Pause { fault }, .. } => {
            let next = node(name).and_then(|n| n.next.clone()).map(|n| format!("; next: {n}")).unwrap_or_default();
            format!("{name} PAUSED: {fault}{next}")
        }
        Event::NodeTurnedBack { node, why, .. } => format!("{node} is given back: {why}"),
        Event::NodeReleased { node, by, decision, .. } => {
            let what = match decision {
                Decision::Retry => "tries again",
                Decision::Verify => "goes on at verify",
                Decision::Return => "is given back",
                Decision::KeepOut => "stays out of service",
            };
            format!("{node} released by {by}: {what}")
        }
        Event::NodeEnded { node: name, .. } => {
            let said = node(name).map(|n| format!("{}: {}", n.end.word(), summary::said(n))).unwrap_or_default();
            format!("{name} {said}")
        }
        Event::ClusterSeen { .. } => return None,
    })
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Lines with an absolute time, for logs and pipes.
pub struct Plain<W> {
    out: W,
    seen: Seen,
    last: BTreeMap<RunId, String>,
    /// What was said of a node in the step it is in: a blocker that stays, and a try that fails again like the last one, are said once.
    said: BTreeMap<(RunId, NodeName), BTreeSet<String>>,
}
impl<W: Write + Send> Plain<W> {
    pub fn new(out: W) -> Plain<W> {
        Plain { out, seen: Seen::default(), last: BTreeMap::new(), said: BTreeMap::new() }
    }
}
impl<W: Write + Send> Observer for Plain<W> {
    fn earlier(&mut self, records: &[Record]) {
        records.iter().for_each(|r| _ = self.seen.apply(r, None));
    }
    fn record(&mut self, record: &Record) {
        let Some(after) = self.seen.apply(record, None) else { return };
        let mut record = record.clone();
        let mut before = 0;
        if let Some(node) = record.event.node().cloned() {
            let said = self.said.entry((record.run.clone(), node)).or_default();
            match &mut record.event {
                Event::WaitChanged { blockers, .. } if !blockers.is_empty() => {
                    let all = blockers.len();
                    blockers.retain(|b| said.insert(b.to_string()));
                    before = all - blockers.len();
                    if blockers.is_empty() {
                        return;
                    }
                }
                Event::ActIntended { act, .. } if !act.power && !said.insert(format!("→ {} {}", act.to, act.what)) => return,
                Event::ActSettled { answer: Answer::Failed(fault), .. } if !said.insert(format!("! {fault}")) => return,
                Event::StepStarted { .. } | Event::StepSettled { .. } => said.clear(),
                _ => {}
            }
        }
        let record = &record;
        let Some(mut text) = line(record, after) else { return };
        if before > 0 {
            text.push_str(&format!(", and {before} named before"));
        }
        // One line per change: what says the same again is none.
        if self.last.insert(record.run.clone(), text.clone()).as_ref() != Some(&text) {
            // A closed pipe must not end a run.
            writeln!(self.out, "{:.0} {text}", record.at).ok();
        }
    }
    fn said(&mut self, run: &RunId, node: &NodeName, at: Timestamp, text: &str) {
        let step = self.seen.runs.get(run).and_then(|r| r.find(node)).and_then(|n| n.step.clone()).unwrap_or_else(|| "?".into());
        writeln!(self.out, "{at:.0} {node} {step}: | {text}").ok(); // a closed pipe must not end a run
    }
    fn finish(&mut self) {
        self.out.flush().ok();
    }
}

/// Every record as it stands in the journal, one JSON object per line.
pub struct JsonLines<W> {
    out: W,
}
impl<W: Write + Send> JsonLines<W> {
    pub fn new(out: W) -> JsonLines<W> {
        JsonLines { out }
    }
}
impl<W: Write + Send> Observer for JsonLines<W> {
    fn record(&mut self, record: &Record) {
        let text = serde_json::to_string(record).expect("BUG: a record that was stored can be written");
        // Whole lines at once, for whoever reads along; a closed pipe must not end a run.
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).ok();
    }
    fn finish(&mut self) {
        self.out.flush().ok();
    }
}

/// A header bar per run, and a line per node in work; what is over scrolls away above.
pub struct Terminal {
    bars: MultiProgress,
    paint: Paint,
    seen: Seen,
    heads: BTreeMap<RunId, ProgressBar>,
    lines: BTreeMap<(RunId, NodeName), ProgressBar>,
}
impl Terminal {
    /// On stderr: stdout is data.
    pub fn new(paint: Paint) -> Terminal {
        Terminal::on(ProgressDrawTarget::stderr(), paint)
    }
    pub fn on(target: ProgressDrawTarget, paint: Paint) -> Terminal {
        Terminal { bars: MultiProgress::with_draw_target(target), paint, seen: Seen::default(), heads: BTreeMap::new(), lines: BTreeMap::new() }
    }
}
impl Observer for Terminal {
    fn earlier(&mut self, records: &[Record]) {
        records.iter().for_each(|r| _ = self.seen.apply(r, None));
    }
    fn record(&mut self, record: &Record) {
        let Terminal { bars, paint, seen, heads, lines } = self;
        let Some(report) = seen.apply(record, None) else { return };
        let head = heads.entry(record.run.clone()).or_insert_with(|| bars.add(ProgressBar::new(report.nodes.len() as u64).with_style(bar_style())));
        let c = &report.counts;
        head.set_length(report.nodes.len() as u64);
        head.set_position((report.nodes.len() - c.waiting - c.in_work) as u64);
        head.set_message(header(report));
        for node in &report.nodes {
            let key = (report.run.clone(), node.name.clone());
            let is_new = record.event.node() == Some(&node.name);
            if node.end == NodeState::InWork {
                let bar = lines.entry(key).or_insert_with(|| bars.insert_after(head, ProgressBar::new_spinner().with_style(line_style())));
                bar.set_message(node_line(node, record, *paint));
            } else {
                if let Some(bar) = lines.remove(&key) {
                    bar.finish_and_clear();
                    bars.remove(&bar);
                }
                let over = is_new && node.end != NodeState::Waiting;
                if over {
                    let text = format!("{}  {}  {}", node.name, paint.state(node.end, &format!("{:<8}", node.end.word())), summary::said(node));
                    // The screen may be gone; the run is not.
                    bars.println(text).ok();
                }
            }
        }
    }
    fn said(&mut self, run: &RunId, node: &NodeName, _: Timestamp, text: &str) {
        let Some(bar) = self.lines.get(&(run.clone(), node.clone())) else { return };
        // The last line it printed, behind what the node is at; the next record writes it anew.
        let message = bar.message();
        let head = message.split("  | ").next().unwrap_or_default();
        bar.set_message(format!("{head}  | {text}"));
    }
    fn finish(&mut self) {
        for bar in self.lines.values().chain(self.heads.values()) {
            bar.finish_and_clear();
        }
        self.bars.clear().ok();
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg} {bar:24}").expect("BUG: a template").progress_chars("━╸─")
}
fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").expect("BUG: a template")
}

pub fn header(report: &RunReport) -> String {
    let c = &report.counts;
    let to_do = report.nodes.len() - c.not_due - c.refused;
    let mut text = format!("run {}  {}  {} of {to_do} done · {} in work · {} held", report.run, report.playbook, c.done, c.in_work, c.held);
    if c.paused > 0 {
        text.push_str(&format!(" · {} paused", c.paused));
    }
    match (&report.blind, &report.stopping) {
        (Some(_), _) => text.push_str(" · cluster not seen"),
        (None, Some(_)) => text.push_str(" · stopping"),
        _ => {}
    }
    text
}

fn node_line(node: &NodeReport, record: &Record, paint: Paint) -> String {
    let step = node.step.as_deref().unwrap_or("in work");
    let time = node.since.map(|at| summary::span(since(at, record.at).as_secs_f64())).unwrap_or_default();
    let wait = match node.blockers.as_slice() {
        [] => String::new(),
        [only] => format!("  waiting for {only}"),
        [first, rest @ ..] => format!("  waiting for {first}, and {} more", rest.len()),
    };
    format!("{}  {}  {time}{wait}", node.name, paint.state(NodeState::InWork, &format!("{step:<8}")))
}
