//! How many ranks in which racks, from any of the words that say so.

use super::ScenarioError;
use topology::MAX_RANKS;

/// What is said of racks; the rest follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Racks {
    /// How many racks.
    pub racks: Option<u32>,
    /// Ranks of each, or of each rack its own.
    pub ranks_per_rack: Vec<u32>,
    /// Ranks in all.
    pub ranks: Option<u32>,
}

impl Racks {
    /// True if nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.racks.is_none() && self.ranks_per_rack.is_empty() && self.ranks.is_none()
    }

    /// Ranks of each rack; `racks` and `ranks_per_rack` where nothing says otherwise. Ranks alone are split over these racks, the
    /// first ones larger by one where they don't divide.
    ///
    /// # Errors
    /// [`ScenarioError`] for words that contradict each other.
    pub fn sizes(&self, racks: u32, ranks_per_rack: u32) -> Result<Vec<u32>, ScenarioError> {
        let equal = |racks: u32, size: u32| {
            if racks > MAX_RANKS {
                return refuse("racks", format!("{racks}: at most {MAX_RANKS} ranks in all"));
            }
            Ok(vec![size; racks as usize])
        };
        let sizes = match (self.racks, self.ranks_per_rack.as_slice(), self.ranks) {
            (given, sizes @ [_, _, ..], _) => {
                if let Some(racks) = given.filter(|&racks| racks as usize != sizes.len()) {
                    let problem =
                        format!("{} numbers for {racks} racks; give one, or as many as racks", sizes.len());
                    return refuse("ranks_per_rack", problem);
                }
                sizes.to_vec()
            }
            (given, &[size], None) => equal(given.unwrap_or(racks), size)?,
            (given, &[size], Some(ranks)) => {
                equal(given.unwrap_or_else(|| ranks.checked_div(size).unwrap_or(1)), size)?
            }
            (given, _, None) => equal(given.unwrap_or(racks), ranks_per_rack)?,
            (Some(racks), _, Some(ranks)) => {
                if racks == 0 || !ranks.is_multiple_of(racks) {
                    let problem = format!("{racks}: give a divisor of the {ranks} ranks, or ranks_per_rack");
                    return refuse("racks", problem);
                }
                equal(racks, ranks / racks)?
            }
            (None, _, Some(ranks)) => {
                let racks = racks.min(ranks).max(1);
                (0..racks).map(|rack| ranks / racks + u32::from(rack < ranks % racks)).collect()
            }
        };
        let all = sizes.iter().fold(0, |sum: u64, &size| sum + u64::from(size));
        match self.ranks.filter(|&ranks| u64::from(ranks) != all) {
            Some(ranks) => {
                refuse("ranks", format!("{ranks}: {} rack(s) add up to {all}; leave it out", sizes.len()))
            }
            None => Ok(sizes),
        }
    }
}

fn refuse<T>(word: &'static str, problem: String) -> Result<T, ScenarioError> {
    Err(ScenarioError::new(word, problem))
}
