//! The flags with which vLLM and SGLang start the chosen layouts.
//!
//! Their words: vLLM's data-parallel ranks times tensor parallelism is the expert-parallel group (docs.vllm.ai, "Expert Parallel
//! Deployment"); limits are of one data-parallel rank. SGLang's `--tp-size` counts all ranks of a stage, of which `--dp-size` groups have their own
//! sequences; its limits are of all groups together (docs.sglang.io, "Server Arguments" and "Expert Parallelism").

use super::{Choice, Part, Role};
use crate::scenario::quoted;
use serde::Serialize;
use serving::cost::Overlap;

/// One server's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Launch {
    /// Which server.
    pub server: &'static str,
    /// Which part of the plan, and how many of it.
    pub what: String,
    /// The command, its model by name.
    pub command: String,
}

/// The commands that start each part of `choice`, for a model that those servers know as `model`; `routed` where it has experts.
#[must_use]
pub fn launches(choice: &Choice, model: &str, routed: bool) -> Vec<Launch> {
    let model = &quoted(model);
    let of = |part: &Part| {
        let what = match (part.layout.role, part.replicas) {
            (Role::Whole, count) => format!("{count} of these"),
            (Role::Prefill, count) => format!("prefill, {count} of these"),
            (Role::Decode, count) => format!("decode, {count} of these"),
        };
        [("vllm", vllm(part, model, routed)), ("sglang", sglang(part, model, routed))]
            .map(|(server, words)| Launch { server, what: what.clone(), command: words.join(" ") })
    };
    choice.parts.iter().flat_map(of).collect()
}

/// Sequences of a group on one train.
fn seats(part: &Part) -> u32 {
    part.trial.as_ref().map_or(part.layout.step_tokens, |trial| trial.seats)
}

fn vllm(part: &Part, model: &str, routed: bool) -> Vec<String> {
    let layout = &part.layout;
    let groups = layout.ep() / layout.tp;
    let mut words = vec![format!(
        "vllm serve {model} --tensor-parallel-size {} --data-parallel-size {groups}",
        layout.tp
    )];
    if layout.pp > 1 {
        words.push(format!("--pipeline-parallel-size {}", layout.pp));
    }
    words.push(format!(
        "--max-num-seqs {} --max-num-batched-tokens {}",
        seats(part) * layout.micro_batches,
        layout.step_tokens
    ));
    if routed {
        let backend =
            if layout.role == Role::Prefill { "deepep_high_throughput" } else { "deepep_low_latency" };
        words.push(format!("--enable-expert-parallel --all2all-backend {backend}"));
        if layout.overlap == Overlap::TwoBatch {
            words.push("--enable-dbo".to_owned());
        }
    }
    let role = match layout.role {
        Role::Whole => return words,
        Role::Prefill => "kv_producer",
        Role::Decode => "kv_consumer",
    };
    words.push(format!(
        "--kv-transfer-config '{{\"kv_connector\":\"NixlConnector\",\"kv_role\":\"{role}\"}}'"
    ));
    words
}

fn sglang(part: &Part, model: &str, routed: bool) -> Vec<String> {
    let layout = &part.layout;
    let groups = layout.ep() / layout.tp;
    let mut words =
        vec![format!("python -m sglang.launch_server --model-path {model} --tp-size {}", layout.ep())];
    if groups > 1 {
        words.push(format!("--dp-size {groups} --enable-dp-attention"));
    }
    if layout.pp > 1 {
        words.push(format!("--pp-size {}", layout.pp));
    }
    let all = seats(part) * layout.micro_batches * groups;
    words
        .push(format!("--max-running-requests {all} --chunked-prefill-size {}", layout.step_tokens * groups));
    if routed {
        let mode = match layout.role {
            Role::Whole => "auto",
            Role::Prefill => "normal",
            Role::Decode => "low_latency",
        };
        words.push(format!("--ep-size {} --moe-a2a-backend deepep --deepep-mode {mode}", layout.ep()));
        if layout.overlap == Overlap::TwoBatch {
            words.push("--enable-two-batch-overlap".to_owned());
        }
    }
    match layout.role {
        Role::Whole => {}
        Role::Prefill => words.push("--disaggregation-mode prefill".to_owned()),
        Role::Decode => words.push("--disaggregation-mode decode".to_owned()),
    }
    words
}
