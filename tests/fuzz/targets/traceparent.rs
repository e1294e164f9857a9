//! Trace ids in all their spellings.
#![no_main]

use graylane_policy::trace::{TraceId, from_b3, from_b3_trace_id, from_request_id, from_traceparent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    if let Some(id) = from_traceparent(value) {
        assert!(value.len() >= 55 && value[2] == b'-' && value[35] == b'-');
        assert_eq!(hex(&id).as_bytes(), &value[3..35], "the id as sent");
        assert_eq!(from_b3_trace_id(&value[3..35]), Some(id), "one id, whichever header brings it");
    }
    for id in [from_b3(value), from_b3_trace_id(value), from_request_id(value)].into_iter().flatten() {
        assert_ne!(id.as_bytes(), &[0; 16], "no id is all zeros");
        assert_eq!(TraceId::from_bytes(*id.as_bytes()), id);
    }
});

fn hex(id: &TraceId) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
