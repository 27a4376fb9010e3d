//! What fuzz targets share: small things that messages and files are about.

use coordinator::RunRequest;
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::{LayerShape, Model, Placement};
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use study::experiment::{Asked, Column, Fault, Ordered, Resolved, Settings, Subject, Value};
use study::layer::{BackendKind, LayerArgs};
use study::scenario::{Scenario, ScenarioError, Studied, flags, keys, read};
use study::serving::Sources;
use study::subjects::{Serving, layer};
use topology::{Cluster, Dtype, Hardware};

/// `data` as the text of a file, if it is one.
#[must_use]
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Counts all of a model that commands count.
pub fn count(model: &Model) {
    model.check_ranks().ok();
    let layers = model.counts().len();
    assert!(layers <= model.layers().count());
    for total in
        [model.total_params(), model.active_params(), model.mtp_params(), model.weight_bytes().total()]
    {
        assert!(total.is_finite() && total >= 0.0, "{total} of {model:?}");
    }
    for context in [0, 1, 4096, 1 << 20] {
        let _ = model.cache(context);
    }
}

/// A small layer on two racks of two.
#[must_use]
pub fn request() -> RunRequest {
    let cluster = Cluster::uniform(2, 2).expect("a cluster");
    let shape = LayerShape {
        hidden: 64,
        num_experts: 8,
        top_k: 2,
        expert_inter: 16,
        gate: GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let placement = Placement::linear(&cluster, shape.num_experts).expect("a placement");
    let layer = LayerProgram::new(shape, placement, vec![4; 4]);
    let hardware = Hardware::preset("lab").expect("a preset");
    RunRequest::new(Setup { seed: 7, ..Setup::new(cluster, hardware, Program::Layer(layer)) })
}

/// What experiments may be about here. No name leads anywhere, and no program is started: that is none of a file's reading.
#[must_use]
pub fn subjects() -> [&'static dyn Subject; 2] {
    static SERVING: std::sync::LazyLock<Serving<Nowhere>> = std::sync::LazyLock::new(Serving::default);
    [&Layers, &*SERVING]
}

#[derive(Debug, Default)]
struct Nowhere;

impl Sources for Nowhere {
    fn resolve(&self, _: &Scenario) -> Result<Studied, ScenarioError> {
        Err(ScenarioError::new("model", "nothing is looked up here"))
    }
}

#[derive(Debug)]
struct Layers;

impl Subject for Layers {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn keys(&self) -> Vec<String> {
        keys::<LayerArgs>(&["backend", "seeds", "no-payload", "memory-limit"])
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        let alone: Settings = Ordered(vec![(key.to_owned(), value.clone())]);
        read::<LayerArgs>(&flags::<LayerArgs>(&alone, |_| false)).map(drop)
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Sim]
    }

    fn resolve<'a>(&'a self, _: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        Err("nothing is run here".to_owned().into())
    }

    fn columns(&self) -> &'static [Column] {
        &layer::COLUMNS
    }

    fn words(&self) -> &'static [Column] {
        &layer::WORDS
    }
}
