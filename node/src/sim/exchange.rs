//! Bytes from rank to rank and nothing else: the cards without a layer on top of them.
//!
//! Where no flow waits for credit they need no clock ([`columns`](super::columns)).
//!
//! For patterns that have no tokens: the uniform all-to-all of benchmarks, matrices of measured traffic, weight moves.

use super::columns::{Ports, carry, cores_for};
use super::drive::{Driven, drive, lookahead};
use super::error::SimError;
use super::uplinks::Uplinks;
use crate::nic::{FlowPeers, Nic, NicConfig, OutRow, credit_window};
use crate::seat::SeatError;
use crate::wire::{Flow, Frame, Origin, Phase, Row, RowData, TrafficClass};
use moe::plan::Targets;
use std::sync::Arc;
use topology::{Cluster, Fabric, LinkClass, Picos, RankId, TrafficMatrix};

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
    if chunk_bytes == 0 {
        return Err(SimError::Chunk);
    }
    assert_eq!(traffic.num_ranks(), cluster.num_ranks(), "one row a rank");
    let config = config(fabric, chunk_bytes);
    let cores = cores_for(traffic, chunk_bytes);
    if let Some(exchanged) = in_columns(cluster, &config, traffic, (chunk_bytes, cores)) {
        return Ok(exchanged);
    }
    by_events(cluster, &config, traffic, chunk_bytes)
}

/// The cards' settings.
fn config(fabric: &Fabric, chunk_bytes: u32) -> NicConfig {
    let chunk = u64::from(chunk_bytes);
    NicConfig {
        fabric: *fabric,
        class: TrafficClass::Bulk,
        chunk_rows: 1,
        credit_bytes: credit_window(fabric, chunk),
        chunk_bytes: chunk,
        horizon: Picos::ZERO,
        resolution: Picos::ZERO,
    }
}

/// An exchange in which no flow waits for credit, in chunks of so many bytes and on so many cores; `None` for another.
fn in_columns(
    cluster: &Cluster,
    config: &NicConfig,
    traffic: &TrafficMatrix,
    (chunk, cores): (u32, usize),
) -> Option<Exchanged> {
    let mut exchanged = Exchanged { done: vec![Picos::ZERO; cluster.num_ranks() as usize], frames: 0 };
    for class in LinkClass::ALL {
        let ports = Ports { cluster, class, config, chunk, open_until: Picos::ZERO, cores };
        let peers = |me| traffic.sent(me).map(|(to, _)| to).collect::<Vec<_>>();
        let delivered = carry(ports, traffic, peers)?;
        exchanged.frames += delivered.frames.iter().sum::<u64>();
        for (done, last) in exchanged.done.iter_mut().zip(delivered.last) {
            *done = last.max(*done);
        }
    }
    Some(exchanged)
}

/// Any exchange, on the virtual clock.
fn by_events(
    cluster: &Cluster,
    config: &NicConfig,
    traffic: &TrafficMatrix,
    chunk_bytes: u32,
) -> Result<Exchanged, SimError> {
    let mut cards = cards(cluster, config, traffic, chunk_bytes);
    drive(&mut cards, lookahead(cluster, &config.fabric), Uplinks::new(cluster, &config.fabric))?;
    let stuck = cards.iter().find(|card| !card.nic.is_idle());
    if let Some(card) = stuck {
        let from = card.nic.waits_for().first().copied();
        return Err(SimError::Stuck { rank: card.me, phase: Phase::Combine, from });
    }
    Ok(Exchanged {
        done: cards.iter().map(|card| card.done).collect(),
        frames: cards.iter().map(|card| card.nic.frames_received()).sum(),
    })
}

/// A card a rank, with the first flow of each port in its queues.
fn cards<'a>(
    cluster: &Cluster,
    config: &NicConfig,
    traffic: &'a TrafficMatrix,
    chunk_bytes: u32,
) -> Vec<Card<'a>> {
    let chunk = u64::from(chunk_bytes);
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
        let nic = Nic::new(me, Arc::clone(&shared), config, flow, Phase::Combine, peers);
        let mut card = Card { me, nic, traffic, chunk, entered: [0; 2], done: Picos::ZERO };
        LinkClass::ALL.into_iter().for_each(|link| card.enter(link));
        cards.push(card);
    }
    cards
}

/// A card by itself.
struct Card<'a> {
    me: RankId,
    nic: Nic,
    traffic: &'a TrafficMatrix,
    chunk: u64,
    /// By link: flows whose rows have been queued. In their first round ports visit flows in this order, so that rows need not
    /// stand in a queue before the flow's turn is next: a million flows of one row never do at once.
    entered: [usize; 2],
    done: Picos,
}

impl Card<'_> {
    /// Queues all rows of the flow that the port of `link` visits next for the first time, if there is one.
    fn enter(&mut self, link: LinkClass) {
        let entered = &mut self.entered[usize::from(link == LinkClass::ScaleOut)];
        let Some(to) = self.nic.visits(link, *entered) else { return };
        *entered += 1;
        let bytes = self.traffic.get(self.me, to);
        for part in 0..bytes.div_ceil(self.chunk) {
            let len = (bytes - part * self.chunk).min(self.chunk) as u32;
            let origin = Origin { source: self.me, token: 0, sequence: 0, position: 0 };
            let row = Row { origin, targets: Targets::new(), data: RowData::Len(len) };
            self.nic.enqueue(to, OutRow { row, ready: Picos::ZERO, release: None });
        }
        self.nic.close(to, Picos::ZERO);
    }
}

impl Driven for Card<'_> {
    fn serve(&mut self, now: Picos, out: &mut Vec<Frame>) -> Result<(), SimError> {
        while let Some((due, frame)) = self.nic.poll_deliver(now) {
            self.done = self.done.max(due);
            self.nic.grant(frame.source, frame.charged_bytes(), due);
        }
        while let Some(frame) = self.nic.poll_transmit(now) {
            if frame.class == TrafficClass::Bulk {
                self.enter(self.nic.link_class(frame.destination));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use topology::{Hardware, Oversubscription};

    /// Racks, traffic of few bytes or many, links with and without latency.
    fn patterns() -> impl Strategy<Value = (Cluster, TrafficMatrix, Fabric)> {
        let sizes = prop::collection::vec(1u32..5, 1..5);
        let sends = prop::collection::vec((0u32..16, 0u32..16, 1u64..40_000), 1..80);
        let ratio = prop_oneof![Just(1.0), 1.0..8.0f64];
        (sizes, sends, 0u64..3, ratio).prop_map(|(sizes, sends, latency, ratio)| {
            let cluster = Cluster::new(&sizes).expect("small");
            let n = cluster.num_ranks();
            let mut traffic = TrafficMatrix::new(n);
            for (from, to, bytes) in sends {
                traffic.add(RankId(from % n), RankId(to % n), bytes);
            }
            let mut fabric = Hardware::preset("gb200").expect("a preset").fabric();
            (fabric.scale_up.latency, fabric.scale_out.latency) =
                (Picos(latency * 1_000), Picos(latency * 3_700));
            fabric.oversubscription = Oversubscription::new(ratio).expect("a ratio");
            (cluster, traffic, fabric)
        })
    }

    #[test]
    fn flows_with_more_than_their_credit_go_in_columns_while_none_waits() {
        let cluster = Cluster::uniform(2, 4).expect("small");
        let config = config(&Hardware::preset("gb200").expect("a preset").fabric().without_latency(), 1_000);
        let told = |bytes: fn(u32, u32) -> u64| {
            let mut traffic = TrafficMatrix::new(8);
            for (from, to) in (0..8).flat_map(|from| (0..8).map(move |to| (from, to))) {
                traffic.add(RankId(from), RankId(to), bytes(from, to));
            }
            in_columns(&cluster, &config, &traffic, (1_000, 2))
        };
        assert_eq!(told(|_, _| 100_000).map(|exchanged| exchanged.frames), Some(8 * 7 * 100));
        // All send to one, which takes in a third of what comes.
        assert_eq!(told(|_, to| if to == 0 { 100_000 } else { 0 }), None);
    }

    proptest! {
        #[test]
        fn columns_are_the_event_clock_to_the_picosecond(
            (cluster, traffic, fabric) in patterns(), chunk_bytes in 100u32..60_000, cores in 1usize..5,
        ) {
            let config = config(&fabric, chunk_bytes);
            if let Some(columns) = in_columns(&cluster, &config, &traffic, (chunk_bytes, cores)) {
                let expected = by_events(&cluster, &config, &traffic, chunk_bytes).expect("all arrives");
                prop_assert_eq!(columns, expected);
            }
        }

        #[test]
        fn rows_that_queue_when_it_is_their_turn_leave_as_if_all_had_been_there(
            (cluster, traffic, fabric) in patterns(), chunk_bytes in 1u32..1_500,
        ) {
            let run = |mut cards: Vec<Card<'_>>| {
                drive(&mut cards, lookahead(&cluster, &fabric), None).expect("all arrives");
                cards.iter().map(|card| (card.done, card.nic.frames_received())).collect::<Vec<_>>()
            };
            let config = config(&fabric, chunk_bytes);
            let mut filled = cards(&cluster, &config, &traffic, chunk_bytes);
            for card in &mut filled {
                for _ in cluster.ranks() {
                    LinkClass::ALL.into_iter().for_each(|link| card.enter(link));
                }
            }
            prop_assert_eq!(run(cards(&cluster, &config, &traffic, chunk_bytes)), run(filled));
        }
    }
}
