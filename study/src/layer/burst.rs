//! How much all ports of a phase have sent by when, each without a pause from the start: a burst is where that is steep.

use super::Configuration;
use topology::{Fabric, LinkClass, Picos, TrafficMatrix};

/// Times at which ports have sent all that they have, ascending, with the bytes of all ports by then.
#[derive(Debug)]
pub(super) struct Burst(Vec<(Picos, f64)>);

impl Burst {
    /// Of the ports of `row` that send `matrix`.
    pub(super) fn new(row: &Configuration, matrix: &TrafficMatrix, fabric: &Fabric) -> Self {
        let mut ports = Vec::new();
        for class in LinkClass::ALL {
            let rate = fabric.link(class).rate;
            for rank in row.cluster.ranks() {
                let bytes = matrix.egress_bytes(&row.cluster, rank, class);
                if bytes > 0 {
                    ports.push((rate.transfer(bytes), bytes, rate.bytes_per_s()));
                }
            }
        }
        Self::of(ports)
    }

    /// Of ports with the time that each needs, its bytes and its bytes a second.
    fn of(mut ports: Vec<(Picos, u64, u64)>) -> Self {
        ports.sort_unstable();
        let mut busy: f64 = ports.iter().map(|port| port.2 as f64).sum();
        let mut done = 0.0;
        let ends = ports.into_iter().map(|(end, bytes, rate)| {
            let sent = done + busy * end.0 as f64 * 1e-12;
            (done, busy) = (done + bytes as f64, busy - rate as f64);
            (end, sent)
        });
        Self(ends.collect())
    }

    /// The least factor by which time must be stretched so that a host which carries `bytes_per_s`, and begins `early_s` before, has always
    /// carried what was sent.
    pub(super) fn dilation(&self, bytes_per_s: f64, early_s: f64) -> f64 {
        let least = |&(end, sent): &(Picos, f64)| (sent / bytes_per_s - early_s) / (end.0 as f64 * 1e-12);
        self.0.iter().map(least).fold(1.0, f64::max)
    }

    /// How long before the start such a host must begin where time is stretched by `dilation`, seconds.
    pub(super) fn early_s(&self, bytes_per_s: f64, dilation: u64) -> f64 {
        let least = |&(end, sent): &(Picos, f64)| sent / bytes_per_s - end.0 as f64 * 1e-12 * dilation as f64;
        self.0.iter().map(least).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000_000;

    /// Two fast ports that are done after a microsecond, and two slow ones that go on for eight.
    fn burst() -> Burst {
        let (fast, slow) = ((Picos(US), 8_000, 8_000_000_000), (Picos(8 * US), 8_000, 1_000_000_000));
        Burst::of(vec![slow, fast, slow, fast])
    }

    #[test]
    fn bytes_by_the_end_of_a_port_are_those_of_all_ports_by_then() {
        let ends = [(US, 18_000.0), (US, 18_000.0), (8 * US, 32_000.0), (8 * US, 32_000.0)];
        let near = |one: f64, other: f64| (one - other).abs() < 1e-3;
        let same = |(own, end): (&(Picos, f64), &(u64, f64))| own.0.0 == end.0 && near(own.1, end.1);
        assert!(burst().0.iter().zip(&ends).all(same), "{:?}", burst());
    }

    #[test]
    fn a_burst_takes_its_peak_or_a_beginning_before_the_phase() {
        // 18 kB by the first microsecond, at a megabyte a second: 18 ms, against 32 ms for all.
        let bytes_per_s = 1e6;
        let late = burst().dilation(bytes_per_s, 0.0);
        assert!((late - 18_000.0).abs() < 1e-3, "{late}");
        let early_s = burst().early_s(bytes_per_s, 4_000);
        assert!((early_s - 0.014).abs() < 1e-9, "{early_s}");
        let early = burst().dilation(bytes_per_s, early_s);
        assert!((early - 4_000.0).abs() < 1e-3, "{early}");
    }
}
