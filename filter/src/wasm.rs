//! proxy-wasm: the entry points Envoy calls, and the host calls behind [`crate::host::Host`].

mod host;
mod raw;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::root::{Active, configure};
use crate::stream::Stream;
use host::EnvoyHost;

thread_local! {
    // One VM is one thread. The host outlives documents: metric ids must be defined once in a VM's
    // life, because Envoy never frees one.
    static HOST: Rc<EnvoyHost> = Rc::new(EnvoyHost::default());
    // The root context in force for each plugin (root id) of this VM. Older ones live on until their
    // last stream ends, and must not speak for the VM any more. By role label, of which there are four.
    static IN_FORCE: RefCell<Vec<InForce>> = RefCell::default();
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

/// A root context that speaks for the VM, for one role.
struct InForce {
    label: &'static str,
    root: u32,
    // Gone with its root context, as when the config of proxies was replaced by one without the module.
    active: Weak<Active<EnvoyHost>>,
}

/// The document that speaks for a role now.
fn in_force(label: &str) -> Option<Rc<Active<EnvoyHost>>> {
    IN_FORCE.with_borrow(|roots| roots.iter().find(|one| one.label == label)?.active.upgrade())
}

// === impl Root ===

impl Root {
    fn is_in_force(&self, active: &Active<EnvoyHost>) -> bool {
        let label = active.policy.role_label();
        IN_FORCE.with_borrow(|roots| roots.iter().any(|one| one.label == label && one.root == self.id))
    }

    fn come_into_force(&self, active: &Rc<Active<EnvoyHost>>) {
        let label = active.policy.role_label();
        let mine = InForce { label, root: self.id, active: Rc::downgrade(active) };
        IN_FORCE.with_borrow_mut(|roots| {
            roots.retain(|other| other.label != label);
            roots.push(mine);
        });
    }
}

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
                self.come_into_force(&active);
                self.active = Some(active);
                true
            }
            // Told and counted by `configure`; false makes Envoy keep the last good document.
            Err(_) => false,
        }
    }

    fn on_tick(&mut self) {
        let Some(active) = &self.active else { return };
        if self.is_in_force(active) {
            active.tick(active.host.vm());
        } else {
            let in_force = in_force(active.policy.role_label());
            active.linger(self.id, in_force.as_deref().map(|other| &other.policy));
        }
    }

    fn create_http_context(&self, stream: u32) -> Option<Box<dyn HttpContext>> {
        // Envoy creates streams only after a document was accepted, so there always is one.
        let active = self.active.as_ref().map(Rc::clone)?;
        // A document pushed again while its first streams are still open gets its old root context
        // back, without being configured again. Its first new stream shows that.
        if !self.is_in_force(&active) {
            self.come_into_force(&active);
            active.resume();
        }
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
