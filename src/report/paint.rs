//! Colour marks a state and nothing else, and is never the only sign of it.
use super::fold::NodeState;
use std::str::FromStr;

/// `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}
impl FromStr for Color {
    type Err = String;
    fn from_str(text: &str) -> Result<Color, String> {
        match text {
            "auto" => Ok(Color::Auto),
            "always" => Ok(Color::Always),
            "never" => Ok(Color::Never),
            _ => Err(format!("`{text}` is not auto, always or never")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(bool);
impl Paint {
    pub const PLAIN: Paint = Paint(false);
    pub const ALWAYS: Paint = Paint(true);

    /// `no_color`: the environment has `NO_COLOR`, and it is not empty. An explicit `--color always` wins over it.
    pub fn new(asked: Color, terminal: bool, no_color: bool) -> Paint {
        Paint(match asked {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !no_color,
        })
    }
    pub fn state(self, state: NodeState, text: &str) -> String {
        use NodeState::*;
        match state {
            Done => self.code("32", text),
            InWork | Waiting | Returned | Out | Paused => self.code("33", text),
            Held | Refused => self.code("31", text),
            NotDue => text.to_owned(),
        }
    }
    pub fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_there_is_colour() {
        for (asked, terminal, no_color, expect) in [
            (Color::Auto, true, false, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, false, true, true),
            (Color::Never, true, false, false),
        ] {
            assert_eq!(Paint::new(asked, terminal, no_color), Paint(expect), "{asked:?} {terminal} {no_color}");
        }
        assert_eq!(Paint(true).state(NodeState::Held, "HELD"), "\x1b[31mHELD\x1b[0m");
        assert_eq!(Paint::PLAIN.state(NodeState::Held, "HELD"), "HELD");
    }
}
