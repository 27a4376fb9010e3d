//! Figures of chapter E: the price step of long contexts, and what holding a cache is worth.

use super::{bars, computed, dashed, geometric, level, line, stated};
use crate::claims::Chapter;
use crate::prices::{CachePrice, compute_cost, kv_bytes_at_step, kv_to_compute};
use blackboard::caches::{TIERS, hold_cost};
use blackboard::figure::{Axis, Figure};
use blackboard::units::{
    Bytes, BytesPerS, BytesPerToken, DollarsPerS, DollarsPerToken, FlopPerS, Params, Seconds, Tokens,
};

const CHAPTER: &str = Chapter::Prices.name();
const ACTIVE: Params = Params(1e11);
const FLOPS: FlopPerS = FlopPerS(5e15);
const BANDWIDTH: BytesPerS = BytesPerS(8e12);

pub(super) fn figures() -> Vec<Figure> {
    vec![context(), kv(), hold(), tiers()]
}

fn context() -> Figure {
    let cost = |kv: f64, context: f64| {
        kv_to_compute(ACTIVE, FLOPS, BANDWIDTH, BytesPerToken(kv), Tokens(context)).max(1.0)
    };
    let over = |kv: f64| geometric(1e3, 2e6, 80).map(move |context| (context / 1e3, cost(kv, context)));
    Figure {
        id: "e-context",
        chapter: CHAPTER,
        title: "A price step is a kink in the cost".to_owned(),
        caption: "Cost of a token over its arithmetic, max(1, K): 100B active parameters on GB200 in FP8, weights amortised. 1600 B a token put the \
                  kink at 200k; the stated surcharge of 50% covers up to 300k."
            .to_owned(),
        x: Axis::log("context, thousands of tokens"),
        y: Axis::log("cost over arithmetic"),
        layers: vec![
            line("1600 B a token", over(1600.0)),
            line("70,272 B, DeepSeek-V3 in BF16", over(70_272.0)),
            dashed("price list", [(1.0, 1.0), (200.0, 1.0), (200.0, 1.5), (2000.0, 1.5)]),
            stated(&[(200.0, 1.0, "step at 200k")]),
            computed(&[(300.0, cost(1600.0, 3e5), "covered up to 300k"), (1000.0, cost(1600.0, 1e6), "5 times at a million")]),
        ],
    }
}

fn kv() -> Figure {
    let implied = |flops: f64, bandwidth: f64| {
        geometric(1e3, 1e6, 40).map(move |step| {
            (step / 1e3, kv_bytes_at_step(ACTIVE, FlopPerS(flops), BytesPerS(bandwidth), Tokens(step)).0)
        })
    };
    Figure {
        id: "e-kv",
        chapter: CHAPTER,
        title: "What a price step says of the cache".to_owned(),
        caption: "kappa = 2 N_act BW / (F L*), 100B active parameters. The lecture's rho of 300 is right at one byte a parameter: 1667 B at 200k. \
                  DeepSeek-V3 keeps 70,272 B."
            .to_owned(),
        x: Axis::log("price step L*, thousands of tokens"),
        y: Axis::log("cache, bytes a token"),
        layers: vec![
            line("H100, BF16", implied(989.5e12, 3.35e12)),
            line("H100, FP8", implied(1979e12, 3.35e12)),
            line("GB200, FP8", implied(5e15, 8e12)),
            line("GB200, FP4", implied(10e15, 8e12)),
            stated(&[(200.0, 1667.0, "1667 B")]),
            dashed("DeepSeek-V3, BF16", [(1.0, 70_272.0), (1000.0, 70_272.0)]),
        ],
    }
}

fn hold() -> Figure {
    let device = DollarsPerS::per_hour(2.0);
    let kv = BytesPerToken(2048.0);
    let (from, to) = (1.0, 1e5);
    let in_hbm = geometric(from, to, 60)
        .map(|hold| (hold, hold_cost(kv, Bytes(186e9), device, Seconds(hold)).per_mtok()));
    let again = compute_cost(ACTIVE, FLOPS, device, 1.0).per_mtok();
    let dollars = |amount: f64| DollarsPerToken(amount * 1e-6);
    let tiers = CachePrice::through((Seconds(300.0), dollars(6.25)), (Seconds(3600.0), dollars(10.0)));
    let priced = tiers.into_iter().flat_map(|price| {
        geometric(from, to, 60).map(move |hold| (hold, price.price(Seconds(hold)).per_mtok()))
    });
    Figure {
        id: "e-hold",
        chapter: CHAPTER,
        title: "Hold a cache or compute it again".to_owned(),
        caption: "A million tokens of context: holding them in the HBM of a GB200 at $2 an hour (2048 B a token) against computing them again \
                  (100B active, FP8, full utilisation); above, list prices: a write for 5 minutes $6.25, for an hour $10, input $5."
            .to_owned(),
        x: Axis::log("held for, s"),
        y: Axis::log("$ a million tokens"),
        layers: vec![
            line("cost of holding", in_hbm),
            dashed("cost of computing again", [(from, again), (to, again)]),
            line("price of a write, through both tiers", priced),
            dashed("price of input", [(from, 5.0), (to, 5.0)]),
            stated(&[(300.0, 6.25, "5 minutes"), (3600.0, 10.0, "1 hour")]),
            computed(&[(3633.0, again, "break-even 3633 s")]),
        ],
    }
}

fn tiers() -> Figure {
    let drain: Vec<f64> = TIERS.iter().map(|tier| tier.drain_time().0).collect();
    Figure {
        id: "e-tiers",
        chapter: CHAPTER,
        title: "How long a tier holds".to_owned(),
        caption: "Time to read each tier out once, C / BW, for representative parts. Stated: 20 ms for HBM, 1 to 10 s for DDR, about a minute for \
                  flash, about an hour for disks."
            .to_owned(),
        x: Axis::categories("", TIERS.iter().map(|tier| tier.name)),
        y: Axis::log("drain time, s"),
        layers: vec![
            bars([("C / BW", &drain)]),
            level("5 minutes", 300.0, drain.len()),
            level("1 hour", 3600.0, drain.len()),
            stated(&[(0.0, 0.020, "20 ms"), (3.0, 5.0, "1-10 s"), (4.0, 60.0, "1 min"), (6.0, 3600.0, "1 h")]),
        ],
    }
}
