//! `/v1`: the cluster, what can be asked for, and the jobs, which are called runs here as in the words of the command line.

use crate::asked::{askable, refused, spec};
use crate::events::follow;
use crate::looked::{cluster, job, jobs, named, report_of};
use crate::problem::Problem;
use crate::state::Yard;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use moe::RoutingSpec;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use study::layer::{BackendKind, CompareSpec, Report};
use study::service::JobView;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Longest request, bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long one may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// Most ranks, and most tokens over all of them, of a comparison that is simulated while a page waits.
const PREVIEW_RANKS_MAX: u32 = 128;
const PREVIEW_TOKENS_MAX: u32 = 32_768;
/// The same where a gate has to work out each of them.
const PREVIEW_GATED_MAX: u32 = 1_024;
/// Who asks for the jobs of pages and scripts: no client's certificate has this name.
const CLIENT: &str = "the yard's page";
/// The description of all this.
const OPENAPI: &str = include_str!("../assets/openapi.json");

pub(crate) fn routes() -> Router<Arc<Yard>> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/v1/cluster", get(async |State(yard): State<Arc<Yard>>| Json(cluster(&yard))))
        .route("/v1/events", get(follow))
        .route("/v1/experiments", get(async || Json(askable())).post(preview))
        .route("/v1/runs", get(list).post(submit))
        .route("/v1/runs/{id}", get(one).delete(cancel))
        .route("/v1/runs/{id}/report", get(report))
        .route("/v1/runs/{id}/ticket", post(ticket))
}

async fn ready(State(yard): State<Arc<Yard>>) -> Response {
    match yard.cluster.num_nodes() {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "no nodes yet\n").into_response(),
        nodes => format!("{nodes} nodes\n").into_response(),
    }
}

async fn metrics(State(yard): State<Arc<Yard>>) -> Result<Response, Problem> {
    let jobs = jobs(&yard)?;
    let text = yard.counters.text(&yard.service.status(), yard.cluster.num_cores(), &jobs);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn list(State(yard): State<Arc<Yard>>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "runs": jobs(&yard)? })))
}

async fn one(State(yard): State<Arc<Yard>>, Path(id): Path<String>) -> Result<Json<JobView>, Problem> {
    named(&yard, &id).map(Json)
}

/// With `detail=false` without what is behind each record, which is most of a report.
async fn report(
    State(yard): State<Arc<Yard>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Report>, Problem> {
    let whole = match query.as_deref() {
        None | Some("" | "detail=true") => true,
        Some("detail=false") => false,
        Some(_) => {
            return Err(Problem::bad("a report is asked for with detail=true or detail=false, or nothing"));
        }
    };
    let mut report = report_of(&yard, &id)?;
    if !whole {
        report.rows.iter_mut().for_each(|record| record.detail = None);
    }
    Ok(Json(report))
}

/// What is asked for in a body.
async fn asked(body: Body) -> Result<Map<String, Value>, Problem> {
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took more than 10 s to arrive");
    let bytes = timeout(BODY_LIMIT, to_bytes(body, BODY_BYTES_MAX)).await.map_err(late)?;
    let long = |_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request has {BODY_BYTES_MAX} bytes at most"))
    };
    let bytes = bytes.map_err(long)?;
    let problem =
        |error| Problem::bad(format!("an object with words of `railyard compare`, please: {error}"));
    serde_json::from_slice(&bytes).map_err(problem)
}

/// The comparison that a body asks for, worked out where it may take its time; a few at a time, also where nobody waits any more.
async fn asked_spec(yard: &Arc<Yard>, body: Body) -> Result<CompareSpec, Problem> {
    let (asked, yard) = (asked(body).await?, Arc::clone(yard));
    let permit = free(&yard.works)?;
    worked(permit, move || spec(&yard, &asked)).await?
}

/// A place among those that work at a time.
fn free(works: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = |_| Problem::new(StatusCode::TOO_MANY_REQUESTS, "others are worked out; try again in 1 s");
    Arc::clone(works).try_acquire_owned().map_err(busy)
}

/// What `work` yields. It keeps its place until it ends, whoever waits for it.
async fn worked<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let failed = |_| {
        let problem = "the work on this request failed; see the coordinator's log";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem)
    };
    let placed = move || {
        let done = work();
        drop(permit);
        done
    };
    spawn_blocking(placed).await.map_err(failed)
}

/// What a comparison would yield, simulated and by closed forms. One at a time.
async fn preview(State(yard): State<Arc<Yard>>, body: Body) -> Result<Json<Report>, Problem> {
    let permit = free(&yard.previews)?;
    let mut spec = asked_spec(&yard, body).await?;
    let ranks = spec.cluster().map_or(0, |cluster| cluster.num_ranks());
    let tokens_max =
        if matches!(spec.routing, RoutingSpec::Gate) { PREVIEW_GATED_MAX } else { PREVIEW_TOKENS_MAX };
    if ranks > PREVIEW_RANKS_MAX || ranks.saturating_mul(spec.tokens) > tokens_max {
        let problem = format!(
            "{ranks} ranks of {} tokens: at most {PREVIEW_RANKS_MAX} ranks and {tokens_max} tokens in all are simulated while you \
             wait; ask for a run with the backend sim",
            spec.tokens
        );
        return Err(Problem::bad(problem));
    }
    spec.backends = BackendKind::ALL.to_vec();
    (spec.warmup, spec.rounds, spec.detail) = (0, 1, false);
    let report = worked(permit, move || study::layer::preview(&spec)).await?;
    report.map(Json).map_err(|error| refused(&error))
}

async fn submit(State(yard): State<Arc<Yard>>, body: Body) -> Result<Response, Problem> {
    let spec = asked_spec(&yard, body).await?;
    let needed = spec.cluster().map_or(0, |cluster| cluster.num_ranks());
    let there = yard.cluster.num_nodes();
    if spec.backends.contains(&BackendKind::Quic) && needed > there {
        let problem = format!(
            "{needed} ranks, and {there} nodes are there; ask for fewer racks or ranks, or for the backend sim"
        );
        return Err(Problem::new(StatusCode::CONFLICT, problem));
    }
    let job = yard.service.leave_here(CLIENT, spec);
    let job = job.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error))?;
    let view = named(&yard, &job.to_string())?;
    let location = format!("/v1/runs/{job}");
    Ok((StatusCode::ACCEPTED, [("location", location)], Json(view)).into_response())
}

/// Lets a browser open the page of a run once, within a minute, without the token.
async fn ticket(State(yard): State<Arc<Yard>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id = named(&yard, &id)?.id;
    let path = format!("/v1/runs/{id}/page");
    let ticket = yard.give_ticket(path.clone());
    Ok(Json(json!({ "page": format!("{path}?ticket={ticket}") })))
}

async fn cancel(State(yard): State<Arc<Yard>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let view = named(&yard, &id)?;
    if yard.service.cancel(job(&id)?) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::CONFLICT, format!("run {id} is {}: there is nothing to cancel", view.state)))
}
