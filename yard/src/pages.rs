//! The page, its script and its style, and the report of a run as a page.

use crate::looked::{ClusterView, cluster, jobs, report_of};
use crate::problem::Problem;
use crate::state::Yard;
use askama::Template;
use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use study::service::JobView;
use view::page::STYLE;
use view::report::{Beside, Of, Source};

const SCRIPT: &str = include_str!("../assets/yard.js");
const OWN_STYLE: &str = include_str!("../assets/yard.css");

pub(crate) fn routes() -> Router<Arc<Yard>> {
    let script = ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT);
    Router::new()
        .route("/", get(page))
        .route("/yard.js", get(move || async move { script }))
        .route("/yard.css", get(style))
        .route("/v1/runs/{id}/page", get(report_page))
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], format!("{STYLE}{OWN_STYLE}")).into_response()
}

/// The page as it is without its script.
#[derive(Template)]
#[template(path = "yard.html")]
struct YardPage {
    /// What may be seen from where the page is asked from.
    known: Option<Known>,
    version: String,
}

struct Known {
    cluster: ClusterView,
    jobs: Vec<JobView>,
}

async fn page(
    State(yard): State<Arc<Yard>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Result<Html<String>, Problem> {
    let known = match from.ip().to_canonical().is_loopback() {
        true => Some(Known { cluster: cluster(&yard), jobs: jobs(&yard)? }),
        false => None,
    };
    let page = YardPage { known, version: yard.options.version.clone() };
    Ok(Html(page.render().expect("a String takes all that is written to it")))
}

/// `GET /v1/runs/{id}/page`.
async fn report_page(State(yard): State<Arc<Yard>>, Path(id): Path<String>) -> Result<Html<String>, Problem> {
    let report = report_of(&yard, &id)?;
    let source = Source { name: format!("run {id}"), of: Of::Comparison(&report) };
    Ok(Html(view::report::page(&[source], &Beside::default())))
}
