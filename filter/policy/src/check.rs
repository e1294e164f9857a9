//! Raw config to [`Policy`]: every doubt is spent here, and every problem is reported.

mod entry;
mod fields;
mod group;
mod names;

use hashbrown::HashMap;

use crate::headers::{self, HeaderTable};
use crate::path::Path;
use crate::policy::{BaggageHeaders, Group, Policy, TraceHeaders, WellKnown};
use crate::problem::{ConfigError, Problems};
use crate::raw::{ClientMarks, RawConfig, Role, VERSION};
use fields::Fields;

/// Most groups that may meet on one proxy. Each of them costs every request a look at its carried header.
pub const MAX_GROUPS: usize = 256;

/// Checks a document and compiles it.
pub(crate) fn compile(raw: &RawConfig) -> Result<Policy, ConfigError> {
    let mut problems = Problems::default();
    check_document(raw, &mut problems);
    let mut headers = HeaderTable::default();
    let wellknown = well_known(raw, &mut headers);
    let mut fields = Fields::new(raw, &mut headers);
    let mut destinations = Vec::new();
    let mut hosts = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let groups_path = Path::Root.key("groups");
    for (at, group) in raw.groups.iter().enumerate() {
        let path = groups_path.at(at);
        let mut place = group::Place { path: &path, at, raw, earlier: &groups, problems: &mut problems };
        let compiled = place.compile(group, &mut fields);
        place.destinations(group, &compiled, &mut destinations, &mut hosts);
        groups.push(compiled);
    }
    let needs_peer = fields.uses_peer() || groups.iter().any(|group| group.client_marks == ClientMarks::Peers);
    let (fields, claims) = fields.into_parts();
    problems.into_result(Policy {
        generation: raw.generation,
        role: raw.role,
        entry_only: raw.entry_only,
        headers,
        wellknown,
        groups,
        destinations,
        hosts,
        fields,
        claims,
        needs_peer,
    })
}

fn check_document(raw: &RawConfig, problems: &mut Problems) {
    problems.require(
        raw.version == VERSION,
        &Path::Root.key("version"),
        &format_args!("this build does not know version {}", raw.version),
        &format_args!("write {VERSION}, or update the filter first"),
    );
    problems.require(
        raw.groups.len() <= MAX_GROUPS,
        &Path::Root.key("groups"),
        &format_args!("{} groups", raw.groups.len()),
        &format_args!("let at most {MAX_GROUPS} groups meet on one proxy"),
    );
    problems.require(
        !(raw.entry_only && raw.role == Role::Gateway),
        &Path::Root.key("entryOnly"),
        &"a gateway has one filter for everything",
        &"leave entryOnly out, or set role to inbound or outbound",
    );
}

fn well_known(raw: &RawConfig, headers: &mut HeaderTable) -> WellKnown {
    let baggage = raw.groups.iter().any(|group| group.baggage);
    let trace = raw.role != Role::Gateway && !raw.entry_only && !raw.groups.is_empty();
    WellKnown {
        authority: headers.intern(":authority"),
        route: headers.intern(headers::ROUTE),
        cohort: headers.intern(headers::COHORT),
        content_type: headers.intern("content-type"),
        baggage: baggage.then(|| BaggageHeaders {
            trusted: headers.intern(headers::BAGGAGE),
            untrusted: headers.intern(&format!("{}{}", headers::UNTRUSTED_PREFIX, headers::BAGGAGE)),
        }),
        trace: trace.then(|| TraceHeaders {
            traceparent: headers.intern("traceparent"),
            b3: headers.intern("b3"),
            b3_trace_id: headers.intern("x-b3-traceid"),
            request_id: headers.intern("x-request-id"),
        }),
    }
}
