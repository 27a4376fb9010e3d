//! The fit finds what made the data, shipped profiles are what their data give, and the reader refuses what it can't read.

use super::*;
use proptest::prelude::*;
use topology::{Kernel, RowFormat};

const LAYER: Layer = Layer {
    hidden: 7168,
    top_k: 8,
    experts: 256,
    expert_inter: 2048,
    ranks_per_node: 8,
    scheme: None,
    routing: None,
};
const LOW_LATENCY: &str = include_str!("../../data/measured/deepep_ll_h100.csv");
const NORMAL: &str = include_str!("../../data/measured/deepep_normal_h100.csv");
const GB200: &str = include_str!("../../data/measured/trtllm_alltoall_gb200.csv");

fn read(text: &str) -> Vec<Measurement> {
    parse_measurements(text, "m.csv", &LAYER).expect("sound")
}

fn preset(name: &str) -> Hardware {
    Hardware::preset(name).expect("a preset")
}

/// What `railyard calibrate` fits with the card of a profile.
fn nominal(profile: &str, chip: &str) -> Hardware {
    Hardware { scale_out: preset(profile).scale_out, ..preset(chip) }
}

#[test]
fn fitting_the_committed_data_gives_the_shipped_profiles() {
    for (name, text, chip, variants) in [
        ("h100-deepep-ll", LOW_LATENCY, "h100", &[("h100-deepep-ll", "")][..]),
        ("h100-deepep-normal", NORMAL, "h100", &[("h100-deepep-normal", "")]),
        (
            "gb200-trtllm",
            GB200,
            "gb200",
            &[
                ("gb200-trtllm-one-sided", "NVLinkOneSided nvfp4"),
                ("gb200-trtllm-two-sided-nvfp4", "NVLinkTwoSided nvfp4"),
                ("gb200-trtllm-two-sided-fp8", "NVLinkTwoSided fp8"),
                ("gb200-trtllm-two-sided-bf16", "NVLinkTwoSided bfloat16"),
            ],
        ),
    ] {
        let (measured, nominal) = (read(text), nominal(name, chip));
        assert_eq!(LAYER.check(&measured, &nominal), Ok(()));
        let fitted = fit(&measured, &LAYER, &nominal).expect("fits");
        for (name, variant) in variants {
            let shipped = preset(name).kernels.expect("a profile");
            assert_eq!(data_hash(std::iter::once(text)), shipped.provenance.data_hash, "{name}");
            let own: Vec<Measurement> =
                measured.iter().filter(|row| row.variant == *variant).cloned().collect();
            let again = profiled(&fitted, variant, &nominal, shipped.provenance.clone());
            let [now, then] = [again, preset(name)].map(|hardware| {
                let errors = evaluate(&own, &LAYER, &hardware).expect("predicted");
                Errors::of(&errors).expect("some").as_array()
            });
            for at in 0..3 {
                // Digits behind those that the profile has may differ between machines.
                assert!((now[at] - then[at]).abs() < 2e-3, "{name}: {now:?}, {then:?}");
                assert!((shipped.provenance.fitted[at] - then[at]).abs() < 2e-3, "{name}: {then:?}");
            }
        }
    }
}

#[test]
fn profiles_are_as_near_to_their_tables_as_stated() {
    // Median and mean of the times of kernels, in percent; exchanges of counts are beside them.
    for (name, text, variant, median, mean) in [
        ("h100-deepep-ll", LOW_LATENCY, "", 1.8, 2.4),
        ("h100-deepep-normal", NORMAL, "", 1.8, 2.0),
        ("gb200-trtllm-one-sided", GB200, "NVLinkOneSided nvfp4", 3.1, 3.9),
        ("gb200-trtllm-two-sided-nvfp4", GB200, "NVLinkTwoSided nvfp4", 1.6, 3.3),
        ("gb200-trtllm-two-sided-fp8", GB200, "NVLinkTwoSided fp8", 1.8, 2.8),
        ("gb200-trtllm-two-sided-bf16", GB200, "NVLinkTwoSided bfloat16", 1.6, 2.6),
    ] {
        let mut measured = read(text);
        measured.retain(|row| row.variant == variant && !row.op.is_counts());
        let errors =
            Errors::of(&evaluate(&measured, &LAYER, &preset(name)).expect("predicted")).expect("some");
        assert!(errors.median * 100.0 <= median && errors.mean * 100.0 <= mean, "{name}: {errors:?}");
    }
}

#[test]
fn halves_of_a_table_predict_the_same() {
    let (measured, chip) = (read(LOW_LATENCY), preset("h100"));
    let apart = Errors::of(&refitted_on_halves(&measured, &LAYER, &chip).expect("fits")).expect("some");
    assert!(apart.median < 0.03, "{apart:?}");
}

#[test]
fn more_nodes_never_take_less() {
    let hardware = preset("h100-deepep-ll");
    let mut row = read("tokens,nodes,dispatch_us\n1,2,30\n").remove(0);
    for op in [Op::Dispatch, Op::Combine] {
        for tokens in [1, 8, 64, 256] {
            let times = [2, 4, 8, 16, 32].map(|racks| {
                (row.op, row.tokens, row.racks, row.ranks) = (op, tokens, racks, 8 * racks);
                predict(&row, &LAYER, &hardware).expect("predicted")
            });
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_made_the_times_is_found_again(start in 5.0..40.0_f64, rate in 1e11..4e11_f64, copy in 0.5..3.0_f64) {
        let chip = preset("gb200");
        let truth = Kernel { start_us: start, copy_us: copy, scale_up_bytes_per_s: rate, ..fit::free_kernel(&chip) };
        let mut rows = Vec::new();
        for ranks in [2, 4, 8, 16] {
            for tokens in [1, 4, 16, 64, 256, 1024] {
                let mut row = read(&format!("tokens,ep,dispatch_us\n{tokens},{ranks},9\n")).remove(0);
                row.us = truth.time(&LAYER.load(&row).expect("a group")).kernel();
                rows.push(row);
            }
        }
        let fitted = fit(&rows, &LAYER, &chip).expect("fits");
        for row in &rows {
            let us = fitted.predict(row, &LAYER).expect("a group").expect("fitted");
            prop_assert!((us / row.us - 1.0).abs() < 5e-3, "{us} for {row:?}: {fitted:?}");
        }
    }
}

#[test]
fn columns_say_what_was_measured() {
    let rows = read(
        "# own\nkernel,row_dtype,ep,tokens_per_rank,prepare_us,dispatch_us,combine_us,combine_low_precision_us\n\
         k,nvfp4,4,8,12,20,-,30\n",
    );
    let found: Vec<_> = rows.iter().map(|row| (row.op, row.rows, row.us, row.variant.as_str())).collect();
    assert_eq!(
        found,
        [
            (Op::DispatchCounts, RowFormat::Nvfp4, 12.0, "k nvfp4"),
            (Op::Dispatch, RowFormat::Nvfp4, 20.0, "k nvfp4"),
            (Op::Combine, RowFormat::Nvfp4, 30.0, "k nvfp4 low-precision combine"),
        ]
    );
    let load = LAYER.load(&rows[1]).expect("a group");
    assert_eq!((load.copies, load.ranks, load.row_bytes), ([3.0, 0.0], 4.0, 4032.0));
    assert_eq!(read("tokens,nodes,phase,us\n2,1,dispatch,15.4\n"), {
        let mut same = read("tokens,nodes,dispatch_us\n2,1,15.4\n");
        same[0].at = "m.csv:2: us".to_owned();
        same
    });
}

#[test]
fn a_fault_is_told_with_its_line_and_column() {
    let check = |text: &str, part: &str| {
        let error = parse_measurements(text, "m.csv", &LAYER).expect_err("refused").to_string();
        assert!(error.starts_with(part), "{error}");
    };
    let with = |line: &str| format!("# own\ntokens,nodes,dispatch_us\n{line}\n");
    check("", "m.csv: no measurements");
    check("a,b\n", "m.csv:1: column `a`: known are tokens");
    check("tokens,nodes\n", "m.csv:1: a header has tokens and times");
    check(
        "tokens,tokens_per_rank,us,phase\n",
        "m.csv:1: columns `tokens` and `tokens_per_rank` say the same",
    );
    check(
        "tokens,dispatch_us,dispatch_us\n",
        "m.csv:1: columns `dispatch_us` and `dispatch_us` say the same",
    );
    check(&with("1,2"), "m.csv:3: 2 cells; the header has 3");
    check(&with("0,2,20"), "m.csv:3: tokens `0`: give a whole number from 1");
    check(&with("1,2,nan"), "m.csv:3: dispatch_us `nan`: give microseconds");
    check(&with("1,2,-5"), "m.csv:3: dispatch_us `-5`: give microseconds");
    check(
        &with("1,2,0.0163"),
        "m.csv:3: dispatch_us `0.0163`: no kernel takes less than 1 us; times are in us: are these ms?",
    );
    check(
        "tokens,nodes,phase,us\n1,2,expert,9\n",
        "m.csv:2: phase `expert`: give dispatch, combine, layer or fused",
    );
    let impossible = |line: &str, part: &str| {
        let error = LAYER.check(&read(&with(line)), &preset("h100")).expect_err("refused").to_string();
        assert!(error.starts_with("m.csv:3: dispatch_us: ") && error.contains(part), "{error}");
    };
    impossible("2048,1,50", "the ports of h100-sxm need 236.0 us");
    impossible("2,1,15430", "are these ns?");
    let odd = read("tokens,ep,dispatch_us\n1,1,9\n");
    assert!(LAYER.load(&odd[0]).expect_err("alone").to_string().contains("1 rank(s) in 1 rack(s)"));
}

#[test]
fn what_is_left_out_is_what_the_rule_says() {
    let (measured, chip) = (read(LOW_LATENCY), preset("h100"));
    let left = |rule: &str| {
        let rule: HoldOut = rule.parse().expect("a rule");
        held_out(&measured, &LAYER, &chip, &rule).map(|(found, unsaid)| (found.len(), unsaid))
    };
    assert_eq!(left("nodes>=4"), Ok((52, 0)));
    assert_eq!(left("nodes in 1"), Ok((0, 34)));
    assert_eq!(left("tokens_per_rank in 8,16"), Ok((20, 0)));
    assert_eq!(left("fold:5"), Ok((138, 0)));
    assert!(left("nodes>=9").expect_err("none").to_string().contains("leaves nothing out"));
    assert!(left("nodes>=1").expect_err("all").to_string().contains("leaves no measurement"));
    assert!("node>=4".parse::<HoldOut>().expect_err("no field").to_string().contains("fields are nodes"));
}

/// The layer of `moe_layer_h200.csv`.
const DEEP_GEMM: Layer = Layer {
    hidden: 4096,
    top_k: 6,
    experts: 256,
    expert_inter: 2048,
    ranks_per_node: 8,
    scheme: None,
    routing: None,
};
const WHOLE: &str = include_str!("../../data/measured/moe_layer_h200.csv");

fn whole() -> (Vec<Measurement>, Hardware) {
    let measured = parse_measurements(WHOLE, "m.csv", &DEEP_GEMM).expect("sound");
    (measured, Hardware { kernels: preset("h100-deepep-normal").kernels, ..preset("h200") })
}

#[test]
fn whole_layers_are_fitted_within_5_percent_and_predicted_within_10() {
    let (measured, nominal) = whole();
    assert_eq!(DEEP_GEMM.check(&measured, &nominal), Ok(()));
    let fitted = fit(&measured, &DEEP_GEMM, &nominal).expect("fits");
    let rule: HoldOut = "tokens in 16,64,256,1024,4096".parse().expect("a rule");
    let (left, unsaid) = held_out(&measured, &DEEP_GEMM, &nominal, &rule).expect("predicted");
    assert_eq!((left.len(), unsaid), (10, 0));
    for (name, variant, [mean, out]) in
        [("h200-layer-unfused", "unfused", [0.015, 0.02]), ("h200-layer-fused", "fused", [0.03, 0.045])]
    {
        let shipped = preset(name);
        let provenance = shipped.layer.as_ref().expect("a layer").provenance.clone();
        assert_eq!(data_hash(std::iter::once(WHOLE)), provenance.data_hash, "{name}");
        let own: Vec<Measurement> = measured.iter().filter(|row| row.variant == variant).cloned().collect();
        let again = profiled(&fitted, variant, &nominal, provenance.clone());
        let [now, then] = [again, shipped].map(|hardware| {
            Errors::of(&evaluate(&own, &DEEP_GEMM, &hardware).expect("predicted")).expect("some").as_array()
        });
        for at in 0..3 {
            assert!((now[at] - then[at]).abs() < 2e-3, "{name}: {now:?}, {then:?}");
            assert!((provenance.fitted[at] - then[at]).abs() < 2e-3, "{name}: {then:?}");
        }
        assert!(then[1] < mean, "{name}: {then:?}");
        let errors: Vec<f64> =
            left.iter().filter(|(row, _)| row.variant == variant).map(|(_, error)| *error).collect();
        let found = Errors::of(&errors).expect("some");
        assert!(found.mean < out && found.max < 0.10, "{name}: {found:?}");
    }
}

#[test]
fn a_byte_order_mark_and_other_separators_are_taken() {
    let commas = "tokens,nodes,dispatch_us\n16,1,17.6\n64,2,27.8\n";
    let as_is = read(commas);
    for text in [format!("\u{feff}{commas}"), commas.replace(',', ";"), commas.replace(',', "\t")] {
        assert_eq!(read(&text), as_is, "{text}");
    }
}

#[test]
fn too_few_measurements_are_no_fit() {
    let chip = preset("h100");
    for (text, part) in [
        ("tokens,nodes,dispatch_us\n16,1,17.6\n", "dispatch, in one rack: 1 measurement(s); a fit"),
        (
            "tokens,unfused_us\n64,500\n128,600\n256,700\n",
            "unfused layer, in one rack: 3 measurement(s); a fit",
        ),
    ] {
        let error = fit(&read(text), &LAYER, &chip).expect_err("refused").to_string();
        assert!(error.starts_with(part), "{error}");
    }
}
