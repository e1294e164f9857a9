//! A proxy's page of counters, in either form that Envoy has: its admin interface's JSON, where labels
//! stand inside of names, and the text format of Prometheus, where they stand beside them. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its name, such as `graylane_requests_total`.
    pub name: &'a str,
    /// Its labels.
    pub labels: BTreeMap<&'a str, String>,
    /// Its value.
    pub value: u64,
}

/// All of our names begin like this; what stands before is Envoy's.
const OURS: &str = "graylane_";
/// Where a label ends and its value begins, inside a name.
const EQUALS: &str = "=.=";
/// Where such a value ends.
const END: &str = ";.;";

/// A page of the admin interface in JSON.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    #[serde(borrow)]
    stats: Vec<Stat<'a>>,
}

#[derive(Debug, Deserialize)]
struct Stat<'a> {
    #[serde(default, borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(default)]
    value: serde_json::Value,
}

// === impl Page ===

impl Page<'_> {
    /// Seconds since the proxy started.
    pub fn uptime(&self) -> Option<u64> {
        self.stats.iter().find(|stat| stat.name == "server.uptime").and_then(|stat| stat.value.as_u64())
    }

    /// Our counters on it.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.stats.iter().filter_map(|stat| labels_inside(&stat.name, stat.value.as_u64()?))
    }
}

/// Our counters on a page in the text format of Prometheus; lines that make no sense are passed over.
pub fn text_lines(page: &str) -> impl Iterator<Item = Line<'_>> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = &name[name.find(OURS)?..];
        Some(Line { name, labels: labels_beside(labels.trim_end_matches('}')), value: whole(value)? })
    })
}

/// Seconds since the proxy started, on such a page.
pub fn uptime(page: &str) -> Option<u64> {
    let line = page.lines().find(|line| line.starts_with("envoy_server_uptime"))?;
    whole(line.rsplit_once(' ')?.1)
}

fn labels_inside(stat: &str, value: u64) -> Option<Line<'_>> {
    let ours = &stat[stat.find(OURS)?..];
    let (name, mut rest) = ours.split_once('.').unwrap_or((ours, ""));
    let mut labels = BTreeMap::new();
    while let Some((label, after)) = rest.split_once(EQUALS) {
        let (value, after) = after.split_once(END).unwrap_or((after, ""));
        labels.insert(label.trim_start_matches('.'), value.to_owned());
        rest = after;
    }
    Some(Line { name, labels, value })
}

/// `a="x",b="y"`, with `\"`, `\\` and `\n` in values.
fn labels_beside(mut rest: &str) -> BTreeMap<&str, String> {
    let mut labels = BTreeMap::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped)) => value.push(escaped),
                    None => {}
                },
                plain => value.push(plain),
            }
        }
        labels.insert(label.trim_start_matches(','), value);
        rest = &after[end..];
    }
    labels
}

/// A whole number. Envoy writes counters and gauges as such; its agent may write them as floats.
pub fn whole(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        let fits = value.is_finite() && (0.0..=9_007_199_254_740_992.0).contains(&value) && value.fract() == 0.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
        fits.then_some(value as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Line<'static> {
        let labels = [("lane", "canary"), ("rollout", "shop/summer"), ("service", "orders.shop")];
        let labels = labels.map(|(label, value)| (label, value.to_owned()));
        Line { name: "graylane_requests_total", labels: BTreeMap::from(labels), value: 7 }
    }

    #[test]
    fn both_forms_of_a_page_say_the_same() {
        let json = r#"{"stats":[{"name":"wasmcustom.graylane_requests_total.service=.=orders.shop;.;.rollout=.=shop/summer;.;.lane=.=canary;.;","value":7},{"name":"server.live","value":1},{"histograms":{}}]}"#;
        let page: Page<'_> = serde_json::from_str(json).unwrap();
        assert_eq!(page.lines().collect::<Vec<_>>(), [wanted()]);
        let text = "# TYPE graylane_requests_total counter\n\
            graylane_requests_total{service=\"orders.shop\",rollout=\"shop/summer\",lane=\"canary\"} 7\n\
            envoy_server_live{} 1\nnonsense\n";
        assert_eq!(text_lines(text).collect::<Vec<_>>(), [wanted()]);
    }

    #[test]
    fn a_value_may_hold_what_ends_values() {
        let text = "graylane_x_total{a=\"say \\\"hi\\\", {b}\",c=\"\\\\\"} 1.0\n";
        let line = text_lines(text).next().unwrap();
        assert_eq!(line.labels["a"], "say \"hi\", {b}");
        assert_eq!(line.labels["c"], "\\");
        assert_eq!(line.value, 1);
    }

    #[test]
    fn no_page_makes_it_panic() {
        for text in ["graylane_{", "graylane_a{b=\"", "graylane_a{b=\"\\", "graylane_ -1", "graylane_x{} NaN"] {
            assert!(text_lines(text).all(|line| line.value < 1), "{text}");
        }
        assert!(labels_inside("graylane_x.a=.=", 1).is_some());
    }
}
