//! A document and a request, in few words.
#![allow(dead_code)]

use graylane_policy::headers::Captured;
use graylane_policy::ring::Note;
use graylane_policy::vacant::Vacant;
use graylane_policy::{Decision, Inputs, LaneId, PodLane, Policy};
use serde_json::{Value, json};

/// A document with one group `shop`: lanes `canary` and `v2`, destination `orders`, ready in both.
pub fn document(role: &str, entry: Value) -> Value {
    json!({
        "version": 1, "generation": 7, "role": role,
        "groups": [{
            "name": "shop", "rollout": "shop/summer", "entry": entry,
            "lanes": {
                "names": ["canary", "v2"],
                "destinations": [{"service": "orders.shop", "hosts": ["orders", "orders.shop"], "ready": ["canary", "v2"]}]
            }
        }]
    })
}

/// A document without an entry.
pub fn plain(role: &str) -> Value {
    let mut document = document(role, Value::Null);
    document["groups"][0].as_object_mut().unwrap().remove("entry");
    document
}

pub fn policy(document: &Value) -> Policy {
    Policy::parse(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// An entry with one rule named `rule` for lane `canary`.
pub fn rule(when: Value) -> Value {
    json!({"rules": [{"name": "rule", "lane": "canary", "when": when}]})
}

pub fn is(field: Value, operator: Value) -> Value {
    json!({"match": {"field": field, "is": operator}})
}

/// A request under way to a policy.
#[derive(Clone, Default)]
pub struct Request {
    pub headers: Vec<(String, Vec<u8>)>,
    pub now_unix_ms: u64,
    pub random: [u64; 2],
    pub peer: Option<String>,
    pub claims: Vec<Option<Vec<u8>>>,
    pub pod: Option<PodLane>,
    pub note: Option<Note>,
    pub braked: Vec<(usize, LaneId)>,
    pub vacant: Vacant,
}

impl Request {
    pub fn to(authority: &str) -> Self {
        Self::default().with(":authority", authority).with(":method", "GET").with(":path", "/")
    }

    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    pub fn path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.headers.retain(|(name, _)| name != ":path");
        self.with(":path", path)
    }

    pub fn capture<'r>(&'r self, policy: &Policy) -> Captured<'r> {
        policy.capture(self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    pub fn inputs<'r>(&'r self, headers: &'r Captured<'r>) -> Inputs<'r> {
        Inputs {
            headers,
            now_unix_ms: self.now_unix_ms,
            random: self.random,
            peer: self.peer.as_deref().map(str::as_bytes),
            claims: &self.claims,
            pod: self.pod,
            workload: "cart",
            note: self.note.as_ref(),
            tags: &[],
            braked: &self.braked,
            vacant: &self.vacant,
        }
    }

    pub fn decide<'p>(&self, policy: &'p Policy) -> Decision<'p> {
        let captured = self.capture(policy);
        policy.decide(&self.inputs(&captured))
    }

    /// Name of the lane of the first group.
    pub fn lane<'p>(&self, policy: &'p Policy) -> &'p str {
        policy.groups()[0].lane_name(self.decide(policy).choices[0].lane)
    }
}

/// The writes of a decision, `name=value` or `name-`.
pub fn writes(decision: &Decision<'_>) -> Vec<String> {
    let words = |write: &graylane_policy::Write<'_>| match &write.value {
        Some(value) => format!("{}={}", write.name, String::from_utf8_lossy(value)),
        None => format!("{}-", write.name),
    };
    decision.writes.iter().map(words).collect()
}
