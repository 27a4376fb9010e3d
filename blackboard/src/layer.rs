//! One whole MoE layer on ranks that are alike: dispatch, routed experts, combine, and what all three take together.

use crate::BlackboardError;
use crate::scale_up::{A2aGroup, a2a_time_on, even_copies};
use crate::units::{Seconds, Tokens};
use moe::gate::SelectionRule;
use moe::{DispatchScheme, RowBytes};
use topology::{Dtype, Hardware};

/// A layer with experts, spread evenly over ranks, any k of E at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoeLayer {
    /// h, elements of a row.
    pub hidden: u32,
    /// f, inner width of an expert of three matrices.
    pub expert_inter: u32,
    /// E, routed experts.
    pub experts: u32,
    /// k, experts a token goes to.
    pub top_k: u32,
    /// Format of weights and arithmetic.
    pub dtype: Dtype,
    /// Racks.
    pub racks: u32,
    /// Ranks of each.
    pub ranks_per_rack: u32,
    /// How copies travel.
    pub scheme: DispatchScheme,
}

/// Times of a layer's phases on the mean rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerTime {
    /// Rows to the experts.
    pub dispatch: Seconds,
    /// Routed experts.
    pub experts: Seconds,
    /// Results on their way back.
    pub combine: Seconds,
}

impl LayerTime {
    /// One phase after the other.
    #[must_use]
    pub fn serial(&self) -> Seconds {
        self.dispatch + self.experts + self.combine
    }

    /// Communication and experts at once: no schedule is shorter.
    #[must_use]
    pub fn overlapped(&self) -> Seconds {
        self.experts.max(self.dispatch + self.combine)
    }
}

impl MoeLayer {
    /// Times with T `tokens` a rank.
    ///
    /// Each of a rank's E/n experts gets `n T k / E` rows and is read if it gets any, of which the probability is `1 - (1 - k/E)^(n T)`; rows
    /// cost 6 h f FLOP each, weights 3 h f bytes a byte of their format.
    ///
    /// ```
    /// # use blackboard::{layer::MoeLayer, units::Tokens};
    /// # use moe::DispatchScheme;
    /// # use topology::{Dtype, Hardware};
    /// // The layer of DeepGEMM's pull request 383 on 8 H200 with 32 tokens each: 805 MB of weights at 4.8 TB/s are 168 us.
    /// let layer = MoeLayer {
    ///     hidden: 4096, expert_inter: 2048, experts: 256, top_k: 6, dtype: Dtype::Fp8, racks: 1, ranks_per_rack: 8,
    ///     scheme: DispatchScheme::Dedup,
    /// };
    /// let time = layer.time(&Hardware::preset("h200")?, Tokens(32.0))?;
    /// assert_eq!(time.experts.as_micros().round(), 167.0);
    /// # Ok::<(), blackboard::BlackboardError>(())
    /// ```
    ///
    /// # Errors
    /// [`BlackboardError::TopK`] if more experts are chosen than there are; [`BlackboardError::Hardware`] if the hardware can't compute in the
    /// format.
    pub fn time(&self, hardware: &Hardware, tokens: Tokens) -> Result<LayerTime, BlackboardError> {
        let rule = SelectionRule::plain(self.experts, self.top_k);
        let Self { racks, ranks_per_rack, scheme, hidden, .. } = *self;
        let copies = even_copies(scheme, racks, ranks_per_rack, &rule)?;
        let group = A2aGroup { racks, ranks_per_rack, scheme, rule: &rule, hidden };
        let links = group.links(hardware, &hardware.fabric(), tokens)?;
        let a2a = a2a_time_on(scheme, copies, tokens, RowBytes::new(hidden), &links);
        Ok(LayerTime {
            dispatch: a2a.dispatch,
            experts: self.experts_time(hardware, tokens)?,
            combine: a2a.combine,
        })
    }

    fn experts_time(&self, hardware: &Hardware, tokens: Tokens) -> Result<Seconds, BlackboardError> {
        let (experts, chosen) = (f64::from(self.experts), f64::from(self.top_k) / f64::from(self.experts));
        let ranks = f64::from(self.racks * self.ranks_per_rack);
        let all = ranks * tokens.0;
        let touched = -(all * (-chosen.min(1.0)).ln_1p()).exp_m1();
        if touched <= 0.0 {
            return Ok(Seconds::ZERO);
        }
        let params = 3.0 * f64::from(self.hidden) * f64::from(self.expert_inter);
        let rows = all * chosen / touched;
        let bytes = params * self.dtype.bytes();
        let one = hardware.expert_time(2.0 * params * rows, 2.0 * params, bytes, self.dtype)?;
        let us = experts / ranks * touched * one.as_micros_f64() + hardware.experts_start().as_micros_f64();
        Ok(Seconds(us * 1e-6))
    }
}
