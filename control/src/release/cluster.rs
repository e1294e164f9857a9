//! Releases as an API server keeps them: read one at a time, so that garbage in one object is a problem
//! of that object alone, and held to what a controller needs beyond what a folder of files does.

use serde_json::Value;

use super::finding::{Finding, Findings};
use super::plan::EntrySpec;
use super::read::{Source, from_object};
use super::validate::{Checked, check};
use super::{limits, rules};
use crate::build::Side;

/// Reads and checks an object as it comes from the API server.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_object(object: &Value) -> Result<Checked, Findings> {
    check_source(from_object(object)?)
}

/// Checks a release for a controller.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_source(source: Source) -> Result<Checked, Findings> {
    let mut findings = for_cluster(&source);
    let sides = sides(source.written.spec.entry.as_ref());
    match check(vec![source], &sides) {
        Ok(mut checked) if findings.is_empty() => checked.pop().ok_or(Findings(findings)),
        Ok(_) => Err(Findings(findings)),
        Err(Findings(more)) => {
            findings.extend(more);
            findings.sort_by_key(|finding| finding.line);
            Err(Findings(findings))
        }
    }
}

/// What a controller needs of a release: an entry, members, steps, and sizes that an API server takes.
pub fn for_cluster(source: &Source) -> Vec<Finding> {
    let spec = &source.written.spec;
    let chooses =
        |entry: &EntrySpec| !(entry.gateways.is_empty() && entry.inbound.is_empty() && entry.outbound.is_empty());
    let needed = [
        (spec.entry.as_ref().is_some_and(chooses), "spec.entry", &rules::NO_ENTRY),
        (!spec.members.is_empty(), "spec.members", &rules::NO_MEMBER),
        (!spec.steps.is_empty() || spec.argo.is_some(), "spec.steps", &rules::NO_STEP),
    ];
    let missing = needed.into_iter().filter(|(there, ..)| !there).map(|(_, path, rule)| {
        let (message, mend) = rule.said(&[]);
        source.finding(path, message, mend)
    });
    missing.chain(limits::surplus(source)).collect()
}

/// The sides of proxies on which a release with this entry runs.
fn sides(entry: Option<&EntrySpec>) -> Vec<Side> {
    let mut sides = vec![Side::Inbound, Side::Outbound];
    if let Some(entry) = entry {
        let chosen = [
            (!entry.gateways.is_empty(), Side::Gateway),
            (!entry.inbound.is_empty(), Side::InboundEntry),
            (!entry.outbound.is_empty(), Side::OutboundEntry),
        ];
        sides.extend(chosen.into_iter().filter(|(wanted, _)| *wanted).map(|(_, side)| side));
    }
    sides
}
