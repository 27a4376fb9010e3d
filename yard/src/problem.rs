//! Why a request is refused, as JSON: one line that says what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    problem: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, problem: impl ToString) -> Self {
        Self { status, problem: problem.to_string() }
    }

    /// The request itself is at fault.
    pub(crate) fn bad(problem: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, problem)
    }

    /// There is nothing of that name.
    pub(crate) fn missing(problem: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, problem)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "problem": self.problem }))).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, "Bearer realm=\"railyard\"".parse().expect("visible"));
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, "1".parse().expect("visible"));
        }
        response
    }
}
