//! From where to where an input is worth moving: what a slider covers, and where a second notation of the equations is tried.

use super::Claim;
use super::table::{Kind, inputs};
use serde::Serialize;

/// The most that a count can be, as what is given for one is checked.
const COUNT_MAX: f64 = 65_536.0;

/// Where an input is moved, over all claims that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// The input's name.
    pub name: &'static str,
    /// Its unit, empty for a ratio or a count.
    pub unit: &'static str,
    /// The least value; 0 only where it can be 0.
    pub from: f64,
    /// The largest.
    pub to: f64,
    /// Whether it is a whole number.
    pub whole: bool,
}

/// The reach of each input of `claims`, by name: from a tenth of its least value to ten times its largest, counts from an eighth to
/// eight times, what can be 0 from there, and to 4 at least.
#[must_use]
pub fn reaches(claims: &[Claim]) -> Vec<Reach> {
    let of = |(name, given): (&'static String, &'static super::table::Given)| {
        let values = claims
            .iter()
            .flat_map(|claim| &claim.inputs)
            .filter(|(known, ..)| known == name)
            .map(|&(_, unit, value)| (unit, value));
        let (unit, least, largest) = values
            .map(|(unit, value)| (unit, value, value))
            .reduce(|one, other| (one.0, one.1.min(other.1), one.2.max(other.2)))?;
        let (from, to) = match given.kind {
            Kind::AboveZero => (least / 10.0, largest * 10.0),
            Kind::OrZero => (0.0, (largest * 10.0).max(4.0)),
            Kind::Count => ((least / 8.0).floor().max(1.0), (largest * 8.0).min(COUNT_MAX)),
        };
        Some(Reach { name, unit, from, to, whole: given.kind == Kind::Count })
    };
    inputs().iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Board, FORMULAS};

    #[test]
    fn every_input_can_be_moved_about_what_it_is() {
        let claims = Board::default().claims();
        let all = reaches(&claims);
        assert_eq!(all.len(), crate::claims::input_names().count());
        for claim in &claims {
            for &(name, _, value) in &claim.inputs {
                let reach = all.iter().find(|reach| reach.name == name).expect("a reach");
                assert!(reach.from < reach.to && (reach.from..=reach.to).contains(&value), "{name}");
                for end in [reach.from, reach.to] {
                    assert_eq!(inputs()[name].check(end), Ok(()), "{name} = {end}");
                }
            }
        }
    }

    #[test]
    fn every_claim_with_inputs_has_a_formula_for_pages_and_no_other() {
        let listed = |id: &str| FORMULAS.contains(&format!("\n    {id}: (i) =>"));
        for claim in Board::default().claims() {
            assert_eq!(listed(claim.id), !claim.inputs.is_empty(), "{}", claim.id);
        }
    }

    #[test]
    fn every_picture_is_a_figure_of_this_crate() {
        let figures = crate::figures::all();
        for claim in Board::default().claims() {
            if let Some(picture) = claim.picture {
                assert!(figures.iter().any(|figure| figure.id == picture), "{}: {picture}", claim.id);
            }
        }
        for figure in &figures {
            let shown = Board::default().claims().iter().any(|claim| claim.picture == Some(figure.id));
            assert!(shown, "no claim shows {}", figure.id);
        }
    }
}
