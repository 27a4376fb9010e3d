//! How a step differs from what it must yield: bytes of every pair of ranks, digests of every token's output.

use node::control::PhaseReport;
use std::collections::BTreeMap;
use topology::{RankId, TrafficMatrix};

/// The first pair of ranks whose bytes are not those planned; `None` if all are.
pub(crate) fn of_bytes(reports: &[PhaseReport], planned: &TrafficMatrix) -> Option<String> {
    if reports.len() != planned.num_ranks() as usize {
        return Some(format!("{} ranks reported of {}", reports.len(), planned.num_ranks()));
    }
    for (from, report) in (0..).map(RankId).zip(reports) {
        if report.sent_bytes.iter().copied().eq(planned.sent(from)) {
            continue;
        }
        let sent: BTreeMap<RankId, u64> = report.sent_bytes.iter().copied().collect();
        let plan: BTreeMap<RankId, u64> = planned.sent(from).collect();
        let differs = |to: &&RankId| sent.get(to) != plan.get(to);
        let Some(to) = sent.keys().chain(plan.keys()).filter(differs).min() else {
            return Some(format!("{from} reported a rank twice or out of order"));
        };
        let [sent, plan] = [&sent, &plan].map(|bytes| bytes.get(to).copied().unwrap_or(0));
        return Some(format!("{from} sent {sent} bytes to {to}, planned are {plan}"));
    }
    None
}

/// The first token whose digest is not the reference's, `[num_ranks][tokens]` both; `None` if all are.
pub(crate) fn of_digests(got: &[Vec<u64>], expected: &[Vec<u64>]) -> Option<String> {
    if got.len() != expected.len() {
        return Some(format!("{} ranks gave outputs of {}", got.len(), expected.len()));
    }
    for (rank, (got, want)) in got.iter().zip(expected).enumerate() {
        if got.len() != want.len() {
            return Some(format!("rank {rank} gave {} outputs for {} tokens", got.len(), want.len()));
        }
        let pairs = got.iter().zip(want).enumerate();
        if let Some((token, (got, want))) = { pairs }.find(|(_, (got, want))| got != want) {
            return Some(format!(
                "output of token {token} of rank {rank} has digest {got:016x}, the reference {want:016x}"
            ));
        }
    }
    None
}
