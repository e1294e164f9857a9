//! The command line with a controller that answers.

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed, Said};
use graylane_tests::poll;
use serde_json::Value;

use crate::stage::{SOON, SUMMER, Stage};

/// A release that is promoted by copying templates.
const COPIED: &str = "  promotion: {strategy: copyTemplate}\n";

#[test]
fn smoke_every_verb_is_answered_and_status_says_by_its_exit_code_how_it_ends() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = stage.controller("a")?;
        stage.until_led_by(&[&controller])?;
        let user = User { bed };
        let file = bed.folder().join("summer.yaml");
        std::fs::write(&file, format!("{SUMMER}{COPIED}"))?;
        user.says(&["apply", "-f", file.to_str().context("the path is text")?], 0, "created")?;
        // Right after `apply`, what is waited for is about the spec that was applied.
        user.ends(6, "ask")?;

        user.asks("pause", 0, "pause done")?;
        user.asks("pause", 1, "somebody has paused it already")?;
        user.ends(6, "asked for by `pause`")?;
        user.asks("resume", 0, "resume done")?;
        user.ends(6, "ask")?;
        user.asks("resume", 1, "`promote` does that")?;

        user.asks("abort", 0, "abort done")?;
        user.ends(5, "RolledBack")?;
        user.asks("promote", 1, "")?;
        user.asks("retry", 0, "retry done")?;
        user.ends(6, "ask")?;

        user.asks("promote", 0, "promote done")?;
        user.ends(0, "Succeeded")?;
        ensure!(user.image("orders-stable")? == "orders:2", "{}", user.image("orders-stable")?);
        user.asks("undo", 0, "undo done")?;
        user.ends(5, "RolledBack")?;
        ensure!(user.image("orders-stable")? == "orders:1", "{}", user.image("orders-stable")?);

        user.asks("retry", 0, "retry done")?;
        user.ends(6, "ask")?;
        user.says(&["promote", "summer", "-n", "shop", "--full"], 0, "promote --full done")?;
        user.ends(0, "Succeeded")?;
        user.selects()
    });
}

/// Somebody at a shell.
struct User<'a> {
    bed: &'a Bed,
}

// === impl User ===

impl User<'_> {
    fn says(&self, words: &[&str], code: i32, text: &str) -> Result<Said> {
        let said = self.bed.graylane(words)?;
        let heard = format!("{}{}", said.stdout, said.stderr);
        ensure!(said.status.code() == Some(code) && heard.contains(text), "{words:?}: {said:?}");
        Ok(said)
    }

    fn asks(&self, verb: &str, code: i32, text: &str) -> Result<()> {
        self.says(&[verb, "summer", "-n", "shop", "--timeout", "30s"], code, text).map(drop)
    }

    fn ends(&self, code: i32, text: &str) -> Result<()> {
        self.says(&["status", "summer", "-n", "shop", "--timeout", "60s"], code, text).map(drop)
    }

    fn image(&self, deployment: &str) -> Result<String> {
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        Ok(self.bed.kubectl(&["get", "deployment", deployment, "-n", "shop", "-o", path])?.stdout)
    }

    /// By labels, by templates, and by the first letters.
    fn selects(&self) -> Result<()> {
        self.bed.apply(&SUMMER.replace("name: summer", "name: winter, labels: {team: b}"))?;
        self.bed.kubectl(&["label", "gr", "summer", "-n", "shop", "team=a"])?;
        let names = |selector: &str| self.says(&["list", "-A", "-l", selector, "-o", "name"], 0, "");
        ensure!(names("team=a")?.stdout == "grayrelease.graylane.io/summer\n", "{:?}", names("team=a")?);
        ensure!(names("team!=a")?.stdout == "grayrelease.graylane.io/winter\n", "{:?}", names("team!=a")?);
        self.says(&["get", "-l", "team in (a)", "-n", "shop"], 0, "Name:       summer")?;
        self.says(&["list", "-l", "=", "-n", "shop"], 1, "")?;
        // The same template says the same as kubectl's.
        for template in [
            "jsonpath={.items[*].metadata.name}",
            r#"jsonpath={range .items[*]}{.metadata.name}{"\t"}{.status.phase}{"\n"}{end}"#,
            r"jsonpath={.items[?(@.metadata.name=='summer')].metadata.annotations.graylane\.io/request}",
            "jsonpath={.items[0].status.weights}",
        ] {
            // The release moves on between the two answers.
            poll::until("the same answer", SOON, || {
                let ours = self.says(&["list", "-n", "shop", "-o", template], 0, "")?.stdout;
                let theirs = self.bed.kubectl(&["get", "gr", "-n", "shop", "-o", template])?.stdout;
                ensure!(ours == theirs, "{template}: {ours:?}, kubectl {theirs:?}");
                Ok(())
            })?;
        }
        let one = self.says(&["get", "summer", "-n", "shop", "-o", "jsonpath={.status.phase}"], 0, "")?;
        ensure!(one.stdout == "Succeeded", "{one:?}");
        let next = self.says(&["__complete", "promote", "-n", "shop", "su"], 0, "")?.stdout;
        ensure!(next.starts_with("summer\t"), "{next}");
        ensure!(!next.contains("winter"), "{next}");
        Ok(())
    }
}

#[test]
fn a_controller_of_some_namespaces_leaves_the_others_alone() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        bed.apply("{apiVersion: v1, kind: Namespace, metadata: {name: pay}}")?;
        bed.apply(&SUMMER.replace("namespace: shop", "namespace: pay").replace("name: summer", "name: winter"))?;
        let controller = stage.controller_with("a", &["--watch-namespace", "shop,edge"])?;
        stage.until_led_by(&[&controller])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        let winter = bed.kubectl(&["get", "gr", "winter", "-n", "pay", "-o", "json"])?.stdout;
        let winter: Value = serde_json::from_str(&winter)?;
        ensure!(winter["status"].is_null() && winter["metadata"]["finalizers"].is_null(), "{winter}");
        let wrote = bed
            .writes()?
            .into_iter()
            .find(|write| write.object.starts_with("pay/") && write.user.ends_with(":graylane"));
        ensure!(wrote.is_none(), "{wrote:?}");
        drop(controller);
        // One that does not see the gateways says so instead of moving nobody.
        bed.kubectl(&["delete", "gr", "summer", "-n", "shop", "--wait=false"])?;
        let narrow = stage.controller_with("b", &["--watch-namespace", "shop"])?;
        stage.until_led_by(&[&narrow])?;
        bed.apply(&SUMMER.replace("name: summer", "name: autumn").replace("group: checkout", "group: other"))?;
        stage.until("autumn", "refused", |status| {
            let message = status["message"].as_str().unwrap_or_default();
            status["phase"] == "Invalid"
                && message.contains("spec.entry.gateways[0].namespace: no gateway runs in namespace `edge`")
                && message.contains("`--watch-namespace`")
        })?;
        narrow.was_never_forbidden()
    });
}

#[test]
fn an_uninstall_that_proxies_do_not_confirm_keeps_the_wiring_and_says_so() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = stage.controller("a")?;
        stage.until_led_by(&[&controller])?;
        bed.graylane(&["install", "-n", "shop", "--yes", "--entry-inbound", "orders"])?.done()?;
        bed.apply(&SUMMER.replace("gateways: [{namespace: edge}]", "inbound: [orders]"))?;
        stage.until_gate("summer")?;
        drop(controller);
        // The release goes without a controller, so its documents stay.
        bed.kubectl(&[
            "patch",
            "gr",
            "summer",
            "-n",
            "shop",
            "--type=json",
            "-p",
            r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
        ])?;
        bed.kubectl(&["delete", "gr", "summer", "-n", "shop"])?;
        let user = User { bed };
        stage.town.cut_off("orders-stable");
        let uninstall = ["uninstall", "-n", "shop", "--yes", "--timeout", "3s"];
        let said = user.says(&uninstall, 3, "not confirmed: shop/orders-stable")?;
        ensure!(said.stdout.contains("graylane, graylane-entrypoint-orders"), "{said:?}");
        let filters = || bed.kubectl(&["get", "envoyfilters", "-n", "shop", "-o", "name"]).map(|said| said.stdout);
        ensure!(filters()?.contains("graylane-entrypoint-orders"), "the wiring was taken away: {}", filters()?);
        stage.town.mend();
        poll::until("the proxies to confirm", SOON, || user.says(&uninstall, 0, "deleted").map(drop))?;
        ensure!(filters()?.is_empty(), "{}", filters()?);
        Ok(())
    });
}
