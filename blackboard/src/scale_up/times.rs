//! From copies to time: the all-to-all on two fabrics, its slowdown by further racks, and what the fullest port adds.

use moe::{DispatchScheme, RowBytes};
use topology::{A2aLinks, Fabric, LinkSpec, PhaseLinks};

use super::CopiesPerToken;
use crate::units::{Seconds, Tokens};

/// How long one layer's all-to-all takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct A2aTime {
    /// Rows to the experts.
    pub dispatch: Seconds,
    /// Results on their way back.
    pub combine: Seconds,
}

impl A2aTime {
    /// Both phases, one after the other.
    #[must_use]
    pub fn total(&self) -> Seconds {
        self.dispatch + self.combine
    }
}

/// The all-to-all with both fabrics at work at once: per phase `max(t_u + a_u, t_o + a_o)`, hierarchical
/// `max(t_u + a_u, t_o + a_o + a_u)`.
///
/// A port sends `copies * T` rows in a phase, `t = copies * T * b / W`; the fabrics overlap, so the slower
/// one is the time. Where uplinks are oversubscribed X to 1, a rank's part of its rack's is `W / X`, and the way out takes
/// `X` times as long. Each fabric that carries anything adds its latency `a`, as the last row still has to
/// travel; hierarchical rows that cross travel on inside the rack, so that both latencies add up. Real ports are
/// uneven: the fullest one takes longer. Source: S1, S2 and T with bytes counted as in V3 and EP, one latency a hop.
///
/// ```
/// # use blackboard::{CopiesPerToken, scale_up::a2a_time, units::Tokens};
/// # use moe::{DispatchScheme, RowBytes};
/// # use topology::Hardware;
/// // One NVL72, 32 tokens a GPU, 7.889 copies a token: 6.03 us at one and two bytes an element.
/// let copies = CopiesPerToken { intra: 8.0 * 71.0 / 72.0, inter: 0.0 };
/// let fabric = Hardware::preset("gb200")?.fabric().without_latency();
/// let bytes = RowBytes { dispatch: 7168, combine: 2 * 7168 };
/// let time = a2a_time(DispatchScheme::Flat, copies, Tokens(32.0), bytes, &fabric);
/// assert_eq!(format!("{:.2}", time.total().as_micros()), "6.03");
/// # Ok::<(), topology::HardwareError>(())
/// ```
pub fn a2a_time(
    scheme: DispatchScheme,
    copies: CopiesPerToken,
    tokens_per_rank: Tokens,
    row_bytes: RowBytes,
    fabric: &Fabric,
) -> A2aTime {
    a2a_time_on(scheme, copies, tokens_per_rank, row_bytes, &A2aLinks::nominal(*fabric))
}

/// As [`a2a_time`] on each phase's own links, and no phase shorter than its floor (see [`topology::KernelProfile`]).
pub fn a2a_time_on(
    scheme: DispatchScheme,
    copies: CopiesPerToken,
    tokens_per_rank: Tokens,
    row_bytes: RowBytes,
    links: &A2aLinks,
) -> A2aTime {
    a2a_time_through(scheme, copies, copies.inter, tokens_per_rank, row_bytes, links)
}

/// As [`a2a_time_on`] where ports differ: `copies` are the fullest port's, `uplink` those that cross for each rank of the fullest rack.
///
/// The way out takes `max(copies.inter, X uplink) T b / W`, X the oversubscription.
pub fn a2a_time_through(
    scheme: DispatchScheme,
    copies: CopiesPerToken,
    uplink: f64,
    tokens_per_rank: Tokens,
    row_bytes: RowBytes,
    links: &A2aLinks,
) -> A2aTime {
    let forwards = scheme == DispatchScheme::Hierarchical;
    // At work, and the latency: zero where nothing is carried.
    let link_time = |copies: f64, bytes: u64, link: LinkSpec| {
        let port = Seconds(copies * tokens_per_rank.0 * bytes as f64 / link.rate.bytes_per_s() as f64);
        let latency = if port > Seconds::ZERO { link.latency.as_micros_f64() * 1e-6 } else { 0.0 };
        (port, Seconds(latency))
    };
    let phase = |bytes, links: PhaseLinks| {
        let (up, up_latency) = link_time(copies.intra, bytes, links.fabric.scale_up);
        let shared = link_time(uplink, bytes, links.fabric.scale_out_share());
        let (out, out_latency) = link_time(copies.inter, bytes, links.fabric.scale_out);
        let (out, out_latency) = (out.max(shared.0), out_latency.max(shared.1));
        let onward = if forwards && out > Seconds::ZERO { up_latency } else { Seconds::ZERO };
        let time = (up + up_latency).max(out + out_latency + onward);
        if time > Seconds::ZERO { time.max(Seconds(links.floor.as_micros_f64() * 1e-6)) } else { time }
    };
    A2aTime {
        dispatch: phase(row_bytes.dispatch, links.dispatch),
        combine: phase(row_bytes.combine, links.combine),
    }
}

/// How many times slower `racks` racks are than one, flat, with the same tokens a rank and overlapping
/// fabrics: `max(1/R, beta (R-1)/R G/(G-1))`.
///
/// One rack sends k (G-1)/G copies on scale-up ports. R racks send 1/R of them there, and k (R-1)/R copies on
/// scale-out ports that are beta times slower; divide. For the same global batch divide by R once more.
/// Source: T, S1 and S2 say "half the traffic at an eighth of the speed", which is 4 and not 8.
///
/// ```
/// # use blackboard::scale_up::slowdown_flat;
/// assert_eq!(format!("{:.2}", slowdown_flat(2, 72, 8.0)), "4.06");
/// assert_eq!(format!("{:.3}", slowdown_flat(2, 72, 1.0)), "0.507");
/// ```
///
/// Infinite for several racks of one rank: a single rank has no all-to-all to compare with.
pub fn slowdown_flat(racks: u32, ranks_per_rack: u32, beta: f64) -> f64 {
    crossing_share(racks, ranks_per_rack, beta).max(1.0 / f64::from(racks.max(1)))
}

/// As [`slowdown_flat`] with fabrics that take turns: `1/R + beta (R-1)/R G/(G-1)`, 4.56 for two NVL72 at 8.
pub fn slowdown_flat_serial(racks: u32, ranks_per_rack: u32, beta: f64) -> f64 {
    crossing_share(racks, ranks_per_rack, beta) + 1.0 / f64::from(racks.max(1))
}

fn crossing_share(racks: u32, ranks_per_rack: u32, beta: f64) -> f64 {
    if racks <= 1 {
        return 0.0;
    }
    let (r, g) = (f64::from(racks), f64::from(ranks_per_rack));
    beta * (r - 1.0) / r * g / (g - 1.0)
}

/// The throttle up to which the scale-out ports of `copies` are no slower than the scale-up ports of `base`
/// (the same tokens a rank in one rack): `base.intra / copies.inter`; infinite if nothing crosses.
///
/// Both carry rows of the same bytes: `copies.inter * beta = base.intra`. Between two NVL72 it is 1.97 for
/// flat and 7.6 for hierarchical against dedup in one rack, so that T's throttle of 8 lies just above the
/// latter.
///
/// ```
/// # use blackboard::{CopiesPerToken, scale_up::break_even_throttle};
/// let one_rack = CopiesPerToken { intra: 8.0 * 71.0 / 72.0, inter: 0.0 };
/// let two_racks = CopiesPerToken { intra: 4.0 * 71.0 / 72.0, inter: 4.0 };
/// assert_eq!(format!("{:.2}", break_even_throttle(one_rack, two_racks)), "1.97");
/// ```
pub fn break_even_throttle(base: CopiesPerToken, copies: CopiesPerToken) -> f64 {
    if copies.inter == 0.0 { f64::INFINITY } else { base.intra / copies.inter }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use topology::{Oversubscription, Picos, Rate};

    use super::*;
    use crate::scale_up::port_load;

    fn fabric(scale_up: u64, scale_out: u64, latency: u64) -> Fabric {
        let link = |rate| LinkSpec { rate: Rate::new(rate).expect("nonzero"), latency: Picos(latency) };
        Fabric::new(link(scale_up), link(scale_out))
    }

    const BYTES: RowBytes = RowBytes { dispatch: 1_000, combine: 2_000 };

    #[test]
    fn only_a_fabric_that_carries_something_adds_latency_and_a_forwarder_both() {
        let fabric = fabric(1_000_000_000, 1_000_000_000, 5_000_000);
        let inside = CopiesPerToken { intra: 1.0, inter: 0.0 };
        let both = CopiesPerToken { intra: 1.0, inter: 1.0 };
        let time = |scheme, copies, tokens| {
            let time = a2a_time(scheme, copies, Tokens(tokens), BYTES, &fabric);
            [time.dispatch, time.combine].map(|phase| phase.as_micros().round())
        };
        for scheme in DispatchScheme::ALL {
            assert_eq!(time(scheme, inside, 1.0), [6.0, 7.0]);
            assert_eq!(time(scheme, both, 0.0), [0.0, 0.0]);
        }
        assert_eq!(time(DispatchScheme::Dedup, both, 1.0), [6.0, 7.0]);
        assert_eq!(time(DispatchScheme::Hierarchical, both, 1.0), [11.0, 12.0]);
    }

    #[test]
    fn a_way_out_through_an_uplink_takes_as_many_times_as_long() {
        let links = fabric(1_000_000_000, 1_000_000_000, 0);
        let links = Fabric { oversubscription: Oversubscription::new(4.0).expect("a ratio"), ..links };
        let both = CopiesPerToken { intra: 1.0, inter: 1.0 };
        let time = |uplink| {
            let links = A2aLinks::nominal(links);
            let time = a2a_time_through(DispatchScheme::Flat, both, uplink, Tokens(1.0), BYTES, &links);
            [time.dispatch, time.combine].map(|phase| phase.as_micros().round())
        };
        assert_eq!(time(1.0), [4.0, 8.0], "all ports alike");
        assert_eq!(time(0.5), [2.0, 4.0], "the others of the rack send nothing");
        assert_eq!(time(0.1), [1.0, 2.0], "the fullest port decides");
    }

    #[test]
    fn degenerate_clusters_have_their_limits() {
        assert_eq!(slowdown_flat(1, 72, 8.0), 1.0);
        assert_eq!(slowdown_flat(1, 1, 8.0), 1.0);
        assert_eq!(slowdown_flat(2, 1, 8.0), f64::INFINITY);
        let nothing = CopiesPerToken { intra: 1.0, inter: 0.0 };
        assert_eq!(break_even_throttle(nothing, nothing), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn many_racks_tend_to_the_throttle(g in 2u32..100, beta in 1.0f64..100.0) {
            let limit = beta * f64::from(g) / f64::from(g - 1);
            prop_assert!((slowdown_flat(60_000, g, beta) / limit - 1.0).abs() < 1e-4);
        }

        #[test]
        fn the_closed_form_is_the_ratio_of_two_times(
            r in 2u32..9, g in 2u32..80, beta in 1u64..100, k in 1u32..9,
        ) {
            let fabric = fabric(900_000_000_000 * beta, 900_000_000_000, 0);
            let (rr, gg, k) = (f64::from(r), f64::from(g), f64::from(k));
            let one = CopiesPerToken { intra: k * (gg - 1.0) / gg, inter: 0.0 };
            let many = CopiesPerToken { intra: one.intra / rr, inter: k * (rr - 1.0) / rr };
            let ratio = |time: &dyn Fn(CopiesPerToken) -> A2aTime| time(many).total() / time(one).total();
            let overlapped = ratio(&|copies| a2a_time(DispatchScheme::Flat, copies, Tokens(32.0), BYTES, &fabric));
            // With fabrics that take turns the ports' times add up.
            let in_turn = ratio(&|copies| {
                let [up, out] = [CopiesPerToken { inter: 0.0, ..copies }, CopiesPerToken { intra: 0.0, ..copies }]
                    .map(|copies| a2a_time(DispatchScheme::Flat, copies, Tokens(32.0), BYTES, &fabric));
                A2aTime { dispatch: up.dispatch + out.dispatch, combine: up.combine + out.combine }
            });
            let beta = beta as f64;
            prop_assert!((overlapped / slowdown_flat(r, g, beta) - 1.0).abs() < 1e-9);
            prop_assert!((in_turn / slowdown_flat_serial(r, g, beta) - 1.0).abs() < 1e-9);
        }

        #[test]
        fn at_the_break_even_both_ports_are_equally_long_at_work(
            base in 0.1f64..100.0, inter in 0.1f64..100.0,
        ) {
            let base = CopiesPerToken { intra: base, inter: 0.0 };
            let copies = CopiesPerToken { intra: 0.0, inter };
            let beta = break_even_throttle(base, copies);
            prop_assert!((port_load(copies, beta, 8) / port_load(base, beta, 8) - 1.0).abs() < 1e-12);
        }
    }
}
