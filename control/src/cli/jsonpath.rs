//! `-o jsonpath=TEMPLATE`, as kubectl has it: text, paths in braces, and ranges.
//!
//! `{.status.phase}` is a path, `{"\n"}` text with escapes, `{range .items[*]}…{end}` is done for each
//! thing that a path finds. A dot in a key is written `\.`. What is not there is printed as nothing.
//! kubectl's paths are brought to the form of RFC 9535 for the library that follows them.

use std::iter::Peekable;
use std::str::{Chars, FromStr};

use jsonpath_rust::JsonPath;
use jsonpath_rust::parser::parse_json_path;
use serde_json::Value;

/// A template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Part>),
}

#[derive(Clone, Debug, PartialEq)]
struct Path {
    /// From the whole object, also inside of a range.
    is_whole: bool,
    /// As RFC 9535 writes it.
    query: String,
}

// === impl Template ===

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('{') {
            return Err(format!("`{text}` has no path; write it in braces: jsonpath='{{.status.phase}}'"));
        }
        let mut chars = text.chars().peekable();
        let (parts, ended) = parts(&mut chars)?;
        if ended { Err("`{end}` without a `{range}`".into()) } else { Ok(Self(parts)) }
    }
}

impl Template {
    /// What it says of an object.
    pub(super) fn text(&self, object: &Value) -> String {
        let mut out = String::new();
        write(&self.0, object, object, &mut out);
        out
    }
}

fn write(parts: &[Part], whole: &Value, here: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<String> = path.find(whole, here).into_iter().map(plain).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                path.find(whole, here).into_iter().for_each(|one| write(inner, whole, one, out))
            }
        }
    }
}

/// A text without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Reads parts up to the end of the template, or of a range; says whether there was an `{end}`.
fn parts(chars: &mut Peekable<Chars<'_>>) -> Result<(Vec<Part>, bool), String> {
    let (mut parts, mut text) = (Vec::new(), String::new());
    while let Some(next) = chars.next() {
        if next != '{' {
            text.push(next);
            continue;
        }
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        let inside = inside(chars)?;
        match inside.trim() {
            "end" => return Ok((parts, true)),
            quoted if quoted.starts_with(['"', '\'']) => parts.push(Part::Text(unquoted(quoted))),
            range if range.starts_with("range ") => {
                let path = range.trim_start_matches("range ").trim().parse()?;
                let (inner, ended) = self::parts(chars)?;
                if !ended {
                    return Err(format!("`{{{range}}}` has no `{{end}}`"));
                }
                parts.push(Part::Range(path, inner));
            }
            path => parts.push(Part::Path(path.parse()?)),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok((parts, false))
}

/// What stands in braces; braces in quotes are text.
fn inside(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let (mut inside, mut quote) = (String::new(), None);
    while let Some(next) = chars.next() {
        match (quote, next) {
            (None, '}') => return Ok(inside),
            (_, '\\') => {
                inside.push('\\');
                inside.extend(chars.next());
                continue;
            }
            (None, '"' | '\'') => quote = Some(next),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        inside.push(next);
    }
    Err(format!("`{{{inside}` has no `}}`"))
}

fn unquoted(text: &str) -> String {
    let mut chars = text.get(1..text.len().saturating_sub(1)).unwrap_or_default().chars();
    let mut out = String::new();
    while let Some(next) = chars.next() {
        out.push(match next {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    out
}

// === impl Path ===

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(['$', '@']).unwrap_or(text);
        let mut query = String::from("$");
        let mut chars = rest.chars().peekable();
        // kubectl takes `{status.phase}` too.
        if chars.peek().is_some_and(|first| !matches!(first, '.' | '[')) {
            segment(&mut chars, &mut query);
        }
        while let Some(next) = chars.next() {
            match next {
                '[' => bracket(&mut chars, &mut query),
                '.' if chars.peek() == Some(&'.') => {
                    chars.next();
                    query.push_str("..");
                    segment(&mut chars, &mut query);
                }
                _ => segment(&mut chars, &mut query),
            }
        }
        parse_json_path(&query).map_err(|_| format!("`{text}` is no path; write it like `.status.phase`"))?;
        Ok(Self { is_whole: text.starts_with('$'), query })
    }
}

impl Path {
    fn find<'v>(&self, whole: &'v Value, here: &'v Value) -> Vec<&'v Value> {
        // What was read once is read again without an error.
        (if self.is_whole { whole } else { here }).query(&self.query).unwrap_or_default()
    }
}

/// A key, up to the next dot or bracket.
fn segment(chars: &mut Peekable<Chars<'_>>, query: &mut String) {
    let mut key = String::new();
    while let Some(next) = chars.next_if(|next| !matches!(next, '.' | '[')) {
        key.extend(if next == '\\' { chars.next() } else { Some(next) });
    }
    match key.as_str() {
        "" => {}
        "*" => query.push_str("[*]"),
        key => query.push_str(&format!("['{}']", key.replace('\\', "\\\\").replace('\'', "\\'"))),
    }
}

/// What stands in brackets is the same in both forms.
fn bracket(chars: &mut Peekable<Chars<'_>>, query: &mut String) {
    query.push('[');
    let (mut depth, mut quote) = (1, None);
    for next in chars.by_ref() {
        query.push(next);
        match (quote, next) {
            (None, '[') => depth += 1,
            (None, ']') => depth -= 1,
            (None, '"' | '\'') => quote = Some(next),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(template: &str) -> String {
        let list = json!({"kind": "List", "items": [
            {"metadata": {"name": "summer", "annotations": {"graylane.io/request": "r"}},
                "status": {"phase": "Paused", "weights": {"canary": 500}, "full": true}},
            {"metadata": {"name": "winter"}, "status": {"phase": "Pending", "pause": null}},
        ]});
        template.parse::<Template>().unwrap().text(&list)
    }

    #[test]
    fn paths_say_what_kubectls_say() {
        assert_eq!(said("{.items[0].status.phase}"), "Paused");
        assert_eq!(said("{.items[*].metadata.name}"), "summer winter");
        assert_eq!(said("{..name}"), "summer winter");
        assert_eq!(said("{$.kind}/{kind}{@.kind}"), "List/ListList");
        assert_eq!(said("{.items[0].status.weights}{.items[0].status.full}"), r#"{"canary":500}true"#);
        assert_eq!(said(r"{.items[0].metadata.annotations.graylane\.io/request}"), "r");
        assert_eq!(said(r#"{.items[?(@.status.phase=="Pending")].metadata.name}"#), "winter");
        assert_eq!(said("{.items[-1:].metadata.name}"), "winter");
        assert_eq!(said("a{.nothing.here}b{.items[1].status.pause}"), "ab");
    }

    #[test]
    fn a_range_is_done_for_each() {
        assert_eq!(
            said(r#"{range .items[*]}{.metadata.name}{"\t"}{.status.phase}{"\n"}{end}of {$.kind}"#),
            "summer\tPaused\nwinter\tPending\nof List"
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let wrong = |text: &str| text.parse::<Template>().unwrap_err();
        assert!(wrong(".status").contains("braces"), "{}", wrong(".status"));
        assert!(wrong("{.status").contains("has no `}`"), "{}", wrong("{.status"));
        assert!(wrong("{range .items[*]}x").contains("has no `{end}`"));
        assert!(wrong("x{end}").contains("without a `{range}`"));
        assert!(wrong("{.items[}").contains("is no path"), "{}", wrong("{.items[}"));
    }
}
