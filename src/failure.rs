//! Why a command ends badly, and with which exit code.

use std::fmt;
use std::process::ExitCode;
use study::experiment::ExperimentError;
use study::layer::CompareError;

/// The end of a command that did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It can't be done as asked: exit code 2.
    Usage(anyhow::Error),
    /// It was tried: exit code 1.
    Failed(anyhow::Error),
    /// Ctrl-C or SIGTERM ended it: exit code 130, as shells have it.
    Interrupted(anyhow::Error),
    /// Nobody reads the output any more: no failure.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::Interrupted(_) => ExitCode::from(130),
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

impl From<CompareError> for Failure {
    fn from(error: CompareError) -> Self {
        if error.is_usage() { Self::usage(error) } else { Self::failed(error) }
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        if error.is_usage() { Self::usage(error) } else { Self::failed(error) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) | Self::Failed(error) | Self::Interrupted(error) => {
                // Many messages tell their cause themselves.
                let mut text = error.to_string();
                for cause in error.chain().skip(1).map(ToString::to_string) {
                    if !text.contains(&cause) {
                        text = format!("{text}: {cause}");
                    }
                }
                f.write_str(&text)
            }
            Self::BrokenPipe => Ok(()),
        }
    }
}
