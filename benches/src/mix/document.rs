//! The mix as our own documents.

use graylane_policy::Policy;
use serde_json::{Value, json};

use super::{FIELDS, Field, LANES, Mix, Rule, Test};

/// A document without groups: what an adopted workload runs while nothing is released.
#[must_use]
pub fn idle() -> Value {
    json!({"version": 1, "generation": 1, "role": "inbound", "groups": []})
}

/// The outbound side of a member or carrier: no rules, the lane comes with the request.
#[must_use]
pub fn carrying() -> Value {
    json!({"version": 1, "generation": 1, "role": "outbound", "groups": [group(None)]})
}

fn group(entry: Option<Value>) -> Value {
    let destination =
        json!({"service": "orders.shop", "hosts": ["orders", "orders.shop"], "ready": LANES, "slowOverMs": [500]});
    let mut group = json!({
        "name": "shop", "rollout": "shop/summer",
        "lanes": {"names": LANES, "destinations": [destination]}
    });
    if let Some(entry) = entry {
        group["entry"] = entry;
    }
    group
}

// === impl Mix ===

impl Mix {
    /// Chooses by the rules and writes the lane; counts no request.
    #[must_use]
    pub fn deciding(&self) -> Value {
        let entry = json!({"rules": self.raw_rules()});
        json!({"version": 1, "generation": 1, "role": "inbound", "entryOnly": true, "groups": [group(Some(entry))]})
    }

    /// A gateway with everything: rules, weights, headers for the next hop, and all metrics.
    #[must_use]
    pub fn whole(&self) -> Value {
        let entry = json!({
            "rules": self.raw_rules(),
            // Of the two plain requests one unit is stable: weights are looked up and pick nobody.
            "slots": {"salt": "shop/summer#1", "runs": [{"until": 500, "lane": "canary"}, {"until": 10_000, "lane": "stable"}]},
            "stickiness": {"unit": [{"header": "x-user-id"}], "noUnit": "cookie"}
        });
        json!({"version": 1, "generation": 1, "role": "gateway", "groups": [group(Some(entry))]})
    }

    /// The same with a lane under the local brake.
    #[must_use]
    pub fn braked(&self) -> Value {
        let mut document = self.whole();
        document["groups"][0]["brake"] = json!({"evidence": 20_000, "attempt": "shop/summer#1"});
        document
    }

    /// The compiled form of [`Mix::deciding`].
    ///
    /// # Panics
    /// When the generator writes a document that the filter refuses.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::parse(self.deciding().to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn raw_rules(&self) -> Vec<Value> {
        let named =
            |(at, rule): (usize, &Rule)| json!({"name": format!("r{at}"), "lane": rule.lane, "when": rule.raw()});
        self.rules.iter().enumerate().map(named).collect()
    }
}

// === impl Rule ===

impl Rule {
    fn raw(&self) -> Value {
        let field = match FIELDS[self.field] {
            Field::Header(name) => json!({"header": name}),
            Field::Query(key) => json!({"query": key}),
            Field::Cookie(name) => json!({"cookie": name}),
        };
        let operator = match &self.test {
            Test::Exact(value) => json!({"exact": value}),
            Test::In(values) => json!({"in": values}),
            Test::Prefix(prefix) => json!({"prefix": prefix}),
            Test::Range(low, high) => json!({"range": {"min": low, "max": high}}),
            Test::Minor(minor) => json!({"semver": format!(">=2.{minor}.0, <2.{}.0", minor + 1)}),
        };
        json!({"match": {"field": field, "is": operator}})
    }
}
