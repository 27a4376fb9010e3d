//! Chapter "over-training": how many tokens to train on if what is trained is also served.
//!
//! Three costs, each proportional to N_act: pre-training (6 FLOP a parameter and token: 2 forward, 4
//! backward), reinforcement learning (2 where most samples are thrown away after their forward pass, 6 where
//! each is trained on) and serving (2). The latter two decode, which reaches a smaller share of the peak than
//! training does; eta, the MFU of decode over that of training, converts their FLOP to those of training. As
//! a heuristic for the cheapest whole T makes the three equal; N_act cancels, so that tokens served tell
//! tokens trained on.
//!
//! All of it counts arithmetic only. Sources: T, S1, S2; 20 tokens a parameter is Chinchilla's (Hoffmann et
//! al. 2022), as T quotes it. eta is above 0; at 0 what decodes costs infinitely much (no tokens still
//! nothing).

use blackboard::units::{Flop, Params, Seconds, Tokens, TokensPerS, quotient};

/// FLOP a parameter and token: forward and backward.
const TRAINING_FLOP: f64 = 6.0;
/// FLOP a parameter and token: forward.
const FORWARD_FLOP: f64 = 2.0;
/// T's range of FLOP a parameter and token of reinforcement learning.
pub const RL_FLOP: (f64, f64) = (FORWARD_FLOP, TRAINING_FLOP);
/// Tokens a parameter at Chinchilla's optimum, the cheapest training to a given loss if nobody used the
/// model.
pub const CHINCHILLA: f64 = 20.0;
/// A sixth of 365.25 days: how long T lets a model serve until the next one replaces it.
pub const TWO_MONTHS: Seconds = Seconds(365.25 / 6.0 * 86_400.0);

/// `6 N_act D`. Source: T.
pub fn pretraining_cost(active: Params, tokens: Tokens) -> Flop {
    Flop(TRAINING_FLOP * active.0 * tokens.0)
}

/// `c N_act D / eta` with c = `rl_flop` in [`RL_FLOP`]: in FLOP at the MFU of training. Source: T.
pub fn rl_cost(active: Params, tokens: Tokens, rl_flop: f64, eta: f64) -> Flop {
    Flop(quotient(rl_flop * active.0 * tokens.0, eta))
}

/// `2 N_act D / eta`: in FLOP at the MFU of training. Source: T.
pub fn inference_cost(active: Params, tokens: Tokens, eta: f64) -> Flop {
    rl_cost(active, tokens, FORWARD_FLOP, eta)
}

/// alpha, tokens of pre-training that cost as much as one of reinforcement learning: `c / (6 eta)`.
///
/// ```
/// # use lecture::overtraining::{RL_FLOP, alpha};
/// // At eta = 0.3; T writes 1.5.
/// assert_eq!(format!("{:.2} to {:.2}", alpha(RL_FLOP.0, 0.3), alpha(RL_FLOP.1, 0.3)), "1.11 to 3.33");
/// ```
pub fn alpha(rl_flop: f64, eta: f64) -> f64 {
    quotient(rl_flop, TRAINING_FLOP * eta)
}

/// gamma, tokens of pre-training that cost as much as one served: `2 / (6 eta)`.
///
/// ```
/// # use lecture::overtraining::gamma;
/// assert_eq!(format!("{:.2}", gamma(0.3)), "1.11"); // T: about 1
/// ```
pub fn gamma(eta: f64) -> f64 {
    alpha(FORWARD_FLOP, eta)
}

/// The eta at which `pretrained` and `served` tokens cost the same: `2 D_inf / (6 D_pt)`, the inverse of
/// [`gamma`]. Infinite if nothing was trained on.
///
/// ```
/// # use {blackboard::units::Tokens, lecture::overtraining::eta_between};
/// // A rumour in T of 150T tokens, against 263T served.
/// assert_eq!(format!("{:.2}", eta_between(Tokens(150e12), Tokens(263e12))), "0.58");
/// ```
pub fn eta_between(pretrained: Tokens, served: Tokens) -> f64 {
    quotient(FORWARD_FLOP * served.0, TRAINING_FLOP * pretrained.0)
}

/// Tokens served at `rate` for `lifetime`: `r tau`. An upper bound if `rate` is that of the best hour.
///
/// ```
/// # use {blackboard::units::*, lecture::overtraining::{TWO_MONTHS, served_tokens}};
/// let trillions = served_tokens(TokensPerS(50e6), TWO_MONTHS).0 / 1e12;
/// assert_eq!(trillions.round(), 263.0); // rounded to 200 in T, S1 and S2
/// ```
pub fn served_tokens(rate: TokensPerS, lifetime: Seconds) -> Tokens {
    rate * lifetime
}

/// Tokens of Chinchilla's optimum, [`CHINCHILLA`] a parameter. Of an MoE it is open which parameters count: T
/// takes the active ones (a lower bound).
///
/// ```
/// # use {blackboard::units::*, lecture::overtraining::chinchilla_tokens};
/// assert_eq!(chinchilla_tokens(Params(1e11)), Tokens(2e12)); // T and S1; the 20T of S2 is a slip
/// ```
pub fn chinchilla_tokens(params: Params) -> Tokens {
    Tokens(CHINCHILLA * params.0)
}

/// How many times Chinchilla's optimum `pretrained` is. Infinite for no parameters.
///
/// ```
/// # use {blackboard::units::*, lecture::overtraining::overtraining_factor};
/// let factor = |trillions: f64| overtraining_factor(Tokens(trillions * 1e12), Params(1e11));
/// assert_eq!([factor(200.0), factor(150.0)], [100.0, 75.0]);
/// ```
pub fn overtraining_factor(pretrained: Tokens, params: Params) -> f64 {
    quotient(pretrained.0, chinchilla_tokens(params).0)
}

/// Serving's share of what a model's life costs if all three cost the same, as T starts: then `D_pt = alpha D_rl = gamma D_inf`.
pub const EQUAL_SHARE: f64 = 1.0 / 3.0;
/// The same if serving costs as much as both others together, T's other split: 1.5 times [`EQUAL_SHARE`], so that the same
/// tokens served tell half the tokens trained on.
pub const HALF_SHARE: f64 = 0.5;

/// Where `A x^-p + B x^q` is least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerMinimum {
    /// x at which the sum is least.
    pub at: f64,
    /// `A x^-p` there.
    pub falling: f64,
    /// `B x^q` there.
    pub rising: f64,
}

/// The least of a falling and a rising cost, `A x^-p + B x^q` with (A, p) = `falling` and (B, q) = `rising`.
///
/// The slope is 0 where `p A x^-p = q B x^q`: at `x = (p A / (q B))^(1/(p+q))`, where the costs are as q to
/// p. They are equal only for equal exponents, as in T's `a/x + b x`. `None` unless all four are finite and
/// above 0; where x is too large or too small for an f64, it is infinite or 0.
///
/// ```
/// # use lecture::overtraining::power_minimum;
/// let least = power_minimum((12.0, 1.0), (3.0, 1.0)).expect("all above 0");
/// let [at, falling, rising] = [least.at, least.falling, least.rising].map(|value| format!("{value:.3}"));
/// assert_eq!([at, falling, rising], ["2.000", "6.000", "6.000"]);
/// ```
pub fn power_minimum(falling: (f64, f64), rising: (f64, f64)) -> Option<PowerMinimum> {
    let ((a, p), (b, q)) = (falling, rising);
    if ![a, p, b, q].iter().all(|value| value.is_finite() && *value > 0.0) {
        return None;
    }
    // As logarithms, so that no product of two finite inputs overflows.
    let at = ((p.ln() - q.ln() + a.ln() - b.ln()) / (p + q)).exp();
    Some(PowerMinimum { at, falling: a * at.powf(-p), rising: b * at.powf(q) })
}

#[cfg(test)]
mod tests;
