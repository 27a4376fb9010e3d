//! What a layer must compute: the slow references, in one process, that every run is checked against.
//!
//! [`quantised`] does the arithmetic of the distributed layer, rounding at the same places and adding in the same
//! order, and must agree with it bit for bit. [`float64`] does the layer's mathematics without any rounding of rows and
//! must agree with it within [`FP8_TOLERANCE`]. Neither uses the dispatch planner. [`StackReference`] does the same as
//! [`quantised`] for all layers of a model, step after step.

mod stack;

pub use stack::StackReference;

use crate::experts::Experts;
use crate::hidden::fill_hidden_state;
use crate::ids::ExpertId;
use crate::names::TokenNames;
use crate::placement::Placement;
use crate::plan::DispatchScheme;
use crate::rows;
use crate::shape::LayerShape;
use crate::topk::Routing;
use std::collections::BTreeMap;
use topology::{Cluster, RankId};

/// Largest [`relative_rms_error`] of outputs that went through FP8 rows and BF16 combines.
///
/// e4m3 keeps 3 mantissa bits: an error spread over 2^-3 of a binade, 2.6% RMS of normally distributed values. A linear
/// expert passes that on unchanged. SwiGLU on unit-variance gate g and up u amplifies it by
/// sqrt((E\[silu'(g)^2\] + E\[silu(g)^2\]) / E\[silu(g)^2\]) = sqrt((0.379 + 0.356) / 0.356) = 1.44, to 3.7%; the squared
/// ReLU of experts of two matrices by sqrt(E\[4 relu(g)^2\] / E\[relu(g)^4\]) = 1.15. BF16
/// rounding (0.17% RMS a hop) adds in squares and disappears beside it. 5% leaves a third above that. One lost expert of
/// eight at equal weights shows as 35%, or about 20% with modelled experts, whose outputs resemble each other.
pub const FP8_TOLERANCE: f64 = 0.05;

/// Bytes of rows worked on at a time: enough that an expert's weights, where they are not cached, serve many tokens.
const WORKING_BYTES: usize = 64 << 20;

/// The layer's outputs as the distributed arithmetic gives them: by rank, `[tokens, hidden]`.
///
/// A token's state is rounded to FP8 and back, each of its experts is applied to that, and then, with `acc` an f32 row
/// that starts at zero and BF16 rounding written `bf16()`:
///
/// - flat: `acc += weight * bf16(y)` over its experts, ascending;
/// - dedup: each hosting rank makes `p = bf16(sum of weight * y over its experts, ascending)`; `acc += p` over ranks,
///   ascending;
/// - hierarchical: ranks of the source's rack contribute their `p`, every other rack
///   `bf16(sum of its p over ranks, ascending)` under the name of its gateway; `acc +=` the contributions, ascending by
///   that rank.
///
/// # Panics
/// If there are more routings than ranks, or one names an expert that the layer doesn't have.
#[expect(clippy::too_many_arguments, reason = "the reference takes everything that a run is defined by")]
#[must_use]
pub fn quantised(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    experts: &Experts,
    shape: &LayerShape,
    seed: u64,
    layer: u32,
    routings: &[Routing],
) -> Vec<Vec<f32>> {
    let own = TokenNames::default();
    quantised_by_name(scheme, cluster, placement, experts, shape, seed, layer, routings, &own)
}

/// [`quantised`] of tokens that have other names than those of their ranks.
///
/// # Panics
/// As [`quantised`].
#[expect(clippy::too_many_arguments, reason = "the reference takes everything that a run is defined by")]
#[must_use]
pub fn quantised_by_name(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    experts: &Experts,
    shape: &LayerShape,
    seed: u64,
    layer: u32,
    routings: &[Routing],
    names: &TokenNames,
) -> Vec<Vec<f32>> {
    routed(scheme, cluster, placement, experts, shape, routings, |source, token, x| {
        let (name, token) = names.name(source, token);
        fill_hidden_state(seed, layer, name, token, x);
    })
}

/// [`quantised`] on states that `fill` gives, of any token of any rank.
fn routed(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    experts: &Experts,
    shape: &LayerShape,
    routings: &[Routing],
    fill: impl Fn(RankId, u32, &mut [f32]),
) -> Vec<Vec<f32>> {
    let hidden = shape.hidden as usize;
    let mut outputs: Vec<Vec<f32>> =
        routings.iter().map(|routing| vec![0.0; routing.tokens() as usize * hidden]).collect();
    for tokens in all_tokens(routings).chunks(at_a_time::<f32>(hidden * shape.top_k as usize)) {
        let mut arrived = vec![0.0; tokens.len() * hidden];
        for (&(source, token), x) in tokens.iter().zip(arrived.chunks_exact_mut(hidden)) {
            fill(source, token, x);
            through_fp8(x);
        }
        let calls = calls(tokens, routings);
        let mut results = vec![0.0; calls.len() * hidden];
        for (expert, mine) in by_expert(&calls) {
            let mut x: Vec<f32> = Vec::with_capacity(mine.len() * hidden);
            mine.iter().for_each(|&call| x.extend_from_slice(row(&arrived, hidden, calls[call].row)));
            let mut y = vec![0.0; x.len()];
            experts.apply(expert, &x, &mut y);
            for (&call, y) in mine.iter().zip(y.chunks_exact(hidden)) {
                results[call * hidden..][..hidden].copy_from_slice(y);
            }
        }
        let mut results = results.chunks_exact(hidden);
        for calls in calls.chunk_by(|a, b| a.row == b.row) {
            let (source, token) = tokens[calls[0].row];
            let terms: Vec<Term<'_>> = calls
                .iter()
                .zip(&mut results)
                .map(|(call, y)| {
                    let slot = placement.slot_for(cluster, source, token, call.expert);
                    Term { host: placement.rank_of(slot), weight: call.weight, y }
                })
                .collect();
            let out = &mut outputs[source.0 as usize][token as usize * hidden..][..hidden];
            combine(scheme, cluster, source, &terms, out);
        }
    }
    outputs
}

/// The layer's outputs in float64, no row rounded on its way: by rank, `[tokens, hidden]`.
///
/// # Panics
/// If a routing names an expert that the layer doesn't have.
#[must_use]
pub fn float64(
    experts: &Experts,
    shape: &LayerShape,
    seed: u64,
    layer: u32,
    routings: &[Routing],
) -> Vec<Vec<f64>> {
    let hidden = shape.hidden as usize;
    let mut outputs: Vec<Vec<f64>> =
        routings.iter().map(|routing| vec![0.0; routing.tokens() as usize * hidden]).collect();
    for tokens in all_tokens(routings).chunks(at_a_time::<f64>(hidden)) {
        let mut states = vec![0.0; tokens.len() * hidden];
        for (&(source, token), x) in tokens.iter().zip(states.chunks_exact_mut(hidden)) {
            fill_hidden_state(seed, layer, source, token, x);
        }
        let calls = calls(tokens, routings);
        for (expert, mine) in by_expert(&calls) {
            let mut x: Vec<f64> = Vec::with_capacity(mine.len() * hidden);
            for &call in &mine {
                x.extend(row(&states, hidden, calls[call].row).iter().copied().map(f64::from));
            }
            let mut y = vec![0.0; x.len()];
            experts.apply_f64(expert, &x, &mut y);
            for (&call, y) in mine.iter().zip(y.chunks_exact(hidden)) {
                let (source, token) = tokens[calls[call].row];
                let out = &mut outputs[source.0 as usize][token as usize * hidden..][..hidden];
                for (out, y) in out.iter_mut().zip(y) {
                    *out += f64::from(calls[call].weight) * y;
                }
            }
        }
    }
    outputs
}

/// Root of the summed squared differences over the summed squares of `reference`; 0 where both are all zero.
///
/// NaN in either gives NaN, which no tolerance accepts if the test reads `error <= FP8_TOLERANCE`.
///
/// # Panics
/// If the two don't have the same ranks and lengths.
#[must_use]
pub fn relative_rms_error(quantised: &[Vec<f32>], reference: &[Vec<f64>]) -> f64 {
    assert_eq!(quantised.len(), reference.len(), "ranks of the two outputs");
    let (mut difference, mut total) = (0.0, 0.0);
    for (quantised, reference) in quantised.iter().zip(reference) {
        assert_eq!(quantised.len(), reference.len(), "elements of the two outputs");
        for (&q, &r) in quantised.iter().zip(reference) {
            difference += (f64::from(q) - r).powi(2);
            total += r * r;
        }
    }
    if difference == 0.0 { 0.0 } else { (difference / total).sqrt() }
}

/// One expert that one token goes to.
struct Call {
    /// Index of the token among those worked on.
    row: usize,
    expert: ExpertId,
    weight: f32,
}

/// One expert's output on its way back to its token.
struct Term<'a> {
    host: RankId,
    weight: f32,
    y: &'a [f32],
}

/// Sums a token's `terms` (ascending by expert) into `out`, rounding where rows cross the wire.
fn combine(scheme: DispatchScheme, cluster: &Cluster, source: RankId, terms: &[Term<'_>], out: &mut [f32]) {
    out.fill(0.0);
    if scheme == DispatchScheme::Flat {
        for term in terms {
            rows::add_bf16(&bf16(term.y), term.weight, out);
        }
        return;
    }
    let mut partials: BTreeMap<RankId, Vec<f32>> = BTreeMap::new();
    for term in terms {
        let partial = partials.entry(term.host).or_insert_with(|| vec![0.0; out.len()]);
        for (partial, y) in partial.iter_mut().zip(term.y) {
            *partial += term.weight * y;
        }
    }
    let mut contributions: BTreeMap<RankId, Vec<u8>> = BTreeMap::new();
    let mut remote: BTreeMap<RankId, Vec<f32>> = BTreeMap::new();
    for (host, partial) in partials {
        if scheme == DispatchScheme::Dedup || cluster.same_rack(source, host) {
            contributions.insert(host, bf16(&partial));
        } else {
            let gateway = cluster.gateway(source, cluster.rack_of(host));
            let sum = remote.entry(gateway).or_insert_with(|| vec![0.0; out.len()]);
            rows::add_bf16(&bf16(&partial), 1.0, sum);
        }
    }
    contributions.extend(remote.into_iter().map(|(gateway, sum)| (gateway, bf16(&sum))));
    for contribution in contributions.values() {
        rows::add_bf16(contribution, 1.0, out);
    }
}

fn bf16(x: &[f32]) -> Vec<u8> {
    let mut row = Vec::with_capacity(rows::bf16_row_bytes(x.len()));
    rows::to_bf16(x, &mut row);
    row
}

/// Replaces `x` by what arrives of it in a dispatch row.
fn through_fp8(x: &mut [f32]) {
    let mut row = Vec::with_capacity(rows::fp8_row_bytes(x.len()));
    rows::quantise_fp8(x, &mut row);
    rows::dequantise_fp8(&row, x.len(), x);
}

/// Every token, by rank and then index.
fn all_tokens(routings: &[Routing]) -> Vec<(RankId, u32)> {
    (0..)
        .map(RankId)
        .zip(routings)
        .flat_map(|(rank, routing)| (0..routing.tokens()).map(move |token| (rank, token)))
        .collect()
}

/// Tokens that fit in [`WORKING_BYTES`] at `elements` of type `T` each; at least one.
fn at_a_time<T>(elements: usize) -> usize {
    (WORKING_BYTES / (elements * size_of::<T>()).max(1)).max(1)
}

/// The calls of `tokens`, by token and then expert, ascending.
fn calls(tokens: &[(RankId, u32)], routings: &[Routing]) -> Vec<Call> {
    let mut calls = Vec::new();
    for (row, &(source, token)) in tokens.iter().enumerate() {
        let picks = routings[source.0 as usize].picks(token);
        calls.extend(picks.map(|(expert, weight)| Call { row, expert: ExpertId(expert), weight }));
    }
    calls.sort_by_key(|call| (call.row, call.expert));
    calls
}

/// Indices into `calls`, by expert.
fn by_expert(calls: &[Call]) -> BTreeMap<ExpertId, Vec<usize>> {
    let mut by_expert: BTreeMap<ExpertId, Vec<usize>> = BTreeMap::new();
    for (index, call) in calls.iter().enumerate() {
        by_expert.entry(call.expert).or_default().push(index);
    }
    by_expert
}

fn row(rows: &[f32], hidden: usize, index: usize) -> &[f32] {
    &rows[index * hidden..][..hidden]
}

#[cfg(test)]
mod tests;
