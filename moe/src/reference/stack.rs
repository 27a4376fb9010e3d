//! What whole steps of a model must answer: all layers in one process, a sequence at a time outside the routed experts.

use super::routed;
use crate::experts::{ExpertKind, Experts, WEIGHT_CACHE_BYTES};
use crate::placement::LayerPlacements;
use crate::plan::DispatchScheme;
use crate::routing::{GateLimit, Router, RoutingError, RoutingSpec};
use crate::stack::{KvCache, LocalLayer, Stack, StepBatch, TokenId, add_routed, answers, fill_embedding};
use crate::topk::Routing;
use topology::{Cluster, RankId};

/// All layers of a stack, and the caches of all sequences.
#[derive(Debug)]
pub struct StackReference {
    stack: Stack,
    cluster: Cluster,
    placements: LayerPlacements,
    scheme: DispatchScheme,
    seed: u64,
    layers: Vec<(LocalLayer, Option<(Router, Experts)>)>,
    cache: KvCache,
}

/// New tokens of one column.
struct Tokens {
    ids: Vec<TokenId>,
    /// `[tokens, hidden]`
    states: Vec<f32>,
    /// What the routed experts get, `[tokens, hidden]`.
    entering: Vec<f32>,
}

impl StackReference {
    /// A reference whose caches are empty. `placements` has one of each layer, on the ranks of its stage.
    ///
    /// # Errors
    /// Where the routing can't be made.
    #[expect(clippy::too_many_arguments, reason = "the reference takes everything that a run is defined by")]
    pub fn new(
        stack: &Stack,
        cluster: &Cluster,
        placements: &LayerPlacements,
        scheme: DispatchScheme,
        routing: &RoutingSpec,
        limit: Option<&GateLimit>,
        kind: ExpertKind,
        seed: u64,
    ) -> Result<Self, RoutingError> {
        let (shape, model) = (stack.shape(), &stack.model);
        let layer = |layer| {
            let local = LocalLayer::new(stack, kind, seed, layer);
            if !model.is_moe_layer(layer) {
                return Ok((local, None));
            }
            let router = Router::new(&shape, routing, limit, seed, layer)?;
            let experts = Experts::new(kind, &shape, seed, layer)
                .with_cache_limit(WEIGHT_CACHE_BYTES / model.num_layers() as usize);
            Ok((local, Some((router, experts))))
        };
        Ok(Self {
            layers: (0..model.num_layers()).map(layer).collect::<Result<_, RoutingError>>()?,
            cache: KvCache::new(model.num_layers(), model.hidden),
            stack: stack.clone(),
            cluster: cluster.clone(),
            placements: placements.clone(),
            scheme,
            seed,
        })
    }

    /// What the model answers for each token of a batch, the `step`-th of its run: `[columns][tokens][hidden]`.
    ///
    /// # Panics
    /// If the batch has other columns than the stack, or a chunk's context is not what earlier steps have cached.
    pub fn step(&mut self, step: u32, batch: &StepBatch) -> Vec<Vec<Vec<f32>>> {
        let hidden = self.stack.model.hidden as usize;
        assert_eq!(batch.columns.len(), self.stack.columns() as usize, "a column for each rank of a stage");
        let mut columns: Vec<Tokens> = Vec::new();
        for column in &batch.columns {
            column.ended.iter().for_each(|&sequence| self.cache.forget(sequence));
            for chunk in &column.chunks {
                if chunk.context == 0 {
                    self.cache.forget(chunk.sequence);
                }
                assert_eq!(self.cache.mismatch(chunk.sequence, chunk.context), None, "{chunk:?}");
            }
            let ids: Vec<TokenId> = column.ids().collect();
            let mut states = vec![0.0; ids.len() * hidden];
            for (&id, state) in ids.iter().zip(states.chunks_exact_mut(hidden)) {
                fill_embedding(self.seed, id, state);
            }
            columns.push(Tokens { ids, states, entering: Vec::new() });
        }
        for index in 0..self.layers.len() {
            self.layer(index, step, batch, &mut columns);
        }
        columns.iter().map(|tokens| answers(&tokens.states, hidden)).collect()
    }

    fn layer(&mut self, index: usize, step: u32, batch: &StepBatch, columns: &mut [Tokens]) {
        let hidden = self.stack.model.hidden as usize;
        let (local, moe) = &self.layers[index];
        for (column, tokens) in batch.columns.iter().zip(&mut *columns) {
            tokens.entering.clear();
            let mut rest = &mut tokens.states[..];
            for chunk in &column.chunks {
                let (mine, others) = rest.split_at_mut(chunk.tokens as usize * hidden);
                let entering = local.run(&[*chunk], mine, &mut self.cache, index);
                tokens.entering.extend(entering.into_iter().flatten());
                rest = others;
            }
        }
        let Some((router, experts)) = moe else { return };
        let layer = index as u32;
        let stage = self.stack.stages().iter().find(|stage| stage.layers.contains(&layer));
        let first = stage.expect("every layer is in a stage").ranks.start;
        let none =
            Routing { top_k: self.stack.model.layer().top_k, topk_idx: Vec::new(), topk_weights: Vec::new() };
        let mut routings = vec![none; self.cluster.num_ranks() as usize];
        for (rank, tokens) in (first as usize..).zip(&*columns) {
            routings[rank] = router.route_tokens(step, &tokens.ids, &tokens.entering);
        }
        let fill = |source: RankId, token: u32, x: &mut [f32]| {
            let tokens = &columns[(source.0 - first) as usize];
            x.copy_from_slice(&tokens.entering[token as usize * hidden..][..hidden]);
        };
        let (scheme, shape) = (self.scheme, self.stack.shape());
        let placement = self.placements.of(layer);
        let outputs = routed(scheme, &self.cluster, placement, experts, &shape, &routings, fill);
        for (tokens, outputs) in columns.iter_mut().zip(&outputs[first as usize..]) {
            let rows = tokens.states.chunks_exact_mut(hidden).zip(outputs.chunks_exact(hidden));
            rows.for_each(|(state, routed)| add_routed(state, routed));
        }
    }
}
