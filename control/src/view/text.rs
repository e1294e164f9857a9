//! Views as text, with colours or without.

use super::columns::{self, columns};
use super::ground::Ground;
use super::kept::Kept;
use super::mark;
use super::tree::{Node, tree};
use super::{glance, steps, times, verdict};
use crate::engine::Millis;

/// How text is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// With what only few want to know.
    pub wide: bool,
}

/// A release as one page: head, steps, tree.
pub fn page(kept: &Kept, ground: &Ground, now: Millis, style: Style) -> String {
    let mut text = String::new();
    for (name, value) in glance::head(kept, now, style.wide) {
        let name = format!("{name}:");
        text.push_str(&format!("{name:<12}{value}\n"));
    }
    let steps = steps::lines(kept, now);
    if !steps.is_empty() {
        let mut table = columns(&["STEP", "DOES", "INFO"]);
        for (index, step) in steps.into_iter().enumerate() {
            let sign = step.mark.sign();
            table.add_row([format!("{:<1} {}", sign, index + 1), step.text, step.note]);
        }
        text.push_str(&format!("\n{}", columns::text(&table)));
    }
    text.push_str(&verdict::text(&kept.status, now));
    text.push_str(&format!("\n{}", branches(&tree(kept, ground, now))));
    if style.wide && !kept.status.history.is_empty() {
        let mut table = columns(&["TIME", "REASON", "MESSAGE"]);
        for entry in &kept.status.history {
            table.add_row([times::at(entry.at_ms), entry.reason.clone(), entry.message.clone()]);
        }
        text.push_str(&format!("\n{}", columns::text(&table)));
    }
    if style.colour { coloured(&text) } else { text }
}

/// A tree as a table.
pub fn branches(root: &Node) -> String {
    let mut table = columns(&["NAME", "KIND", "STATUS", "READY", "AGE", "INFO"]);
    let mut rows = Vec::new();
    grow(root, "", "", &mut rows);
    for row in rows {
        table.add_row(row);
    }
    columns::text(&table)
}

/// Adds a node and what is below it; `own` leads its line, `below` the lines of its children.
fn grow(node: &Node, own: &str, below: &str, rows: &mut Vec<[String; 6]>) {
    let status = node.mark.with(&node.status);
    let name = format!("{own}{}", node.name);
    rows.push([name, node.kind.clone(), status, node.ready.clone(), node.age.clone(), node.info.clone()]);
    let last = node.children.len().saturating_sub(1);
    for (index, child) in node.children.iter().enumerate() {
        let (lead, rest) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        grow(child, &format!("{below}{lead}"), &format!("{below}{rest}"), rows);
    }
}

/// The same text with every sign in its colour.
pub fn coloured(text: &str) -> String {
    mark::ALL.iter().fold(text.to_owned(), |text, mark| {
        text.replace(mark.sign(), &format!("\x1b[{}m{}\x1b[0m", mark.colour(), mark.sign()))
    })
}
