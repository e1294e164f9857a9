//! The host calls. Bytes only: the SDK's String getters panic on a byte that is not UTF-8, and its
//! trait helpers on any status they do not know, so neither is used.

use std::cell::{Cell, RefCell};
use std::time::{Duration, UNIX_EPOCH};

use hashbrown::HashMap;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};

use crate::host::{Host, Level, MetricKind};

/// More than any document may have, and little enough that no host's sum overflows.
const MAX_CONFIGURATION: usize = 16 * 1024 * 1024;

/// Envoy.
#[derive(Default)]
pub(super) struct EnvoyHost {
    metrics: RefCell<HashMap<String, Option<u32>>>,
    vm: Cell<Option<u64>>,
}

/// Panics when a request asks for it. Only in the build that proves FAIL_OPEN.
#[cfg(feature = "trap-on-demand")]
pub(super) fn trap_if_asked() {
    let asked = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "x-graylane-trap");
    assert!(!matches!(asked, Ok(Some(_))), "asked to trap");
}

// === impl EnvoyHost ===

impl EnvoyHost {
    /// A number of this VM's own.
    pub(super) fn vm(&self) -> u64 {
        let vm = self.vm.get().unwrap_or_else(|| self.random()[0]);
        self.vm.set(Some(vm));
        vm
    }
}

impl Host for EnvoyHost {
    fn request_headers(&self) -> Vec<u8> {
        super::raw::request_headers()
    }

    fn set_request_header(&self, name: &str, value: Option<&[u8]>) {
        let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, value);
    }

    fn add_response_header(&self, name: &str, value: &[u8]) {
        let _ = hostcalls::add_map_value_bytes(MapType::HttpResponseHeaders, name, value);
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::get_property(path.to_vec()).ok().flatten()
    }

    fn now_ns(&self) -> u64 {
        let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn random(&self) -> [u64; 2] {
        let mut bytes = [0; 16];
        // Without randomness every new unit would be the same one; the clock keeps them apart.
        if getrandom::fill(&mut bytes).is_err() {
            return [self.now_ns(), 0];
        }
        let bits = u128::from_le_bytes(bytes);
        [bits as u64, (bits >> 64) as u64]
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let (value, version) = hostcalls::get_shared_data(key).ok()?;
        Some((value?, version.unwrap_or(0)))
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> bool {
        let version = (version != 0).then_some(version);
        hostcalls::set_shared_data(key, Some(value), version).is_ok()
    }

    fn metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        if let Some(id) = self.metrics.borrow().get(name) {
            return *id;
        }
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
        };
        let id = hostcalls::define_metric(kind, name).ok();
        self.metrics.borrow_mut().insert(name.to_owned(), id);
        id
    }

    fn add(&self, metric: u32, offset: i64) {
        let _ = hostcalls::increment_metric(metric, offset);
    }

    fn record(&self, metric: u32, value: u64) {
        let _ = hostcalls::record_metric(metric, value);
    }

    fn configuration(&self) -> Vec<u8> {
        hostcalls::get_buffer(BufferType::PluginConfiguration, 0, MAX_CONFIGURATION).ok().flatten().unwrap_or_default()
    }

    fn set_tick_ms(&self, period: u32) {
        let _ = hostcalls::set_tick_period(Duration::from_millis(u64::from(period)));
    }

    fn close_stream(&self, stream: u32, root: u32) {
        // A stream that is gone cannot be closed, and nothing else may be in its place.
        if hostcalls::set_effective_context(stream).is_ok() {
            let _ = hostcalls::reset_http_request();
        }
        let _ = hostcalls::set_effective_context(root);
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Error => LogLevel::Error,
            Level::Info => LogLevel::Info,
        };
        let _ = hostcalls::log(level, message);
    }
}
