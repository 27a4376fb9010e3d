//! What an all-to-all's kernels make of the links: the mechanisms of measured kernels, and the links that a phase then meets.

use crate::{Fabric, LinkClass, LinkSpec, MeasuredRange, Picos, Rate};
use serde::{Deserialize, Serialize};

/// How a kernel lays out a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowFormat {
    /// FP8, an FP32 scale for each 128 elements, 16 bytes of origin: the wire's own rows out, as DeepEP's.
    Fp8Blocks,
    /// FP8 with one scale for the whole tensor.
    Fp8,
    /// BF16: the wire's own rows back.
    Bf16,
    /// FP4 with an FP8 scale for each 16 elements.
    Nvfp4,
}

impl RowFormat {
    /// Bytes of a row of `hidden` elements: 7,408, 7,168, 14,336 and 4,032 at 7168.
    #[must_use]
    pub fn bytes(self, hidden: u32) -> f64 {
        let elements = f64::from(hidden);
        match self {
            Self::Fp8Blocks => elements + 4.0 * (elements / 128.0).ceil() + 16.0,
            Self::Fp8 => elements,
            Self::Bf16 => 2.0 * elements,
            Self::Nvfp4 => elements / 2.0 + (elements / 16.0).ceil(),
        }
    }
}

/// What a kernel costs. Absent mechanisms are 0, which costs nothing.
///
/// With x the copies a token sends on the ports that decide, T the tokens of a rank, b the bytes of a row and P the time of the fullest
/// port, `P = T max(x_up b / W_up, x_out b / W_out)`, the kernel takes
///
/// ```text
/// x copy + max(floor, start + |token T, P| + fill r / (r + fill_rows))      r = T (x_up + x_out)
/// |h, P| = (h^q + P^q)^(1/q)                                               q = overlap
/// ```
///
/// and before it the exchange of counts among n ranks, `counts + log2(n) counts_doubling + T counts_token`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Launch, packing and the path of the first row, microseconds.
    pub start_us: f64,
    /// More of it for each copy that a token sends, one after the other: to other racks where there are, else in the rack. Microseconds.
    #[serde(default)]
    pub copy_us: f64,
    /// Least time: ranks wait for each other's counts beside the transfer. Microseconds.
    #[serde(default)]
    pub floor_us: f64,
    /// Filling the pipeline of buffers, in all, microseconds.
    #[serde(default)]
    pub fill_us: f64,
    /// Rows of a port at which half of it is paid.
    #[serde(default)]
    pub fill_rows: f64,
    /// Handling of a token whatever its copies (its own row, quantising, reducing), nanoseconds.
    #[serde(default)]
    pub token_ns: f64,
    /// How handling and transfer overlap: 1 is one after the other; the larger, the more the slower hides the other. 0 counts as 1.
    #[serde(default)]
    pub overlap: f64,
    /// Exchange of counts before the first row (notify, prepare), microseconds.
    #[serde(default)]
    pub counts_us: f64,
    /// More of it for each doubling of the ranks, which exchange in rounds, microseconds.
    #[serde(default)]
    pub counts_doubling_us: f64,
    /// More of it for each token, nanoseconds.
    #[serde(default)]
    pub counts_token_ns: f64,
    /// What the kernel reaches of the scale-up port.
    pub scale_up_bytes_per_s: f64,
    /// What it reaches of the scale-out port.
    pub scale_out_bytes_per_s: f64,
}

/// What a phase carries, of a rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelLoad {
    /// Ranks that the phase is among.
    pub ranks: f64,
    /// Copies of a token to ranks of the same rack, and to other racks.
    pub copies: [f64; 2],
    /// Tokens.
    pub tokens: f64,
    /// Bytes of a row.
    pub row_bytes: f64,
}

/// A kernel's time in parts, microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelTime {
    /// Exchange of counts.
    pub counts: f64,
    /// The kernel without its transfer.
    pub start: f64,
    /// Handling and transfer.
    pub transfer: f64,
    /// Its least time.
    pub floor: f64,
}

impl KernelTime {
    /// The kernel without the exchange of counts.
    #[must_use]
    pub fn kernel(&self) -> f64 {
        self.floor.max(self.start + self.transfer)
    }
}

impl Kernel {
    /// Port times of `load`, scale-up and scale-out, microseconds.
    fn ports(&self, load: &KernelLoad) -> [f64; 2] {
        let rates = [self.scale_up_bytes_per_s, self.scale_out_bytes_per_s];
        [0, 1].map(|at| load.copies[at] * load.tokens * load.row_bytes * 1e6 / rates[at])
    }

    /// What `load` takes.
    #[must_use]
    pub fn time(&self, load: &KernelLoad) -> KernelTime {
        let [up, out] = self.ports(load);
        let (port, handling) = (up.max(out), load.tokens * self.token_ns / 1e3);
        let (more, less) = (port.max(handling), port.min(handling));
        let q = self.overlap.max(1.0);
        let transfer = if less > 0.0 { more * (1.0 + (less / more).powf(q)).powf(1.0 / q) } else { more };
        let [in_rack, across] = load.copies;
        let copies = self.copy_us * if across > 0.0 { across } else { in_rack };
        let rows = load.tokens * (in_rack + across);
        let fill = if rows > 0.0 { self.fill_us * rows / (rows + self.fill_rows) } else { 0.0 };
        KernelTime {
            counts: self.counts_us
                + self.counts_doubling_us * load.ranks.log2()
                + load.tokens * self.counts_token_ns / 1e3,
            start: copies + self.start_us + fill,
            transfer,
            floor: if self.floor_us > 0.0 { copies + self.floor_us } else { 0.0 },
        }
    }

    /// Every cost with its key; what isn't a rate.
    pub fn costs(&self) -> [(&'static str, f64); 10] {
        [
            ("start_us", self.start_us),
            ("copy_us", self.copy_us),
            ("floor_us", self.floor_us),
            ("fill_us", self.fill_us),
            ("fill_rows", self.fill_rows),
            ("token_ns", self.token_ns),
            ("overlap", self.overlap),
            ("counts_us", self.counts_us),
            ("counts_doubling_us", self.counts_doubling_us),
            ("counts_token_ns", self.counts_token_ns),
        ]
    }

    /// The same with `share` times as many multiprocessors: they move what goes over scale-up ports, and fill as many pipelines.
    #[must_use]
    pub fn with_sms(self, share: f64) -> Self {
        Self {
            scale_up_bytes_per_s: self.scale_up_bytes_per_s * share,
            fill_rows: self.fill_rows * share,
            ..self
        }
    }

    /// The same without the exchange of counts before it.
    #[must_use]
    pub fn without_counts(self) -> Self {
        Self { counts_us: 0.0, counts_doubling_us: 0.0, counts_token_ns: 0.0, ..self }
    }

    /// The same kernel at once: without start, floor, fill and counts.
    #[must_use]
    pub fn without_start_up(self) -> Self {
        Self { start_us: 0.0, copy_us: 0.0, floor_us: 0.0, fill_us: 0.0, ..self.without_counts() }
    }

    /// The links that make rows of `wire_bytes` take as long as this kernel's. `forwards`: rows that cross travel on in their rack.
    fn links(&self, load: &KernelLoad, wire_bytes: f64, fabric: &Fabric, forwards: bool) -> PhaseLinks {
        let time = self.time(load);
        let [up, out] = self.ports(load);
        let port = up.max(out);
        // Handling is spread over the port's bytes, and a kernel's row stands for one on the wire.
        let filled = if port > 0.0 { port / time.transfer } else { 1.0 };
        let scale = wire_bytes / load.row_bytes * filled;
        let rate = |bytes_per_s: f64| Rate::new((bytes_per_s * scale).round().max(1.0) as u64);
        let start = micros(time.counts + time.start);
        let across = if start == Picos::ZERO {
            fabric.scale_out.latency
        } else if forwards {
            Picos::ZERO
        } else {
            start.max(fabric.scale_out.latency)
        };
        let spec = |bytes_per_s, latency, nominal: LinkSpec| LinkSpec {
            rate: rate(bytes_per_s).unwrap_or(nominal.rate),
            latency,
        };
        // Uplinks carry as much as ever, of ports that these kernels don't fill.
        let nominal = fabric.scale_out.rate.bytes_per_s() as f64;
        let reached = self.scale_out_bytes_per_s / nominal * filled;
        let floor = if time.floor > 0.0 { micros(time.counts + time.floor) } else { Picos::ZERO };
        PhaseLinks {
            fabric: Fabric {
                scale_up: spec(
                    self.scale_up_bytes_per_s,
                    start.max(fabric.scale_up.latency),
                    fabric.scale_up,
                ),
                scale_out: spec(self.scale_out_bytes_per_s, across, fabric.scale_out),
                oversubscription: fabric.oversubscription.of_ports_at(reached),
            },
            floor,
        }
    }
}

fn micros(us: f64) -> Picos {
    Picos((us * 1e6).round().max(0.0) as u64)
}

/// One phase's kernels: among ranks of one rack, and over several (which other kernels may do).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseKernels {
    /// What a row is.
    pub rows: RowFormat,
    /// In one rack.
    pub one_rack: Kernel,
    /// Over several.
    pub racks: Kernel,
}

impl PhaseKernels {
    /// The one for a group of ranks over `racks` racks.
    #[must_use]
    pub const fn over(&self, racks: u32) -> &Kernel {
        if racks > 1 { &self.racks } else { &self.one_rack }
    }
}

/// Where measured kernels differ from the links: mechanisms of both phases, and where they are from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelProfile {
    /// Multiprocessors that the kernels take, where their rates were measured with different numbers of them.
    #[serde(default)]
    pub sms: Option<u32>,
    /// Rows to the experts.
    pub dispatch: PhaseKernels,
    /// Results on their way back.
    pub combine: PhaseKernels,
    /// What the parameters were fitted to, and how far off they are.
    pub provenance: Provenance,
}

/// What a profile was fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Whose measurements of what.
    pub source: String,
    /// When they were fitted, or published.
    pub date: String,
    /// Of the fitted files, FNV-1a of 64 bits in hexadecimal digits.
    pub data_hash: String,
    /// What was assumed of the measured layer.
    pub assumed: String,
    /// Parameters that the data don't determine, and what they were left at.
    pub undetermined: Vec<String>,
    /// Of the measurements that were fitted: median and mean of `|predicted / measured - 1|`, and the 90th percentile.
    pub fitted: [f64; 3],
    /// The same of measurements that were left out, group by group, and what was left out.
    pub held_out: [f64; 3],
    /// What the groups were.
    pub held_out_by: String,
    /// What was measured, from least to most: its errors say nothing of what is outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredRange>,
}

impl Provenance {
    /// Whether measurements were left out of the fit and predicted: without, nobody knows how far off it is.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        self.held_out.iter().any(|&error| error > 0.0)
    }

    /// In a line: whose, and how far off.
    #[must_use]
    pub fn told(&self) -> String {
        let percent = |[median, mean, _]: [f64; 3]| {
            format!("{:.1}% in the median, {:.1}% in the mean", median * 100.0, mean * 100.0)
        };
        let left_out = if self.is_held_out() {
            format!("{} of what was left out ({})", percent(self.held_out), self.held_out_by)
        } else {
            "nothing was left out to check it".to_owned()
        };
        format!("measured: {}; off by {} of what was fitted, {left_out}", self.source, percent(self.fitted))
    }
}

impl KernelProfile {
    /// The links of each phase for ranks over `racks` racks, with all ports' start-ups as latencies.
    ///
    /// `load` is of both phases, its `row_bytes` unread; `hidden` are elements of a row, `wire_bytes` what the emulated network carries for
    /// one.
    #[must_use]
    pub fn links(
        &self,
        racks: u32,
        load: &KernelLoad,
        hidden: u32,
        wire_bytes: [u64; 2],
        fabric: &Fabric,
        forwards: bool,
    ) -> A2aLinks {
        let phase = |phase: &PhaseKernels, wire: u64| {
            let load = KernelLoad { row_bytes: phase.rows.bytes(hidden), ..*load };
            phase.over(racks).links(&load, wire as f64, fabric, forwards && racks > 1)
        };
        A2aLinks {
            dispatch: phase(&self.dispatch, wire_bytes[0]),
            combine: phase(&self.combine, wire_bytes[1]),
        }
    }

    /// The same with `change` made to every kernel.
    #[must_use]
    pub fn map(mut self, change: impl Fn(Kernel) -> Kernel) -> Self {
        for phase in [&mut self.dispatch, &mut self.combine] {
            (phase.one_rack, phase.racks) = (change(phase.one_rack), change(phase.racks));
        }
        self
    }

    /// Every kernel with the name of its table.
    pub fn kernels(&self) -> impl Iterator<Item = (&'static str, &Kernel)> {
        [
            ("dispatch.one_rack", &self.dispatch.one_rack),
            ("dispatch.racks", &self.dispatch.racks),
            ("combine.one_rack", &self.combine.one_rack),
            ("combine.racks", &self.combine.racks),
        ]
        .into_iter()
    }
}

/// What one phase meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseLinks {
    /// What a row meets on its way: bytes/s and first-byte latency of both link classes.
    pub fabric: Fabric,
    /// Least time of the phase.
    pub floor: Picos,
}

impl PhaseLinks {
    /// How long a flow on `class` is kept open, so that its end arrives no earlier than the floor.
    pub fn open_until(&self, class: LinkClass) -> Picos {
        Picos(self.floor.0.saturating_sub(self.fabric.link(class).latency.0))
    }
}

/// What both phases of an all-to-all meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct A2aLinks {
    /// Rows to the experts.
    pub dispatch: PhaseLinks,
    /// Links while rows are on their way back.
    pub combine: PhaseLinks,
}

impl A2aLinks {
    /// `fabric` for both phases.
    pub const fn nominal(fabric: Fabric) -> Self {
        let phase = PhaseLinks { fabric, floor: Picos::ZERO };
        Self { dispatch: phase, combine: phase }
    }

    /// The same with all latencies and floors zero.
    #[must_use]
    pub const fn without_latency(self) -> Self {
        Self {
            dispatch: PhaseLinks { fabric: self.dispatch.fabric.without_latency(), floor: Picos::ZERO },
            combine: PhaseLinks { fabric: self.combine.fabric.without_latency(), floor: Picos::ZERO },
        }
    }
}
