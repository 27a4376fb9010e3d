//! What mixes the tokens of a sequence: attention of any reach, latent or compressed, and recurrences with a constant state; their weights
//! and what they hold and read of the past.

use serde::{Deserialize, Serialize};

/// How far attention looks back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// All that came before.
    #[default]
    Full,
    /// The last so many tokens.
    Window(u32),
    /// Tokens of its own chunk of so many.
    Chunk(u32),
}

impl Span {
    /// Tokens that are kept, and read by the next token, of `context`: `min(T, W)`; of a chunk what has come of it.
    #[must_use]
    pub fn kept(self, context: u64) -> u64 {
        match self {
            Self::Full => context,
            Self::Window(window) => context.min(window.into()),
            // The chunk that the last of these tokens is in.
            Self::Chunk(chunk) if context > 0 => (context - 1) % u64::from(chunk) + 1,
            Self::Chunk(_) => 0,
        }
    }
}

/// An index that chooses the keys to be read (DeepSeek-V3.2's lightning indexer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Heads of the index.
    pub heads: u32,
    /// Width of an index key, of which one is held for each token.
    pub head_dim: u32,
    /// Keys that are read at most.
    pub topk: u32,
}

/// Elements of caches, apart by what formats they are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Keys and values, latents, compressed entries.
    pub entries: u64,
    /// Keys of an index, a byte each (FP8) as DeepSeek-V3.2 keeps them.
    pub index_keys: u64,
    /// States of recurrences, FP32.
    pub state: u64,
    /// Last inputs of convolutions, BF16.
    pub conv_state: u64,
}

impl Cache {
    fn of(entries: u64) -> Self {
        Self { entries, ..Self::default() }
    }

    /// Bytes, where an entry's element takes `bits`.
    #[must_use]
    pub fn bytes(&self, bits: u32) -> u64 {
        let entries = (u128::from(self.entries) * u128::from(bits)).div_ceil(8);
        let others =
            u128::from(self.index_keys) + 4 * u128::from(self.state) + 2 * u128::from(self.conv_state);
        u64::try_from(entries + others).unwrap_or(u64::MAX)
    }
}

impl std::ops::Add for Cache {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            index_keys: self.index_keys + other.index_keys,
            state: self.state + other.state,
            conv_state: self.conv_state + other.conv_state,
        }
    }
}

/// The kinds of recurrences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// Gated delta rule (Qwen3-Next).
    GatedDelta,
    /// Kimi's delta attention.
    KimiDelta,
    /// Mamba-2's state space.
    Mamba2,
    /// Mamba's state space.
    Mamba,
    /// Linear attention with a decay (MiniMax-Text-01).
    Lightning,
    /// A short convolution alone (LFM2).
    ShortConv,
}

/// What mixes the tokens of a sequence in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mixer {
    /// Grouped-query attention (multi-head where `kv_heads == heads`).
    Grouped {
        /// Query heads.
        heads: u32,
        /// Key and value heads.
        kv_heads: u32,
        /// Width of a query's or key's head.
        head_dim: u32,
        /// Width of a value's head, where it is another.
        v_head_dim: Option<u32>,
        /// Rank of the queries' compression, where there is one (Step3).
        q_lora: Option<u32>,
        /// How far it looks back.
        #[serde(default)]
        span: Span,
        /// A gate as wide as the queries on what comes out.
        #[serde(default)]
        output_gate: bool,
        /// False where keys and values are those of an earlier layer.
        #[serde(default = "yes")]
        own_cache: bool,
    },
    /// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434).
    Latent {
        /// Query heads.
        heads: u32,
        /// Rank of the queries' compression, where there is one.
        q_lora: Option<u32>,
        /// Rank of the keys' and values' compression.
        kv_lora: u32,
        /// Width of a head's key without position.
        qk_nope: u32,
        /// Width of the shared rotary key.
        qk_rope: u32,
        /// Width of a head's value.
        v_head: u32,
        /// A gate as wide as the values on what comes out.
        #[serde(default)]
        output_gate: bool,
        /// What chooses the keys to be read, where not all are.
        index: Option<Index>,
    },
    /// Attention over a window of tokens and over groups of earlier ones, each compressed to one entry (DeepSeek-V4).
    Compressed {
        /// Query heads over one shared key that is its own value.
        heads: u32,
        /// Width of a head and of an entry.
        head_dim: u32,
        /// Rank of the queries' compression.
        q_lora: u32,
        /// Groups of heads that are projected together.
        o_groups: u32,
        /// Rank of each group's projection.
        o_lora: u32,
        /// Last tokens that are kept as they are.
        window: u32,
        /// Tokens of one compressed entry; 0 where nothing beyond the window is seen.
        ratio: u32,
        /// What chooses the entries to be read, where not all are.
        index: Option<Index>,
    },
    /// A recurrence, whose state does not grow with the context.
    State {
        /// Its kind.
        kind: StateKind,
        /// Weights, elements.
        weights: u64,
        /// State of a sequence, elements.
        #[serde(default)]
        state: u64,
        /// Last inputs of its convolution that are held, elements.
        #[serde(default)]
        conv_state: u64,
    },
}

impl Mixer {
    /// Weights, elements; norms of heads and biases, below 0.1% of any model here, are left out.
    #[must_use]
    pub fn params(&self, hidden: u32) -> u64 {
        let h = u64::from(hidden);
        match *self {
            Self::Grouped {
                heads, kv_heads, head_dim, v_head_dim, q_lora, output_gate, own_cache, ..
            } => {
                let v_head = v_head_dim.unwrap_or(head_dim);
                let (q, k, v) = (wide(heads, head_dim), wide(kv_heads, head_dim), wide(kv_heads, v_head));
                let keys = if own_cache { k + v } else { 0 };
                let query = q_lora.map_or(h * q, |rank| u64::from(rank) * (h + q));
                query + h * (q * u64::from(output_gate) + keys + wide(heads, v_head))
            }
            Self::Latent { heads, q_lora, kv_lora, qk_nope, qk_rope, v_head, output_gate, index } => {
                let (d_c, rope) = (u64::from(kv_lora), u64::from(qk_rope));
                let query = wide(heads, qk_nope) + wide(heads, qk_rope);
                let query = q_lora.map_or(h * query, |rank| u64::from(rank) * (h + query));
                let keys = h * (d_c + rope) + d_c * (wide(heads, qk_nope) + wide(heads, v_head));
                let value = wide(heads, v_head);
                let out = value * h * (1 + u64::from(output_gate));
                // Index: queries from the compressed query, one key a token, a weight a head.
                let from = q_lora.map_or(h, u64::from);
                let index = index.map_or(0, |index| {
                    from * wide(index.heads, index.head_dim)
                        + h * u64::from(index.head_dim)
                        + h * u64::from(index.heads)
                });
                query + keys + out + index
            }
            Self::Compressed { heads, head_dim, q_lora, o_groups, o_lora, ratio, index, .. } => {
                let (d, rank, groups) = (u64::from(head_dim), u64::from(q_lora), wide(o_groups, o_lora));
                let query = h * rank + rank * wide(heads, head_dim);
                let out = wide(heads, head_dim) * u64::from(o_lora) + groups * h;
                // Groups of four overlap: their keys and gates are twice as wide.
                let twice = 1 + u64::from(ratio == 4);
                let compress =
                    |width: u64| if ratio == 0 { 0 } else { (2 * h + u64::from(ratio)) * twice * width };
                let index = index.map_or(0, |index| {
                    rank * wide(index.heads, index.head_dim)
                        + h * u64::from(index.heads)
                        + compress(index.head_dim.into())
                });
                query + h * d + out + compress(d) + index
            }
            Self::State { weights, .. } => weights,
        }
    }

    /// Elements of one entry of its cache: a token's keys and values, or its latent and rotary key; of a recurrence none.
    #[must_use]
    pub fn entry(&self) -> u64 {
        match *self {
            Self::Grouped { kv_heads, head_dim, v_head_dim, .. } => {
                wide(kv_heads, head_dim) + wide(kv_heads, v_head_dim.unwrap_or(head_dim))
            }
            Self::Latent { kv_lora, qk_rope, .. } => u64::from(kv_lora) + u64::from(qk_rope),
            Self::Compressed { head_dim, .. } => head_dim.into(),
            Self::State { .. } => 0,
        }
    }

    /// The share of the cache that each of `tp` ranks has that divide the heads: key heads are divided as far as they go, a latent or a shared
    /// key is on all of them.
    #[must_use]
    pub fn cache_share(&self, tp: u32) -> f64 {
        match *self {
            Self::Grouped { kv_heads, .. } => 1.0 / f64::from(kv_heads.min(tp)),
            Self::Latent { .. } | Self::Compressed { .. } => 1.0,
            Self::State { .. } => 1.0 / f64::from(tp),
        }
    }

    /// What a sequence of `context` tokens holds.
    #[must_use]
    pub fn held(&self, context: u64) -> Cache {
        match *self {
            Self::Grouped { span, own_cache, .. } => {
                Cache::of(u64::from(own_cache) * span.kept(context) * self.entry())
            }
            Self::Latent { index, .. } => {
                Cache { index_keys: index_keys(index, context), ..Cache::of(context * self.entry()) }
            }
            Self::Compressed { window, ratio, index, .. } => {
                let groups = context.checked_div(ratio.into()).unwrap_or(0);
                let entries = (context.min(window.into()) + groups) * self.entry();
                Cache { index_keys: index_keys(index, groups), ..Cache::of(entries) }
            }
            Self::State { state, conv_state, .. } => Cache { state, conv_state, ..Cache::default() },
        }
    }

    /// What the next token of a sequence of `context` tokens reads.
    #[must_use]
    pub fn read(&self, context: u64) -> Cache {
        match *self {
            // Another layer's cache is read all the same.
            Self::Grouped { span, .. } => Cache::of(span.kept(context) * self.entry()),
            Self::Latent { index: Some(index), .. } => {
                let entries = context.min(index.topk.into()) * self.entry();
                Cache { index_keys: index_keys(Some(index), context), ..Cache::of(entries) }
            }
            Self::Compressed { window, ratio, index: Some(index), .. } => {
                let groups = context.checked_div(ratio.into()).unwrap_or(0);
                let entries = context.min(window.into()) + groups.min(index.topk.into());
                let index_keys = index_keys(Some(index), groups);
                Cache { index_keys, ..Cache::of(entries * self.entry()) }
            }
            Self::Latent { .. } | Self::Compressed { .. } | Self::State { .. } => self.held(context),
        }
    }

    /// Its name with its reach, for tables.
    #[must_use]
    pub fn name(&self) -> String {
        let sparse = |index: Option<Index>| {
            index.map_or(String::new(), |index| format!(", reads {} keys", index.topk))
        };
        match *self {
            Self::Grouped { heads, kv_heads, head_dim, span, own_cache, .. } => {
                let reach = match span {
                    Span::Full => "full".to_owned(),
                    Span::Window(window) => format!("window {window}"),
                    Span::Chunk(chunk) => format!("chunks of {chunk}"),
                };
                let shared = if own_cache { "" } else { ", cache of an earlier layer" };
                format!("attention {reach}, {heads} heads of {head_dim}, {kv_heads} for keys{shared}")
            }
            Self::Latent { heads, kv_lora, qk_rope, index, .. } => {
                format!("latent attention {kv_lora} + {qk_rope}, {heads} heads{}", sparse(index))
            }
            Self::Compressed { heads, head_dim, window, ratio, index, .. } => {
                let beyond = if ratio == 0 { String::new() } else { format!(" and {ratio} tokens an entry") };
                format!(
                    "compressed attention, window {window}{beyond}, {heads} heads of {head_dim}{}",
                    sparse(index)
                )
            }
            Self::State { kind, state, .. } => format!("{kind:?} with a state of {state}"),
        }
    }
}

const fn yes() -> bool {
    true
}

fn index_keys(index: Option<Index>, entries: u64) -> u64 {
    index.map_or(0, |index| entries * u64::from(index.head_dim))
}

fn wide(count: u32, width: u32) -> u64 {
    u64::from(count) * u64::from(width)
}
