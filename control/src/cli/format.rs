//! The formats in which releases are printed. `json` and `yaml` are the objects as they are kept.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::print;
use crate::view::kept::Kept;

/// A format, as kubectl names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For people, with more columns
    Wide,
    /// The object as it is kept
    Json,
    /// The object as it is kept
    Yaml,
    /// Only its name
    Name,
}

/// Options for what people read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Looks {
    /// Print no colours; so does NO_COLOR in the environment, and output to no terminal
    #[arg(long)]
    no_color: bool,
}

/// The name of a release as other commands take it.
pub(super) fn full_name(name: &str) -> String {
    format!("grayrelease.graylane.io/{name}")
}

/// The text of one object.
pub(super) fn object(kept: &Kept, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Name => Ok(format!("{}\n", full_name(&kept.name))),
        Format::Yaml => yaml(&kept.object),
        Format::Text | Format::Wide | Format::Json => json_text(&kept.object),
    }
}

/// The text of many objects; a single one stands for itself, as with kubectl.
pub(super) fn one_or_many(all: &[Kept], format: Format) -> anyhow::Result<String> {
    match all {
        [one] => object(one, format),
        all => objects(all, format),
    }
}

/// The text of many objects.
pub(super) fn objects(all: &[Kept], format: Format) -> anyhow::Result<String> {
    let items: Vec<&Value> = all.iter().map(|kept| &kept.object).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    match format {
        Format::Name => Ok(all.iter().map(|kept| format!("{}\n", full_name(&kept.name))).collect()),
        Format::Yaml => yaml(&list),
        Format::Text | Format::Wide | Format::Json => json_text(&list),
    }
}

/// Prints one object.
pub(super) fn print_object(kept: &Kept, format: Format) -> anyhow::Result<()> {
    print(&object(kept, format)?)
}

fn json_text(value: &Value) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value)?;
    Ok(if text.ends_with('\n') { text } else { format!("{text}\n") })
}

// === impl Looks ===

impl Looks {
    /// Whether colours are wanted.
    pub(super) fn colour(self) -> bool {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        !self.no_color && !unwanted && !dumb && std::io::stdout().is_terminal()
    }
}

// === impl Format ===

impl Format {
    /// Whether people read it.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Wide)
    }
}
