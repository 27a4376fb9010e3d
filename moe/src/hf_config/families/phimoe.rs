//! Phi-3.5-MoE: Mixtral's fields, weights by a softmax over all experts.

use super::{Family, Fields, Model, ModelError, common};
use crate::gate::{GateKind, GateSpec, Softmax};

/// Its row of the table.
pub(in super::super) const FAMILY: Family = Family { types: &["phimoe"], read };

fn read(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let mut model = common(model_type, fields, "num_local_experts", "intermediate_size")?;
    let norm_topk = fields.flag_or("norm_topk_prob", false)?;
    model.gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(norm_topk));
    Ok(model)
}
