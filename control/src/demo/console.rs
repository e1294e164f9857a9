//! What the demo says: lines while it runs, a table at the end. A terminal gets colours and a line
//! that shows progress; anything else gets plain lines.

use std::io::{IsTerminal, Write};

/// Where the demo speaks.
#[derive(Debug)]
pub struct Console {
    is_terminal: bool,
    has_colour: bool,
    claim: &'static str,
    rows: Vec<Row>,
}

/// One checked figure.
#[derive(Debug)]
struct Row {
    claim: &'static str,
    what: String,
    figure: String,
    wanted: String,
    holds: bool,
}

// === impl Console ===

impl Console {
    /// Speaks on stdout.
    pub fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        // https://no-color.org: any value but the empty one turns colours off.
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_terminal, has_colour: is_terminal && !wants_none, claim: "", rows: Vec::new() }
    }

    /// A line.
    pub fn say(&self, text: &str) {
        let clear = if self.is_terminal { "\r\x1b[2K" } else { "" };
        Self::put(&format!("{clear}{text}\n"));
    }

    /// What is going on right now; a terminal forgets it with the next line.
    pub fn progress(&self, text: &str) {
        if self.is_terminal {
            Self::put(&format!("\r\x1b[2K  … {text}"));
        }
    }

    /// The claim that the following figures belong to.
    pub fn claim(&mut self, number: &'static str, text: &str) {
        self.claim = number;
        self.say(&format!("\n{number}. {text}"));
    }

    /// A figure of the claim, and whether it is as wanted.
    pub fn check(
        &mut self,
        holds: bool,
        what: impl Into<String>,
        figure: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        let row = Row { claim: self.claim, what: what.into(), figure: figure.into(), wanted: wanted.into(), holds };
        let wanted = if row.holds { String::new() } else { format!("   (wanted: {})", row.wanted) };
        self.say(&format!("  {} {:<46} {}{wanted}", self.mark(holds), row.what, row.figure));
        self.rows.push(row);
    }

    /// The table of all figures; returns whether all of them are as wanted.
    pub fn summary(&self) -> bool {
        let mut table = crate::cli::table(["CLAIM", "WHAT", "FIGURE", "WANTED", "HOLDS"]);
        for row in &self.rows {
            let holds = if row.holds { "yes" } else { "NO" };
            table.add_row([row.claim, &row.what, &row.figure, &row.wanted, holds]);
        }
        self.say("");
        for line in table.to_string().lines() {
            self.say(line.trim_end());
        }
        self.rows.iter().all(|row| row.holds)
    }

    fn mark(&self, holds: bool) -> &'static str {
        match (holds, self.has_colour, self.is_terminal) {
            (true, true, _) => "\x1b[32m✔\x1b[0m",
            (false, true, _) => "\x1b[31m✖\x1b[0m",
            (true, false, true) => "✔",
            (false, false, true) => "✖",
            (true, false, false) => "ok  ",
            (false, false, false) => "FAIL",
        }
    }

    /// A reader that went away is no reason to stop: the exit code still counts.
    fn put(text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}
