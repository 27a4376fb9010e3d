//! How far results can be trusted: by what nominal rates have been off, or the band of a profile.

use super::serving::{TOO_MANY, TOO_MANY_IN_TURN};
use super::{LAYERS_LONGER, LONGER};
use crate::deployment::{Deployment, Mode};
use moe::LayerShape;
use serde::{Deserialize, Serialize};
use topology::{Hardware, MeasuredRange, Provenance};

/// What a profile is asked about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Racks that the ranks of a stage are spread over.
    pub nodes: u32,
    /// Ranks of the smallest and of the largest of them.
    pub ranks_per_node: [u32; 2],
    /// Tokens of one rank in a step, in runs of many steps their mean; `None` where it isn't known.
    pub tokens_per_rank: Option<f64>,
    /// Elements of a row.
    pub hidden: u32,
    /// Experts a token goes to.
    pub top_k: u32,
    /// Routed experts.
    pub experts: u32,
    /// Inner width of an expert.
    pub expert_inter: u32,
    /// Whether parts of a step hide others that were measured one after the other.
    pub overlaps: bool,
    /// Whether uplinks of racks are oversubscribed, or a second job has a part of the links between them.
    pub shares_links: bool,
}

impl Asked {
    /// `tokens` a rank of a layer of `shape` on racks of `rack_sizes` ranks, nothing overlapping.
    #[must_use]
    pub fn layer(shape: &LayerShape, rack_sizes: &[u32], tokens: Option<f64>) -> Self {
        let sizes = rack_sizes.iter().copied();
        Self {
            nodes: u32::try_from(rack_sizes.len()).unwrap_or(u32::MAX),
            ranks_per_node: topology::span(sizes).unwrap_or([0; 2]),
            tokens_per_rank: tokens,
            hidden: shape.hidden,
            top_k: shape.top_k,
            experts: shape.num_experts,
            expert_inter: shape.expert_inter,
            overlaps: false,
            shares_links: false,
        }
    }

    /// A step of `deployment`.
    #[must_use]
    pub fn step(deployment: &Deployment) -> Self {
        let racks = deployment.racks_of_stage();
        let sizes = vec![deployment.group() / racks; racks as usize];
        let tokens = deployment.tokens_of_rank(deployment.batch / f64::from(deployment.micro_batches()));
        Self {
            overlaps: deployment.mode != Mode::Serial,
            shares_links: deployment.hardware.oversubscription.blocks(),
            ..Self::layer(&deployment.model.layer(), &sizes, Some(tokens.0))
        }
    }

    /// What of it lies outside `range`, in words.
    fn beyond(&self, range: &MeasuredRange) -> Vec<String> {
        let of_experts = range.expert_inter.map(|range| ("expert width ", [self.expert_inter; 2], range));
        let counts = [
            ("nodes ", [self.nodes; 2], range.nodes),
            ("ranks a node ", self.ranks_per_node, range.ranks_per_node),
            ("hidden ", [self.hidden; 2], range.hidden),
            ("top-", [self.top_k; 2], range.top_k),
            ("experts ", [self.experts; 2], range.experts),
        ];
        let outside = |[least, most]: [u32; 2], [from, to]: [u32; 2]| least < from || most > to;
        let mut beyond: Vec<String> = counts
            .into_iter()
            .chain(of_experts)
            .filter(|&(_, asked, measured)| outside(asked, measured))
            .map(|(what, asked, measured)| format!("{what}{} (measured {})", told(asked), told(measured)))
            .collect();
        let [from, to] = range.tokens_per_rank;
        if let Some(tokens) =
            self.tokens_per_rank.filter(|&tokens| tokens < from.into() || tokens > to.into())
        {
            let tokens = crate::text::number(tokens);
            beyond.push(format!("tokens a rank {tokens} (measured {})", told([from, to])));
        }
        beyond
    }
}

/// `8`, or `1 to 4`.
fn told([least, most]: [u32; 2]) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// How far what is said of some hardware can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// Whether all rates are nominal, so that times are lower and rates upper bounds.
    pub upper_bound: bool,
    /// How many times as long measured kernels took as nominal rates say: least and most of the tables' medians.
    pub kernels_took: [f64; 2],
    /// The same of whole layers.
    pub layers_took: [f64; 2],
    /// How many times the tokens that servers made nominal rates say, everything overlapping: least and most.
    pub servers_said: [f64; 2],
    /// The same where one part goes after the other.
    pub servers_said_in_turn: [f64; 2],
    /// What of the profile's kind is within it in nine of ten, as a share; `None` on nominal rates, where nothing was held out, and beyond what was
    /// measured.
    pub band: Option<f64>,
    /// What the band is of: `dispatch and combine`, `whole layers`, `steps of servers`.
    pub band_of: Option<String>,
    /// What of the question lies beyond what the profile was fitted to, one reason each, so that there is no band.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<String>,
    /// All of it in a line.
    pub text: String,
}

/// How far what is said on `hardware` can be trusted, from `railyard trust`'s own tables and the profile's held-out errors. There is a band only
/// where all of `asked` was measured; nothing asked is a sweep, of which no one question is known.
#[must_use]
pub fn trust(hardware: &Hardware, asked: &[Asked]) -> Trust {
    let (kernels, layer, serving) = (&hardware.kernels, &hardware.layer, &hardware.serving);
    let overlaps = asked.iter().any(|asked| asked.overlaps);
    let (of, rest, provenance) = match (kernels, layer, serving) {
        (_, _, Some(serving)) if overlaps => ("steps of servers", "", Some(&serving.provenance)),
        (_, _, Some(serving)) => ("steps of servers", "; no part hides another", Some(&serving.provenance)),
        (_, Some(layer), _) => {
            ("whole layers", "; attention and all else on nominal rates", Some(&layer.provenance))
        }
        (Some(kernels), _, _) => {
            ("dispatch and combine", "; compute on nominal rates", Some(&kernels.provenance))
        }
        (None, None, None) => ("", "", None),
    };
    let in_turn = layer.is_some() || serving.is_some();
    let beyond = provenance.map_or_else(Vec::new, |from| beyond(from, asked, in_turn && overlaps));
    let band = provenance.filter(|_| beyond.is_empty()).and_then(band);
    let text = match (provenance, band) {
        (None, _) => nominal(),
        (Some(from), None) if !beyond.is_empty() => {
            format!("no band, beyond what was measured: {}; {}{rest}", beyond.join(", "), from.told())
        }
        (Some(from), None) => format!("no band: {}{rest}", from.told()),
        (Some(from), Some(band)) if serving.is_some() => {
            format!("{of}: what was left out was within {:.0}% ({}){rest}", band * 100.0, from.told())
        }
        (Some(from), Some(band)) => {
            format!("{of} within {:.0}% in nine of ten ({}){rest}", band * 100.0, from.told())
        }
    };
    Trust {
        upper_bound: provenance.is_none(),
        kernels_took: LONGER,
        layers_took: LAYERS_LONGER,
        servers_said: TOO_MANY,
        servers_said_in_turn: TOO_MANY_IN_TURN,
        band,
        band_of: band.map(|_| of.to_owned()),
        beyond,
        text,
    }
}

/// Why the errors of `from` say nothing of what is `asked`: nothing where all of it was measured.
fn beyond(from: &Provenance, asked: &[Asked], overlaps: bool) -> Vec<String> {
    let Some(range) = &from.measured else {
        return vec!["the profile doesn't say what was measured (`measured` of its provenance)".to_owned()];
    };
    if asked.is_empty() {
        return vec!["points of a sweep, each to be asked by itself".to_owned()];
    }
    let mut beyond: Vec<String> = Vec::new();
    for reason in asked.iter().flat_map(|asked| asked.beyond(range)) {
        if !beyond.contains(&reason) {
            beyond.push(reason);
        }
    }
    if asked.iter().any(|asked| asked.shares_links) {
        beyond.push("links between racks that are oversubscribed or shared".to_owned());
    }
    if overlaps {
        beyond
            .push("parts that overlap (fitted one after the other, so that overlap counts twice)".to_owned());
    }
    beyond
}

/// The larger of the 90th percentiles of what was fitted and what was left out.
fn band(of: &Provenance) -> Option<f64> {
    of.is_held_out().then(|| of.held_out[2].max(of.fitted[2]))
}

fn nominal() -> String {
    format!(
        "nominal rates: an upper bound on speed; measured kernels took {} to {} times as long, whole layers {} to {}; nominal rates say {} to {} times the \
         tokens that servers made (railyard trust)",
        LONGER[0], LONGER[1], LAYERS_LONGER[0], LAYERS_LONGER[1], TOO_MANY[0], TOO_MANY[1],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use moe::Model;

    /// Of the layer that `h200-layer` was measured on.
    const LAYER: Asked = Asked {
        nodes: 1,
        ranks_per_node: [8, 8],
        tokens_per_rank: Some(64.0),
        hidden: 4096,
        top_k: 6,
        experts: 256,
        expert_inter: 2048,
        overlaps: false,
        shares_links: false,
    };

    fn of(name: &str, asked: &[Asked]) -> Trust {
        trust(&Hardware::preset(name).expect("a preset"), asked)
    }

    #[test]
    fn a_band_is_stated_within_what_was_measured_and_nowhere_else() {
        for name in ["h200-layer-unfused", "h200-layer-fused"] {
            let within = of(name, &[LAYER]);
            assert!(within.band.is_some() && within.beyond.is_empty(), "{name}: {}", within.text);
            for (asked, reason) in [
                (Asked { nodes: 2, ..LAYER }, "nodes 2 (measured 1)"),
                (Asked { ranks_per_node: [4, 8], ..LAYER }, "ranks a node 4 to 8 (measured 8)"),
                (Asked { tokens_per_rank: Some(8193.0), ..LAYER }, "tokens a rank 8193 (measured 8 to 8192)"),
                (Asked { tokens_per_rank: Some(7.5), ..LAYER }, "tokens a rank 7.5"),
                (Asked { hidden: 7168, ..LAYER }, "hidden 7168 (measured 4096)"),
                (Asked { top_k: 8, ..LAYER }, "top-8 (measured 6)"),
                (Asked { experts: 128, ..LAYER }, "experts 128 (measured 256)"),
                (Asked { expert_inter: 768, ..LAYER }, "expert width 768 (measured 2048)"),
                (Asked { shares_links: true, ..LAYER }, "links between racks that are oversubscribed"),
                (Asked { overlaps: true, ..LAYER }, "parts that overlap"),
            ] {
                let outside = of(name, &[LAYER, asked]);
                assert_eq!(
                    (outside.band, outside.band_of, outside.upper_bound),
                    (None, None, false),
                    "{reason}"
                );
                assert!(
                    outside.beyond.len() == 1 && outside.beyond[0].starts_with(reason),
                    "{:?}",
                    outside.beyond
                );
                assert!(outside.text.starts_with("no band, beyond what was measured: "), "{}", outside.text);
            }
            assert_eq!(of(name, &[]).band, None, "a sweep");
        }
    }

    #[test]
    fn kernels_and_servers_have_no_band_elsewhere_either() {
        let shape = Model::preset("deepseek-v3").expect("a preset").layer();
        let kernels =
            |racks: &[u32], tokens| of("h100-deepep-ll", &[Asked::layer(&shape, racks, Some(tokens))]);
        assert_eq!(kernels(&[8, 8], 128.0).band_of.as_deref(), Some("dispatch and combine"));
        for (racks, tokens) in [(&[8; 5][..], 128.0), (&[16], 128.0), (&[8, 8], 4096.0)] {
            assert_eq!(kernels(racks, tokens).band, None, "{racks:?}, {tokens}");
        }
        let decode = Asked::layer(&shape, &[8; 16], Some(128.0));
        let served = of("h800-serving", &[decode]);
        assert!(served.band.is_some() && served.text.ends_with("no part hides another"), "{}", served.text);
        let overlapped = of("h800-serving", &[Asked { overlaps: true, ..decode }]);
        assert!(
            overlapped.band.is_none() && !overlapped.text.contains("no part hides"),
            "{}",
            overlapped.text
        );
        assert_eq!(of("h100", &[]).beyond, Vec::<String>::new(), "nominal rates have no band to leave");
    }

    #[test]
    fn every_band_is_of_a_profile_that_says_what_was_measured() {
        for hardware in Hardware::presets() {
            let (kernels, layer, serving) = (&hardware.kernels, &hardware.layer, &hardware.serving);
            let all = [
                kernels.as_ref().map(|of| &of.provenance),
                layer.as_ref().map(|of| &of.provenance),
                serving.as_ref().map(|of| &of.provenance),
            ];
            for provenance in all.into_iter().flatten() {
                assert!(provenance.measured.is_some(), "{}", hardware.name);
            }
        }
    }
}
