//! Claims D: training longer than is optimal.

use super::{Equation, value};
use crate::overtraining::{
    EQUAL_SHARE, HALF_SHARE, RL_FLOP, alpha, chinchilla_tokens, eta_between, gamma, inference_cost,
    overtraining_factor, power_minimum, pretraining_cost, rl_cost, served_tokens,
};
use blackboard::units::{Params, Seconds, Tokens, TokensPerS};

fn served(rate: f64, days: f64) -> Tokens {
    served_tokens(TokensPerS(rate), Seconds(days * 86_400.0))
}

pub(super) const EQUATIONS: &[Equation] = &[
    ("D1", |i| {
        let (active, tokens) = (Params(i.get("active_params_served")), Tokens(i.get("pretrained_tokens")));
        vec![
            value("pre-training", "FLOP", pretraining_cost(active, tokens).0),
            value(
                "as many tokens of RL, forward and backward",
                "FLOP",
                rl_cost(active, tokens, RL_FLOP.1, i.get("eta")).0,
            ),
            value("as many tokens served", "FLOP", inference_cost(active, tokens, i.get("eta")).0),
        ]
    }),
    ("D2", |i| {
        let eta = i.get("eta");
        vec![
            value("gamma", "", gamma(eta)),
            value("alpha, forward only", "", alpha(RL_FLOP.0, eta)),
            value("alpha, forward and backward", "", alpha(RL_FLOP.1, eta)),
        ]
    }),
    ("D3", |i| vec![value("D_rl over D_pt", "", 1.0 / i.get("alpha"))]),
    ("D4", |i| vec![value("tokens", "tokens", served(i.get("provider_tok_s"), i.get("days_served")).0)]),
    ("D5", |i| {
        vec![
            value("tokens", "tokens", served(i.get("model_tok_s"), i.get("days_served")).0),
            value("60 days", "tokens", served(i.get("model_tok_s"), 60.0).0),
        ]
    }),
    ("D6", |i| vec![value("optimum", "tokens", chinchilla_tokens(Params(i.get("active_params_served"))).0)]),
    ("D7", |i| {
        let factor = |tokens: Tokens| overtraining_factor(tokens, Params(i.get("active_params_served")));
        vec![
            value("factor by what is served", "", factor(served(i.get("model_tok_s"), i.get("days_served")))),
            value("factor by the pre-training stated", "", factor(Tokens(i.get("pretrained_tokens")))),
            value("150T", "", factor(Tokens(1.5e14))),
        ]
    }),
    ("D8", |i| {
        let tokens = served(i.get("model_tok_s"), i.get("days_served"));
        let at = |eta: f64| gamma(eta) * tokens.0;
        vec![
            value("D_pt", "tokens", at(i.get("eta"))),
            value("eta = 1", "tokens", at(1.0)),
            value("eta = 0.5", "tokens", at(0.5)),
            value("eta that gives 150T", "", eta_between(Tokens(1.5e14), tokens)),
        ]
    }),
    ("D9", |_| vec![value("serving's share, half over a third", "", HALF_SHARE / EQUAL_SHARE)]),
    ("D10", |i| {
        let (p, q) = (i.get("falling_exponent"), i.get("rising_exponent"));
        let ratio =
            power_minimum((1.0, p), (1.0, q)).map_or(f64::NAN, |minimum| minimum.falling / minimum.rising);
        vec![value("falling over rising cost at the minimum", "", ratio)]
    }),
];
