//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use crate::output;
use coordinator::compare::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Shows how far a comparison is.
#[derive(Debug)]
pub(crate) struct Meter {
    bar: Option<ProgressBar>,
    plain: bool,
}

impl Meter {
    /// Nothing at all if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, plain: !terminal && !quiet }
    }

    /// Says what is under way.
    pub(crate) fn say(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        } else if self.plain {
            output::say(what);
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
            Progress::Running { done, total, what } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*done as u64);
                    bar.set_message(what.clone());
                } else if self.plain {
                    output::say(&format!("[{}/{total}] {what}", done + 1));
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
