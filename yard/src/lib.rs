//! The live yard: a coordinator's page, its API and its metrics, over HTTP.
//!
//! A node has a port of its own for its metrics alone ([`serve_node`]).
//!
//! Reads are free on this machine, everything else needs the token that the coordinator prints ([`Token`]). What is shown comes from a
//! [`study::service::Service`] and its cluster; nothing here decides what runs where.

mod api;
mod asked;
mod counters;
mod door;
mod events;
mod guard;
mod looked;
mod news;
mod node_metrics;
mod pages;
mod problem;
mod seen;
mod shown;
mod state;
mod token;

pub use door::{OpenError, serve};
pub use node_metrics::{NodeMetrics, serve_node};
pub use state::{Yard, YardOptions};
pub use token::Token;
