//! The one place with `unsafe`: reading all request headers without copying them.
//!
//! The SDK's own call copies every name and value and panics on names that are not UTF-8. Measured
//! in Envoy 1.40 with 16 headers it costs 2.4 us against 1.4 us for this.
#![allow(unsafe_code)]

use proxy_wasm::types::{MapType, Status};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    // ABI 0.2.1: the host allocates with `proxy_on_memory_allocate` and hands the memory over.
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> Status;
}

/// The request headers in the pairs encoding; empty when the host has none.
pub(super) fn request_headers() -> Vec<u8> {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the host writes a pointer and a size to the two places, which outlive the call.
    let status = unsafe { proxy_get_header_map_pairs(MapType::HttpRequestHeaders, &mut data, &mut size) };
    if status != Status::Ok || data.is_null() {
        return Vec::new();
    }
    // SAFETY: `proxy_on_memory_allocate` of the SDK returns the buffer of a `Vec<u8>` with this very
    // capacity and forgets it, and the host has filled all of it; from here it is ours alone.
    unsafe { Vec::from_raw_parts(data, size, size) }
}
