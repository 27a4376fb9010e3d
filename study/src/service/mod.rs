//! A cluster that serves clients: what they say to each other, the queue on the coordinator's side and the client.

mod client;
mod protocol;
mod queue;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError};
pub use protocol::Status;
pub use queue::Service;
