//! The flags of the commands that tell what is known: claims, measured profiles, models, hardware, cluster files.

use clap::{Args, Subcommand};
use lecture::claims::Preset;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard board                        all claims with the lecture's own numbers
  railyard board scale-up --preset dsv3 one chapter with DeepSeek-V3 on GB200
  railyard board B5                     one claim and all that it computes
  railyard board --set throttle=18      what changes on GB200 with one 400 Gb/s card a GPU
  railyard board --plots plots          every chapter's plots as SVG
  railyard board --html lecture.html    all of it as a page, with sliders and a search

Verdicts: reproduces, order of magnitude (within a factor of 3), assumption (stated, not derivable), wrong input, contradicts. Chapters: roofline, scale-up, pipeline, overtraining, prices, reversible (or A to F).")]
pub(crate) struct BoardArgs {
    /// A chapter or a claim [default: all]
    #[arg(value_name = "CHAPTER|ID")]
    pub(crate) selection: Option<String>,
    /// Whose inputs: `talk` (the lecture's own) or `dsv3` (DeepSeek-V3 on GB200)
    #[arg(long, value_name = "NAME", default_value = "talk")]
    pub(crate) preset: Preset,
    /// Vary an input in every claim that has it; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the plots to this directory as SVG, and print their paths
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    pub(crate) plots: Option<PathBuf>,
    /// Write one page with every claim, its picture and sliders for its inputs; it opens without a network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "plots"])]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A preset's name, a model file (.toml) or a Hugging Face config.json [default: all presets]
    #[arg(value_name = "NAME|FILE")]
    pub(crate) name: Option<String>,
    /// Tell the weights of each of so many ranks
    #[arg(long, value_name = "N", requires = "name")]
    pub(crate) ranks: Option<u32>,
    /// Print a model file to start one of one's own from
    #[arg(long, requires = "name", conflicts_with_all = ["json", "ranks"])]
    pub(crate) toml: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HardwareArgs {
    /// A preset's name, or a cluster file (.toml) [default: all presets]
    #[arg(value_name = "NAME|FILE")]
    pub(crate) name: Option<String>,
    /// Print a cluster file to start one of one's own from, as a name alone does
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub(crate) toml: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    #[command(subcommand)]
    pub(crate) command: TopologyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopologyCommand {
    /// Print the racks, hardware and links of a cluster file
    Show {
        /// Cluster file (TOML)
        file: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say whether a cluster file is sound
    Check {
        /// Cluster file (TOML)
        file: PathBuf,
    },
}
