//! Bytes from rank to rank and nothing else: the cards on the virtual clock, without a layer on top of them.
//!
//! For patterns that have no tokens: the uniform all-to-all of benchmarks, matrices of measured traffic, weight moves.

use super::SimError;
use super::drive::{Station, drive, lookahead};
use crate::nic::{FlowPeers, Nic, NicConfig, OutRow, credit_window};
use crate::seat::SeatError;
use crate::wire::{Flow, Frame, Origin, Phase, Row, RowData, TrafficClass};
use moe::plan::Targets;
use std::sync::Arc;
use topology::{Cluster, Fabric, Picos, RankId, TrafficMatrix};

/// What an exchange yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Delivery of the last byte that each rank hears, since the common start: `[num_ranks]`.
    pub done: Vec<Picos>,
    /// Frames, over all ranks.
    pub frames: u64,
}

impl Exchanged {
    /// Delivery of the last byte of all.
    #[must_use]
    pub fn end(&self) -> Picos {
        self.done.iter().copied().max().unwrap_or(Picos::ZERO)
    }
}

/// Frames that a card sends or takes in at a time, where nothing depends on it: bounds the frames in flight.
const BATCH_FRAMES: u64 = 64;

/// Sends `traffic` through one card a rank, all at once, in chunks of at most `chunk_bytes`.
///
/// # Errors
/// [`SimError::Chunk`] for chunks of no bytes or too many.
///
/// # Panics
/// If the matrix has not one row per rank of `cluster`.
pub fn exchange(
    cluster: &Cluster,
    fabric: &Fabric,
    traffic: &TrafficMatrix,
    chunk_bytes: u32,
) -> Result<Exchanged, SimError> {
    assert_eq!(traffic.num_ranks(), cluster.num_ranks(), "one row a rank");
    if chunk_bytes == 0 {
        return Err(SimError::Chunk);
    }
    let chunk = u64::from(chunk_bytes);
    let config = NicConfig {
        fabric: *fabric,
        class: TrafficClass::Bulk,
        chunk_rows: 1,
        credit_bytes: credit_window(fabric, chunk),
        chunk_bytes: chunk,
        horizon: Picos::ZERO,
        resolution: Picos::ZERO,
    };
    let shared = Arc::new(cluster.clone());
    let mut heard_from: Vec<Vec<RankId>> = vec![Vec::new(); cluster.num_ranks() as usize];
    for from in cluster.ranks() {
        for (to, _) in traffic.sent(from).filter(|(to, _)| *to != from) {
            heard_from[to.0 as usize].push(from);
        }
    }
    let flow = Flow { cluster: 0, run: 0, epoch: 0, step: 0, micro_batch: 0, layer: 0 };
    let mut cards = Vec::with_capacity(heard_from.len());
    for (me, from) in cluster.ranks().zip(&heard_from) {
        let to: Vec<RankId> = traffic.sent(me).map(|(to, _)| to).filter(|to| *to != me).collect();
        let peers = FlowPeers { to: &to, from };
        let mut nic = Nic::new(me, Arc::clone(&shared), &config, flow, Phase::Combine, peers);
        for (to, bytes) in traffic.sent(me).filter(|(to, _)| *to != me) {
            for part in 0..bytes.div_ceil(chunk) {
                let len = (bytes - part * chunk).min(chunk) as u32;
                let origin = Origin { source: me, token: 0, sequence: 0, position: 0 };
                let row = Row { origin, targets: Targets::new(), data: RowData::Len(len) };
                nic.enqueue(to, OutRow { row, ready: Picos::ZERO, release: None });
            }
            nic.close(to, Picos::ZERO);
        }
        cards.push(Card { me, nic, done: Picos::ZERO });
    }
    drop(heard_from);
    if !cards.iter().any(|card| card.nic.needs_credit()) {
        let used = if cluster.num_racks() > 1 { fabric.scale_out } else { fabric.scale_up };
        let largest = cluster.ranks().flat_map(|from| traffic.sent(from)).map(|(_, bytes)| bytes).max();
        let patience = used.rate.transfer(BATCH_FRAMES * chunk.min(largest.unwrap_or(0)));
        cards.iter_mut().for_each(|card| card.nic.batch(patience));
    }
    drive(&mut cards, lookahead(cluster, fabric), &mut None)?;
    let stuck = cards.iter().find(|card| !card.nic.is_idle());
    if let Some(card) = stuck {
        return Err(SimError::Stuck { rank: card.me, phase: Phase::Combine });
    }
    Ok(Exchanged {
        done: cards.iter().map(|card| card.done).collect(),
        frames: cards.iter().map(|card| card.nic.frames_received()).sum(),
    })
}

/// A card by itself.
struct Card {
    me: RankId,
    nic: Nic,
    done: Picos,
}

impl Station for Card {
    fn serve(&mut self, now: Picos, out: &mut Vec<Frame>) -> Result<(), SimError> {
        while let Some((due, frame)) = self.nic.poll_deliver(now) {
            self.done = self.done.max(due);
            self.nic.grant(frame.source, frame.charged_bytes(), due);
        }
        while let Some(frame) = self.nic.poll_transmit(now) {
            out.push(frame);
        }
        Ok(())
    }

    fn handle_arrival(&mut self, now: Picos, frame: Frame) -> Result<(), SimError> {
        let rank = self.me;
        Ok(self.nic.handle_arrival(now, frame).map_err(|error| SeatError::Nic { rank, error })?)
    }

    fn wake_for(&self, arrive: Picos) -> Picos {
        self.nic.wake_for(arrive)
    }

    fn poll_timeout(&self) -> Option<Picos> {
        self.nic.poll_timeout()
    }
}
