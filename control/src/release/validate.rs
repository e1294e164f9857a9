//! Checks releases and turns them into what can be built from. Pure; reports every problem.
//!
//! What a document of the filter cannot show (weights, times, lanes of a member) is checked here. All
//! the rest is checked by the code that the filter itself runs, on the documents these releases would
//! become, and its problems are translated back to the lines of the file.

use std::collections::{BTreeMap, BTreeSet};

use graylane_analysis::PlanProblem;
use graylane_policy::Policy;
use graylane_policy::raw::{RawRule, RawTrace};

use super::analysis::{self, Analysis};
use super::finding::{Finding, Findings};
use super::read::Source;
use super::rules::{self, Rule};
use super::units::{Span, Time, UnitError, Weight};
use super::{Member, MemberSpec, Release, RuleSpec, STABLE};
use crate::build::{self, Running, Side};

/// A release together with where it was read.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Where it stands.
    pub source: Source,
    /// What it says.
    pub release: Release,
}

/// Checks releases that run side by side, for the sides where they run.
///
/// # Errors
/// Every problem of every release.
pub fn check(sources: Vec<Source>, sides: &[Side]) -> Result<Vec<Checked>, Findings> {
    let mut findings = Vec::new();
    let mut checked = Vec::new();
    for source in sources {
        let release = Checker { source: &source, findings: &mut findings }.release();
        checked.push(Checked { source, release });
    }
    find_clashes(&checked, &mut findings);
    if findings.is_empty() {
        findings = document_findings(&checked, sides);
        findings.extend(checked.iter().flat_map(judge_findings));
    }
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    if findings.is_empty() { Ok(checked) } else { Err(Findings(findings)) }
}

/// Two releases of one name, or of one group, cannot run side by side.
fn find_clashes(checked: &[Checked], findings: &mut Vec<Finding>) {
    let (mut ids, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for Checked { source, release } in checked {
        if let Some(file) = ids.insert(release.id(), &source.file) {
            let message = format!("release `{}` is already in {file}", release.id());
            findings.push(source.finding("metadata.name", message, "give each release its own name"));
        } else if let Some(other) = groups.insert(release.group.clone(), release.id()) {
            let message = format!("group `{}` is already being released by `{other}`", release.group);
            findings.push(source.finding("spec.group", message, "finish that release first, or name another group"));
        }
    }
}

/// What the filter would say about the documents of these releases.
fn document_findings(checked: &[Checked], sides: &[Side]) -> Vec<Finding> {
    let running: Vec<Running> = checked.iter().map(|one| Running::at_its_weights(one.release.clone())).collect();
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for &side in sides {
        let Err(error) = Policy::check(&build::document(1, side, &running)) else { continue };
        for problem in error.problems() {
            let (group, path) = written_path(&problem.path);
            let Some(one) = checked.get(group) else { continue };
            if seen.insert((group, path.clone(), problem.message.clone())) {
                let mend = problem.mend.replace("lanes.names", "spec.lanes");
                findings.push(one.source.finding(&path, &problem.message, mend));
            }
        }
    }
    findings
}

/// What the judge would say about what a release is judged by.
fn judge_findings(Checked { source, release }: &Checked) -> Vec<Finding> {
    let problems = analysis::problems(release).into_iter();
    let said = |problem: PlanProblem| {
        source.finding(&format!("spec.analysis.{}", problem.field), problem.reason, problem.mend)
    };
    problems.map(said).collect()
}

/// The group's index and the path in the release file for a path in a document.
fn written_path(path: &str) -> (usize, String) {
    let (group, rest) = path
        .strip_prefix("groups[")
        .and_then(|rest| rest.split_once(']'))
        .and_then(|(index, rest)| Some((index.parse().ok()?, rest.trim_start_matches('.'))))
        .unwrap_or((0, path));
    let written = |from: &str, to: &str| {
        let rest = rest.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then(|| format!("{to}{rest}"))
    };
    let path = [
        ("name", "spec.group"),
        ("rollout", "metadata.name"),
        ("clientMarks", "spec.trust.clientMarks"),
        ("entry.slots", "spec.weights"),
        ("entry", "spec"),
        ("lanes.names", "spec.lanes"),
        ("lanes.destinations", "spec.members"),
        ("lanes.trace", "spec.propagation.trace"),
        ("baggage", "spec.propagation.baggage"),
    ]
    .into_iter()
    .find_map(|(from, to)| written(from, to))
    .unwrap_or_else(|| format!("spec.{rest}"));
    let renamed = [
        ("fromUnix", "from"),
        ("untilUnix", "until"),
        ("slowOverMs", "latencyMs"),
        ("ttlMs", "ttl"),
        ("ready", "lanes"),
    ];
    let path = renamed.into_iter().fold(path, |path, (from, to)| path.replace(from, to));
    // Hosts are completed with the service's own names, so an index there means nothing in the file.
    let path = path.find(".hosts[").map_or(path.clone(), |at| path[..at + ".hosts".len()].to_owned());
    (group, path)
}

/// Checks one release, collecting what is wrong.
pub(super) struct Checker<'a> {
    pub(super) source: &'a Source,
    pub(super) findings: &'a mut Vec<Finding>,
}

// === impl Checker ===

impl Checker<'_> {
    fn release(&mut self) -> Release {
        let written = self.source.written.clone();
        let spec = written.spec;
        self.label("metadata.name", &written.metadata.name);
        self.label("metadata.namespace", &written.metadata.namespace);
        let lanes: Vec<String> = spec.lanes.iter().map(|lane| lane.name.clone()).collect();
        self.lanes(&lanes);
        let namespace = written.metadata.namespace;
        self.member_names(&spec.members);
        let members = spec.members.iter().enumerate();
        let members = members.map(|(index, member)| self.member(index, member, &namespace, &lanes));
        let mut members: Vec<Member> = members.collect();
        let rules = spec.rules.iter().enumerate().map(|(index, rule)| self.rule(index, rule, &lanes)).collect();
        let weights = self.lane_weights("spec.weights", &spec.weights, &lanes);
        let plan = self.plan(&spec, &lanes);
        add_latencies(&mut members, plan.analysis.as_ref());
        let trace = spec.propagation.trace.map(|trace| {
            let ttl = self.span("spec.propagation.trace.ttl", &trace.ttl);
            RawTrace { workloads: trace.workloads, ttl_ms: u32::try_from(ttl).unwrap_or(u32::MAX) }
        });
        Release {
            group: spec.group.unwrap_or_else(|| written.metadata.name.clone()),
            name: written.metadata.name,
            namespace,
            carried_header: spec.carried_header,
            lanes,
            members,
            markers: spec.markers,
            rules,
            stickiness: spec.stickiness,
            claims: spec.claims,
            baggage: spec.propagation.baggage,
            trace,
            client_marks: spec.trust.client_marks,
            peer_marks: spec.trust.peer_marks,
            weights,
            plan,
        }
    }

    fn member(&mut self, index: usize, member: &MemberSpec, namespace: &str, lanes: &[String]) -> Member {
        let path = format!("spec.members[{index}]");
        let known = member.lanes.clone().unwrap_or_else(|| lanes.to_vec());
        for (at, lane) in known.iter().enumerate() {
            if !lanes.contains(lane) {
                self.refuse(&format!("{path}.lanes[{at}]"), &rules::MEMBER_LANE, &[]);
            }
        }
        Member {
            service: member.service.clone(),
            label: format!("{}.{namespace}", member.service),
            hosts: hosts(member, namespace),
            lanes: known,
            latency_ms: member.latency_ms.clone(),
            route_by: member.route_by,
        }
    }

    /// Names of lanes, each once.
    fn lanes(&mut self, lanes: &[String]) {
        if lanes.is_empty() {
            self.refuse("spec.lanes", &rules::NO_LANE, &[]);
        }
        for (index, lane) in lanes.iter().enumerate() {
            let path = format!("spec.lanes[{index}].name");
            self.label(&path, lane);
            if lane == STABLE {
                self.refuse(&path, &rules::STABLE_LANE, &[]);
            } else if lanes[..index].contains(lane) {
                self.refuse(&path, &rules::LANE_TWICE, &[]);
            }
        }
    }

    /// Names of members, each once.
    fn member_names(&mut self, members: &[MemberSpec]) {
        for (index, member) in members.iter().enumerate() {
            let path = format!("spec.members[{index}].service");
            self.label(&path, &member.service);
            if members[..index].iter().any(|earlier| earlier.service == member.service) {
                self.refuse(&path, &rules::MEMBER_TWICE, &[]);
            }
        }
    }

    fn rule(&mut self, index: usize, rule: &RuleSpec, lanes: &[String]) -> RawRule {
        if rule.lane != STABLE && !lanes.contains(&rule.lane) {
            self.refuse(&format!("spec.rules[{index}].lane"), &rules::RULE_LANE, &[]);
        }
        let mut time = |field: &str, time: &Option<Time>| {
            let path = format!("spec.rules[{index}].{field}");
            time.as_ref().map(|time| self.unit(&path, time.unix()))
        };
        let from_unix = time("from", &rule.from);
        let until_unix = time("until", &rule.until);
        RawRule { name: rule.name.clone(), lane: rule.lane.clone(), when: rule.when.clone(), from_unix, until_unix }
    }

    pub(super) fn weight(&mut self, path: &str, weight: &Weight) -> u32 {
        self.unit(path, weight.parts())
    }

    pub(super) fn span(&mut self, path: &str, span: &Span) -> u64 {
        self.unit(path, span.millis())
    }

    fn unit<T: Default>(&mut self, path: &str, value: Result<T, UnitError>) -> T {
        value.unwrap_or_else(|error| {
            self.refuse(path, error.rule(), &[("value", error.text())]);
            T::default()
        })
    }

    /// A DNS label (RFC 1123): what Kubernetes allows as the name of a service or namespace.
    pub(super) fn label(&mut self, path: &str, value: &str) {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&value.len())
            && value.bytes().all(inner)
            && !value.starts_with('-')
            && !value.ends_with('-');
        if !fits {
            self.refuse(path, &rules::DNS_LABEL, &[("value", value)]);
        }
    }

    pub(super) fn refuse(&mut self, path: &str, rule: &Rule, values: &[(&str, &str)]) {
        let (message, mend) = rule.said(values);
        self.add(path, message, mend);
    }

    pub(super) fn add(&mut self, path: &str, message: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(self.source.finding(path, message, mend));
    }
}

/// What is judged has to be counted.
fn add_latencies(members: &mut [Member], analysis: Option<&Analysis>) {
    for (over_ms, _) in analysis.into_iter().flat_map(|analysis| &analysis.latency) {
        for member in members.iter_mut().filter(|member| !member.latency_ms.contains(over_ms)) {
            member.latency_ms.push(*over_ms);
        }
    }
}

/// The names Kubernetes gives the service, then the ones of the file, each once.
fn hosts(member: &MemberSpec, namespace: &str) -> Vec<String> {
    let service = &member.service;
    let own = ["", ".svc", ".svc.cluster.local"].map(|tail| format!("{service}.{namespace}{tail}"));
    let all = std::iter::once(service.clone()).chain(own).chain(member.hosts.iter().cloned());
    let mut seen = BTreeSet::new();
    all.filter(|host| seen.insert(host.to_ascii_lowercase())).collect()
}
