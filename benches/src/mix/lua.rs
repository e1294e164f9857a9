//! The mix as a script for Envoy's Lua filter, as a careful person would write it: each field read
//! once, lists as tables, patterns run once per field and not per rule.

use std::fmt::Write as _;

use super::{FIELDS, Field, Mix, NUMBER_FIELD, Test, VERSION_FIELD};

impl Mix {
    /// The script. It sets `header` to the lane, and writes nothing for a stable request.
    #[must_use]
    pub fn lua(&self, header: &str) -> String {
        let mut script = "local sets = {}\n".to_owned();
        for (at, rule) in self.rules.iter().enumerate() {
            if let Test::In(values) = &rule.test {
                let keys: Vec<String> = values.iter().map(|value| format!("[\"{value}\"]=true")).collect();
                let _ = writeln!(script, "sets[{at}] = {{{}}}", keys.join(", "));
            }
        }
        script.push_str("local function lane_of(headers)\n");
        self.lua_fields(&mut script);
        for (at, rule) in self.rules.iter().enumerate() {
            let condition = lua_condition(at, rule.field, &rule.test);
            let _ = writeln!(script, "  if {condition} then return \"{}\" end", rule.lane);
        }
        script.push_str("  return nil\nend\n");
        let _ = write!(
            script,
            "function envoy_on_request(handle)\n  local headers = handle:headers()\n  local lane = lane_of(headers)\n  \
             if lane then headers:replace(\"{header}\", lane) end\nend\n"
        );
        script
    }

    fn lua_fields(&self, script: &mut String) {
        for (at, field) in FIELDS.iter().enumerate().filter(|(at, _)| self.reads(*at)) {
            let read = match field {
                Field::Header(name) => format!("headers:get(\"{name}\")"),
                Field::Query(key) => format!("headers:get(\":path\"):match(\"[?&]{key}=([^&#]*)\")"),
                Field::Cookie(name) => {
                    format!("(\"; \" .. (headers:get(\"cookie\") or \"\")):match(\"; ?{name}=([^;]*)\")")
                }
            };
            let _ = writeln!(script, "  local f{at} = {read}");
        }
        if self.rules.iter().any(|rule| matches!(rule.test, Test::Range(..))) {
            let _ = writeln!(script, "  local number = f{NUMBER_FIELD} and tonumber(f{NUMBER_FIELD})");
        }
        if self.rules.iter().any(|rule| matches!(rule.test, Test::Minor(_))) {
            let at = VERSION_FIELD;
            let _ = writeln!(script, "  local minor = f{at} and tonumber(f{at}:match(\"^2%.(%d+)%.%d+$\"))");
        }
    }
}

fn lua_condition(at: usize, field: usize, test: &Test) -> String {
    match test {
        Test::Exact(value) => format!("f{field} == \"{value}\""),
        Test::In(_) => format!("f{field} and sets[{at}][f{field}]"),
        Test::Prefix(prefix) => format!("f{field} and f{field}:sub(1, {}) == \"{prefix}\"", prefix.len()),
        Test::Range(low, high) => format!("number and number >= {low} and number <= {high}"),
        Test::Minor(minor) => format!("minor == {minor}"),
    }
}
