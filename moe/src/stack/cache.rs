//! What stands for a rank's KV cache where values are computed: a few numbers a token and layer, kept one by one.

use std::collections::BTreeMap;

/// Numbers that a token leaves in one layer's cache, or as many as its state has.
pub const KV_WIDTH: usize = 8;

/// The cache of some layers for some sequences: an entry a token, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KvCache {
    layers: usize,
    width: usize,
    /// By sequence: `[layers][tokens * width]`.
    sequences: BTreeMap<u32, Vec<Vec<f32>>>,
}

impl KvCache {
    /// Nothing yet, for `layers` layers of `hidden` elements.
    #[must_use]
    pub fn new(layers: u32, hidden: u32) -> Self {
        let width = KV_WIDTH.min(hidden as usize).max(1);
        Self { layers: layers as usize, width, sequences: BTreeMap::new() }
    }

    /// Numbers of an entry.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes of `tokens` more tokens in all layers.
    #[must_use]
    pub fn bytes_of(&self, tokens: u64) -> u64 {
        (self.layers * self.width * size_of::<f32>()) as u64 * tokens
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let numbers: usize = self.sequences.values().flatten().map(Vec::len).sum();
        (numbers * size_of::<f32>()) as u64
    }

    /// Tokens of `sequence` in the cache of layer `layer`, counted from the first that is cached here.
    #[must_use]
    pub fn tokens(&self, sequence: u32, layer: usize) -> usize {
        self.sequences.get(&sequence).map_or(0, |layers| layers[layer].len() / self.width)
    }

    /// The first layer whose cache does not hold `tokens` of `sequence`, with what it holds.
    #[must_use]
    pub fn mismatch(&self, sequence: u32, tokens: u32) -> Option<(usize, usize)> {
        let mut layers = (0..self.layers).map(|layer| (layer, self.tokens(sequence, layer)));
        layers.find(|&(_, held)| held != tokens as usize)
    }

    /// Forgets `sequence`.
    pub fn forget(&mut self, sequence: u32) {
        self.sequences.remove(&sequence);
    }

    /// The entries of `sequence` in layer `layer`, `[tokens, width]`.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn entries_mut(&mut self, sequence: u32, layer: usize) -> &mut Vec<f32> {
        let layers = self.layers;
        &mut self.sequences.entry(sequence).or_insert_with(|| vec![Vec::new(); layers])[layer]
    }
}
