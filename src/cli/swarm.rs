//! Flags of `railyard swarm`.

use clap::Args;
use std::ops::Range;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard swarm                        2,000 clusters, some seconds
  railyard swarm --seeds 0..100000
  RUST_LOG=coordinator::swarm=debug railyard swarm --seeds 19      one of them, with all that happens to it

A seed decides a cluster, a layer or a small model with its batches, and what disturbs the run: nodes that die, freeze, come back and drain, links that break, messages that wait. Steps must come once, in order, with the bits that they have undisturbed.")]
pub(crate) struct SwarmArgs {
    /// Seeds from A on, without B; or one
    #[arg(long, value_name = "A..B", default_value = "0..2000", value_parser = range)]
    pub(crate) seeds: Range<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| format!("`{text}` is no seed; give A..B, or one number"))
    };
    let seeds = match text.split_once("..") {
        None => number(text)
            .and_then(|seed| Ok(seed..seed.checked_add(1).ok_or("that seed has no next one")?))?,
        Some((first, end)) => number(first)?..number(end)?,
    };
    if seeds.is_empty() {
        Err(format!("`{text}` has no seeds: A..B is from A on, without B"))
    } else {
        Ok(seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_from_and_without() {
        assert_eq!((range("3..5"), range("7")), (Ok(3..5), Ok(7..8)));
        for wrong in ["5..5", "5..3", "a", "1..", "18446744073709551615", ""] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
