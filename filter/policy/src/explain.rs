//! Why a request goes where it goes, for people. Runs the very decision the filter runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decide::{Choice, Decision, Inputs};
use crate::field::{Facts, Values};
use crate::policy::{Group, Policy};
use crate::raw::RawField;
use crate::vacant::Vacant;

/// A request as a person describes it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method, such as `GET`.
    pub method: String,
    /// Host, with or without port.
    pub authority: String,
    /// Path with query.
    pub path: String,
    /// Further headers, names in any case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// URI of the peer's certificate.
    pub peer: Option<String>,
    /// Verified claims by name; dots step into objects.
    pub claims: BTreeMap<String, String>,
    /// `graylane.io/lane` of the calling pod.
    pub pod_lane: Option<String>,
    /// Now, in Unix milliseconds.
    pub now_unix_ms: u64,
}

/// The decision in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// One for each group.
    pub groups: Vec<GroupExplanation>,
    /// The member the request is for; absent when its host is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<DestinationExplanation>,
    /// Header writes in order, `name: value` or `name: (removed)`.
    pub writes: Vec<String>,
}

/// What a group's lane is and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupExplanation {
    /// Name of the group.
    pub group: String,
    /// `namespace/name` of its release.
    pub rollout: String,
    /// The lane.
    pub lane: String,
    /// The evidence: rule, slot, header, baggage, pod, trace, expired or none.
    pub reason: String,
    /// The cohort.
    pub cohort: String,
    /// Name of the rule that chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Slot of the unit, 0 to 9,999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    /// Whether a cookie with a new unit is issued.
    pub issues_cookie: bool,
    /// Markers that the entry reads and the request has.
    pub markers: Vec<MarkerExplanation>,
    /// One sentence.
    pub why: String,
}

/// A marker's value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkerExplanation {
    /// Name of the marker.
    pub name: String,
    /// Its value; bytes that are not UTF-8 are replaced.
    pub value: String,
    /// The source that won.
    pub source: String,
}

/// Where the request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationExplanation {
    /// The service.
    pub service: String,
    /// The lane that serves.
    pub lane: String,
    /// Whether the request wanted another lane, which is not ready there.
    pub fallback: bool,
}

/// Explains one request.
pub fn explain(policy: &Policy, request: &Request) -> Explanation {
    let pairs = request.pairs();
    let captured = policy.capture(pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
    let claims = claims_of(policy, request);
    let inputs = Inputs {
        headers: &captured,
        now_unix_ms: request.now_unix_ms,
        random: [0, 0],
        peer: request.peer.as_deref().map(str::as_bytes),
        claims: &claims,
        pod: request.pod_lane.as_deref().and_then(|lane| policy.pod_lane(None, lane)),
        workload: "",
        note: None,
        tags: &[],
        braked: &[],
        vacant: &Vacant::default(),
    };
    let decision = policy.decide(&inputs);
    let facts = Facts { headers: &captured, peer: inputs.peer, claims: &claims };
    let mut values = Values::new(&policy.fields, facts);
    let groups = policy.groups().iter().zip(&decision.choices);
    Explanation {
        groups: groups.map(|(group, choice)| explain_group(group, choice, &mut values)).collect(),
        destination: explain_destination(policy, &decision),
        writes: decision.writes.iter().map(|write| sentence_of(&write.name, write.value.as_deref())).collect(),
    }
}

fn claims_of(policy: &Policy, request: &Request) -> Vec<Option<Vec<u8>>> {
    // The first four elements are where Envoy keeps the payload; the rest is the claim's own path.
    let name = |path: &Vec<String>| path.get(4..).unwrap_or(&[]).join(".");
    policy.claims().iter().map(|path| request.claims.get(&name(path)).map(|value| value.clone().into_bytes())).collect()
}

fn explain_group(group: &Group, choice: &Choice, values: &mut Values<'_>) -> GroupExplanation {
    let rule = choice.rule.and_then(|rule| group.rule_name(rule)).map(str::to_owned);
    let lane = group.lane_name(choice.lane).to_owned();
    GroupExplanation {
        group: group.name().into(),
        rollout: group.rollout().into(),
        reason: choice.reason.as_str().into(),
        cohort: choice.cohort.as_str().into(),
        slot: choice.slot,
        issues_cookie: choice.issued,
        markers: markers_of(group, values),
        why: why(group, choice, rule.as_deref(), &lane),
        rule,
        lane,
    }
}

fn markers_of(group: &Group, values: &mut Values<'_>) -> Vec<MarkerExplanation> {
    let Some(entry) = &group.entry else { return Vec::new() };
    let mut found = Vec::new();
    for marker in &entry.markers {
        let sources: Vec<_> = marker.sources.iter().map(|(id, _)| *id).collect();
        let Some(winner) = values.source_of_marker(&sources) else { continue };
        let source = marker.sources.iter().find(|(id, _)| *id == winner).map(|(_, field)| describe(field));
        let value = String::from_utf8_lossy(values.get(winner).unwrap_or(b"")).into_owned();
        found.push(MarkerExplanation { name: marker.name.clone(), value, source: source.unwrap_or_default() });
    }
    found
}

/// A field as a person would say it.
fn describe(field: &RawField) -> String {
    match field {
        RawField::Header(name) => format!("header {name}"),
        RawField::GrpcMetadata(name) => format!("gRPC metadata {name}"),
        RawField::Query(key) => format!("query {key}"),
        RawField::Cookie(name) => format!("cookie {name}"),
        RawField::Path => "path".into(),
        RawField::Method => "method".into(),
        RawField::Host => "host".into(),
        RawField::Claim(name) => format!("claim {name}"),
        RawField::Peer => "peer".into(),
        RawField::Baggage(key) => format!("baggage {key}"),
        RawField::Marker(name) => format!("marker {name}"),
    }
}

fn why(group: &Group, choice: &Choice, rule: Option<&str>, lane: &str) -> String {
    use crate::lane::Reason;
    let entry = group.entry.as_ref();
    match choice.reason {
        Reason::Tag => format!("a signed tag names lane {lane}"),
        Reason::Rule => format!("rule {} holds, so lane {lane}", rule.unwrap_or("?")),
        Reason::Slot => match choice.slot {
            Some(slot) => format!("no rule holds; slot {slot} of 10000 is in lane {lane}"),
            None if entry.is_some_and(|entry| entry.slots.is_none()) => "no rule holds and there are no weights".into(),
            None => "no rule holds, and either no lane has weight or the request has no unit".into(),
        },
        Reason::Header => format!("header {} names lane {lane}", group.carried_header()),
        Reason::Baggage => format!("baggage member graylane.{} names lane {lane}", group.name()),
        Reason::Pod => format!("the calling pod is of lane {lane}"),
        Reason::Trace => format!("the trace was seen in lane {lane}"),
        Reason::Expired => "the slot table has lapsed, so weights pick nobody".into(),
        Reason::Brake => "the brake of the lane has tripped, so weights pick nobody for it".into(),
        Reason::None => "nothing names a lane".into(),
    }
}

fn explain_destination(policy: &Policy, decision: &Decision<'_>) -> Option<DestinationExplanation> {
    let destination = policy.destinations().get(decision.destination?)?;
    let group = policy.groups().get(destination.group())?;
    let wanted = decision.choices.get(destination.group())?.lane;
    Some(DestinationExplanation {
        service: destination.service().into(),
        lane: group.lane_name(decision.served).into(),
        fallback: wanted != decision.served,
    })
}

fn sentence_of(name: &str, value: Option<&[u8]>) -> String {
    match value {
        Some(value) => format!("{name}: {}", String::from_utf8_lossy(value)),
        None => format!("{name}: (removed)"),
    }
}

// === impl Request ===

impl Request {
    fn pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pseudo = [(":method", &self.method), (":authority", &self.authority), (":path", &self.path)];
        let pseudo = pseudo.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone().into_bytes()));
        let rest = self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.clone()));
        pseudo.chain(rest).collect()
    }
}
