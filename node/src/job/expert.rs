//! The expert job: FP8 rows through the experts of a rank, and back as BF16.

use super::ExpertRow;
use super::values::{bytes_of, narrow_row};
use crate::wire::RowData;
use moe::ExpertId;
use moe::experts::{ExpertKind, Experts};
use moe::placement::Placement;
use moe::plan::DispatchScheme;
use moe::rows;

/// Rows that real experts take in one pass: their products want many.
const GEMM_BLOCK_ROWS: usize = 128;
/// Modelled ones gain nothing from many: so few stay in a core's cache.
const MODELLED_BLOCK_ROWS: usize = 8;

/// Values of one pass, used again by the next.
#[derive(Debug, Default)]
struct Scratch {
    /// Rows of one expert, `[rows][width]`.
    input: Vec<f32>,
    output: Vec<f32>,
    /// A sum for each row of the pass, `[rows][width]`.
    sums: Vec<f32>,
}

/// What `experts` make of `work`, a row each: of a row with several targets, their weighted sum in ascending logical expert.
pub(super) fn expert(
    experts: &Experts,
    placement: &Placement,
    scheme: DispatchScheme,
    work: &[ExpertRow],
    width: usize,
) -> Vec<RowData> {
    let rows_at_once = match experts.kind() {
        ExpertKind::Modelled => MODELLED_BLOCK_ROWS,
        ExpertKind::Gemm => GEMM_BLOCK_ROWS,
    };
    let mut scratch = Scratch::default();
    let mut out = Vec::with_capacity(work.len());
    for block in work.chunks(rows_at_once) {
        scratch.pass(experts, placement, scheme, block, width);
        out.extend(scratch.sums.chunks_exact(width).map(narrow_row));
    }
    out
}

impl Scratch {
    /// Leaves the sums of `block`'s rows.
    fn pass(
        &mut self,
        experts: &Experts,
        placement: &Placement,
        scheme: DispatchScheme,
        block: &[ExpertRow],
        width: usize,
    ) {
        let targets = block.iter().enumerate().flat_map(|(at, row)| {
            row.targets.iter().map(move |target| (placement.expert_of(target.slot).0, at, target.weight))
        });
        let mut picks: Vec<(u32, usize, f32)> = targets.collect();
        picks.sort_by_key(|&(expert, at, _)| (expert, at));
        self.sums.clear();
        self.sums.resize(block.len() * width, 0.0);
        for group in picks.chunk_by(|a, b| a.0 == b.0) {
            // What is left of the pass before is overwritten.
            self.input.resize(group.len() * width, 0.0);
            self.output.resize(group.len() * width, 0.0);
            for (&(_, at, _), input) in group.iter().zip(self.input.chunks_exact_mut(width)) {
                rows::dequantise_fp8(bytes_of(&block[at].data), width, input);
            }
            experts.apply(ExpertId(group[0].0), &self.input, &mut self.output);
            for (&(_, at, weight), y) in group.iter().zip(self.output.chunks_exact(width)) {
                let sum = &mut self.sums[at * width..(at + 1) * width];
                match scheme {
                    DispatchScheme::Flat => sum.copy_from_slice(y),
                    DispatchScheme::Dedup | DispatchScheme::Hierarchical => {
                        sum.iter_mut().zip(y).for_each(|(sum, y)| *sum += weight * y);
                    }
                }
            }
        }
    }
}
