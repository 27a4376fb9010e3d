//! Formats of stored weights, part by part; apart from the format of arithmetic and of the cache.

use serde::{Deserialize, Serialize};
use topology::Dtype;

/// A format of stored weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// 32 bits.
    Fp32,
    /// 16 bits, with either exponent.
    Bf16,
    /// 8 bits, one scale a matrix or channel.
    Fp8,
    /// 8 bits, an FP32 scale for each block of so many rows and columns.
    Fp8Blocks(u32, u32),
    /// 4 bits, an 8-bit scale for each 32 (OCP MX).
    Mxfp4,
    /// 4 bits, an 8-bit scale for each 16.
    Nvfp4,
    /// 4 bits (NF4), a scale of 8 bits for each 64 and one of 32 for each 256 of these.
    Nf4Twice,
    /// Integers of so many bits, an FP16 scale for each group of so many; group 0: a scale a channel.
    Int(u32, u32),
}

impl Format {
    /// Bits of one weight with its share of the scales.
    #[must_use]
    pub fn bits(self) -> f64 {
        match self {
            Self::Fp32 => 32.0,
            Self::Bf16 => 16.0,
            Self::Fp8 => 8.0,
            Self::Fp8Blocks(rows, columns) => 8.0 + 32.0 / (f64::from(rows) * f64::from(columns)),
            Self::Mxfp4 => 4.25,
            Self::Nvfp4 => 4.5,
            Self::Nf4Twice => 4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0),
            Self::Int(bits, 0) => bits.into(),
            Self::Int(bits, group) => f64::from(bits) + 16.0 / f64::from(group),
        }
    }
}

/// Parts of a model that are stored in formats of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The input embedding.
    Embedding,
    /// The output head.
    Head,
    /// Norms, and the mixing of residual streams.
    Norms,
    /// Routers, and projections to latent widths.
    Router,
    /// Attention and recurrences.
    Mixer,
    /// Dense blocks.
    Dense,
    /// Shared experts.
    Shared,
    /// Routed experts.
    Experts,
}

/// Formats of the weights of a model, and of its cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Whether the model's file says so; else its weights and caches are in the formats of whoever runs it.
    #[serde(default = "yes")]
    pub stated: bool,
    /// Format of what nothing else is said of.
    pub base: Format,
    /// Format of the products that are quantised: attention, dense blocks, shared and routed experts.
    pub products: Format,
    /// Format of routed experts.
    pub experts: Format,
    /// Parts of layers that keep the base format, each with its layer.
    #[serde(default)]
    pub left_out: Vec<(u32, Part)>,
    /// True where the output head is quantised with the products.
    #[serde(default)]
    pub head: bool,
    /// Bits of an element of the cache, where the file says.
    #[serde(default)]
    pub cache_bits: Option<u32>,
}

impl Storage {
    /// Everything in one format.
    #[must_use]
    pub const fn plain(base: Format) -> Self {
        Self {
            stated: true,
            base,
            products: base,
            experts: base,
            left_out: Vec::new(),
            head: false,
            cache_bits: None,
        }
    }

    /// Whether no part is quantised: the weights can be put into the format of whoever runs them.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Self { base, products, experts, head, left_out, .. } = self;
        let all = *base == Format::Bf16 && products == base && experts == base;
        !self.stated || all && !head && left_out.is_empty()
    }

    /// The format of arithmetic that these weights are made for: FP4 of NVFP4, FP8 of FP8 and where nothing is said, else BF16.
    #[must_use]
    pub fn arithmetic(&self) -> Dtype {
        match self.experts {
            _ if !self.stated => Dtype::Fp8,
            Format::Nvfp4 => Dtype::Fp4,
            Format::Fp8 | Format::Fp8Blocks(..) => Dtype::Fp8,
            Format::Fp32 | Format::Bf16 | Format::Mxfp4 | Format::Nf4Twice | Format::Int(..) => Dtype::Bf16,
        }
    }

    /// The format of the cache's entries: what the file says, or BF16 as servers have it; FP8 where no file says anything.
    #[must_use]
    pub const fn cache(&self) -> Dtype {
        match self.cache_bits {
            Some(0..=4) => Dtype::Fp4,
            Some(5..=8) => Dtype::Fp8,
            Some(_) => Dtype::Bf16,
            None if self.stated => Dtype::Bf16,
            None => Dtype::Fp8,
        }
    }

    /// Bits of a weight of `part` in layer `layer` as it lies in memory: those of `dtype` where no part is quantised, else those it is stored in.
    #[must_use]
    pub fn held_bits(&self, layer: Option<usize>, part: Part, dtype: Dtype) -> f64 {
        if self.is_plain() { 8.0 * dtype.bytes() } else { self.bits(layer, part) }
    }

    /// Bits of a weight of `part` in layer `layer`, with its share of scales; `None` beside the layers.
    #[must_use]
    pub fn bits(&self, layer: Option<usize>, part: Part) -> f64 {
        let format = match part {
            Part::Embedding | Part::Norms | Part::Router => self.base,
            Part::Head => {
                if self.head {
                    self.products
                } else {
                    self.base
                }
            }
            Part::Mixer | Part::Dense | Part::Shared | Part::Experts => {
                let left_out = layer.is_some_and(|layer| {
                    self.left_out.iter().any(|&(at, left)| at as usize == layer && left == part)
                });
                match part {
                    _ if left_out => self.base,
                    Part::Experts => self.experts,
                    _ => self.products,
                }
            }
        };
        format.bits()
    }
}

impl Default for Storage {
    /// Nothing is said.
    fn default() -> Self {
        Self { stated: false, ..Self::plain(Format::Bf16) }
    }
}

const fn yes() -> bool {
    true
}
