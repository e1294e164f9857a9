//! One request, from its headers to its end.

use std::rc::Rc;

use graylane_policy::brake::Sample;
use graylane_policy::outcome::{End, Outcome, judge};
use graylane_policy::raw::Role;
use graylane_policy::trace::TraceId;
use graylane_policy::{Decision, Inputs};

use crate::host::Host;
use crate::meter::{Place, Quit, Trouble, Version};
use crate::ring::{self, Origin};
use crate::root::Active;
use crate::{cookie, pairs};

/// A request and the document it began with.
pub struct Stream<H> {
    active: Rc<Active<H>>,
    id: u32,
    begun: Option<Begun>,
}

/// What is kept of a request until its end.
struct Begun {
    at_ns: u64,
    place: Place,
    is_grpc: bool,
    is_mirror: bool,
    trace: Option<TraceId>,
    cookies: Vec<String>,
    /// Where it counts for the brakes.
    samples: Vec<Sample>,
}

// === impl Stream ===

impl<H: Host> Stream<H> {
    /// A stream that has seen nothing yet, with the host's number for it.
    pub fn new(active: Rc<Active<H>>, id: u32) -> Self {
        Self { active, id, begun: None }
    }

    /// Request headers: gather the facts, decide, write what differs.
    pub fn on_request_headers(&mut self) {
        if self.active.policy.is_inert() {
            return;
        }
        let active = Rc::clone(&self.active);
        let at_ns = active.host.now_ns();
        let encoded = active.host.request_headers();
        let headers = active.policy.capture(pairs::iter(&encoded));
        let peer = active.policy.needs_peer().then(|| active.peer()).flatten();
        let claims = active.claims();
        let braked = active.brakes.tripped(&*active.host);
        let vacant = active.vacant.borrow();
        let mut inputs = Inputs {
            headers: &headers,
            now_unix_ms: at_ns / 1_000_000,
            random: if active.policy.needs_random() { active.host.random() } else { [0; 2] },
            peer: peer.as_deref(),
            claims: &claims,
            pod: active.pod,
            workload: &active.workload,
            note: None,
            tags: &[],
            braked: &braked,
            vacant: &vacant,
        };
        let trace = active.policy.trace_id(&headers);
        let note =
            trace.filter(|_| active.policy.wants_note(&inputs)).and_then(|trace| ring::look_up(&*active.host, &trace));
        inputs.note = note.as_ref();
        let decision = active.policy.decide(&inputs);
        active.carry_out(&decision, &inputs);
        if let Some(version) = active.called(&Place::of(&decision)) {
            active.drain.begin(self.id, &active.policy, version);
        }
        self.begun = Some(Begun::new(&active, &inputs, &decision, trace, at_ns));
    }

    /// Response headers: issue the cookie of a new unit.
    pub fn on_response_headers(&mut self) {
        let Some(begun) = &mut self.begun else { return };
        for line in begun.cookies.drain(..) {
            self.active.host.add_response_header("set-cookie", line.as_bytes());
        }
    }

    /// The end of the stream: count its outcome, after retries, as the party that waited saw it.
    pub fn on_log(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let active = &*self.active;
        let counts = !active.policy.is_entry_only();
        if counts {
            active.count_open(&begun.place, -1);
        }
        // What was closed from here says nothing of the version.
        let was_closed = active.drain.end(self.id);
        if was_closed || begun.is_mirror || (!counts && begun.samples.is_empty()) {
            return;
        }
        let end_ns = active.host.now_ns();
        let (end, outcome) = active.outcome(&begun);
        if let Some(version) = active.called(&begun.place).filter(|_| end.has_no_endpoint()) {
            active.vacant.borrow_mut().note(version, end_ns / 1_000_000);
        }
        match outcome {
            Outcome::Ignored => return,
            Outcome::Abandoned => return active.count_abandoned(&begun, end_ns),
            Outcome::Success | Outcome::Failure => {}
        }
        if counts {
            active.count(&begun, end_ns, end.status, outcome);
        }
        if !begun.samples.is_empty() {
            let (host, failed) = (&*active.host, outcome == Outcome::Failure);
            active.brakes.count(&begun.samples, failed);
            active.units.count(host, &active.policy, &active.meter, &begun.samples, failed);
            active.settle();
        }
    }
}

// === impl Begun ===

impl Begun {
    fn new<H: Host>(
        active: &Active<H>,
        inputs: &Inputs<'_>,
        decision: &Decision<'_>,
        trace: Option<TraceId>,
        at_ns: u64,
    ) -> Self {
        Self {
            at_ns,
            place: Place::of(decision),
            is_grpc: active.policy.is_grpc(inputs.headers),
            is_mirror: active.policy.is_mirror(inputs.headers),
            trace,
            cookies: active.cookies(decision),
            samples: active.samples(decision, trace.as_ref()),
        }
    }
}

// === impl Active ===

impl<H: Host> Active<H> {
    /// Writes headers, leaves the note, counts the choices.
    fn carry_out(&self, decision: &Decision<'_>, inputs: &Inputs<'_>) {
        for write in &decision.writes {
            self.host.set_request_header(&write.name, write.value.as_deref());
        }
        let notes = self.policy.role() == Role::Inbound && !self.policy.is_entry_only();
        if let Some(note) = notes.then(|| self.policy.note_of(decision, inputs)).flatten() {
            ring::leave(&*self.host, &note);
        }
        for (group, choice) in decision.choices.iter().enumerate() {
            self.meter.choice(&*self.host, &self.policy, group, choice);
        }
        self.count_fallback(decision);
        if !self.policy.is_entry_only() {
            self.count_open(&Place::of(decision), 1);
        }
    }

    /// A fallback is the caller's to count: on the inbound side it was counted one hop before.
    fn count_fallback(&self, decision: &Decision<'_>) {
        let destination = decision.destination.and_then(|at| self.policy.destinations().get(at));
        let Some(group) = destination.map(|destination| destination.group()) else { return };
        let Some(choice) = decision.choices.get(group) else { return };
        let calls = self.policy.role() != Role::Inbound && !self.policy.is_entry_only();
        if calls && !choice.lane.is_stable() && decision.served.is_stable() {
            self.meter.fallback(&*self.host, &self.policy, group, choice.lane);
        }
    }

    fn count_open(&self, place: &Place, offset: i64) {
        if let Some(destination) = place.destination.filter(|_| !place.lane.is_stable()) {
            self.meter.open_streams(&*self.host, &self.policy, (destination, place.lane), offset);
        }
    }

    /// The version that is called from here; where it is served, its callers see to its streams.
    fn called(&self, place: &Place) -> Option<Version> {
        let calls = self.policy.role() != Role::Inbound && !self.policy.is_entry_only();
        place.destination.filter(|_| calls).map(|destination| (destination, place.lane))
    }

    fn count(&self, begun: &Begun, end_ns: u64, status: u16, outcome: Outcome) {
        let millis = end_ns.saturating_sub(begun.at_ns) / 1_000_000;
        let broken = self.meter.request(&*self.host, &self.policy, begun.place, status, millis);
        if outcome == Outcome::Failure {
            self.count_failure(begun, end_ns);
        } else if let Some(slow) = broken {
            self.name(begun, slow, end_ns);
        }
    }

    fn samples(&self, decision: &Decision<'_>, trace: Option<&TraceId>) -> Vec<Sample> {
        if self.brakes.is_watching() { self.policy.samples(decision, trace) } else { Vec::new() }
    }

    fn count_failure(&self, begun: &Begun, now_ns: u64) {
        let host = &*self.host;
        let origin = match self.policy.role() {
            Role::Inbound => Some(ring::origin_of(host, begun.trace.as_ref(), begun.at_ns / 1_000_000)),
            Role::Gateway | Role::Outbound => None,
        };
        self.meter.failure(host, &self.policy, begun.place, origin);
        // What failed below is named by whoever called it.
        if origin != Some(Origin::Downstream) {
            self.name(begun, Trouble::Failed, now_ns);
        }
        if let (Role::Outbound, Some(trace)) = (self.policy.role(), &begun.trace) {
            ring::tell_failure(host, trace, now_ns / 1_000_000);
        }
    }

    fn name(&self, begun: &Begun, trouble: Trouble, now_ns: u64) {
        self.named.name(&*self.host, &self.policy, &self.meter, (begun.place, trouble), now_ns);
    }

    /// A request whose client left before any answer: callers count it, and say why. Should the request that
    /// they made it for fail now, it does so because of it.
    fn count_abandoned(&self, begun: &Begun, now_ns: u64) {
        if self.policy.is_entry_only() {
            return;
        }
        let (host, now, trace) = (&*self.host, now_ns / 1_000_000, begun.trace.as_ref());
        let quit = match (self.policy.role(), trace) {
            (Role::Inbound, Some(trace)) => return ring::tell_left(host, trace, now),
            (Role::Inbound, None) => return,
            (Role::Outbound, Some(trace)) if !ring::has_left(host, trace, begun.at_ns / 1_000_000) => {
                ring::tell_given_up(host, trace, now);
                Quit::GaveUp
            }
            (Role::Outbound, None) => Quit::GaveUp,
            (Role::Outbound | Role::Gateway, _) => Quit::Left,
        };
        self.meter.abandoned(host, &self.policy, begun.place, quit);
    }

    /// What Envoy knows of the end, and the outcome. Response flags cost a host call and are read only where they can matter:
    /// an answer that was fine is not taken back because its reader left.
    fn outcome(&self, begun: &Begun) -> (End, Outcome) {
        let status = self.number(&["response", "code"]).unwrap_or(0) as u16;
        let grpc_status = begun.is_grpc.then(|| self.number(&["response", "grpc_status"])).flatten();
        let answer = End { status, flags: 0, is_grpc: begun.is_grpc, grpc_status };
        if judge(&answer) == Outcome::Success {
            return (answer, Outcome::Success);
        }
        let flags = self.number(&["response", "flags"]).unwrap_or(0);
        let end = End { flags, ..answer };
        (end, judge(&end))
    }

    /// A property that Envoy serialises as a 64-bit integer in the host's byte order, which is wasm's.
    fn number(&self, path: &[&str]) -> Option<u64> {
        let bytes = self.host.property(path)?;
        bytes.first_chunk().map(|word| u64::from_le_bytes(*word))
    }

    fn peer(&self) -> Option<Vec<u8>> {
        self.host.property(&["connection", "uri_san_peer_certificate"]).filter(|uri| !uri.is_empty())
    }

    fn claims(&self) -> Vec<Option<Vec<u8>>> {
        let read = |claim: &Vec<String>| {
            let path: Vec<&str> = claim.iter().map(String::as_str).collect();
            self.host.property(&path)
        };
        self.policy.claims().iter().map(read).collect()
    }

    /// The set-cookie lines of new units; groups that share a cookie share its line.
    fn cookies(&self, decision: &Decision<'_>) -> Vec<String> {
        let Some(unit) = &decision.issued_unit else { return Vec::new() };
        let mut lines: Vec<String> = Vec::new();
        for (group, choice) in self.policy.groups().iter().zip(&decision.choices) {
            if let Some(cookie) = group.cookie().filter(|_| choice.issued) {
                let line = cookie::set_cookie(cookie, unit);
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }
}
