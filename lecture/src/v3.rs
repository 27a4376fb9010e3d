//! DeepSeek-V3 as claims and figures reckon with it: FP8 on 64 GB200, a cache of 35,136 B a token.

use blackboard::roofline::Step;
use blackboard::units::{Bytes, BytesPerS, BytesPerToken, FlopPerS, Params, Tokens};

/// A step of `batch` sequences with `context` tokens each.
pub(crate) fn step(batch: f64, context: f64) -> Step {
    Step {
        batch: Tokens(batch),
        active: Params(37e9),
        weights: Bytes(671e9),
        context: Tokens(context),
        kv: BytesPerToken(35_136.0),
        ranks: 64.0,
        flops: FlopPerS(5e15),
        bandwidth: BytesPerS(8e12),
    }
}
