//! Which root context speaks for a role on this VM.
//!
//! A document that is replaced keeps its root context until its last stream ends, and must not speak for
//! the VM meanwhile. Two things make that more than "the one that was configured last":
//!
//! - A document that is pushed again while its first streams are still open gets its old root context back,
//!   without being configured again. Only its new streams show that.
//! - Envoy tells a worker of a new document in two steps: first the VM reads it, then requests are sent through it.
//!   A request between the two begins on the old root, which is in force no more. On a sidecar that nobody
//!   calls again it would be the last, so the old root must not take its place back for it.

use std::rc::{Rc, Weak};

use crate::host::Host;
use crate::root::Active;

/// So long a document that was just read is the one in force, whatever streams begin on others. The two
/// steps are one turn of a worker's event loop apart.
const SETTLES_NS: u64 = 2_000_000_000;

/// The root contexts in force on one VM, one for each role.
pub struct InForce<H> {
    places: Vec<Place<H>>,
}

/// A root context that speaks for the VM, for one role.
struct Place<H> {
    label: &'static str,
    root: u32,
    since_ns: u64,
    // Gone with its root context, as when the config of proxies was replaced by one without the module.
    active: Weak<Active<H>>,
}

// === impl InForce ===

impl<H: Host> InForce<H> {
    /// Of a VM that was given no document yet.
    pub const fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// Whether this root context speaks for its role.
    pub fn has(&self, root: u32, active: &Active<H>) -> bool {
        self.place(active).is_some_and(|place| place.root == root)
    }

    /// The document that speaks for the role of this one.
    pub fn instead_of(&self, active: &Active<H>) -> Option<Rc<Active<H>>> {
        self.place(active)?.active.upgrade()
    }

    /// A root context has read its document.
    pub fn configured(&mut self, root: u32, active: &Rc<Active<H>>) {
        self.place_is_taken(root, active, active.host.now_ns());
    }

    /// A stream begins on a root context. Where another one has long been in force, this one is again.
    pub fn begins(&mut self, root: u32, active: &Rc<Active<H>>) {
        if self.has(root, active) {
            return;
        }
        let now = active.host.now_ns();
        // A clock that is turned back must not keep a place for ever.
        let just_read = |place: &Place<H>| place.active.strong_count() > 0 && now.abs_diff(place.since_ns) < SETTLES_NS;
        if self.place(active).is_some_and(just_read) {
            active.keep_ticking();
        } else {
            self.place_is_taken(root, active, now);
            active.resume();
        }
    }

    fn place(&self, active: &Active<H>) -> Option<&Place<H>> {
        self.places.iter().find(|place| place.label == active.policy.role_label())
    }

    fn place_is_taken(&mut self, root: u32, active: &Rc<Active<H>>, since_ns: u64) {
        let label = active.policy.role_label();
        self.places.retain(|place| place.label != label);
        self.places.push(Place { label, root, since_ns, active: Rc::downgrade(active) });
    }
}

impl<H: Host> Default for InForce<H> {
    fn default() -> Self {
        Self::new()
    }
}
