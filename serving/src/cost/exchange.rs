//! What tensor parallelism costs the fabric: ranks of a group bring the parts of their results together, through the ports of the virtual clock.

use super::RankTokens;
use topology::{LinkSpec, Picos, Port};

/// The exchanges of groups of ranks in one rack.
///
/// After each mixer, dense block and shared expert every rank of a group sends the others the sums for their tokens, and then its own
/// tokens' results (a reduce-scatter and an all-gather), rows of BF16. Source: Megatron-LM's sequence parallelism (arXiv 2205.05198).
#[derive(Clone, Debug)]
pub struct Exchange {
    tp: u32,
    row_bytes: u64,
    link: LinkSpec,
}

impl Exchange {
    /// Of groups of `tp` ranks over `link`, rows `hidden` wide.
    #[must_use]
    pub const fn new(tp: u32, hidden: u32, link: LinkSpec) -> Self {
        Self { tp, row_bytes: 2 * hidden as u64, link }
    }

    /// What `times` of them take for `tokens` of each rank, the slowest group's.
    #[must_use]
    pub fn time(&self, times: u32, tokens: &RankTokens) -> Picos {
        if self.tp <= 1 || times == 0 || tokens.total() == 0 {
            return Picos::ZERO;
        }
        let groups = tokens.ranks().chunks(self.tp as usize);
        // Groups with as many tokens take as long: the fullest decides.
        let fullest = groups.max_by_key(|group| group.iter().map(|&tokens| u64::from(tokens)).sum::<u64>());
        let once = fullest.map_or(Picos::ZERO, |group| {
            self.phase(group, |_, to| group[to]) + self.phase(group, |from, _| group[from])
        });
        Picos(once.0 * u64::from(times))
    }

    /// One phase from common start to the last row, in which a rank sends another so many rows: to i + 1, i + 2, ... in turn.
    fn phase(&self, group: &[u32], rows: impl Fn(usize, usize) -> u32) -> Picos {
        let ranks = group.len();
        let mut arrivals: Vec<Vec<(Picos, u64)>> = vec![Vec::new(); ranks];
        for from in 0..ranks {
            let mut port = Port::new();
            for turn in 1..ranks {
                let to = (from + turn) % ranks;
                let bytes = u64::from(rows(from, to)) * self.row_bytes;
                if bytes > 0 {
                    let sent = port.egress(Picos::ZERO, bytes, self.link.rate);
                    arrivals[to].push((sent + self.link.latency, bytes));
                }
            }
        }
        let received = arrivals.into_iter().map(|mut frames| {
            frames.sort_unstable();
            let mut port = Port::new();
            let due = frames.into_iter().map(|(stamp, bytes)| port.ingress(stamp, bytes, self.link.rate));
            due.max().unwrap_or(Picos::ZERO)
        });
        received.max().unwrap_or(Picos::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::Rate;

    #[test]
    fn groups_bring_their_parts_together_as_fast_as_their_fullest_port() {
        let link = LinkSpec { rate: Rate::new(1_000_000_000).unwrap(), latency: Picos(7) };
        let time =
            |tp: u32, ranks: &[u32]| Exchange::new(tp, 500, link).time(3, &RankTokens::new(ranks.to_vec()));
        assert_eq!(time(1, &[4, 4]), Picos::ZERO);
        // 3 peers get 4 rows of 1000 B each: 12 us and the latency, both ways, three times.
        assert_eq!(time(4, &[4; 8]), Picos(3 * 2 * (12_000_000 + 7)));
        // Of two groups the fuller decides: the rank with 8 rows takes in sums for them, and sends them, 8 us each.
        assert_eq!(time(2, &[1, 1, 8, 0]), Picos(3 * 2 * (8_000_000 + 7)));
    }
}
