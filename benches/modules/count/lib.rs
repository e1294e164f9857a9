//! A filter that counts requests when they end, and does nothing else.

use proxy_wasm::hostcalls::{define_metric, increment_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { requests: 0 }));
}}

struct Root {
    requests: u32,
}

struct Count {
    requests: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        define_metric(MetricType::Counter, "bench_requests_total").map(|id| self.requests = id).is_ok()
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Count { requests: self.requests }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Count {}

impl HttpContext for Count {
    fn on_log(&mut self) {
        let _ = increment_metric(self.requests, 1);
    }
}
