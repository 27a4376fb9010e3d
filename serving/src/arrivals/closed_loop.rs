//! A fixed number of users, each of whom asks again some time after its last request ended.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use topology::Picos;

use super::error::{setting, within};
use super::open_loop::Limits;
use super::prompts::Prompts;
use super::{ArrivalError, Arrivals, LATEST, MAX_GENERATED};
use crate::request::{Request, RequestId};

/// Most users.
const MAX_USERS: u32 = 1 << 20;

/// A closed loop: never more requests under way than there are users.
#[derive(Debug)]
pub(super) struct ClosedLoop {
    think_time: Picos,
    limits: Limits,
    prompts: Prompts,
    /// When each user who waits for nothing asks next.
    ready: BinaryHeap<Reverse<Picos>>,
    /// Requests that were taken and have not ended.
    under_way: u32,
    /// Number of the next request.
    index: u64,
    /// When the last one was taken.
    last: Picos,
}

impl ClosedLoop {
    /// All users ask first at 0.
    pub(super) fn new(
        users: u32,
        think_time: Picos,
        limits: Limits,
        prompts: Prompts,
    ) -> Result<Self, ArrivalError> {
        let users = within("users", users, 1, MAX_USERS)?;
        let ready = (0..users).map(|_| Reverse(Picos::ZERO)).collect();
        Ok(Self { think_time, limits, prompts, ready, under_way: 0, index: 0, last: Picos::ZERO })
    }
}

impl Arrivals for ClosedLoop {
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError> {
        if self.index >= self.limits.num_prompts.min(MAX_GENERATED) {
            return Ok(None);
        }
        let Some(&Reverse(at)) = self.ready.peek() else { return Ok(None) };
        if self.limits.until.is_some_and(|until| at >= until) {
            return Ok(None);
        }
        if at > LATEST {
            let must = format!("request {} would come after 106 days; ask for fewer", self.index);
            return Err(setting("num_prompts", self.limits.num_prompts, must));
        }
        Ok(Some(at))
    }

    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError> {
        let Some(at) = self.next_at()? else { return Ok(None) };
        self.ready.pop();
        let request = self.prompts.request(self.index, at);
        self.under_way += 1;
        self.index += 1;
        self.last = at;
        Ok(Some(request))
    }

    fn ended(&mut self, _: RequestId, now: Picos) {
        // An end without a request would be one more user.
        let Some(under_way) = self.under_way.checked_sub(1) else { return };
        self.under_way = under_way;
        // A user who is told late of an end before the last arrival asks no earlier than that.
        self.ready.push(Reverse(now.saturating_add(self.think_time).max(self.last)));
    }
}
