//! Who takes which seat: everyone keeps the one it had, and spares take what is vacant.

use super::members::Members;
use node::control::NodeId;
use std::collections::BTreeSet;

/// Names in the order of seats, as far as it has been decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seating {
    order: Vec<String>,
}

impl Seating {
    /// Nobody has a claim any more to the first `ranks` seats who could not take it: which they were.
    pub(super) fn give_up(&mut self, ranks: u32, members: &Members) -> Vec<u32> {
        let able = |name: &String| {
            members
                .by_name(name)
                .and_then(|node| members.get(node))
                .is_some_and(|member| member.can_sit(true))
        };
        let seats = (0..ranks).zip(&self.order);
        let vacant: Vec<u32> = seats.filter(|(_, name)| !able(name)).map(|(seat, _)| seat).collect();
        let mut seat = 0;
        self.order.retain(|_| {
            seat += 1;
            !vacant.contains(&(seat - 1))
        });
        vacant
    }

    /// Nodes for `ranks` seats; `None` where fewer can take one. Nodes that are suspected can't, nor those that are to leave, unless they
    /// may `stay`.
    ///
    /// Names that have no place yet come after those that have, in their natural order. A vacant seat is taken by the first who has none.
    pub(super) fn choose(&mut self, ranks: u32, members: &Members, stay: bool) -> Option<Vec<NodeId>> {
        let ranks = ranks as usize;
        let able = |name: &str| {
            let node = members.by_name(name)?;
            members.get(node).is_some_and(|member| member.can_sit(stay)).then_some(node)
        };
        if members.seating().iter().filter(|(_, member)| member.can_sit(stay)).count() < ranks {
            return None;
        }
        let placed: BTreeSet<&String> = self.order.iter().collect();
        let come = members.seating().into_iter().map(|(_, member)| &member.name);
        let come: Vec<String> = come.filter(|name| !placed.contains(name)).cloned().collect();
        let mut order: Vec<String> = self.order.iter().cloned().chain(come).collect();
        for seat in 0..ranks {
            if able(&order[seat]).is_none() {
                let spare = (ranks..order.len()).find(|&at| able(&order[at]).is_some())?;
                order.swap(seat, spare);
            }
        }
        // Of those who are gone only names that had a seat are kept.
        let seats: Vec<String> = order.drain(..ranks).collect();
        order.retain(|name| members.by_name(name).is_some());
        let nodes = seats.iter().map(|name| able(name)).collect();
        self.order = seats.into_iter().chain(order).collect();
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::NodeClock;
    use super::*;
    use node::control::Machine;

    fn join(members: &mut Members, name: &str) -> NodeId {
        let machine = Machine { id: "m".to_owned(), cores: 2 };
        members.join(0, name, ([127, 0, 0, 1], 1).into(), machine, NodeClock::new(false)).unwrap()
    }

    fn names(members: &Members, nodes: &[NodeId]) -> Vec<String> {
        nodes.iter().map(|node| members.get(*node).unwrap().name.clone()).collect()
    }

    #[test]
    fn nobody_moves_when_another_comes_or_goes() {
        let (mut members, mut seating) = (Members::default(), Seating::default());
        assert_eq!(seating.choose(1, &members, false), None);
        for name in ["b", "d", "a"] {
            join(&mut members, name);
        }
        let mut chosen = |members: &Members, ranks| {
            let nodes = seating.choose(ranks, members, false);
            nodes.map(|nodes| names(members, &nodes).join(" "))
        };
        assert_eq!(chosen(&members, 2).as_deref(), Some("a b"));
        assert_eq!(chosen(&members, 3).as_deref(), Some("a b d"));
        join(&mut members, "aa");
        assert_eq!(chosen(&members, 3).as_deref(), Some("a b d"), "a newcomer is a spare");
        members.leave(members.by_name("b").unwrap()).unwrap();
        assert_eq!(chosen(&members, 3).as_deref(), Some("a aa d"), "the spare takes the seat");
        assert_eq!(chosen(&members, 4), None);
        join(&mut members, "b");
        assert_eq!(chosen(&members, 3).as_deref(), Some("a aa d"), "who comes back is the spare");
        let node = members.by_name("aa").unwrap();
        members.get_mut(node).unwrap().suspected = true;
        assert_eq!(chosen(&members, 3).as_deref(), Some("a b d"), "nobody who is suspected is seated");
        assert_eq!(chosen(&members, 4), None);
        assert_eq!(chosen(&members, 3).as_deref(), Some("a b d"));
        members.leave(members.by_name("b").unwrap()).unwrap();
        assert_eq!(seating.give_up(3, &members), [1]);
        let nodes = seating.choose(2, &members, false).unwrap();
        assert_eq!(names(&members, &nodes), ["a", "d"], "who is left keeps the order");
    }
}
