//! Counts as people write them: floats, lists, rows, arrays; and what is wrong with some.

use super::{counts, npy, parse};

fn warned(text: &str) -> Vec<String> {
    parse(text).unwrap().warnings()
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, said: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.contains(said) && error.starts_with("made-up") && error.lines().count() == 1, "{error}");
}

#[test]
fn floats_are_counts() {
    let floats = parse(r#"{"logical_count": [[12.0, 8.0, 1e2], [1.0, 9.0, 7.0]]}"#).unwrap();
    let whole = parse(r#"{"logical_count": [[12, 8, 100], [1, 9, 7]]}"#).unwrap();
    assert_eq!((&floats, floats.warnings()), (&whole, vec![]));
    // Shares and means of a window keep their proportions.
    let means = parse("[[[0.25, 0.5], [1.0, 0.0]], [[2.5, 1], [3, 1]]]").unwrap();
    assert_eq!(counts(&means), [[275, 150], [400, 100]]);
    assert_eq!(
        (means.steps(), means.warnings()),
        (vec![0, 1], vec!["counts with fractions: all are taken 100 times".to_owned()])
    );
    let thirds = parse("[[0.333333333333, 0.666666666667]]").unwrap();
    assert_eq!(counts(&thirds), [[333_333_333, 666_666_667]]);
}

#[test]
fn lists_are_tables_with_and_without_a_key() {
    let load = parse("[\n [12, 8, 4],\n [1, 9, 7]\n]\n").unwrap();
    assert_eq!((counts(&load), load.layer_ids()), (vec![&[12, 8, 4][..], &[1, 9, 7]], &[0, 1][..]));
    for same in [
        "\u{feff}[[12, 8, 4], [1, 9, 7]]",
        "\u{feff}\n{\"logical_count\":\r\n[[12, 8, 4],\r\n[1, 9, 7]]}",
        r#"{"model": "m", "tokens_per_expert": [[12, 8, 4], [1, 9, 7]]}"#,
        r#"{"counts": {"0": [12, 8, 4], "1": [1, 9, 7]}}"#,
        r#"{"layer_0": [12, 8, 4], "layer_1": [1, 9, 7]}"#,
        r#"{"1": {"1": 9, "0": 1, "2": 7}, "0": {"0": 12, "1": 8, "2": 4}}"#,
    ] {
        assert_eq!(parse(same).unwrap(), load, "{same}");
    }
    assert_eq!(counts(&parse("[3, 0, 5]").unwrap()), [[3, 0, 5]], "one layer");
    assert_eq!(parse(r#"{"10": [1, 2], "9": [3, 4]}"#).unwrap().layer_ids(), [9, 10]);
    let steps = parse(r#"[{"logical_count": [[1, 2]]}, {"logical_count": [[3, 4]]}]"#).unwrap();
    assert_eq!((counts(&steps), steps.steps()), (vec![&[4, 6][..]], vec![0, 1]));
    let arrays = [12_i64, 8, 4, 1, 9, 7];
    let whole: Vec<u8> = arrays.iter().flat_map(|count| count.to_le_bytes()).collect();
    let floats: Vec<u8> = arrays.iter().flat_map(|&count| (count as f32).to_le_bytes()).collect();
    assert_eq!(parse(npy("<i8", "(2, 3)", &whole)).unwrap(), load);
    assert_eq!(parse(npy("<f4", "(2, 3)", &floats)).unwrap(), load);
}

#[test]
fn rows_keep_the_numbers_of_layers_and_may_leave_pairs_out() {
    let load = parse("layer_id,expert_id,count\n3,0,120\n3,1,80\n3,3,44\n4,0,7\n4,2,90\n4,3,31\n").unwrap();
    assert_eq!(
        (counts(&load), load.layer_ids()),
        (vec![&[120, 80, 0, 44][..], &[7, 0, 90, 31]], &[3, 4][..])
    );
    for same in [
        "\u{feff}# by hand\nLayer ID\t Expert\tnum_tokens\n3\t0\t120\n\n4\t2\t90\n4\t3\t31\n4\t0\t7\n3\t3\t44\n3\t1\t80",
        "count;\"Layer\";note;\"Expert Index\";\r\n120;3;x;0;\r\n80;3;;1;\r\n44.0;3;;3;\r\n7;4;;0;\r\n90;4;;2;\r\n31;4;;3;\r\n",
        "{\"layer\": 3, \"expert\": 0, \"count\": 120}\n{\"layer\": 3, \"expert\": 1, \"count\": 80.0}\n{\"layer\": 3, \"expert\": 3, \"count\": 44}\n\
         {\"expert\": 0, \"layer\": 4, \"count\": 7}\n{\"layer\": 4, \"expert\": 2, \"count\": 90}\n{\"layer\": 4, \"expert\": 3, \"count\": 31}",
        r#"[{"layer_idx": 3, "expert_idx": 0, "tokens": 120}, {"layer_idx": 3, "expert_idx": 1, "tokens": 80}, {"layer_idx": 3, "expert_idx": 3, "tokens": 44},
            {"layer_idx": 4, "expert_idx": 0, "tokens": 7}, {"layer_idx": 4, "expert_idx": 2, "tokens": 90}, {"layer_idx": 4, "expert_idx": 3, "tokens": 31}]"#,
    ] {
        assert_eq!(parse(same).unwrap(), load, "{same}");
    }
    let steps = parse("step,layer,expert,count\n10,0,0,1\n10,0,1,2\n20,0,1,5\n").unwrap();
    assert_eq!(
        (counts(&steps), steps.steps(), steps.window(1..2).unwrap().logical_count),
        (vec![&[1, 7][..]], vec![0, 1], vec![vec![0, 5]])
    );
}

/// Whole tables, layers and windows, a record each: lines or a list.
#[test]
fn records_hold_a_table_or_a_layer_each() {
    let load = parse(r#"{"3": [12, 8, 4], "5": [1, 9, 7]}"#).unwrap();
    let of_layers =
        [r#"{"layer": 3, "counts": [12, 8, 4]}"#, r#"{"moe_layer": 5, "loads": {"1": 9, "2": 7, "0": 1}}"#];
    for same in [
        of_layers.join("\n"),
        format!("\n{}\n\n", of_layers.join("\r\n")),
        format!("[{}]", of_layers.join(",\n")),
        r#"{"layer": 3, "rank": 0, "count": [10, 8, 0]}
           {"layer": 5, "rank": 0, "count": [1, 9, 7]}
           {"layer": 3, "rank": 1, "count": [2, 0, 4]}"#
            .to_owned(),
    ] {
        assert_eq!(parse(&same).unwrap(), load, "{same}");
    }
    assert_eq!(parse(r#"{"layer": 3, "counts": [12, 8]}"#).unwrap().layer_ids(), [3], "one record alone");
    assert_eq!(counts(&parse("[12, 8, 4]\n[1, 9, 7]\n").unwrap()), counts(&load), "a line a layer");
    for windows in [
        "{\"step\": 10, \"loads\": [[1, 2], [3, 4]]}\n{\"step\": 20, \"loads\": [[5, 0], [0, 6]]}\n",
        "[[1, 2], [3, 4]]\n[[5, 0], [0, 6]]",
        "{\"0\": [1, 2], \"1\": [3, 4]}\n{\"0\": [5, 0], \"1\": [0, 6]}",
        "{\"layer\": 0, \"step\": 4, \"counts\": [1, 2]}\n{\"layer\": 1, \"step\": 4, \"counts\": [3, 4]}\n\
         {\"layer\": 0, \"step\": 8, \"counts\": [5]}\n{\"layer\": 1, \"step\": 8, \"counts\": [0, 6]}",
    ] {
        let load = parse(windows).unwrap();
        assert_eq!((counts(&load), load.steps()), (vec![&[6, 2][..], &[3, 10]], vec![0, 1]), "{windows}");
    }
    let layer = r#"{"layer": 3, "counts": [1, 2]}"#;
    refused(format!("{layer}\n{layer}"), "made-up:2: layer 3, expert 0 has a row already");
    refused(format!("{layer}\n{{\"counts\": [[1]]}}"), "made-up:2: another kind than before");
    refused(
        format!("{layer}\n{{\"layer\": 4, \"counts\": [1, NaN]}}"),
        "made-up:2: expert 1 of `counts` is NaN",
    );
    refused(
        format!("{layer}\n{{\"layer\": 4.5, \"counts\": [1]}}"),
        "made-up:2: `layer` is 4.5: give a whole",
    );
    refused(format!("{layer}\n{{\"layer\": 4, \"total\": 1}}"), "made-up:2: no `expert`");
    refused(
        format!("[{layer}, {{\"layer\": 4, \"counts\": [[1]]}}]"),
        "entry 1: layer 4, expert 0 is a list",
    );
    refused("{\"loads\": [[1]]}\n{\"loads\": [[1], [2]]}", "made-up:2: layers [0, 1] where others have [0]");
    refused("{\"loads\": [[1]]}\n{\"loads\": [[1, 2]]}", "step 1 has 1 layers of 2 experts");
}

#[test]
fn wide_tables_have_a_layer_a_line() {
    let load = parse("[[12, 8, 4, 6], [1, 9, 7, 2]]").unwrap();
    for same in [
        "12,8,4,6\n1,9,7,2\n",
        "1.2e+01 8.0e+00 4.0e+00 6.0e+00\n1.0e+00 9.0e+00 7.0e+00 2.0e+00\n",
        "0,1,2,3\n12,8,4,6\n1,9,7,2",
        ",0,1,2,3\n0,12,8,4,6\n1,1,9,7,2\n",
        "layer;expert_0;expert_1;expert_2;expert_3;\n0;12;8;4;6;\n1;1;9;7;2;\n",
        "Layer\te3\te1\te0\te2\nlayer_0\t6\t8\t12\t4\nlayer_1\t2\t9\t1\t7\n",
    ] {
        assert_eq!(parse(same).unwrap(), load, "{same}");
    }
    assert_eq!(parse("layer,0,1\n3,5,6\n4,7,8\n").unwrap().layer_ids(), [3, 4]);
    let steps = parse("step,0,1\n7,5,6\n7,1,2\n8,1,0\n8,0,1\n").unwrap();
    assert_eq!((counts(&steps), steps.steps()), (vec![&[6, 6][..], &[1, 3]], vec![0, 1]));
    refused("0,12,8,4\n1,9,7,2\n", "made-up:1: the first column counts up: are these layers? give a header");
    refused("layer,0,1,total\n0,1,2,3\n", "made-up:1: not JSON, and column `total` is no expert's");
    refused("expert,layer_0,layer_1\n0,1,2\n", "column `expert` is no expert's");
    refused("layer,e0,e1,e1\n0,1,2,3\n", "two columns of expert 1");
    refused("layer,0,1\n0,1,x\n", "made-up:2: layer 0, expert 1 is `x`: give a number");
    refused("layer,0,1\n0,1\n", "made-up:2: 2 fields where the first line has 3");
    refused("layer,0,1\n0,1,2\n0,1,2\n", "made-up:3: layer 0, expert 0 has a row already");
    refused("layer,0,1\n", "made-up:1: no rows");
    refused("what is this\n", "made-up:1: not JSON, and column `what` is no expert's");
}

#[test]
fn wrong_rows_are_named_by_line() {
    let rows = |body: &str| format!("layer,expert,count\n3,0,12\n{body}");
    refused(rows("3,0,12\n"), "made-up:3: layer 3, expert 0 has a row already");
    refused(rows("3,x,12\n"), "made-up:3: `expert` is `x`: give a number");
    refused(rows("3,1.5,12\n"), "made-up:3: `expert` is 1.5: give a whole number from 0 to 4095");
    refused(rows("-3,1,12\n"), "made-up:3: `layer` is -3: give a whole number");
    refused(rows("3,4096,12\n"), "made-up:3: `expert` is 4096: give a whole number from 0 to 4095");
    refused(rows("3,1,\n"), "made-up:3: `count` is ``: give a number");
    refused(rows("3,1\n"), "made-up:3: 2 fields where the first line has 3");
    refused(
        rows("3,1"),
        "made-up:3: 2 fields where the first line has 3; the file ends in this line: was it cut?",
    );
    refused(rows("3,1,2,9\n"), "made-up:3: 4 fields where the first line has 3");
    refused(rows("3,1,nan\n"), "layer 3, expert 1 has NaN tokens");
    refused(rows("3,1,-2\n"), "layer 3, expert 1 has -2 tokens");
    refused("layer,expert\n0,1", "made-up:1: no column `count`");
    refused("layer,expert,count,tokens\n", "made-up:1: two columns for `count`, `count` and `tokens`");
    refused("layer,expert,count\n", "made-up:1: no rows");
    refused("3,0,12\n3,1,4\n", "made-up:1: 3 columns without a header; give a header layer,expert,count");
    refused(
        "{\"layer\": 3, \"expert\": 0, \"count\": 1}\n{\"layer\": 3, \"expert\": 0, \"count\": 2}\n",
        "made-up:2: layer 3, expert 0 has a row",
    );
    refused("{\"layer\": 3, \"expert\": 0, \"count\": 1}\n{\"layer\": 3, \"exp", "was the file cut?");
}

#[test]
fn wrong_tables_are_named_by_layer_and_expert() {
    refused(
        r#"{"logical_count": [[NaN, 1.0], [1.0, 2.0]]}"#,
        "layer 0, expert 0 of `logical_count` is NaN, not a number",
    );
    refused("[[1, 2], [3, Infinity]]", "layer 1, expert 1 is Infinity, not a number");
    refused("[3, NaN]", "expert 1 is NaN");
    refused("[[1, null], [3, 4]]", "layer 0, expert 1 is null, not a number");
    refused("[[1, \"2\"], [3, 4]]", "layer 0, expert 1 is text, not a number");
    refused("[[1, 2], [3, -4]]", "layer 1, expert 1 has -4 tokens; give a number from 0 to 2^53");
    refused("[[1, 1e300]]", "layer 0, expert 1 has 1");
    refused("[[1, 2], 3]", "layer 1 is no list");
    refused("[[[1, 2]], 3]", "step 1 is no list");
    refused("[[1, 2], [3, [4]]]", "layer 1, expert 1 is a list");
    refused("[[[[1]]]]", "4 levels of lists");
    refused("[[1, 2], [3]]", "layer 1 has 1 experts, the first layer 2");
    refused("[]", "made-up");
    refused("[[1, 2],]", "not JSON: expected value at line 1 column 9");
    refused("[[1, 2], [3", "was the file cut?");
    refused("{\"logical_count\": [[1, 2],\n[3", "was the file cut?");
    refused(r#"{"logical_count": [[1]], "logical_count": [[2]]}"#, "`logical_count` twice");
    refused(r#"{"3": [1], "layer3": [2]}"#, "layer 3, expert 0 has a row already");
    refused("[[0, 0.0], [0, 0]]", "a record without tokens");
    refused(b"\x1F\x8B\x08\x00", "a gzip file");
}

#[test]
fn doubtful_records_are_told() {
    assert_eq!(warned("[[1, 2, 3, 4], [1, 1, 1, 0]]"), [""; 0]);
    assert_eq!(
        warned("[[1, 2], [0, 0], [0, 0]]"),
        ["2 of 3 layers without tokens: any placement is as good for them"]
    );
    assert_eq!(
        warned("[[0, 0, 3, 4, 0, 0], [0, 0, 1, 1, 0, 0]]"),
        ["only experts 2 to 3 of 6 have tokens, in every layer: is it the record of one rank alone?"]
    );
    let line = r#"{"step":0,"layer":0,"rank":3,"top_indices":[[0,2],[1,3]]}"#;
    assert_eq!(warned(line), ["every row is of rank 3: a record of one rank alone"]);
    assert_eq!(warned(&format!("{line}\n{}", line.replace("3,\"top", "1,\"top"))), [""; 0]);
}
