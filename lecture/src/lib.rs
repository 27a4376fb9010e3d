//! The lecture behind the equations: every claim of it as a formula that runs, with what was stated beside what is computed, and the
//! chapters that nothing else stands on (prices, over-training, reversibility).
//!
//! The other chapters' equations, the symbols and the sources (T, S1, S2, ...) are those of [`blackboard`].

pub mod claims;
pub mod figures;
pub mod overtraining;
pub mod prices;
pub mod reversible;
pub mod text;
mod v3;
