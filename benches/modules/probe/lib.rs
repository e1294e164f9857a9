//! The least that shows a weight: with a canary among the slots of its document, every request takes the
//! canary's route. What a change of weight takes through this filter is what the way there takes.

use proxy_wasm::hostcalls::{get_buffer, set_map_value_bytes};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType};

/// Where the slots begin in a document.
const RUNS: &[u8] = br#""runs":["#;
const CANARY: &[u8] = b"canary";

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { has_canary: false }));
}}

struct Root {
    has_canary: bool,
}

struct Probe {
    has_canary: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let document = get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten().unwrap_or_default();
        self.has_canary = has_canary(&document);
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Probe { has_canary: self.has_canary }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn has_canary(document: &[u8]) -> bool {
    let runs = document.windows(RUNS.len()).position(|bytes| bytes == RUNS);
    let runs = runs.and_then(|at| document.get(at..)).unwrap_or_default();
    let runs = runs.split(|byte| *byte == b']').next().unwrap_or_default();
    runs.windows(CANARY.len()).any(|bytes| bytes == CANARY)
}

impl Context for Probe {}

impl HttpContext for Probe {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if self.has_canary {
            let _ = set_map_value_bytes(MapType::HttpRequestHeaders, "x-graylane-route", Some(CANARY));
        }
        Action::Continue
    }
}
