//! Cookie headers: the first byte splits the input into a name and a header.
#![no_main]

use graylane_policy::cookie::{MAX_BYTES, first};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&split, rest)) = data.split_first() else { return };
    let (name, header) = rest.split_at(usize::from(split).min(rest.len()));
    if let Some(value) = first(header, name) {
        check(header, name, value);
    }
    // What is certainly there is found: put in front, a pair wins over all that follow.
    let clean = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric());
    if clean {
        let mut front = [name, b"=v;"].concat();
        front.extend_from_slice(header);
        assert_eq!(first(&front, name), Some(&b"v"[..]));
    }
});

fn check(header: &[u8], name: &[u8], value: &[u8]) {
    assert!(!name.is_empty());
    assert!(!value.contains(&b';'), "a value ends at the next pair");
    assert!(!matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']), "blanks around a value are dropped");
    let read = header.get(..MAX_BYTES).unwrap_or(header);
    let bounds = read.as_ptr_range();
    assert!(value.is_empty() || bounds.contains(&value.as_ptr()), "a value is a part of the header, as sent");
}
