//! What is refused of a model written by hand, and how models are written and read.

use super::*;

#[test]
fn impossible_models_are_refused_by_field() {
    type Change = fn(&mut Model);
    fn mixer(model: &mut Model, mixer: Mixer) {
        model.kinds[0].mixers = vec![mixer];
    }
    fn routed(model: &mut Model, change: fn(&mut u32, &mut u32, &mut GateSpec)) {
        if let Block::Routed { experts, shared_inter, gate, .. } = &mut model.kinds[1].blocks[0] {
            change(experts, shared_inter, gate);
        }
    }
    fn grouped(kv_heads: u32, head_dim: u32, span: Span) -> Mixer {
        Mixer::Grouped {
            heads: 8,
            kv_heads,
            head_dim,
            v_head_dim: None,
            q_lora: None,
            span,
            output_gate: false,
            own_cache: true,
        }
    }
    let changes: [(&str, Change); 22] = [
        ("hidden = 65537", |m| m.hidden = MAX_HIDDEN + 1),
        ("experts = 0", |m| routed(m, |experts, _, _| *experts = 0)),
        ("order.layers = 0", |m| m.order.layers = 0),
        ("number of order.runs = 0", |m| m.order.runs.clear()),
        ("kind in order.runs = 2", |m| m.order.runs[0].0 = 2),
        ("kind in mtp_order = 9", |m| m.mtp_order = vec![9]),
        ("inter = 0", |m| m.kinds[0].blocks = vec![Block::Dense { inter: 0, gated: true }]),
        ("number of routed blocks of a layer = 2", |m| m.kinds[0].blocks = vec![m.kinds[1].blocks[0]; 2]),
        ("shared_inter = 0", |m| routed(m, |_, inter, _| *inter = 0)),
        ("vocab = 0", |m| m.vocab = 0),
        ("name = a\\nb", |m| m.name = "a\nb".to_owned()),
        ("mtp_depth = 1", |m| m.mtp_order.clear()),
        ("storage.experts = Fp8Blocks(0, 128)", |m| m.storage.experts = Format::Fp8Blocks(0, 128)),
        ("storage.base = Int(0, 0)", |m| m.storage.base = Format::Int(0, 0)),
        ("storage.cache_bits = 7", |m| m.storage.cache_bits = Some(7)),
        ("own_cache = false", |m| {
            let mut shared = grouped(8, 4, Span::Full);
            if let Mixer::Grouped { own_cache, .. } = &mut shared {
                *own_cache = false;
            }
            mixer(m, shared);
        }),
        ("topk_group = 9", |m| routed(m, |_, _, gate| gate.topk_group = 9)),
        ("routed_scaling_factor = NaN", |m| routed(m, |_, _, gate| gate.routed_scaling_factor = f32::NAN)),
        ("kv_heads = 3", |m| mixer(m, grouped(3, 4, Span::Full))),
        ("head_dim = 0", |m| mixer(m, grouped(8, 0, Span::Full))),
        ("empty kind in kinds = 1", |m| m.kinds[1] = Layer::default()),
        ("span = 0", |m| mixer(m, grouped(8, 4, Span::Window(0)))),
    ];
    for (said, change) in changes {
        let mut model = Model::preset("deepseek-v3").unwrap();
        change(&mut model);
        let message = model.validate_as("deepseek-v3").unwrap_err().to_string();
        assert!(message.starts_with(&format!("deepseek-v3: {said} is not possible; give ")), "{message}");
    }
}

#[test]
fn a_model_that_looks_back_in_too_many_ways_is_refused() {
    let mut model = Model::preset("mixtral").unwrap();
    let window = |tokens| Mixer::Grouped {
        heads: 8,
        kv_heads: 8,
        head_dim: 4,
        v_head_dim: None,
        q_lora: None,
        span: Span::Window(tokens),
        output_gate: false,
        own_cache: true,
    };
    model.kinds[0].mixers = (1..=6).map(window).collect();
    assert!(model.validate().is_ok());
    model.kinds[0].mixers = (1..=7).map(window).collect();
    let message = model.validate().unwrap_err().to_string();
    assert!(message.contains("ways of looking back = 7 is not possible; give between 0 and 6"), "{message}");
}

#[test]
fn a_model_survives_serialisation() {
    for model in Model::presets() {
        let text = serde_json::to_string(&model).unwrap();
        assert_eq!(&serde_json::from_str::<Model>(&text).unwrap(), model);
    }
}

/// Room is taken for the most that a sequence ever holds; where that is what it holds at the end, the two descriptions agree.
#[test]
fn growth_is_what_mixers_hold() {
    for name in ["deepseek-v3", "gpt-oss-120b", "llama-4-scout"] {
        let model = Model::preset(name).unwrap();
        let growth = model.cache_growth(0..model.num_layers(), topology::Dtype::Bf16, 1);
        for context in [1, 127, 128, 1_280, 8_192, 1_048_576] {
            assert_eq!(growth.bytes(context), model.cache(context).0.bytes(16) as f64, "{name}, {context}");
        }
        assert!(growth.bytes(8_193) >= model.cache(8_193).0.bytes(16) as f64);
    }
}
