//! What a sequence's caches take of a rank's memory as it grows.

use super::Model;
use super::mixer::{Cache, Mixer, Span};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use topology::Dtype;

/// Bytes of a sequence's caches on one rank, in some layers, by its tokens.
///
/// A window keeps its last tokens and a chunk at most one chunk: of either, room for as many is taken as it ever holds. States are there
/// from the first token on. Source: FACTS of each kind of attention in docs/models.md.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheGrowth {
    /// States of recurrences, bytes, whatever the length.
    fixed: f64,
    /// Bytes a token, up to so many tokens; without a limit `u64::MAX`.
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Piece {
    /// Tokens of one entry.
    each: u64,
    /// Entries that are held at most.
    most: u64,
    /// Bytes of an entry.
    bytes: f64,
}

impl CacheGrowth {
    /// A cache of `bytes` a token, however many there are.
    #[must_use]
    pub fn linear(bytes: f64) -> Self {
        let mut growth = Self::default();
        growth.add(1, u64::MAX, bytes);
        growth
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        self.fixed += other.fixed;
        for &Piece { each, most, bytes } in &other.pieces {
            self.add(each, most, bytes);
        }
    }

    /// What `tokens` take, bytes.
    #[must_use]
    pub fn bytes(&self, tokens: u64) -> f64 {
        let piece = |piece: &Piece| (tokens / piece.each).min(piece.most) as f64 * piece.bytes;
        let fixed = if tokens > 0 { self.fixed } else { 0.0 };
        fixed + self.pieces.iter().map(piece).sum::<f64>()
    }

    /// Bytes a token, where every token takes as much as any other.
    #[must_use]
    pub fn per_token(&self) -> Option<f64> {
        let linear = |piece: &Piece| piece.each == 1 && piece.most == u64::MAX;
        let all = self.fixed == 0.0 && self.pieces.iter().all(linear);
        all.then(|| self.pieces.iter().map(|piece| piece.bytes).sum())
    }

    /// The tokens of one sequence that `bytes` have room for; all where more take no more.
    #[must_use]
    pub fn tokens_in(&self, bytes: f64) -> u64 {
        if let Some(each) = self.per_token().filter(|each| *each > 0.0) {
            return (bytes / each) as u64;
        }
        let (mut fits, mut too_many) = (0, 1_u64 << 48);
        if self.bytes(too_many) <= bytes {
            return u64::MAX;
        }
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if self.bytes(middle) <= bytes { fits = middle } else { too_many = middle }
        }
        fits
    }

    fn add(&mut self, each: u64, most: u64, bytes: f64) {
        match self.pieces.iter_mut().find(|piece| (piece.each, piece.most) == (each, most)) {
            Some(piece) => piece.bytes += bytes,
            None if bytes > 0.0 => self.pieces.push(Piece { each, most, bytes }),
            None => {}
        }
    }

    /// Adds a mixer's cache, its entries in `kv_dtype`, on one of `tp` ranks that share its heads.
    fn hold(&mut self, mixer: &Mixer, kv_dtype: Dtype, tp: u32) {
        let share = mixer.cache_share(tp);
        let entries = |elements: u64| elements as f64 * kv_dtype.bytes() * share;
        let one = mixer.entry();
        match *mixer {
            Mixer::Grouped { own_cache: false, .. } => {}
            Mixer::Grouped { span, .. } => {
                let most = match span {
                    Span::Full => u64::MAX,
                    Span::Window(tokens) | Span::Chunk(tokens) => tokens.into(),
                };
                self.add(1, most, entries(one));
            }
            Mixer::Latent { index, .. } => {
                self.add(1, u64::MAX, entries(one));
                self.add(1, u64::MAX, index.map_or(0.0, |index| index.head_dim.into()));
            }
            Mixer::Compressed { window, ratio, index, .. } => {
                self.add(1, window.into(), entries(one));
                if ratio > 0 {
                    self.add(ratio.into(), u64::MAX, entries(one));
                    self.add(ratio.into(), u64::MAX, index.map_or(0.0, |index| index.head_dim.into()));
                }
            }
            Mixer::State { state, conv_state, .. } => {
                let cache = Cache { state, conv_state, ..Cache::default() };
                self.fixed += cache.bytes(0) as f64 * share;
            }
        }
    }
}

impl Model {
    /// What the caches of a sequence take in `layers`, entries in `kv_dtype`, on each of `tp` ranks that share its heads. Latents, shared keys
    /// and the keys of an index can't be shared out: each of these ranks has all of them.
    #[must_use]
    pub fn cache_growth(&self, layers: Range<u32>, kv_dtype: Dtype, tp: u32) -> CacheGrowth {
        let mut growth = CacheGrowth::default();
        for (kind, alike) in self.alike(layers) {
            let mut one = CacheGrowth::default();
            let mixers = &self.kinds[usize::from(kind)].mixers;
            mixers.iter().for_each(|mixer| one.hold(mixer, kv_dtype, tp));
            growth.fixed += one.fixed * alike.len() as f64;
            for Piece { each, most, bytes } in one.pieces {
                growth.add(each, most, bytes * alike.len() as f64);
            }
        }
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_stops_growing_and_a_full_layer_does_not() {
        let mut growth = CacheGrowth::linear(2.0);
        growth.add(1, 128, 3.0);
        growth.add(4, u64::MAX, 8.0);
        growth.fixed = 10.0;
        for (tokens, bytes) in
            [(0, 0.0), (1, 15.0), (4, 38.0), (128, 906.0), (1280, 10.0 + 2560.0 + 384.0 + 2560.0)]
        {
            assert_eq!(growth.bytes(tokens), bytes, "{tokens}");
            assert!(growth.tokens_in(bytes) >= tokens && growth.bytes(growth.tokens_in(bytes)) <= bytes);
        }
        assert_eq!(growth.per_token(), None);
        assert_eq!(CacheGrowth::linear(2.0).tokens_in(9.0), 4);
        assert_eq!(CacheGrowth::default().tokens_in(0.0), u64::MAX);
    }
}
