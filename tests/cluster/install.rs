//! The files of `istio/install`.

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::{paths, poll};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::stage::{SOON, SUMMER, Stage};

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
        poll::until("the reason", SOON, || {
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

/// What it needs, and beside each the nearest things that it must not: the role is wide enough by all other stories, and
/// not too wide by this one.
#[test]
fn an_installed_controller_may_do_what_it_needs_and_nothing_beside() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        installed(bed)?;
        for asked in NEEDED {
            ensure!(may(bed, asked)?, "it may not {asked}");
        }
        let too_much = FORBIDDEN.iter().filter_map(|asked| match may(bed, asked) {
            Ok(false) => None,
            Ok(true) => Some(Ok(*asked)),
            Err(error) => Some(Err(error)),
        });
        let too_much = too_much.collect::<Result<Vec<_>>>()?;
        ensure!(too_much.is_empty(), "it may {}", too_much.join("; "));
        Ok(())
    });
}

#[test]
fn what_an_optional_role_gives_goes_with_its_binding() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        installed(bed)?;
        for (role, rights) in OPTIONAL {
            for asked in *rights {
                ensure!(may(bed, asked)?, "it may not {asked}, with {role}");
            }
            bed.kubectl(&["delete", "clusterrolebinding", role])?;
            for asked in *rights {
                // The API server hears of it a moment later.
                poll::until(&format!("no right to {asked}, without {role}"), SOON, || {
                    ensure!(!may(bed, asked)?, "it may");
                    Ok(())
                })?;
            }
        }
        for asked in NEEDED {
            ensure!(may(bed, asked)?, "it may not {asked}, without the optional roles");
        }
        Ok(())
    });
}

fn installed(bed: &Bed) -> Result<()> {
    bed.apply(&std::fs::read_to_string(paths::root().join("istio/install/graylane.yaml"))?)?;
    // Roles hold a moment after they are there.
    poll::until_true("its rights", SOON, || may(bed, "watch pods -n shop").unwrap_or(false))
}

/// Whether the installed account may do something, in the words of `kubectl auth can-i`. The API server is asked without
/// kubectl, which leaves the group out of what it asks for kinds that are not there.
fn may(bed: &Bed, asked: &str) -> Result<bool> {
    let spec = SubjectAccessReviewSpec {
        user: Some("system:serviceaccount:graylane-system:graylane".into()),
        groups: Some(vec!["system:serviceaccounts".into(), "system:authenticated".into()]),
        ..request(asked)?
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(bed.client());
    let answer = bed.block_on(reviews.create(&PostParams::default(), &review))?;
    Ok(answer.status.context("no answer")?.allowed)
}

/// `VERB RESOURCE.GROUP[/NAME] [-n NAMESPACE] [--subresource=NAME]`, or `VERB /PATH`; without a namespace, all are meant.
fn request(asked: &str) -> Result<SubjectAccessReviewSpec> {
    let (verb, rest) = asked.split_once(' ').context("a verb and what it is for")?;
    let verb = Some(verb.to_owned());
    if rest.starts_with('/') {
        let non_resource_attributes = Some(NonResourceAttributes { path: Some(rest.into()), verb });
        return Ok(SubjectAccessReviewSpec { non_resource_attributes, ..SubjectAccessReviewSpec::default() });
    }
    let mut words = rest.split(' ');
    let kind = words.next().unwrap_or_default();
    let (kind, name) = kind.split_once('/').map_or((kind, None), |(kind, name)| (kind, Some(name.to_owned())));
    let (resource, group) = kind.split_once('.').unwrap_or((kind, if kind == "*" { "*" } else { "" }));
    let (resource, group) = (Some(resource.to_owned()), Some(group.to_owned()));
    let mut attributes = ResourceAttributes { verb, resource, group, name, ..ResourceAttributes::default() };
    while let Some(word) = words.next() {
        match word.strip_prefix("--subresource=") {
            Some(subresource) => attributes.subresource = Some(subresource.to_owned()),
            None if word == "-n" => attributes.namespace = words.next().map(str::to_owned),
            None => anyhow::bail!("`{word}` in `{asked}`"),
        }
    }
    Ok(SubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SubjectAccessReviewSpec::default() })
}

const NEEDED: &[&str] = &[
    "watch grayreleases.graylane.io",
    "patch grayreleases.graylane.io/summer -n shop",
    "update grayreleases.graylane.io --subresource=status -n shop",
    "watch envoyfilters.networking.istio.io",
    "create envoyfilters.networking.istio.io -n shop",
    "patch envoyfilters.networking.istio.io/graylane-entry -n edge",
    "update envoyfilters.networking.istio.io/graylane-lanes -n shop",
    "patch wasmplugins.extensions.istio.io/graylane-entry-inbound -n shop",
    "watch virtualservices.networking.istio.io",
    "watch destinationrules.networking.istio.io",
    "watch pods",
    "watch services",
    "watch endpointslices.discovery.k8s.io",
    "watch deployments.apps",
    "watch replicasets.apps",
    "watch rollouts.argoproj.io",
    "create events.events.k8s.io -n shop",
    "create leases.coordination.k8s.io -n graylane-system",
    "patch leases.coordination.k8s.io/graylane -n graylane-system",
    "patch pods -n graylane-system",
];

/// Rights that come by a binding which may be left out.
const OPTIONAL: &[(&str, &[&str])] = &[
    ("graylane-promoter", &["update deployments.apps -n shop"]),
    ("graylane-argo", &["patch rollouts.argoproj.io --subresource=status -n shop"]),
    (
        "graylane-reviewer",
        &["create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io"],
    ),
];

/// With all optional roles bound.
const FORBIDDEN: &[&str] = &[
    // Of what it writes: other names, other ways, other places.
    "create grayreleases.graylane.io -n shop",
    "update grayreleases.graylane.io/summer -n shop",
    "delete grayreleases.graylane.io/summer -n shop",
    "patch envoyfilters.networking.istio.io/graylane -n shop",
    "patch envoyfilters.networking.istio.io/others -n shop",
    "update envoyfilters.networking.istio.io/others -n istio-system",
    "delete envoyfilters.networking.istio.io/graylane-entry -n edge",
    "deletecollection envoyfilters.networking.istio.io -n shop",
    "patch wasmplugins.extensions.istio.io/others -n shop",
    "delete wasmplugins.extensions.istio.io/graylane-inbound -n shop",
    "patch leases.coordination.k8s.io/others -n graylane-system",
    "delete leases.coordination.k8s.io/graylane -n graylane-system",
    "create leases.coordination.k8s.io -n shop",
    "patch leases.coordination.k8s.io/graylane -n kube-system",
    "patch pods -n shop",
    "delete pods -n graylane-system",
    "create pods -n graylane-system",
    "create pods --subresource=exec -n shop",
    "get pods --subresource=log -n shop",
    "delete events.events.k8s.io -n shop",
    // Of what it reads or moves.
    "patch virtualservices.networking.istio.io/orders -n shop",
    "create virtualservices.networking.istio.io -n shop",
    "update destinationrules.networking.istio.io/orders -n shop",
    "create deployments.apps -n shop",
    "patch deployments.apps/orders -n shop",
    "delete deployments.apps/orders -n shop",
    "update deployments.apps --subresource=scale -n shop",
    "update replicasets.apps -n shop",
    "update rollouts.argoproj.io -n shop",
    "patch rollouts.argoproj.io/orders -n shop",
    "patch services/orders -n shop",
    // What is none of its business.
    "get secrets -n shop",
    "list secrets",
    "get secrets -n graylane-system",
    "get configmaps -n shop",
    "get configmaps -n graylane-system",
    "update configmaps -n istio-system",
    "list nodes",
    "patch namespaces/shop",
    "create serviceaccounts --subresource=token -n graylane-system",
    "escalate clusterroles.rbac.authorization.k8s.io",
    "bind clusterroles.rbac.authorization.k8s.io",
    "update clusterrolebindings.rbac.authorization.k8s.io",
    "create rolebindings.rbac.authorization.k8s.io -n shop",
    "impersonate users",
    "patch customresourcedefinitions.apiextensions.k8s.io/grayreleases.graylane.io",
    "update validatingwebhookconfigurations.admissionregistration.k8s.io",
    "post /metrics/analysis",
    "* *",
];
