//! A comparison's resolved options as they are told: one JSON object, and lines that stand above its results.

use super::{BaseChoice, CompareSpec, chunk_rows};
use blackboard::published::{Asked, Trust, trust};
use moe::ExpertKind;
use serde_json::{Value, json};
use topology::LinkSpec;

impl CompareSpec {
    /// All resolved options as one JSON object, without the rows of a trace and the text of a placement.
    #[must_use]
    pub fn config(&self) -> Value {
        let link = |link: LinkSpec| json!({"bytes_per_s": link.rate.bytes_per_s(), "latency_us": link.latency.as_micros_f64()});
        let mut config = json!({
            "rack_sizes": self.rack_sizes,
            "base": self.base,
            "hardware": self.hardware.name,
            "scale_up": link(self.fabric.scale_up),
            "scale_out": link(self.fabric.scale_out),
            "throttle": self.fabric.beta(),
            "latencies": names(&self.latencies),
            "model": self.model.name,
            "hidden": self.state_width(),
            "num_experts": self.shape.num_experts,
            "top_k": self.shape.top_k,
            "expert_inter": self.shape.expert_inter,
            "weight_dtype": self.shape.dtype,
            "tokens_per_rank": self.tokens,
            "gates": self.gates.as_deref().map(names),
            "routing": self.routing_name,
            "trace_rows": self.trace_rows(),
            "schemes": self.schemes(),
            "placement": self.placement.name(),
            "slots": self.slots,
            "experts": self.experts,
            "backends": self.backends,
            "warmup": self.warmup,
            "rounds": self.rounds,
            "dilation": self.dilation.to_string(),
            "payload": self.payload,
            "chunk_rows": chunk_rows(self.tokens),
            "overlap": if self.hardware.fuses_layers() { "fused" } else { "off" },
            "notes": self.notes,
        });
        if self.state_width() != self.shape.hidden {
            config["latent"] = json!(self.shape.hidden);
        }
        if self.fabric.oversubscription.blocks() {
            config["oversubscription"] = json!(self.fabric.oversubscription);
        }
        if self.background > 0.0 {
            config["background"] = json!(self.background);
        }
        if !self.faults.is_empty() {
            config["faults"] = json!(names(&self.faults));
        }
        if self.shape.zero_experts > 0 {
            config["zero_experts"] = json!(self.shape.zero_experts);
        }
        if !self.shape.gated {
            config["expert_matrices"] = json!(2);
        }
        if let Some(kernels) = &self.hardware.kernels {
            config["kernels"] = json!(kernels);
        }
        if let Some(layer) = &self.hardware.layer {
            config["layer"] = json!(layer);
        }
        config["trust"] = json!(self.trust(true));
        config
    }

    /// The resolved options as aligned `key = value` lines, seeds first.
    #[must_use]
    pub fn header(&self) -> String {
        let base = match self.base {
            BaseChoice::Ranks => "all ranks in one rack",
            BaseChoice::Rack => "the first rack alone, as many tokens a rank",
        };
        let trace = self
            .trace_rows()
            .map_or_else(String::new, |rows| format!(" (n = {rows} recorded rows, layers pooled)"));
        let placement = match self.slots {
            Some(slots) => format!("{}, {slots} slots", self.placement.name()),
            None => self.placement.name().to_owned(),
        };
        let run = format!(
            "backends {}; {} warm-up steps, {} rounds; dilation {}; {} rows a frame",
            names(&self.backends).join(", "),
            self.warmup,
            self.rounds,
            self.dilation,
            chunk_rows(self.tokens)
        );
        let overlap = if self.hardware.fuses_layers() { "that of one fused kernel" } else { "off" };
        let mut lines = vec![
            ("seeds", names(&self.seeds).join(", ")),
            ("racks", format!("{:?} ranks; base: {base}", self.rack_sizes)),
            ("hardware", self.hardware_told()),
            ("model", self.model_told()),
            ("tokens", format!("{} a rank", self.tokens)),
            ("routing", format!("{}{trace}", self.routing_name)),
            ("placement", placement),
            ("experts", if self.experts == ExpertKind::Gemm { "gemm" } else { "modelled" }.to_owned()),
            ("run", run),
            (
                "time",
                format!("emulated us; phases in lockstep, overlap of compute and communication {overlap}"),
            ),
        ];
        lines.push(("trust", self.trust(true).text));
        lines.extend(self.faults.iter().map(|fault| ("fault", fault.to_string())));
        lines.extend(self.notes.iter().map(|note| ("note", note.clone())));
        lines.iter().map(|(key, value)| format!("{key:<9} = {value}\n")).collect()
    }

    /// How far it can be trusted: what is compared, and its base if it has one.
    #[must_use]
    pub fn trust(&self, with_base: bool) -> Trust {
        let asked = |racks: &[u32]| Asked {
            shares_links: racks.len() > 1 && (self.fabric.oversubscription.blocks() || self.background > 0.0),
            ..Asked::layer(&self.shape, racks, Some(self.tokens.into()))
        };
        let base = match self.base {
            BaseChoice::Ranks => self.rack_sizes.iter().sum(),
            BaseChoice::Rack => self.rack_sizes.first().copied().unwrap_or(0),
        };
        let all = [asked(&self.rack_sizes), asked(&[base])];
        trust(&self.hardware, if with_base { &all } else { &all[..1] })
    }

    fn hardware_told(&self) -> String {
        format!(
            "{}; {} (throttle {:.4}; latencies: {})",
            self.hardware.name,
            links_told(self.fabric.scale_up, self.fabric.scale_out),
            self.fabric.beta(),
            self.hardware.latency_source,
        )
    }

    fn model_told(&self) -> String {
        let shape = &self.shape;
        let rows = match shape.hidden {
            width if width == self.state_width() => String::new(),
            width => format!(", rows of {width}"),
        };
        let zero = match shape.zero_experts {
            0 => String::new(),
            zero => format!(" + {zero} zero"),
        };
        format!(
            "{}: hidden {}{rows}, {}{zero} experts of width {}{}, top-{}, weights {}; rows FP8 out, BF16 back",
            self.model.name,
            self.state_width(),
            shape.num_experts,
            shape.expert_inter,
            if shape.gated { "" } else { " and two matrices" },
            shape.top_k,
            shape.dtype
        )
    }
}

/// Rates and latencies.
fn links_told(up: LinkSpec, out: LinkSpec) -> String {
    let link = |link: LinkSpec| {
        format!("{:.4} GB/s, {} us", link.rate.bytes_per_s() as f64 / 1e9, link.latency.as_micros_f64())
    };
    format!("scale-up {}; scale-out {}", link(up), link(out))
}

fn names<T: ToString>(choices: &[T]) -> Vec<String> {
    choices.iter().map(T::to_string).collect()
}
