//! Who may ask the analysis API: the API server says whose a token is, and whether its owner may.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::{client, poll, ports};
use serde_json::{Value, json};

use crate::stage::{SOON, SUMMER, Stage};

#[test]
fn smoke_accounts_that_may_ask_are_answered_and_nobody_else_is() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let api = Api { at: (Ipv4Addr::LOCALHOST, ports::free()).into() };
        let controller = stage.controller_with("a", &["--api-address", &api.at.to_string()])?;
        bed.apply(&format!("{SUMMER}  analysis: {{}}\n"))?;
        bed.apply(ACCOUNTS)?;
        let token = |account: &str, audience: &str| token(bed, account, audience);
        let asker = token("asker", "--audience=graylane")?;
        let answer = poll::until("an answer", SOON, || api.answers(Some(&asker), 200))?;
        ensure!(answer["value"].is_null() && answer["unit"] == "ratio", "{answer}");
        let stranger = token("stranger", "--audience=graylane")?;
        let refused = api.answers(Some(&stranger), 403)?;
        let said = refused["error"]["mend"].as_str().unwrap_or_default();
        ensure!(said.contains("graylane-asker"), "{refused}");
        // A token that somebody else was given is not to be used here.
        api.answers(Some(&token("asker", "--audience=another")?), 401)?;
        api.answers(Some(&token("asker", "--duration=1h")?), 401)?;
        api.answers(Some("garbage"), 401)?;
        api.answers(Some(&format!("{asker}x")), 401)?;
        api.answers(None, 401)?;
        controller.was_never_forbidden()?;
        without_the_right_to_review(bed, &api, &asker)?;
        // Lines are written beside the answers, and so a moment after them.
        poll::until("the reason in the log", SOON, || {
            let log = controller.part.log();
            ensure!(log.contains("tokens cannot be reviewed") && log.contains("tokenreviews"), "{log}");
            Ok(())
        })
    });
}

/// Nobody can say whose a new token is, so nobody is let in by one; who is known already is answered.
fn without_the_right_to_review(bed: &Bed, api: &Api, known: &str) -> Result<()> {
    bed.kubectl(&["delete", "clusterrolebinding", "graylane-reviewer"])?;
    poll::until("the loss of the right", SOON, || {
        api.answers(Some(&token(bed, "asker", "--audience=graylane")?), 503).map(drop)
    })?;
    api.answers(Some(known), 200).map(drop)
}

/// A token of an account in `shop`.
pub fn token(bed: &Bed, account: &str, more: &str) -> Result<String> {
    let said = bed.kubectl(&["-n", "shop", "create", "token", account, more])?;
    Ok(said.stdout.trim().to_owned())
}

/// An analysis API.
pub struct Api {
    pub at: SocketAddr,
}

// === impl Api ===

impl Api {
    /// Asks, and wants this status.
    pub fn answers(&self, token: Option<&str>, wanted: u16) -> Result<Value> {
        let question = json!({"metricName": "success_rate", "labels": {"release": "shop/summer", "lane": "canary"}});
        let body = question.to_string();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST /metrics/analysis HTTP/1.1\r\nhost: api\r\nconnection: close\r\n{token}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = String::from_utf8(client::raw(self.at, request.as_bytes())?)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.starts_with(&format!("HTTP/1.1 {wanted} ")), "not {wanted}: {answer}");
        Ok(serde_json::from_str(body)?)
    }
}

/// One who may ask, and one who may not.
pub const ACCOUNTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: asker, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: shop-asker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: graylane-asker}
subjects: [{kind: ServiceAccount, name: asker, namespace: shop}]
";
