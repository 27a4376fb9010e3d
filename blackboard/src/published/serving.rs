//! Published throughput of servers, each beside what closed forms say of its step.

use crate::BlackboardError;
use crate::calibration::CalibrationError;
use crate::deployment::{Deployment, Mode};
use crate::units::{DollarsPerS, Tokens};
use moe::work::{CommonWeights, Drafts};
use moe::{DispatchScheme, Model};
use topology::{Dtype, Hardware};

/// The file of the measurements, its name and its text.
pub const FILE: (&str, &str) =
    ("serving_published.csv", include_str!("../../data/measured/serving_published.csv"));
/// What the file doesn't say of its servers.
pub const ASSUMED: &str = "weights FP8, cache BF16, attention on each rank's own sequences, experts alike, nothing drafted, all that can overlap \
                           overlaps; nodes of 8, GB200 in one rack; copies: decode flat, prompts hierarchical";

/// A server that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// Whose.
    pub name: String,
    /// The model, a preset.
    pub model: Model,
    /// Preset of the accelerator.
    pub gpu: String,
    /// Whether it computed prompts; else it decoded.
    pub prompts: bool,
    /// Ranks of the expert-parallel group.
    pub ranks: u32,
    /// Sequences on a rank; of prompts, tokens of a step on a rank.
    pub load: f64,
    /// Whether the load was published, and not assumed from launch scripts.
    pub load_known: bool,
    /// Tokens of context in decode, of a prompt in prefill.
    pub context: f64,
    /// Tokens a second and rank.
    pub tokens_per_s: f64,
}

/// A measured server with what closed forms say of it, tokens a second and rank.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedSaid {
    /// What was measured.
    pub served: Served,
    /// By nominal rates, everything overlapping: the bound that `railyard roofline` says.
    pub nominal: f64,
    /// By nominal rates, one part after the other.
    pub in_turn: f64,
}

/// All that was published, with what closed forms say.
///
/// # Errors
/// [`CalibrationError`] where the file or a preset has a fault, which tests would show.
pub fn served() -> Result<Vec<ServedSaid>, CalibrationError> {
    let said = |served: Served| {
        let hardware = Hardware::preset(&served.gpu).map_err(BlackboardError::from)?;
        let step = served.deployment(hardware).estimate()?;
        let nominal = step.tokens_per_s_per_rank;
        let in_turn = nominal * step.step_ms / step.step_serial_ms;
        Ok(ServedSaid { served, nominal, in_turn })
    };
    parse_served(FILE.1, FILE.0)?.into_iter().map(said).collect()
}

/// How many times as many tokens as servers made nominal rates say, everything overlapping: least and most.
pub const TOO_MANY: [f64; 2] = [2.0, 5.9];
/// The same where one part goes after the other.
pub const TOO_MANY_IN_TURN: [f64; 2] = [1.2, 2.6];

impl Served {
    /// Racks, each as large as its hardware's are built.
    #[must_use]
    pub fn racks(&self) -> u32 {
        Hardware::preset(&self.gpu).map_or(1, |hardware| self.ranks.div_ceil(hardware.domain_ranks))
    }

    /// A step of it on `hardware`.
    #[must_use]
    pub fn deployment(&self, hardware: Hardware) -> Deployment {
        let sequences = f64::from(self.ranks) * self.load / if self.prompts { self.context } else { 1.0 };
        Deployment {
            model: self.model.clone(),
            dtype: Dtype::Fp8,
            kv_dtype: Dtype::Bf16,
            ranks: self.ranks,
            racks: Some(self.racks()),
            hardware,
            stages: 1,
            tp: 1,
            common: CommonWeights::Replicated,
            drafts: Drafts::default(),
            memory_share: 1.0,
            micro_batches: None,
            batch: Tokens(sequences),
            context: Tokens(if self.prompts { 0.0 } else { self.context }),
            prompt: Tokens(if self.prompts { self.context } else { 0.0 }),
            scheme: if self.prompts { DispatchScheme::Hierarchical } else { DispatchScheme::Flat },
            tokens_per_rank: None,
            latency: true,
            price: DollarsPerS::per_hour(2.0),
            mode: Mode::Max,
        }
    }
}

/// Reads lines of name, model, gpu, phase, ep, sequences_per_gpu (`128`, `~256`, `16384 tokens`), context, weights, tokens_per_s_per_gpu.
///
/// # Errors
/// [`CalibrationError`] with file and line.
pub fn parse_served(text: &str, origin: &str) -> Result<Vec<Served>, CalibrationError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(at, line): (usize, &str)| {
        read_line(line).map_err(|problem| CalibrationError::Line {
            origin: origin.to_owned(),
            line: at + 1,
            problem,
        })
    };
    lines.skip(1).map(read).collect()
}

fn read_line(line: &str) -> Result<Served, String> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[name, model, gpu, phase, ep, load, context, _, rate] = cells.as_slice() else {
        return Err(format!("{} cells; there are 9", cells.len()));
    };
    let number = |what: &str, text: &str| {
        let found = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
        found.ok_or_else(|| format!("{what} `{text}`: give a number above 0"))
    };
    let prompts = match phase {
        "prefill" => true,
        "decode" => false,
        _ => return Err(format!("phase `{phase}`: give decode or prefill")),
    };
    Ok(Served {
        name: name.to_owned(),
        model: Model::preset(model).map_err(|error| error.to_string())?,
        gpu: gpu.to_lowercase(),
        prompts,
        ranks: ep.parse().map_err(|_| format!("ep `{ep}`: give a whole number"))?,
        load: number("sequences_per_gpu", load.trim_start_matches('~').trim_end_matches(" tokens"))?,
        load_known: !load.starts_with('~'),
        context: number("context", context)?,
        tokens_per_s: number("tokens_per_s_per_gpu", rate)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nominal_rates_are_as_far_off_as_stated() {
        let said = served().expect("sound");
        assert_eq!(said.len(), 5);
        let ends = |of: &dyn Fn(&ServedSaid) -> f64| {
            let times: Vec<f64> = said.iter().map(|one| of(one) / one.served.tokens_per_s).collect();
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            [least, times.iter().copied().fold(0.0, f64::max)].map(|times| (times * 10.0).round() / 10.0)
        };
        assert_eq!(ends(&|one| one.nominal), TOO_MANY);
        assert_eq!(ends(&|one| one.in_turn), TOO_MANY_IN_TURN);
    }

    #[test]
    fn a_line_that_can_not_be_read_is_named() {
        let head = "name,model,gpu,phase,ep,sequences_per_gpu,context,weights,tokens_per_s_per_gpu\n";
        for (line, part) in [
            ("a,deepseek-v3,H100,decode,8", "s.csv:2: 5 cells"),
            ("a,deepseek-v3,H100,train,8,1,1,fp8,1", "s.csv:2: phase `train`"),
            ("a,deepseek-v3,H100,decode,8,-1,1,fp8,1", "s.csv:2: sequences_per_gpu `-1`"),
            ("a,deepseek-v9,H100,decode,8,1,1,fp8,1", "s.csv:2: "),
        ] {
            let error = parse_served(&format!("{head}{line}\n"), "s.csv").expect_err("refused").to_string();
            assert!(error.starts_with(part), "{error}");
        }
    }
}
