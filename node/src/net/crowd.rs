//! Connections whose other end has not shown who it is: a bounded number of them, of which the oldest has to make room.
//!
//! A process of the cluster needs milliseconds for its handshake. So whoever is still here when so many others have come after it is none, or
//! slow, and may try again; newcomers are never kept waiting.

use std::collections::VecDeque;
use tokio::task::AbortHandle;

/// Most handshakes under way, and connections that have not said what they want.
const STRANGERS_MAX: usize = 256;

/// Tasks that deal with strangers; dropped with this, they end.
#[derive(Debug, Default)]
pub struct Crowd {
    oldest_first: VecDeque<AbortHandle>,
}

impl Crowd {
    /// Spawns a task that ends when its stranger is known, or at its own limit.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(&mut self, welcome: impl Future<Output = ()> + Send + 'static) {
        if self.oldest_first.len() >= STRANGERS_MAX {
            self.oldest_first.retain(|task| !task.is_finished());
        }
        if self.oldest_first.len() >= STRANGERS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        self.oldest_first.push_back(tokio::spawn(welcome).abort_handle());
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.oldest_first.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn the_oldest_makes_room_and_nobody_waits() {
        let mut crowd = Crowd::default();
        let (ended, mut ends) = mpsc::unbounded_channel::<usize>();
        struct Tell(usize, mpsc::UnboundedSender<usize>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.1.send(self.0);
            }
        }
        for number in 0..STRANGERS_MAX + 2 {
            let tell = Tell(number, ended.clone());
            crowd.spawn(async move {
                let _tell = tell;
                std::future::pending().await
            });
        }
        assert_eq!((ends.recv().await, ends.recv().await), (Some(0), Some(1)));
        assert!(ends.try_recv().is_err());
        drop(crowd);
        assert!(ends.recv().await.is_some());
    }
}
