//! One configuration of a comparison: racks, placement, scheme, gate.

use super::{CompareSpec, LatencyChoice};
use blackboard::scale_up::A2aGroup;
use blackboard::units::Tokens;
use moe::gate::SelectionRule;
use moe::{DispatchScheme, GateLimit, Placement};
use topology::{A2aLinks, Cluster, Hardware};

/// Layer whose seeds are used everywhere.
pub(super) const LAYER: u16 = 0;

/// One line of the table, without latency and backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// What it is, for people: `2 racks: hierarchical`.
    pub title: String,
    /// Racks and ranks.
    pub cluster: Cluster,
    /// Which slot holds which expert.
    pub placement: Placement,
    /// The placement's name in records.
    pub placement_name: String,
    /// How copies travel.
    pub scheme: DispatchScheme,
    /// Racks a token may use. The groups of a base row are the racks of the rows that it is the base of, so that every
    /// token goes to the same experts in both.
    pub limit: Option<GateLimit>,
    /// Index of the row that this one's slowdown is against; its own for a base row.
    pub base: usize,
}

impl Configuration {
    /// Racks a token may use, if they are limited.
    #[must_use]
    pub fn gate_rack_limit(&self) -> Option<u32> {
        self.limit.as_ref().map(|limit| limit.limit)
    }

    /// The links of its phases at `latency`.
    #[must_use]
    pub fn links(&self, spec: &CompareSpec, latency: LatencyChoice) -> A2aLinks {
        self.measured_links(spec, latency).unwrap_or_else(|| A2aLinks::nominal(latency.apply(spec.fabric)))
    }

    /// The same where kernels were measured.
    pub(super) fn measured_links(&self, spec: &CompareSpec, latency: LatencyChoice) -> Option<A2aLinks> {
        let kernels = Some(latency.apply_to_kernels(spec.hardware.kernels.clone()?));
        let hardware = Hardware { kernels, ..spec.hardware.clone() };
        let rule = SelectionRule::plain(spec.shape.num_experts, spec.shape.top_k);
        let ranks = A2aGroup::of(&self.cluster, self.scheme, &rule, spec.shape.hidden);
        ranks.links(&hardware, &latency.apply(spec.fabric), Tokens(f64::from(spec.tokens))).ok()
    }

    /// Expert weights on the fullest rank, bytes.
    #[must_use]
    pub fn weight_bytes_per_rank(&self, spec: &CompareSpec) -> u64 {
        u64::from(self.placement.max_slots_per_rank()) * spec.shape.expert_weight_bytes()
    }
}
