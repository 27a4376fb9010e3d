//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use study::layer::Progress;

/// Shows how far a comparison is.
#[derive(Debug)]
pub(crate) struct Meter {
    bar: Option<ProgressBar>,
    plain: bool,
}

impl Meter {
    /// Nothing at all if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self::of(quiet, 0, "{bar:30} {pos}/{len} {elapsed} {wide_msg}")
    }

    /// With a bar of so many steps, which looks like `template`.
    fn of(quiet: bool, steps: usize, template: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new(steps as u64);
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, plain: !terminal && !quiet }
    }

    /// Says what is under way.
    pub(crate) fn say(&self, what: &str) {
        if self.plain {
            output::say(what);
        }
        self.note(what);
    }

    /// How far what is under way is, where a terminal shows it.
    pub(crate) fn note(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Takes in news.
    pub(crate) fn show(&self, progress: &Progress) {
        match progress {
            Progress::Preparing { total } => {
                if let Some(bar) = &self.bar {
                    bar.set_length(*total as u64);
                }
                self.say("computing references and expectations");
            }
            Progress::Running { done, total, what, left_s } => {
                let left = left_s.map_or_else(String::new, |left| format!("about {left} s left: "));
                if let Some(bar) = &self.bar {
                    bar.set_position(*done as u64);
                    bar.set_message(format!("{left}{what}"));
                } else if self.plain {
                    output::say(&format!("[{}/{total}] {left}{what}", done + 1));
                }
            }
            Progress::Retrying { what, problem } => {
                let line = format!("again at twice the dilation: {what}: {problem}");
                match &self.bar {
                    Some(bar) => bar.println(line),
                    None => self.say(&line),
                }
            }
            Progress::Done => self.clear(),
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Least time between two plain lines about points.
const LINES_APART: Duration = Duration::from_secs(2);

/// Shows how many points of a sweep are done, and when the rest will be.
#[derive(Debug)]
pub(crate) struct PointMeter {
    pub(crate) meter: Meter,
    before: usize,
    left: usize,
    done: AtomicUsize,
    began: Instant,
    said: Mutex<Option<Instant>>,
}

impl PointMeter {
    /// `before` points were done by an earlier run, `left` are to come. Nothing at all if `quiet`.
    pub(crate) fn new(quiet: bool, before: usize, left: usize) -> Self {
        let meter = Meter::of(quiet, left, "{bar:30} {pos}/{len} {elapsed}, {eta} left, {wide_msg}");
        if before > 0 {
            meter.say(&format!("{before} points were finished before"));
        }
        let (done, began, said) = (AtomicUsize::new(0), Instant::now(), Mutex::new(None));
        Self { meter, before, left, done, began, said }
    }

    /// A point is done.
    pub(crate) fn done(&self, what: &str) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.meter.bar {
            bar.set_position(done as u64);
            bar.set_message(what.to_owned());
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = said.is_none_or(|at| at.elapsed() >= LINES_APART) || done == self.left;
        if self.meter.plain && due {
            *said = Some(Instant::now());
            let eta =
                self.began.elapsed().as_secs_f64() / done as f64 * (self.left - done.min(self.left)) as f64;
            let (now, all) = (self.before + done, self.before + self.left);
            output::say(&format!("[{now}/{all}] {what}; about {eta:.0} s left"));
        }
    }
}
