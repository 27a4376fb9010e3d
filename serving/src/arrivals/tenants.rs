//! Whose a request is: drawn by weight, one draw a request.

use rand::RngExt;
use rand_pcg::Pcg64;

use super::ArrivalError;
use super::error::{setting, within};

/// Most tenants.
const MAX_TENANTS: u32 = 1 << 16;

/// Tenants and how often each asks.
#[derive(Clone, Debug)]
pub(super) struct Tenants {
    /// Sums of the weights up to and with each tenant.
    up_to: Vec<f64>,
}

impl Tenants {
    /// `count` tenants (1 if not given, or as many as there are weights), all alike where there are no weights.
    pub(super) fn new(count: Option<u32>, weights: Option<&[f64]>) -> Result<Self, ArrivalError> {
        let even;
        let weights = match weights {
            Some(weights) => weights,
            None => {
                even = vec![1.0; within("tenants", count.unwrap_or(1), 1, MAX_TENANTS)? as usize];
                &even
            }
        };
        let what = "tenant_weights";
        if weights.is_empty() || weights.len() > MAX_TENANTS as usize {
            return Err(setting(
                what,
                format!("{} weights", weights.len()),
                format!("give 1 to {MAX_TENANTS}"),
            ));
        }
        if count.is_some_and(|count| count as usize != weights.len()) {
            let must = format!("give one for each of the {} tenants", count.unwrap_or(1));
            return Err(setting(what, format!("{} weights", weights.len()), must));
        }
        let mut sum = 0.0;
        let mut up_to = Vec::with_capacity(weights.len());
        for &weight in weights {
            sum += within(what, weight, 0.0, 1e12)?;
            up_to.push(sum);
        }
        if sum <= 0.0 {
            return Err(setting(what, "all 0", "give one above 0"));
        }
        Ok(Self { up_to })
    }

    pub(super) fn draw(&self, rng: &mut Pcg64) -> u32 {
        let sum = self.up_to[self.up_to.len() - 1];
        let at = rng.random::<f64>() * sum;
        // A product that is rounded up to the sum would lie past the last tenant of weight.
        let at = self.up_to.partition_point(|&up_to| up_to <= at.min(sum.next_down()));
        at as u32
    }
}
