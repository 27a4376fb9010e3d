//! A stream of what changes, as server-sent events: the cluster, the jobs, the news, each step; the whole of each at once, no more often
//! than a page can draw.

use crate::looked::{cluster, jobs};
use crate::problem::Problem;
use crate::shown::{News, StepView};
use crate::state::Yard;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

/// Shortest time between two looks at what has changed.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// How often a quiet stream says that it is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// What a page has been told, and what is on its way.
struct Following {
    yard: Arc<Yard>,
    _permit: OwnedSemaphorePermit,
    changes: tokio::sync::watch::Receiver<u64>,
    roll: tokio::sync::watch::Receiver<coordinator::server::Roll>,
    news: tokio::sync::watch::Receiver<VecDeque<News>>,
    step: tokio::sync::watch::Receiver<Option<Arc<StepView>>>,
    waiting: VecDeque<Event>,
    /// What was said last of each kind: a page is told what has changed.
    said: BTreeMap<&'static str, String>,
    next_look: Instant,
}

/// `GET /v1/events`.
pub(crate) async fn follow(
    State(yard): State<Arc<Yard>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Ok(permit) = Arc::clone(&yard.streams).try_acquire_owned() else {
        let problem = "too many pages follow this coordinator; close one";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, problem));
    };
    let mut following = Following {
        changes: yard.service.watch(),
        roll: yard.cluster.watch_roll(),
        news: yard.news.subscribe(),
        step: yard.step.subscribe(),
        yard,
        _permit: permit,
        waiting: VecDeque::new(),
        said: BTreeMap::new(),
        next_look: Instant::now(),
    };
    following.changes.mark_changed();
    following.roll.mark_changed();
    following.news.mark_changed();
    following.step.mark_changed();
    let stream = unfold(following, |mut following| async {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)))
}

impl Following {
    /// The next event; `None` once the coordinator is shut down.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            sleep_until(self.next_look).await;
            let there = tokio::select! {
                changed = self.changes.changed() => changed.is_ok(),
                changed = self.roll.changed() => changed.is_ok().then(|| self.roll.mark_changed()).is_some(),
                changed = self.news.changed() => changed.is_ok().then(|| self.news.mark_changed()).is_some(),
                changed = self.step.changed() => changed.is_ok().then(|| self.step.mark_changed()).is_some(),
            };
            if !there {
                return None;
            }
            self.next_look = Instant::now() + LOOK_EVERY;
            self.look();
        }
    }

    /// Says what has changed since the last look; jobs each time, since nodes and steps concern them.
    fn look(&mut self) {
        self.changes.mark_unchanged();
        self.roll.mark_unchanged();
        self.say("cluster", &cluster(&self.yard));
        if let Ok(jobs) = jobs(&self.yard) {
            self.say("runs", &jobs);
        }
        if self.news.has_changed().unwrap_or(false) {
            let news = self.news.borrow_and_update().clone();
            self.say("news", &news);
        }
        if self.step.has_changed().unwrap_or(false) {
            let step = self.step.borrow_and_update().clone();
            if let Some(step) = step {
                self.say("step", step.as_ref());
            }
        }
    }

    fn say(&mut self, what: &'static str, data: &impl Serialize) {
        let Ok(text) = serde_json::to_string(data) else { return };
        if self.said.get(what) != Some(&text) {
            self.waiting.push_back(Event::default().event(what).data(&text));
            self.said.insert(what, text);
        }
    }
}
