//! One rank of an expert-parallel layer: a sans-IO state machine, the wire format, and its two shells.
//!
//! [`rank`] and [`nic`] perform no I/O and read no clock; [`seat`] joins them. [`sim`] drives seats on a virtual clock
//! over in-memory links, [`net`] and [`worker`] drive one seat over QUIC on the wall clock. Both call the same code.

pub mod control;
pub mod digest;
mod fault;
pub mod health;
pub mod job;
pub mod net;
pub mod nic;
pub mod program;
pub mod rank;
pub mod seat;
pub mod setup;
pub mod sim;
pub mod trace;
pub mod wire;
pub mod worker;
