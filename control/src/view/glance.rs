//! How a release stands, in a few words.

use super::kept::Kept;
use super::mark::Mark;
use super::{steps, times};
use crate::engine::Millis;
use crate::engine::status::{ProxyCount, Status, Waiting};
use crate::engine::streams::Streams;
use crate::release::STABLE;
use crate::release::units::percent;

/// The head of the view of a release: names against values, in order.
pub fn head(kept: &Kept, now: Millis, wide: bool) -> Vec<(&'static str, String)> {
    let status = &kept.status;
    let mut head = vec![
        ("Name", kept.name.clone()),
        ("Namespace", kept.namespace.clone()),
        ("Group", kept.group().to_owned()),
        ("Status", Mark::of(status.phase).with(&phase(kept))),
    ];
    let mut add = |name, value: String| {
        if !value.is_empty() {
            head.push((name, value));
        }
    };
    add("Message", message(kept));
    add("Waiting", status.waiting.as_ref().map(|waiting| waiting_words(status, waiting, now)).unwrap_or_default());
    add("Step", steps::progress(kept));
    add("Weights", weights(kept));
    add("Proxies", proxies(&status.proxies));
    add("Streams", status.streams.as_ref().map(streams).unwrap_or_default());
    if wide {
        add("Attempt", status.attempt.to_string());
        add("Salt", status.salt.clone());
        add("Header", kept.spec.as_ref().map(|spec| spec.carried_header.clone()).unwrap_or_default());
        add("Exposure", format!("{:?}", status.exposure));
        add("Handover", status.handover.as_ref().map(|handover| format!("{:?}", handover.stage)).unwrap_or_default());
        add("Request", request(kept));
    }
    head
}

/// The phase as one word, with what overrides it.
pub fn phase(kept: &Kept) -> String {
    match (kept.deleting, kept.is_current()) {
        (true, _) => format!("{:?}, being deleted", kept.status.phase),
        (false, true) => format!("{:?}", kept.status.phase),
        (false, false) => format!("{:?}, not yet looked at again", kept.status.phase),
    }
}

/// The message, with what is to be known first about an object that nobody could read.
fn message(kept: &Kept) -> String {
    match (&kept.spec, kept.status.message.as_str()) {
        (None, "") => "this graylane cannot read its spec".into(),
        (None, message) => format!("{message} (this graylane cannot read its spec)"),
        (Some(_), message) => message.to_owned(),
    }
}

/// What it waits for, and for how long already; the message may have said the former.
fn waiting_words(status: &Status, waiting: &Waiting, now: Millis) -> String {
    let said = !waiting.message.is_empty() && status.message.contains(&waiting.message);
    let words =
        if said { format!("{:?}", waiting.reason) } else { format!("{:?}: {}", waiting.reason, waiting.message) };
    match times::age(Some(waiting.since_ms), now) {
        age if age.is_empty() => words,
        age => format!("{words} (for {age})"),
    }
}

/// What is asked of every lane, and what it has.
fn weights(kept: &Kept) -> String {
    let asked = steps::asked_weights(kept);
    let lanes = kept.lanes().into_iter().filter(|lane| lane != STABLE);
    let words = lanes.map(|lane| {
        let has = kept.status.weights.get(&lane).copied().unwrap_or_default();
        match asked.get(&lane) {
            Some(asked) => format!("{lane} set {}, actual {}", percent(*asked), percent(has)),
            None => format!("{lane} actual {}", percent(has)),
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

/// How many proxies run the last change, and who does not.
fn proxies(count: &ProxyCount) -> String {
    let words = format!("{}/{} acknowledged", count.acknowledged, count.expected);
    if count.missing.is_empty() {
        return words;
    }
    let unnamed = count.expected.saturating_sub(count.acknowledged) as usize;
    let rest = match unnamed.saturating_sub(count.missing.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{words}; missing: {}{rest}", count.missing.join(", "))
}

/// What outlives the lanes.
fn streams(streams: &Streams) -> String {
    match streams.words() {
        words if words.is_empty() => words,
        words => format!("{words} in lanes withdrawn at {}", times::at(streams.since_ms)),
    }
}

fn request(kept: &Kept) -> String {
    let Some(asked) = &kept.asked else { return String::new() };
    let state = if asked.id == kept.status.handled_request { "handled" } else { "not handled yet" };
    format!("{} ({}), {state}", asked.verb.name(), asked.id)
}

/// How it stands in one line, for logs.
pub fn line(kept: &Kept) -> String {
    let status = &kept.status;
    let mut parts = vec![phase(kept), format!("step {}", steps::progress(kept))];
    if !status.weight.is_empty() {
        parts.push(status.weight.clone());
    }
    if status.proxies.expected > 0 {
        parts.push(format!("{}/{} proxies", status.proxies.acknowledged, status.proxies.expected));
    }
    let mut words = parts.join(", ");
    let waiting = status.waiting.as_ref().map(|waiting| waiting.message.as_str()).unwrap_or_default();
    // Who writes a status may well put into the message what it waits for.
    for said in [status.message.as_str(), waiting] {
        if !said.is_empty() && !words.contains(said) {
            words = format!("{words}: {said}");
        }
    }
    words
}
