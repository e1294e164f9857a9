//! Baggage headers: reading our member, replacing it, and leaving the others alone.
#![no_main]

use graylane_policy::baggage::{MAX_BYTES, first, replace};
use libfuzzer_sys::fuzz_target;

const KEY: &[u8] = b"graylane.shop";
const MEMBER: &str = "graylane.shop=canary;cohort=slot";

fuzz_target!(|header: &[u8]| {
    if let Some(member) = first(header, KEY) {
        let _ = member.property(b"cohort");
    }
    let removed = replace(header, KEY, None);
    if removed.len() <= MAX_BYTES {
        assert!(first(&removed, KEY).is_none(), "no member of ours is left");
    }
    assert_eq!(others(&removed), others(header), "the others stay as they were, in their order");
    let replaced = replace(header, KEY, Some(MEMBER));
    assert_eq!(replace(&replaced, KEY, Some(MEMBER)), replaced, "replacing twice is replacing once");
    if replaced.len() <= MAX_BYTES {
        let member = first(&replaced, KEY).expect("it was just put there");
        assert_eq!((&*member.value, member.property(b"cohort")), (&b"canary"[..], Some(&b"slot"[..])));
    }
});

/// The members that are not ours, without blanks around them.
fn others(header: &[u8]) -> Vec<&[u8]> {
    let members = header.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty());
    members.filter(|member| key_of(member) != Some(KEY)).collect()
}

fn key_of(member: &[u8]) -> Option<&[u8]> {
    let pair = member.split(|&byte| byte == b';').next()?;
    let at = pair.iter().position(|&byte| byte == b'=')?;
    Some(trim(&pair[..at]))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
