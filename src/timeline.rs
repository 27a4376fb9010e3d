//! The file of a timeline while its run is under way.

use crate::cli::TimelineArgs;
use crate::failure::Failure;
use crate::output;
use anyhow::anyhow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use study::experiment::{Failed, Plan, Point, Shown};
use study::layer::{BackendKind, CompareSpec, Traced};
use view::timeline::{About, Timeline};

/// A timeline that is being written.
pub(crate) struct Writing {
    path: PathBuf,
    most: u64,
    timeline: Arc<Mutex<Timeline>>,
}

impl Writing {
    /// That of a comparison, if one is asked for; the comparison then keeps what it is made of.
    pub(crate) fn of_comparison(
        args: &TimelineArgs,
        spec: &mut CompareSpec,
    ) -> Result<Option<Self>, Failure> {
        spec.timeline = args.timeline.is_some();
        let about = About {
            command: spec.command.clone(),
            seeds: spec.seeds.clone(),
            rack_sizes: spec.rack_sizes.clone(),
            notes: spec.notes.clone(),
        };
        Self::of(args, &about)
    }

    /// That of the one point of an experiment, repeated on its virtual clock; complete but for its end.
    pub(crate) fn of_point(
        args: &TimelineArgs,
        plan: &Plan<'_>,
        points: &[Point],
    ) -> Result<Option<Self>, Failure> {
        if args.timeline.is_none() {
            return Ok(None);
        }
        let refuse = |problem: String| Err(Failure::Usage(anyhow!("--timeline: {problem}")));
        let [point] = points else {
            let problem = "points here and a timeline is of one; fix what is swept with --set PLACE=VALUE";
            return refuse(format!("{} {problem}", points.len()));
        };
        if plan.backends.contains(&BackendKind::Quic) {
            let problem = "an experiment's is of the virtual clock; give --backend sim, or `railyard compare --timeline` for a measured one";
            return refuse(problem.to_owned());
        }
        let resolved = plan.resolve(point)?;
        let about =
            About { command: Some(resolved.command.clone()), seeds: vec![point.seed], ..About::default() };
        let Some(writing) = Self::of(args, &about)? else { return Ok(None) };
        let title = format!("{}: {point}", plan.experiment.name);
        let told = resolved.work.timeline(args.timeline_events, &mut |shown| {
            let mut timeline = writing.timeline.lock().unwrap_or_else(PoisonError::into_inner);
            match shown {
                Shown::Layer(traced) => timeline.layer(traced),
                Shown::Yard(trace, times) => timeline.yard((&title, times), trace),
            }
        });
        match told {
            Ok(()) => Ok(Some(writing)),
            Err(Failed { usage: true, problem }) => refuse(problem),
            Err(Failed { problem, .. }) => Err(Failure::Failed(anyhow!("{point}: {problem}"))),
        }
    }

    /// One about `about`, if one is asked for.
    fn of(args: &TimelineArgs, about: &About) -> Result<Option<Self>, Failure> {
        let Some(path) = args.timeline.clone() else { return Ok(None) };
        let most = args.timeline_events;
        let timeline = Timeline::create(&path, about, most).map_err(Failure::Usage)?;
        Ok(Some(Self { path, most, timeline: Arc::new(Mutex::new(timeline)) }))
    }

    /// Who takes finished rows.
    pub(crate) fn rows(&self) -> impl FnMut(&Traced<'_>) + Send + 'static {
        let timeline = Arc::clone(&self.timeline);
        move |traced| timeline.lock().unwrap_or_else(PoisonError::into_inner).layer(traced)
    }

    /// Ends the file, and says what is in it.
    pub(crate) fn end(self, quiet: bool) -> Result<(), Failure> {
        let Self { path, most, timeline } = self;
        let mut timeline = timeline.lock().unwrap_or_else(PoisonError::into_inner);
        let written = timeline.close(&path).map_err(Failure::Failed)?;
        if !quiet || written.is_sampled() {
            output::say(&written.told(&path, most));
        }
        Ok(())
    }
}
