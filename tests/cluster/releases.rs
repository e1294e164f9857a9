//! What becomes of releases.

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::poll;
use kube::ResourceExt;
use serde_json::Value;

use crate::stage::{Instance, SOON, SUMMER, Stage};

#[test]
fn smoke_a_release_goes_through_its_steps_with_the_rights_of_its_role_alone() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        // The client of the API server says what it asks for.
        let log = ["--log-format", "json", "--log", "info,kube_client=debug"];
        let controller = stage.controller_with("a", &log)?;
        stage.until_led_by(&[&controller])?;
        bed.apply(SUMMER)?;
        let status = stage.until_gate("summer")?;
        ensure!(status["weights"]["canary"] == 5_000, "{status:#}");
        ensure!(status["proxies"]["expected"] == 7 && status["proxies"]["acknowledged"] == 7, "{status:#}");
        metrics_tell(&controller)?;
        ensure!(stage.release("summer")?.finalizers().iter().any(|one| one == "graylane.io/lanes"));
        let entry = stage.config("edge", "graylane-entry")?;
        ensure!(entry.data.to_string().contains("shop/summer"), "{entry:?}");
        stage.config("shop", "graylane-lanes")?;

        stage.ask("summer", "1", "promote")?;
        stage.until("summer", "waiting for stable", |status| status["waiting"]["reason"] == "ManualHandover")?;
        stage.ask("summer", "2", "promote")?;
        let status = stage.until_phase("summer", "Succeeded")?;
        ensure!(
            status["conditions"].as_array().is_some_and(|all| all.iter().all(|one| one["lastTransitionTime"] != ""))
        );
        events_tell(bed, "Succeeded")?;
        for (series, least) in [("graylane_push_seconds_count", 3.0), ("graylane_controller_writes_total", 5.0)] {
            ensure!(controller.number(series)? >= least, "{series}: {:?}", controller.page("/metrics")?);
        }
        ensure!(controller.page("/healthz")?.0 == 200 && controller.page("/readyz")?.0 == 200);
        passes_are_found_in_the_log(&controller)?;
        controller.was_never_forbidden()
    });
}

/// What the status says at the gate.
fn metrics_tell(controller: &Instance) -> Result<()> {
    poll::until("metrics of the gate", SOON, || {
        for (name, labels, wanted) in [
            ("step", "", 3.0),
            ("acknowledged_ratio", "", 1.0),
            ("proxies", "", 7.0),
            ("weight_ratio", ",lane=\"canary\"", 0.5),
            ("phase", ",phase=\"Paused\"", 1.0),
        ] {
            let series = format!("graylane_release_{name}{{rollout=\"shop/summer\"{labels}}}");
            let (_, page) = controller.page("/metrics")?;
            let line = page.lines().find_map(|line| line.strip_prefix(&series)).with_context(|| format!("no {series}"));
            let told: f64 = line?.trim().parse()?;
            ensure!(told == wanted, "{series} is {told}, not {wanted}");
        }
        Ok(())
    })
}

/// Each line of a pass names it, those of calls that it makes as well.
fn passes_are_found_in_the_log(controller: &Instance) -> Result<()> {
    let lines = controller.log_lines()?;
    let is_write = |line: &&Value| {
        let text = line.to_string();
        text.contains("/envoyfilters/graylane-") && text.contains("PATCH")
    };
    let writes: Vec<&Value> = lines.iter().filter(is_write).collect();
    ensure!(!writes.is_empty(), "the log has no write of an EnvoyFilter: {}", controller.part.log());
    for line in writes {
        let spans = line["spans"].as_array().into_iter().flatten();
        let id = spans.filter(|span| span["name"] == "pass").find_map(|span| span["trace_id"].as_str());
        let is_id = |id: &str| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ensure!(id.is_some_and(|id| is_id(id) && id.bytes().any(|byte| byte != b'0')), "no trace id: {line}");
    }
    Ok(())
}

fn events_tell(bed: &Bed, reason: &str) -> Result<()> {
    let args = ["get", "events.events.k8s.io", "--namespace=shop", "-o", "jsonpath={.items[*].reason}"];
    poll::until(&format!("an event {reason}"), SOON, || {
        let reasons = bed.kubectl(&args)?.stdout;
        reasons.split(' ').find(|one| *one == reason).map(drop).with_context(|| format!("there are {reasons}"))
    })
}

#[test]
fn a_deleted_release_goes_only_after_its_lanes_have_left_the_proxies() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = stage.controller("a")?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        stage.town.cut_off("gateway");
        bed.kubectl(&["delete", "grayrelease", "summer", "--namespace=shop", "--wait=false"])?;
        let status = stage.until("summer", "missing the gateway", |status| {
            status["phase"] == "RollingBack" && status["proxies"]["missing"].to_string().contains("edge/gateway")
        })?;
        ensure!(status["weights"].as_object().is_none_or(|all| all.values().all(|weight| weight == 0)), "{status:#}");
        stage.town.mend();
        poll::until_true("its end", SOON, || stage.release("summer").is_err())?;
        let entry = stage.config("edge", "graylane-entry")?.data.to_string();
        ensure!(!entry.contains("shop/summer"), "{entry}");
        controller.was_never_forbidden()
    });
}

#[test]
fn of_two_releases_in_one_group_the_older_one_goes_first() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let _controller = stage.controller("a")?;
        bed.apply(SUMMER)?;
        stage.until("summer", "begun", |status| status["phase"] == "Progressing" || status["phase"] == "Paused")?;
        bed.apply(&SUMMER.replace("name: summer", "name: winter"))?;
        let status =
            stage.until("winter", "waiting for its turn", |status| status["waiting"]["reason"] == "GroupBusy")?;
        ensure!(status["message"].as_str().is_some_and(|text| text.contains("shop/summer")), "{status:#}");
        stage.until_gate("summer")?;
        stage.ask("summer", "1", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        stage.until_gate("winter")?;
        Ok(())
    });
}

#[test]
fn smoke_one_bad_object_harms_no_other() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let _controller = stage.controller("a")?;
        // What the API server lets through: a service that is not there, words that are no request, and a
        // status that somebody has damaged.
        bed.apply(
            &SUMMER.replace("name: summer", "name: bad").replace("checkout", "other").replace("orders", "nobody"),
        )?;
        let status = stage.until_phase("bad", "Invalid")?;
        ensure!(status["message"].as_str().is_some_and(|text| text.contains("no service `nobody`")), "{status:#}");
        bed.apply(SUMMER)?;
        stage.until("summer", "begun", |status| status["attempt"] == 1)?;
        let garbage = "graylane.io/request=promote!";
        bed.kubectl(&["annotate", "--overwrite", "grayrelease", "summer", "--namespace=shop", garbage])?;
        stage.until_gate("summer")?;
        events_tell(bed, "Ignored")?;
        let damage = r#"{"status": {"attempt": 99, "message": "", "handledRequest": "x"}}"#;
        let args = [
            "patch",
            "grayrelease",
            "summer",
            "--namespace=shop",
            "--subresource=status",
            "--type=merge",
            "-p",
            damage,
        ];
        bed.kubectl(&args)?;
        stage.ask("summer", "1", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        Ok(())
    });
}

#[test]
fn a_raise_waits_for_a_proxy_that_is_cut_off_and_names_it_and_a_rollback_does_not_wait() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let _controller = stage.controller("a")?;
        let steps = "[{weight: 5%}, {gate: {name: ask}}, {weight: 50%}, {weight: 100%}]";
        let head = SUMMER.split("steps:").next().unwrap_or_default();
        bed.apply(&format!("{head}steps: {steps}\n"))?;
        stage.until("summer", "at its gate", |status| status["pause"]["reason"] == "Gate")?;
        stage.town.cut_off("stock-stable");
        stage.ask("summer", "1", "promote")?;
        let status = stage.until("summer", "waiting for a proxy", |status| {
            status["waiting"]["reason"] == "Acknowledgement"
                && status["waiting"]["message"].as_str().is_some_and(|text| text.contains("shop/stock-stable"))
        })?;
        ensure!(status["weights"]["canary"] == 5_000, "{status:#}");
        stage.ask("summer", "2", "abort")?;
        let gone = |status: &serde_json::Value| {
            status["weights"].as_object().is_none_or(|all| all.values().all(|one| one == 0))
        };
        let status = stage.until("summer", "off", gone)?;
        ensure!(status["proxies"]["acknowledged"].as_u64() < status["proxies"]["expected"].as_u64(), "{status:#}");
        Ok(())
    });
}

#[test]
fn a_template_is_copied_to_stable_and_comes_back_with_undo() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = stage.controller("a")?;
        let release = format!("{SUMMER}  promotion: {{strategy: copyTemplate}}\n");
        bed.apply(&release)?;
        stage.until_gate("summer")?;
        let image = |deployment: &str| -> Result<String> {
            let path = "jsonpath={.spec.template.spec.containers[0].image}";
            Ok(bed.kubectl(&["get", "deployment", deployment, "--namespace=shop", "-o", path])?.stdout)
        };
        stage.ask("summer", "1", "promote")?;
        let status = stage.until_phase("summer", "Succeeded")?;
        ensure!(image("orders-stable")? == "orders:2" && image("stock-stable")? == "stock:2", "{status:#}");
        let labels = [
            "get",
            "deployment",
            "orders-stable",
            "--namespace=shop",
            "-o",
            "jsonpath={.spec.template.metadata.labels}",
        ];
        let labels = bed.kubectl(&labels)?.stdout;
        ensure!(labels.contains(r#""version":"stable""#) && !labels.contains("graylane.io/lane"), "{labels}");

        stage.ask("summer", "2", "undo")?;
        stage.until_phase("summer", "RolledBack")?;
        ensure!(image("orders-stable")? == "orders:1" && image("stock-stable")? == "stock:1");
        controller.was_never_forbidden()
    });
}
