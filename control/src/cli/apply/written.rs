//! What a person wrote, as it is applied: the fields that stand in the file and no defaults, so that the
//! cluster's owner of a field is whoever wrote it. Pure.

use anyhow::Context;
use serde_json::{Map, Value};

use crate::release::read::Source;

/// The object to apply.
pub(super) fn object(source: &Source) -> anyhow::Result<Value> {
    let typed = serde_json::to_value(&source.written)?;
    let raw = source.untyped().context("a release without a text was to be applied")?;
    let mut object = only(typed, &raw);
    object["metadata"]["namespace"] = Value::String(source.written.metadata.namespace.clone());
    Ok(object)
}

/// The values of `typed` at the places that `raw` has.
fn only(typed: Value, raw: &Value) -> Value {
    match (typed, raw) {
        (Value::Object(typed), Value::Object(raw)) => {
            let kept: Map<String, Value> =
                typed.into_iter().filter_map(|(key, value)| Some((key.clone(), only(value, raw.get(&key)?)))).collect();
            Value::Object(kept)
        }
        (Value::Array(typed), Value::Array(raw)) if typed.len() == raw.len() => {
            Value::Array(typed.into_iter().zip(raw).map(|(value, raw)| only(value, raw)).collect())
        }
        (typed, _) => typed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::release::read::read_text;

    #[test]
    fn defaults_are_left_out_and_texts_stay_texts() {
        let text = "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {name: summer}\nspec:\n  lanes: [{name: canary}]\n  \
            members:\n  - service: orders\n  - {service: stock, lanes: []}\n  steps: [{weight: 500}, {pause: {}}]\n  rules:\n  - name: r\n    lane: canary\n    \
            when: {match: {field: {header: x}, is: {in: [on, 'no']}}}\n";
        let mut source = read_text("r.yaml", text).unwrap().remove(0);
        source.written.metadata.namespace = "shop".into();
        let expected = json!({
            "apiVersion": "graylane.io/v1alpha1", "kind": "GrayRelease",
            "metadata": {"name": "summer", "namespace": "shop"},
            "spec": {
                "lanes": [{"name": "canary"}],
                "members": [{"service": "orders"}, {"service": "stock", "lanes": []}],
                "steps": [{"weight": "500"}, {"pause": {}}],
                "rules": [{"name": "r", "lane": "canary",
                    "when": {"match": {"field": {"header": "x"}, "is": {"in": ["on", "no"]}}}}],
            },
        });
        assert_eq!(object(&source).unwrap(), expected);
    }
}
