//! What people see of a release, as whole pages.

use graylane::view::ground::{Ground, Pod, Workload};
use graylane::view::kept::Kept;
use graylane::view::list::{self, Columns};
use graylane::view::text::{Style, page};
use serde_json::{Value, json};

const MINUTE: u64 = 60_000;
const NOW: u64 = 1_000 * MINUTE;

fn summer() -> Value {
    json!({
        "metadata": {"name": "summer", "namespace": "shop", "generation": 1,
            "creationTimestamp": "1970-01-01T16:00:00Z"},
        "spec": {
            "lanes": [{"name": "canary"}],
            "members": [{"service": "orders"}, {"service": "stock"}, {"service": "payment", "lanes": []}],
            "carriers": ["web"],
            "steps": [{"weight": "1%"}, {"pause": {"duration": "5m"}}, {"weight": "25%"}, {"gate": {"name": "figures"}}],
        },
        "status": {
            "phase": "Progressing", "message": "canary goes to 25%", "observedGeneration": 1,
            "attempt": 1, "salt": "shop/summer#1", "step": 2, "steps": 4, "stepSinceMs": NOW - MINUTE / 2,
            "weights": {"canary": 100}, "weight": "canary=1%", "exposure": "Full",
            "notReady": [{"service": "stock.shop", "lane": "canary"}],
            "proxies": {"expected": 5, "acknowledged": 4, "missing": ["shop/orders-stable-b"]},
            "waiting": {"reason": "Acknowledgement", "message": "1 of 5 proxies does not run generation 7",
                "sinceMs": NOW - MINUTE / 3},
            "history": [{"atMs": NOW - 10 * MINUTE, "reason": "Started", "message": "attempt 1 begins"}],
        },
    })
}

fn pod(name: &str, serves: bool, state: &str) -> Pod {
    Pod {
        name: name.into(),
        ready: u32::from(serves) * 2,
        containers: 2,
        serves,
        state: state.into(),
        restarts: u32::from(!serves) * 3,
        created_ms: Some(NOW - 30 * MINUTE),
    }
}

fn workload(service: &str, lane: &str, wanted: u32, pods: Vec<Pod>) -> Workload {
    Workload {
        service: service.into(),
        lane: lane.into(),
        kind: "Deployment".into(),
        name: format!("{service}-{lane}"),
        wanted: Some(wanted),
        created_ms: Some(NOW - 50 * MINUTE),
        pods,
    }
}

fn shop() -> Ground {
    let stable = vec![pod("orders-stable-a", true, "Running"), pod("orders-stable-b", true, "Running")];
    Ground::Workloads(vec![
        workload("orders", "stable", 2, stable),
        workload("orders", "canary", 1, vec![pod("orders-canary-a", true, "Running")]),
        workload("stock", "stable", 1, vec![pod("stock-stable-a", true, "Running")]),
        workload("stock", "canary", 1, vec![pod("stock-canary-a", false, "CrashLoopBackOff")]),
        workload("payment", "stable", 1, vec![pod("payment-stable-a", true, "Running")]),
        workload("web", "stable", 1, vec![pod("web-a", true, "Running")]),
    ])
}

#[track_caller]
fn same(shown: &str, expected: &str) {
    assert_eq!(shown.trim_end(), expected.trim(), "\n--- shown:\n{shown}");
}

#[test]
fn a_release_is_shown_across_its_services() {
    let kept = Kept::of(summer()).unwrap();
    same(
        &page(&kept, &shop(), NOW, Style::default()),
        "
Name:       summer
Namespace:  shop
Group:      summer
Status:     ◌ Progressing
Message:    canary goes to 25%
Waiting:    Acknowledgement: 1 of 5 proxies does not run generation 7 (for 20s)
Step:       2/4
Weights:    canary set 25%, actual 1%
Proxies:    4/5 acknowledged; missing: shop/orders-stable-b

STEP   DOES            INFO
✔ 1    weight 1%
✔ 2    pause 5m
◌ 3    weight 25%      for 30s
  4    gate: figures

NAME                           KIND          STATUS               READY   AGE   INFO
summer                         GrayRelease   ◌ Progressing                40m   canary=1%
├─ canary                      Lane                                             weight:1%
│  ├─ orders                   Service       ✔ Ready              1/1
│  │  └─ orders-canary         Deployment    ✔ Healthy            1/1     50m
│  │     └─ orders-canary-a    Pod           ✔ Running            2/2     30m
│  ├─ stock                    Service       ⚠ NotReady           0/1           falls back to stable
│  │  └─ stock-canary          Deployment    ◌ Progressing        0/1     50m
│  │     └─ stock-canary-a     Pod           ✖ CrashLoopBackOff   0/2     30m   restarts:3
│  └─ payment                  Service                                          falls back to stable
├─ stable                      Lane                                             weight:99%
│  ├─ orders                   Service       ✔ Ready              2/2
│  │  └─ orders-stable         Deployment    ✔ Healthy            2/2     50m
│  │     ├─ orders-stable-a    Pod           ✔ Running            2/2     30m
│  │     └─ orders-stable-b    Pod           ✔ Running            2/2     30m   its proxy lacks the last change
│  ├─ stock                    Service       ✔ Ready              1/1
│  │  └─ stock-stable          Deployment    ✔ Healthy            1/1     50m
│  │     └─ stock-stable-a     Pod           ✔ Running            2/2     30m
│  └─ payment                  Service       ✔ Ready              1/1
│     └─ payment-stable        Deployment    ✔ Healthy            1/1     50m
│        └─ payment-stable-a   Pod           ✔ Running            2/2     30m
└─ carriers
   └─ web                      Service                            1/1           passes lanes on
      └─ web-stable            Deployment    ✔ Healthy            1/1     50m
         └─ web-a              Pod           ✔ Running            2/2     30m
",
    );
}

#[test]
fn in_a_folder_the_proxies_are_shown_and_nothing_is_said_of_pods() {
    let mut object = summer();
    object["status"]["proxies"]["missing"] = json!(["orders"]);
    object["status"]["proxies"]["acknowledged"] = json!(1);
    object["status"]["proxies"]["expected"] = json!(2);
    let ground = Ground::Proxies(vec!["gateway".into(), "orders".into()]);
    same(
        &page(&Kept::of(object).unwrap(), &ground, NOW, Style::default()),
        "
Name:       summer
Namespace:  shop
Group:      summer
Status:     ◌ Progressing
Message:    canary goes to 25%
Waiting:    Acknowledgement: 1 of 5 proxies does not run generation 7 (for 20s)
Step:       2/4
Weights:    canary set 25%, actual 1%
Proxies:    1/2 acknowledged; missing: orders

STEP   DOES            INFO
✔ 1    weight 1%
✔ 2    pause 5m
◌ 3    weight 25%      for 30s
  4    gate: figures

NAME            KIND          STATUS           READY   AGE   INFO
summer          GrayRelease   ◌ Progressing            40m   canary=1%
├─ canary       Lane                                         weight:1%
│  ├─ orders    Service       ✔ Ready
│  ├─ stock     Service       ⚠ NotReady                     falls back to stable
│  └─ payment   Service                                      falls back to stable
├─ stable       Lane                                         weight:99%
│  ├─ orders    Service
│  ├─ stock     Service
│  └─ payment   Service
├─ carriers
│  └─ web       Service                                      passes lanes on
└─ proxies
   ├─ gateway   Proxy         ✔ Acknowledged
   └─ orders    Proxy         ◌ Waiting
",
    );
}

#[test]
fn the_wide_page_has_the_salt_and_the_history() {
    let kept = Kept::of(summer()).unwrap();
    let wide = page(&kept, &Ground::Unknown, NOW, Style { wide: true, colour: false });
    for part in
        ["Salt:       shop/summer#1\n", "Attempt:    1\n", "1970-01-01T16:30:00Z   Started   attempt 1 begins\n"]
    {
        assert!(wide.contains(part), "{part} is not in\n{wide}");
    }
}

#[test]
fn colours_change_nothing_but_the_signs() {
    let kept = Kept::of(summer()).unwrap();
    let plain = page(&kept, &shop(), NOW, Style::default());
    let coloured = page(&kept, &shop(), NOW, Style { wide: false, colour: true });
    assert!(coloured.contains("\x1b[31m✖\x1b[0m CrashLoopBackOff"), "{coloured}");
    let bare = ["\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"]
        .iter()
        .fold(coloured, |text, escape| text.replace(escape, ""));
    assert_eq!(bare, plain);
}

#[test]
fn a_list_has_one_line_for_each_release() {
    let mut other = summer();
    other["metadata"]["name"] = json!("夏季发布");
    other["status"] = json!({"phase": "Succeeded", "observedGeneration": 1, "step": 4, "attempt": 2});
    let all = [Kept::of(summer()).unwrap(), Kept::of(other).unwrap()];
    same(
        &list::table(&all, NOW, Columns { namespace: true, wide: true }),
        "
NAMESPACE   NAME       STATUS          STEP   WEIGHTS     PROXIES   AGE   GROUP      ATTEMPT   MESSAGE
shop        summer     ◌ Progressing   2/4    canary=1%   4/5       40m   summer     1         canary goes to 25%
shop        夏季发布   ✔ Succeeded     4/4    -           0/0       40m   夏季发布   2
",
    );
}
