//! The bed itself: what it is asked to do happens on a real API server.

use std::time::Duration;

use anyhow::ensure;
use graylane_tests::bed::{self, Bed, Write};
use graylane_tests::poll;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn smoke_an_applied_deployment_gets_its_replica_set_and_loses_it_when_deleted() {
    bed::tell(&Bed::cluster(), |bed| {
        bed.apply(DEPLOYMENT)?;
        let sets: Api<ReplicaSet> = Api::namespaced(bed.client(), "shop");
        let count_is = |wanted: usize| {
            poll::until(&format!("{wanted} replica sets"), SOON, || {
                let count = bed.block_on(sets.list(&ListParams::default()))?.items.len();
                ensure!(count == wanted, "there are {count}");
                Ok(())
            })
        };
        count_is(1)?;
        bed.kubectl(&["delete", "deployment", "orders", "-n", "shop"])?;
        count_is(0)?;
        let deleted = |write: &Write| write.verb == "delete" && write.object == "shop/orders";
        let writes = bed.writes()?;
        ensure!(writes.iter().any(|write| deleted(write) && write.agent.starts_with("kubectl")), "{writes:#?}");
        let usage = bed.api_server().usage()?;
        ensure!(!usage.cpu.is_zero() && usage.resident_kb > 50_000, "{usage:?}");
        Ok(())
    });
}

#[test]
fn smoke_objects_survive_a_killed_api_server() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        bed.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: default}, data: {a: b}}")?;
        bed.api_server().kill()?;
        let maps: Api<ConfigMap> = Api::default_namespaced(bed.client());
        ensure!(bed.block_on(maps.get("kept")).is_err(), "a killed API server answered");
        bed.api_server().start()?;
        let kept = bed.block_on(maps.get("kept"))?;
        ensure!(kept.data.is_some_and(|data| data.get("a").is_some_and(|value| value == "b")));
        Ok(())
    });
}

#[test]
fn smoke_a_service_account_may_do_what_its_role_says_and_no_more() {
    bed::tell(&Bed::cluster(), |bed| {
        bed.apply(READER)?;
        let kubeconfig = bed.kubeconfig_of("shop", "reader")?;
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        bed.kubectl(&[&kubeconfig, "get", "configmaps", "-n", "shop"])?;
        let refused = bed.try_kubectl(&[&kubeconfig, "get", "secrets", "-n", "shop"])?;
        ensure!(refused.stderr.contains("forbidden"), "{refused:?}");
        Ok(())
    });
}

#[test]
fn smoke_a_flaky_way_to_the_api_server_answers_what_it_is_told() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        let flaky = bed.flaky_api_server()?;
        let kubeconfig = format!("--kubeconfig={}", flaky.redirect(bed.kubeconfig())?.display());
        let get = || bed.try_kubectl(&[&kubeconfig, "get", "--raw", "/api/v1/namespaces", "--request-timeout=3s"]);
        ensure!(get()?.status.success(), "{:?}", get()?);
        flaky.answer_with(500, 100)?;
        ensure!(!get()?.status.success(), "a failing API server was content");
        flaky.hang()?;
        let hung = get()?;
        ensure!(hung.stderr.contains("Timeout") || hung.stderr.contains("deadline"), "{hung:?}");
        flaky.heal()?;
        ensure!(get()?.status.success(), "{:?}", get()?);
        Ok(())
    });
}

const DEPLOYMENT: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec: {containers: [{name: app, image: graylane-app}]}
";

const READER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: shop}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: shop}]
";
