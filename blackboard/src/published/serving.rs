//! Published throughput of servers, each beside what closed forms say of its step.

use crate::BlackboardError;
use crate::calibration::{CalibrationError, Served, parse_served};
use crate::deployment::Mode;
use topology::Hardware;

/// The file of the measurements, its name and its text.
pub const FILE: (&str, &str) =
    ("serving_published.csv", include_str!("../../data/measured/serving_published.csv"));
/// What the file doesn't say of its servers.
pub const ASSUMED: &str = "weights FP8, cache BF16, attention on each rank's own sequences, experts alike, nothing drafted, all that can overlap \
                           overlaps; nodes of 8, GB200 in one rack; copies: decode flat, prompts hierarchical";

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
        let chip = served.nominal()?;
        let profile = Hardware::preset(&profile_of(&served)).map_err(BlackboardError::from)?;
        Ok(ServedSaid {
            nominal: served.said(&chip, Mode::Max)?,
            in_turn: served.said(&chip, Mode::Serial)?,
            profiled: served.said(&profile, Mode::of(&profile))?,
            served,
        })
    };
    parse_served(FILE.1, FILE.0)?.into_iter().map(said).collect()
}

/// How many times as many tokens as servers made nominal rates say, everything overlapping: least and most.
pub const TOO_MANY: [f64; 2] = [2.0, 5.9];
/// The same where one part goes after the other.
pub const TOO_MANY_IN_TURN: [f64; 2] = [1.3, 3.2];

/// The preset of the profile of a server's accelerator.
#[must_use]
pub fn profile_of(served: &Served) -> String {
    format!("{}-serving", served.gpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{
        Errors, check_served, data_hash, evaluate_served, fit_served, held_out_served, range_of_served,
    };

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
        let runs = parse_served(FILE.1, FILE.0).expect("sound");
        assert_eq!(check_served(&runs), Ok(()));
        let fits = fit_served(&runs).expect("fits");
        let rule = "each:row".parse().expect("a rule");
        let (left_out, unsaid) = held_out_served(&runs, &rule).expect("predicted");
        assert_eq!((left_out.len(), unsaid), (4, 1), "of GB200 there is one run");
        for (gpu, most_fitted, most_left_out) in
            [("h800", 0.02, Some(0.02)), ("h100", 0.08, Some(0.15)), ("gb200", 0.01, None)]
        {
            let own: Vec<Served> = runs.iter().filter(|run| run.gpu == gpu).cloned().collect();
            let fit = &fits[&own[0].nominal().expect("a preset").name];
            let profile = Hardware::preset(&profile_of(&own[0])).expect("a preset");
            let serving = profile.serving.clone().expect("a server's");
            assert_eq!(data_hash(std::iter::once(FILE.1)), serving.provenance.data_hash, "{gpu}");
            assert!((serving.step_efficiency - fit.efficiency.value).abs() < 5e-4, "{gpu}: {fit:?}");
            let refitted = fit.hardware(serving.provenance.clone()).expect("rates");
            for (own, rate) in [
                (profile.bf16_flops, refitted.bf16_flops),
                (profile.hbm_bytes_per_s as f64, refitted.hbm_bytes_per_s as f64),
                (profile.scale_up.bytes_per_s() as f64, refitted.scale_up.bytes_per_s() as f64),
                (profile.scale_out.bytes_per_s() as f64, refitted.scale_out.bytes_per_s() as f64),
            ] {
                assert!((own / rate - 1.0).abs() < 1e-3, "{gpu}");
            }
            let own_refs: Vec<&Served> = own.iter().collect();
            assert_eq!(serving.provenance.measured, range_of_served(&own_refs), "{gpu}");
            let found = Errors::of(&evaluate_served(&own, &profile).expect("predicted")).expect("some");
            assert!(found.max < most_fitted, "{gpu}: {found:?}");
            assert!((found.as_array()[2] - serving.provenance.fitted[2]).abs() < 2e-3, "{gpu}: {found:?}");
            let errors: Vec<f64> =
                left_out.iter().filter(|(run, _)| run.gpu == gpu).map(|(_, error)| *error).collect();
            let found = Errors::of(&errors);
            assert_eq!(found.is_some(), most_left_out.is_some());
            let out = found.map_or([0.0; 3], |found| found.as_array());
            assert!(out[2] <= most_left_out.unwrap_or(0.0), "{gpu}: {out:?}");
            let stated = serving.provenance.held_out;
            assert!((0..3).all(|at| (out[at] - stated[at]).abs() < 2e-3), "{gpu}: {out:?}");
        }
    }
}
