//! Every computed value of the chapter, and what must hold for any input.

use proptest::prelude::*;

use super::*;

const TALK: Params = Params(1e11);
const RATE: TokensPerS = TokensPerS(50e6);

fn trillions(tokens: Tokens) -> f64 {
    (tokens.0 / 1e12).round()
}

#[test]
fn d1_each_cost_by_its_flop_a_parameter() {
    let tokens = Tokens(1e12);
    assert_eq!(pretraining_cost(TALK, tokens), Flop(6e23));
    assert_eq!(rl_cost(TALK, tokens, RL_FLOP.0, 0.5), Flop(4e23));
    assert_eq!(rl_cost(TALK, tokens, RL_FLOP.1, 0.5), Flop(12e23));
    assert_eq!(inference_cost(TALK, tokens, 0.5), Flop(4e23));
}

#[test]
fn d2_alpha_and_gamma() {
    let rounded = |factor: f64| format!("{factor:.2}");
    assert_eq!([2.0, 6.0].map(|flop| rounded(alpha(flop, 0.3))), ["1.11", "3.33"]);
    assert_eq!(rounded(gamma(0.3)), "1.11");
}

#[test]
fn d4_d5_tokens_served_in_two_months() {
    assert_eq!(format!("{:.2e}", TWO_MONTHS.0), "5.26e6");
    assert_eq!(format!("{:.2e}", served_tokens(TokensPerS(500e6), TWO_MONTHS).0), "2.63e15");
    assert_eq!(trillions(served_tokens(RATE, TWO_MONTHS)), 263.0);
    assert_eq!(trillions(served_tokens(RATE, Seconds(60.0 * 86_400.0))), 259.0);
}

#[test]
fn d6_chinchilla_of_the_lecture() {
    assert_eq!(chinchilla_tokens(TALK), Tokens(2e12));
}

#[test]
fn d7_over_trained_about_a_hundred_times() {
    let served = served_tokens(RATE, TWO_MONTHS);
    let factors = [Tokens(200e12), served, Tokens(150e12)].map(|tokens| overtraining_factor(tokens, TALK));
    assert_eq!(factors.map(f64::round), [100.0, 131.0, 75.0]);
}

#[test]
fn d8_tokens_to_train_on_from_tokens_served() {
    let served = served_tokens(RATE, TWO_MONTHS);
    assert_eq!([1.0, 0.5, 0.3].map(|eta| trillions(served * gamma(eta))), [88.0, 175.0, 292.0]);
    assert_eq!(trillions(served * gamma(0.58)), 151.0); // stated as 150
    assert_eq!(format!("{:.2}", eta_between(Tokens(150e12), served)), "0.58");
}

#[test]
fn d10_equal_costs_are_least_for_equal_exponents_only() {
    let least = power_minimum((5.0, 1.0), (7.0, 1.0)).expect("all above 0");
    assert!((least.falling / least.rising - 1.0).abs() < 1e-12);
    let least = power_minimum((5.0, 0.5), (7.0, 1.5)).expect("all above 0");
    assert!((least.falling / least.rising - 3.0).abs() < 1e-12);
    assert_eq!(power_minimum((0.0, 1.0), (7.0, 1.0)), None);
    assert_eq!(power_minimum((5.0, 1.0), (7.0, f64::INFINITY)), None);
}

#[test]
fn degenerate_inputs_have_their_limits() {
    assert_eq!(inference_cost(TALK, Tokens(1.0), 0.0), Flop(f64::INFINITY));
    assert_eq!(inference_cost(TALK, Tokens(0.0), 0.0), Flop(0.0));
    assert_eq!((alpha(2.0, 0.0), alpha(0.0, 0.0)), (f64::INFINITY, 0.0));
    assert_eq!(overtraining_factor(Tokens(1.0), Params(0.0)), f64::INFINITY);
    assert_eq!(eta_between(Tokens(0.0), Tokens(1.0)), f64::INFINITY);
}

proptest! {
    #[test]
    fn tokens_of_equal_cost_are_as_alpha_and_gamma_say(
        active in 1e8f64..1e13, pretrained in 1e9f64..1e16, rl_flop in 2.0f64..6.0, eta in 0.01f64..2.0,
    ) {
        let (active, pretrained) = (Params(active), Tokens(pretrained));
        let training = pretraining_cost(active, pretrained);
        let rl = rl_cost(active, pretrained * (1.0 / alpha(rl_flop, eta)), rl_flop, eta);
        let serving = inference_cost(active, pretrained * (1.0 / gamma(eta)), eta);
        for other in [rl, serving] {
            prop_assert!((training / other - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn no_other_point_is_cheaper(
        a in 1e-3f64..1e3, p in 0.2f64..4.0, b in 1e-3f64..1e3, q in 0.2f64..4.0, off in 0.01f64..100.0,
    ) {
        let cost = |x: f64| a * x.powf(-p) + b * x.powf(q);
        let least = power_minimum((a, p), (b, q)).expect("all above 0");
        let sum = least.falling + least.rising;
        prop_assert!(cost(least.at * off) >= sum * (1.0 - 1e-12));
        prop_assert!((least.falling / least.rising * p / q - 1.0).abs() < 1e-9);
    }

    #[test]
    fn extreme_exponents_are_no_undefined_values(
        a in -300i32..300, p in -300i32..300, b in -300i32..300, q in -300i32..300,
    ) {
        let [a, p, b, q] = [a, p, b, q].map(|power| 10f64.powi(power));
        let least = power_minimum((a, p), (b, q)).expect("all above 0");
        prop_assert!([least.at, least.falling, least.rising].iter().all(|value| *value >= 0.0));
    }
}
