//! Query strings, against the WHATWG parser of the `url` crate's family.
#![no_main]

use graylane_policy::query::{MAX_BYTES, first, of_path, path_only};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &[u8]| {
    let whole = path_only(path);
    assert!(path.starts_with(whole), "the path without its query is where the path begins");
    let Some(query) = of_path(path) else {
        assert!(!path.split(|&byte| byte == b'#').next().unwrap_or_default().contains(&b'?'));
        return;
    };
    let read = query.get(..MAX_BYTES).unwrap_or(query);
    for (key, _) in form_urlencoded::parse(read).take(64) {
        // The reference replaces bytes that are not UTF-8; we compare bytes, so only clean keys can agree.
        if key.contains('\u{fffd}') {
            continue;
        }
        let expected = form_urlencoded::parse(read).find(|(other, _)| *other == key).map(|(_, value)| value.into_owned());
        let found = first(query, key.as_bytes()).map(|value| String::from_utf8_lossy(&value).into_owned());
        assert_eq!(found, expected, "key {key:?}");
    }
});
