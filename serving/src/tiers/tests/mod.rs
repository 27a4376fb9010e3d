//! Golden values of the claims, small stories, and properties held against a slow cache.

mod golden;
mod properties;
mod slow;
mod stories;
