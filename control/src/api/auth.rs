//! Who may ask. Nobody, unless somebody says how to tell.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// What somebody has to be allowed in the cluster: to `post` here, as a URL that is no resource.
const PATH: &str = "/metrics/analysis";
/// A token that was good is good for this long without being asked about again.
const GOOD: Duration = Duration::from_secs(60);
/// One that was not is refused for this long.
const BAD: Duration = Duration::from_secs(10);
/// Tokens that are remembered.
const KEPT: usize = 1_024;
/// Reviews at the same time; whoever comes beyond them is told to come again.
const AT_ONCE: usize = 4;
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A file with a token is read again after this: secrets are rotated.
const AGAIN: Duration = Duration::from_secs(10);

/// Who may ask.
#[derive(Clone)]
pub enum Auth {
    /// Everybody; only for an address that nobody else reaches.
    Open,
    /// Whoever knows the token of a file.
    Token(Arc<RwLock<Digested>>),
    /// Whoever Kubernetes knows and allows it.
    Review(Box<Reviews>),
}

/// SHA-256 of a token: what is compared and remembered, so that no secret lies in memory for longer
/// than a request, and a comparison says nothing about where two differ.
pub type Digested = [u8; 32];

/// Asks Kubernetes whose a token is, and whether they may ask.
#[derive(Clone)]
pub struct Reviews {
    client: Client,
    audience: String,
    known: Arc<Mutex<HashMap<Digested, (Access, Instant)>>>,
    at_once: Arc<Semaphore>,
}

/// What is said of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner may ask.
    Granted,
    /// There is none, or it is not good.
    Denied,
    /// It is good, and its owner may not ask.
    Forbidden,
    /// Nobody can say now.
    Unknown,
}

/// Why a token cannot be taken from a file.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {} cannot be read", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds nothing.
    #[error("the token file {} is empty; write a long random text into it", .0.display())]
    Empty(PathBuf),
}

// === impl Auth ===

impl Auth {
    /// Whoever knows the token in a file. The file is read again and again from now on, which needs a tokio
    /// runtime; while it cannot be read, the last token holds.
    ///
    /// # Errors
    /// When it cannot be read or is empty.
    pub fn token(file: &Path) -> Result<Self, TokenError> {
        let token = Arc::new(RwLock::new(read(file)?));
        let (weak, file) = (Arc::downgrade(&token), file.to_owned());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let Some(token) = weak.upgrade() else { return };
                match read(&file) {
                    Ok(read) => *token.write().unwrap_or_else(PoisonError::into_inner) = read,
                    Err(error) => tracing::warn!(%error, "the last token holds"),
                }
            }
        });
        Ok(Self::Token(token))
    }

    /// Whoever Kubernetes knows by a token that is meant for an audience, and allows to `post` to the API's
    /// path.
    pub fn review(client: Client, audience: &str) -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self::Review(Box::new(Reviews { client, audience: audience.into(), known: Arc::default(), at_once }))
    }

    /// What is said of a token. Asks Kubernetes for one that it has not asked about for a while.
    pub async fn access(&self, token: Option<&str>) -> Access {
        let (Some(token), false) = (token, matches!(self, Self::Open)) else {
            return if matches!(self, Self::Open) { Access::Granted } else { Access::Denied };
        };
        let digest = digest(token);
        match self {
            Self::Open => Access::Granted,
            Self::Token(good) => {
                let good = *good.read().unwrap_or_else(PoisonError::into_inner);
                if good == digest { Access::Granted } else { Access::Denied }
            }
            Self::Review(reviews) => reviews.access(token, digest).await,
        }
    }
}

fn read(file: &Path) -> Result<Digested, TokenError> {
    let text = std::fs::read_to_string(file).map_err(|source| TokenError::Read { file: file.into(), source })?;
    if text.trim().is_empty() { Err(TokenError::Empty(file.into())) } else { Ok(digest(text.trim())) }
}

fn digest(token: &str) -> Digested {
    Sha256::digest(token.as_bytes()).into()
}

// === impl Reviews ===

impl Reviews {
    async fn access(&self, token: &str, digest: Digested) -> Access {
        if let Some(access) = self.remembered(&digest) {
            return access;
        }
        let Ok(_permit) = self.at_once.try_acquire() else { return Access::Unknown };
        match tokio::time::timeout(PATIENCE, self.review(token)).await {
            Ok(Ok(access)) => {
                self.remember(digest, access);
                access
            }
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "tokens cannot be reviewed");
                Access::Unknown
            }
            Err(_) => Access::Unknown,
        }
    }

    async fn review(&self, token: &str) -> Result<Access, kube::Error> {
        let spec = TokenReviewSpec { audiences: Some(vec![self.audience.clone()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?.status;
        let status = status.unwrap_or_default();
        let is_meant = status.audiences.is_some_and(|meant| meant.contains(&self.audience));
        let user = status.user.filter(|_| is_meant && status.authenticated == Some(true));
        let Some(user) = user else { return Ok(Access::Denied) };
        Ok(if self.may_ask(user).await? { Access::Granted } else { Access::Forbidden })
    }

    async fn may_ask(&self, user: UserInfo) -> Result<bool, kube::Error> {
        let attributes = NonResourceAttributes { path: Some(PATH.into()), verb: Some("post".into()) };
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?.status;
        Ok(status.is_some_and(|status| status.allowed))
    }

    fn remembered(&self, digest: &Digested) -> Option<Access> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (access, until) = known.get(digest)?;
        (Instant::now() < *until).then_some(*access)
    }

    fn remember(&self, digest: Digested, access: Access) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() < KEPT {
            known.insert(digest, (access, now + if access == Access::Granted { GOOD } else { BAD }));
        }
    }
}
