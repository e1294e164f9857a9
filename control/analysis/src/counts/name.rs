//! Reading the filter's counters back: what their names and labels mean (`filter/src/meter.rs`).

use super::{Cohort, Direction, Metric, Origin, Pick, Quit, Series, Source, UNITS};

/// The release (`namespace/name`) and the series of a counter, by its name and a way to look a label of it
/// up; nothing for a metric that the analysis does not use.
pub fn series<'a>(name: &str, label: &impl Fn(&str) -> Option<&'a str>) -> Option<(&'a str, Series)> {
    let metric = metric(name, label)?;
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
        "graylane_abandoned_total" => Metric::Abandoned(quit(label("reason")?)),
        "graylane_slow_requests_total" => Metric::Slow(label("over_ms")?.parse().ok()?),
        "graylane_lane_total" => Metric::LanePicks(pick(label("reason")?)),
        "graylane_context_total" => Metric::Context(source(label("source")?)),
        _ => return unit(name),
    })
}

/// The bucket is part of the name: a label of its own would have to be taught to every proxy.
fn unit(name: &str) -> Option<Metric> {
    let (at, what) = name.strip_prefix("graylane_unit_")?.split_once('_')?;
    let at = at.parse().ok().filter(|at| usize::from(*at) < UNITS)?;
    match what {
        "requests_total" => Some(Metric::UnitRequests(at)),
        "failures_total" => Some(Metric::UnitFailures(at)),
        _ => None,
    }
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

fn quit(label: &str) -> Quit {
    if label == "left" { Quit::Left } else { Quit::GaveUp }
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

    fn read(name: &str, labels: &[(&str, &'static str)]) -> Option<(&'static str, Series)> {
        series(name, &|wanted: &str| labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| *value))
    }

    #[test]
    fn a_counter_of_the_filter_is_read_back() {
        let labels = [
            ("service", "cart.shop"),
            ("rollout", "shop/summer"),
            ("lane", "canary"),
            ("cohort", "slot"),
            ("direction", "outbound"),
            ("status_code", "503"),
        ];
        let (rollout, series) = read("graylane_requests_total", &labels).unwrap();
        assert_eq!(rollout, "shop/summer");
        assert_eq!(
            (series.metric, series.service.as_str(), series.lane.as_str()),
            (Metric::Requests, "cart.shop", "canary")
        );
        assert_eq!((series.cohort, series.direction, series.status), (Cohort::Slot, Direction::Outbound, Some(503)));
    }

    #[test]
    fn the_bucket_of_units_is_read_from_the_name() {
        let labels = [("rollout", "shop/summer"), ("lane", "canary")];
        let metric = |name: &str| read(name, &labels).map(|(_, series)| series.metric);
        assert_eq!(metric("graylane_unit_0_requests_total"), Some(Metric::UnitRequests(0)));
        assert_eq!(metric("graylane_unit_15_failures_total"), Some(Metric::UnitFailures(15)));
        for name in ["graylane_unit_16_requests_total", "graylane_unit_x_requests_total", "graylane_unit_1_total"] {
            assert_eq!(metric(name), None, "{name}");
        }
    }

    #[test]
    fn a_request_that_was_given_up_is_read_by_who_gave_it_up() {
        for (reason, quit) in [("left", Quit::Left), ("gave_up", Quit::GaveUp)] {
            let labels = [("service", "cart.shop"), ("lane", "canary"), ("direction", "outbound"), ("reason", reason)];
            let (_, series) = read("graylane_abandoned_total", &labels).unwrap();
            assert_eq!((series.metric, series.direction), (Metric::Abandoned(quit), Direction::Outbound));
        }
    }

    #[test]
    fn what_the_analysis_does_not_use_is_left_alone() {
        assert_eq!(read("graylane_config_workers", &[("role", "gateway")]), None);
        assert_eq!(read("cluster.upstream_rq_total", &[]), None);
        assert_eq!(read("graylane_slow_requests_total", &[("lane", "canary"), ("over_ms", "soon")]), None);
    }
}
