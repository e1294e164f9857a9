//! Choosing a group's lane.

use crate::baggage;
use crate::field::{FieldId, Unit, Values};
use crate::hash::slot_with_seed;
use crate::lane::{Cohort, LaneId, Reason, STABLE};
use crate::policy::{Entry, Group, Policy, Slots};
use crate::raw::{ClientMarks, NoUnit, Role};

use super::{Choice, Inputs};

/// The lane of one group: tag, then what the request already carries, then the entry, then stable.
pub(super) fn choose(
    policy: &Policy,
    group: &Group,
    at: usize,
    inputs: &Inputs<'_>,
    values: &mut Values<'_>,
) -> Choice {
    if let Some(choice) = tagged(group, inputs) {
        return choice;
    }
    if let Some(choice) = incoming(policy, at, inputs) {
        return choice;
    }
    match &group.entry {
        Some(entry) => braked(at, inputs, at_entry(entry, inputs, values)),
        None => Choice::stable(Reason::None, Cohort::Slot),
    }
}

/// A pick by weight of a lane whose brake has tripped goes to stable. The unit keeps its slot, and a new
/// one its cookie, for when the lane comes back.
fn braked(at: usize, inputs: &Inputs<'_>, choice: Choice) -> Choice {
    let stops = choice.reason == Reason::Slot && inputs.braked.contains(&(at, choice.lane));
    if stops { Choice { lane: STABLE, reason: Reason::Brake, ..choice } } else { choice }
}

/// Whether marks that the client of this proxy sent are believed.
pub(super) fn trusts_marks(group: &Group, inputs: &Inputs<'_>) -> bool {
    match group.client_marks {
        ClientMarks::Drop => false,
        ClientMarks::Peers => inputs.peer.is_some(),
        ClientMarks::Accept => true,
    }
}

/// The lane the request comes with: carried header, else baggage, else the calling pod's own, else
/// what the ring knows of its trace. The pod and the ring speak for calls of the local app only.
pub(super) fn incoming(policy: &Policy, at: usize, inputs: &Inputs<'_>) -> Option<Choice> {
    let group = policy.groups.get(at)?;
    let marks = || from_header(policy, group, inputs).or_else(|| from_baggage(policy, group, inputs));
    let trusted = trusts_marks(group, inputs);
    let carried = if trusted { marks() } else { None };
    if policy.role != Role::Outbound {
        return carried;
    }
    carried.or_else(|| from_pod(at, inputs)).or_else(|| from_note(group, inputs))
}

/// The digits of the unit that these random bits stand for.
pub(super) fn unit_digits(random: [u64; 2]) -> [u8; 32] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = u128::from(random[0]) << 64 | u128::from(random[1]);
    std::array::from_fn(|at| {
        let nibble = (bits >> (124 - 4 * at)) & 0xf;
        HEX.get(nibble as usize).copied().unwrap_or(b'0')
    })
}

fn carried(lane: LaneId, reason: Reason, cohort: Cohort) -> Choice {
    Choice { lane, cohort: if lane.is_stable() { Cohort::Slot } else { cohort }, ..Choice::stable(reason, cohort) }
}

fn tagged(group: &Group, inputs: &Inputs<'_>) -> Option<Choice> {
    let tag = inputs.tags.iter().find(|tag| tag.group == group.name)?;
    let lane = group.lane_named(tag.lane.as_bytes())?;
    Some(carried(lane, Reason::Tag, Cohort::Rule))
}

fn from_header(policy: &Policy, group: &Group, inputs: &Inputs<'_>) -> Option<Choice> {
    let own = inputs.headers.get(group.carried.id);
    // A gateway's early header mutation moved a client's own header out of the way.
    let moved = || inputs.headers.get(group.carried.untrusted).filter(|_| policy.role == Role::Gateway);
    let lane = group.lane_named(own.or_else(moved)?)?;
    let cohort = || {
        // An app may forward the carried header and baggage, and not the list of cohorts.
        let member = || member_of(policy, group, inputs).filter(|(named, _)| *named == lane)?.1;
        listed_cohort(policy, group, inputs).or_else(member)
    };
    Some(carried(lane, Reason::Header, travelling(policy, cohort)))
}

fn from_baggage(policy: &Policy, group: &Group, inputs: &Inputs<'_>) -> Option<Choice> {
    let (lane, own) = member_of(policy, group, inputs)?;
    let cohort = || own.or_else(|| listed_cohort(policy, group, inputs));
    Some(carried(lane, Reason::Baggage, travelling(policy, cohort)))
}

/// The cohort that came with a mark. A mark that a gateway was told to accept is an explicit wish,
/// whatever its client says of it.
fn travelling(policy: &Policy, cohort: impl FnOnce() -> Option<Cohort>) -> Cohort {
    if policy.role == Role::Gateway { Cohort::Rule } else { cohort().unwrap_or(Cohort::Unknown) }
}

/// The group's cohort in the header beside the carried one.
fn listed_cohort(policy: &Policy, group: &Group, inputs: &Inputs<'_>) -> Option<Cohort> {
    let list = inputs.headers.get(policy.wellknown.cohort)?;
    let own = list.split(|&byte| byte == b',').find_map(|pair| value_of(pair, group.name.as_bytes()));
    own.map(Cohort::parse)
}

/// What the group's baggage member says: a lane, and how it was chosen.
fn member_of(policy: &Policy, group: &Group, inputs: &Inputs<'_>) -> Option<(LaneId, Option<Cohort>)> {
    let key = group.baggage_key.as_deref()?;
    let known = policy.wellknown.baggage?;
    let own = inputs.headers.get(known.trusted);
    let moved = || inputs.headers.get(known.untrusted).filter(|_| policy.role == Role::Gateway);
    let member = baggage::first(own.or_else(moved)?, key.as_bytes())?;
    Some((group.lane_named(&member.value)?, member.property(b"cohort").map(Cohort::parse)))
}

/// The value of `key=value` when the key is this one.
pub(super) fn value_of<'v>(pair: &'v [u8], key: &[u8]) -> Option<&'v [u8]> {
    crate::cookie::trim(pair).strip_prefix(key)?.strip_prefix(b"=")
}

fn from_pod(at: usize, inputs: &Inputs<'_>) -> Option<Choice> {
    let pod = inputs.pod.filter(|pod| pod.group == at && !pod.lane.is_stable())?;
    Some(carried(pod.lane, Reason::Pod, Cohort::Unknown))
}

fn from_note(group: &Group, inputs: &Inputs<'_>) -> Option<Choice> {
    let ttl = group.trace_ttl_ms(inputs.workload)?;
    let noted = inputs.note.filter(|note| note.is_fresh(inputs.now_unix_ms, ttl))?.lane_of(&group.name)?;
    let lane = group.lane_named(noted.lane.as_bytes())?;
    Some(carried(lane, Reason::Trace, noted.cohort))
}

fn at_entry(entry: &Entry, inputs: &Inputs<'_>, values: &mut Values<'_>) -> Choice {
    let slots = entry.slots.as_ref().filter(|slots| slots.picks_anybody(inputs.now_unix_ms));
    let unit = if slots.is_some() || entry.rules_need_unit { unit_of(entry, inputs, values) } else { Unit::None };
    values.set_unit(unit);
    let issued = matches!(unit, Unit::Issued(_));
    if let Some(choice) = by_rule(entry, inputs, values) {
        return Choice { issued: issued && entry.rules_need_unit, ..choice };
    }
    match (slots, &entry.slots) {
        (Some(slots), _) => Choice { issued, ..by_slot(slots, entry, inputs, values) },
        (None, Some(lapsed)) if lapsed.is_expired(inputs.now_unix_ms) => Choice::stable(Reason::Expired, Cohort::Slot),
        _ => Choice::stable(Reason::Slot, Cohort::Slot),
    }
}

fn unit_of(entry: &Entry, inputs: &Inputs<'_>, values: &mut Values<'_>) -> Unit {
    let named = entry.unit.iter().copied().find(|id: &FieldId| values.get(*id).is_some_and(|value| !value.is_empty()));
    match (named, entry.no_unit) {
        (Some(id), _) => Unit::Field(id),
        (None, NoUnit::Cookie) => Unit::Issued(unit_digits(inputs.random)),
        (None, NoUnit::Stable | NoUnit::Random) => Unit::None,
    }
}

fn by_rule(entry: &Entry, inputs: &Inputs<'_>, values: &mut Values<'_>) -> Option<Choice> {
    let now = inputs.now_unix_ms;
    let found = entry.index.first(values, |at, values| {
        entry
            .rules
            .get(at as usize)
            .is_some_and(|rule| (rule.from_unix_ms..rule.until_unix_ms).contains(&now) && rule.when.holds(values))
    })?;
    let rule = entry.rules.get(found as usize)?;
    Some(Choice { lane: rule.lane, rule: Some(found), ..Choice::stable(Reason::Rule, Cohort::Rule) })
}

fn by_slot(slots: &Slots, entry: &Entry, inputs: &Inputs<'_>, values: &mut Values<'_>) -> Choice {
    let sticky = values.unit().map(|unit| slot_with_seed(unit, slots.seed));
    let (slot, cohort) = match (sticky, entry.no_unit) {
        (Some(slot), _) => (slot, Cohort::Slot),
        // Drawn by salt as well, so that the draws of two groups on one proxy are independent.
        (None, NoUnit::Random) => (slot_with_seed(&inputs.random[0].to_le_bytes(), slots.seed), Cohort::Random),
        (None, _) => return Choice::stable(Reason::Slot, Cohort::Random),
    };
    Choice { lane: slots.lane_of(slot), slot: Some(slot), ..Choice::stable(Reason::Slot, cohort) }
}

// === impl Slots ===

impl Slots {
    fn is_expired(&self, now_unix_ms: u64) -> bool {
        now_unix_ms >= self.expires_unix_ms
    }

    /// Whether any weight is in force; if not, no unit is read and no cookie issued.
    fn picks_anybody(&self, now_unix_ms: u64) -> bool {
        !self.is_expired(now_unix_ms) && self.runs.iter().any(|(_, lane)| !lane.is_stable())
    }

    fn lane_of(&self, slot: u16) -> LaneId {
        let at = self.runs.partition_point(|(until, _)| *until <= u32::from(slot));
        self.runs.get(at).map_or(STABLE, |(_, lane)| *lane)
    }
}
