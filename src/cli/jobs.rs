//! The flags of `railyard submit`, `runs`, `watch` and `cancel`: work that a coordinator does while nobody waits.

use super::ClientArgs;
use clap::Args;
use study::layer::LayerArgs;
use study::service::JobId;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard submit --coordinator localhost:7000 --certs ./certs --model kimi-k2      prints the run's id
  railyard runs --coordinator localhost:7000 --certs ./certs                        what is kept, and how far it is
  railyard watch ID --coordinator localhost:7000 --certs ./certs                    waits, and prints the tables
  railyard cancel ID --coordinator localhost:7000 --certs ./certs

RAILYARD_CLUSTER and RAILYARD_CERTS stand for the two flags. The page of `railyard coordinator --ui` shows the same runs.")]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) spec: LayerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The run's id, as `submit` and `runs` print it
    pub(crate) run: JobId,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// Seconds to look for the coordinator again once it is gone; 0: fail then
    #[arg(long, value_name = "S", default_value_t = 120)]
    pub(crate) rejoin_limit: u32,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Print every column, whether they fit the terminal or not
    #[arg(long, conflicts_with = "json")]
    pub(crate) wide: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The run's id, as `submit` and `runs` print it
    pub(crate) run: JobId,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
