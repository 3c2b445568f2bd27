//! What Open vStorage's command line and the init systems under it say of its services. Pure; a text it does not know is an error, never "healthy".

/// One service, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `ovs-workers`, or `ovs-volumedriver (vpool1)`.
    pub name: String,
    /// As it was said: `stop/waiting`, `inactive`.
    pub state: String,
    pub runs: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Monitor {
    pub running: Vec<Service>,
    pub not_running: Vec<Service>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Section {
    Running,
    NotRunning,
    /// Switched off on purpose: only systemd's monitor of September 2016 has it.
    Disabled,
}

/// A frame of `ovs monitor services`, in any of its formats: upstart rows, systemd rows, or since October 2016 name and state.
pub fn monitor(text: &str) -> Result<Monitor, String> {
    let frames = frames(text)?;
    let last = frames.last().ok_or("it says nothing")?;
    if last.ends_with('\n') && whole(last) {
        return one(last);
    }
    let begins = last.lines().map(str::trim).find(|l| !l.is_empty()).map(str::to_ascii_lowercase).unwrap_or_default();
    // Cut off while it was drawn: the frame before it was whole. Anything else that stands last is no frame, and the one before it is history.
    match frames.len().checked_sub(2).map(|i| &frames[i]) {
        Some(before) if whole(before) && "ovs running processes:".starts_with(begins.trim_end_matches(':')) => one(before),
        _ => one(last).and(Err("it broke off in the middle of a line".into())),
    }
}

fn whole(frame: &str) -> bool {
    let headings: Vec<Section> = frame.lines().filter_map(section).collect();
    headings.contains(&Section::Running) && headings.contains(&Section::NotRunning)
}

/// Screens, without colours. What places the cursor cannot be read by anything but a terminal.
fn frames(text: &str) -> Result<Vec<String>, String> {
    let mut frames = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next() != Some('[') {
                    return Err("it is drawn for a terminal".into());
                }
                let mut args = String::new();
                let end = loop {
                    match chars.next() {
                        Some(c) if c.is_ascii_digit() || c == ';' => args.push(c),
                        Some(c) => break c,
                        None => return Err("it broke off in an escape sequence".into()),
                    }
                };
                match (args.as_str(), end) {
                    // A screen is cleared before each frame, and the cursor sent home.
                    ("2" | "3" | "", 'J') => frames.push(String::new()),
                    ("" | "1;1", 'H') | (_, 'm') | ("" | "0", 'K') => {}
                    _ => return Err("it is drawn for a terminal".into()),
                }
            }
            '\r' | '\u{0}' => {}
            c => frames.last_mut().expect("BUG: there is always one").push(c),
        }
    }
    frames.retain(|f| !f.trim().is_empty());
    Ok(frames)
}

fn section(line: &str) -> Option<Section> {
    match line.trim().trim_end_matches(':').trim().to_ascii_lowercase().as_str() {
        "ovs running processes" => Some(Section::Running),
        "ovs non-running processes" => Some(Section::NotRunning),
        "ovs disabled services" => Some(Section::Disabled),
        _ => None,
    }
}

fn one(frame: &str) -> Result<Monitor, String> {
    let mut seen = Monitor::default();
    let (mut at, mut has) = (None, (false, false));
    for line in frame.lines().map(str::trim) {
        // Its title may hold both headings.
        if line.is_empty() || line.starts_with("Every ") || line.chars().all(|c| c == '=') {
            continue;
        }
        if let Some(next) = section(line) {
            has = (has.0 || next == Section::Running, has.1 || next == Section::NotRunning);
            at = Some(next);
            continue;
        }
        match at {
            None => return Err(format!("`{}` stands before any heading", shown(line))),
            Some(Section::Disabled) => {}
            Some(Section::Running) => {
                let row = row(line)?;
                if row.runs { seen.running.push(row) } else { seen.not_running.push(row) }
            }
            // Whatever a row there says of itself.
            Some(Section::NotRunning) => seen.not_running.push(row(line)?),
        }
    }
    match has {
        (true, true) => Ok(seen),
        (true, false) => Err("the non-running processes are missing: it broke off".into()),
        _ => Err(format!("neither running nor non-running processes in `{}`", shown(frame.trim()))),
    }
}

/// `name [(instance)] state`. A unit that is not well may have a mark before it.
pub fn row(line: &str) -> Result<Service, String> {
    let unknown = || format!("`{}` is no row of a service", shown(line));
    let line = line.trim().trim_start_matches(['●', '*', '×', '○', '↻']).trim();
    let (name, mut rest) = line.split_once(char::is_whitespace).ok_or_else(unknown)?;
    let name = name.trim_end_matches(".service");
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c)) {
        return Err(unknown());
    }
    rest = rest.trim();
    let mut full = name.to_owned();
    if let Some(inner) = rest.strip_prefix('(') {
        let (instance, after) = inner.split_once(')').ok_or_else(unknown)?;
        full = format!("{name} ({})", instance.trim());
        rest = after.trim();
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let first = words.first().ok_or_else(unknown)?.trim_end_matches(',');
    let (state, runs) = match first {
        // upstart: goal/state.
        s if s.contains('/') => {
            let (goal, state) = s.split_once('/').ok_or_else(unknown)?;
            let known = ["start", "stop"].contains(&goal) && !state.is_empty() && state.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if !known {
                return Err(unknown());
            }
            (s.to_owned(), s == "start/running")
        }
        // systemctl list-units: load, active, sub, description.
        "loaded" | "not-found" | "masked" | "error" | "bad-setting" => {
            let active = *words.get(1).ok_or_else(unknown)?;
            let sub = words.get(2).copied().unwrap_or_default();
            if !known_state(active) {
                return Err(unknown());
            }
            (format!("{active} ({sub})"), first == "loaded" && active == "active" && sub == "running")
        }
        // systemctl is-active.
        s if known_state(s) && words.len() == 1 => (s.to_owned(), s == "active"),
        _ => return Err(unknown()),
    };
    Ok(Service { name: full, state, runs })
}

fn known_state(state: &str) -> bool {
    ["active", "inactive", "failed", "activating", "deactivating", "reloading", "unknown"].contains(&state)
}

fn shown(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The lines of our own script: which init it is, then each ovs service as that init knows it, then the end.
pub fn units(text: &str) -> Result<(bool, Vec<Service>), String> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let init = lines.next().and_then(|l| l.strip_prefix("init=")).ok_or("it does not say which init the host has")?;
    let mut services = Vec::new();
    let mut ended = false;
    for line in lines {
        match line {
            "end" => ended = true,
            _ if ended => return Err(format!("`{}` after the end", shown(line))),
            line => services.push(row(line)?),
        }
    }
    if !ended {
        return Err("it broke off before its end".into());
    }
    Ok((init == "systemd", services))
}

#[cfg(test)]
#[path = "ovs_samples.rs"]
mod samples;
