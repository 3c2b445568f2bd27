//! Problems drawn for people: the culprit's line, underlined. Pure: whoever prints says how wide and whether in colour.
use super::problem::{ConfigErrors, Excerpt, Problem};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::fmt::{self, Write};

/// How problems are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// `file:line:column: message`, one a line.
    Plain,
    /// Drawn for a terminal.
    Drawn { colour: bool, width: usize },
}

impl ConfigErrors {
    pub fn render(&self, look: Look) -> String {
        let mut out = String::new();
        match look {
            Look::Plain => out.push_str(&self.to_string()),
            Look::Drawn { colour, width } => {
                let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
                // The header's place must not be broken over two lines.
                let handler = GraphicalReportHandler::new_themed(theme).with_width(width.max(40)).with_context_lines(1).with_break_words(false);
                for problem in &self.problems {
                    handler.render_report(&mut out, &Drawn(problem)).expect("BUG: text cannot fail to be written");
                }
            }
        }
        writeln!(out, "{}. Nothing was contacted.", self.count()).expect("BUG: text cannot fail to be written");
        out
    }
}

struct Drawn<'p>(&'p Problem);

impl fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}
impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.line {
            0 => write!(f, "{}: {}", self.0.file, self.0.message),
            _ => f.write_str(&self.0.message),
        }
    }
}
impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as _)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.excerpt.as_ref().map(|_| self as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Excerpt { culprit, .. } = self.0.excerpt.as_deref()?;
        Some(Box::new(std::iter::once(LabeledSpan::underline(culprit.clone()))))
    }
}

/// The culprit's line alone is the source: its file, line and column are known already, and in characters, which miette would count in bytes.
impl SourceCode for Drawn<'_> {
    fn read_span<'a>(&'a self, _: &SourceSpan, before: usize, _: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let problem = self.0;
        let Excerpt { line, .. } = problem.excerpt.as_deref().ok_or(MietteError::OutOfBounds)?;
        // Asked without context for the header's place, with context for the lines to draw.
        let column = if before == 0 { problem.column - 1 } else { 0 };
        let span = SourceSpan::from(0..line.len());
        Ok(Box::new(MietteSpanContents::new_named(problem.file.clone(), line.as_bytes(), span, problem.line - 1, column, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Sources;
    use super::*;

    #[test]
    fn drawn_and_plain_both_name_the_place() {
        let mut sources = Sources::default();
        let text = "a = 1\n'ü' = 2, password = 'hunter2', kubconfig = 'x'\n";
        sources.add("inventory/edge.toml", text);
        let at = text.find("kubconfig").unwrap();
        let found = sources.problem(&(at..at + 9), "unknown key `kubconfig`".into(), Some("did you mean `kubeconfig`?".into()));
        let errors = ConfigErrors { problems: vec![found, Problem::whole("inventory", "is empty")] };
        let plain = errors.render(Look::Plain);
        assert!(plain.starts_with("inventory/edge.toml:2:32: unknown key `kubconfig`; did you mean `kubeconfig`?\ninventory: is empty\n"), "{plain}");
        let drawn = errors.render(Look::Drawn { colour: false, width: 80 });
        assert!(drawn.contains("[inventory/edge.toml:2:32]"), "{drawn}");
        assert!(drawn.contains("2 │ 'ü' = 2, password = *********, kubconfig"), "{drawn}");
        assert!(drawn.contains("did you mean") && drawn.contains("2 problems in 2 files") && !drawn.contains("hunter2"), "{drawn}");
        assert!(errors.render(Look::Drawn { colour: true, width: 80 }).contains('\u{1b}'));
    }
}
