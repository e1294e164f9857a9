//! `graylane controller`: the engine in a cluster.

use std::net::SocketAddr;

use anyhow::Context;
use kube::Config;
use kube::config::KubeConfigOptions;
use tokio::sync::watch;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Exit;
use super::offer::{self, Offer};
use crate::cluster::controller::{Controller, Settings};
use crate::cluster::delivery::check_module;
use crate::cluster::health;
use crate::istio::config::Emitter;
use crate::istio::module::Module;
use crate::log::{self, WorkerGuard};
use crate::traces::Traces;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look only after these namespaces, of releases, workloads and gateways alike. Default: all
    #[arg(long = "watch-namespace", value_name = "NAME", env = "GRAYLANE_WATCH_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// The root namespace of the mesh (`rootNamespace` of its config). A release that would write there is refused;
    /// if all proxies of the mesh are meant, let it be empty
    #[arg(long, value_name = "NAME", default_value = "istio-system", env = "GRAYLANE_ROOT_NAMESPACE")]
    root_namespace: String,
    /// The filter module: `oci://…@sha256:…`, `https://…@sha256:…` or a file in every proxy
    #[arg(long, value_name = "MODULE", env = "GRAYLANE_MODULE")]
    module: Module,
    /// Secret with the registry's credentials in the namespaces of proxies; only with `wasmplugin`
    #[arg(long, value_name = "SECRET", env = "GRAYLANE_MODULE_PULL_SECRET")]
    module_pull_secret: Option<String>,
    /// By which kind of object config reaches proxies
    #[arg(long, value_enum, default_value_t = EmitterArg::Envoyfilter, env = "GRAYLANE_EMITTER")]
    emitter: EmitterArg,
    /// Where /metrics is served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090", env = "GRAYLANE_METRICS_ADDRESS")]
    metrics_address: SocketAddr,
    /// Where /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081", env = "GRAYLANE_HEALTH_ADDRESS")]
    health_address: SocketAddr,
    #[command(flatten)]
    offer: Offer,
    /// The audience that tokens of the cluster have to be made for, where no file holds one
    #[arg(long, value_name = "NAME", default_value = "graylane", env = "GRAYLANE_API_AUDIENCE")]
    api_audience: String,
    /// Name of the lease by which instances elect a leader
    #[arg(long, value_name = "NAME", default_value = "graylane", env = "GRAYLANE_LEASE_NAME")]
    lease_name: String,
    /// Namespace of the lease. Default: that of the pod or of the kubeconfig
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of this instance among all. Default: the name of the host
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Where a collector of OpenTelemetry takes traces over HTTP, such as `http://collector:4318`. Default:
    /// none are made
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Format of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Json, env = "GRAYLANE_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged, as in `info,graylane=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "GRAYLANE_LOG")]
    log: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum EmitterArg {
    Envoyfilter,
    Wasmplugin,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let emitter = match args.emitter {
        EmitterArg::Envoyfilter => Emitter::EnvoyFilter,
        EmitterArg::Wasmplugin => Emitter::WasmPlugin,
    };
    let module = args.module.clone().with_pull_secret(args.module_pull_secret.clone());
    check_module(emitter, &module)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // An empty variable of the environment means the same as none.
    let endpoint = args.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let traces = endpoint.map(|endpoint| Traces::to(endpoint, runtime.handle().clone())).transpose();
    let traces = traces.context("--otlp-endpoint")?;
    let _log = start_log(args, traces.as_ref())?;
    let result = runtime.block_on(control(args, emitter, module));
    if let Some(traces) = traces {
        traces.end();
    }
    result
}

async fn control(args: &Args, emitter: Emitter, module: Module) -> anyhow::Result<Exit> {
    let config = config().await?;
    let lease_namespace = args.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let settings = Settings {
        namespaces: args.namespaces.clone(),
        root_namespace: args.root_namespace.clone(),
        module,
        emitter,
        lease_namespace,
        lease_name: args.lease_name.clone(),
        identity: args.identity.clone().unwrap_or_else(identity),
        notices: args.offer.notices()?,
    };
    let (stop, stopped) = watch::channel(false);
    let end = move || {
        let mut stopped = stopped.clone();
        async move {
            // A sender that is gone is an end as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    };
    let controller = Controller::start(config, &settings).context("cannot make a client of the API server")?;
    let (health, metrics) = (controller.health().router(), health::metrics_router(controller.metrics()));
    let offered = args.offer.auth(|| Some(controller.reviews(&args.api_audience)))?;
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(offer::serve(offered, controller.record(), end()));
    if args.health_address == args.metrics_address {
        servers.spawn(health::serve(args.health_address, health.merge(metrics), end()));
    } else {
        servers.spawn(health::serve(args.health_address, health, end()));
        servers.spawn(health::serve(args.metrics_address, metrics, end()));
    }
    tracing::info!(identity = settings.identity, module = settings.module.address(), "controller started");
    let signal = tokio::spawn(async move {
        let name = super::demo::interrupted().await;
        tracing::info!(signal = ?name, "ending");
        stop.send_replace(true);
    });
    let running = controller.run(end());
    tokio::pin!(running);
    let result = tokio::select! {
        () = &mut running => Ok(Exit::Done),
        Some(ended) = servers.join_next() => match failed(ended) {
            // Servers end when they are asked to, and before the lease has been given back.
            Ok(exit) => {
                running.await;
                Ok(exit)
            }
            Err(error) => Err(error),
        },
    };
    signal.abort();
    result
}

/// A server ends only when it could not begin, or in the end.
fn failed(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> anyhow::Result<Exit> {
    ended.context("a server has crashed")?.context("cannot serve health and metrics")?;
    Ok(Exit::Done)
}

/// In a cluster the pod's own account; elsewhere the kubeconfig.
async fn config() -> anyhow::Result<Config> {
    match Config::incluster() {
        Ok(config) => Ok(config),
        Err(_) => Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .context("neither in a cluster nor with a kubeconfig (KUBECONFIG)"),
    }
}

/// A name that no other instance has: of the host, which is the pod's, and of the process.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "graylane" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}

fn start_log(args: &Args, traces: Option<&Traces>) -> anyhow::Result<WorkerGuard> {
    let (writer, guard) = log::unblocking(std::io::stderr());
    let filter = EnvFilter::try_new(&args.log).context("--log makes no sense")?;
    let log = tracing_subscriber::fmt::layer().with_writer(writer);
    let log = match args.log_format {
        // All spans of a line, outermost first: the id of a pass stands in the first one.
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_filter(filter).boxed(),
        LogFormat::Text => log.with_filter(filter).boxed(),
    };
    // What the log leaves out is in the traces all the same; of others' spans none is.
    let own = Targets::new().with_target("graylane", tracing::Level::INFO);
    tracing_subscriber::registry().with(log).with(traces.map(|traces| traces.layer().with_filter(own))).init();
    Ok(guard)
}
