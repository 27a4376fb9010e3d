//! Megatron's router trace: JSON lines, one for each step, layer and rank.

use serde::Deserialize;

use super::format::Format;
use super::lines::Lines;
use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError};

const EXPECTED: &str = r#"{"step", "stage", "block", "layer", "rank", "num_tokens", "topk", "top_indices": [[expert, ...], ...]}"#;
/// The stage that counts where there are several: what the gate picked, before anything was moved or dropped.
const STAGE: &str = "pre_dispatch";

/// How it is told, and what reads it.
pub(super) const FORMAT: Format =
    Format { words: "Megatron's `top_indices`", keys: &["top_indices"], document: None, lines: Some(parse) };

#[derive(Deserialize)]
struct Line {
    step: u64,
    stage: Option<String>,
    block: Option<String>,
    layer: u32,
    rank: u32,
    num_tokens: Option<usize>,
    topk: Option<usize>,
    top_indices: Vec<Vec<i64>>,
}

/// Reads a trace. Layers of blocks that number them apart come one block after the other, in the order of appearance.
fn parse(mut lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    let (mut gathered, mut blocks, mut counted) = (Gathered::default(), Vec::new(), None);
    while let Some(line) = lines.next::<Line>(EXPECTED)? {
        let stage = line.stage.unwrap_or_else(|| STAGE.to_owned());
        match &counted {
            None => counted = Some(stage),
            Some(counted) if *counted == stage => {}
            Some(counted) if counted == STAGE => continue,
            // What was counted before is another look at the same tokens.
            Some(_) if stage == STAGE => {
                gathered = Gathered::default();
                counted = Some(stage);
            }
            Some(counted) => {
                return Err(lines.wrong(format!(
                    "stage '{stage}' besides '{counted}'; give one stage a trace, or {STAGE} too"
                )));
            }
        }
        let rows = line.top_indices.len();
        if let Some(tokens) = line.num_tokens.filter(|&tokens| tokens != rows) {
            return Err(
                lines.wrong(format!("{rows} lists of experts for num_tokens = {tokens}; give one a token"))
            );
        }
        let block = line.block.unwrap_or_default();
        let block = blocks.iter().position(|known| *known == block).unwrap_or_else(|| {
            blocks.push(block);
            blocks.len() - 1
        });
        for experts in &line.top_indices {
            if let Some(topk) = line.topk.filter(|&topk| topk != experts.len()) {
                return Err(
                    lines.wrong(format!("{} experts for topk = {topk}; give topk a token", experts.len()))
                );
            }
            let row = PickedRow { experts, weights: None, rank: Some(line.rank), step: Some(line.step) };
            gathered.push((block as u32, line.layer), &row).map_err(|problem| lines.wrong(problem))?;
        }
    }
    gathered.finish(None, lines.origin)
}
