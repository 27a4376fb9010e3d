//! The equations: roofline, scale-up against scale-out, pipelines, caches; a deployment that stands on them, and its calibration to
//! measured times.
//!
//! One module a chapter. Every formula is derived where it stands, names the public source it comes from and
//! gives a worked number. Sources: S1, S2 = two articles on a blackboard lecture about how frontier models
//! are trained and served (Reiner Pope with Dwarkesh Patel, April 2026); T = its transcript; SB = "How to
//! Scale Your Model" (jax-ml/scaling-book); V3 = the DeepSeek-V3 report (arXiv 2412.19437); ISCA = "Insights
//! into DeepSeek-V3" (arXiv 2505.09343); INF = DeepSeek's overview of its inference system; EP = DeepEP's
//! published tables; PR = public price pages of 2026.
//!
//! Symbols: R racks of G ranks, n = R G; E experts, k of them a token (top-k); m experts within reach on a
//! rank; T tokens a rank; h hidden, f expert width; W_u and W_o bytes/s of a scale-up and a scale-out port in
//! one direction, beta = W_u / W_o the throttle; F dense FLOP/s (a multiply and an add are two), BW bytes/s
//! of memory; N_tot and N_act parameters, w bytes each; B sequences a pass, L tokens of context, kappa bytes of
//! cache a token; rho = (F/2) w / BW, B* = rho N_tot / N_act, u = B / B*, K = t_kv / t_c.
//!
//! What is deliberately absent: processes, clocks, sockets and randomness.

pub mod caches;
pub mod calibration;
pub mod deployment;
mod error;
pub mod figure;
pub mod layer;
pub mod pipeline;
pub mod published;
pub mod roofline;
pub mod scale_up;
pub mod text;
pub mod units;

pub use error::BlackboardError;
pub use scale_up::{A2aTime, CopiesPerToken};
