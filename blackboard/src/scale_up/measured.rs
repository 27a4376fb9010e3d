//! The links of an all-to-all where its kernels were measured: start-ups, exchanges of counts and efficiencies as latencies and rates.

use super::{CopiesPerToken, even_copies};
use crate::BlackboardError;
use crate::units::Tokens;
use moe::gate::SelectionRule;
use moe::{DispatchScheme, RowBytes};
use topology::{A2aLinks, Cluster, Fabric, Hardware, KernelLoad};

/// Ranks that exchange rows, as far as measured kernels ask: what start-ups and handling grow with.
#[derive(Clone, Copy, Debug)]
pub struct A2aGroup<'a> {
    /// Racks that the ranks are in.
    pub racks: u32,
    /// Ranks of one of them, the mean where they differ.
    pub ranks_per_rack: u32,
    /// How copies travel.
    pub scheme: DispatchScheme,
    /// How experts are picked.
    pub rule: &'a SelectionRule,
    /// Elements of a row.
    pub hidden: u32,
}

impl<'a> A2aGroup<'a> {
    /// All ranks of `cluster`.
    #[must_use]
    pub fn of(cluster: &Cluster, scheme: DispatchScheme, rule: &'a SelectionRule, hidden: u32) -> Self {
        let racks = cluster.num_racks();
        Self { racks, ranks_per_rack: cluster.num_ranks().div_ceil(racks), scheme, rule, hidden }
    }

    /// Links of both phases with `tokens` a rank: `fabric`, or what the kernels of `hardware` make of it where it has any.
    ///
    /// Copies are those of experts that are spread evenly ([`even_copies`]); a placement of its own changes what ports carry, not what
    /// kernels cost.
    ///
    /// # Errors
    /// [`BlackboardError::TopK`] if more experts are chosen than there are.
    pub fn links(
        &self,
        hardware: &Hardware,
        fabric: &Fabric,
        tokens: Tokens,
    ) -> Result<A2aLinks, BlackboardError> {
        let Some(kernels) = &hardware.kernels else { return Ok(A2aLinks::nominal(*fabric)) };
        let CopiesPerToken { intra, inter } =
            even_copies(self.scheme, self.racks, self.ranks_per_rack, self.rule)?;
        let load = KernelLoad {
            ranks: f64::from(self.racks * self.ranks_per_rack),
            copies: [intra, inter],
            tokens: tokens.0,
            row_bytes: 0.0,
        };
        let wire = RowBytes::new(self.hidden);
        let forwards = self.scheme == DispatchScheme::Hierarchical;
        Ok(kernels.links(self.racks, &load, self.hidden, [wire.dispatch, wire.combine], fabric, forwards))
    }
}
