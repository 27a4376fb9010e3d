//! How far to trust results: what was checked, where times are from, and how far off such numbers have been.

pub(super) use crate::words::clock;
use std::collections::BTreeSet;
use study::layer::{BackendKind, Verification};

/// How far measured times were from simulated ones, and the figures of `docs/trust.md` that say so.
const MEASURED: &str = "In ten runs on an idle machine measured times were within 0.17% of the simulated ones: that proves the emulation, not real links.";
/// How far slowdowns were from those of real cards: for results that don't say themselves how far off their numbers have been.
const OFF: &str = "Held against published times of two nodes of 8 H100, slowdowns by nominal rates are about twice too large (dispatch 2.57 measured, \
                   5.26 here at 128 tokens) and times at small batches too short. The preset h100-deepep-ll, fitted to them, is 3% off.";
/// Serving.
const SERVED: &str = "Steps that are remembered are within 1 to 3% of steps computed in full; a published step of 2.15 ms comes out as 2.80 ms.";

/// Most different sentences of results on themselves, where hardware is swept.
const SAID_MAX: usize = 4;

/// What is known of one record.
pub(super) struct Checked {
    pub(super) backend: BackendKind,
    pub(super) verification: Verification,
    pub(super) verified: bool,
    pub(super) valid: bool,
}

/// What a reader needs to know of records, in a line each. `hardware` is what was assumed; `said` what results say of themselves
/// ([`blackboard::published::Trust`]), each once.
pub(super) fn lines(
    records: &[Checked],
    hardware: &str,
    serving: bool,
    said: &BTreeSet<String>,
) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let ran: Vec<&Checked> =
        records.iter().filter(|record| record.verification != Verification::NothingRan).collect();
    let count = |of: fn(&Checked) -> bool| ran.iter().filter(|record| of(record)).count();
    let (all, verified, valid) = (ran.len(), count(|record| record.verified), count(|record| record.valid));
    if all > 0 {
        let word = if verified < all {
            "NOT VERIFIED"
        } else if valid < all {
            "NOT VALID"
        } else {
            "Checked"
        };
        let outputs = ran.iter().all(|record| record.verification != Verification::Traffic);
        let what = match outputs {
            true => "every token against a reference, bytes of every two ranks against the plan",
            false => "bytes of every two ranks against the plan; rows had no values",
        };
        let measured = ran.iter().any(|record| record.backend == BackendKind::Quic);
        let kept_up = if measured { " (the host kept up)" } else { "" };
        let text = format!("{verified} of {all} rows verified ({what}); {valid} of {all} valid{kept_up}.");
        lines.push((word.to_owned(), text));
    }
    let invalid = records.iter().filter(|record| !record.valid).count();
    if all == 0 && invalid == 0 {
        lines.push((
            "Checked".to_owned(),
            "No rank ran: there is nothing to check but closed forms and books, which tests hold.".to_owned(),
        ));
    }
    if all == 0 && invalid > 0 {
        lines.push((
            "NOT VALID".to_owned(),
            format!("{invalid} of {} rows are not to be trusted.", records.len()),
        ));
    }
    let has = |backend| records.iter().any(|record| record.backend == backend);
    if has(BackendKind::Quic) {
        let text = "quic: real processes over a real transport, wall clock divided by a dilation.";
        lines.push(("Measured".to_owned(), text.to_owned()));
    }
    if has(BackendKind::Sim) {
        let text = "sim: the same code and frames on a virtual clock; exact, equal for equal seeds.";
        lines.push(("Simulated".to_owned(), text.to_owned()));
    }
    if has(BackendKind::Analytic) {
        let text = "analytic: closed forms; nothing ran, no straggler.";
        lines.push(("Computed".to_owned(), text.to_owned()));
    }
    let assumed =
        format!("port rates, latencies, FLOP/s and memory bandwidth{hardware}; every time depends on them.");
    lines.push(("Assumed".to_owned(), assumed));
    let mut off = Vec::new();
    if has(BackendKind::Quic) {
        off.push(MEASURED);
    }
    if serving {
        off.push(SERVED);
    } else if said.is_empty() {
        off.push(OFF);
    }
    off.extend(said.iter().take(SAID_MAX).map(String::as_str));
    lines.push(("How far off such numbers have been".to_owned(), off.join(" ")));
    lines
}

/// Where the times of several are from.
pub(super) fn clocks(backends: &[BackendKind]) -> String {
    let words: Vec<&str> = backends.iter().rev().map(|backend| clock(*backend)).collect();
    format!("{}; on assumed port rates and compute", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stands_in_the_page_about_trust() {
        let page = include_str!("../../../docs/trust.md");
        for figure in [
            "0.17%",
            "102.10   2.57",
            "83.27   5.36",
            "86.97   5.26",
            "2.800 ms for 2.150 ms",
            "0.5% mean, 1.2% at most",
        ] {
            assert!(page.contains(figure), "{figure}");
        }
        assert!(MEASURED.contains("0.17%") && OFF.contains("2.57") && OFF.contains("5.26"));
    }

    #[test]
    fn one_row_that_is_not_verified_is_said_first() {
        let record = |verified| Checked {
            backend: BackendKind::Sim,
            verification: Verification::Traffic,
            verified,
            valid: verified,
        };
        let nothing = BTreeSet::new();
        let told = lines(&[record(true), record(false)], "", false, &nothing);
        assert_eq!(told[0].0, "NOT VERIFIED");
        assert!(told[0].1.starts_with("1 of 2 rows"));
        assert_eq!(lines(&[record(true)], "", false, &nothing)[0].0, "Checked");
    }

    #[test]
    fn what_results_say_of_themselves_takes_the_place_of_a_sentence_for_all() {
        let said = BTreeSet::from(["a band of 3%".to_owned()]);
        let off = |said| lines(&[], "", false, said).pop().expect("a line").1;
        assert_eq!(off(&said), "a band of 3%");
        assert_eq!(off(&BTreeSet::new()), OFF);
    }
}
