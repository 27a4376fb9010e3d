//! `railyard place --from`: what it takes to come from the placement in use to the new one, and whether it pays.

use super::{Job, Placed, with_experts};
use moe::DispatchScheme;
use moe::placement::PlacementWord;
use serde_json::{Value, json};
use std::path::Path;
use study::placing::{Change, PlacementChoice, StepPrice};
use study::scenario::Studied;

/// The change of all layers with experts.
pub(super) struct Changed {
    from: String,
    model: String,
    hardware: String,
    scheme: DispatchScheme,
    tokens: u32,
    change: Change,
    /// Layers that are changed, before and after, microseconds a step.
    steps_us: [f64; 2],
}

impl Changed {
    /// From the placement of `file` to `layers`.
    pub(super) fn new(
        file: &Path,
        tokens: u32,
        job: &Job,
        layers: &[Placed],
        studied: &Studied,
    ) -> anyhow::Result<Self> {
        let word = PlacementWord::File(file.to_owned());
        let choice = PlacementChoice::read(&word, crate::programs::programs()?)?;
        let before = job.place(choice.policy()?, None)?;
        let (shape, hardware) = (studied.model.layer(), &studied.place.clone().into_hardware());
        let scheme = studied.words.the_scheme()?;
        let price = StepPrice { shape: &shape, hardware, cluster: &job.cluster, scheme, tokens };
        let (mut change, mut steps_us) = (Change::new(&job.cluster), [0.0; 2]);
        for (old, new) in with_experts(&before).zip(with_experts(layers)) {
            let both = [&old.placement, &new.placement];
            change.add(&job.cluster, &studied.place.fabric, shape.expert_weight_bytes(), both)?;
            for (sum, layer) in steps_us.iter_mut().zip([old, new]) {
                *sum += price.step_us(&layer.placement, &layer.evaluation)?;
            }
        }
        let (model, hardware) = (studied.model.name.clone(), hardware.name.clone());
        Ok(Self { from: file.display().to_string(), model, hardware, scheme, tokens, change, steps_us })
    }

    /// Steps after which the time of the move is saved; `None` where none is.
    fn steps(&self) -> Option<u64> {
        let saved = self.steps_us[0] - self.steps_us[1];
        let free = self.change.experts == 0;
        (saved > 0.0 || free).then(|| if free { 0 } else { (self.change.time_us / saved).ceil() as u64 })
    }

    pub(super) fn sentences(&self) -> Vec<String> {
        let Self { change, steps_us: [before, after], .. } = self;
        let [up, out] = change.bytes().map(|bytes| bytes as f64 / 1e9);
        let busiest = |class: usize| {
            let all = change.sent[class].iter().chain(&change.received[class]);
            all.copied().max().unwrap_or(0) as f64 / 1e9
        };
        let pays = match self.steps() {
            Some(steps) => format!("it has paid after {steps} steps"),
            None => "it never pays".to_owned(),
        };
        vec![
            format!(
                "change from {}: {} experts of {} move in {} rounds, {up:.2} GB inside racks (a port at most {:.2} GB) and {out:.2} GB between \
                 racks ({:.2} GB), {:.2} ms on links of {}",
                self.from,
                change.experts,
                self.model,
                change.rounds,
                busiest(0),
                busiest(1),
                change.time_us / 1e3,
                self.hardware
            ),
            format!(
                "a step of these layers takes {:.1} us instead of {:.1} us with {} tokens a rank, {} (closed forms, fullest rank): {pays}",
                after, before, self.tokens, self.scheme
            ),
        ]
    }

    pub(super) fn object(&self) -> Value {
        let Self { change, steps_us: [before, after], .. } = self;
        let [up, out] = change.bytes();
        let ports = |of: &[Vec<u64>; 2]| json!({ "scale_up": of[0], "scale_out": of[1] });
        json!({
            "from": self.from,
            "model": self.model,
            "hardware": self.hardware,
            "experts": change.experts,
            "rounds": change.rounds,
            "bytes": { "scale_up": up, "scale_out": out },
            "sent_bytes_per_rank": ports(&change.sent),
            "received_bytes_per_rank": ports(&change.received),
            "move_us": change.time_us,
            "scheme": self.scheme.to_string(),
            "tokens_per_rank": self.tokens,
            "step_us": { "before": before, "after": after },
            "pays_after_steps": self.steps(),
        })
    }
}
