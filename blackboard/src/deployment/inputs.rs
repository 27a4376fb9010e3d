//! The inputs of a deployment that are mere numbers, by their names: what a sweep varies without looking anything up.

use super::Deployment;
use crate::units::{DollarsPerS, Tokens};

/// Names of the inputs, as the flags of `railyard roofline` with `_` for `-`.
pub const INPUTS: [&str; 5] = ["batch", "context", "prompt", "tokens_per_rank", "price"];

impl Deployment {
    /// Puts an input of [`INPUTS`] to `value`; of none of another name.
    pub fn set(&mut self, input: &str, value: f64) {
        match input {
            "batch" => self.batch = Tokens(value),
            "context" => self.context = Tokens(value),
            "prompt" => self.prompt = Tokens(value),
            "tokens_per_rank" => self.tokens_per_rank = Some(Tokens(value)),
            "price" => self.price = DollarsPerS::per_hour(value),
            _ => {}
        }
    }
}
