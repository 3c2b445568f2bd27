//! Takes the secrets that this process has read out of what hosts print.
use std::collections::BTreeSet;

/// Shorter ones would shred every text, and hide nothing.
const SHORTEST: usize = 4;
/// Of a key's lines, those that say something.
const OF_MANY_LINES: usize = 16;
const INSTEAD: &str = "[secret]";

/// No `Debug`: it holds what it hides.
#[derive(Default)]
pub struct Mask {
    /// The longest first: one may be part of another.
    secrets: BTreeSet<(std::cmp::Reverse<usize>, String)>,
}

impl Mask {
    pub fn learn(&mut self, secret: &str) {
        let lines: Vec<&str> = secret.lines().map(str::trim).collect();
        let least = if lines.len() > 1 { OF_MANY_LINES } else { SHORTEST };
        let telling = lines.into_iter().filter(|line| line.len() >= least && !line.starts_with("-----"));
        self.secrets.extend(telling.map(|line| (std::cmp::Reverse(line.len()), line.to_owned())));
    }

    pub fn apply(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, (_, secret)| if text.contains(secret) { text.replace(secret, INSTEAD) } else { text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let mut mask = Mask::default();
        ["hunter22", "hunter22-and-more", "abc", "", "-----BEGIN KEY-----\nQUJDREVGR0hJSktMTU5PUA==\nAB\n-----END KEY-----"]
            .into_iter()
            .for_each(|s| mask.learn(s));
        assert_eq!(mask.apply("pw=hunter22, then hunter22-and-more; abc"), "pw=[secret], then [secret]; abc");
        assert_eq!(mask.apply("key QUJDREVGR0hJSktMTU5PUA== AB"), "key [secret] AB");
    }
}
