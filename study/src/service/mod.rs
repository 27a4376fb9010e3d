//! A cluster that serves clients: what they say to each other, the jobs and their store on the coordinator's side, and the client.

mod client;
mod client_error;
mod desk;
mod job;
mod jobs;
mod live;
mod perform;
mod protocol;
mod queue;
mod roll;
mod shared;
mod store;
mod store_error;
#[cfg(test)]
mod store_tests;
mod talk;
#[cfg(test)]
mod tests;

pub use client::{Client, News, NewsSink};
pub use client_error::ClientError;
pub use desk::JobView;
pub use protocol::{JobId, Status};
pub use shared::{Saved, Service, ServiceOptions};
pub use store_error::StoreError;
