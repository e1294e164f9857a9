//! Claim 1: a request enters its lane by header, query, cookie or a combination, and the right version
//! answers on every hop.

use anyhow::Result;

use super::{CANARY, STABLE, of, took};
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::ask_all;
use crate::http::Ask;

/// Requests of each kind.
const REQUESTS: usize = 20;

/// Checks the claim.
///
/// # Errors
/// When a request is not answered at all.
pub async fn check(stage: &Stage, console: &mut Console) -> Result<()> {
    console.claim("1", "Routing by header, query, cookie and a combination, right on every hop");
    let get = Ask::get;
    let new_app = || get("/checkout/pay").with("x-version", "2.1.0");
    let cases = [
        ("header x-user-group: beta", get("/").with("x-user-group", "beta"), true),
        ("header x-user-group: other", get("/").with("x-user-group", "other"), false),
        ("query env=gray", get("/?lang=en&env=gr%61y"), true),
        ("query env=other", get("/?env=grayish"), false),
        ("cookie tester=yes", get("/").with("cookie", "a=b; tester=yes"), true),
        ("cookie tester=no", get("/").with("cookie", "tester=no"), false),
        ("x-version: 2.1.0 at /checkout/pay", new_app(), true),
        ("the same with cookie optout", new_app().with("cookie", "optout=1"), false),
        ("the same at another path", get("/basket").with("x-version", "2.1.0"), false),
        ("the same with an older version", get("/checkout/pay").with("x-version", "1.9.0"), false),
    ];
    for (what, ask, is_canary) in cases {
        console.progress(what);
        let (answers, _) = ask_all(&stage.entry(true), 2, vec![ask; REQUESTS]).await?;
        let (path, lane) = if is_canary { (CANARY, "canary") } else { (STABLE, "stable") };
        let right = took(&answers, &path);
        let figure = format!("{lane} {}", of(right, REQUESTS));
        let wanted = format!("{lane} {}", of(REQUESTS, REQUESTS));
        console.check(right == REQUESTS, what, figure, wanted);
    }
    console.say(&format!("    canary is {}", CANARY.join(" > ")));
    Ok(())
}
