//! Shows how something changes: drawn over on a terminal, and elsewhere one plain line for each change.

use std::fmt::Write;
use std::io::IsTerminal;

use super::print;

/// Where changes are shown.
pub(super) struct Screen {
    is_terminal: bool,
    shown: Option<String>,
    is_first: bool,
}

// === impl Screen ===

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), shown: None, is_first: true }
    }

    /// Whether it can be drawn over.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Draws a page over the one before it.
    pub(super) fn draw(&mut self, page: &str) -> anyhow::Result<()> {
        let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0));
        let clear = std::mem::take(&mut self.is_first);
        print(&frame(page, rows, clear))
    }

    /// Whether a text differs from the last one.
    pub(super) fn changes(&mut self, text: &str) -> bool {
        let differs = self.shown.as_deref() != Some(text);
        self.shown = Some(text.to_owned());
        differs
    }
}

/// What has to be sent to a terminal so that it shows a page and nothing of the one before. Lines that are
/// too long are cut, not folded: a folded line would push the rest down, and the next page would not lie
/// over this one.
fn frame(page: &str, rows: usize, clear: bool) -> String {
    let mut text = String::from(if clear { "\x1b[2J\x1b[H\x1b[?7l" } else { "\x1b[H\x1b[?7l" });
    let lines: Vec<&str> = page.lines().collect();
    let room = rows.saturating_sub(1);
    let fits = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    for line in lines.iter().take(fits) {
        let _ = write!(text, "{line}\x1b[K\r\n");
    }
    if fits < lines.len() {
        let _ = write!(text, "({} more lines)\x1b[K\r\n", lines.len() - fits);
    }
    text.push_str("\x1b[J\x1b[?7h");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_too_tall_says_how_much_is_missing() {
        let frame = frame("a\nb\nc\nd\n", 4, false);
        assert!(frame.contains("a\x1b[K") && frame.contains("b\x1b[K") && !frame.contains("c\x1b[K"), "{frame:?}");
        assert!(frame.contains("(2 more lines)"), "{frame:?}");
    }

    #[test]
    fn only_the_first_page_clears_the_screen() {
        assert!(frame("a\n", 9, true).contains("\x1b[2J"));
        assert!(!frame("a\n", 9, false).contains("\x1b[2J"));
    }
}
