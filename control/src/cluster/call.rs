//! Calls of the API server: each has a time limit, and each failure says whether trying again helps.

use std::time::Duration;

use kube::{Client, Config};
use tracing::Instrument;

use crate::engine::seams::SeamError;

/// How long a call may take. A call that is given up may still have happened: every change is fenced,
/// and what it did comes back through the watches.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How long a watch goes without its server ending it; a connection that died silently is noticed
/// this much later, and a little.
pub const WATCH_SECONDS: u32 = 30;

/// Nothing came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", LIMIT.as_secs())]
pub struct TooSlow;

/// A client for short calls and one for watches: a time limit that suits the first would cut off the
/// second.
///
/// # Errors
/// When the configuration cannot be used.
pub fn clients(mut config: Config) -> Result<(Client, Client), kube::Error> {
    config.connect_timeout = Some(LIMIT);
    config.write_timeout = Some(LIMIT);
    // The age of a pooled connection must not count against the next answer.
    config.reset_reader_on_write = true;
    let mut watching = config.clone();
    watching.read_timeout = Some(Duration::from_secs(u64::from(WATCH_SECONDS) + 10));
    config.read_timeout = Some(LIMIT);
    Ok((Client::try_from(config)?, Client::try_from(watching)?))
}

/// Waits for an answer; `what` names the object in the error.
///
/// # Errors
/// By what can be done about it: [`SeamError`].
pub async fn answer<T>(what: &str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, SeamError> {
    let call = call.instrument(tracing::info_span!("call", what));
    match tokio::time::timeout(LIMIT, call).await {
        Ok(answer) => answer.map_err(|error| seam(what, error)),
        Err(_) => Err(SeamError::Away { what: what.into(), source: Box::new(TooSlow) }),
    }
}

/// What an error of the API server means for whoever wanted the change.
pub fn seam(what: &str, error: kube::Error) -> SeamError {
    let what = what.to_owned();
    let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
    match code {
        404 => SeamError::Gone { what },
        409 => SeamError::Conflict { what },
        // A token that was just replaced is no reason to give up.
        400 | 403 | 405 | 413 | 415 | 422 => SeamError::Refused { what, source: Box::new(error) },
        _ => SeamError::Away { what, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn of(code: u16) -> SeamError {
        seam("release shop/summer", kube::Error::Api(Box::new(Status::failure("no", "Reason").with_code(code))))
    }

    #[test]
    fn an_error_says_whether_trying_again_helps() {
        assert!(matches!(of(409), SeamError::Conflict { .. }));
        assert!(matches!(of(404), SeamError::Gone { .. }));
        for code in [403, 422] {
            assert!(matches!(of(code), SeamError::Refused { .. }), "{code}");
        }
        for code in [401, 429, 500, 503, 504] {
            assert!(matches!(of(code), SeamError::Away { .. }), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_given_up() {
        let error = answer::<()>("release shop/summer", std::future::pending()).await.unwrap_err();
        assert!(matches!(error, SeamError::Away { .. }), "{error}");
        assert_eq!(error.to_string(), "release shop/summer cannot be reached");
    }
}
