//! Reading the filter's stat names back: labels travel inside the name as `.label=.=value;.;`
//! (`filter/policy/src/metric.rs`).

use super::{Cohort, Direction, Metric, Origin, Pick, Series, Source};

/// Reads an Envoy stat name; gives the release (`namespace/name`) and the series, or nothing for a
/// metric that the analysis does not use.
pub fn parse(stat: &str) -> Option<(&str, Series)> {
    let at = stat.find("graylane_")?;
    let stat = &stat[at..];
    let (name, labels) = stat.split_once('.').unwrap_or((stat, ""));
    let label = |wanted: &str| {
        labels
            .split(";.;")
            .filter_map(|part| part.trim_start_matches('.').split_once("=.="))
            .find_map(|(name, value)| (name == wanted).then_some(value))
    };
    let metric = metric(name, &label)?;
    let service = if matches!(metric, Metric::Context(_)) { label("workload") } else { label("service") };
    let series = Series {
        metric,
        service: service.unwrap_or_default().to_owned(),
        lane: label("lane")?.to_owned(),
        cohort: label("cohort").and_then(Cohort::of).unwrap_or(Cohort::Unknown),
        direction: direction(label("direction")),
        origin: label("origin").and_then(origin),
        status: label("status_code").and_then(|code| code.parse().ok()),
    };
    Some((label("rollout").unwrap_or_default(), series))
}

fn metric<'a>(name: &str, label: &impl Fn(&str) -> Option<&'a str>) -> Option<Metric> {
    Some(match name {
        "graylane_requests_total" => Metric::Requests,
        "graylane_failures_total" => Metric::Failures,
        "graylane_slow_requests_total" => Metric::Slow(label("over_ms")?.parse().ok()?),
        "graylane_lane_total" => Metric::LanePicks(pick(label("reason")?)),
        "graylane_context_total" => Metric::Context(source(label("source")?)),
        _ => return None,
    })
}

fn direction(label: Option<&str>) -> Direction {
    match label {
        Some("inbound") => Direction::Inbound,
        Some("outbound") => Direction::Outbound,
        _ => Direction::Gateway,
    }
}

fn origin(label: &str) -> Option<Origin> {
    Some(match label {
        "own" => Origin::Own,
        "downstream" => Origin::Downstream,
        "unknown" => Origin::Unknown,
        _ => return None,
    })
}

fn pick(label: &str) -> Pick {
    match label {
        "tag" => Pick::Tag,
        "rule" => Pick::Rule,
        "slot" => Pick::Slot,
        "fallback" => Pick::Fallback,
        "brake" => Pick::Brake,
        "expired" => Pick::Expired,
        _ => Pick::Carried,
    }
}

fn source(label: &str) -> Source {
    match label {
        "header" | "baggage" => Source::Header,
        "pod" => Source::Pod,
        "trace" => Source::Trace,
        "entry" => Source::Entry,
        _ => Source::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_name_of_the_filter_is_read_back() {
        let stat = "wasmcustom.graylane_requests_total.service=.=cart.shop;.;.rollout=.=shop/summer;.;.lane=.=canary;.;\
                    .cohort=.=slot;.;.direction=.=outbound;.;.status_code=.=503;.;";
        let (rollout, series) = parse(stat).unwrap();
        assert_eq!(rollout, "shop/summer");
        assert_eq!(
            (series.metric, series.service.as_str(), series.lane.as_str()),
            (Metric::Requests, "cart.shop", "canary")
        );
        assert_eq!((series.cohort, series.direction, series.status), (Cohort::Slot, Direction::Outbound, Some(503)));
    }

    #[test]
    fn what_the_analysis_does_not_use_is_left_alone() {
        assert_eq!(parse("wasmcustom.graylane_config_workers.role=.=gateway;.;"), None);
        assert_eq!(parse("cluster.upstream_rq_total"), None);
        assert_eq!(parse("graylane_slow_requests_total.lane=.=canary;.;.over_ms=.=soon;.;"), None);
    }
}
