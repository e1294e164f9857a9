//! The files of `istio/install`.

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::paths;

use crate::stage::{SUMMER, Stage};

#[test]
fn smoke_the_one_file_and_the_kustomization_are_the_same_and_apply() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        let root = paths::root().join("istio/install");
        let folder = root.to_str().context("the path is text")?;
        let file = format!("{folder}/graylane.yaml");
        // Twice: what is there already does not hinder.
        for _ in 0..2 {
            bed.kubectl(&["apply", "--server-side", "-f", &file])?;
            let said = bed.kubectl(&["apply", "--server-side", "-k", folder])?.stdout;
            ensure!(said.contains("deployment.apps/graylane"), "{said}");
        }
        // By the kustomization, nothing is another than by the file.
        let diff = bed.kubectl(&["diff", "--server-side", "-k", folder])?;
        ensure!(diff.stdout.is_empty(), "{}", diff.stdout);
        pods_keep_the_rules(bed)
    });
}

/// The namespace asks for the strictest rules of Kubernetes, and the Deployment's pods keep them.
fn pods_keep_the_rules(bed: &Bed) -> Result<()> {
    let template = ["get", "deployment", "graylane", "--namespace=graylane-system", "-o", "jsonpath={.spec.template}"];
    let template: serde_json::Value = serde_json::from_str(&bed.kubectl(&template)?.stdout)?;
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "one", "namespace": "graylane-system"}, "spec": template["spec"]});
    let path = bed.folder().join("pod.json");
    std::fs::write(&path, pod.to_string())?;
    let said = bed.kubectl(&["create", "-f", path.to_str().context("the path is text")?])?;
    ensure!(!said.stderr.contains("Warning"), "{}", said.stderr);
    Ok(())
}

#[test]
fn a_controller_without_a_right_says_which_and_goes_on() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        bed.kubectl(&["delete", "clusterrolebinding", "graylane-promoter"])?;
        let controller = stage.controller("a")?;
        bed.apply(&format!("{SUMMER}  promotion: {{strategy: copyTemplate}}\n"))?;
        stage.until_gate("summer")?;
        stage.ask("summer", "1", "promote")?;
        stage.until("summer", "copying", |status| status["handover"]["stage"] == "Copying")?;
        graylane_tests::poll::until("the reason", crate::stage::SOON, || {
            let log = controller.part.log();
            ensure!(log.contains("deployments.apps") && log.contains("forbidden"), "{log}");
            Ok(())
        })?;
        bed.kubectl(&[
            "create",
            "clusterrolebinding",
            "graylane-promoter",
            "--clusterrole=graylane-promoter",
            "--serviceaccount=graylane-system:graylane",
        ])?;
        stage.until_phase("summer", "Succeeded")?;
        Ok(())
    });
}

/// As `istio/install/README.md` tells those who give it a few namespaces only.
#[test]
fn a_controller_of_few_namespaces_needs_its_role_in_those_alone() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        bed.kubectl(&["delete", "clusterrolebinding", "graylane-controller"])?;
        for namespace in ["shop", "edge"] {
            bed.kubectl(&[
                "-n",
                namespace,
                "create",
                "rolebinding",
                "graylane-controller",
                "--clusterrole=graylane-controller",
                "--serviceaccount=graylane-system:graylane",
            ])?;
        }
        let who = "--as=system:serviceaccount:graylane-system:graylane";
        let elsewhere =
            bed.try_kubectl(&["auth", "can-i", "list", "grayreleases.graylane.io", "-n", "default", who])?;
        ensure!(elsewhere.stdout.trim() == "no", "{elsewhere:?}");
        let controller = stage.controller_with("a", &["--watch-namespace", "shop,edge"])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        stage.ask("summer", "1", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        ensure!(controller.page("/readyz")?.0 == 200, "{:?}", controller.page("/readyz")?);
        controller.was_never_forbidden()
    });
}
