//! What a controller offers to others: its API, and notices of what becomes of releases.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::api::auth::Auth;
use crate::api::record::Record;
use crate::api::serve::{self, Api};
use crate::notify::body::Kind;
use crate::notify::{Notices, Patience};

#[derive(Debug, clap::Args)]
pub(super) struct Offer {
    /// Where `POST /metrics/analysis` is served. Default: nowhere
    #[arg(long, value_name = "ADDRESS", env = "GRAYLANE_API_ADDRESS")]
    pub(super) api_address: Option<SocketAddr>,
    /// File with the token that whoever asks has to send; read again when it changes
    #[arg(long, value_name = "FILE", env = "GRAYLANE_API_TOKEN_FILE")]
    api_token_file: Option<PathBuf>,
    /// Let everybody ask; only where nobody else comes: on a loopback address
    #[arg(long, conflicts_with = "api_token_file")]
    api_insecure: bool,
    /// Webhook that is told when a release fails, is rolled back, pauses, is verified or succeeds
    #[arg(long, value_name = "URL", env = "GRAYLANE_NOTIFY_URL", hide_env_values = true)]
    notify_url: Option<String>,
    /// The form of what it is told
    #[arg(long, value_enum, default_value_t = Kind::Slack, env = "GRAYLANE_NOTIFY_KIND")]
    notify_kind: Kind,
}

impl Offer {
    /// Starts the notices, if a webhook is named.
    pub(super) fn notices(&self) -> anyhow::Result<Option<Notices>> {
        let start = |url: &String| Notices::start(url, self.notify_kind, Patience::default());
        self.notify_url.as_ref().map(start).transpose().context("--notify-url")
    }

    /// Who may ask. `otherwise` is asked where no file and no flag says so.
    pub(super) fn auth(&self, otherwise: impl FnOnce() -> Option<Auth>) -> anyhow::Result<Option<(SocketAddr, Auth)>> {
        let Some(address) = self.api_address else { return Ok(None) };
        if let Some(file) = &self.api_token_file {
            return Ok(Some((address, Auth::token(file).context("--api-token-file")?)));
        }
        if self.api_insecure {
            ensure!(
                address.ip().is_loopback(),
                "--api-insecure needs a loopback --api-address, such as 127.0.0.1:8090"
            );
            return Ok(Some((address, Auth::Open)));
        }
        let auth = otherwise()
            .context("--api-address needs --api-token-file FILE, or --api-insecure on a loopback address")?;
        Ok(Some((address, auth)))
    }
}

/// Serves until `end`; without end, if nothing is to be served.
pub(super) async fn serve(
    offered: Option<(SocketAddr, Auth)>,
    record: Record,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let Some((address, auth)) = offered else {
        end.await;
        return Ok(());
    };
    let bound = |address| tracing::info!(%address, "the analysis API is served");
    serve::serve(address, Api { record, auth }, bound, end).await
}
