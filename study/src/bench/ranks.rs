//! Dispatch and combine by rank, in lines like those of DeepEP's tests.
//!
//! What a rank sends is counted, hops that it forwards included; rows for itself are not. Its time is the median over rounds, from the
//! common start to its last row. SU is scale-up, inside a rack; SO scale-out, between racks.

use super::raw::Wall;
use crate::layer::{CompareSpec, Detail, MatrixBy, PhaseBandwidth, Record};

/// Which of the two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankPhase {
    /// Tokens go out.
    Dispatch,
    /// Results come back.
    Combine,
}

impl RankPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "Dispatch",
            Self::Combine => "Combine",
        }
    }

    fn matrix(self, detail: &Detail) -> &[Vec<u64>] {
        match self {
            Self::Dispatch => &detail.dispatch_bytes,
            Self::Combine => &detail.combine_bytes,
        }
    }

    fn times(self, detail: &Detail) -> &[f64] {
        match self {
            Self::Dispatch => &detail.rank_us.dispatch,
            Self::Combine => &detail.rank_us.combine,
        }
    }

    fn bandwidth(self, record: &Record) -> Option<&PhaseBandwidth> {
        record.bandwidth.as_ref().map(|bandwidth| match self {
            Self::Dispatch => &bandwidth.dispatch,
            Self::Combine => &bandwidth.combine,
        })
    }

    fn whole_us(self, record: &Record) -> f64 {
        match self {
            Self::Dispatch => record.dispatch_us,
            Self::Combine => record.combine_us,
        }
    }
}

/// The configuration, and whose times they are.
#[must_use]
pub fn rank_header(spec: &CompareSpec, record: &Record, raw: bool) -> String {
    let sizes: Vec<String> = spec.rack_sizes.iter().map(u32::to_string).collect();
    let time = if raw { "of the wall, measured, ports hold nothing back" } else { "emulated" };
    format!(
        "[config] num_tokens={}, hidden={}, num_topk={}, num_experts={}, num_ranks={}, racks={}, scheme={}, placement={}, model={}, hardware={}, latency={}\n\
         [config] backend={}, microseconds {time}, bytes counted, rounds={}\n",
        spec.tokens,
        spec.shape.hidden,
        spec.shape.top_k,
        spec.shape.num_experts,
        record.ranks,
        sizes.join("+"),
        record.scheme,
        record.placement,
        spec.model.name,
        spec.hardware.name,
        record.latency,
        record.backend,
        record.samples,
    )
}

/// A line a rank, then all ranks; of a closed form the latter alone. Times as `wall` has them.
#[must_use]
pub fn rank_lines(record: &Record, phase: RankPhase, wall: Wall) -> String {
    let name = phase.name();
    let whole_us = wall.us(phase.whole_us(record));
    let Some(detail) = record.detail.as_ref() else {
        return format!("[all] {name} t={whole_us:.2} us (closed form: nothing was sent)\n");
    };
    let (matrix, times) = (phase.matrix(detail), phase.times(detail));
    let mut text = String::new();
    let mut rates = Vec::new();
    if detail.matrix_by == MatrixBy::Rank {
        let racks: Vec<usize> = rack_of(&detail.rack_sizes);
        for (rank, (row, &time)) in matrix.iter().zip(times).enumerate() {
            let time = wall.us(time);
            let (mut up, mut out) = (0, 0);
            for (to, bytes) in row.iter().enumerate().filter(|(to, _)| *to != rank) {
                *(if racks[rank] == racks[to] { &mut up } else { &mut out }) += bytes;
            }
            let rate = |bytes: u64| if time > 0.0 { bytes as f64 / time / 1e3 } else { 0.0 };
            rates.push(rate(up + out));
            text.push_str(&format!(
                "[rank {rank}] {name} bandwidth: {:.2} GB/s, median_t={time:.2} us | {:.2} GB/s (SO), {:.2} GB/s (SU), {} bytes\n",
                rate(up + out),
                rate(out),
                rate(up),
                up + out,
            ));
        }
    } else {
        text.push_str("[ranks] more than 1024: bytes are known by rack\n");
    }
    text + &all(record, phase, wall, &rates)
}

/// All ranks in two lines.
fn all(record: &Record, phase: RankPhase, wall: Wall, rates: &[f64]) -> String {
    let whole_us = wall.us(phase.whole_us(record));
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let mut text = format!("[all] {} t={whole_us:.2} us (slowest rank)", phase.name());
    if !rates.is_empty() {
        text.push_str(&format!(" | {least:.2} / {mean:.2} / {most:.2} GB/s (min / mean / max of ranks)"));
    }
    if let Some(bandwidth) = phase.bandwidth(record) {
        let share = if whole_us > 0.0 { phase.whole_us(record) / whole_us } else { 0.0 };
        let (alg, bus) = (bandwidth.alg_gb_per_s * share, bandwidth.bus_gb_per_s * share);
        text.push_str(&format!(" | algbw {alg:.2}, busbw {bus:.2} GB/s"));
        // What is unthrottled has no line.
        if wall.is_emulated() {
            text.push_str(&format!(
                " | ports: {:.0}% (SO), {:.0}% (SU) of the line at most",
                100.0 * bandwidth.scale_out.max_line_share,
                100.0 * bandwidth.scale_up.max_line_share,
            ));
        }
    }
    text + "\n"
}

/// The rack of each rank.
fn rack_of(sizes: &[u32]) -> Vec<usize> {
    sizes.iter().enumerate().flat_map(|(rack, &size)| std::iter::repeat_n(rack, size as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{BackendKind, GateChoice, LatencyChoice, compare_offline, configuration};
    use crate::scenario::Place;
    use moe::{DispatchScheme, Model};

    #[test]
    fn lines_by_rank_add_up_to_the_record() {
        let place = Place::named(Some("gb200")).expect("a preset");
        let spec = CompareSpec {
            rack_sizes: vec![2, 2],
            fabric: place.fabric,
            background: place.background,
            schemes: Some(vec![DispatchScheme::Hierarchical]),
            gates: Some(vec![GateChoice::Unlimited]),
            latencies: vec![LatencyChoice::Preset],
            backends: vec![BackendKind::Analytic, BackendKind::Sim],
            payload: false,
            detail: true,
            ..CompareSpec::new(Model::preset("lab-moe").expect("a preset"), place.hardware)
        };
        let rows = configuration(&spec, false).expect("valid");
        let report = compare_offline(&spec, &rows).expect("simulated");
        let [closed, record] = &report.rows[..] else { panic!("two records") };
        assert!(rank_lines(closed, RankPhase::Dispatch, Wall::EMULATED).starts_with("[all] Dispatch t="));
        let text =
            rank_header(&spec, record, false) + &rank_lines(record, RankPhase::Combine, Wall::EMULATED);
        let bytes = text.lines().filter(|line| line.starts_with("[rank ")).map(|line| {
            let word = line.split(' ').rev().nth(1).expect("bytes");
            word.parse::<u64>().expect("a number")
        });
        let detail = record.detail.as_ref().expect("asked for");
        assert_eq!(bytes.sum::<u64>(), detail.combine_bytes.iter().flatten().sum::<u64>());
        assert!(text.contains("[config] num_tokens=32, "), "{text}");
        assert!(text.contains(&format!("[all] Combine t={:.2} us", record.combine_us)), "{text}");
    }
}
