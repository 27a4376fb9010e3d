//! What a node may report of a phase: numbers that can be added up, and nothing about ranks that aren't there.

use node::control::PhaseReport;
use node::trace::{EVENTS_MAX, FrameTrace, PhaseTrace};
use topology::Picos;

/// Largest lateness histogram that a node may send, bytes; a full one of two digits takes some 40 KiB.
const LATENESS_BYTES_MAX: usize = 64 << 10;
/// Longest phase that a node may report, so that sums over all phases of a step fit: five hours of emulated time.
const PHASE_MAX: Picos = Picos(1 << 54);
/// Largest count, or CPU time in ns, that it may report of a phase, so that sums over all ranks fit.
const COUNT_MAX: u64 = 1 << 48;

/// An error says what can't be, of a rank among `ranks`.
pub(super) fn check(report: &PhaseReport, ranks: usize) -> Result<(), String> {
    if let Some((to, _)) = report.sent_bytes.iter().find(|(to, _)| to.0 as usize >= ranks) {
        return Err(format!("it reported bytes to {to} of {ranks} ranks"));
    }
    if !report.sent_bytes.is_sorted_by(|(before, _), (after, _)| before < after) {
        return Err("it reported bytes to ranks that don't ascend".to_owned());
    }
    let bytes = report.sent_bytes.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
    let counts = [
        ("frames", report.frames),
        ("ns of CPU", report.cpu_ns),
        ("bytes sent", bytes),
        ("UDP bytes", report.udp_bytes),
    ];
    if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > COUNT_MAX) {
        return Err(format!("it reported {count} {what} of one phase"));
    }
    let longest = report.measured.max(report.stamped);
    if longest > PHASE_MAX {
        return Err(format!("it reported a phase of {longest}"));
    }
    if report.overtaken > report.frames {
        return Err(format!("it reported {} of {} frames as overtaken", report.overtaken, report.frames));
    }
    if report.lateness_ns.len() > LATENESS_BYTES_MAX {
        return Err(format!("it reported a histogram of {} bytes", report.lateness_ns.len()));
    }
    Ok(())
}

/// An error says what can't be of what a rank among `ranks` has kept for a timeline.
pub(super) fn check_trace(trace: &PhaseTrace, ranks: usize) -> Result<(), String> {
    let PhaseTrace { sent, received, jobs, left_out } = trace;
    let longest = sent.len().max(received.len()).max(jobs.len());
    if longest > EVENTS_MAX || *left_out > COUNT_MAX {
        return Err(format!(
            "it reported {longest} frames or jobs of one phase for a timeline, and {left_out} more"
        ));
    }
    let frames = || sent.iter().chain(received);
    if let Some(frame) = frames().find(|frame| frame.peer.0 as usize >= ranks) {
        return Err(format!("it reported a frame at a port with {} of {ranks} ranks", frame.peer));
    }
    let wrong = |frame: &&FrameTrace| frame.ready > frame.start || frame.bytes > COUNT_MAX;
    let times =
        frames().map(|frame| (frame.start, frame.end)).chain(jobs.iter().map(|job| (job.start, job.end)));
    let backwards = times.into_iter().any(|(start, end)| start > end || end > PHASE_MAX);
    if backwards || frames().any(|frame| wrong(&frame)) {
        return Err(
            "it reported a frame or a job for a timeline that ends before it begins, or never".to_owned()
        );
    }
    Ok(())
}

/// A phase can't have lasted longer than the coordinator has waited for its end and the clocks may disagree, `waited_ns`, whatever its node says.
pub(super) fn check_time(report: &PhaseReport, dilation: u64, waited_ns: u64) -> Result<(), String> {
    let wall_ns = u128::from(report.measured.0) * u128::from(dilation) / 1000;
    if wall_ns > u128::from(waited_ns) {
        let (said_ms, waited_ms) = (wall_ns / 1_000_000, waited_ns / 1_000_000);
        return Err(format!(
            "it reported a phase of {said_ms} ms of wall time, {waited_ms} ms after its begin"
        ));
    }
    Ok(())
}
