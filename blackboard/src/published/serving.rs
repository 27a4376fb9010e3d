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
    /// By the profile of its accelerator.
    pub profiled: f64,
}

/// All that was published, with what closed forms say.
///
/// # Errors
/// [`CalibrationError`] where the file or a preset has a fault, which tests would show.
pub fn served() -> Result<Vec<ServedSaid>, CalibrationError> {
    let said = |served: Served| {
        let hardware = Hardware::preset(&served.gpu).map_err(BlackboardError::from)?;
        let deployment = served.deployment(hardware);
        let nominal = deployment.estimate()?.tokens_per_s_per_rank;
        let in_turn = Deployment { mode: Mode::Serial, ..deployment }.estimate()?.tokens_per_s_per_rank;
        let profile = Hardware::preset(&served.profile()).map_err(BlackboardError::from)?;
        let profiled = served.deployment(profile).estimate()?.tokens_per_s_per_rank;
        Ok(ServedSaid { served, nominal, in_turn, profiled })
    };
    parse_served(FILE.1, FILE.0)?.into_iter().map(said).collect()
}

/// The share of nominal rates that brings what is said of `of`, one part after the other, nearest to what was measured: least squares of relative
/// errors. Rates are proportional to it but for latencies, which are below 1% of these steps.
///
/// With r what is said over what was measured, `e = sum r / sum r^2`; `None` of nothing.
#[must_use]
pub fn step_efficiency(of: &[&ServedSaid]) -> Option<f64> {
    let over = of.iter().map(|one| one.in_turn / one.served.tokens_per_s);
    let (sum, squares) = over.fold((0.0, 0.0), |(sum, squares), r| (sum + r, squares + r * r));
    (squares > 0.0).then(|| sum / squares)
}

/// How many times as many tokens as servers made nominal rates say, everything overlapping: least and most.
pub const TOO_MANY: [f64; 2] = [2.0, 5.9];
/// The same where one part goes after the other.
pub const TOO_MANY_IN_TURN: [f64; 2] = [1.3, 3.2];

impl Served {
    /// The preset of its accelerator's profile.
    #[must_use]
    pub fn profile(&self) -> String {
        format!("{}-serving", self.gpu)
    }

    /// Racks, each as large as its hardware's are built.
    #[must_use]
    pub fn racks(&self) -> u32 {
        Hardware::preset(&self.gpu).map_or(1, |hardware| self.ranks.div_ceil(hardware.domain_ranks))
    }

    /// A step of it on `hardware`.
    #[must_use]
    pub fn deployment(&self, hardware: Hardware) -> Deployment {
        let mode = Mode::of(&hardware);
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
            mode,
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
    use crate::calibration::Errors;

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
    fn profiles_are_what_their_rows_give_and_as_near_as_stated() {
        let said = served().expect("sound");
        // Leave one out: what the other row of the same accelerator says of it.
        for (gpu, fitted, left_out) in
            [("h800", 0.02, Some(0.02)), ("h100", 0.08, Some(0.15)), ("gb200", 0.01, None)]
        {
            let own: Vec<&ServedSaid> = said.iter().filter(|one| one.served.gpu == gpu).collect();
            let profile = Hardware::preset(&own[0].served.profile()).expect("a preset");
            let serving = profile.serving.as_ref().expect("a server's");
            let efficiency = step_efficiency(&own).expect("rows");
            assert!((serving.step_efficiency - efficiency).abs() < 5e-4, "{gpu}: {efficiency}");
            let nominal = Hardware::preset(gpu).expect("a preset");
            for (own, rate) in [
                (profile.bf16_flops, nominal.bf16_flops),
                (profile.hbm_bytes_per_s as f64, nominal.hbm_bytes_per_s as f64),
                (profile.scale_up.bytes_per_s() as f64, nominal.scale_up.bytes_per_s() as f64),
                (profile.scale_out.bytes_per_s() as f64, nominal.scale_out.bytes_per_s() as f64),
            ] {
                assert!((own / rate - serving.step_efficiency).abs() < 1e-6, "{gpu}");
            }
            let mut errors: Vec<f64> =
                own.iter().map(|one| one.profiled / one.served.tokens_per_s - 1.0).collect();
            let found = Errors::of(&errors).expect("some");
            assert!(found.max < fitted, "{gpu}: {found:?}");
            let stated = serving.provenance.fitted;
            assert!((found.as_array()[2] - stated[2]).abs() < 2e-3, "{gpu}: {found:?}");
            errors.clear();
            if own.len() > 1 {
                for (at, one) in own.iter().enumerate() {
                    let rest: Vec<&ServedSaid> = own
                        .iter()
                        .enumerate()
                        .filter(|(other, _)| *other != at)
                        .map(|(_, one)| *one)
                        .collect();
                    let efficiency = step_efficiency(&rest).expect("rows");
                    errors.push(efficiency * one.in_turn / one.served.tokens_per_s - 1.0);
                }
            }
            let found = Errors::of(&errors);
            assert_eq!(found.is_some(), left_out.is_some());
            let stated = serving.provenance.held_out;
            let out = found.map_or([0.0; 3], |found| found.as_array());
            assert!(out[2] <= left_out.unwrap_or(0.0), "{gpu}: {out:?}");
            assert!((0..3).all(|at| (out[at] - stated[at]).abs() < 2e-3), "{gpu}: {out:?}");
        }
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
