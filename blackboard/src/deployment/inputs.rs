//! The inputs of a deployment that are numbers, by their names: what a sweep varies.

use super::Deployment;
use crate::units::{DollarsPerS, Tokens};
use topology::did_you_mean;

/// Names of the inputs, as the flags of `railyard roofline` with `_` for `-`.
pub const INPUTS: [&str; 8] =
    ["batch", "context", "ranks", "racks", "pp", "micro_batches", "tokens_per_rank", "price"];

impl Deployment {
    /// Puts an input of [`INPUTS`] to `value`.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn set(&mut self, input: &str, value: f64) -> Result<(), String> {
        let count = || {
            let whole = value.fract() == 0.0 && (1.0..=1e9).contains(&value);
            if whole {
                Ok(value as u32)
            } else {
                Err(format!("{input} = {value} is no whole number of at least 1"))
            }
        };
        match input {
            "batch" => self.batch = Tokens(value),
            "context" => self.context = Tokens(value),
            "ranks" => self.ranks = count()?,
            "racks" => self.racks = Some(count()?),
            "pp" => self.stages = count()?,
            "micro_batches" => self.micro_batches = Some(count()?),
            "tokens_per_rank" => self.tokens_per_rank = Some(Tokens(value)),
            "price" => self.price = DollarsPerS::per_hour(value),
            _ => {
                let meant = did_you_mean(input, INPUTS);
                let remedy =
                    if meant.is_empty() { format!("; there are {}", INPUTS.join(", ")) } else { meant };
                return Err(format!("no input is called `{input}`{remedy}"));
            }
        }
        Ok(())
    }
}
