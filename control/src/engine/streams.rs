//! Streams that are still open in the lanes of a release after those have been withdrawn.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Millis;
use crate::counts::Counted;

/// Streams that outlive their lane, as the status keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Streams {
    /// How many are left, each call counted once, by whoever made it; absent until every proxy has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// The same by the service that serves them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, u64>,
    /// When the lanes were withdrawn, in milliseconds since the Unix epoch.
    pub since_ms: Millis,
    /// When the last one had ended, or counting did, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<Millis>,
}

/// What proxies have told of open streams since then, by service; nothing while one of them has not.
pub(super) fn told_since(counted: &Counted, since_ms: Millis) -> Option<BTreeMap<String, u64>> {
    let mut open = BTreeMap::new();
    for proxy in &counted.expected {
        let told = counted.told.iter().find(|told| told.proxy == *proxy && told.at_ms >= since_ms)?;
        for (service, count) in &told.open {
            *open.entry(service.clone()).or_default() += count;
        }
    }
    Some(open)
}

// === impl Streams ===

impl Streams {
    /// Lanes are withdrawn now.
    pub(super) fn since(now: Millis) -> Self {
        Self { since_ms: now, ..Self::default() }
    }

    /// Whether they are counted.
    pub fn is_counted(&self) -> bool {
        self.until_ms.is_none()
    }

    /// Such as `3 streams are left (cart.shop 1, orders.shop 2)`; empty where none is.
    pub fn words(&self) -> String {
        let services: Vec<String> = self.services.iter().map(|(service, count)| format!("{service} {count}")).collect();
        match self.left {
            None | Some(0) => String::new(),
            Some(1) => format!("1 stream is left ({})", services.join(", ")),
            Some(left) => format!("{left} streams are left ({})", services.join(", ")),
        }
    }

    /// Takes what was told.
    pub(super) fn take(&mut self, open: &BTreeMap<String, u64>) {
        self.left = Some(open.values().fold(0, |sum: u64, count| sum.saturating_add(*count)));
        self.services =
            open.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (name.clone(), *count)).collect();
    }
}
