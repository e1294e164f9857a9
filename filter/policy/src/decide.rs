//! The decision: from the facts of one request to its lanes and the header writes that keep it there.
//!
//! Total and pure. Whatever is missing, unknown or malformed leads to stable.

mod choose;
mod writes;

use crate::authority::Authority;
use crate::brake::GroupLane;
use crate::field::{Facts, Values, is_grpc};
use crate::headers::Captured;
use crate::lane::{Cohort, LaneId, Reason, STABLE};
use crate::policy::{Group, PodLane, Policy};
use crate::raw::{Role, RouteBy};
use crate::ring::{Note, NotedLane};
use crate::trace::{self, TraceId};
use crate::vacant::Vacant;

pub use writes::Write;

/// The facts of one request. The shell gathers them; nothing here is looked up later.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'r> {
    /// The interesting headers, from [`Policy::capture`].
    pub headers: &'r Captured<'r>,
    /// Now, in Unix milliseconds.
    pub now_unix_ms: u64,
    /// Uniform random bits, for requests without a unit.
    pub random: [u64; 2],
    /// URI of the peer's certificate, where [`Policy::needs_peer`].
    pub peer: Option<&'r [u8]>,
    /// Values of [`Policy::claims`], in that order.
    pub claims: &'r [Option<Vec<u8>>],
    /// The lane of the pod this proxy belongs to.
    pub pod: Option<PodLane>,
    /// WORKLOAD_NAME of that pod.
    pub workload: &'r str,
    /// What the ring holds for this trace, where [`Policy::wants_note`].
    pub note: Option<&'r Note>,
    /// Lanes from signed tags whose signature was verified. The seam for them: nothing issues tags yet.
    pub tags: &'r [NotedLane],
    /// Lanes whose brake has tripped on this proxy: weights send nobody there.
    pub braked: &'r [GroupLane],
    /// Versions without an endpoint, as this worker met them: stable serves for them.
    pub vacant: &'r Vacant,
}

/// A group's lane, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The lane the request wants.
    pub lane: LaneId,
    /// The evidence.
    pub reason: Reason,
    /// How it came to its lane.
    pub cohort: Cohort,
    /// The rule that chose, by position.
    pub rule: Option<u32>,
    /// The slot of the unit, where one was computed.
    pub slot: Option<u16>,
    /// Whether the unit is new, and its cookie must go with the response.
    pub issued: bool,
}

/// What to do with one request, and how to count it.
#[derive(Clone, Debug)]
pub struct Decision<'p> {
    /// One choice for each of [`Policy::groups`].
    pub choices: Vec<Choice>,
    /// The member the request is for, by position in [`Policy::destinations`].
    pub destination: Option<usize>,
    /// The lane whose version serves it there.
    pub served: LaneId,
    /// The cohort it counts in there.
    pub cohort: Cohort,
    /// Header writes; empty for a stable request.
    pub writes: Vec<Write<'p>>,
    /// The unit to issue, 32 hex digits, where some choice says `issued`.
    pub issued_unit: Option<[u8; 32]>,
}

// === impl Choice ===

impl Choice {
    pub(crate) fn stable(reason: Reason, cohort: Cohort) -> Self {
        Self { lane: STABLE, reason, cohort, rule: None, slot: None, issued: false }
    }
}

// === impl Policy ===

impl Policy {
    /// Decides one request.
    pub fn decide<'p>(&'p self, inputs: &Inputs<'_>) -> Decision<'p> {
        let facts = Facts { headers: inputs.headers, peer: inputs.peer, claims: inputs.claims };
        let mut values = Values::new(&self.fields, facts);
        let choices: Vec<Choice> = self
            .groups
            .iter()
            .enumerate()
            .map(|(at, group)| choose::choose(self, group, at, inputs, &mut values))
            .collect();
        let destination = self.destination(inputs.headers);
        let (served, cohort) = self.served(&choices, destination, inputs);
        let issued = choices.iter().any(|choice| choice.issued);
        let mut decision = Decision {
            issued_unit: issued.then(|| choose::unit_digits(inputs.random)),
            choices,
            destination,
            served,
            cohort,
            writes: Vec::new(),
        };
        decision.writes = writes::of(self, inputs, &decision);
        decision
    }

    /// The trace id of a request, where the config has a use for it.
    pub fn trace_id(&self, headers: &Captured<'_>) -> Option<TraceId> {
        let known = self.wellknown.trace?;
        headers
            .get(known.traceparent)
            .and_then(trace::from_traceparent)
            .or_else(|| headers.get(known.b3).and_then(trace::from_b3))
            .or_else(|| headers.get(known.b3_trace_id).and_then(trace::from_b3_trace_id))
            .or_else(|| headers.get(known.request_id).and_then(trace::from_request_id))
    }

    /// Whether some group's lane can only be had from the ring: nothing else of this request names
    /// it. Asking the ring costs as much as reading all headers, so it is asked last.
    pub fn wants_note(&self, inputs: &Inputs<'_>) -> bool {
        let lost = |at: usize| choose::incoming(self, at, inputs).is_none();
        self.role == Role::Outbound
            && self
                .groups
                .iter()
                .enumerate()
                .any(|(at, group)| group.trace_ttl_ms(inputs.workload).is_some() && lost(at))
    }

    /// What the inbound side notes of a request for the outbound side of the same proxy: its lanes,
    /// in the groups that restore lanes by trace here. `None` for a stable request.
    pub fn note_of(&self, decision: &Decision<'_>, inputs: &Inputs<'_>) -> Option<Note> {
        // Lanes first: a stable request, the usual one, is not parsed for a trace id in vain.
        let noted = |(group, choice): (&Group, &Choice)| {
            let wanted = !choice.lane.is_stable() && group.trace_ttl_ms(inputs.workload).is_some();
            let lane = || group.lane_name(choice.lane).to_owned();
            wanted.then(|| NotedLane { group: group.name.clone(), lane: lane(), cohort: choice.cohort })
        };
        let lanes: Vec<NotedLane> = self.groups.iter().zip(&decision.choices).filter_map(noted).collect();
        if lanes.is_empty() {
            return None;
        }
        Some(Note { lanes, ..Note::new(self.trace_id(inputs.headers)?, inputs.now_unix_ms) })
    }

    /// Whether a request is gRPC whose status Envoy sees. That of gRPC-Web is in the body, so it is
    /// judged by its HTTP status; where Envoy translates it before us, it is plain gRPC by now.
    pub fn is_grpc(&self, headers: &Captured<'_>) -> bool {
        let content_type = headers.get(self.wellknown.content_type);
        is_grpc(content_type) && !content_type.is_some_and(|value| value.starts_with(b"application/grpc-web"))
    }

    /// Whether a request is a mirrored copy, which counts nowhere. A member may be named like one.
    pub fn is_mirror(&self, headers: &Captured<'_>) -> bool {
        let named_so = headers.get(self.wellknown.authority).is_some_and(crate::outcome::is_mirror);
        named_so && self.destination(headers).is_none()
    }

    /// The member a request is for.
    fn destination(&self, headers: &Captured<'_>) -> Option<usize> {
        let authority = Authority::parse(headers.get(self.wellknown.authority)?)?;
        self.destination_of(&authority)
    }

    /// The lane whose version serves at the destination, and the cohort it counts in.
    fn served(&self, choices: &[Choice], at: Option<usize>, inputs: &Inputs<'_>) -> (LaneId, Cohort) {
        let Some((at, destination)) = at.and_then(|at| Some((at, self.destinations.get(at)?))) else {
            return (STABLE, Cohort::Slot);
        };
        let Some(choice) = choices.get(destination.group) else {
            return (STABLE, Cohort::Slot);
        };
        let own = inputs.pod.filter(|pod| pod.group == destination.group).map_or(STABLE, |pod| pod.lane);
        let served = match self.role {
            Role::Inbound => own,
            // Its route matches the carried header, whatever is said here.
            _ if destination.route_by == RouteBy::Carried => choice.lane,
            _ if choice.lane.is_stable() => STABLE,
            _ if destination.is_ready(choice.lane) && !inputs.vacant.holds((at, choice.lane), inputs.now_unix_ms) => {
                choice.lane
            }
            _ => STABLE,
        };
        let cohort = match (served == choice.lane, served.is_stable()) {
            (true, _) => choice.cohort,
            (false, true) => Cohort::Fallback,
            (false, false) => Cohort::Unknown,
        };
        (served, cohort)
    }
}
