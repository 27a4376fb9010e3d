//! The table that nccl-tests prints: the same columns and widths, every line but those of data beginning with `#`.
//!
//! Ours names itself on the first lines and says what is sent. In-place columns repeat the others, since programs count columns; where
//! nccl-tests can't check an all-to-all in place it prints N/A, and so does this. Widths and number formats are those of its `util.cu`.

use super::even::{Collective, Even};
use super::raw::Wall;
use crate::layer::{BackendKind, Record};

/// What a table is about.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What is sent.
    pub collective: Collective,
    /// Smallest and largest size, bytes.
    pub sizes: (u64, u64),
    /// Each size over the one before.
    pub factor: u32,
    /// Rounds before the measured ones, and measured ones at most.
    pub iterations: (u32, u32),
    /// Where it runs.
    pub backend: BackendKind,
    /// Whether ports hold nothing back, and times are of the wall.
    pub raw: bool,
    /// Ranks of each rack.
    pub rack_sizes: Vec<u32>,
    /// The emulated accelerator.
    pub hardware: String,
    /// Further lines for people: what links there are.
    pub notes: Vec<String>,
}

/// One size, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Bytes of a rank.
    pub size: u64,
    /// Elements of a pair.
    pub count: u64,
    /// Microseconds of each round.
    pub times_us: Vec<f64>,
    /// Elements that were not as they must be; `None` where nothing was sent.
    pub wrong: Option<u64>,
    /// Bus bandwidth over algorithm bandwidth.
    pub bus_share: f64,
    /// What was wrong, or why the run doesn't count.
    pub problem: Option<String>,
}

impl Line {
    /// That of `record`, its times as `wall` has them.
    #[must_use]
    pub fn new(even: &Even, record: &Record, wall: Wall) -> Self {
        let rounds = record.detail.as_ref().map(|detail| detail.round_us.combine.clone());
        let times = rounds.filter(|times| !times.is_empty()).unwrap_or_else(|| vec![record.combine_us]);
        // A difference is told of one token or pair; how many more there are is not known.
        let wrong = if record.verified { 0 } else { even.count() * u64::from(even.ranks()) };
        Self {
            size: even.size(),
            count: even.count(),
            times_us: times.into_iter().map(|time| wall.us(time)).collect(),
            wrong: (record.backend != BackendKind::Analytic).then_some(wrong),
            bus_share: even.collective().bus_share(even.ranks()),
            problem: record.problem.clone(),
        }
    }

    /// The mean of the rounds, microseconds.
    #[must_use]
    pub fn time_us(&self) -> f64 {
        self.times_us.iter().sum::<f64>() / self.times_us.len().max(1) as f64
    }

    /// GB/s.
    #[must_use]
    pub fn alg_gb_per_s(&self) -> f64 {
        let time = self.time_us();
        if time > 0.0 { self.size as f64 / time / 1e3 } else { 0.0 }
    }

    /// GB/s.
    #[must_use]
    pub fn bus_gb_per_s(&self) -> f64 {
        self.alg_gb_per_s() * self.bus_share
    }
}

/// What stands above the data.
#[must_use]
pub fn header(sweep: &Sweep) -> String {
    let (min, max) = sweep.sizes;
    let (warmup, iterations) = sweep.iterations;
    let mut lines = vec![
        format!(
            "railyard bench {}: the columns of nccl-tests; no NCCL and no GPU took part",
            env!("CARGO_PKG_VERSION")
        ),
        format!("Collective test starting: {}", sweep.collective.name()),
        format!(
            "nThread 1 nGpus 1 minBytes {min} maxBytes {max} step: {}(factor) warmup iters: {warmup} iters: {iterations} agg iters: 1 validation: 1 graph: 0 unalign: 0",
            sweep.factor
        ),
        String::new(),
    ];
    lines.extend(sent(sweep).into_iter().chain(sweep.notes.iter().cloned()));
    lines.push(String::new());
    lines.push("Using devices".to_owned());
    let pid = std::process::id();
    for (rank, host, device) in devices(&sweep.rack_sizes) {
        lines.push(format!(
            " Rank {rank:>2} Group  0 Pid {pid:>6} on {host:>10} device {device:>2} [0000:00:00] {}",
            name_of(&sweep.hardware)
        ));
    }
    lines.push(String::new());
    let text: String = lines
        .iter()
        .map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") })
        .collect();
    let gap = format!("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", "", "", "", "", "");
    let half =
        |heads: [&str; 4]| format!("  {:>7}  {:>6}  {:>6}  {:>6}", heads[0], heads[1], heads[2], heads[3]);
    let [names, units] = [["time", "algbw", "busbw", "#wrong"], ["(us)", "(GB/s)", "(GB/s)", ""]].map(half);
    let left = |columns: [&str; 5]| {
        let [size, count, kind, redop, root] = columns;
        format!("# {size:>10}  {count:>12}  {kind:>8}  {redop:>6}  {root:>6}")
    };
    text + &format!(
        "{gap}           out-of-place                       in-place          \n{}{names}{names} \n{}{units}{units} \n",
        left(["size", "count", "type", "redop", "root"]),
        left(["(B)", "(elements)", "", "", ""]),
    )
}

/// What is sent, and whose time it is.
fn sent(sweep: &Sweep) -> Vec<String> {
    let what = match sweep.collective {
        Collective::Link => {
            "sent: BF16 rows of up to 8 KiB, the size from each of two ranks to the other at once (a link both ways)"
        }
        Collective::AllToAll => {
            "sent: BF16 rows of up to 8 KiB, equal bytes from every rank to every rank (the combine of tokens that went to an expert of each); what a rank has for itself is in the size and stays"
        }
    };
    let time = match (sweep.raw, sweep.backend) {
        (true, _) => {
            "time: measured, microseconds of the wall, from the moment ranks are told: ports hold nothing back, this is what processes and QUIC carry here"
        }
        (_, BackendKind::Quic) => {
            "time: measured over QUIC, emulated microseconds, the slowest rank's; mean of the rounds"
        }
        (_, BackendKind::Sim) => {
            "time: simulated, emulated microseconds, the slowest rank's; rounds are alike, so that one is run"
        }
        (_, BackendKind::Analytic) => "time: closed form, emulated microseconds; nothing was sent",
    };
    vec![what.to_owned(), time.to_owned()]
}

/// Rank, host and device of every rank: racks stand for hosts.
pub(super) fn devices(rack_sizes: &[u32]) -> impl Iterator<Item = (usize, String, u32)> {
    let of_rack = |(rack, &size): (usize, &u32)| (0..size).map(move |device| (format!("rack{rack}"), device));
    rack_sizes
        .iter()
        .enumerate()
        .flat_map(of_rack)
        .enumerate()
        .map(|(rank, (host, device))| (rank, host, device))
}

/// A device's name: emulated, lest anybody takes it for one.
pub(super) fn name_of(hardware: &str) -> String {
    format!("emulated-{hardware}")
}

/// A line of data.
#[must_use]
pub fn line(line: &Line) -> String {
    let numbers = format!(
        "  {}  {}  {}",
        number(line.time_us(), 7),
        number(line.alg_gb_per_s(), 6),
        number(line.bus_gb_per_s(), 6)
    );
    let wrong = line.wrong.map_or_else(|| "    N/A".to_owned(), |wrong| format!("  {wrong:>6}"));
    format!(
        "{:>12}  {:>12}  {:>8}  {:>6}  {:>6}{numbers}{wrong}{numbers}    N/A\n",
        line.size, line.count, "bfloat16", "none", -1
    )
}

/// What stands below the data.
#[must_use]
pub fn footer(collective: Collective, lines: &[Line]) -> String {
    let mean = mean_bus_gb_per_s(lines);
    let bad = failures(lines);
    let verdict = if bad == 0 { "OK" } else { "FAILED" };
    format!(
        "# {:<20} : {bad} {verdict}\n# {:<20} : {mean:.4} \n#\n# Collective test concluded: {}\n",
        "Out of bounds values",
        "Avg bus bandwidth",
        collective.name()
    )
}

/// Sizes at which something was not as it must be.
pub(super) fn failures(lines: &[Line]) -> usize {
    lines.iter().filter(|line| line.wrong.is_some_and(|wrong| wrong > 0)).count()
}

pub(super) fn mean_bus_gb_per_s(lines: &[Line]) -> f64 {
    lines.iter().map(Line::bus_gb_per_s).sum::<f64>() / lines.len().max(1) as f64
}

/// A number in `width` characters: two decimals, fewer as it grows, then an exponent.
fn number(value: f64, width: usize) -> String {
    let digits = format!("{:.0}", value.floor()).len();
    match digits {
        few if few < width - 2 => format!("{value:>width$.2}"),
        more if more < width - 1 => format!("{value:>width$.1}"),
        many if many < width + 1 => format!("{value:>width$.0}"),
        _ => format!("{value:>width$.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Line {
        let times_us = vec![214.5, 214.7];
        Line {
            size: 7_340_032,
            count: 229_376,
            times_us,
            wrong: Some(0),
            bus_share: 15.0 / 16.0,
            problem: None,
        }
    }

    /// The sample in nccl-tests' own format, character by character.
    #[test]
    fn a_line_is_as_nccl_tests_prints_it() {
        assert_eq!(
            line(&some()),
            "     7340032        229376  bfloat16    none      -1   214.60   34.20   32.07       0   214.60   34.20   32.07    N/A\n"
        );
        let closed = Line { wrong: None, ..some() };
        assert!(line(&closed).contains("32.07    N/A   214.60"));
        assert_eq!(
            [0.126, 99_999.0, 999_999.0, 1_234_567.0, 123_456_789.0].map(|value| number(value, 7)),
            ["   0.13", "99999.0", " 999999", "1234567", "  1.2e8"]
        );
    }

    #[test]
    fn every_line_but_data_begins_with_a_mark() {
        let sweep = Sweep {
            collective: Collective::AllToAll,
            sizes: (8, 64),
            factor: 2,
            iterations: (1, 5),
            backend: BackendKind::Sim,
            raw: false,
            rack_sizes: vec![2, 1],
            hardware: "gb200".to_owned(),
            notes: vec!["a note".to_owned()],
        };
        let text = header(&sweep) + &line(&some()) + &footer(sweep.collective, &[some()]);
        let data: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(data.len(), 1, "{text}");
        assert!(text.starts_with("# railyard bench "), "{text}");
        assert!(text.contains("#  Rank  2 Group  0 Pid "), "{text}");
        assert!(text.contains("device  0 [0000:00:00] emulated-gb200\n"), "{text}");
        assert!(text.contains("# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 32.06"), "{text}");
    }
}
