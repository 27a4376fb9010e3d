//! A serving run: rides of trains, stages at work, and how many wait, sit and what their caches take.

use super::Timeline;
use super::events::{Events, Place};
use super::lanes::{Lane, RUN, Seen};
use serde_json::json;
use std::io::{self, Write};
use study::serving::YardTrace;
use topology::Picos;

/// A process with a lane for each train.
const TRAINS: u32 = RUN + 1;
/// A process with a lane for each stage.
const STAGES: u32 = RUN + 2;

impl<W: Write> Timeline<W> {
    /// Adds a serving run on its virtual clock, whose times are `computed` or `simulated`. What goes wrong is told at the end.
    pub fn yard(&mut self, (title, times): (&str, &str), trace: &YardTrace) {
        if self.failed.is_none() {
            let done = self.rides((title, times), trace);
            self.keep(done);
        }
    }

    fn rides(&mut self, (title, times): (&str, &str), trace: &YardTrace) -> io::Result<()> {
        let every = [trace.rides.every(), trace.work.every(), trace.standings.every()];
        let most = every.into_iter().max().unwrap_or(1);
        self.every_max = self.every_max.max(u32::try_from(most).unwrap_or(u32::MAX));
        let backs = trace.rides.iter().map(|(_, ride)| ride.back);
        let last = backs.chain(trace.standings.iter().map(|(_, standing)| standing.at)).max();
        let (start, end) = (self.now, self.now.saturating_add(last.unwrap_or_default()));
        let args = json!({
            "times": times, "one_ride_in": every[0], "one_step_of_stages_in": every[1], "one_moment_in": every[2],
        });
        self.events.slice(Lane::Phases.of(RUN), (title, "configuration"), (start, end), &args)?;
        let (events, seen) = (&mut self.events, &mut self.seen);
        let at = |time: Picos| start.saturating_add(time);
        for (step, ride) in trace.rides.iter() {
            let place = lane(events, seen, (TRAINS, "trains"), ("train", ride.train))?;
            let [answers, prompts] = ride.tokens;
            let args = json!({
                "step": step, "riders": ride.riders, "tokens_of_answers": answers, "tokens_of_prompts": prompts,
            });
            let name = format!("{} {}", ride.riders, if ride.riders == 1 { "rider" } else { "riders" });
            events.slice(place, (&name, "ride"), (at(ride.left), at(ride.back)), &args)?;
        }
        for (step, work) in trace.work.iter() {
            let place = lane(events, seen, (STAGES, "stages"), ("stage", work.stage))?;
            let (name, args) = (format!("train {}", work.train), json!({ "step": step }));
            events.slice(place, (&name, "work"), (at(work.start), at(work.end)), &args)?;
        }
        for (_, standing) in trace.standings.iter() {
            for (track, value) in [
                (("requests waiting", "requests"), standing.waiting),
                (("seats taken", "sequences"), standing.seated),
                (("trains under way", "trains"), standing.riding),
                (("caches on the fullest rank", "bytes"), standing.taken_bytes),
            ] {
                events.counter(RUN, track, at(standing.at), value)?;
            }
        }
        self.now = end;
        Ok(())
    }
}

/// The lane of a train or a stage, named.
fn lane<W: Write>(
    events: &mut Events<W>,
    seen: &mut Seen,
    (process, name): (u32, &str),
    (what, number): (&str, usize),
) -> io::Result<Place> {
    let number = u32::try_from(number).unwrap_or(u32::MAX - 1);
    let place = Place { process, thread: number + 1 };
    seen.process(events, process, name)?;
    seen.thread(events, place, &format!("{what} {number}"))?;
    Ok(place)
}
