//! How far results can be trusted: by what nominal rates have been off, or the band of a profile.

use super::serving::{TOO_MANY, TOO_MANY_IN_TURN};
use super::{LAYERS_LONGER, LONGER};
use serde::{Deserialize, Serialize};
use topology::{Hardware, Provenance};

/// How far what is said of some hardware can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// Whether all rates are nominal, so that times are lower and rates upper bounds.
    pub upper_bound: bool,
    /// How many times as long measured kernels took as nominal rates say: least and most of the tables' medians.
    pub kernels_took: [f64; 2],
    /// The same of whole layers.
    pub layers_took: [f64; 2],
    /// How many times the tokens that servers made nominal rates say, everything overlapping: least and most.
    pub servers_said: [f64; 2],
    /// The same where one part goes after the other.
    pub servers_said_in_turn: [f64; 2],
    /// What of the profile's kind is within it in nine of ten, as a share; `None` on nominal rates, and where nothing was held out.
    pub band: Option<f64>,
    /// What the band is of: `dispatch and combine`, `whole layers`, `steps of servers`.
    pub band_of: Option<String>,
    /// All of it in a line.
    pub text: String,
}

/// How far what is said on `hardware` can be trusted, from `railyard trust`'s own tables and the profile's held-out errors.
#[must_use]
pub fn trust(hardware: &Hardware) -> Trust {
    let (kernels, layer, serving) = (&hardware.kernels, &hardware.layer, &hardware.serving);
    let (of, rest, provenance) = match (kernels, layer, serving) {
        (_, _, Some(serving)) => ("steps of servers", "no part hides another", Some(&serving.provenance)),
        (_, Some(layer), _) => {
            ("whole layers", "attention and all else on nominal rates", Some(&layer.provenance))
        }
        (Some(kernels), _, _) => {
            ("dispatch and combine", "compute on nominal rates", Some(&kernels.provenance))
        }
        (None, None, None) => ("", "", None),
    };
    let band = provenance.and_then(band);
    let text = match (provenance, band) {
        (None, _) => nominal(),
        (Some(from), None) => format!("no band: {}; {rest}", from.told()),
        (Some(from), Some(band)) if serving.is_some() => format!(
            "{of}: what was left out was within {:.0}%, of two rows ({}); {rest}",
            band * 100.0,
            from.told()
        ),
        (Some(from), Some(band)) => {
            format!("{of} within {:.0}% in nine of ten ({}); {rest}", band * 100.0, from.told())
        }
    };
    Trust {
        upper_bound: provenance.is_none(),
        kernels_took: LONGER,
        layers_took: LAYERS_LONGER,
        servers_said: TOO_MANY,
        servers_said_in_turn: TOO_MANY_IN_TURN,
        band,
        band_of: band.map(|_| of.to_owned()),
        text,
    }
}

/// The larger of the 90th percentiles of what was fitted and what was left out.
fn band(of: &Provenance) -> Option<f64> {
    of.is_held_out().then(|| of.held_out[2].max(of.fitted[2]))
}

fn nominal() -> String {
    format!(
        "nominal rates: an upper bound on speed; measured kernels took {} to {} times as long, whole layers {} to {}; nominal rates say {} to {} times the \
         tokens that servers made (railyard trust)",
        LONGER[0], LONGER[1], LAYERS_LONGER[0], LAYERS_LONGER[1], TOO_MANY[0], TOO_MANY[1],
    )
}
