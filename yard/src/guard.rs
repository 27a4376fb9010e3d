//! Who may ask what: the host that a request names, the page that it comes from, where its sender is, and the token that it shows.

use crate::problem::Problem;
use crate::state::Yard;
use crate::token::Ticket;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

/// What a page of ours may load: what this very server has.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// A report is one file with its style and script in it.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; \
                             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-downloads";

/// What is no page loads nothing.
pub(crate) const PLAIN_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Tickets at a time.
const TICKETS_MAX: usize = 32;

/// Paths that say nothing about anybody: they need no token from anywhere.
const OPEN: [&str; 5] = ["/", "/yard.js", "/yard.css", "/healthz", "/readyz"];

/// Lets a request through that may be answered, and says in every answer what a browser may do with it.
pub(crate) async fn guard(
    State(yard): State<Arc<Yard>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = match allowed(&yard, from.ip(), &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let policy = if path.ends_with("/page") { REPORT_POLICY } else { POLICY };
    closed(&mut response, policy);
    response
}

/// Says what a browser may do with an answer: what `policy` allows, kept by nobody.
pub(crate) fn closed(response: &mut Response, policy: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Refuses what names another server than this one, which goes by `names`, that `flag` gives, beside `localhost` and addresses; and what
/// comes from another site's page.
pub(crate) fn addressed(headers: &HeaderMap, names: &[String], flag: &str) -> Result<(), Problem> {
    let host = only(headers, HOST.as_str())?.unwrap_or_default();
    if !is_own_host(names, host) {
        let problem = format!(
            "this server is not called `{}`; ask it by its address, or by {flag}",
            host.escape_default()
        );
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, problem));
    }
    if let Some(origin) = only(headers, ORIGIN.as_str())?
        && origin.strip_prefix("http://") != Some(host)
        && origin.strip_prefix("https://") != Some(host)
    {
        return Err(Problem::new(StatusCode::FORBIDDEN, "another site's page may not ask this server"));
    }
    Ok(())
}

/// Whether a request's host is this server. A name that anybody's name server may say is none: a page of another site could have it lead
/// here.
fn is_own_host(names: &[String], host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok()
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn allowed(yard: &Yard, from: IpAddr, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    addressed(headers, &yard.options.hosts, "a name that --ui-host gives")?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let open = OPEN.contains(&path) || (path == "/metrics" && yard.options.open_metrics);
    if reads && (open || from.to_canonical().is_loopback()) {
        return Ok(());
    }
    if reads
        && let Some(ticket) = request.uri().query().and_then(|query| query.strip_prefix("ticket="))
        && yard.take_ticket(path, ticket)
    {
        return Ok(());
    }
    let shown = only(headers, AUTHORIZATION.as_str())?.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match shown {
        Some(token) if yard.token.is(token.as_bytes()) => Ok(()),
        Some(_) if yard.wrong_token() => {
            Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again in 10 s"))
        }
        Some(_) => {
            Err(Problem::new(StatusCode::UNAUTHORIZED, "a wrong token; the coordinator prints the right one"))
        }
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this needs the token that the coordinator prints: `Authorization: Bearer TOKEN`",
        )),
    }
}

/// The one value of a header. Two of them are two readings of one request.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::bad(format!("two values of `{name}`; send one")));
    }
    let text = first.map(|value| value.to_str().map_err(|_| Problem::bad(format!("`{name}` can't be read"))));
    text.transpose()
}

impl Yard {
    /// Whether this ticket is for this path; it is used up then.
    fn take_ticket(&self, path: &str, shown: &str) -> bool {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tickets.iter().position(|ticket| ticket.is_for(path, shown));
        found.is_some_and(|at| tickets.remove(at).is_some())
    }

    /// A ticket for `path`, the oldest of many ends.
    pub(crate) fn give_ticket(&self, path: String) -> String {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|ticket| !ticket.has_ended());
        if tickets.len() >= TICKETS_MAX {
            tickets.pop_front();
        }
        let ticket = Ticket::new(path);
        let word = ticket.word().to_owned();
        tickets.push_back(ticket);
        word
    }

    /// Counts a wrong token; whether there have been too many.
    fn wrong_token(&self) -> bool {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).add()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_by_address_or_by_a_name_of_its_own() {
        let names = ["yard.lab".to_owned()];
        for own in
            ["localhost", "localhost:7080", "127.0.0.1:7080", "10.1.2.3", "[::1]:7080", "[::1]", "Yard.Lab:1"]
        {
            assert!(is_own_host(&names, own), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:7080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            ":7080",
        ] {
            assert!(!is_own_host(&names, other), "{other}");
        }
    }
}
