//! Bandwidths as nccl-tests counts them: of a phase as a whole, and of each rank's port of each kind.
//!
//! nccl-tests counts in a rank's bytes those that it keeps: of S bytes of an all-to-all over n ranks (n - 1)/n leave it. `busbw = algbw (n - 1)/n`
//! is then what leaves it in the time, and comparable with a port. Ranks here keep what is theirs and count only what is sent, B bytes. So
//! `busbw = B / t`, and `algbw = busbw n/(n - 1)`, as if each rank kept an even share. Where ranks have different bytes, B is that of the rank
//! with most (sent or received, whichever is more), and t the slowest rank's time, as in nccl-tests' alltoallv. 1 GB is 10^9 bytes.

use moe::PlannedTraffic;
use serde::{Deserialize, Serialize};
use topology::{A2aLinks, Cluster, LinkClass, PhaseLinks, TrafficMatrix};

/// Of both phases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Rows that go out.
    pub dispatch: PhaseBandwidth,
    /// Results that come back.
    pub combine: PhaseBandwidth,
}

/// Of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseBandwidth {
    /// Algorithm bandwidth, GB/s.
    pub alg_gb_per_s: f64,
    /// Bus bandwidth, GB/s.
    pub bus_gb_per_s: f64,
    /// What an even all-to-all over these N racks can have as bus bandwidth at most where racks are alike, GB/s: N/(N - 1) times the
    /// scale-out port with its part of an oversubscribed uplink, or the scale-up port if that is less. `None` for one rack.
    pub bus_bound_gb_per_s: Option<f64>,
    /// The ports inside racks.
    pub scale_up: TierBandwidth,
    /// The ports between racks.
    pub scale_out: TierBandwidth,
}

/// Of the ranks' ports of one kind: bytes of the busier direction over the phase's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TierBandwidth {
    /// The rank with the least, GB/s.
    pub min_gb_per_s: f64,
    /// The mean over ranks, GB/s.
    pub mean_gb_per_s: f64,
    /// The rank with the most, GB/s.
    pub max_gb_per_s: f64,
    /// The port's rate, one way, GB/s.
    pub line_gb_per_s: f64,
    /// `mean_gb_per_s` over `line_gb_per_s`.
    pub mean_line_share: f64,
    /// `max_gb_per_s` over `line_gb_per_s`.
    pub max_line_share: f64,
}

impl Bandwidth {
    /// Of steps with these bytes on `cluster`, whose dispatch and combine took so many microseconds. Of several steps the mean.
    pub(super) fn new<'a>(
        cluster: &Cluster,
        steps: impl Iterator<Item = &'a PlannedTraffic> + Clone,
        [dispatch_us, combine_us]: [f64; 2],
        links: &A2aLinks,
    ) -> Self {
        let dispatch = steps.clone().map(|step| &step.dispatch);
        let combine = steps.map(|step| &step.combine);
        Self {
            dispatch: phase(cluster, dispatch, dispatch_us, links.dispatch),
            combine: phase(cluster, combine, combine_us, links.combine),
        }
    }

    /// Both phases with their names.
    pub(super) fn phases(&self) -> [(&'static str, &PhaseBandwidth); 2] {
        [("dispatch", &self.dispatch), ("combine", &self.combine)]
    }
}

fn phase<'a>(
    cluster: &Cluster,
    steps: impl Iterator<Item = &'a TrafficMatrix>,
    us: f64,
    links: PhaseLinks,
) -> PhaseBandwidth {
    let mut means = [Spread::default(); 3];
    let mut count = 0.0;
    for matrix in steps {
        count += 1.0;
        for (mean, ranks) in means.iter_mut().zip(port_bytes(cluster, matrix)) {
            mean.add(&Spread::of(&ranks));
        }
    }
    // Bytes of a microsecond are megabytes of a second.
    let rate = |bytes: f64| if us > 0.0 && count > 0.0 { bytes / count / us / 1e3 } else { 0.0 };
    let [up, out, all] = means;
    let line = |class| links.fabric.link(class).rate.bytes_per_s() as f64 / 1e9;
    let (ranks, racks) = (f64::from(cluster.num_ranks()), f64::from(cluster.num_racks()));
    let bus = rate(all.max);
    PhaseBandwidth {
        alg_gb_per_s: if ranks > 1.0 { bus * ranks / (ranks - 1.0) } else { 0.0 },
        bus_gb_per_s: bus,
        bus_bound_gb_per_s: (racks > 1.0).then(|| {
            let port = links.fabric.scale_out_share().rate.bytes_per_s() as f64 / 1e9;
            let across = racks / (racks - 1.0) * port;
            // Alike racks of one rank have no scale-up traffic.
            if racks < ranks { across.min(up_bound(ranks, racks, line(LinkClass::ScaleUp))) } else { across }
        }),
        scale_up: tier(up, rate, line(LinkClass::ScaleUp)),
        scale_out: tier(out, rate, line(LinkClass::ScaleOut)),
    }
}

/// The bus bandwidth at which the scale-up ports of an even all-to-all are full: of a rank's n - 1 peers n/N - 1 are in its rack.
fn up_bound(ranks: f64, racks: f64, line: f64) -> f64 {
    (ranks - 1.0) / (ranks / racks - 1.0) * line
}

fn tier(bytes: Spread, rate: impl Fn(f64) -> f64, line: f64) -> TierBandwidth {
    let (mean, max) = (rate(bytes.mean), rate(bytes.max));
    TierBandwidth {
        min_gb_per_s: rate(bytes.min),
        mean_gb_per_s: mean,
        max_gb_per_s: max,
        line_gb_per_s: line,
        mean_line_share: mean / line,
        max_line_share: max / line,
    }
}

/// Bytes of each rank's busier direction: through its scale-up port, its scale-out port, and both together.
fn port_bytes(cluster: &Cluster, matrix: &TrafficMatrix) -> [Vec<u64>; 3] {
    let ranks = cluster.num_ranks() as usize;
    let mut sent = [vec![0_u64; ranks], vec![0; ranks], vec![0; ranks]];
    let mut received = sent.clone();
    for from in cluster.ranks() {
        for (to, bytes) in matrix.sent(from).filter(|&(to, _)| to != from) {
            let tier = usize::from(!cluster.same_rack(from, to));
            for port in [tier, 2] {
                sent[port][from.0 as usize] += bytes;
                received[port][to.0 as usize] += bytes;
            }
        }
    }
    for (sent, received) in sent.iter_mut().flatten().zip(received.iter().flatten()) {
        *sent = (*sent).max(*received);
    }
    sent
}

/// Bytes over ranks.
#[derive(Clone, Copy, Default)]
struct Spread {
    min: f64,
    mean: f64,
    max: f64,
}

impl Spread {
    fn of(ranks: &[u64]) -> Self {
        let sum: u64 = ranks.iter().sum();
        Self {
            min: ranks.iter().min().map_or(0.0, |&bytes| bytes as f64),
            mean: sum as f64 / ranks.len().max(1) as f64,
            max: ranks.iter().max().map_or(0.0, |&bytes| bytes as f64),
        }
    }

    fn add(&mut self, other: &Self) {
        self.min += other.min;
        self.mean += other.mean;
        self.max += other.max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moe::plan::Copies;
    use topology::{Fabric, LinkSpec, Picos, RankId, Rate};

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found}, expected {expected}");
    }

    fn of(sizes: &[u32], dispatch: TrafficMatrix, us: f64) -> PhaseBandwidth {
        let cluster = Cluster::new(sizes).expect("valid");
        let link = |gb: u64| LinkSpec {
            rate: Rate::new(gb * 1_000_000_000).expect("nonzero"),
            latency: Picos::ZERO,
        };
        let fabric = Fabric::new(link(800), link(100));
        let combine = TrafficMatrix::new(cluster.num_ranks());
        let step = PlannedTraffic {
            dispatch,
            combine,
            copies: Copies::default(),
            tokens: 0,
            tokens_crossing: 0,
            rows_per_slot: Vec::new(),
        };
        let steps = [&step, &step];
        Bandwidth::new(&cluster, steps.into_iter(), [us, 0.0], &A2aLinks::nominal(fabric)).dispatch
    }

    fn even(ranks: u32, bytes: u64) -> TrafficMatrix {
        let mut matrix = TrafficMatrix::new(ranks);
        for pair in 0..ranks * ranks {
            let (from, to) = (pair / ranks, pair % ranks);
            matrix.add(RankId(from), RankId(to), if from == to { 0 } else { bytes });
        }
        matrix
    }

    /// 16 ranks, 1 MB a pair, 200 us. nccl-tests: S = 16 MB, algbw = 80 GB/s, busbw = 75 GB/s. Of the 15 MB that leave a rank 8 MB cross.
    #[test]
    fn an_even_all_to_all_is_that_of_nccl_tests() {
        let phase = of(&[8, 8], even(16, 1_000_000), 200.0);
        close(phase.alg_gb_per_s, 80.0);
        close(phase.bus_gb_per_s, 75.0);
        for (tier, gb, line) in [(phase.scale_up, 35.0, 800.0), (phase.scale_out, 40.0, 100.0)] {
            close(tier.min_gb_per_s, gb);
            close(tier.mean_gb_per_s, gb);
            close(tier.max_gb_per_s, gb);
            close(tier.line_gb_per_s, line);
            close(tier.max_line_share, gb / line);
        }
        // Two racks show twice the card.
        assert_eq!(phase.bus_bound_gb_per_s, Some(200.0));
        assert_eq!(of(&[16], even(16, 1), 1.0).bus_bound_gb_per_s, None);
        // With 15 MB in 80 us the cards are full: 100 GB/s of 8 MB. The bus then shows 187.5, which is n - 1 of n times the bound.
        close(of(&[8, 8], even(16, 1_000_000), 80.0).scale_out.max_line_share, 1.0);
    }

    #[test]
    fn of_uneven_ranks_the_fullest_counts_whichever_way() {
        let mut matrix = TrafficMatrix::new(4);
        matrix.add(RankId(0), RankId(3), 3_000_000);
        matrix.add(RankId(1), RankId(3), 2_000_000);
        matrix.add(RankId(2), RankId(3), 1_000_000);
        let phase = of(&[2, 2], matrix, 60.0);
        // Rank 3 is sent 6 MB, 5 of them by the other rack.
        close(phase.bus_gb_per_s, 100.0);
        close(phase.alg_gb_per_s, 100.0 * 4.0 / 3.0);
        close(phase.scale_out.max_gb_per_s, 5_000_000.0 / 60.0 / 1e3);
        close(phase.scale_out.min_gb_per_s, 0.0);
        close(phase.scale_up.mean_gb_per_s, 2_000_000.0 / 4.0 / 60.0 / 1e3);
        assert_eq!(of(&[2, 2], TrafficMatrix::new(4), 0.0).bus_gb_per_s, 0.0);
    }
}
