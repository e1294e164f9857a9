//! `graylane explain`: where a request would go, and why. Runs the decision that the filter runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use graylane_policy::Policy;
use graylane_policy::explain::{Explanation, Request, explain};
use graylane_policy::raw::{RawConfig, Role};
use hyper::Uri;

use super::render::{SideArgs, checked_document};
use super::{Exit, Output, print, print_json};
use crate::release::units::Time;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Release file with one or more releases; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The request, such as `http://orders.example.com/pay?env=beta` or `/pay`
    url: Uri,
    /// Header of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Method of the request
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// Host of the request, if not the one of the URL
    #[arg(long)]
    host: Option<String>,
    /// Identity of the peer's certificate, such as `spiffe://cluster.local/ns/shop/sa/web`
    #[arg(long, value_name = "URI")]
    peer: Option<String>,
    /// Claim of a verified token; dots step into objects; may be given several times
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// Label `graylane.io/lane` of the calling pod
    #[arg(long, value_name = "LANE")]
    pod_lane: Option<String>,
    /// Time of the request; default is now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    side: SideArgs,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let document = checked_document(&args.file, args.side.side(), 1)?;
    let policy = Policy::check(&document)?;
    let explanation = explain(&policy, &request(args, &document)?);
    match args.output {
        Output::Text => print(&text(&explanation))?,
        Output::Json => print_json(&explanation)?,
    }
    Ok(Exit::Done)
}

fn request(args: &Args, document: &RawConfig) -> anyhow::Result<Request> {
    let authority = match (&args.host, args.url.authority()) {
        (Some(host), _) => host.clone(),
        (None, Some(authority)) => authority.to_string(),
        (None, None) => bail!("the request has no host; write http://HOST{} or add --host HOST", args.url),
    };
    Ok(Request {
        method: args.method.clone(),
        authority,
        path: args.url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: as_the_filter_sees_them(&args.headers, document),
        peer: args.peer.clone(),
        claims: args.claims.iter().cloned().collect::<BTreeMap<_, _>>(),
        pod_lane: args.pod_lane.clone(),
        now_unix_ms: now_unix_ms(args.at.as_deref())?,
    })
}

/// Before the filter runs, Envoy's early header mutation has taken the route header away, and on a
/// gateway moved what clients say about lanes under names that no route matches.
fn as_the_filter_sees_them(headers: &[(String, String)], document: &RawConfig) -> Vec<(String, Vec<u8>)> {
    let is_gateway = document.role == Role::Gateway;
    let is_mark = |name: &str| {
        let carried = document.groups.iter().any(|group| group.carried_header.eq_ignore_ascii_case(name));
        let baggage = name.eq_ignore_ascii_case("baggage") && document.groups.iter().any(|group| group.baggage);
        carried || baggage
    };
    let gone = |name: &str| {
        name.eq_ignore_ascii_case("x-graylane-route") || is_gateway && name.eq_ignore_ascii_case("x-graylane-cohort")
    };
    let kept = headers.iter().filter(|(name, _)| !gone(name));
    kept.map(|(name, value)| {
        let moved = is_gateway && is_mark(name);
        let name = if moved { format!("x-graylane-untrusted-{name}") } else { name.clone() };
        (name, value.clone().into_bytes())
    })
    .collect()
}

fn now_unix_ms(at: Option<&str>) -> anyhow::Result<u64> {
    match at {
        Some(at) => Ok(Time(at.into()).unix().context("--at: write it like `2027-01-31T08:00:00Z`")? * 1000),
        None => Ok(u64::try_from(jiff::Timestamp::now().as_millisecond())?),
    }
}

fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    for group in &explanation.groups {
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<12}{value}");
        };
        line("group", format!("{} (release {})", group.group, group.rollout));
        line("lane", group.lane.clone());
        line("why", group.why.clone());
        line("cohort", group.cohort.clone());
        if let Some(rule) = &group.rule {
            line("rule", rule.clone());
        }
        if let Some(slot) = group.slot {
            line("slot", format!("{slot} of 10000"));
        }
        for marker in &group.markers {
            line("marker", format!("{} = {} (from {})", marker.name, marker.value, marker.source));
        }
        if group.issues_cookie {
            line("cookie", "issued; its unit is drawn at random, so another client may get another lane".into());
        }
    }
    let served = match &explanation.destination {
        Some(to) if to.fallback => {
            format!("{} in lane {}; no version of it is ready in the lane of the request", to.service, to.lane)
        }
        Some(to) => format!("{} in lane {}", to.service, to.lane),
        None => "whoever its routes say; the host is no member of a release".into(),
    };
    let _ = writeln!(text, "{:<12}{served}", "served by");
    for write in &explanation.writes {
        let _ = writeln!(text, "{:<12}{write}", "writes");
    }
    text
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it like `x-user-group: beta`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like `tenant=acme`")?;
    Ok((name.to_owned(), value.to_owned()))
}
