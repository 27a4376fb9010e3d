//! Claims D: training longer than is optimal.

use super::{Chapter, Definition, Input, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use crate::overtraining::{
    CostShares, RL_FLOP, alpha, chinchilla_tokens, eta_between, gamma, inference_cost, overtraining_factor,
    power_minimum, pretraining_cost, rl_cost, served_tokens,
};
use blackboard::units::{Params, Seconds, Tokens, TokensPerS};

const ETA: Input = input("eta", "", 0.3);
const ACTIVE: Input = input("active_params_served", "params", 1e11);
const DAYS: Input = input("days_served", "days", 365.25 / 6.0);

fn served(rate: f64, days: f64) -> Tokens {
    served_tokens(TokensPerS(rate), Seconds(days * 86_400.0))
}

pub(super) const CLAIMS: &[Definition] = &[
    Definition {
        id: "D1",
        chapter: Chapter::Overtraining,
        claim: "training costs 6 N D, reinforcement learning 2 to 6, serving 2",
        source: "T",
        formula: "6 N D_pt; (2..6) N D_rl / eta; 2 N D_inf / eta",
        inputs: &[ACTIVE, input("pretrained_tokens", "tokens", 2e14), ETA],
        values: |i| {
            let (active, tokens) =
                (Params(i.get("active_params_served")), Tokens(i.get("pretrained_tokens")));
            vec![
                value("pre-training", "FLOP", pretraining_cost(active, tokens).0),
                value(
                    "as many tokens of RL, forward and backward",
                    "FLOP",
                    rl_cost(active, tokens, RL_FLOP.1, i.get("eta")).0,
                ),
                value("as many tokens served", "FLOP", inference_cost(active, tokens, i.get("eta")).0),
            ]
        },
        stated: Stated::Words("a definition"),
        rule: Rule::Always(Verdict::Reproduces),
        note: "in FLOP of training hardware; eta is decode's utilisation over training's",
    },
    Definition {
        id: "D2",
        chapter: Chapter::Overtraining,
        claim: "equal costs fix the tokens whatever the size of the model",
        source: "T, S1",
        formula: "D_pt = alpha D_rl = gamma D_inf; alpha = (2..6)/(6 eta), gamma = 2/(6 eta)",
        inputs: &[ETA],
        values: |i| {
            let eta = i.get("eta");
            vec![
                value("gamma", "", gamma(eta)),
                value("alpha, forward only", "", alpha(RL_FLOP.0, eta)),
                value("alpha, forward and backward", "", alpha(RL_FLOP.1, eta)),
            ]
        },
        stated: Stated::Number(1.0, "alpha about 1.5, gamma about 1"),
        rule: Rule::Near(0.15),
        note: "N_act cancels; on the board it was first written .1, the wrong way round",
    },
    Definition {
        id: "D3",
        chapter: Chapter::Overtraining,
        claim: "fewer tokens of RL than of pre-training",
        source: "T",
        formula: "D_rl = D_pt / alpha",
        inputs: &[input("alpha", "", 1.5)],
        values: |i| vec![value("D_rl over D_pt", "", 1.0 / i.get("alpha"))],
        stated: Stated::Words("fewer"),
        rule: Rule::AtMost(1.0),
        note: "0.67 at alpha = 1.5",
    },
    Definition {
        id: "D4",
        chapter: Chapter::Overtraining,
        claim: "500M tokens a second for two months are 2.6e15",
        source: "T",
        formula: "r tau",
        inputs: &[input("provider_tok_s", "tokens/s", 5e8), DAYS],
        values: |i| vec![value("tokens", "tokens", served(i.get("provider_tok_s"), i.get("days_served")).0)],
        stated: Stated::Number(2.6e15, "2.6e15"),
        rule: Rule::Near(EXACT),
        note: "5.26e6 s",
    },
    Definition {
        id: "D5",
        chapter: Chapter::Overtraining,
        claim: "50M tokens a second for two months are about 200T",
        source: "T, S1, S2",
        formula: "r tau",
        inputs: &[input("model_tok_s", "tokens/s", 5e7), DAYS],
        values: |i| {
            vec![
                value("tokens", "tokens", served(i.get("model_tok_s"), i.get("days_served")).0),
                value("60 days", "tokens", served(i.get("model_tok_s"), 60.0).0),
            ]
        },
        stated: Stated::Number(2e14, "200T"),
        rule: Rule::Near(EXACT),
        note: "263T, rounded down by 24%",
    },
    Definition {
        id: "D6",
        chapter: Chapter::Overtraining,
        claim: "the Chinchilla optimum of 100B is 2T tokens",
        source: "T, S1; S2 says 20T",
        formula: "20 N_act",
        inputs: &[ACTIVE],
        values: |i| {
            vec![value("optimum", "tokens", chinchilla_tokens(Params(i.get("active_params_served"))).0)]
        },
        stated: Stated::Number(2e12, "2T"),
        rule: Rule::Near(EXACT),
        note: "S2's 20T is wrong: 200T over it would be 10, not 100",
    },
    Definition {
        id: "D7",
        chapter: Chapter::Overtraining,
        claim: "models are over-trained about 100 times",
        source: "T",
        formula: "D / (20 N_act)",
        inputs: &[
            input("model_tok_s", "tokens/s", 5e7),
            DAYS,
            input("pretrained_tokens", "tokens", 2e14),
            ACTIVE,
        ],
        values: |i| {
            let factor = |tokens: Tokens| overtraining_factor(tokens, Params(i.get("active_params_served")));
            vec![
                value(
                    "factor by what is served",
                    "",
                    factor(served(i.get("model_tok_s"), i.get("days_served"))),
                ),
                value("factor by the pre-training stated", "", factor(Tokens(i.get("pretrained_tokens")))),
                value("150T", "", factor(Tokens(1.5e14))),
            ]
        },
        stated: Stated::Number(100.0, "about 100"),
        rule: Rule::Near(EXACT),
        note: "131 by the 263T of D5, exactly 100 with the rounded 200T, 75 with the rumoured 150T",
    },
    Definition {
        id: "D8",
        chapter: Chapter::Overtraining,
        claim: "a model was trained on 150T tokens",
        source: "T, a rumour",
        formula: "gamma D_inf",
        inputs: &[input("model_tok_s", "tokens/s", 5e7), DAYS, ETA],
        values: |i| {
            let tokens = served(i.get("model_tok_s"), i.get("days_served"));
            let at = |eta: f64| gamma(eta) * tokens.0;
            vec![
                value("D_pt", "tokens", at(i.get("eta"))),
                value("eta = 1", "tokens", at(1.0)),
                value("eta = 0.5", "tokens", at(0.5)),
                value("eta that gives 150T", "", eta_between(Tokens(1.5e14), tokens)),
            ]
        },
        stated: Stated::Number(1.5e14, "150T"),
        rule: Rule::Near(EXACT),
        note: "88T to 292T by eta; 150T at eta = 0.58",
    },
    Definition {
        id: "D9",
        chapter: Chapter::Overtraining,
        claim: "a third each, or a quarter, a quarter and a half: no great difference",
        source: "T",
        formula: "share of serving",
        inputs: &[],
        values: |_| {
            vec![value(
                "serving's share, half over a third",
                "",
                CostShares::HALF_INFERENCE.inference / CostShares::EQUAL.inference,
            )]
        },
        stated: Stated::Words("don't differ much"),
        rule: Rule::Always(Verdict::Assumption),
        note: "1.5 times the tokens served for the same training; how to split is a choice",
    },
    Definition {
        id: "D10",
        chapter: Chapter::Overtraining,
        claim: "the least sum of two costs is where they are equal",
        source: "T",
        formula: "min A x^-p + B x^q: cost ratio q/p",
        inputs: &[input("falling_exponent", "", 1.0), input("rising_exponent", "", 1.0)],
        values: |i| {
            let (p, q) = (i.get("falling_exponent"), i.get("rising_exponent"));
            let ratio = power_minimum((1.0, p), (1.0, q))
                .map_or(f64::NAN, |minimum| minimum.falling / minimum.rising);
            vec![value("falling over rising cost at the minimum", "", ratio)]
        },
        stated: Stated::Number(1.0, "equal"),
        rule: Rule::Near(EXACT),
        note: "exact for equal exponents; else the costs are as q to p",
    },
];
