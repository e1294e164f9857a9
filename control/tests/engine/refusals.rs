//! A document that no proxy would take. The releases were checked before, so this is a mistake of graylane's own;
//! it must not leave a release changed in one namespace and not in another.

use graylane::build::Side;
use graylane::engine::request::Verb;
use graylane::engine::seams::SeamError;
use graylane::engine::status::Phase;

use crate::story::{Story, TWO_STEPS};

fn refuse(story: &Story, namespace: &str) {
    story.world.lock().refused.insert(namespace.into());
}

#[test]
fn a_release_changes_in_every_namespace_or_in_none() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    let before = story.world.lock().held.clone();
    // The gateway's namespace comes first in every order.
    refuse(&story, "shop");
    // The step has raised it; that proxies do not confirm this is not held against it yet.
    story.wait(60_000);
    assert_eq!(story.status().weight, "canary=50%");
    assert_eq!(story.world.lock().held, before, "the gateway would send users where nobody expects them");
    let pass = story.settle();
    assert!(matches!(pass.errors.as_slice(), [(what, SeamError::Refused { .. })] if what == "shop"), "{pass:?}");
    story.world.lock().refused.clear();
    story.until("the second wait", |status| status.step == 3);
    assert_eq!(story.world.lock().weights()["canary"], 5_000);
}

#[test]
fn what_is_taken_back_is_taken_back_where_it_can_be() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the second wait", |status| status.step == 3);
    story.wait(1_000);
    refuse(&story, "shop");
    story.world.ask("summer", Verb::Abort);
    story.wait(1_000);
    assert!(story.world.lock().weights().is_empty(), "a rollback waits for nothing");
}

#[test]
fn releases_of_other_namespaces_go_on() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    refuse(&story, "shop");
    let elsewhere = TWO_STEPS.replace("namespace: istio-ingress", "namespace: pay-ingress");
    story.world.add_in("pay", "winter", &elsewhere);
    story.wait(1_000);
    let inner = story.world.lock();
    for (namespace, side) in [("pay", Side::Inbound), ("pay", Side::Outbound), ("pay-ingress", Side::Gateway)] {
        assert_eq!(inner.groups(namespace, side).len(), 1, "{namespace} {side:?}");
    }
    assert_ne!(inner.objects["shop/summer"].status.phase, Phase::RollingBack);
}
