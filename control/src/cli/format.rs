//! The formats in which releases are printed. `json` and `yaml` are the objects as they are kept.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::jsonpath::Template;
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

/// What is printed: one of the formats, or what a template makes of the object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    Format(Format),
    JsonPath(Template),
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
    let list = list(all);
    match format {
        Format::Name => Ok(all.iter().map(|kept| format!("{}\n", full_name(&kept.name))).collect()),
        Format::Yaml => yaml(&list),
        Format::Text | Format::Wide | Format::Json => json_text(&list),
    }
}

/// Many objects as one, in the manner of kubectl.
fn list(all: &[Kept]) -> Value {
    let items: Vec<&Value> = all.iter().map(|kept| &kept.object).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
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

// === impl Output ===

impl Output {
    /// Reads what stands behind `-o`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Some(template) = text.strip_prefix("jsonpath=") {
            return template.parse().map(Self::JsonPath);
        }
        let format = <Format as clap::ValueEnum>::from_str(text, true);
        format.map(Self::Format).map_err(|_| "write text, wide, json, yaml, name or jsonpath=TEMPLATE".into())
    }

    /// What can be written there.
    pub(super) fn candidates() -> Vec<clap_complete::CompletionCandidate> {
        ["text", "wide", "json", "yaml", "name", "jsonpath="].map(clap_complete::CompletionCandidate::new).into()
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Format(format) if format.is_text())
    }

    pub(super) fn is_wide(&self) -> bool {
        *self == Self::Format(Format::Wide)
    }

    /// The text of one object.
    pub(super) fn object(&self, kept: &Kept) -> anyhow::Result<String> {
        match self {
            Self::Format(format) => object(kept, *format),
            Self::JsonPath(template) => Ok(template.text(&kept.object)),
        }
    }

    /// The text of many objects.
    pub(super) fn objects(&self, all: &[Kept]) -> anyhow::Result<String> {
        match self {
            Self::Format(format) => objects(all, *format),
            Self::JsonPath(template) => Ok(template.text(&list(all))),
        }
    }
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
