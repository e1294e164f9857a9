//! Conditions of a rule: checked and compiled.

use regex_lite::RegexBuilder;
use semver::VersionReq;

use crate::condition::{Condition, Test};
use crate::hash::{SLOTS, seed_of};
use crate::number::Number;
use crate::path::Path;
use crate::problem::Problems;
use crate::raw::{RawCondition, RawField, RawMatch, RawOperator, RawRange};

use super::Scope;

/// How deep conditions may nest; a guard for the small stack of a wasm VM.
const MAX_DEPTH: usize = 16;
/// Longest regular expression, in characters.
const MAX_REGEX: usize = 256;
/// Memory a compiled expression may take, in bytes.
const MAX_REGEX_SIZE: usize = 64 * 1024;
/// Longest literal.
const MAX_LITERAL: usize = 4_096;

/// Whether a condition reads a field.
pub(super) fn reads(condition: &RawCondition, wanted: &impl Fn(&RawField) -> bool) -> bool {
    match condition {
        RawCondition::All(parts) | RawCondition::Any(parts) => parts.iter().any(|part| reads(part, wanted)),
        RawCondition::Not(part) => reads(part, wanted),
        RawCondition::Match(part) => wanted(&part.field),
        RawCondition::Percent(_) => false,
    }
}

// === impl Scope ===

impl Scope<'_, '_> {
    pub(super) fn condition(
        &mut self,
        raw: &RawCondition,
        path: &Path<'_>,
        rule: &str,
        depth: usize,
    ) -> Option<Condition> {
        if depth >= MAX_DEPTH {
            self.problems.add(
                path,
                &format_args!("conditions nest deeper than {MAX_DEPTH}"),
                &"flatten the rule, or make two of it",
            );
            return None;
        }
        match raw {
            RawCondition::All(parts) => self.parts(parts, &path.key("all"), rule, depth).map(Condition::All),
            RawCondition::Any(parts) => self.parts(parts, &path.key("any"), rule, depth).map(Condition::Any),
            RawCondition::Not(part) => {
                let part = self.condition(part, &path.key("not"), rule, depth + 1)?;
                Some(Condition::Not(Box::new(part)))
            }
            RawCondition::Match(part) => self.comparison(part, &path.key("match")),
            RawCondition::Percent(share) => self.percent(*share, &path.key("percent"), rule),
        }
    }

    fn parts(&mut self, raw: &[RawCondition], path: &Path<'_>, rule: &str, depth: usize) -> Option<Vec<Condition>> {
        let mend = "write at least one condition";
        self.problems.require(!raw.is_empty(), path, &"the list is empty", &mend);
        // Every part is looked at before the first bad one decides, so that all problems are told.
        let parts: Vec<Option<Condition>> =
            raw.iter().enumerate().map(|(at, part)| self.condition(part, &path.at(at), rule, depth + 1)).collect();
        parts.into_iter().collect()
    }

    fn percent(&mut self, share: u32, path: &Path<'_>, rule: &str) -> Option<Condition> {
        let message = format_args!("{share} of {SLOTS} units");
        let sensible = (1..=SLOTS).contains(&share);
        self.problems.require(sensible, path, &message, &format_args!("write 1 to {SLOTS}; 500 is 5%"));
        let stickiness = &self.raw.stickiness;
        let has_unit = !stickiness.unit.is_empty() || stickiness.no_unit == crate::raw::NoUnit::Cookie;
        let mend = "name a unit in stickiness.unit, or set noUnit: cookie";
        self.problems.require(has_unit, path, &"nothing names the units that percent counts", &mend);
        // Seeded by rule as well as by attempt, so that two rules do not pick the same users.
        Some(Condition::Percent { share, seed: seed_of(&format!("{}/{rule}", self.salt)) })
    }

    fn comparison(&mut self, raw: &RawMatch, path: &Path<'_>) -> Option<Condition> {
        let field = self.field(&raw.field, &path.key("field"));
        let test = test_of(&raw.is, &raw.field, &path.key("is"), self.problems);
        Some(Condition::Match { field: field?, test: test? })
    }
}

fn test_of(raw: &RawOperator, field: &RawField, path: &Path<'_>, problems: &mut Problems) -> Option<Test> {
    let literal = |value: &String| folded(value, field);
    match raw {
        RawOperator::Exact(value) => short(value, &path.key("exact"), problems).then(|| Test::Exact(literal(value))),
        RawOperator::Prefix(value) => {
            not_empty(value, &path.key("prefix"), problems).then(|| Test::Prefix(literal(value)))
        }
        RawOperator::Suffix(value) => {
            not_empty(value, &path.key("suffix"), problems).then(|| Test::Suffix(literal(value)))
        }
        RawOperator::Contains(value) => {
            not_empty(value, &path.key("contains"), problems).then(|| Test::Contains(literal(value)))
        }
        RawOperator::In(values) => {
            let path = path.key("in");
            problems.require(!values.is_empty(), &path, &"the list is empty", &"write at least one value");
            let fit = values.iter().all(|value| short(value, &path, problems));
            fit.then(|| Test::In(values.iter().map(literal).collect()))
        }
        RawOperator::Present => Some(Test::Present),
        RawOperator::Absent => Some(Test::Absent),
        RawOperator::Regex(pattern) => regex(pattern, &path.key("regex"), problems),
        RawOperator::Range(range) => number_range(range, &path.key("range"), problems),
        RawOperator::Semver(wanted) => requirement(wanted, &path.key("semver"), problems),
    }
}

/// Hosts are compared in lower case, as Envoy matches them.
fn folded(value: &str, field: &RawField) -> Box<[u8]> {
    if *field == RawField::Host { value.to_ascii_lowercase().as_bytes().into() } else { value.as_bytes().into() }
}

fn short(value: &str, path: &Path<'_>, problems: &mut Problems) -> bool {
    let message = format_args!("the value has {} bytes", value.len());
    problems.require(value.len() <= MAX_LITERAL, path, &message, &format_args!("use at most {MAX_LITERAL}"))
}

fn not_empty(value: &str, path: &Path<'_>, problems: &mut Problems) -> bool {
    short(value, path, problems)
        && problems.require(
            !value.is_empty(),
            path,
            &"an empty text is in every value",
            &"write a text, or use present",
        )
}

fn regex(pattern: &str, path: &Path<'_>, problems: &mut Problems) -> Option<Test> {
    let length = pattern.chars().count();
    let message = format_args!("the expression has {length} characters");
    let mend = format_args!("use at most {MAX_REGEX}, or exact, prefix or in");
    if !problems.require(length <= MAX_REGEX, path, &message, &mend) {
        return None;
    }
    // Whole-value matching, as Envoy's and Istio's own regular expressions have it. The pattern is
    // compiled alone first: one such as `a)|(?:b` is an expression only inside the group.
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_REGEX_SIZE).build();
    match compile(pattern).and_then(|_| compile(&format!("^(?:{pattern})$"))) {
        Ok(regex) => Some(Test::Regex(regex)),
        Err(error) => {
            let message = format_args!("`{pattern}` is no regular expression: {error}");
            problems.add(path, &message, &"mend the expression");
            None
        }
    }
}

fn number_range(range: &RawRange, path: &Path<'_>, problems: &mut Problems) -> Option<Test> {
    let bounded = range.min.is_some() || range.max.is_some();
    problems.require(bounded, path, &"the range has no bound", &"write min, max or both");
    let (min, max) = (range.min.unwrap_or(Number::LEAST), range.max.unwrap_or(Number::GREATEST));
    problems
        .require(min <= max, path, &"no number lies between min and max", &"let min be at most max")
        .then_some(Test::Range { min, max })
}

fn requirement(wanted: &str, path: &Path<'_>, problems: &mut Problems) -> Option<Test> {
    match VersionReq::parse(wanted) {
        Ok(requirement) => Some(Test::Semver(requirement)),
        Err(error) => {
            let message = format_args!("`{wanted}` is no version requirement: {error}");
            problems.add(path, &message, &"write such as >=1.4, <2");
            None
        }
    }
}
