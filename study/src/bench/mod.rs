//! Micro-benchmarks in the words that people know: nccl-tests' table for links and all-to-alls, DeepEP's lines for dispatch and combine,
//! grouped products, frames.
//!
//! Nothing here runs by itself: [`Even`] and [`unthrottled`] make comparisons of one configuration, which any runner measures and checks as
//! [`crate::layer`] does, and the others make text of the records. What this host alone can do ([`host`], [`wire`]) is measured on the spot.

mod clock;
mod even;
pub mod host;
mod nccl;
mod nccl_json;
mod products;
mod ranks;
mod raw;
mod sizes;
pub mod wire;

pub use even::{Collective, Even, EvenError};
pub use nccl::{Line, Sweep, footer, header, line};
pub use nccl_json::{json, now};
pub use products::{Product, product_header, product_line};
pub use ranks::{RankPhase, rank_header, rank_lines};
pub use raw::{Wall, unthrottled};
pub use sizes::{parse_size, sizes};
