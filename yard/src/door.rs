//! The port: connections, how many, and how long each may take to say what it wants.

use crate::api;
use crate::guard::guard;
use crate::news::listen;
use crate::pages;
use crate::problem::Problem;
use crate::seen::look;
use crate::state::Yard;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::IntCounter;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at a time, of this machine and of others: those can't keep the owner out.
const OWN_CONNECTIONS_MAX: usize = 64;
const OTHER_CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what is buffered of a connection.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// How long to wait where no more connections can be accepted for now, for want of descriptors.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Why a yard was not opened.
#[derive(Debug, Error)]
#[error("{flag} {address}: {source}; give another address or port, such as 127.0.0.1:0")]
pub struct OpenError {
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Serves `yard` at `address`, as long as the runtime lives; returns the address that it has.
///
/// # Errors
/// [`OpenError`], for instance when the port is taken.
pub async fn serve(yard: Arc<Yard>, address: SocketAddr) -> Result<SocketAddr, OpenError> {
    let (listener, bound) = bind("--ui", address).await?;
    tokio::spawn(listen(Arc::clone(&yard)));
    tokio::spawn(look(Arc::clone(&yard)));
    let refused = yard.counters.refused_connections.clone();
    tokio::spawn(accept(listener, router(yard), refused));
    Ok(bound)
}

/// Listens at `address`, which `flag` says; the address that it has.
pub(crate) async fn bind(
    flag: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), OpenError> {
    let failed = |source| OpenError { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves connections by `router`, which is told who is at the other end; counts those that are `refused`.
pub(crate) async fn accept(listener: TcpListener, router: Router, refused: IntCounter) {
    let (own, others) = (Semaphore::new(OWN_CONNECTIONS_MAX), Semaphore::new(OTHER_CONNECTIONS_MAX));
    let (own, others) = (Arc::new(own), Arc::new(others));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a port for HTTP: {error}");
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        let connections = if from.ip().to_canonical().is_loopback() { &own } else { &others };
        let Ok(permit) = Arc::clone(connections).try_acquire_owned() else {
            // Closing says it: an answer would have to be waited for.
            refused.inc();
            continue;
        };
        let router = router.clone().layer(Extension(ConnectInfo(from)));
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .max_buf_size(BUFFER_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .await;
            if let Err(error) = served {
                tracing::debug!("{from}: {error}");
            }
            drop(permit);
        });
    }
}

fn router(yard: Arc<Yard>) -> Router {
    api::routes()
        .merge(pages::routes())
        .fallback(async || Problem::missing("there is nothing here; /v1/openapi.json says what there is"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not with this method; /v1/openapi.json says with which",
            )
        })
        .layer(from_fn_with_state(Arc::clone(&yard), guard))
        .layer(from_fn_with_state(Arc::clone(&yard), counted))
        .with_state(yard)
}

/// Counts answers by the first digit of their status.
async fn counted(State(yard): State<Arc<Yard>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await.into_response();
    let status = match response.status().as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    yard.counters.requests.with_label_values(&[status]).inc();
    response
}
