//! Rows of a comparison, one after the other: the run's lane has rows, steps and phases, each rank what it does in them.

use super::Timeline;
use super::frames::{Drawn, events_of};
use super::lanes::{Lane, RUN};
use node::control::PhaseReport;
use node::trace::{JobKind, JobTrace};
use node::wire::Phase;
use serde_json::json;
use std::io::{self, Write};
use study::layer::{BackendKind, Traced, TracedStep};
use topology::{Cluster, Picos, RankId};

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Dispatch => "dispatch",
        Phase::Expert => "expert",
        Phase::Combine => "combine",
        Phase::Local => "local",
        Phase::Hop => "hop",
    }
}

const fn job_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Gate => "gate",
        JobKind::Quantise => "quantise",
        JobKind::Weights => "weights",
        JobKind::Expert => "experts",
        JobKind::Enter => "enter",
        JobKind::Local => "attention",
        JobKind::Leave => "leave",
        JobKind::Sum => "sum",
    }
}

/// How long a rank's part lasts: the clock's word, and at least the stamps'.
fn lasts(report: &PhaseReport) -> Picos {
    report.measured.max(report.stamped)
}

/// The rank that takes longest, and how long.
fn slowest(reports: &[PhaseReport]) -> (RankId, Picos) {
    let all = (0..).map(RankId).zip(reports.iter().map(lasts));
    all.max_by_key(|&(rank, time)| (time, std::cmp::Reverse(rank))).unwrap_or((RankId(0), Picos::ZERO))
}

/// Events of a rank's phase beside its frames and jobs.
const PHASE_AND_WAIT: u64 = 2;

/// Time to the next whole nanosecond. Readers round to these: what begins and ends on them stays inside what holds it.
const fn whole(time: Picos) -> Picos {
    Picos(time.0.div_ceil(1_000).saturating_mul(1_000))
}

fn length(step: &TracedStep) -> Picos {
    step.phases.iter().map(|(_, reports)| whole(slowest(reports).1)).sum()
}

impl<W: Write> Timeline<W> {
    /// Adds a finished row of a comparison. What goes wrong is told at the end.
    pub fn layer(&mut self, traced: &Traced<'_>) {
        if self.failed.is_none() {
            let done = self.row(traced);
            self.keep(done);
        }
    }

    fn row(&mut self, traced: &Traced<'_>) -> io::Result<()> {
        let record = traced.record;
        let how = match record.backend {
            BackendKind::Analytic => "computed",
            BackendKind::Sim => "simulated",
            BackendKind::Quic => "measured",
        };
        let computed = [record.dispatch_us, record.compute_us, record.combine_us]
            .map(|us| Picos::from_micros_f64(us).unwrap_or_default());
        let total = match traced.steps {
            [] => computed.into_iter().map(whole).sum(),
            steps => steps.iter().map(length).sum(),
        };
        let every = traced.every.saturating_mul(self.thinner(traced));
        if !traced.steps.is_empty() {
            self.every_max = self.every_max.max(every);
        }
        let title = format!("{}, {} latency, {}", record.title, record.latency, record.backend);
        let args = json!({
            "times": how, "racks": traced.rack_sizes, "latency": record.latency, "seed": traced.seed,
            "dispatch_us": record.dispatch_us, "expert_us": record.compute_us, "combine_us": record.combine_us,
            "verified": record.verified, "valid": record.valid, "problem": record.problem,
            "network_dilation": record.network_dilation, "compute_dilation": record.compute_dilation,
            "steps_shown": traced.steps.len(), "one_frame_in": every, "frames_kept_one_in": traced.every,
        });
        let lane = Lane::Phases.of(RUN);
        let end = self.now.saturating_add(total);
        self.events.slice(lane, (&title, "configuration"), (self.now, end), &args)?;
        if traced.steps.is_empty() {
            for (name, time) in ["dispatch", "expert", "combine"].into_iter().zip(computed) {
                let args = json!({ "times": how });
                self.events.slice(lane, (name, "phase"), (self.now, self.now.saturating_add(time)), &args)?;
                self.now = self.now.saturating_add(whole(time));
            }
        } else {
            let Ok(cluster) = Cluster::new(traced.rack_sizes) else { return Ok(()) };
            for step in traced.steps {
                self.step(&cluster, step, every)?;
            }
        }
        // A gap, so that rows don't touch.
        self.now = self.now.saturating_add(whole(Picos(total.0 / 20 + 1_000_000)));
        Ok(())
    }

    /// Of the frames that were kept one in so many has room: each of the rows to come has the same share of what is left.
    fn thinner(&self, traced: &Traced<'_>) -> u32 {
        let phases = || traced.steps.iter().flat_map(|step| &step.phases);
        let reports = || phases().flat_map(|(_, reports)| reports);
        let sums: u64 = reports().map(|report| report.trace.jobs.len() as u64).sum();
        let frames = phases().map(|(_, reports)| events_of(reports)).sum::<u64>().saturating_add(sums);
        let others = reports().count() as u64 * PHASE_AND_WAIT;
        let ranks: u32 = traced.rack_sizes.iter().sum();
        let share = self.events.room() / (traced.of.saturating_sub(traced.at).max(1) as u64);
        // Where names and phases alone take it all, frames have a quarter of it all the same.
        let left = share.saturating_sub(others).saturating_sub(self.seen.left(ranks));
        let share = left.max(share / 4);
        u32::try_from(frames.div_ceil(share.max(1))).unwrap_or(u32::MAX).max(1)
    }

    fn step(&mut self, cluster: &Cluster, step: &TracedStep, every: u32) -> io::Result<()> {
        let (title, end) = (format!("step {}", step.step), self.now.saturating_add(length(step)));
        let args = json!({ "begun_anew": step.replays });
        self.events.slice(Lane::Phases.of(RUN), (&title, "step"), (self.now, end), &args)?;
        for (phase, reports) in &step.phases {
            let drawn = Drawn { cluster, name: name(*phase), start: self.now, reports, every };
            self.phase(&drawn)?;
            self.now = self.now.saturating_add(whole(slowest(reports).1));
        }
        Ok(())
    }

    fn phase(&mut self, drawn: &Drawn<'_>) -> io::Result<()> {
        let Drawn { cluster, name, start, reports, .. } = *drawn;
        let (last, time) = slowest(reports);
        let end = start.saturating_add(time);
        let mut bytes = [0_u64; 2];
        for (me, report) in cluster.ranks().zip(reports) {
            for &(to, sent) in report.sent_bytes.iter().filter(|(to, _)| to.0 < cluster.num_ranks()) {
                let between = usize::from(!cluster.same_rack(me, to));
                bytes[between] = bytes[between].saturating_add(sent);
            }
        }
        let left_out: u64 = reports.iter().map(|report| report.trace.left_out).sum();
        self.events.leave_out(left_out);
        let args = json!({
            "slowest_rank": last.0, "bytes_in_racks": bytes[0], "bytes_between_racks": bytes[1],
            "frames": reports.iter().map(|report| report.frames).sum::<u64>(),
            "overtaken": reports.iter().map(|report| report.overtaken).sum::<u64>(),
            "faults": reports.iter().map(|report| u64::from(report.faults)).sum::<u64>(),
        });
        self.events.slice(Lane::Phases.of(RUN), (name, "phase"), (start, end), &args)?;
        for (me, report) in cluster.ranks().zip(reports) {
            self.of_rank(drawn, me, report, (last, end))?;
        }
        drawn.queues(&mut self.events)?;
        drawn.frames(&mut self.events, &mut self.seen)
    }

    /// A rank's phase, its jobs, and how long it waits for the slowest.
    fn of_rank(
        &mut self,
        drawn: &Drawn<'_>,
        me: RankId,
        report: &PhaseReport,
        (last, end): (RankId, Picos),
    ) -> io::Result<()> {
        let home = Cluster::new(&self.rack_sizes).ok().filter(|racks| me.0 < racks.num_ranks());
        let rack = home.map(|racks| racks.rack_of(me).0);
        self.seen.rank(&mut self.events, me.0, rack)?;
        let done = drawn.start.saturating_add(lasts(report));
        if done > drawn.start {
            let place = self.seen.lane(&mut self.events, Lane::Phases, me.0)?;
            let sent: u64 = report.sent_bytes.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes));
            let from = report.trace.received.iter().max_by_key(|frame| (frame.end, frame.sequence));
            let args = json!({
                "measured_us": report.measured.as_micros_f64(), "stamped_us": report.stamped.as_micros_f64(),
                "sent_bytes": sent, "frames": report.frames, "faults": report.faults,
                "last_frame_from": from.map(|frame| frame.peer.0),
            });
            self.events.slice(place, (drawn.name, "phase"), (drawn.start, done), &args)?;
        }
        self.jobs(drawn, me, &report.trace.jobs)?;
        if done < end {
            let place = self.seen.lane(&mut self.events, Lane::Waits, me.0)?;
            let (name, args) = (format!("wait for rank {}", last.0), json!({ "phase": drawn.name }));
            self.events.slice(place, (&name, "wait"), (done, end), &args)?;
        }
        Ok(())
    }

    /// Those that take time as slices; of the others, which take none, one in so many as a mark.
    fn jobs(&mut self, drawn: &Drawn<'_>, me: RankId, jobs: &[JobTrace]) -> io::Result<()> {
        for (number, job) in jobs.iter().enumerate() {
            let takes = job.end > job.start;
            if !takes && job.kind == JobKind::Sum && !number.is_multiple_of(drawn.every as usize) {
                continue;
            }
            let place = self.seen.lane(&mut self.events, Lane::Jobs, me.0)?;
            let [start, end] = [job.start, job.end].map(|time| drawn.start.saturating_add(time));
            let (name, args) = (job_name(job.kind), json!({ "phase": drawn.name }));
            if takes {
                self.events.slice(place, (name, "job"), (start, end), &args)?;
            } else {
                self.events.instant(place, name, start, &args)?;
            }
        }
        Ok(())
    }
}
