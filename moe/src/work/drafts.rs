//! Multi-token prediction: layers beside the model draft further tokens, which the next step checks all at once.

use super::{RankLoad, RankPart, Work};
use crate::model::{CacheGrowth, Model, ModelError};
use crate::seed::{Purpose, generator};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// How many tokens are drafted a step, and how many of them hold.
///
/// A step computes the newest token of a sequence and `depth` drafts after it; drafts hold up to the first that does not. Then the
/// drafting layers run `depth` times, a token a sequence each. Source: DeepSeek-V3 (arXiv 2412.19437, section 2.2 and 5.4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drafts {
    /// Tokens drafted beyond the next; 0: none.
    pub depth: u32,
    /// Probability that a draft holds, all before it having held.
    pub acceptance: f64,
}

impl Drafts {
    /// Tokens of a sequence that a step computes.
    #[must_use]
    pub const fn tokens(&self) -> u32 {
        1 + self.depth
    }

    /// Tokens that a sequence gets a step, expected: `1 + p + p^2 + ... + p^depth`.
    #[must_use]
    pub fn gained(&self) -> f64 {
        (0..=self.depth).map(|draft| self.acceptance.powf(draft.into())).sum()
    }

    /// How many of `drafted` drafts hold of a sequence that has `generated` tokens, drawn by `seed`.
    #[must_use]
    pub fn accepted(&self, seed: u64, sequence: u64, generated: u32, drafted: u32) -> u32 {
        let mut draws = generator(Purpose::Drafts, seed, [sequence, generated.into(), 0]);
        (0..drafted).take_while(|_| draws.random::<f64>() < self.acceptance).count() as u32
    }

    /// Checks depth and acceptance.
    ///
    /// # Errors
    /// A sentence with what can be given.
    pub fn validate(&self) -> Result<(), String> {
        match (self.depth, self.acceptance) {
            (0, _) => Ok(()),
            (1..=16, p) if (0.0..=1.0).contains(&p) => Ok(()),
            (1..=16, p) => Err(format!("an acceptance of {p}: give a probability from 0 to 1")),
            (depth, _) => Err(format!("{depth} drafts a step: give at most 16")),
        }
    }
}

impl RankLoad {
    /// What the drafting layers look at in one pass: a token of each sequence that decodes.
    #[must_use]
    pub fn drafting(&self) -> Self {
        let mut decode = self.decode;
        let (sequences, tokens) = (decode.sequences, decode.tokens.max(1));
        for seen in &mut decode.seen {
            seen.pairs = seen.pairs * sequences / tokens;
        }
        decode.tokens = sequences;
        Self { decode, ..Self::default() }
    }
}

impl Model {
    /// The layers of the model that its drafting layers are like, in the order in which `depth` passes run them; the same again where
    /// there are fewer.
    ///
    /// # Errors
    /// [`ModelError::NotBuilt`] where the model has none, or has some like no other layer.
    pub fn draft_layers(&self, depth: u32) -> Result<Vec<u32>, ModelError> {
        let not_built =
            |what: &str| ModelError::NotBuilt { origin: self.name.clone(), what: what.to_owned() };
        if depth == 0 {
            return Ok(Vec::new());
        }
        if self.mtp_order.is_empty() || self.mtp_depth == 0 {
            return Err(not_built(
                "multi-token prediction: the model has no layers that predict further tokens (mtp_order)",
            ));
        }
        let each = self.mtp_order.len().div_ceil(self.mtp_depth as usize);
        let like = |kind: &u16| {
            let mut layers = 0..self.num_layers();
            let same = layers.find(|&layer| self.order.kind(layer) == *kind);
            same.ok_or_else(|| not_built("layers that predict further tokens and are like no other layer"))
        };
        let passes: Vec<&[u16]> = self.mtp_order.chunks(each).collect();
        (0..depth as usize).flat_map(|pass| passes[pass % passes.len()]).map(like).collect()
    }

    /// What drafting layers hold on a rank beside routed experts: bytes of weights, and how their caches grow. Each is held once, however
    /// often it runs.
    #[must_use]
    pub fn draft_held(&self, depth: u32, part: &RankPart) -> (Vec<u32>, f64, CacheGrowth) {
        let modules = depth.min(self.mtp_depth);
        let layers = self.draft_layers(modules).unwrap_or_default();
        let h = f64::from(self.hidden);
        let projections = 2.0 * h * h * f64::from(modules) * part.share * part.dtype.bytes();
        let (mut bytes, mut growth) = (projections, CacheGrowth::default());
        for &layer in &layers {
            bytes += self.common_bytes(layer..layer + 1, part);
            growth.add_all(&self.cache_growth(layer..layer + 1, part.kv_dtype, part.tp));
        }
        (layers, bytes, growth)
    }

    /// What a pass of the drafting layers does beside them: the projection of a state and an embedding to one, and the head, of `tokens`.
    #[must_use]
    pub fn draft_work(&self, tokens: u64, part: &RankPart) -> Work {
        let h = f64::from(self.hidden);
        self.every_token(2.0 * h * h, tokens, part.dtype.bytes(), part) + self.head_work(tokens, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_hold_as_often_as_they_should() {
        let drafts = Drafts { depth: 2, acceptance: 0.8 };
        assert!((drafts.gained() - 2.44).abs() < 1e-12);
        let drawn: u32 = (0..20_000).map(|sequence| drafts.accepted(1, sequence, 7, 2)).sum();
        // 1.44 expected, with a standard error of 0.006.
        assert!((f64::from(drawn) / 20_000.0 - 1.44).abs() < 0.02, "{drawn}");
        assert_eq!(drafts.accepted(1, 5, 7, 2), drafts.accepted(1, 5, 7, 2));
        assert_eq!(Drafts { depth: 3, acceptance: 1.0 }.accepted(1, 5, 7, 3), 3);
        assert!(Drafts { depth: 1, acceptance: 1.2 }.validate().unwrap_err().contains("from 0 to 1"));
        assert!(Drafts { depth: 99, acceptance: 1.0 }.validate().unwrap_err().contains("at most 16"));
    }

    #[test]
    fn drafting_layers_are_like_layers_of_the_model() {
        let v3 = Model::preset("deepseek-v3").unwrap();
        assert_eq!(v3.draft_layers(2).unwrap(), [3, 3]);
        let error = Model::preset("mixtral").unwrap().draft_layers(1).unwrap_err().to_string();
        assert!(
            error.starts_with("mixtral-8x7b: multi-token prediction: the model has no layers"),
            "{error}"
        );
    }
}
