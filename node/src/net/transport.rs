//! How QUIC is tuned for an emulated fabric on one machine: datagram size, windows, timeouts and the UDP
//! socket under it.
//!
//! The values are measurements, not taste. On 2 cores one pair of processes moves 1.5 to 2 GB/s with them and
//! 0.6 GB/s with the library's defaults. Seen to hang: datagrams of 8,900 bytes with segmentation offload, of
//! 12,000 with a probing congestion controller, of 17,000 in any setting; hence a fixed 6,500.

use super::fixed_window::FixedWindow;
use quinn::{EndpointConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Smallest UDP payload in bytes that QUIC works with (RFC 9000, section 14).
pub const DATAGRAM_BYTES_MIN: u16 = 1_200;
/// Largest UDP payload in bytes that was seen to work with segmentation offload.
pub const DATAGRAM_BYTES_MAX: u16 = 6_500;

/// Bytes of socket buffer asked of the kernel, for each direction.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// A connection that is silent for so long is lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection says so often that it is alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Round trip assumed before the first measurement: the standard's 333 ms would make one lost handshake
/// datagram cost a second, the true 0.1 ms would flood a machine on which tens of processes start at once.
const INITIAL_RTT: Duration = Duration::from_millis(15);
/// Unread bytes a peer may have sent on one stream: some 2 ms at full speed.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Unread bytes a peer may have sent on all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes of writes kept until they are acknowledged.
const SEND_WINDOW_BYTES: u64 = 4 << 20;
/// Open unidirectional streams a peer may have: one a traffic class, and room for the next run's.
const UNI_STREAMS_MAX: u32 = 32;
/// Open bidirectional streams a peer may have: control.
const BIDI_STREAMS_MAX: u32 = 32;

/// What differs between installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportOptions {
    /// UDP payload of a full datagram in bytes, the same on all processes. Every path between them must carry
    /// it: 6,500 fits loopback and networks with jumbo frames; Ethernet and the default container bridge (MTU
    /// 1,500) carry at most 1,472 over IPv4 and 1,452 over IPv6.
    pub datagram_bytes: u16,
}

impl Default for TransportOptions {
    /// 6,500 bytes.
    fn default() -> Self {
        Self { datagram_bytes: DATAGRAM_BYTES_MAX }
    }
}

/// A setting out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// A datagram size outside of what works.
    #[error("datagrams of {0} bytes: choose {DATAGRAM_BYTES_MIN} to {DATAGRAM_BYTES_MAX}")]
    DatagramBytes(u16),
}

impl TransportOptions {
    fn check(self) -> Result<Self, TransportError> {
        if (DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX).contains(&self.datagram_bytes) {
            Ok(self)
        } else {
            Err(TransportError::DatagramBytes(self.datagram_bytes))
        }
    }
}

/// The tuning of every connection, with the congestion window of `window`.
///
/// # Errors
/// [`TransportError`] if `options` is out of range.
pub fn transport_config(
    options: TransportOptions,
    window: &FixedWindow,
) -> Result<TransportConfig, TransportError> {
    let TransportOptions { datagram_bytes } = options.check()?;
    let idle_ms = VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32);
    let mut config = TransportConfig::default();
    config
        .initial_mtu(datagram_bytes)
        .min_mtu(datagram_bytes)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(true)
        .congestion_controller_factory(Arc::new(window.clone()))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle_ms.into()))
        .keep_alive_interval(Some(KEEP_ALIVE));
    Ok(config)
}

/// What an endpoint tells its peers about itself.
///
/// # Errors
/// [`TransportError`] if `options` is out of range.
pub fn endpoint_config(options: TransportOptions) -> Result<EndpointConfig, TransportError> {
    let TransportOptions { datagram_bytes } = options.check()?;
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(datagram_bytes).map_err(|_| TransportError::DatagramBytes(datagram_bytes))?;
    Ok(config)
}

/// A UDP socket bound to `address` (port 0: any free one), and the bytes of receive buffer that the kernel
/// granted it.
///
/// A kernel that caps buffers below [`SOCKET_BUFFER_BYTES`] is put up with, and a warning names the setting.
///
/// # Errors
/// What the system said, [`io::ErrorKind::AddrInUse`] for a taken port.
pub fn bind_socket(address: SocketAddr) -> io::Result<(UdpSocket, u64)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    let receive_buffer_bytes = granted(socket.recv_buffer_size()?);
    if receive_buffer_bytes < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            receive_buffer_bytes,
            wanted_bytes = SOCKET_BUFFER_BYTES,
            "small UDP buffer, raise net.core.rmem_max and net.core.wmem_max; many peers at once may lose datagrams"
        );
    }
    socket.bind(&address.into())?;
    Ok((socket.into(), receive_buffer_bytes as u64))
}

/// Linux reports twice the size that was asked for, to account for its own structures (man 7 socket,
/// SO_RCVBUF).
fn granted(reported_bytes: usize) -> usize {
    if cfg!(target_os = "linux") { reported_bytes / 2 } else { reported_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagram_sizes_out_of_range_are_refused_with_the_range() {
        for bytes in [0, 1_199, 6_501, u16::MAX] {
            let options = TransportOptions { datagram_bytes: bytes };
            let error = endpoint_config(options).unwrap_err().to_string();
            assert!(error.contains(&bytes.to_string()) && error.contains("1200 to 6500"), "{error}");
            assert!(transport_config(options, &FixedWindow::new(1)).is_err());
        }
        let config = endpoint_config(TransportOptions::default()).unwrap();
        assert_eq!(config.get_max_udp_payload_size(), 6_500);
    }

    #[test]
    fn a_socket_has_a_port_and_a_buffer() {
        let (socket, bytes) = bind_socket(([127, 0, 0, 1], 0).into()).unwrap();
        assert_ne!(socket.local_addr().unwrap().port(), 0);
        assert!(bytes > 0);
    }
}
