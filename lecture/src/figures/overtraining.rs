//! Figures of chapter D: three costs over tokens, and the tokens that make them equal.

use super::{computed, geometric, line, stated};
use crate::claims::Chapter;
use crate::overtraining::{
    RL_FLOP, TWO_MONTHS, chinchilla_tokens, gamma, inference_cost, pretraining_cost, rl_cost, served_tokens,
};
use blackboard::figure::{Axis, Figure};
use blackboard::units::{Flop, Params, Tokens, TokensPerS};

const CHAPTER: &str = Chapter::Overtraining.name();
const ACTIVE: Params = Params(1e11);
const ETA: f64 = 0.3;

pub(super) fn figures() -> Vec<Figure> {
    vec![costs(), tokens()]
}

fn served() -> Tokens {
    served_tokens(TokensPerS(5e7), TWO_MONTHS)
}

fn costs() -> Figure {
    let over = |cost: &dyn Fn(Tokens) -> Flop| {
        geometric(1e12, 1e16, 40).map(|tokens| (tokens / 1e12, cost(Tokens(tokens)).0)).collect::<Vec<_>>()
    };
    let equal = gamma(ETA) * served();
    Figure {
        id: "d-costs",
        chapter: CHAPTER,
        title: "Training, reinforcement and serving".to_owned(),
        caption: format!(
            "100B active parameters, serving and RL at 0.3 of training's utilisation. 50M tokens a second for two months are {:.0}T; \
             pre-training that costs as much takes {:.0}T.",
            served().0 / 1e12,
            equal.0 / 1e12
        ),
        x: Axis::log("tokens, T"),
        y: Axis::log("FLOP of training hardware"),
        layers: vec![
            line("pre-training, 6 N D", over(&|tokens| pretraining_cost(ACTIVE, tokens))),
            line(
                "RL, 4 N D / eta",
                over(&|tokens| rl_cost(ACTIVE, tokens, (RL_FLOP.0 + RL_FLOP.1) / 2.0, ETA)),
            ),
            line("serving, 2 N D / eta", over(&|tokens| inference_cost(ACTIVE, tokens, ETA))),
            computed(&[
                (served().0 / 1e12, inference_cost(ACTIVE, served(), ETA).0, "served"),
                (equal.0 / 1e12, pretraining_cost(ACTIVE, equal).0, "equal cost"),
            ]),
            stated(&[(150.0, pretraining_cost(ACTIVE, Tokens(1.5e14)).0, "rumour: 150T")]),
        ],
    }
}

fn tokens() -> Figure {
    let bars = [
        ("Chinchilla optimum", chinchilla_tokens(ACTIVE)),
        ("rumour of pre-training", Tokens(1.5e14)),
        ("served, as stated", Tokens(2e14)),
        ("served, computed", served()),
        ("pre-training of equal cost", gamma(ETA) * served()),
    ];
    Figure {
        id: "d-tokens",
        chapter: CHAPTER,
        title: "How far beyond the optimum".to_owned(),
        caption: "100B active parameters: 20 tokens a parameter are 2T. Served: 50M tokens a second for two months. Equal cost at eta = 0.3.".to_owned(),
        x: Axis::categories("", bars.map(|(name, _)| name)),
        y: Axis::linear("tokens, T"),
        layers: vec![super::bars([("tokens", &bars.map(|(_, tokens)| tokens.0 / 1e12))])],
    }
}
