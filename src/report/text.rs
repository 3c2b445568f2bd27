//! How screens are laid out: width, colour, spans and lists as people read them.
use crate::model::{Fault, Span};
use std::{fmt::Write, time::Duration};

/// What the terminal offers. Colour only marks a state that the words say too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    pub width: usize,
    pub color: bool,
}
impl Default for Screen {
    fn default() -> Screen {
        Screen { width: 80, color: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Good,
    Waiting,
    Bad,
}

impl Screen {
    /// As wide as `$COLUMNS` says; else what every terminal has, or without one enough for a log or a pager.
    pub fn new(terminal: bool, color: bool) -> Screen {
        let asked = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|w| (40..=500).contains(w));
        Screen { width: asked.unwrap_or(if terminal { 80 } else { 120 }), color }
    }
    pub fn mark(self, mark: Mark, text: &str) -> String {
        if !self.color {
            return text.into();
        }
        let code = match mark {
            Mark::Good => 32,
            Mark::Waiting => 33,
            Mark::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// `text` after `indent` blanks, broken between words; the first line goes on from a head that is `indent` wide already.
    pub fn wrapped(self, indent: usize, text: &str) -> String {
        let room = self.width.saturating_sub(indent).max(24);
        let mut out = String::new();
        let mut used = 0;
        for word in text.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                let _ = write!(out, "\n{:indent$}", "");
                used = 0;
            } else if used > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
        out
    }

    /// A fault below a head that is `indent` wide: what, why, and what to do.
    pub fn fault(self, indent: usize, fault: &Fault) -> String {
        let mut out = self.wrapped(indent, &fault.what);
        for cause in &fault.causes {
            let _ = write!(out, "\n{:indent$}{}", "", self.wrapped(indent, cause));
        }
        if let Some(next) = &fault.next {
            let _ = write!(out, "\n{:indent$}{}", "", self.wrapped(indent, &format!("next: {next}")));
        }
        out
    }
}

/// `~9 min`, `~40 s`, `~2 h 10 min`: no false precision.
pub fn about(span: Span) -> String {
    let seconds = span.0.as_secs_f64().round() as u64;
    match seconds {
        0 => "~1 s".into(),
        1..90 => format!("~{seconds} s"),
        90..5400 => format!("~{} min", (seconds + 30) / 60),
        _ => format!("~{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `210 ms`, `1.2 s`.
pub fn took(span: Duration) -> String {
    match span.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", span.as_secs_f64()),
    }
}

pub fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_between_words_under_their_own_column() {
        let screen = Screen { width: 40, color: false };
        assert_eq!(screen.wrapped(10, "one two three four five six seven eight"), "one two three four five six\n          seven eight");
        assert_eq!(about(Span::seconds(541)), "~9 min");
        assert_eq!((took(Duration::from_millis(34)), took(Duration::from_millis(1234))), ("34 ms".into(), "1.2 s".into()));
    }
}
