//! A document as the file that Envoy's `path_config_source` watches: a DiscoveryResponse in JSON with
//! one TypedExtensionConfig (`envoy.service.discovery.v3`, `envoy.config.core.v3`).

use std::path::Path;

use graylane_policy::raw::RawConfig;
use serde_json::{Value, json};

use super::Side;

/// The DiscoveryResponse that gives one filter its document.
///
/// `FAIL_OPEN` is not a choice: with anything else a crash of the module would refuse traffic instead
/// of sending it to stable.
pub fn discovery_response(side: Side, module: &Path, document: &RawConfig) -> Value {
    let name = side.filter_name();
    // Numbers, strings, lists and objects with string keys always serialise.
    let text = serde_json::to_string(document).unwrap_or_default();
    json!({
        "version_info": document.generation.to_string(),
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": name,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": name,
                    "root_id": name,
                    "failure_policy": "FAIL_OPEN",
                    "vm_config": {
                        "vm_id": "graylane",
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": module.to_string_lossy()}},
                    },
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue",
                        "value": text,
                    },
                },
            },
        }],
    })
}

/// The response that takes the filter out of service: an RBAC filter without rules lets everything
/// pass, and every request goes to stable.
pub fn inert_response(side: Side, generation: u64) -> Value {
    json!({
        "version_info": generation.to_string(),
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": side.filter_name(),
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"},
        }],
    })
}

/// The text of the document inside a response, if there is one.
pub fn document_text(response: &Value) -> Option<&str> {
    response.pointer("/resources/0/typed_config/config/configuration/value")?.as_str()
}
