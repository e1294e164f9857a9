//! proxy-wasm: the entry points Envoy calls, and the host calls behind [`crate::host::Host`].

mod host;
mod raw;

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::force::InForce;
use crate::root::{Active, configure};
use crate::stream::Stream;
use host::EnvoyHost;

thread_local! {
    // One VM is one thread. The host outlives documents: metric ids must be defined once in a VM's
    // life, because Envoy never frees one.
    static HOST: Rc<EnvoyHost> = Rc::new(EnvoyHost::default());
    static IN_FORCE: RefCell<InForce<EnvoyHost>> = const { RefCell::new(InForce::new()) };
}

// The macro writes an exported function without documentation.
#[allow(missing_docs)]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(super::Root { id, active: None }));
    }}
}

struct Root {
    id: u32,
    active: Option<Rc<Active<EnvoyHost>>>,
}

struct Http(Stream<EnvoyHost>);

impl Context for Root {
    fn on_done(&mut self) -> bool {
        if let Some(active) = &self.active {
            active.retire();
        }
        true
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let host = HOST.with(Rc::clone);
        match configure(&host) {
            Ok(active) => {
                let active = Rc::new(active);
                IN_FORCE.with_borrow_mut(|all| all.configured(self.id, &active));
                self.active = Some(active);
                true
            }
            // Told and counted by `configure`; false makes Envoy keep the last good document.
            Err(_) => false,
        }
    }

    fn on_tick(&mut self) {
        let Some(active) = &self.active else { return };
        if IN_FORCE.with_borrow(|all| all.has(self.id, active)) {
            active.tick(active.host.vm());
        } else {
            let instead = IN_FORCE.with_borrow(|all| all.instead_of(active));
            active.linger(self.id, instead.as_deref().map(|other| &other.policy));
        }
    }

    fn create_http_context(&self, stream: u32) -> Option<Box<dyn HttpContext>> {
        // Envoy creates streams only after a document was accepted, so there always is one.
        let active = self.active.as_ref().map(Rc::clone)?;
        IN_FORCE.with_borrow_mut(|all| all.begins(self.id, &active));
        Some(Box::new(Http(Stream::new(active, stream))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

// === impl Http ===

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        #[cfg(feature = "trap-on-demand")]
        host::trap_if_asked();
        self.0.on_request_headers();
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.0.on_response_headers();
        Action::Continue
    }

    fn on_log(&mut self) {
        self.0.on_log();
    }
}
