//! `run --ask`: a person says yes to each node just before it is taken out. No answer, and every other answer, leaves that node alone.
use crate::model::NodeName;
use std::{
    io::{BufRead, Write},
    sync::Mutex,
};

/// Runs of several clusters stand side by side, and one person answers them one after another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Blocks until there is an answer; never called on a thread of the runtime.
pub fn node(node: &NodeName) -> bool {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    eprint!("{node} is next: take it out of service? Type yes: ");
    std::io::stderr().flush().ok(); // a question that nobody sees is answered by nobody
    let mut line = String::new();
    let answered = std::io::stdin().lock().read_line(&mut line).is_ok();
    answered && ["y", "yes"].contains(&line.trim().to_lowercase().as_str())
}
