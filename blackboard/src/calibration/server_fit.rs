//! The fit of server runs: one number for each accelerator, the share of its nominal rates that a step reaches, and how sure it is.

use super::parameters::Fitted;
use super::{CalibrationError, HoldOut, Served};
use crate::deployment::Mode;
use std::collections::BTreeMap;
use topology::{Hardware, MeasuredRange, Provenance, Rate, ServingProfile, UnitError, span};

/// What runs don't say of their servers, and every fit of them assumes.
pub const ASSUMED: &str = "cache BF16, attention on each rank's own sequences, experts alike, nothing drafted, one part of a step after the other; \
                           copies: decode flat, prompts hierarchical";

/// Least share of nominal rates.
const LEAST: f64 = 1e-3;

/// Runs of one accelerator as fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFit {
    /// The accelerator's nominal rates.
    pub nominal: Hardware,
    /// `step_efficiency`; of one run its deviation is infinite, since whatever it is it fits.
    pub efficiency: Fitted,
    /// Runs.
    pub runs: usize,
    /// Runs whose load was assumed and not published.
    pub assumed_loads: usize,
    /// Whether the runs ask for more than all of the nominal rates, which it was held at.
    pub at_bound: bool,
}

impl ServerFit {
    /// The profile of these runs.
    ///
    /// # Errors
    /// [`CalibrationError::Impossible`] for rates that no port has.
    pub fn hardware(&self, provenance: Provenance) -> Result<Hardware, CalibrationError> {
        let provenance = Provenance { undetermined: self.undetermined(), ..provenance };
        let serving = ServingProfile { step_efficiency: self.efficiency.value, provenance };
        Ok(Hardware { serving: Some(serving), ..self.rates()? })
    }

    /// The accelerator at so much of its nominal rates.
    fn rates(&self) -> Result<Hardware, CalibrationError> {
        let (nominal, share) = (&self.nominal, self.efficiency.value);
        let port = |of: Rate| {
            let refuse = |error: UnitError| CalibrationError::Impossible {
                at: nominal.name.clone(),
                problem: error.to_string(),
            };
            Rate::new((of.bytes_per_s() as f64 * share).round().max(1.0) as u64).map_err(refuse)
        };
        Ok(Hardware {
            bf16_flops: nominal.bf16_flops * share,
            fp8_flops: nominal.fp8_flops.map(|flops| flops * share),
            fp4_flops: nominal.fp4_flops.map(|flops| flops * share),
            hbm_bytes_per_s: (nominal.hbm_bytes_per_s as f64 * share).round() as u64,
            scale_up: port(nominal.scale_up)?,
            scale_out: port(nominal.scale_out)?,
            ..nominal.clone()
        })
    }

    /// What the runs don't determine.
    #[must_use]
    pub fn undetermined(&self) -> Vec<String> {
        let mut told = vec![
            "serving: which part of a step falls short (arithmetic, memory, ports, host, overlap); whole steps were measured, parts were not"
                .to_owned(),
            "serving: what two half batches lose that take turns on arithmetic and network; where servers ran so, their gain is in step_efficiency"
                .to_owned(),
        ];
        let mut tell = |what: String| told.push(format!("serving: {what}"));
        match self.runs {
            1 => tell(
                "step_efficiency; of one run, which it fits whatever it is: nothing says how sure it is"
                    .to_owned(),
            ),
            runs if !self.efficiency.is_determined() => tell(format!(
                "step_efficiency; within {:.0}% of it, by {runs} runs",
                self.efficiency.deviation * 100.0
            )),
            _ => {}
        }
        if self.at_bound {
            tell(
                "step_efficiency; held at all of the nominal rates, servers hide parts behind others"
                    .to_owned(),
            );
        }
        if self.assumed_loads > 0 {
            tell(format!(
                "what a rank had to do in {} of {} runs, which was assumed (~); step_efficiency is about proportional to it",
                self.assumed_loads, self.runs
            ));
        }
        told
    }
}

/// By how much to take the rates that said so many times what was measured, for the least squares of relative errors where what is said is
/// proportional to rates: `sum r / sum r^2`. It is but for latencies, so that it is asked for again at the new rates.
fn correction(said_over_measured: &[f64]) -> f64 {
    let sums = said_over_measured.iter().fold((0.0, 0.0), |(sum, squares), r| (sum + r, squares + r * r));
    if sums.1 > 0.0 { sums.0 / sums.1 } else { 1.0 }
}

/// Refuses runs that nominal rates can't have, a hundred times slower ones, and servers that don't fit their memory.
///
/// # Errors
/// [`CalibrationError::Impossible`] with file and line.
pub fn check_served(runs: &[Served]) -> Result<(), CalibrationError> {
    for run in runs {
        let nominal = run.nominal()?;
        let most = run.said(&nominal, Mode::Max)?;
        let estimate = run.deployment(nominal, Mode::Max).estimate()?;
        if estimate.memory_use > 1.0 {
            return Err(run.impossible(format!(
                "{}; are ep, nodes, sequences_per_gpu and context those of the server?",
                estimate.verdict
            )));
        }
        if run.tokens_per_s > most {
            return Err(run.impossible(format!(
                "{} tokens/s: {} at nominal rates makes at most {most:.0} a GPU; are they of one GPU, and are ep, sequences_per_gpu and context right?",
                run.tokens_per_s, run.gpu
            )));
        }
        if run.tokens_per_s * 100.0 < most {
            return Err(run.impossible(format!(
                "{} tokens/s is less than a hundredth of the {most:.0} of nominal rates; are they of a GPU, and not of a user?",
                run.tokens_per_s
            )));
        }
    }
    Ok(())
}

/// Fits the runs of each accelerator, by its preset's name.
///
/// # Errors
/// [`CalibrationError`] for a run that no closed form has.
pub fn fit_served(runs: &[Served]) -> Result<BTreeMap<String, ServerFit>, CalibrationError> {
    let mut groups = BTreeMap::<String, (Hardware, Vec<&Served>)>::new();
    for run in runs {
        let nominal = run.nominal()?;
        groups.entry(nominal.name.clone()).or_insert_with(|| (nominal, Vec::new())).1.push(run);
    }
    groups.into_iter().map(|(name, (nominal, own))| Ok((name, fit_one(nominal, &own)?))).collect()
}

/// Most corrections, and the change from which on there is none more.
const CORRECTIONS: usize = 50;
const SETTLED: f64 = 1e-7;

fn fit_one(nominal: Hardware, own: &[&Served]) -> Result<ServerFit, CalibrationError> {
    let efficiency = Fitted { key: "step_efficiency", value: 1.0, deviation: f64::INFINITY };
    let assumed_loads = own.iter().filter(|run| !run.load_known).count();
    let mut fit = ServerFit { nominal, efficiency, runs: own.len(), assumed_loads, at_bound: false };
    let said = |fit: &ServerFit| -> Result<Vec<f64>, CalibrationError> {
        let hardware = fit.rates()?;
        own.iter().map(|run| Ok(run.said(&hardware, Mode::Serial)? / run.tokens_per_s)).collect()
    };
    for _ in 0..CORRECTIONS {
        let before = fit.efficiency.value;
        let wanted = before * correction(&said(&fit)?);
        fit.at_bound = wanted > 1.0;
        fit.efficiency.value = wanted.clamp(LEAST, 1.0);
        if (fit.efficiency.value / before - 1.0).abs() < SETTLED {
            break;
        }
    }
    fit.efficiency.value = ((fit.efficiency.value * 1e4).round() / 1e4).max(LEAST);
    // Standard error of the only parameter: residual variance over the sum of squared slopes.
    let over = said(&fit)?;
    let squares: f64 = over.iter().map(|r| r * r).sum();
    let residual: f64 = over.iter().map(|r| (r - 1.0).powi(2)).sum();
    if own.len() > 1 {
        fit.efficiency.deviation = (residual / (own.len() - 1) as f64 / squares).sqrt();
    }
    Ok(fit)
}

/// `predicted / measured - 1` of every run by the profile `hardware`.
///
/// # Errors
/// [`CalibrationError::Unmeasured`] for a profile of no server; [`CalibrationError::Impossible`] for a run on another accelerator than its.
pub fn evaluate_served(runs: &[Served], hardware: &Hardware) -> Result<Vec<f64>, CalibrationError> {
    let profile = hardware
        .serving
        .as_ref()
        .ok_or_else(|| CalibrationError::Unmeasured { name: hardware.name.clone(), what: "server" })?;
    let error = |run: &Served| {
        let nominal = run.nominal()?;
        let share = hardware.scale_up.bytes_per_s() as f64 / nominal.scale_up.bytes_per_s() as f64;
        let memory = hardware.hbm_bytes_per_s as f64 / nominal.hbm_bytes_per_s as f64;
        if [share, memory].iter().any(|share| (share / profile.step_efficiency - 1.0).abs() > 1e-3) {
            return Err(run.impossible(format!(
                "it ran on {}, whose rates times step_efficiency aren't those of {}; give the profile's own runs, or --variant GPU",
                run.gpu, hardware.name
            )));
        }
        Ok(run.said(hardware, Mode::of(hardware))? / run.tokens_per_s - 1.0)
    };
    runs.iter().map(error).collect()
}

/// The errors of `fits` on `runs`, `predicted / measured - 1`; `None` of an accelerator that wasn't fitted.
///
/// # Errors
/// As [`evaluate_served`].
pub fn errors_of_served(
    runs: &[Served],
    fits: &BTreeMap<String, ServerFit>,
) -> Result<Vec<Option<f64>>, CalibrationError> {
    let error = |run: &Served| {
        let Some(fit) = fits.get(&run.nominal()?.name) else { return Ok(None) };
        Ok(Some(run.said(&fit.rates()?, Mode::Serial)? / run.tokens_per_s - 1.0))
    };
    runs.iter().map(error).collect()
}

/// Fits what `rule` leaves and predicts what it left out: (run, `predicted / measured - 1`), and how many are of accelerators of which no run remained.
///
/// # Errors
/// [`CalibrationError::HoldOut`] where a rule leaves all or nothing out.
pub fn held_out_served(
    runs: &[Served],
    rule: &HoldOut,
) -> Result<(Vec<(Served, f64)>, usize), CalibrationError> {
    let (mut found, mut unsaid) = (Vec::new(), 0);
    for out in rule.parts_of_served(runs)? {
        let of = |wanted: bool| -> Vec<Served> {
            runs.iter().zip(&out).filter(|(_, out)| **out == wanted).map(|(run, _)| run.clone()).collect()
        };
        let left_out = of(true);
        let errors = errors_of_served(&left_out, &fit_served(&of(false))?)?;
        for (run, error) in left_out.into_iter().zip(errors) {
            match error {
                Some(error) => found.push((run, error)),
                None => unsaid += 1,
            }
        }
    }
    rule.left_something(found.len() + unsaid)?;
    Ok((found, unsaid))
}

/// What of `runs` was measured, least and most; `None` of nothing.
#[must_use]
pub fn range_of_served(runs: &[&Served]) -> Option<MeasuredRange> {
    let of = |what: &dyn Fn(&Served) -> u32| {
        span(runs.iter().map(|run| what(run)).collect::<Vec<_>>().into_iter())
    };
    Some(MeasuredRange {
        nodes: of(&|run| run.racks)?,
        ranks_per_node: of(&|run| run.ranks / run.racks.max(1))?,
        tokens_per_rank: of(&|run| run.load.round() as u32)?,
        hidden: of(&|run| run.model.layer().hidden)?,
        top_k: of(&|run| run.model.layer().top_k)?,
        experts: of(&|run| run.model.layer().num_experts)?,
        expert_inter: of(&|run| run.model.layer().expert_inter),
    })
}
