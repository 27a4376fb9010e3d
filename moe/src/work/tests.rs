//! Work against figures by hand, and against what the description of a mixer says it reads.

use super::*;
use crate::model::{Mixer, Reach, Span};
use proptest::prelude::*;

const DTYPES: (Dtype, Dtype) = (Dtype::Fp8, Dtype::Bf16);

fn part(model: &Model, tp: u32) -> RankPart {
    RankPart::new(model, DTYPES, CommonWeights::Replicated, tp, 64)
}

fn v3() -> Model {
    Model::preset("deepseek-v3").unwrap()
}

fn decode(model: &Model, context: u64) -> RankLoad {
    RankLoad { decode: model.reaches().of_sequence(context, 1), prefill: TokenLoad::default() }
}

#[test]
fn common_and_routed_weights_are_all_weights() {
    for model in Model::presets().filter(|model| model.storage.is_plain()) {
        let parts = model.params();
        let part = part(model, 1);
        let [embedding, head] = model.embedding_bytes(&part);
        let ends = if model.tied_embeddings { embedding } else { embedding + head };
        let sum = model.common_bytes(0..model.num_layers(), &part) + parts.experts + ends;
        assert!((sum / (parts.total() - parts.norms) - 1.0).abs() < 1e-12, "{}", model.name);
    }
}

#[test]
fn a_cache_entry_is_read_once_a_step_and_written_once() {
    // 576 elements of 2 bytes a token and layer: 70,272 B over 61 layers (ISCA).
    let work = v3().mixer_work(0, &decode(&v3(), 4_999), &part(&v3(), 1));
    assert_eq!(work.cache * 61.0, 5_000.0 * 70_272.0);
}

#[test]
fn absorbed_decode_has_the_intensity_that_the_source_states() {
    // E3b: 242 FLOP a byte of BF16 cache.
    let model = v3();
    let (load, reaches) = (decode(&model, 999_999).decode, model.reaches());
    let mixer = &model.layer_at(0).mixers[0];
    let scores = mixing::score_flops(mixer, &load, &reaches);
    assert_eq!((scores / mixing::cache_bytes(mixer, &load, &reaches, Dtype::Bf16)).round(), 242.0);
}

#[test]
fn heads_are_shared_out_and_latents_are_not() {
    let of = |name: &str, tp: u32| {
        let model = Model::preset(name).unwrap();
        model.mixer_work(3, &decode(&model, 999), &part(&model, tp))
    };
    let [one, four, sixteen] = [1, 4, 16].map(|tp| of("mixtral", tp));
    assert_eq!((one.flops, one.weights, one.cache), (4.0 * four.flops, 4.0 * four.weights, 4.0 * four.cache));
    // 8 key heads on 16 ranks: each has one.
    assert_eq!(one.cache, 8.0 * sixteen.cache);
    let [one, four] = [1, 4].map(|tp| of("deepseek-v3", tp));
    assert_eq!((one.flops, one.cache), (4.0 * four.flops, four.cache));
}

/// By hand, one pair after the other.
fn slow(reach: Reach, context: u64, tokens: u64) -> u64 {
    let pairs = |place: u64| match reach {
        Reach::Full => place + 1,
        Reach::Window(most) | Reach::Top(most) => (place + 1).min(most.into()),
        Reach::Chunk(chunk) => place % u64::from(chunk) + 1,
        Reach::Groups(each) => (place + 1) / u64::from(each),
        Reach::TopGroups(each, most) => ((place + 1) / u64::from(each)).min(most.into()),
    };
    (context..context + tokens).map(pairs).sum()
}

fn any_reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        Just(Reach::Full),
        (1_u32..40).prop_map(Reach::Window),
        (1_u32..40).prop_map(Reach::Chunk),
        (1_u32..40).prop_map(Reach::Top),
        (1_u32..9).prop_map(Reach::Groups),
        ((1_u32..9), (1_u32..9)).prop_map(|(each, most)| Reach::TopGroups(each, most)),
    ]
}

proptest! {
    #[test]
    fn pairs_are_those_of_every_token(reach in any_reach(), context in 0_u64..200, tokens in 1_u64..100) {
        prop_assert_eq!(reach.seen(context, tokens).pairs, slow(reach, context, tokens));
    }

    #[test]
    fn a_prompt_in_chunks_looks_at_as_much_as_at_once(reach in any_reach(), parts in prop::collection::vec(1_u64..50, 1..6)) {
        let (mut context, mut pairs, mut entries) = (0, 0, 0);
        for &tokens in &parts {
            let seen = reach.seen(context, tokens);
            (pairs, entries, context) = (pairs + seen.pairs, entries + seen.entries, context + tokens);
        }
        let whole = reach.seen(0, context);
        prop_assert_eq!(whole.pairs, pairs);
        prop_assert!(entries >= whole.entries || matches!(reach, Reach::TopGroups(..)), "chunks read the cache of those before them");
    }

    /// What the next token reads by the description of the mixer is what a step of one token is charged.
    #[test]
    fn a_decode_step_reads_what_the_mixer_says(context in 1_u64..5_000, window in 1_u32..600, heads in 1_u32..4) {
        for span in [Span::Full, Span::Window(window), Span::Chunk(window)] {
            let mixer = Mixer::Grouped { heads, kv_heads: heads, head_dim: 8, v_head_dim: Some(4), q_lora: None, span, output_gate: false, own_cache: true };
            let reaches = Reaches::of(mixer.reaches().into_iter());
            let bytes = mixing::cache_bytes(&mixer, &reaches.of_sequence(context - 1, 1), &reaches, Dtype::Bf16);
            prop_assert_eq!(bytes, mixer.read(context).bytes(16) as f64);
        }
    }
}

/// Sparse and compressed attention, and states: golden values by hand at contexts around the window.
#[test]
fn sparse_compressed_and_recurrent_layers_read_what_they_should() {
    let index = crate::model::Index { heads: 64, head_dim: 128, topk: 2048 };
    let latent = Mixer::Latent {
        heads: 128,
        q_lora: Some(1536),
        kv_lora: 512,
        qk_nope: 128,
        qk_rope: 64,
        v_head: 128,
        output_gate: false,
        index: Some(index),
    };
    let compressed = Mixer::Compressed {
        heads: 64,
        head_dim: 512,
        q_lora: 64,
        o_groups: 2,
        o_lora: 64,
        window: 128,
        ratio: 4,
        index: Some(crate::model::Index { topk: 512, ..index }),
    };
    let state =
        Mixer::State { kind: crate::model::StateKind::Mamba2, weights: 1, state: 100, conv_state: 10 };
    for (context, of_latent, of_compressed) in [
        (1_u64, 576 + 128, 512),
        (2_047, 2_047 * 704, 512 * (128 + 511) + 511 * 128),
        (2_048, 2_048 * 704, 512 * (128 + 512) + 512 * 128),
        (20_480, 2_048 * 576 + 20_480 * 128, 512 * (128 + 512) + 5_120 * 128),
        (1_000_000, 2_048 * 576 + 128_000_000, 512 * (128 + 512) + 250_000 * 128),
    ] {
        for (mixer, bytes) in [(&latent, of_latent), (&compressed, of_compressed), (&state, 2 * 420)] {
            let reaches = Reaches::of(mixer.reaches().into_iter());
            let charged =
                mixing::cache_bytes(mixer, &reaches.of_sequence(context - 1, 1), &reaches, Dtype::Fp8);
            assert_eq!(charged, f64::from(bytes), "{} at {context}", mixer.name());
        }
    }
}
