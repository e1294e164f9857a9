//! The mix as native Envoy routes: what a route table has to hold where there is no filter.

use serde_json::{Value, json};

use super::{FIELDS, Field, Mix, Rule, Test};

impl Mix {
    /// Routes in the order of the rules, each to the cluster of its lane. A list becomes one route a
    /// value, as it does in Istio; a cookie is found by a regular expression, as Istio's users do it.
    #[must_use]
    pub fn routes(&self) -> Vec<Value> {
        let to = |rule: &Rule, found: Value| {
            let mut found = found;
            found["prefix"] = json!("/");
            json!({"match": found, "route": {"cluster": rule.lane}})
        };
        self.rules.iter().flat_map(|rule| rule.native().into_iter().map(|found| to(rule, found))).collect()
    }
}

// === impl Rule ===

impl Rule {
    fn native(&self) -> Vec<Value> {
        match FIELDS[self.field] {
            Field::Header(name) => self.headers(name),
            Field::Query(key) => {
                let by = |test: Value| json!({"query_parameters": [{"name": key, "string_match": test}]});
                self.texts().into_iter().map(by).collect()
            }
            Field::Cookie(name) => vec![self.cookie(name)],
        }
    }

    fn headers(&self, name: &str) -> Vec<Value> {
        let by = |test: Value| json!({"headers": [{"name": name, "string_match": test}]});
        match &self.test {
            // The end of a range is not part of it here.
            Test::Range(low, high) => {
                vec![json!({"headers": [{"name": name, "range_match": {"start": low, "end": high + 1}}]})]
            }
            Test::Minor(minor) => vec![by(json!({"safe_regex": {"regex": format!("2\\.{minor}\\.[0-9]+")}}))],
            _ => self.texts().into_iter().map(by).collect(),
        }
    }

    fn texts(&self) -> Vec<Value> {
        match &self.test {
            Test::Exact(value) => vec![json!({"exact": value})],
            Test::In(values) => values.iter().map(|value| json!({"exact": value})).collect(),
            Test::Prefix(prefix) => vec![json!({"prefix": prefix})],
            Test::Range(..) | Test::Minor(_) => Vec::new(),
        }
    }

    fn cookie(&self, name: &str) -> Value {
        let value = match &self.test {
            Test::Exact(value) => value.clone(),
            Test::In(values) => format!("({})", values.join("|")),
            Test::Prefix(prefix) => format!("{prefix}[^;]*"),
            Test::Range(..) | Test::Minor(_) => String::new(),
        };
        let regex = format!("(.*; ?)?{name}={value}(;.*)?");
        json!({"headers": [{"name": "cookie", "string_match": {"safe_regex": {"regex": regex}}}]})
    }
}
