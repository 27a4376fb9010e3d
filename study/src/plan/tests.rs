//! Plans against an exhaustive search, and the words that come of them.

use super::*;
use crate::placing::Programs;
use crate::scenario::{Scenario, ScenarioError, Studied};
use crate::serving::Sources;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Presets;

impl Sources for Presets {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        scenario.resolve_any(&Arc::new(Programs::new(Duration::from_secs(1))))
    }
}

fn ask(
    model: &str,
    hardware: &str,
    (racks, ranks): (u32, u32),
    load: Load,
    (ttft_ms, tpot_ms): (f64, f64),
) -> Ask {
    let scenario = Scenario {
        model: Some(model.to_owned()),
        hardware: Some(hardware.to_owned()),
        racks: Some(racks),
        ranks_per_rack: vec![ranks],
        ..Scenario::default()
    };
    Ask { scenario, load, limits: Limits { ttft_ms, tpot_ms }, usd_per_rank_hour: 2.0 }
}

/// A plan finds what serving every layout finds, whatever is scarce.
#[test]
fn the_plan_is_the_best_of_all_that_were_served() {
    let cases = [
        ask("granite-1b", "h100", (1, 2), Load::fixed(300, 20, None), (500.0, 20.0)),
        ask("granite-1b", "h100", (2, 1), Load::fixed(2_000, 5, None), (2_000.0, 50.0)),
        ask("granite-1b", "h100", (1, 2), Load::fixed(100, 10, Some(50.0)), (200.0, 10.0)),
        // Many short prompts share a step.
        ask("granite-1b", "h100", (1, 2), Load::fixed(5, 1, None), (500.0, 20.0)),
    ];
    for ask in cases {
        let found = plan(&ask, &Presets, &mut |_| ()).unwrap_or_else(|error| panic!("{error}: {ask:?}"));
        let all = exhaustive(&ask, &Presets).expect("a choice");
        assert_eq!(found.best, all, "{ask:?}");
        assert!(found.looked_at.1 < found.looked_at.0, "some are left untried");
    }
}
