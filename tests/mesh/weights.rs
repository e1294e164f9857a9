//! Fifty changes of weight under load, each beside a weight change of the service's own VirtualService, which is
//! how the service would be released without us: by the module that is shipped, and by one that does nothing
//! but show them, which is what the way there takes.
//!
//! istiod sends a VirtualService of a service to its callers too (`mesh`); one that only gateways have is the least
//! that istiod can be asked for, so it is measured as well.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graylane::build::{self, Running, Side};
use graylane::cluster::delivery::Delivered;
use graylane::cluster::events::Events;
use graylane::cluster::lease::Term;
use graylane::cluster::{Wake, call, metrics};
use graylane::engine::seams::{Delivery, Place, Wanted};
use graylane::istio::config::Emitter;
use graylane::istio::module::Module;
use graylane::release::{read, validate};
use graylane_policy::slots::evolve;
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::{Ask, At, Connection, Protocol};
use graylane_tests::figures::{judge, judge_cost, say, spread};
use graylane_tests::{paths, poll};
use kube::api::{Patch, PatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::control::{PROXIES, SUMMER, adopt, disturbances};
use crate::traffic::{GATEWAY, HOST, Traffic};

/// Pairs of changes.
const PAIRS: usize = 50;
/// A user who is on canary at 98%, as nearly all are; the first answer says whether this one is.
const USER: &str = "7";
/// The host whose weights are changed in the VirtualService of `orders`.
const PLAIN: &str = "plain.example.com";
/// The host whose weights are changed in a VirtualService that only gateways have.
const EDGE: &str = "edge.example.com";

/// The service whose weights are changed.
const ORDERS: &str = "orders.shop.svc.cluster.local";

/// A second gateway, by Istio's agent.
const AGENT: &str = "gateway-agent";
/// It, and a route with weights of its own.
const BESIDE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway-agent, namespace: istio-ingress}
spec:
  selector: {matchLabels: {app: gateway-agent}}
  template:
    metadata:
      labels: {app: gateway-agent, istio: ingressgateway, graylane.io/enabled: "true"}
      annotations: {inject.istio.io/templates: gateway, bed.graylane.io/proxy: agent}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway-agent, namespace: istio-ingress}
spec:
  selector: {app: gateway-agent}
  ports: [{name: http2, port: 80, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec:
  hosts: [edge.example.com]
  gateways: [istio-ingress/shop]
  http:
  - route:
    - {destination: {host: orders.shop.svc.cluster.local, subset: stable}, weight: 100}
    - {destination: {host: orders.shop.svc.cluster.local, subset: canary}, weight: 0}
"#;

#[test]
fn fifty_changes_of_weight_disturb_nobody_and_are_as_quick_as_a_route_change() {
    bed::tell(&Bed::mesh(), |bed| {
        let changes = Changes::begin(bed, &paths::filter()?)?;
        let proxies = [PROXIES.as_slice(), &[("istio-ingress", AGENT)]].concat();
        let traffic = Traffic::with_streams_through(bed, AGENT)?;
        let before = disturbances(bed, &proxies)?;
        let pairs = bed.block_on(changes.pairs())?;
        let after = disturbances(bed, &proxies)?;
        let changed: Vec<_> = after.iter().filter(|(name, count)| before.get(*name) != Some(count)).collect();
        // A connection that was closed, through either gateway, is an error here.
        let (served, failed) = traffic.stop(bed)?;
        let disturbed = judge(
            "50 weight changes under load, plain Envoy and agent: closed connections, failed requests, listener changes",
            format!("0, {failed} of {served}, {}", changed.len()),
            "0, 0, 0",
            failed == 0 && before.len() == after.len() && changed.is_empty(),
        );
        pairs.tell("", 15.0)?;
        disturbed.with_context(|| format!("{changed:?}"))
    })
}

#[test]
fn a_change_of_weight_takes_little_longer_than_a_route_change_before_any_filter_reads_it() {
    bed::tell(&Bed::mesh(), |bed| {
        let changes = Changes::begin(bed, &paths::probe()?)?;
        let traffic = Traffic::with_streams_through(bed, AGENT)?;
        let pairs = bed.block_on(changes.pairs())?;
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        pairs.tell(", a probe module", 6.0)
    })
}

/// The ways a weight is changed.
#[derive(Clone, Copy)]
enum Way {
    /// Ours.
    Lane,
    /// In the VirtualService of the service, which gateways and sidecars have.
    Route,
    /// In one that only gateways have.
    Edge,
}

/// How long changes took until the first answer that shows them, in milliseconds, by way and gateway.
#[derive(Default)]
struct Pairs([[Vec<f64>; 2]; 3]);

/// What is changed, and by whom it is seen.
struct Changes {
    client: Client,
    delivery: Delivered,
    running: Running,
    gateways: [At; 2],
}

// === impl Changes ===

impl Changes {
    /// Brings the shop up with both gateways. They have loaded the module and everybody is on stable.
    fn begin(bed: &Bed, module: &Path) -> Result<Self> {
        bed.shop()?;
        bed.apply(BESIDE)?;
        adopt(bed)?;
        bed.wait_for_deployments("istio-ingress")?;
        let changes = Self::new(bed, module)?;
        bed.block_on(changes.own_host())?;
        for (weight, lane) in [(9_800, "canary"), (0, "stable")] {
            bed.block_on(changes.weigh(weight))?;
            let seen = || bed.block_on(changes.everybody_sees(HOST, lane));
            poll::until(&format!("both gateways on {lane}"), poll::PATIENCE, seen)?;
        }
        Ok(changes)
    }

    fn new(bed: &Bed, module: &Path) -> Result<Self> {
        let mut checked = validate::check(read::read_text("summer", SUMMER)?, &[Side::Gateway])?;
        let release = checked.pop().context("a release")?.release;
        let at = |name: &str| Ok::<_, anyhow::Error>(At::from((bed.pod("istio-ingress", name)?.place.ip, GATEWAY)));
        let gateways = [at("gateway")?, at(AGENT)?];
        let module: Module = module.display().to_string().parse()?;
        let delivery = bed.block_on(async {
            let (file, options) = (Kubeconfig::read_from(bed.kubeconfig())?, KubeConfigOptions::default());
            let (calls, watches) = call::clients(Config::from_custom_kubeconfig(file, &options).await?)?;
            let metrics = Arc::new(metrics::Metrics::default());
            let delivery = Delivered::start(
                (&calls, &watches),
                &["istio-ingress".to_owned()],
                (Emitter::EnvoyFilter, module),
                (&Wake::default(), Term::without_end()),
                &metrics,
                &Events::start(calls.clone(), "bench".into()),
            );
            while !delivery.cache().is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(delivery)
        })?;
        Ok(Self { client: bed.client(), delivery, running: Running::new(release), gateways })
    }

    async fn pairs(&self) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        for pair in 0..PAIRS {
            // Each way comes first, second and last as often, and each two of them in both orders.
            let mut ways = [Way::Lane, Way::Route, Way::Edge];
            ways.rotate_left(pair % 3);
            if pair / 3 % 2 == 1 {
                ways.reverse();
            }
            for way in ways {
                let took = self.change(way, pair % 2 == 0).await?;
                pairs.0[way as usize].iter_mut().zip(took).for_each(|(all, took)| all.push(took));
                // istiod joins what comes within 100 ms of something else.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Ok(pairs)
    }

    /// Milliseconds from the beginning of a write to the first answer of each gateway that shows it.
    async fn change(&self, way: Way, canary: bool) -> Result<[f64; 2]> {
        let share = if canary { 100 } else { 0 };
        match way {
            Way::Lane => self.timed(self.weigh(if canary { 9_800 } else { 0 }), HOST, canary).await,
            Way::Route => {
                self.timed(self.virtual_service("orders", json!({"http": own_routes(share)})), PLAIN, canary).await
            }
            Way::Edge => {
                self.timed(self.virtual_service("edge", json!({"http": [{"route": weighted(share)}]})), EDGE, canary)
                    .await
            }
        }
    }

    /// Lets `orders` be asked for as [`PLAIN`] too.
    async fn own_host(&self) -> Result<()> {
        let hosts = [ORDERS, HOST, PLAIN];
        self.virtual_service("orders", json!({"hosts": hosts, "http": own_routes(0)})).await
    }

    /// Changes a VirtualService.
    async fn virtual_service(&self, name: &str, spec: Value) -> Result<()> {
        let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), "shop", &ApiResource::from_gvk(&kind));
        api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
        Ok(())
    }

    async fn timed(&self, write: impl Future<Output = Result<()>>, host: &str, canary: bool) -> Result<[f64; 2]> {
        let wanted = if canary { "orders-canary" } else { "orders-stable" };
        let start = Instant::now();
        let [one, two] = self.gateways.map(|gateway| seen(gateway, host, wanted, start));
        let (written, one, two) = tokio::join!(write, one, two);
        written?;
        Ok([one?, two?])
    }

    async fn weigh(&self, canary: u32) -> Result<()> {
        let mut running = self.running.clone();
        running.table = evolve(&running.table, &BTreeMap::from([("canary".to_owned(), canary)]))?;
        let place = Place { namespace: "istio-ingress".into(), side: Side::Gateway };
        let wanted = Wanted::Document(vec![build::group(Side::Gateway, &running)]);
        let checked = self.delivery.check("istio-ingress", &BTreeMap::from([(place, wanted)]), 0)?;
        self.delivery.deliver(checked).await?;
        Ok(())
    }

    async fn everybody_sees(&self, host: &str, lane: &str) -> Result<()> {
        for gateway in self.gateways {
            let mut connection = Connection::open(gateway, Protocol::Http1).await?;
            let at = at(&mut connection, host).await?;
            ensure!(at == format!("orders-{lane}"), "{gateway:?}: {at}");
        }
        Ok(())
    }
}

/// The routes of `orders` as the shop has them, behind one for [`PLAIN`] with canary at so many percent.
fn own_routes(share: u32) -> Value {
    let headers = json!({"request": {"remove": ["x-graylane-route"]}});
    json!([
        {"match": [{"authority": {"exact": PLAIN}}], "route": weighted(share)},
        {"name": "graylane-canary", "match": [{"headers": {"x-graylane-route": {"exact": "canary"}}}], "headers": headers,
         "route": [{"destination": {"host": ORDERS, "subset": "canary"}}]},
        {"name": "stable", "headers": headers, "route": [{"destination": {"host": ORDERS, "subset": "stable"}}]},
    ])
}

/// Both versions of `orders`, canary at so many percent.
fn weighted(share: u32) -> Value {
    let to = |subset: &str, weight: u32| json!({"destination": {"host": ORDERS, "subset": subset}, "weight": weight});
    json!([to("stable", 100 - share), to("canary", share)])
}

async fn seen(gateway: At, host: &str, wanted: &str, start: Instant) -> Result<f64> {
    let mut connection = Connection::open(gateway, Protocol::Http1).await?;
    while at(&mut connection, host).await? != wanted {
        ensure!(start.elapsed() < Duration::from_secs(20), "{wanted} was never seen at {host}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

async fn at(connection: &mut Connection, host: &str) -> Result<String> {
    let answer = connection.send(&Ask::get(host, "/?hops=0").header("x-user-id", USER)).await?;
    let json: Value = answer.json().with_context(|| format!("{} {}", answer.status, answer.text()))?;
    Ok(json["at"].as_str().unwrap_or_default().to_owned())
}

// === impl Pairs ===

impl Pairs {
    /// Notes all of it; the median of the differences to the service's own VirtualService is held to a bound in
    /// milliseconds.
    fn tell(&self, by: &str, most: f64) -> Result<()> {
        let mut judged = Ok(());
        for (index, gateway) in ["plain Envoy", "Istio's agent"].into_iter().enumerate() {
            let [lane, route, edge] = &self.0.each_ref().map(|way| &way[index]);
            let name = |what: &str| format!("{what}, through {gateway}{by}");
            say(&name("write to first request on the new weight, median / p90 / worst"), shown(lane))?;
            say(&name("the same for the service's own VirtualService"), shown(route))?;
            say(&name("the same for a VirtualService that only gateways have"), shown(edge))?;
            let pairs = lane.len();
            let differs = |other: &[f64]| {
                spread(&lane.iter().zip(other).map(|(lane, other)| lane - other).collect::<Vec<f64>>())[0]
            };
            say(
                &name("median of the paired differences to that one"),
                format!("{:.1} ms of {pairs} pairs", differs(edge)),
            )?;
            let median = differs(route);
            let value = format!("{median:.1} ms of {pairs} pairs");
            let wanted = format!("at most {most} ms");
            let figure = name("median of the paired differences to the service's own VirtualService");
            judged = judged.and(judge_cost(&figure, value, &wanted, median <= most));
        }
        judged
    }
}

fn shown(values: &[f64]) -> String {
    let [median, p90, max] = spread(values);
    format!("{median:.0} / {p90:.0} / {max:.0} ms")
}
