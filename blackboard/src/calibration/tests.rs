//! The shipped profile is what its data give, and the reader refuses what it can't read.

use super::*;
use topology::{Hardware, LinkClass};

const SHIPPED: &str = include_str!("../../data/h100-deepep-ll.csv");
const LAYER: Layer = Layer { hidden: 7168, top_k: 8, experts: 256, ranks_per_node: 8 };

fn shipped() -> Vec<Measurement> {
    parse_measurements(SHIPPED, "h100-deepep-ll.csv").expect("sound")
}

fn nominal() -> Hardware {
    Hardware::preset("h100").expect("a preset")
}

#[test]
fn fitting_the_committed_data_gives_the_shipped_preset() {
    let fitted = calibrate(&shipped(), &LAYER, &nominal(), Choices::default()).expect("fits");
    let preset = Hardware::preset("h100-deepep-ll").expect("a preset");
    assert_eq!(fitted.hardware.links(), preset.links());
    assert_eq!((fitted.parameters, fitted.nominal), (9, Vec::new()));
}

#[test]
fn the_shipped_preset_is_as_near_to_its_data_as_stated() {
    let (measured, links) = (shipped(), Hardware::preset("h100-deepep-ll").expect("a preset").links());
    let predicted: Vec<f64> =
        measured.iter().map(|row| LAYER.predict_us(&links, row).expect("fits")).collect();
    let columns = column_errors(&measured, &predicted);
    let found: Vec<String> = columns
        .iter()
        .map(|c| {
            format!("{} {} {:.2} {:.2} {:+.2}", c.phase, c.nodes, c.mean * 1e2, c.max * 1e2, c.bias * 1e2)
        })
        .collect();
    let stated = [
        "dispatch 1 1.92 3.39 -0.60",
        "combine 1 2.60 7.43 -1.08",
        "dispatch 2 2.73 9.24 -1.70",
        "combine 2 3.51 9.04 -2.32",
    ];
    assert_eq!(found, stated);
    let all: f64 = columns.iter().map(|c| c.mean * f64::from(c.rows)).sum();
    assert!(all / measured.len() as f64 <= 0.03);
}

#[test]
fn more_nodes_never_take_less_and_stay_below_all_copies_crossing() {
    let links = Hardware::preset("h100-deepep-ll").expect("a preset").links();
    for phase in Phase::ALL {
        for tokens in [1, 8, 64, 256] {
            let time = |nodes| {
                LAYER.predict_us(&links, &Measurement { tokens, nodes, phase, us: 1.0 }).expect("fits")
            };
            let times = [2, 4, 8, 16, 32].map(time);
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
            assert!(times[4] < 2.0 * times[0], "{times:?}");
        }
    }
}

#[test]
fn exact_lines_are_found_again_and_what_was_not_measured_stays() {
    let truth = nominal().links();
    let mut rows = Vec::new();
    for tokens in [8, 32, 128] {
        let mut row = Measurement { tokens, nodes: 1, phase: Phase::Combine, us: 1.0 };
        row.us = LAYER.predict_us(&truth, &row).expect("fits");
        rows.push(row);
    }
    let choices = Choices { average_rank: false, ..Choices::default() };
    let fitted = calibrate(&rows, &LAYER, &nominal(), choices).expect("fits");
    assert_eq!(fitted.hardware.links(), truth);
    let kept = [
        (LinkClass::ScaleUp, Phase::Dispatch),
        (LinkClass::ScaleOut, Phase::Dispatch),
        (LinkClass::ScaleOut, Phase::Combine),
    ];
    assert_eq!((fitted.parameters, fitted.nominal.as_slice()), (2, &kept[..]));
}

#[test]
fn both_forms_of_the_table_say_the_same() {
    let long = "tokens,nodes,phase,us\n2,1,dispatch,15.4\n2,2,combine,25.9\n";
    let wide = "# own\ntokens, dispatch_1, combine_2\n2, 15.4, 25.9\n4, -,\n";
    let read = |text| parse_measurements(text, "m.csv").expect("sound");
    assert_eq!(read(long), read(wide));
}

#[test]
fn a_fault_is_told_with_its_line() {
    let check = |text: &str, part: &str| {
        let error = parse_measurements(text, "m.csv").expect_err("refused").to_string();
        assert!(error.starts_with(part), "{error}");
    };
    let with = |line: &str| format!("# own\ntokens,nodes,phase,us\n{line}\n");
    check("", "m.csv: no measurements");
    check("tokens,us\n", "m.csv:1: column `us`: a header is tokens,nodes,phase,us, or");
    check("a,b\n", "m.csv:1: column `a`");
    check(&with("1,2,dispatch"), "m.csv:3: 3 cells; give 4");
    check(&with("0,2,dispatch,1"), "m.csv:3: tokens `0`: give a whole number from 1");
    check(&with("1,2,expert,1"), "m.csv:3: phase `expert`: give dispatch or combine");
    check(&with("1,2,combine,nan"), "m.csv:3: time `nan`: give microseconds");
    let odd = [Measurement { tokens: 1, nodes: 3, phase: Phase::Dispatch, us: 1.0 }];
    let error = calibrate(&odd, &LAYER, &nominal(), Choices::default()).expect_err("24 ranks").to_string();
    assert!(error.starts_with("3 node(s) are 24 ranks, over which 256 experts don't divide"), "{error}");
}
