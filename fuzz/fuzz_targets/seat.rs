//! A seat whose peers send what they like: frames that decode, of the run and phase under way, with anything in them. Each is taken or is an
//! error with a name, and what the seat holds stays bounded by what it was sent.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use moe::SlotId;
use moe::plan::Target;
use moe::stack::Column;
use node::job::JobRunner;
use node::rank::Event;
use node::seat::Seat;
use node::setup::PreparedRun;
use node::wire::{Flow, Frame, Origin, Phase, Row, TrafficClass};
use std::sync::{Arc, LazyLock};
use topology::{Picos, RankId};

/// What takes long to make, and the same for all inputs.
static RUN: LazyLock<(Arc<PreparedRun>, JobRunner)> = LazyLock::new(|| {
    let setup = Arc::new(railyard_fuzz::request().setup);
    let run = PreparedRun::new(Arc::clone(&setup), 0).expect("a run");
    (Arc::new(run), JobRunner::new(setup, 0).expect("a runner"))
});

fuzz_target!(|data: &[u8]| {
    // Whatever goes wrong has a name, and ends the run.
    let _ = play(&mut Unstructured::new(data));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let (run, runner) = &*RUN;
    let mut seat = Seat::new(RankId(0), run, Picos::ZERO, Picos::ZERO);
    if seat.prepare(0, 0, Column::default()).is_err() {
        return Ok(());
    }
    let mut stops = run.setup().program.stops().into_iter();
    let (mut now, mut closed) = (Picos::ZERO, true);
    loop {
        if serve(&mut seat, runner, now, &mut closed).is_none() {
            return Ok(());
        }
        if closed {
            let Some(stop) = stops.next() else { return Ok(()) };
            (now, closed) = (Picos::ZERO, false);
            if seat.begin(stop).is_err() {
                return Ok(());
            }
            continue;
        }
        if input.is_empty() {
            return Ok(());
        }
        if input.ratio(1, 4)? {
            now = seat.poll_timeout().unwrap_or(now).max(now);
        } else if let Some((flow, phase)) = seat.at() {
            let frame = frame(input, flow, phase)?;
            if seat.handle_arrival(now, frame).is_err() {
                return Ok(());
            }
        }
    }
}

/// Does all that the seat has to do now; `None` once it complains.
fn serve(seat: &mut Seat, runner: &JobRunner, now: Picos, closed: &mut bool) -> Option<()> {
    while seat.deliver(now).ok()?.is_some() {}
    while let Some(mut job) = seat.poll_job() {
        let output = runner.run(seat.id(), &mut job.work);
        seat.handle_done(job.ready.saturating_add(job.charge), job.id, output).ok()?;
    }
    while seat.poll_transmit(now).is_some() {}
    while let Some(event) = seat.poll_event() {
        *closed |= matches!(event, Event::Closed { .. } | Event::Prepared);
    }
    Some(())
}

/// Mostly what a peer could mean, so that what is deeper is reached too.
fn frame(input: &mut Unstructured<'_>, flow: Flow, phase: Phase) -> Result<Frame> {
    let control = input.ratio(1, 4)?;
    let row_bytes: usize = *input.choose(&[68, 128, 64, 0, 1, 256])?;
    let rows = if control { 0 } else { input.int_in_range(0..=5_usize)? };
    let rows = (0..rows).map(|_| row(input, row_bytes)).collect::<Result<_>>()?;
    Ok(Frame {
        flow,
        phase,
        class: if control { TrafficClass::Control } else { TrafficClass::Tokens },
        source: RankId(input.int_in_range(0..=4)?),
        destination: RankId(u32::from(input.ratio(1, 16)?)),
        sequence: input.int_in_range(0..=3)?,
        arrive: Picos(u64::from(input.arbitrary::<u32>()?) << input.int_in_range(0..=8)?),
        last: if input.arbitrary()? { Some(input.int_in_range(0..=12)?) } else { None },
        credit_bytes: if control { input.arbitrary::<u64>()? >> input.int_in_range(0..=63)? } else { 0 },
        rows,
        damaged: false,
    })
}

fn row(input: &mut Unstructured<'_>, bytes: usize) -> Result<Row> {
    let target = |input: &mut Unstructured<'_>| {
        Ok(Target { slot: SlotId(input.int_in_range(0..=9)?), weight: f32::from_bits(input.arbitrary()?) })
    };
    let targets = input.int_in_range(0..=3_usize)?;
    Ok(Row {
        origin: Origin {
            source: RankId(input.int_in_range(0..=4)?),
            token: input.int_in_range(0..=5)?,
            sequence: input.int_in_range(0..=20)?,
            position: input.int_in_range(0..=1)?,
        },
        targets: (0..targets).map(|_| target(input)).collect::<Result<_>>()?,
        data: Bytes::from(vec![input.arbitrary()?; bytes]).into(),
    })
}
