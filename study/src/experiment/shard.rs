//! The part of an experiment's points that one process runs: `--shard`, or a task of a job array.

use super::error::ExperimentError;
use std::fmt;
use std::str::FromStr;

/// One of several equal parts of an experiment: shard I of N runs the points whose number leaves I - 1 by N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub index: usize,
    /// Of so many.
    pub count: usize,
}

/// The variables that number the tasks of a job array.
const SLURM: &str = "SLURM_ARRAY_TASK_ID";
const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
/// Most shards of an experiment.
const SHARDS_MAX: usize = 10_000;

impl Shard {
    /// The whole.
    pub const ALL: Self = Self { index: 1, count: 1 };

    fn new(index: usize, count: usize, what: &str) -> Result<Self, ExperimentError> {
        if (1..=SHARDS_MAX).contains(&count) && (1..=count).contains(&index) {
            return Ok(Self { index, count });
        }
        Err(ExperimentError::Shard(format!(
            "{what}: give I/N with I from 1 to N, at most {SHARDS_MAX}; shard 1/4 is the first of four"
        )))
    }

    /// True if this shard runs the point.
    #[must_use]
    pub fn has(self, point: usize) -> bool {
        point % self.count == self.index - 1
    }

    /// What `--shard` and the environment ask for; `variable` reads the latter. `asked` is `I/N`, or `/N` with I from a job
    /// array. Without it a Slurm array or a Kubernetes Indexed Job says both. Also says where it is from.
    ///
    /// - `SLURM_ARRAY_TASK_ID`: with `/N`, I itself; else its place between `SLURM_ARRAY_TASK_MIN` and `_MAX` by `_STEP`.
    /// - `JOB_COMPLETION_INDEX`: I - 1; N is `JOB_COMPLETIONS`, which the manifest must set, as Kubernetes does not.
    ///
    /// # Errors
    /// [`ExperimentError::Shard`] with the remedy.
    pub fn choose(
        asked: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, &'static str), ExperimentError> {
        let number = |name: &str| -> Result<Option<usize>, ExperimentError> {
            let Some(text) = variable(name) else { return Ok(None) };
            let parsed = text.parse().map(Some);
            parsed.map_err(|_| refused(format!("{name}={text} is not a whole number; give --shard I/N")))
        };
        let count = match asked {
            None => None,
            Some(asked) => match asked.strip_prefix('/').map(str::parse) {
                Some(Ok(count)) => Some(count),
                _ => return Ok((asked.parse()?, "--shard")),
            },
        };
        if let Some(task) = number(SLURM)? {
            let (index, count) = match count {
                Some(count) => (task, count),
                None => array_place(task, &number)?,
            };
            return Ok((Self::new(index, count, &format!("{SLURM}={task} of {count} shards"))?, SLURM));
        }
        if let Some(index) = number(KUBERNETES)? {
            let Some(count) = count.map_or_else(|| number("JOB_COMPLETIONS"), |count| Ok(Some(count)))?
            else {
                return Err(refused(format!(
                    "{KUBERNETES} is set but not how many there are; set JOB_COMPLETIONS to the job's completions, or give --shard /N"
                )));
            };
            let what = format!("{KUBERNETES}={index} of {count} shards");
            return Ok((Self::new(index.saturating_add(1), count, &what)?, KUBERNETES));
        }
        match count {
            Some(count) => Err(refused(format!(
                "--shard /{count} takes its number from a job array, and neither {SLURM} nor {KUBERNETES} is set; give --shard I/{count}"
            ))),
            None => Ok((Self::ALL, "all points")),
        }
    }
}

/// The place of a task in a Slurm array without holes, and how many tasks it has.
fn array_place(
    task: usize,
    number: &dyn Fn(&str) -> Result<Option<usize>, ExperimentError>,
) -> Result<(usize, usize), ExperimentError> {
    let (Some(min), Some(max)) = (number("SLURM_ARRAY_TASK_MIN")?, number("SLURM_ARRAY_TASK_MAX")?) else {
        return Err(refused(format!(
            "{SLURM} is set but not SLURM_ARRAY_TASK_MIN and _MAX; give --shard I/N"
        )));
    };
    let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
    let whole = (min..=max).contains(&task) && (task - min).is_multiple_of(step);
    let count = if whole { (max - min) / step + 1 } else { 0 };
    if count == 0 || number("SLURM_ARRAY_TASK_COUNT")?.is_some_and(|tasks| tasks != count) {
        return Err(refused(format!(
            "{SLURM}={task}: the array {min}-{max} has holes; number the whole one 1-N and give --shard /N"
        )));
    }
    Ok(((task - min) / step + 1, count))
}

fn refused(problem: String) -> ExperimentError {
    ExperimentError::Shard(problem)
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ExperimentError;

    fn from_str(text: &str) -> Result<Self, ExperimentError> {
        let parts =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let (index, count) = parts.unwrap_or((0, 0));
        Self::new(index, count, &format!("--shard {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(asked: Option<&str>, set: &[(&str, &str)]) -> Result<String, String> {
        let variable =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Shard::choose(asked, &variable).map(|(shard, _)| shard.to_string()).map_err(|error| error.to_string())
    }

    fn array(task: &'static str) -> [(&'static str, &'static str); 3] {
        [(SLURM, task), ("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_MAX", "17")]
    }

    #[test]
    fn flags_and_arrays_name_the_same_shards() {
        for (asked, set, expected) in [
            (None, &[][..], "1/1"),
            (Some("2/8"), &array("12"), "2/8"),
            (None, &array("12"), "3/8"),
            (Some("/8"), &[(SLURM, "3")], "3/8"),
            (None, &[(KUBERNETES, "0"), ("JOB_COMPLETIONS", "4")], "1/4"),
            (Some("/4"), &[(KUBERNETES, "3")], "4/4"),
        ] {
            assert_eq!(choose(asked, set).as_deref(), Ok(expected), "{asked:?} {set:?}");
        }
        let mut stepped = array("14").to_vec();
        stepped.extend([("SLURM_ARRAY_TASK_STEP", "2"), ("SLURM_ARRAY_TASK_COUNT", "4")]);
        assert_eq!(choose(None, &stepped).as_deref(), Ok("3/4"));
    }

    #[test]
    fn what_names_no_shard_is_refused_with_the_remedy() {
        for (asked, set, message) in [
            (Some("0/8"), &[][..], "I from 1 to N"),
            (Some("9/8"), &[], "I from 1 to N"),
            (Some("8"), &[], "I from 1 to N"),
            (Some("1/100000"), &[], "at most 10000"),
            (Some("/8"), &[], "neither SLURM_ARRAY_TASK_ID nor"),
            (Some("/8"), &[(SLURM, "0")], "I from 1 to N"),
            (None, &[(SLURM, "x")], "not a whole number"),
            (None, &[(SLURM, "3")], "SLURM_ARRAY_TASK_MIN"),
            (None, &[&array("12")[..], &[("SLURM_ARRAY_TASK_COUNT", "3")]].concat(), "has holes"),
            (None, &[(KUBERNETES, "3")], "JOB_COMPLETIONS"),
            (None, &[(KUBERNETES, "4"), ("JOB_COMPLETIONS", "4")], "I from 1 to N"),
        ] {
            let error = choose(asked, set).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
    }
}
