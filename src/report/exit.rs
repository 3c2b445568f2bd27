//! The exit code of what one command ran, as documented (architecture.md, 4).
use super::fold::{NodeState, RunReport, RunState};
use crate::event::Halt;

/// From the worst to none.
const ORDER: [u8; 6] = [1, 8, 7, 6, 5, 4];

/// The worse of two codes, however they came about: also 1 and 8, which no report can say.
pub fn worst(a: u8, b: u8) -> u8 {
    let rank = |code: u8| ORDER.iter().position(|c| *c == code).unwrap_or(ORDER.len());
    if rank(b) < rank(a) { b } else { a }
}

pub fn code(reports: &[RunReport]) -> u8 {
    let nodes = || reports.iter().flat_map(|r| &r.nodes);
    // Said of the whole command, not of one of its runs: some refused is another thing than all.
    if nodes().count() > 0
        && nodes().all(|n| n.end == NodeState::Refused && !n.touched())
        && reports.iter().all(|r| r.state == RunState::Finished || !unfinished(r))
    {
        return 4;
    }
    reports.iter().map(one).fold(0, worst)
}

/// A `resume` would find something to do without a person.
fn unfinished(report: &RunReport) -> bool {
    let counts = &report.counts;
    let open = counts.in_work + counts.waiting;
    match report.state {
        RunState::Finished => false,
        RunState::Interrupted => open > 0,
        // No last word: its engine died. With only held nodes left, nothing is lost by that.
        RunState::Open => open > 0 || counts.held + counts.paused == 0,
        RunState::Halted => counts.in_work > 0,
    }
}

fn one(report: &RunReport) -> u8 {
    let counts = &report.counts;
    // A pause is no failure: the run goes on where a person lets it.
    let only_paused = counts.paused > 0 && counts.held == 0;
    if unfinished(report) || only_paused {
        return 7;
    }
    let kept_out = report.nodes.iter().any(|n| n.kept_out());
    let failed = counts.held > 0 || counts.returned > 0 || kept_out;
    let began = report.nodes.iter().any(|n| n.admitted.is_some());
    let limited = match &report.halt {
        Some(Halt::WindowClosed { .. }) => began && counts.waiting > 0,
        // A failed node of ours that takes up the room is the reason, and has its own code.
        Some(Halt::NoRoom { .. }) => counts.waiting > 0 && !failed,
        _ => false,
    };
    match () {
        () if limited => 6,
        () if failed || counts.refused > 0 => 5,
        () => 0,
    }
}
