//! The queue: first come first served, or fair among tenants.

use crate::request::Request;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Which waiting request gets the next free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// First come, first served.
    #[default]
    Fcfs,
    /// The tenant that was served least, in tokens: a token of an answer counts as two of a prompt. Source: the virtual token counter
    /// of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024).
    Fair,
}

/// Weight of a token of an answer, against 1 of a prompt's (Sheng et al.).
const OUTPUT_WEIGHT: u64 = 2;

/// Requests that wait, at most `limit`.
#[derive(Clone, Debug)]
pub struct Queue {
    order: Order,
    limit: usize,
    waiting: usize,
    /// Queue of each tenant that waits; one queue in all for [`Order::Fcfs`].
    queues: BTreeMap<u32, VecDeque<Request>>,
    /// Tokens served, weighted, of tenants that wait or have waited.
    served: BTreeMap<u32, u64>,
}

impl Queue {
    /// An empty queue that holds at most `limit` requests.
    #[must_use]
    pub fn new(order: Order, limit: usize) -> Self {
        Self { order, limit, waiting: 0, queues: BTreeMap::new(), served: BTreeMap::new() }
    }

    fn queue_of(&self, tenant: u32) -> u32 {
        match self.order {
            Order::Fcfs => 0,
            Order::Fair => tenant,
        }
    }

    /// Requests that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Puts a request at the end of its queue.
    ///
    /// # Errors
    /// The request, if the queue is full.
    pub fn push(&mut self, request: Request) -> Result<(), Request> {
        if self.waiting == self.limit {
            return Err(request);
        }
        let queue = self.queue_of(request.tenant);
        if !self.queues.contains_key(&queue) {
            // Whoever did not wait earns no credit meanwhile: the counter is lifted to the least of those that wait.
            let least = self.queues.keys().filter_map(|tenant| self.served.get(tenant)).min().copied();
            let counter = self.served.entry(queue).or_insert(0);
            *counter = (*counter).max(least.unwrap_or(0));
        }
        self.queues.entry(queue).or_default().push_back(request);
        self.waiting += 1;
        Ok(())
    }

    /// The queue that is next: of the tenant served least, the lowest number where several were served alike.
    fn next_queue(&self) -> Option<u32> {
        let served = |tenant: &u32| self.served.get(tenant).copied().unwrap_or(0);
        self.queues.keys().copied().min_by_key(served)
    }

    /// The request that gets the next free place.
    #[must_use]
    pub fn peek(&self) -> Option<&Request> {
        self.queues.get(&self.next_queue()?)?.front()
    }

    /// Takes who is next and counts its tokens as served.
    pub fn pop(&mut self) -> Option<Request> {
        let queue = self.next_queue()?;
        let requests = self.queues.get_mut(&queue)?;
        let request = requests.pop_front()?;
        if requests.is_empty() {
            self.queues.remove(&queue);
        }
        self.waiting -= 1;
        let tokens = u64::from(request.input_tokens) + OUTPUT_WEIGHT * u64::from(request.output_tokens);
        *self.served.entry(queue).or_insert(0) += tokens;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Prefix, RequestId};
    use topology::Picos;

    fn request(id: u64, tenant: u32, input_tokens: u32) -> Request {
        Request {
            id: RequestId(id),
            arrived: Picos::ZERO,
            input_tokens,
            output_tokens: 10,
            tenant,
            prefix: Prefix::none(),
        }
    }

    fn order(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop()).map(|request| request.id.0).collect()
    }

    #[test]
    fn fair_serves_a_quiet_tenant_between_those_of_a_loud_one() {
        let mut queue = Queue::new(Order::Fair, 10);
        for id in 0..4 {
            queue.push(request(id, 0, 100)).unwrap();
        }
        queue.push(request(4, 1, 100)).unwrap();
        queue.push(request(5, 1, 100)).unwrap();
        assert_eq!(order(&mut queue), [0, 4, 1, 5, 2, 3]);
    }

    #[test]
    fn who_did_not_wait_has_no_credit() {
        let mut queue = Queue::new(Order::Fair, 10);
        for id in 0..4 {
            queue.push(request(id, 0, 100)).unwrap();
        }
        assert_eq!([queue.pop().unwrap().id.0, queue.pop().unwrap().id.0], [0, 1]);
        for id in 4..7 {
            queue.push(request(id, 1, 100)).unwrap();
        }
        assert_eq!(order(&mut queue), [2, 4, 3, 5, 6]);
    }

    #[test]
    fn a_full_line_hands_the_request_back() {
        let mut queue = Queue::new(Order::Fcfs, 1);
        queue.push(request(0, 0, 1)).unwrap();
        assert_eq!(queue.push(request(1, 0, 1)).unwrap_err().id, RequestId(1));
        assert_eq!((queue.len(), queue.peek().unwrap().id), (1, RequestId(0)));
        assert_eq!(order(&mut queue), [0]);
        assert!(queue.is_empty());
    }
}
