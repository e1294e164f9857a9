//! From the schemas that schemars derives to the structural ones that an API server takes.
//!
//! An API server wants every value to have one type, knows no references, and lets `anyOf` and its like
//! only narrow what is said outside of them. So references are put in place, texts with a fixed choice
//! become `enum`, choices of members become an object with at most one of them, and what may be a text or
//! an object is left open: the controller checks it.

use serde_json::{Map, Value, json};

/// How often a type may hold itself before it is left open. Conditions may be nested without end.
const DEPTH: usize = 2;

/// What is left open: the API server keeps it as it is.
pub(super) const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

type Object = Map<String, Value>;

/// A place in an object.
pub(super) struct Place<'a> {
    /// Its path, with `[]` for items and `{}` for entries.
    pub(super) path: &'a str,
    /// The type that schemars knows it by, if any.
    pub(super) named: Option<&'a str>,
}

/// Makes a schema structural. `finish` is called for every value, from the inside out, to add what
/// schemars does not know.
pub(super) fn structural(schema: &schemars::Schema, path: &str, finish: &dyn Fn(&Place<'_>, &mut Object)) -> Value {
    let root = schema.as_object().cloned().unwrap_or_default();
    let definitions = root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    Converter { definitions, finish, within: Vec::new() }.convert(&root, path)
}

struct Converter<'a> {
    definitions: Object,
    finish: &'a dyn Fn(&Place<'_>, &mut Object),
    /// Types around the value at hand.
    within: Vec<String>,
}

// === impl Converter ===

impl Converter<'_> {
    fn convert(&mut self, schema: &Object, path: &str) -> Value {
        if let Some((name, inner)) = self.referred(schema) {
            if self.within.iter().filter(|outer| **outer == name).count() >= DEPTH {
                let words = description(schema).or(description(&inner)).unwrap_or_default();
                return json!({"description": words, "type": "object", OPEN: true});
            }
            self.within.push(name.clone());
            let mut converted = self.shape(&inner, path);
            self.within.pop();
            keep(schema, &mut converted);
            return self.finished(path, Some(&name), converted);
        }
        let mut converted = self.shape(&without_null(schema), path);
        keep(schema, &mut converted);
        self.finished(path, None, converted)
    }

    fn finished(&self, path: &str, named: Option<&str>, mut converted: Object) -> Value {
        (self.finish)(&Place { path, named }, &mut converted);
        Value::Object(converted)
    }

    /// The type that a schema refers to, also where it may be absent.
    fn referred(&self, schema: &Object) -> Option<(String, Object)> {
        let schema = without_null(schema);
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        Some((name.to_owned(), self.definitions.get(name)?.as_object()?.clone()))
    }

    fn shape(&mut self, schema: &Object, path: &str) -> Object {
        let mut shape = Object::new();
        keep(schema, &mut shape);
        if let Some(variants) = list(schema, "oneOf") {
            self.choice(&variants, path, &mut shape);
        } else if list(schema, "anyOf").is_some_and(|variants| is_number_or_text(&variants)) {
            shape.insert("x-kubernetes-int-or-string".into(), true.into());
        } else if schema.get("type").is_none() {
            shape.insert(OPEN.into(), true.into());
        } else {
            self.plain(schema, path, &mut shape);
        }
        shape
    }

    /// A value of one type.
    fn plain(&mut self, schema: &Object, path: &str, shape: &mut Object) {
        for key in ["type", "enum", "required", "minimum", "maximum", "minItems", "maxItems", "pattern", "maxLength"] {
            shape.extend(schema.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            sized(format, shape);
        }
        if let Some(items) = schema.get("items").and_then(Value::as_object) {
            shape.insert("items".into(), self.convert(items, &format!("{path}[]")));
        }
        if let Some(entries) = schema.get("additionalProperties").and_then(Value::as_object) {
            shape.insert("additionalProperties".into(), self.convert(entries, &format!("{path}{{}}")));
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            shape.insert("properties".into(), self.members(properties, path).into());
        }
    }

    fn members(&mut self, properties: &Object, path: &str) -> Object {
        let member = |(key, value): (&String, &Value)| {
            let schema = value.as_object().cloned().unwrap_or_default();
            (key.clone(), self.convert(&schema, &format!("{path}.{key}")))
        };
        properties.iter().map(member).collect()
    }

    /// One of several texts, one of several members, or both.
    fn choice(&mut self, variants: &[Object], path: &str, shape: &mut Object) {
        let texts: Vec<&Value> = variants.iter().filter_map(|variant| variant.get("const")).collect();
        let words =
            variants.iter().map(|variant| format!("{}: {}", shown(variant), description(variant).unwrap_or_default()));
        let words = words.collect::<Vec<_>>().join(" ");
        if texts.len() == variants.len() {
            shape.insert("type".into(), "string".into());
            shape.insert("enum".into(), texts.into_iter().cloned().collect());
            extend_description(shape, &words);
        } else if texts.is_empty() {
            let mut members = Object::new();
            for variant in variants {
                let properties = variant.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
                let mut converted = self.members(&properties, path);
                for member in converted.values_mut().filter_map(Value::as_object_mut) {
                    // What the variant says is about the member.
                    keep(variant, member);
                }
                members.extend(converted);
            }
            shape.extend([("type".into(), "object".into()), ("properties".into(), members.into())]);
            shape.extend([("minProperties".into(), 1.into()), ("maxProperties".into(), 1.into())]);
        } else {
            shape.insert(OPEN.into(), true.into());
            extend_description(shape, &words);
        }
    }
}

/// Keeps the description and the default of a schema; of defaults only plain values, since an API server
/// writes them into every object.
fn keep(schema: &Object, converted: &mut Object) {
    if let Some(words) = description(schema) {
        let more = converted.get("x-choices").cloned();
        converted.insert("description".into(), words.into());
        if let Some(more) = more.as_ref().and_then(Value::as_str) {
            extend_description(converted, more);
        }
    }
    let plain = |value: &&Value| !(value.is_object() || value.is_array() || value.is_null());
    converted.extend(schema.get("default").filter(plain).map(|value| ("default".to_owned(), value.clone())));
}

/// Adds the choices to the description. They are remembered, since a description of the place takes that
/// of the type away.
fn extend_description(shape: &mut Object, choices: &str) {
    let words = description(shape).map(|words| format!("{words} ")).unwrap_or_default();
    shape.insert("description".into(), format!("{words}One of {choices}").into());
    shape.insert("x-choices".into(), choices.into());
}

/// A schema without what says that the value may be absent.
fn without_null(schema: &Object) -> Object {
    let mut schema = schema.clone();
    if let Some(variants) = list(&schema, "anyOf") {
        let is_null = |variant: &Object| variant.get("type").is_some_and(|kind| kind == "null");
        let (null, there): (Vec<_>, Vec<_>) = variants.into_iter().partition(is_null);
        if let ([_], [only]) = (null.as_slice(), there.as_slice()) {
            schema.remove("anyOf");
            for (key, value) in only {
                schema.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    let kinds = schema.get("type").and_then(Value::as_array).cloned();
    if let Some(kind) = kinds.and_then(|kinds| kinds.into_iter().find(|kind| kind != "null")) {
        schema.insert("type".into(), kind);
    }
    schema
}

/// Sizes of numbers: API servers know int32 and int64, and warn about others.
fn sized(format: &str, shape: &mut Object) {
    match format {
        "int32" | "int64" | "double" => drop(shape.insert("format".into(), format.into())),
        "uint64" | "uint" => drop(shape.insert("format".into(), "int64".into())),
        "uint32" => {
            shape.insert("format".into(), "int64".into());
            shape.entry("maximum").or_insert_with(|| u32::MAX.into());
        }
        // Times have a rule of their own, with words of their own.
        _ => {}
    }
}

fn is_number_or_text(variants: &[Object]) -> bool {
    let is = |kind: &str| variants.iter().any(|variant| variant.get("type").is_some_and(|found| found == kind));
    variants.len() == 2 && is("integer") && is("string")
}

/// How a variant is written.
fn shown(variant: &Object) -> String {
    if let Some(text) = variant.get("const").and_then(Value::as_str) {
        return format!("`{text}`");
    }
    let key = variant.get("properties").and_then(Value::as_object).and_then(|members| members.keys().next());
    format!("`{{{}: …}}`", key.map_or("", String::as_str))
}

/// The description, without the line breaks of the source.
fn description(schema: &Object) -> Option<String> {
    let words = schema.get("description")?.as_str()?;
    Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn list(schema: &Object, key: &str) -> Option<Vec<Object>> {
    Some(schema.get(key)?.as_array()?.iter().filter_map(Value::as_object).cloned().collect())
}
