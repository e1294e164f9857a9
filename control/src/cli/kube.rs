//! The options by which kubectl's users say which cluster they mean, and the client that follows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use crate::release::units::Span;

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Flags {
    /// Namespace; default is the one of the context
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// Kubeconfig file; default is $KUBECONFIG, then ~/.kube/config, then the pod's service account
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", value_name = "USER")]
    pub(super) act_as: Option<String>,
    /// How long to wait for an answer of the API server, such as `10s`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) request_timeout: Option<Duration>,
}

/// Reads a duration as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let millis = Span(text.into()).millis();
    millis.map(Duration::from_millis).map_err(|error| format!("{error}; write it like `10s`"))
}

// === impl Flags ===

impl Flags {
    /// A client, and the namespace that is meant.
    pub(super) async fn client(&self) -> anyhow::Result<(kube::Client, String)> {
        let mut config = self.config().await.context("no cluster can be reached: name one by --kubeconfig")?;
        if let Some(user) = &self.act_as {
            config.auth_info.impersonate = Some(user.clone());
        }
        if let Some(timeout) = self.request_timeout {
            (config.connect_timeout, config.read_timeout) = (Some(timeout), Some(timeout));
        }
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        // Already installed is as good as installed now.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok((kube::Client::try_from(config)?, namespace))
    }

    /// Whether a cluster is named by any of these, apart from the namespace.
    pub(super) fn names_a_cluster(&self) -> bool {
        self.context.is_some() || self.kubeconfig.is_some() || self.act_as.is_some()
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(file) => Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?),
            None if self.context.is_some() => Ok(Config::from_kubeconfig(&options).await?),
            None => Ok(Config::infer().await?),
        }
    }
}
