//! Finds the line of a value by its path. Only used when something is wrong, so it reads again.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A YAML value of which only the shape and the lines matter.
enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    Seq(Vec<Spanned<Node>>),
    Scalar,
}

/// The line of the value at `path`, or of the deepest part of the path that exists.
pub(super) fn line_of(document: &str, path: &str) -> Option<u64> {
    let root: Spanned<Node> = serde_saphyr::from_str(document).ok()?;
    let mut at = &root;
    for step in steps(path) {
        let next = match &at.value {
            Node::Map(entries) => entries.iter().find(|(key, _)| *key == step).map(|(_, value)| value),
            Node::Seq(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            Node::Scalar => None,
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Some(at.referenced.line())
}

/// `spec.rules[2].lane` as `spec`, `rules`, `2`, `lane`.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty())
}

// === impl Node ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Scalar)
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn a_path_leads_to_its_line() {
        let text = "spec:\n  weights: {canary: 5}\n  rules:\n  - name: a\n  - name: b\n    lane: nope\n";
        for (path, line) in [
            ("spec.weights.canary", 2),
            ("spec.rules[1].lane", 6),
            ("spec.rules[1].when.match", 5),
            ("spec.rules[0].name", 4),
        ] {
            assert_eq!(line_of(text, path), Some(line), "{path}");
        }
    }
}
