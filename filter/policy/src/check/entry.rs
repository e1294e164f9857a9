//! The entry of a group: markers, rules, slots, stickiness.

use hashbrown::HashMap;

use crate::field::{FieldId, Trust, trust_of, unavailable};
use crate::hash::{SLOTS, seed_of};
use crate::index::RuleIndex;
use crate::lane::LaneId;
use crate::path::Path;
use crate::policy::{Entry, Marker, Rule, Slots};
use crate::problem::{Problems, Shown};
use crate::raw::{NoUnit, RawCookie, RawEntry, RawField, RawMarker, RawRule, RawRun, RawSlots, SameSite};
use crate::slots::SlotTable;

use super::fields::Fields;
use super::group::unknown_lane;
use super::names;

mod condition;

/// Most rules of an entry.
const MAX_RULES: usize = 10_000;

/// What the parts of an entry are checked against.
pub(super) struct Scope<'s, 'h> {
    raw: &'s RawEntry,
    lanes: &'s [String],
    /// Salts `percent`, so that different releases pick different users.
    salt: &'s str,
    fields: &'s mut Fields<'h>,
    markers: Vec<(String, FieldId)>,
    problems: &'s mut Problems,
}

pub(super) fn compile(
    raw: &RawEntry,
    path: &Path<'_>,
    lanes: &[String],
    rollout: &str,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Entry {
    let salt = raw.slots.as_ref().map_or(rollout, |slots| &slots.salt);
    let mut scope = Scope { raw, lanes, salt, fields, markers: Vec::new(), problems };
    let markers = scope.markers(path);
    let rules = scope.rules(path);
    let slots = raw.slots.as_ref().and_then(|slots| scope.slots(slots, &path.key("slots")));
    let unit = scope.unit(&path.key("stickiness"));
    Entry {
        index: RuleIndex::build(rules.iter().map(|rule| &rule.when)),
        rules_need_unit: rules.iter().any(|rule| rule.when.needs_unit()),
        rules,
        slots,
        unit,
        no_unit: raw.stickiness.no_unit,
        cookie: raw.stickiness.cookie.clone(),
        markers,
    }
}

/// A kind of field that has a name.
type Named = fn(String) -> RawField;

/// The markers of an entry that names none: the handbook's values, context over header over query.
const BUILT_IN: &[(&str, &[(Named, &str)])] = &[
    ("tenant", &[(RawField::Claim, "tenant"), (RawField::GrpcMetadata, "tenant")]),
    ("release", &[(RawField::GrpcMetadata, "x-release-id"), (RawField::Header, "x-release-id")]),
    ("group", &[(RawField::GrpcMetadata, "x-user-group"), (RawField::Header, "x-user-group")]),
    ("version", &[(RawField::Header, "x-version"), (RawField::Query, "version")]),
    ("env", &[(RawField::Query, "env")]),
];

// === impl Scope ===

impl Scope<'_, '_> {
    fn markers(&mut self, path: &Path<'_>) -> Vec<Marker> {
        let path = path.key("markers");
        let Some(raw) = &self.raw.markers else {
            return self.built_in_markers(&path);
        };
        raw.iter().enumerate().map(|(at, marker)| self.marker(marker, false, &path.at(at))).collect()
    }

    /// A built-in marker that no rule reads must not make every request fetch its sources.
    fn built_in_markers(&mut self, path: &Path<'_>) -> Vec<Marker> {
        let used = BUILT_IN.iter().filter(|(name, _)| mentions(self.raw, name));
        used.map(|(name, sources)| {
            let from = sources.iter().map(|(field, name)| field((*name).into())).collect();
            self.marker(&RawMarker { name: (*name).into(), from }, true, path)
        })
        .collect()
    }

    fn marker(&mut self, raw: &RawMarker, is_built_in: bool, path: &Path<'_>) -> Marker {
        let name_path = path.key("name");
        names::require_dns_label(self.problems, &name_path, &raw.name);
        let taken = self.markers.iter().any(|(name, _)| *name == raw.name);
        let message = format_args!("marker `{}` is there twice", raw.name);
        self.problems.require(!taken, &name_path, &message, &"put all its sources in one `from`");
        let from = path.key("from");
        let mend = "name a header, query key or claim";
        self.problems.require(!raw.from.is_empty(), &from, &"the marker has no source", &mend);
        let mut sources = Vec::new();
        for trust in Trust::ALL {
            for (at, field) in raw.from.iter().enumerate().filter(|(_, field)| trust_of(field) == trust) {
                // Built-in markers lose the sources this side does not have; written ones are refused for it.
                let lost = is_built_in && unavailable(field, self.fields.role()).is_some();
                let id = if lost { None } else { self.source(field, &from.at(at)) };
                sources.extend(id.map(|id| (id, field.clone())));
            }
        }
        let id = self.fields.marker(sources.iter().map(|(id, _)| *id).collect());
        self.markers.push((raw.name.clone(), id));
        Marker { name: raw.name.clone(), sources }
    }

    fn source(&mut self, field: &RawField, path: &Path<'_>) -> Option<FieldId> {
        if let RawField::Marker(name) = field {
            let message = format_args!("marker `{name}` cannot be a source of a marker");
            self.problems.add(path, &message, &"name the header, query key or claim itself");
            return None;
        }
        self.fields.add(field, &self.raw.claims, path, self.problems)
    }

    /// A field of a rule or of the unit; markers are looked up.
    fn field(&mut self, field: &RawField, path: &Path<'_>) -> Option<FieldId> {
        let RawField::Marker(name) = field else {
            return self.fields.add(field, &self.raw.claims, path, self.problems);
        };
        let known = self.markers.iter().find(|(marker, _)| marker == name).map(|(_, id)| *id);
        if known.is_none() {
            let names: Vec<&str> = self.markers.iter().map(|(name, _)| name.as_str()).collect();
            let mend = format_args!("use one of [{}], or add it to markers", names.join(", "));
            self.problems.add(path, &format_args!("there is no marker `{name}`"), &mend);
        }
        known
    }

    fn rules(&mut self, path: &Path<'_>) -> Vec<Rule> {
        let rules: &[RawRule] = &self.raw.rules;
        let path = path.key("rules");
        self.problems.require(
            rules.len() <= MAX_RULES,
            &path,
            &format_args!("{} rules", rules.len()),
            &format_args!("use at most {MAX_RULES}"),
        );
        // Of the type of the map of hosts, so that the module holds its code once.
        let mut names: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for (at, rule) in rules.iter().take(MAX_RULES).enumerate() {
            let path = path.at(at);
            let name: Box<[u8]> = rule.name.as_bytes().into();
            let fresh = !rule.name.is_empty() && names.insert(name, at).is_none();
            let message = format_args!("rule name `{}` is empty or taken", Shown(&rule.name));
            self.problems.require(fresh, &path.key("name"), &message, &"give each rule a name of its own");
            compiled.extend(self.rule(rule, &path));
        }
        compiled
    }

    fn rule(&mut self, raw: &RawRule, path: &Path<'_>) -> Option<Rule> {
        let lane = self.lane(&raw.lane, &path.key("lane"));
        let when = self.condition(&raw.when, &path.key("when"), &raw.name, 0);
        let (from, until) = (raw.from_unix.unwrap_or(0), raw.until_unix.unwrap_or(u64::MAX));
        let message = format_args!("the rule would end at {until}, not after it begins at {from}");
        self.problems.require(from < until, &path.key("untilUnix"), &message, &"write a later end");
        Some(Rule {
            name: raw.name.clone(),
            lane: lane?,
            when: when?,
            from_unix_ms: from.saturating_mul(1_000),
            until_unix_ms: until.saturating_mul(1_000),
        })
    }

    fn lane(&mut self, name: &str, path: &Path<'_>) -> Option<LaneId> {
        let lane = self.lanes.iter().position(|lane| lane == name).map(|at| LaneId(at as u16));
        if lane.is_none() {
            unknown_lane(self.problems, path, name, self.lanes);
        }
        lane
    }

    fn slots(&mut self, raw: &RawSlots, path: &Path<'_>) -> Option<Slots> {
        let mend = "write a value of this attempt's own";
        self.problems.require(!raw.salt.is_empty(), &path.key("salt"), &"the salt is empty", &mend);
        let path = path.key("runs");
        if let Err(error) = SlotTable::from_runs(&raw.runs) {
            let mend = format_args!("let the runs ascend and the last end at {SLOTS}");
            self.problems.add(&path, &error, &mend);
            return None;
        }
        let lane_of = |(at, run): (usize, &RawRun)| Some((run.until, self.lane(&run.lane, &path.at(at).key("lane"))?));
        let runs = raw.runs.iter().enumerate().filter_map(lane_of).collect();
        let expires_unix_ms = raw.expires_unix.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000));
        Some(Slots { seed: seed_of(&raw.salt), runs, expires_unix_ms })
    }

    fn unit(&mut self, path: &Path<'_>) -> Vec<FieldId> {
        let stickiness = &self.raw.stickiness;
        let unit_path = path.key("unit");
        let read = |(at, field): (usize, &RawField)| self.field(field, &unit_path.at(at));
        let mut unit: Vec<FieldId> = stickiness.unit.iter().enumerate().filter_map(read).collect();
        if stickiness.no_unit == NoUnit::Cookie {
            let path = path.key("cookie");
            check_cookie(&stickiness.cookie, &path, self.problems);
            let cookie = RawField::Cookie(stickiness.cookie.name.clone());
            unit.extend(self.field(&cookie, &path.key("name")));
        }
        unit
    }
}

/// Whether some rule or the unit reads a marker of this name.
fn mentions(entry: &RawEntry, name: &str) -> bool {
    let is_marker = |field: &RawField| matches!(field, RawField::Marker(marker) if marker == name);
    entry.stickiness.unit.iter().any(is_marker)
        || entry.rules.iter().any(|rule| condition::reads(&rule.when, &is_marker))
}

fn check_cookie(cookie: &RawCookie, path: &Path<'_>, problems: &mut Problems) {
    let good_path =
        cookie.path.starts_with('/') && cookie.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    problems.require(
        good_path,
        &path.key("path"),
        &format_args!("`{}` is no cookie path", Shown(&cookie.path)),
        &"write a path that begins with /, without blanks or ;",
    );
    problems.require(
        cookie.same_site != SameSite::None || cookie.secure,
        &path.key("sameSite"),
        &"browsers drop a SameSite=None cookie that is not secure",
        &"set secure: true, or use lax",
    );
    problems.require(
        cookie.max_age_seconds > 0,
        &path.key("maxAgeSeconds"),
        &"the cookie would be gone at once",
        &"write a positive number of seconds",
    );
}
