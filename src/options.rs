//! The flags that define a comparison, as typed; `resolve` says what they mean.

use crate::words::PlacementParser;
use clap::Args;
use moe::placement::PlacementWord;
use moe::routing::RoutingChoice;
use moe::{DispatchScheme, ExpertKind};
use std::str::FromStr;
use study::layer::{BackendKind, BaseChoice, Dilation, GateChoice, LatencyChoice, parse_seeds};

#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    /// Racks [default: 2, or the cluster file's]
    #[arg(long, value_name = "N", help_heading = "Racks and links")]
    pub(crate) racks: Option<u32>,
    /// Ranks in a rack, or one number a rack: 8,6 [default: 8, or the cluster file's]
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Racks and links")]
    pub(crate) ranks_per_rack: Vec<u32>,
    /// Compare with all `ranks` in one rack, or with one `rack` alone (as many tokens a rank)
    #[arg(long, value_name = "WHAT", default_value = "ranks", help_heading = "Racks and links")]
    pub(crate) base: BaseChoice,
    /// Scale-up over scale-out rate [default: the hardware's; 8 of talk-gb200]
    #[arg(long, value_name = "X", help_heading = "Racks and links")]
    pub(crate) throttle: Option<f64>,
    /// `zero`, `preset` or two numbers of microseconds, in a rack and between racks; may be repeated
    /// [default: zero and preset]
    #[arg(long, value_name = "zero|preset|US,US", help_heading = "Racks and links")]
    pub(crate) latency: Vec<LatencyChoice>,
    /// A preset's name, or a cluster file (.toml) with racks, hardware and links [default: talk-gb200]
    #[arg(long, value_name = "NAME|FILE", help_heading = "Racks and links")]
    pub(crate) hardware: Option<String>,

    /// A preset's name, a model file (.toml) or a Hugging Face config.json [default: deepseek-v3, for a trace a model that fits]
    #[arg(long, value_name = "NAME|FILE", help_heading = "Model and tokens")]
    pub(crate) model: Option<String>,
    /// Tokens of each rank
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Model and tokens")]
    pub(crate) tokens: u32,
    /// Experts a token goes to [default: the model's]
    #[arg(long, value_name = "K", help_heading = "Model and tokens")]
    pub(crate) top_k: Option<u32>,
    /// Gates to compare: `unlimited`, `limit:M` for at most M racks a token; a comma between them
    /// [default: unlimited,limit:1]
    #[arg(long, value_name = "GATES", value_delimiter = ',', help_heading = "Model and tokens")]
    pub(crate) gate: Vec<GateChoice>,
    /// `uniform`, `gate` (the model's own, seeded, on seeded hidden states), `zipf:S`, `log-normal:S`, `power-law:A`,
    /// `drifting:S,STEPS`, `workload:W0` to `workload:W7` (docs/loads.md), or `trace:FILE`
    #[arg(long, value_name = "ROUTING", default_value = "uniform", help_heading = "Model and tokens")]
    pub(crate) routing: RoutingChoice,
    /// `modelled` (cheap maps, roofline time) or `gemm` (real SwiGLU products, roofline time)
    #[arg(long, value_name = "KIND", default_value = "modelled", value_parser = experts, help_heading = "Model and tokens")]
    pub(crate) experts: ExpertKind,

    /// Schemes to compare, with a comma between them; bases come with them [default: all]
    #[arg(long, value_name = "SCHEMES", value_delimiter = ',', help_heading = "Configurations")]
    pub(crate) scheme: Vec<DispatchScheme>,
    /// Experts of the configurations that don't say otherwise: a policy, a file or a program (docs/placement.md). What is made for a demand is made
    /// for the one that the routing is expected to have, from other tokens than those of the run (a trace: from all its rows)
    #[arg(
        long,
        value_name = "NAME|FILE|exec:COMMAND",
        default_value = "linear",
        value_parser = PlacementParser,
        help_heading = "Configurations"
    )]
    pub(crate) placement: PlacementWord,
    /// Expert slots over all ranks, for placements that are made for a demand [default: one an expert]
    #[arg(long, value_name = "N", help_heading = "Configurations")]
    pub(crate) slots: Option<u32>,

    /// `analytic`, `sim`, `quic` with a comma between them, or `all`
    #[arg(long, value_name = "BACKENDS", default_value = "all", value_delimiter = ',', help_heading = "Run")]
    pub(crate) backend: Vec<BackendArg>,
    /// Seeds, each a run of its own: 1,2,7 or 1-5
    #[arg(long, value_name = "SEEDS", default_value = "1", value_parser = seeds, help_heading = "Run")]
    pub(crate) seeds: Seeds,
    /// Measured rounds a configuration and seed at most; they end when times differ by no more than 0.5%, two at least (quic)
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Run")]
    pub(crate) rounds: u32,
    /// Rounds before them (quic)
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Run")]
    pub(crate) warmup: u32,
    /// Wall time over emulated time (quic): `auto` or a whole number
    #[arg(long, value_name = "auto|N", default_value = "auto", help_heading = "Run")]
    pub(crate) dilation: Dilation,
    /// Simulate times only: rows are lengths, outputs are not computed (sim)
    #[arg(long, help_heading = "Run")]
    pub(crate) no_payload: bool,
    /// Refuse what is estimated to take more: 2G, 500M [default: three quarters of the available memory]
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Run")]
    pub(crate) memory_limit: Option<u64>,
}

/// A list of seeds, given as one word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seeds(pub(crate) Vec<u64>);

/// One backend, or all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BackendArg {
    All,
    One(BackendKind),
}

impl FromStr for BackendArg {
    type Err = study::layer::ChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

fn experts(text: &str) -> Result<ExpertKind, String> {
    match text {
        "modelled" => Ok(ExpertKind::Modelled),
        "gemm" => Ok(ExpertKind::Gemm),
        _ => Err(format!("`{text}`: give modelled or gemm")),
    }
}

fn seeds(text: &str) -> Result<Seeds, study::layer::ChoiceError> {
    parse_seeds(text).map(Seeds)
}

/// Bytes with an optional suffix k, M, G or T (powers of 1000).
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => 0,
    };
    let size = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).filter(|&size| size > 0);
    size.ok_or_else(|| format!("`{text}`: give a number of bytes such as 500M or 2G"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use moe::RoutingSpec;

    #[test]
    fn lists_of_seeds() {
        assert_eq!(seeds("3"), Ok(Seeds(vec![3])));
        assert_eq!(seeds("1,5-7"), Ok(Seeds(vec![1, 5, 6, 7])));
        for wrong in ["", "a", "1,", "5-1", "0-1000000", "-1"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!((bytes("12"), bytes("2G"), bytes("500M")), (Ok(12), Ok(2_000_000_000), Ok(500_000_000)));
        for wrong in ["", "0", "G", "1X", "-1", "1.5G", "99999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sources_of_routing() {
        assert_eq!("zipf:1.2".parse(), Ok(RoutingChoice::Spec(RoutingSpec::Zipf { exponent: 1.2 })));
        assert_eq!("trace:a:b".parse(), Ok(RoutingChoice::Trace("a:b".into())));
        for wrong in ["", "zipf", "zipf:x", "trace:", "gates"] {
            assert!(wrong.parse::<RoutingChoice>().is_err(), "{wrong}");
        }
    }
}
