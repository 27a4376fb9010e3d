//! Who waits for whom when a phase does not end: from what ranks say of themselves to one sentence about the one that is to blame.

use super::members::{Members, Said};
use node::control::{Losses, NodeId};
use std::collections::BTreeMap;
use topology::RankId;

/// A node that has said nothing of its own loop for so long stands still, though its process is alive.
const STILL_NS: u64 = 1_500_000_000;
/// A loop that was kept from running for so long has a host that is too busy.
const HELD_NS: u64 = 500_000_000;

/// One sentence on why a segment's ranks wait; empty where they have said nothing that helps.
pub(super) fn explain(
    now_ns: u64,
    segment: u64,
    seated: &BTreeMap<NodeId, (RankId, String)>,
    members: &Members,
) -> String {
    let mut awaited: BTreeMap<RankId, u32> = BTreeMap::new();
    let mut waits: BTreeMap<RankId, u32> = BTreeMap::new();
    let mut still: BTreeMap<RankId, u64> = BTreeMap::new();
    let mut held: BTreeMap<RankId, u64> = BTreeMap::new();
    let mut losses: BTreeMap<RankId, Losses> = BTreeMap::new();
    for (node, (rank, _)) in seated {
        let said = members.get(*node).and_then(|member| member.said.as_ref());
        let Some(Said { at_ns, standing }) = said.filter(|said| said.standing.run == segment) else {
            continue;
        };
        let silent_ns = now_ns.saturating_sub(*at_ns);
        if silent_ns > STILL_NS {
            still.insert(*rank, silent_ns);
        }
        if standing.held_ns > HELD_NS {
            held.insert(*rank, standing.held_ns);
        }
        waits.insert(*rank, standing.waits);
        if let Some(of_rank) = standing.losses {
            losses.insert(*rank, of_rank);
        }
        for from in &standing.waits_for {
            *awaited.entry(*from).or_default() += 1;
        }
    }
    let name = |rank: &RankId| {
        let found = seated.values().find(|(seat, _)| seat == rank);
        found.map_or_else(|| rank.to_string(), |(_, name)| format!("{name} ({rank})"))
    };
    let seconds = |ns: u64| ns as f64 / 1e9;
    // The most awaited; of those alike one that awaits nobody itself.
    let most = awaited.iter().max_by_key(|(rank, count)| {
        let idle = waits.get(*rank).is_none_or(|waits| *waits == 0);
        (**count, idle, std::cmp::Reverse(**rank))
    });
    if let Some((rank, silent_ns)) = still.iter().max_by_key(|(rank, _)| awaited.get(*rank).copied()) {
        return format!(
            "{} is alive, but its loop has stood still for {:.1} s",
            name(rank),
            seconds(*silent_ns)
        );
    }
    if let Some((rank, held_ns)) = held.iter().max_by_key(|(_, ns)| **ns) {
        return format!("the host of {} kept it from running for {:.1} s", name(rank), seconds(*held_ns));
    }
    match most {
        None => String::new(),
        Some((rank, count)) => {
            let itself = match waits.get(rank).copied().unwrap_or(0) {
                0 => "waits for nobody".to_owned(),
                waits => format!("waits for {waits} itself"),
            };
            let lost = losses.get(rank).map_or_else(String::new, |losses| {
                let Losses { to, lost, sent } = losses;
                format!(" and has lost {lost} of {sent} packets to {}", name(to))
            });
            let ranks = if *count == 1 { "1 rank waits".to_owned() } else { format!("{count} ranks wait") };
            format!("{ranks} for rows of {}, which {itself}{lost}", name(rank))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::NodeClock;
    use super::*;
    use node::control::{Machine, Standing};

    #[test]
    fn the_one_that_all_wait_for_is_named() {
        let mut members = Members::default();
        let mut seated = BTreeMap::new();
        for rank in 0..4 {
            let machine = Machine { id: "m".to_owned(), cores: 1 };
            let name = format!("n{rank}");
            let clock = NodeClock::new(false);
            let node = members.join(0, &name, ([127, 0, 0, 1], 1).into(), machine, clock).unwrap();
            seated.insert(node, (RankId(rank), name));
        }
        let now_ns = 10_000_000_000;
        let mut say = |rank: u32, waits_for: &[u32], held_ns: u64, at_ns: u64| {
            let waits_for: Vec<_> = waits_for.iter().copied().map(RankId).collect();
            let waits = waits_for.len() as u32;
            let losses = Some(Losses { to: RankId(0), lost: 40, sent: 160 }).filter(|_| rank == 3);
            let standing = Standing { run: 3, waits_for, waits, held_ns, losses };
            members.get_mut(NodeId(rank + 1)).unwrap().said = Some(Said { at_ns, standing });
            explain(now_ns, 3, &seated, &members)
        };
        assert_eq!(say(0, &[2], 0, now_ns), "1 rank waits for rows of n2 (rank 2), which waits for nobody");
        say(1, &[2, 3], 0, now_ns);
        assert_eq!(say(2, &[3], 0, now_ns), "2 ranks wait for rows of n3 (rank 3), which waits for nobody");
        say(3, &[], 0, now_ns);
        let busy = say(3, &[], 900_000_000, now_ns);
        assert_eq!(busy, "the host of n3 (rank 3) kept it from running for 0.9 s");
        let lossy = "2 ranks wait for rows of n3 (rank 3), which waits for nobody and has lost 40 of 160 packets to n0 (rank 0)";
        assert_eq!(say(3, &[], 0, now_ns), lossy);
        let still = say(3, &[], 0, now_ns - 2_000_000_000);
        assert_eq!(still, "n3 (rank 3) is alive, but its loop has stood still for 2.0 s");
        assert_eq!(explain(now_ns, 4, &seated, &members), "");
    }
}
