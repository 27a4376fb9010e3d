//! A congestion controller that does not control: a fixed number of bytes in flight for each connection.
//!
//! The emulated fabric paces frames above QUIC, so QUIC underneath must neither probe for bandwidth nor
//! shrink after a late acknowledgement. What remains to avoid is overrunning a receiver: its socket buffer is
//! shared by all of its peers, so the window is that buffer divided by their number, within
//! [`WINDOW_BYTES_MIN`] and [`WINDOW_BYTES_MAX`]. The share is one number for all connections of an endpoint
//! and may change while they run.

use quinn::congestion::{Controller, ControllerFactory};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Largest window in bytes: more brings no bandwidth on loopback, only a longer queue.
pub const WINDOW_BYTES_MAX: u64 = 256 * 1024;
/// Smallest window in bytes: five datagrams of 6,500 bytes, enough for a burst and its acknowledgement.
pub const WINDOW_BYTES_MIN: u64 = 32 * 1024;

/// The window that all connections of one endpoint share; clones share it too.
#[derive(Debug, Clone)]
pub struct FixedWindow {
    bytes: Arc<AtomicU64>,
}

impl FixedWindow {
    /// The window for one peer and a receive buffer of `receive_buffer_bytes`.
    pub fn new(receive_buffer_bytes: u64) -> Self {
        Self { bytes: Arc::new(AtomicU64::new(share(receive_buffer_bytes, 1))) }
    }

    /// Divides `receive_buffer_bytes` among `peers` from now on, on open connections too.
    pub fn divide(&self, receive_buffer_bytes: u64, peers: u32) {
        self.bytes.store(share(receive_buffer_bytes, peers), Ordering::Relaxed);
    }

    /// Bytes that a connection may have in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// `receive_buffer_bytes / peers`, within the bounds.
fn share(receive_buffer_bytes: u64, peers: u32) -> u64 {
    (receive_buffer_bytes / u64::from(peers.max(1))).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
}

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Self::clone(&self))
    }
}

impl Controller for FixedWindow {
    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        _is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        self.bytes()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.bytes()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_the_receivers_buffer_divided_by_its_peers_within_bounds() {
        const BUFFER: u64 = 4 << 20;
        let window = FixedWindow::new(BUFFER);
        assert_eq!(window.bytes(), WINDOW_BYTES_MAX);
        for (peers, bytes) in
            [(0, WINDOW_BYTES_MAX), (15, WINDOW_BYTES_MAX), (31, BUFFER / 31), (1000, WINDOW_BYTES_MIN)]
        {
            window.divide(BUFFER, peers);
            assert_eq!(window.bytes(), bytes, "{peers} peers");
        }
    }

    #[test]
    fn open_connections_follow_a_new_division_and_ignore_loss() {
        let shared = Arc::new(FixedWindow::new(4 << 20));
        let now = Instant::now();
        let mut controller = shared.clone().build(now, 6500);
        let before = controller.window();
        controller.on_congestion_event(now, now, true, 1 << 20);
        assert_eq!(controller.window(), before);
        shared.divide(4 << 20, 64);
        assert_eq!(controller.window(), 64 * 1024);
        assert_eq!(controller.clone_box().window(), 64 * 1024);
    }
}
