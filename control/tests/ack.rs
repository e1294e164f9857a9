//! Waiting for proxies, against an admin interface that says what the test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use graylane::ack::{Expected, ExpectedFilter, Report, State, Watch};
use graylane::build::Side;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a proxy says: generation, workers, refused configs.
type Says = Arc<Mutex<(u64, u64, u64)>>;

const PATIENCE: Duration = Duration::from_secs(10);

/// An admin interface on a port of its own.
async fn proxy(says: &Says) -> Expected {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    let says = says.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let says = says.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    let body = stats(*says.lock().unwrap());
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let filters = vec![ExpectedFilter { side: Side::Gateway, generation: 7 }];
    Expected { proxy: "gateway".into(), admin, workers: 3, filters }
}

fn stats((generation, workers, refused): (u64, u64, u64)) -> String {
    let gauge =
        |name, value| format!(r#"{{"name":"wasmcustom.graylane_config_{name}.role=.=gateway;.;","value":{value}}}"#);
    let fails = "extension_config_discovery.http_filter.graylane.gateway.config_fail";
    let of_another_role = r#"{"name":"wasmcustom.graylane_config_generation.role=.=inbound;.;","value":99}"#;
    let all = [gauge("generation", generation), gauge("workers", workers), of_another_role.into()];
    format!(r#"{{"stats":[{},{{"name":"{fails}","value":{refused}}},{{"histograms":{{}}}}]}}"#, all.join(","))
}

async fn wait(before: (u64, u64, u64), after: (u64, u64, u64), timeout: Duration) -> Report {
    let says = Arc::new(Mutex::new(before));
    let expected = [proxy(&says).await];
    let watch = Watch::begin(&expected).await;
    *says.lock().unwrap() = after;
    watch.wait(&expected, timeout).await.remove(0)
}

#[tokio::test]
async fn a_push_is_acknowledged_when_every_worker_reports_it() {
    let report = wait((6, 3, 1), (7, 3, 1), PATIENCE).await;
    assert_eq!((report.state, report.generation, report.workers), (State::Acknowledged, 7, 3));
}

#[tokio::test]
async fn a_worker_that_lags_holds_the_acknowledgement() {
    let report = wait((6, 3, 0), (7, 2, 0), Duration::from_millis(100)).await;
    assert_eq!((report.state, report.workers), (State::Waiting, 2));
    assert!(report.millis >= 80, "{report:?}");
}

#[tokio::test]
async fn a_refused_config_is_reported_at_once() {
    let report = wait((6, 3, 4), (6, 3, 5), PATIENCE).await;
    assert_eq!((report.state, report.generation), (State::Refused, 6));
    assert!(report.message.unwrap().contains("refused"));
    assert!(report.millis < 5_000);
}

#[tokio::test]
async fn an_old_refusal_is_not_held_against_a_new_push() {
    let report = wait((6, 3, 4), (6, 3, 4), Duration::from_millis(60)).await;
    assert_eq!(report.state, State::Waiting);
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let filters = vec![ExpectedFilter { side: Side::Gateway, generation: 7 }];
    let expected = [Expected { proxy: "gateway".into(), admin: free.to_string(), workers: 2, filters }];
    let report = Watch::begin(&expected).await.wait(&expected, Duration::from_millis(60)).await.remove(0);
    assert_eq!(report.state, State::Unreachable);
    assert!(report.message.unwrap().contains(&free.port().to_string()));
}
