//! What the flags of a roofline step mean: its deployment.

use crate::cli::RooflineArgs;
use crate::programs::programs;
use anyhow::bail;
use blackboard::deployment::{Deployment, Mode};
use blackboard::units::{DollarsPerS, Tokens};
use moe::{DispatchScheme, RoutingSpec};
use study::scenario::{LatencyChoice, Scenario, Studied, command, said};

/// What the flags mean.
pub(crate) struct Step {
    pub(crate) deployment: Deployment,
    pub(crate) said: Said,
}

/// What is told beside a deployment.
pub(crate) struct Said {
    /// The latencies that links have.
    pub(crate) latency: LatencyChoice,
    /// What was decided for the user.
    pub(crate) notes: Vec<String>,
    /// The command that repeats it.
    pub(crate) command: String,
}

impl Step {
    pub(crate) fn of(args: &RooflineArgs) -> anyhow::Result<Self> {
        let studied = args.scenario.resolve_any(programs()?)?;
        let (scheme, latency) = (args.scenario.the_scheme()?, args.scenario.the_latency()?);
        let cluster = studied.cluster()?;
        let sizes = cluster.rack_sizes();
        if sizes.iter().any(|size| *size != sizes[0]) {
            bail!("racks of {sizes:?} ranks: closed forms of a step know racks of one size");
        }
        let Studied { mut model, place, dtype, kv_dtype, common, routing, notes, mut words, .. } = studied;
        if model.routed().is_some() && !matches!(routing, RoutingSpec::Uniform | RoutingSpec::Model) {
            bail!(
                "routing {}: closed forms of a step have all experts alike; give model or uniform",
                words.routing
            );
        }
        if routing == RoutingSpec::Uniform {
            model = model.without_groups();
        }
        if args.sweep.is_some() {
            // What is swept changes what the others mean.
            let Scenario { racks, ranks_per_rack, ranks, .. } = args.scenario.0.clone();
            (words.racks, words.ranks_per_rack, words.ranks) = (racks, ranks_per_rack, ranks);
            words.micro_batches = args.scenario.micro_batches;
        }
        words.latency.retain(|choice| *choice != LatencyChoice::Preset);
        words.scheme.retain(|choice| *choice != DispatchScheme::Dedup);
        let hardware = place.with_latency(latency).into_hardware();
        let deployment = Deployment {
            model,
            mode: args.mode.unwrap_or_else(|| Mode::of(&hardware)),
            hardware,
            dtype,
            kv_dtype,
            ranks: cluster.num_ranks(),
            racks: Some(cluster.num_racks()),
            stages: words.pp,
            tp: words.tp,
            common,
            drafts: words.drafts()?,
            memory_share: words.memory_share,
            micro_batches: words.micro_batches,
            batch: Tokens(args.batch),
            context: Tokens(args.context),
            prompt: Tokens(args.prompt),
            scheme,
            tokens_per_rank: args.tokens_per_rank.map(Tokens),
            latency: true,
            price: DollarsPerS::per_hour(args.price),
        };
        let words = said(&RooflineArgs { scenario: args.scenario.with(words), ..args.clone() });
        let command = command(&[vec!["roofline".to_owned()], words].concat());
        Ok(Self { deployment, said: Said { latency, notes, command } })
    }
}
