//! A node's metrics over HTTP: one path, to be read by Prometheus.

use crate::counters::node_text;
use crate::door::{OpenError, accept, bind};
use crate::guard::{PLAIN_POLICY, addressed, closed};
use crate::problem::Problem;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use node::worker::Tally;
use prometheus::{IntCounter, TEXT_FORMAT};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a node shows of itself.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    /// Its totals.
    pub tally: Arc<Tally>,
    /// The name by which it may be asked, beside `localhost` and addresses: its own.
    pub name: String,
    /// Version of the program.
    pub version: String,
}

/// Serves `metrics` at `address`, as long as the runtime lives; returns the address that it has. Whoever reaches that may read.
///
/// # Errors
/// [`OpenError`], for instance when the port is taken.
pub async fn serve_node(metrics: NodeMetrics, address: SocketAddr) -> Result<SocketAddr, OpenError> {
    let (listener, bound) = bind("--metrics", address).await?;
    let refused = IntCounter::new("refused", "Connections beyond the limit.").expect("a plain name");
    let shown = Arc::new((metrics, refused.clone()));
    let router = Router::new()
        .route("/metrics", get(text))
        .fallback(async || Problem::missing("there is nothing here but /metrics"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "metrics are read")
        })
        .layer(from_fn_with_state(Arc::clone(&shown), guard))
        .with_state(shown);
    tokio::spawn(accept(listener, router, refused));
    Ok(bound)
}

type Shown = Arc<(NodeMetrics, IntCounter)>;

async fn text(State(shown): State<Shown>) -> Response {
    let (metrics, refused) = &*shown;
    let text = node_text(&metrics.tally.read(), &metrics.version, refused.get());
    ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

/// As at a coordinator: it must be asked by its own name, and by no page of another site.
async fn guard(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let names = std::slice::from_ref(&shown.0.name);
    let mut response = match addressed(request.headers(), names, "its --name") {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    closed(&mut response, PLAIN_POLICY);
    response
}
