//! Words of a scenario: what is left out, what is said twice, what is misspelt.

use super::{Place, Racks, ScenarioError, named_model};
use crate::layer::LatencyChoice;
use topology::{Hardware, Picos};

#[test]
fn naming_the_default_changes_nothing() {
    assert_eq!(Place::named(None), Place::named(Some(Hardware::DEFAULT_PRESET)));
    assert_eq!(Place::named(None), Place::named(None).and_then(|place| place.throttled(Some(8.0))));
    assert_eq!(named_model(None), named_model(Some("deepseek-v3")));
    let place = Place::named(None).expect("a preset");
    assert_eq!(place.clone().into_hardware(), place.hardware);
    assert_eq!(place.clone().with_latency(LatencyChoice::Preset), place);
}

#[test]
fn a_throttle_is_of_every_pair_of_ports() {
    let place = Place::named(Some("h100-deepep-ll")).expect("a preset").throttled(Some(4.0)).expect("sound");
    assert_eq!(place.fabric.beta().round(), 4.0);
    for (name, kernel) in place.hardware.kernels.as_ref().expect("a profile").kernels() {
        assert_eq!(kernel.scale_up_bytes_per_s / kernel.scale_out_bytes_per_s, 4.0, "{name}");
    }
    let zero = place.with_latency(LatencyChoice::Zero);
    assert_eq!(zero.fabric.scale_out.latency, Picos::ZERO);
    for (name, kernel) in zero.hardware.kernels.expect("a profile").kernels() {
        assert_eq!((kernel.start_us, kernel.floor_us), (0.0, 0.0), "{name}");
    }
    let refused = Place::named(None).and_then(|place| place.throttled(Some(0.0))).expect_err("no throttle");
    assert_eq!(refused.word, "throttle");
}

#[test]
fn links_between_racks_are_shared_once_and_said_to_be() {
    let place = Place::named(Some("gb200")).expect("a preset");
    assert_eq!(place.clone().shared(Some(1.0), Some(0.0)), Ok(place.clone()), "nobody shares them");
    assert_eq!(place.clone().shared(None, None), Ok(place.clone()));
    assert!(place.told_of_sharing(&[8, 8]).is_empty());
    let rate = place.fabric.scale_out.rate.bytes_per_s();
    let shared = place.clone().shared(Some(4.0), Some(0.5)).expect("sound");
    assert_eq!(shared.fabric.scale_out.rate.bytes_per_s(), rate / 2);
    assert_eq!(shared.fabric.scale_out_share().rate.bytes_per_s(), rate / 8);
    assert_eq!(shared.clone().into_hardware().fabric(), shared.fabric);
    let told = shared.told_of_sharing(&[8, 6]);
    assert!(
        told[0].starts_with("a second job takes 50% of every link") && told[1].contains("4 to 1"),
        "{told:?}"
    );
    assert!(shared.told_of_sharing(&[16]).is_empty(), "one rack has no other");
    let measured = Place::named(Some("h100-deepep-ll")).expect("a preset");
    let halved = measured.clone().shared(None, Some(0.5)).expect("sound");
    let rate = |place: &Place| {
        place.hardware.kernels.as_ref().expect("a profile").dispatch.racks.scale_out_bytes_per_s
    };
    assert_eq!(rate(&halved) * 2.0, rate(&measured), "kernels as well");
    for (ratio, taken, word) in [(0.5, 0.0, "oversubscription"), (1.0, 1.0, "background")] {
        assert_eq!(place.clone().shared(Some(ratio), Some(taken)).expect_err("refused").word, word);
    }
}

#[test]
fn racks_follow_from_what_is_said() {
    let sizes = |racks: Option<u32>, ranks_per_rack: &[u32], ranks: Option<u32>| {
        Racks { racks, ranks_per_rack: ranks_per_rack.to_vec(), ranks }.sizes(2, 8)
    };
    for (racks, ranks_per_rack, ranks, expected) in [
        (None, &[][..], None, &[8, 8][..]),
        (Some(1), &[], None, &[8]),
        (None, &[3], None, &[3, 3]),
        (Some(3), &[2], None, &[2, 2, 2]),
        (None, &[5, 2], None, &[5, 2]),
        (Some(2), &[5, 2], Some(7), &[5, 2]),
        (None, &[], Some(7), &[4, 3]),
        (None, &[], Some(1), &[1]),
        (Some(4), &[], Some(8), &[2, 2, 2, 2]),
        (None, &[4], Some(12), &[4, 4, 4]),
    ] {
        assert_eq!(sizes(racks, ranks_per_rack, ranks), Ok(expected.to_vec()), "{racks:?} {ranks:?}");
    }
    for (racks, ranks_per_rack, ranks, word) in [
        (Some(3), &[5, 2][..], None, "ranks_per_rack"),
        (Some(3), &[], Some(8), "racks"),
        (Some(0), &[], Some(8), "racks"),
        (None, &[5], Some(8), "ranks"),
        (None, &[5, 2], Some(8), "ranks"),
        (Some(4_000_000_000), &[], None, "racks"),
    ] {
        let refused = sizes(racks, ranks_per_rack, ranks);
        assert!(matches!(&refused, Err(ScenarioError { word: found, .. }) if *found == word), "{refused:?}");
    }
}

#[test]
fn the_nearest_name_is_told() {
    let error = Place::named(Some("gb20")).expect_err("no preset").to_string();
    assert!(error.contains("did you mean `gb200`?"), "{error}");
    let error = named_model(Some("deepsek-v3")).expect_err("no preset").to_string();
    assert!(error.contains("did you mean `deepseek-v3`?"), "{error}");
}
