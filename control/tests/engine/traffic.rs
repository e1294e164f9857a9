//! Users who reach the gateway, which calls `orders`, which calls `payment`; and what proxies count of it.
//! Shares are exact: whoever tests chance tests the analysis itself, in its own crate.

use std::collections::BTreeMap;

use graylane::counts::named::{Named, Spot};
use graylane::counts::{Counted, Told};
use graylane_analysis::counts::{Pick, Source};
use graylane_analysis::{Cohort, Direction, Metric, Origin, Quit, Reading, Series};
use graylane_policy::specimen::Specimen;

/// What reaches the gateway, and how it fails.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Requests a second.
    pub rps: f64,
    /// Share of the requests that fail, by service and lane.
    pub errors: BTreeMap<(&'static str, &'static str), f64>,
    /// Share of the lane's calls to `payment` that hang until `orders` gives up on them and fails.
    hangs: f64,
    /// Share of the lane's calls to `payment` that its stable version serves.
    pub strays: f64,
    /// True where `orders`, which the gateway calls, has no version in the lane.
    begins_late: bool,
    /// Share of the lane's calls to `payment` that `orders` makes without the lane, where only its stable pods serve.
    pub drops: f64,
    /// Share of its weight that the lane does not get, because routing is broken.
    pub withheld: f64,
    /// Share of the lane's requests that `orders` answers after more than 300 ms.
    pub slow: f64,
    /// The share of the traffic that is sent to the lane, if it is not its weight.
    pub share: Option<f64>,
    /// True while no proxy can be asked.
    pub silent: bool,
    /// True while the gateway's brake has tripped: weights send nobody into the lane.
    pub braked: bool,
    /// Parts of requests and failures that are still to come.
    rests: BTreeMap<(&'static str, &'static str, bool), f64>,
    counters: BTreeMap<&'static str, BTreeMap<Series, u64>>,
    /// What proxies name of requests that failed in the lane, or were slow there.
    named: BTreeMap<&'static str, Named>,
    /// All that they have named, by service.
    pub failed: BTreeMap<String, Vec<String>>,
    /// The slow ones.
    pub slowed: Vec<String>,
    /// Streams that proxies have open in the lane, by service.
    pub open: BTreeMap<&'static str, BTreeMap<String, u64>>,
    ids: u64,
    users: u64,
    now: u64,
}

/// Proxies with the service beside which they run.
const PROXIES: [(&str, Option<&str>); 5] = [
    ("gateway-1", None),
    ("orders-stable", Some("orders.shop")),
    ("orders-canary", Some("orders.shop")),
    ("payment-stable", Some("payment.shop")),
    ("payment-canary", Some("payment.shop")),
];

// === impl Traffic ===

impl Traffic {
    pub fn of(rps: f64) -> Self {
        Self { rps, ..Self::default() }
    }

    pub fn failing(mut self, service: &'static str, lane: &'static str, share: f64) -> Self {
        self.errors.insert((service, lane), share);
        self
    }

    pub fn hanging(self, share: f64) -> Self {
        Self { hangs: share, ..self }
    }

    pub fn slowed(self, share: f64) -> Self {
        Self { slow: share, ..self }
    }

    pub fn straying(self, share: f64) -> Self {
        Self { strays: share, ..self }
    }

    pub fn beginning_late(self) -> Self {
        Self { begins_late: true, ..self }
    }

    pub fn dropping(self, share: f64) -> Self {
        Self { drops: share, ..self.beginning_late() }
    }

    pub fn withheld(self, share: f64) -> Self {
        Self { withheld: share, ..self }
    }

    /// Serves for some milliseconds.
    pub fn serve(&mut self, weights: &BTreeMap<String, u32>, millis: u64, now: u64) {
        self.now = now;
        let canary = f64::from(weights.get("canary").copied().unwrap_or(0)) / 10_000.0;
        let canary = self.share.filter(|_| canary > 0.0).unwrap_or(canary);
        let canary = if self.braked && canary > 0.0 {
            let pick = Series { metric: Metric::LanePicks(Pick::Brake), ..series("", "stable", Direction::Gateway) };
            self.add("gateway-1", pick, 1);
            0.0
        } else {
            canary
        };
        let canary = canary * (1.0 - self.withheld);
        for (lane, share) in [("stable", 1.0 - canary), ("canary", canary)] {
            #[expect(clippy::cast_precision_loss, reason = "a tick is short")]
            let requests = self.whole("gateway", lane, false, self.rps * share * millis as f64 / 1000.0);
            self.hop(lane, requests);
        }
    }

    fn hop(&mut self, lane: &'static str, requests: u64) {
        let own = |traffic: &mut Self, service| {
            let share = traffic.errors.get(&(service, lane)).copied().unwrap_or(0.0);
            #[expect(clippy::cast_precision_loss, reason = "few requests")]
            traffic.whole(service, lane, true, share * requests as f64)
        };
        let (payment, orders) = (own(self, "payment"), own(self, "orders"));
        #[expect(clippy::cast_precision_loss, reason = "few requests")]
        let hung = if lane == "canary" { self.hangs * requests as f64 } else { 0.0 };
        let hung = self.whole("payment hangs", lane, true, hung);
        let failed = (payment + orders + hung).min(requests);
        let [mut at_orders, at_payment] =
            if lane == "canary" { ["orders-canary", "payment-canary"] } else { ["orders-stable", "payment-stable"] };
        if self.begins_late {
            at_orders = "orders-stable";
        }
        if lane == "canary" && self.begins_late {
            let stable = series("orders.shop", "stable", Direction::Gateway);
            self.add("gateway-1", Series { cohort: Cohort::Fallback, ..stable }, requests);
        } else {
            self.count("gateway-1", "orders.shop", lane, Direction::Gateway, requests, &[(None, failed)]);
        }
        let origins = [(Some(Origin::Own), orders), (Some(Origin::Downstream), payment + hung)];
        self.count(at_orders, "orders.shop", lane, Direction::Inbound, requests, &origins);
        let strayed = if lane == "canary" { self.stray(at_orders, requests) } else { 0 };
        let dropped = if lane == "canary" && self.begins_late { self.drop_lane(requests) } else { 0 };
        self.tell(at_orders, lane, Direction::Inbound, requests);
        self.tell(at_orders, lane, Direction::Outbound, requests - dropped);
        self.tell(at_payment, lane, Direction::Inbound, requests - (dropped + strayed).min(requests));
        let answered = requests - (hung + strayed + dropped).min(requests);
        self.count(at_orders, "payment.shop", lane, Direction::Outbound, answered, &[(None, payment)]);
        self.count(at_payment, "payment.shop", lane, Direction::Inbound, answered, &[(Some(Origin::Own), payment)]);
        let given_up = Metric::Abandoned(Quit::GaveUp);
        let given_up = Series { metric: given_up, status: None, ..series("payment.shop", lane, Direction::Outbound) };
        self.add(at_orders, given_up, hung);
        let pick = Series { metric: Metric::LanePicks(Pick::Slot), ..series("", lane, Direction::Gateway) };
        self.add("gateway-1", pick, requests);
        if lane == "canary" {
            self.know_users(requests);
        }
    }

    /// Slow requests of the lane, and its users, who are many and alike.
    fn know_users(&mut self, requests: u64) {
        #[expect(clippy::cast_precision_loss, reason = "few requests")]
        let slow = self.whole("orders is slow", "canary", true, self.slow * requests as f64);
        let gateway =
            |metric, service: &str| Series { metric, status: None, ..series(service, "canary", Direction::Gateway) };
        self.add("gateway-1", gateway(Metric::Slow(300), "orders.shop"), slow);
        if slow > 0 {
            let id = self.name("gateway-1", "orders.shop", (Direction::Gateway, Some(300)));
            self.slowed.push(id);
        }
        for _ in 0..requests {
            self.users += 1;
            let bucket = (self.users % 16) as u8;
            self.add("gateway-1", gateway(Metric::UnitRequests(bucket), ""), 1);
        }
    }

    /// Calls of the lane to `payment` that stable serves.
    fn stray(&mut self, caller: &'static str, requests: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "few requests")]
        let strayed = self.whole("payment strays", "canary", false, self.strays * requests as f64);
        let stable = |direction| Series { cohort: Cohort::Fallback, ..series("payment.shop", "stable", direction) };
        self.add(caller, stable(Direction::Outbound), strayed);
        self.add("payment-stable", stable(Direction::Inbound), strayed);
        self.tell("payment-stable", "canary", Direction::Inbound, strayed);
        let pick = Series { metric: Metric::LanePicks(Pick::Fallback), ..series("", "canary", Direction::Outbound) };
        self.add(caller, pick, strayed);
        strayed
    }

    /// Calls of the lane to `payment` that stable pods of `orders` make as if they were anybody's.
    fn drop_lane(&mut self, requests: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "few requests")]
        let dropped = self.whole("orders drops", "canary", false, self.drops * requests as f64);
        for (proxy, direction) in [("orders-stable", Direction::Outbound), ("payment-stable", Direction::Inbound)] {
            self.count(proxy, "payment.shop", "stable", direction, dropped, &[]);
            self.tell(proxy, "stable", direction, dropped);
        }
        dropped
    }

    /// What a sidecar tells of the lanes in which its workload is called or calls.
    fn tell(&mut self, proxy: &'static str, lane: &str, direction: Direction, calls: u64) {
        let source = if lane == "stable" { Source::None } else { Source::Header };
        let workload = proxy.trim_end_matches("-stable");
        let context = Series {
            metric: Metric::Context(source),
            cohort: Cohort::Unknown,
            status: None,
            ..series(workload, lane, direction)
        };
        self.add(proxy, context, calls);
    }

    fn count(
        &mut self,
        proxy: &'static str,
        service: &str,
        lane: &str,
        direction: Direction,
        requests: u64,
        failures: &[(Option<Origin>, u64)],
    ) {
        self.add(proxy, series(service, lane, direction), requests);
        let own: u64 = failures
            .iter()
            .filter(|(origin, _)| *origin != Some(Origin::Downstream))
            .map(|(_, failures)| failures)
            .sum();
        if lane == "canary" && own > 0 {
            let id = self.name(proxy, service, (direction, None));
            self.failed.entry(service.into()).or_default().push(id);
        }
        for (origin, failures) in failures {
            let failed =
                Series { metric: Metric::Failures, origin: *origin, status: None, ..series(service, lane, direction) };
            self.add(proxy, failed, *failures);
        }
    }

    /// A proxy names one of the requests that just failed, or took longer than so many milliseconds.
    fn name(&mut self, proxy: &'static str, service: &str, of: (Direction, Option<u32>)) -> String {
        self.ids += 1;
        let parent = format!("00-{:032x}-b7ad6b7169203331-01", self.ids);
        let id = Specimen::of_headers([(&b"traceparent"[..], parent.as_bytes())].into_iter()).expect("a trace");
        let direction = format!("{:?}", of.0);
        let spot = Spot { service: service.into(), lane: "canary".into(), direction, over_ms: of.1 };
        self.named.entry(proxy).or_default().insert(spot, id);
        id.to_string()
    }

    fn add(&mut self, proxy: &'static str, series: Series, count: u64) {
        *self.counters.entry(proxy).or_default().entry(series).or_default() += count;
    }

    /// What is whole of a share and what was left over before.
    fn whole(&mut self, service: &'static str, lane: &'static str, fails: bool, share: f64) -> u64 {
        let rest = self.rests.entry((service, lane, fails)).or_default();
        *rest += share;
        let whole = (*rest + 1e-9).floor();
        *rest -= whole;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        let whole = whole as u64;
        whole
    }

    pub fn counted(&self) -> Counted {
        let expected = PROXIES.iter().map(|(proxy, _)| (*proxy).to_owned()).collect();
        let reading = |(proxy, beside): &(&str, Option<&str>)| Reading {
            proxy: (*proxy).to_owned(),
            beside: beside.map(str::to_owned),
            at_ms: self.now,
            epoch: None,
            series: self.counters.get(proxy).cloned().unwrap_or_default(),
        };
        let readings = if self.silent { Vec::new() } else { PROXIES.iter().map(reading).collect() };
        let told = |(proxy, _): &(&str, Option<&str>)| {
            let named = self.named.get(proxy).cloned().unwrap_or_default();
            let open = self.open.get(proxy).cloned().unwrap_or_default();
            Told { proxy: (*proxy).to_owned(), epoch: None, at_ms: self.now, named, open }
        };
        let told = if self.silent { Vec::new() } else { PROXIES.iter().map(told).collect() };
        Counted { expected, readings, told }
    }
}

fn series(service: &str, lane: &str, direction: Direction) -> Series {
    Series {
        metric: Metric::Requests,
        service: service.into(),
        lane: lane.into(),
        cohort: Cohort::Slot,
        direction,
        origin: None,
        status: Some(200),
    }
}
