//! A comparison without throttle: ports so fast that what is left is what the host's processes and QUIC take.

use crate::layer::{BackendKind, CompareSpec, Dilation, LatencyChoice, Record};
use topology::{Fabric, LinkSpec, Picos, Rate};

/// Bytes a second of a port that never holds anything back: a megabyte takes a nanosecond.
const NO_THROTTLE: u64 = 1_000_000_000_000_000;
/// Delay of a link: a microsecond at that rate, so that a pair's credit, which is for what a link holds, is 2 GB and holds nothing back.
const DELAY: Picos = Picos(1_000_000);

/// The same on processes over QUIC, ports out of the way, and an emulated second a second of the wall.
#[must_use]
pub fn unthrottled(spec: CompareSpec) -> CompareSpec {
    let Ok(rate) = Rate::new(NO_THROTTLE) else { return spec };
    let link = LinkSpec { rate, latency: DELAY };
    let mut spec = CompareSpec {
        fabric: Fabric { scale_up: link, scale_out: link },
        latencies: vec![LatencyChoice::Preset],
        backends: vec![BackendKind::Quic],
        dilation: Dilation::Fixed(1),
        ..spec
    };
    spec.hardware.kernels = None;
    spec
}

/// What stands for a microsecond of a record in microseconds of the wall: a disturbed run was repeated more slowly.
#[must_use]
pub fn wall_us(record: &Record) -> f64 {
    record.network_dilation.unwrap_or(1) as f64
}
