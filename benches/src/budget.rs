//! Budgets with two ends, in `benches/budgets.txt`: above the ceiling something got dearer, below the
//! floor something got cheaper and the budget has to follow, so that a win is never lost unseen.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Where the table is, for messages.
const FILE: &str = "benches/budgets.txt";

/// The table.
#[derive(Clone, Debug)]
pub struct Budgets {
    ranges: BTreeMap<String, (u64, u64)>,
}

/// Figures held against the table.
#[derive(Debug)]
pub struct Gate<'b> {
    budgets: &'b Budgets,
    problems: Vec<String>,
    seen: Vec<String>,
}

// === impl Budgets ===

impl Budgets {
    /// Reads the table.
    ///
    /// # Errors
    /// When it is missing or a line of it has another shape.
    pub fn read() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.txt");
        Self::parse(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut ranges = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, floor, ceiling] = words[..] else { bail!("{FILE}: `{line}` is no `name floor ceiling`") };
            let number = |text: &str| text.replace('_', "").parse::<u64>().with_context(|| format!("{FILE}: `{line}`"));
            let (floor, ceiling) = (number(floor)?, number(ceiling)?);
            ensure!(floor <= ceiling, "{FILE}: `{line}`: the floor is above the ceiling");
            ensure!(ranges.insert(name.to_owned(), (floor, ceiling)).is_none(), "{FILE}: {name} is there twice");
        }
        Ok(Self { ranges })
    }

    /// Begins to hold figures against the table.
    #[must_use]
    pub fn gate(&self) -> Gate<'_> {
        Gate { budgets: self, problems: Vec::new(), seen: Vec::new() }
    }
}

// === impl Gate ===

impl Gate<'_> {
    /// Holds one figure against its budget, and prints it.
    pub fn hold(&mut self, name: &str, figure: u64) {
        self.seen.push(name.to_owned());
        let Some(&(floor, ceiling)) = self.budgets.ranges.get(name) else {
            self.problems.push(format!("{name} is {figure} and has no budget: add a line to {FILE}"));
            return;
        };
        println!("{name:<44} {figure:>12}   {floor:>12} .. {ceiling}");
        if figure > ceiling {
            self.problems.push(format!(
                "{name} is {figure}, above its ceiling of {ceiling}: make it cheaper again, or raise the ceiling in \
                 {FILE} and say in the commit what it buys"
            ));
        }
        if figure < floor {
            self.problems.push(format!(
                "{name} is {figure}, below its floor of {floor}. Good: lower both ends in {FILE} in the same commit \
                 (about 3% around the figure), so that the win is kept"
            ));
        }
    }

    /// Ends the gate for all budgets whose name begins so.
    ///
    /// # Errors
    /// When a figure was out of its budget, or a budget had no figure.
    pub fn end(mut self, prefix: &str) -> Result<()> {
        let unseen = |name: &&String| name.starts_with(prefix) && !self.seen.contains(name);
        let stale: Vec<String> = self.budgets.ranges.keys().filter(unseen).cloned().collect();
        self.problems
            .extend(stale.iter().map(|name| format!("{name} has a budget and is not measured: remove its line")));
        ensure!(self.problems.is_empty(), "out of budget:\n- {}", self.problems.join("\n- "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(figure: u64) -> Result<()> {
        let budgets = Budgets::parse("# a table\na/b 1_000 2_000\n")?;
        let mut gate = budgets.gate();
        gate.hold("a/b", figure);
        gate.end("a/")
    }

    #[test]
    fn a_budget_has_two_ends() {
        assert!(held(1_000).is_ok());
        assert!(held(2_000).is_ok());
        assert!(held(999).unwrap_err().to_string().contains("lower both ends"));
        assert!(held(2_001).unwrap_err().to_string().contains("above its ceiling"));
    }

    #[test]
    fn a_figure_without_budget_and_a_budget_without_figure_are_told() {
        let budgets = Budgets::parse("a/b 1 2\n").unwrap();
        let mut gate = budgets.gate();
        gate.hold("a/c", 1);
        let message = gate.end("a/").unwrap_err().to_string();
        assert!(message.contains("a/c is 1 and has no budget") && message.contains("a/b has a budget"), "{message}");
    }
}
