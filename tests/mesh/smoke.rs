//! The bed itself: real pods answer through real proxies, and istiod brings them our filter.

use anyhow::ensure;
use graylane_tests::bed::{self, Bed};
use graylane_tests::poll::{self, PATIENCE};

use crate::asking::{WITH_AGENT, anybody, takes, tester};
use crate::wiring::{self, Module};

#[test]
fn smoke_testers_reach_the_canary_on_every_hop_through_filters_that_istiod_brought() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), ["orders-stable", "stock-stable"]))?;
        wiring::install(bed)?;
        wiring::push(bed, 1, &Module::file()?)?;
        for (role, namespace, deployment) in FILTERS {
            bed.pod(namespace, deployment)?.admin().wait_for_generation(role, 1, 2)?;
        }
        takes(bed, &tester(), ["orders-canary", "stock-canary"])?;
        takes(bed, &anybody(), ["orders-stable", "stock-stable"])?;
        // Labels are split as Istio's extraStatTags do it.
        let labels =
            [("service", "orders.shop"), ("rollout", "shop/summer"), ("lane", "canary"), ("status_code", "200")];
        let gateway = bed.pod("istio-ingress", "gateway")?;
        poll::until("the count of the tester's request", PATIENCE, || {
            let counted = gateway.stats()?.sum("graylane_requests_total", &labels);
            ensure!(counted == 1.0, "{counted}");
            Ok(())
        })
    });
}

#[test]
fn smoke_an_agent_pulls_the_filter_from_a_registry() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        bed.kubectl(&["-n", "shop", "patch", "deployment", "stock", "--patch", WITH_AGENT])?;
        bed.wait_for_deployments("shop")?;
        let image = bed.push_module(&graylane_tests::paths::filter()?, "graylane/filter", "v1")?;
        wiring::install(bed)?;
        wiring::push(bed, 1, &Module::image(&image))?;
        let stock = bed.pod("shop", "stock")?;
        stock.admin().wait_for_generation("inbound", 1, 2)?;
        poll::until("an answer", PATIENCE, || takes(bed, &anybody(), ["orders-stable", "stock-stable"]))?;
        let labels = [("service", "stock.shop"), ("lane", "stable"), ("direction", "inbound")];
        poll::until("the count of the request", PATIENCE, || {
            let counted = stock.stats()?.sum("graylane_requests_total", &labels);
            ensure!(counted >= 1.0, "{counted}");
            Ok(())
        })
    });
}

/// Every filter of the shop.
const FILTERS: [(&str, &str, &str); 5] = [
    ("gateway", "istio-ingress", "gateway"),
    ("outbound", "shop", "orders"),
    ("inbound", "shop", "orders-canary"),
    ("inbound", "shop", "stock"),
    ("inbound", "shop", "stock-canary"),
];
