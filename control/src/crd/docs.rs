//! The page that explains the fields of a release, made of the schema that the API server has.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::rules::{At, CHECKS, Check};
use super::{COLUMNS, WIDE_COLUMNS, object_schema};
use crate::engine::status::Phase;

const HEAD: &str = "\
# GrayRelease

The fields of a release, `graylane.io/v1alpha1`, as an API server takes them. This page is made by
`graylane crd --output reference`; `graylane crd` prints the definition itself, which is also in
[graylane.io_grayreleases.yaml](../control/crds/graylane.io_grayreleases.yaml). `kubectl explain grayrelease.spec`
shows the same. What the words mean is in [the reference](reference.md).

In a path, `[]` is any item of a list and `{}` any entry of a map.
";

const RULES: &str = "
## What is refused

The API server checks these rules when a release is applied, `graylane` when it reads a file, and the controller
when it reads an object; all say the same words. Of files, only releases for a cluster need an entry and steps. What
the API server cannot check cheaply (weights by lane and their sum, conditions, what proxies would refuse) is found
by `graylane` and by the controller, which then sets the phase `Invalid` and the condition `Valid` with the words.

| at | is refused | mend |
|---|---|---|
";

const CONDITIONS: &str = "
## Conditions

All are positive: `True` is good. `kubectl wait --for=condition=Ready grayrelease/NAME` waits for success;
`graylane status` also ends at a rollback.

| condition | `True` when | reasons |
|---|---|---|
| `Valid` | the spec and what it names are as they have to be | `Checked`, `Refused` |
| `Acknowledged` | every expected proxy runs the last change | `Confirmed`, `Missing` |
| `Progressing` | something moves | `Moving`, `RollingBack`; `GroupBusy`, `Paused`, `NotBegun`, `Ended` |
| `Ready` | everything is on stable, the new version | `Succeeded`; `RolledBack`, `NotYet` |
";

/// The page, in Markdown.
pub fn reference() -> String {
    let schema = object_schema();
    let part = |name: &str| schema.pointer(&format!("/properties/{name}")).cloned().unwrap_or_default();
    let mut page = HEAD.to_owned();
    columns(&mut page);
    page.push_str("\n## Spec\n\n| field | value | default | meaning |\n|---|---|---|---|\n");
    members(&mut page, "spec", &part("spec"));
    // Nobody writes a status by hand: it has neither defaults nor members that have to be there.
    page.push_str("\n## Status\n\n| field | value | | meaning |\n|---|---|---|---|\n");
    members(&mut page, "status", &part("status"));
    phases(&mut page);
    page.push_str(CONDITIONS);
    page.push_str(RULES);
    for check in CHECKS {
        rule(&mut page, check);
    }
    page
}

fn columns(page: &mut String) {
    let names = |columns: &[(&str, &str, &str)]| columns.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
    let _ = write!(
        page,
        "\n`kubectl get grayreleases` (short `gr`, category `graylane`) shows {}; with `-o wide` also {}.\n",
        names(COLUMNS),
        names(WIDE_COLUMNS)
    );
}

/// A row for each member of an object, and for those of its members.
fn members(page: &mut String, path: &str, schema: &Value) {
    let required = schema.get("required").and_then(Value::as_array).filter(|_| path.starts_with("spec"));
    let is_required = |key: &str| required.is_some_and(|required| required.iter().any(|name| name == key));
    for (key, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{key}");
        row(page, &path, member, is_required(key));
        below(page, &path, member);
    }
}

/// The rows of what is inside of a value. What is inside of a nested condition has been said above it.
fn below(page: &mut String, path: &str, schema: &Value) {
    if is_condition(schema) && path.contains(".when.") {
        return;
    }
    if let Some(items) = schema.get("items") {
        below(page, &format!("{path}[]"), items);
    } else if let Some(entries) = schema.get("additionalProperties") {
        below(page, &format!("{path}{{}}"), entries);
    } else {
        members(page, path, schema);
    }
}

/// Only conditions are objects with a single member.
fn is_condition(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object") && schema.get("minProperties").is_some()
}

fn row(page: &mut String, path: &str, schema: &Value, required: bool) {
    let default = match schema.get("default") {
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => format!("`{value}`"),
        None if required => "required".into(),
        None => String::new(),
    };
    let words = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    // The phases have a table of their own.
    let words = words.split_once(" One of").filter(|_| path == "status.phase").map_or(words, |(first, _)| first);
    let _ = writeln!(page, "| `{path}` | {} | {default} | {} |", cell(&kind(schema)), cell(words));
}

/// What kind of value it is, and how much of it there may be.
fn kind(schema: &Value) -> String {
    let Some(schema) = schema.as_object() else { return String::new() };
    let (name, limit) = match schema.get("type").and_then(Value::as_str) {
        None if schema.contains_key("x-kubernetes-int-or-string") => ("weight".into(), None),
        None => ("any".into(), None),
        Some("string") if schema.contains_key("enum") => (choices(schema), None),
        Some("string") if has_rule_of(schema, "Span") => ("length of time".into(), None),
        Some("string") if has_rule_of(schema, "Time") => ("point in time".into(), None),
        Some("string") => ("text".into(), None),
        Some("boolean") => ("true or false".into(), None),
        Some("integer") => (range(schema), None),
        Some("array") => (format!("list of {}", plural(schema.get("items"))), schema.get("maxItems")),
        Some("object") if schema.contains_key("additionalProperties") => {
            (format!("map to {}", plural(schema.get("additionalProperties"))), schema.get("maxProperties"))
        }
        Some("object") if schema.contains_key("minProperties") => ("condition".into(), None),
        Some(other) => (other.into(), None),
    };
    limit.map_or(name.clone(), |limit| format!("{name}, at most {limit}"))
}

fn plural(schema: Option<&Value>) -> String {
    match schema.map(kind).unwrap_or_default().as_str() {
        "text" => "texts".into(),
        "weight" => "weights".into(),
        "object" => "objects".into(),
        "number" => "numbers".into(),
        "condition" => "conditions".into(),
        other => other.into(),
    }
}

/// Whether the rule of a type stands here.
fn has_rule_of(schema: &Map<String, Value>, name: &'static str) -> bool {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let of_type = |check: &&Check| check.at == [At::Type(name)];
    let is = |rule: &Value| CHECKS.iter().filter(of_type).any(|check| rule["rule"] == check.holds);
    rules.is_some_and(|rules| rules.iter().any(is))
}

fn choices(schema: &Map<String, Value>) -> String {
    let texts = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
}

fn range(schema: &Map<String, Value>) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) if most.as_u64() < Some(u64::from(u32::MAX)) => format!("{least} to {most}"),
        _ => "number".into(),
    }
}

fn phases(page: &mut String) {
    page.push_str("\n## Phases\n\n| phase | meaning |\n|---|---|\n");
    let schema = schemars::schema_for!(Phase);
    for phase in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| phase.get(key).and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {} |", text("const"), cell(text("description")));
    }
}

fn rule(page: &mut String, check: &Check) {
    let places = check.at.iter().map(|at| match at {
        At::Path(path) => format!("`{}`", format!("{path}{}", check.field).trim_start_matches('.')),
        At::Type("Span") => "lengths of time".into(),
        At::Type(_) => "points in time".into(),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    let words = |text: &str| cell(&text.replace("{value}", "…"));
    let _ = writeln!(page, "| {places} | {} | {} |", words(check.rule.message), words(check.rule.mend));
}

/// A text for a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
