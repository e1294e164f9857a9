//! The server: one route that answers, one that says what can be asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::TcpListener;

use super::answer::{self, Refusal};
use super::auth::{Access, Auth};
use super::openapi;
use super::question::{self, Problem};
use super::record::Record;
use crate::clock::now_ms;
use crate::traces;

/// The id of a question.
pub const REQUEST_ID: &str = "x-request-id";
/// The longest id that is taken over.
const MAX_ID: usize = 128;
/// The largest question, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    /// What has been counted.
    pub record: Record,
    /// Who may ask.
    pub auth: Auth,
}

/// An answer that is none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    error: Problem,
    request_id: String,
}

/// Serves until `end`, then finishes the answers it has begun. `bound` is told the address.
///
/// # Errors
/// When the address cannot be taken.
pub async fn serve(
    address: SocketAddr,
    api: Api,
    bound: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    bound(listener.local_addr()?);
    axum::serve(listener, router(api)).with_graceful_shutdown(end).await
}

/// The routes. `/healthz` is there to be compared with: it does nothing.
pub fn router(api: Api) -> Router {
    let document = openapi::document().to_string();
    let json = [(header::CONTENT_TYPE, "application/json")];
    Router::new()
        .route("/metrics/analysis", post(analysis))
        .route("/openapi.json", get(move || std::future::ready((json, document.clone()))))
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(api))
}

async fn analysis(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let began = Instant::now();
    let id = request_id(&headers);
    let answered = consider(&api, &headers, body, &id).await;
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    match answered {
        Ok((question, answer)) => {
            let (metric, release, lane) = (question.metric_name, &question.labels.release, &question.labels.lane);
            tracing::info!(
                request_id = id,
                ?metric,
                release,
                lane,
                value = answer.value,
                n = answer.n,
                micros,
                "asked"
            );
            with_id(StatusCode::OK, &id, &answer)
        }
        Err((status, problem)) => {
            let (field, reason) = (&problem.field, &problem.reason);
            tracing::info!(request_id = id, status = status.as_u16(), field, reason, micros, "refused");
            refuse(status, &id, problem)
        }
    }
}

async fn consider(
    api: &Api,
    headers: &HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
    id: &str,
) -> Result<(question::Question, answer::Answer), (StatusCode, Problem)> {
    match api.auth.access(bearer(headers)).await {
        Access::Granted => {}
        Access::Denied => {
            let problem = Problem::of("", "no token that is known here", "send `authorization: Bearer <token>`");
            return Err((StatusCode::UNAUTHORIZED, problem));
        }
        Access::Forbidden => {
            let mend = "let its owner `post` to `/metrics/analysis`: bind the ClusterRole graylane-asker to it";
            return Err((StatusCode::FORBIDDEN, Problem::of("", "the token's owner may not ask", mend)));
        }
        Access::Unknown => {
            let problem = Problem::of("", "nobody can say now whose the token is", "ask again in some seconds");
            return Err((StatusCode::SERVICE_UNAVAILABLE, problem));
        }
    }
    let body = body.map_err(|error| (error.status(), Problem::of("", error.body_text(), "send at most 16 KiB")))?;
    if !is_json(headers) {
        let problem = Problem::of("", "the body is not said to be JSON", "send `content-type: application/json`");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    let now = now_ms();
    if api.record.is_elsewhere(now) {
        let problem =
            Problem::of("", "this instance does not lead, so it counts nothing", "ask again: another one answers");
        return Err((StatusCode::SERVICE_UNAVAILABLE, problem));
    }
    let question = question::read(&body).map_err(|problem| (StatusCode::BAD_REQUEST, problem))?;
    match answer::answer(&api.record, &question, id, now) {
        Ok(answer) => Ok((question, answer)),
        Err(Refusal::Bad(problem)) => Err((StatusCode::UNPROCESSABLE_ENTITY, problem)),
        Err(Refusal::Unknown(problem)) => Err((StatusCode::NOT_FOUND, problem)),
    }
}

async fn wrong_method(headers: HeaderMap, method: Method, uri: Uri) -> Response {
    let problem = Problem::of("", format!("{} does not take {method}", uri.path()), "see /openapi.json");
    refuse(StatusCode::METHOD_NOT_ALLOWED, &request_id(&headers), problem)
}

async fn nowhere(headers: HeaderMap, uri: Uri) -> Response {
    let problem = Problem::of("", format!("nothing is at {}", uri.path()), "see /openapi.json");
    refuse(StatusCode::NOT_FOUND, &request_id(&headers), problem)
}

fn refuse(status: StatusCode, id: &str, error: Problem) -> Response {
    let mut response = with_id(status, id, &Refused { error, request_id: id.to_owned() });
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        // Behind a Service, whoever asks again on this connection asks this instance again.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn with_id(status: StatusCode, id: &str, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The id that came with a question if it can be shown in a log, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(id) = given.filter(is_plain) {
        return id.to_owned();
    }
    traces::fresh_id()
}
