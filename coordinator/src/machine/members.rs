//! Who is in the cluster: nodes by id, the epoch that counts changes, and the order in which nodes are seated.

use super::clock::NodeClock;
use node::control::{Machine, NodeId, Standing};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use thiserror::Error;

/// Most nodes of a cluster.
pub const NODES_MAX: usize = topology::MAX_RANKS as usize;
/// Longest name of a node, bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Why a node may not join.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// The name is empty, too long, or not printable.
    #[error(
        "a node's name has 1 to {NAME_BYTES_MAX} printable bytes, this one is {0:?}; start the node with another --name"
    )]
    Name(String),
    /// The machine's id is too long.
    #[error(
        "the id of its machine has {0} bytes, at most {NAME_BYTES_MAX}; run one build of railyard everywhere"
    )]
    Machine(usize),
    /// Another process has the name, and is alive.
    #[error(
        "a live process has the name {0} already; give each node a name and a certificate of its own, or end the other process"
    )]
    Taken(String),
    /// The certificate is another's.
    #[error(
        "it registered as {name:?} with a certificate of {certificate}; start it with --name {certificate}"
    )]
    Certificate {
        /// The name that it gave.
        name: String,
        /// The name in its certificate.
        certificate: String,
    },
    /// No room.
    #[error("the cluster has {NODES_MAX} nodes already; start another coordinator for more")]
    Full,
    /// The coordinator is shutting down.
    #[error("the coordinator is shutting down; start the node again when it is back")]
    Closing,
}

impl JoinError {
    /// Whether the same node may be let in a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::Closing)
    }
}

/// A node that has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where its peers dial it.
    pub address: SocketAddr,
    /// The machine that it runs on, and the cores that it may use there.
    pub machine: Machine,
    /// Its monotonic clock.
    pub(super) clock: NodeClock,
    /// Pings that are still to follow the one under way.
    pub(super) pings_left: u32,
    /// When it was last heard, by the coordinator's clock, ns; never later than now.
    pub(super) heard_ns: u64,
    /// What it has said last of a run that it takes part in.
    pub(super) said: Option<Said>,
    /// The segment of a run in which it has last been told that one of its links loses packets.
    pub(super) lossy_in: Option<u64>,
    /// Whether it has been silent for too long.
    pub(super) suspected: bool,
    /// Whether it is to leave as soon as it has no seat.
    pub(super) draining: bool,
}

/// What a node has said last of a run that it takes part in, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) at_ns: u64,
    pub(super) standing: Standing,
}

impl Member {
    /// Whether it hasn't been heard for a while.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// Whether it may take a seat; one that is to leave may `stay` on where nobody else can.
    pub(super) fn can_sit(&self, stay: bool) -> bool {
        !self.suspected && (stay || !self.draining)
    }
}

/// All registered nodes.
#[derive(Debug, Default)]
pub(super) struct Members {
    nodes: BTreeMap<NodeId, Member>,
    by_name: BTreeMap<String, NodeId>,
    /// Most cores that a node of each machine may use.
    machines: BTreeMap<String, u32>,
    last: u32,
    epoch: u32,
}

impl Members {
    /// Adds a node under a new id.
    pub(super) fn join(
        &mut self,
        now_ns: u64,
        name: &str,
        address: SocketAddr,
        machine: Machine,
        clock: NodeClock,
    ) -> Result<NodeId, JoinError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(JoinError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        if machine.id.len() > NAME_BYTES_MAX {
            return Err(JoinError::Machine(machine.id.len()));
        }
        if self.by_name.contains_key(name) {
            return Err(JoinError::Taken(name.to_owned()));
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(JoinError::Full);
        }
        self.last += 1;
        self.epoch += 1;
        let node = NodeId(self.last);
        self.by_name.insert(name.to_owned(), node);
        let cores = self.machines.entry(machine.id.clone()).or_default();
        *cores = machine.cores.max(*cores);
        let name = name.to_owned();
        let (heard_ns, suspected, draining) = (now_ns, false, false);
        self.nodes.insert(
            node,
            Member {
                name,
                address,
                machine,
                clock,
                pings_left: 0,
                heard_ns,
                said: None,
                lossy_in: None,
                suspected,
                draining,
            },
        );
        Ok(node)
    }

    /// Takes a node out.
    pub(super) fn leave(&mut self, node: NodeId) -> Option<Member> {
        let member = self.nodes.remove(&node)?;
        self.by_name.remove(&member.name);
        let id = &member.machine.id;
        let left = self.nodes.values().filter(|other| other.machine.id == *id);
        match left.map(|other| other.machine.cores).max() {
            Some(cores) => self.machines.insert(id.clone(), cores),
            None => self.machines.remove(id),
        };
        self.epoch += 1;
        Some(member)
    }

    /// Number of changes so far.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).expect("members are bounded")
    }

    /// Cores of all machines, each counted once.
    pub(super) fn cores(&self) -> u32 {
        self.machines.values().fold(0, |sum, &cores| sum.saturating_add(cores))
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Member> {
        self.nodes.get(&node)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Member)> {
        self.nodes.iter_mut().map(|(node, member)| (*node, member))
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Member> {
        self.nodes.get_mut(&node)
    }

    /// Members in order of seating: by name, numbers in it by value (`rack0-3` before `rack0-10`), then by id.
    pub(super) fn seating(&self) -> Vec<(NodeId, &Member)> {
        let mut order: Vec<_> = self.nodes.iter().map(|(id, member)| (*id, member)).collect();
        order.sort_by(|(a, one), (b, other)| natural(&one.name, &other.name).then(a.cmp(b)));
        order
    }
}

/// Compares names with runs of ASCII digits by their value; of equal values the one with fewer zeros in front comes first.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let digits = (digits(a), digits(b));
        let order = if digits.0 > 0 && digits.1 > 0 {
            let (x, y) = (&a[..digits.0], &b[..digits.1]);
            (a, b) = (&a[digits.0..], &b[digits.1..]);
            let (short, long) = (significant(x), significant(y));
            short.len().cmp(&long.len()).then(short.cmp(long)).then(x.len().cmp(&y.len()))
        } else {
            let order = x.cmp(y);
            (a, b) = (&a[1..], &b[1..]);
            order
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    fn machine() -> Machine {
        Machine { id: "m".to_owned(), cores: 2 }
    }

    #[test]
    fn cores_of_a_machine_count_once() {
        let mut members = Members::default();
        for (name, id, cores) in [("a", "one", 2), ("b", "one", 4), ("c", "two", 8)] {
            members
                .join(0, name, address(), Machine { id: id.to_owned(), cores }, NodeClock::new(false))
                .unwrap();
        }
        assert_eq!(members.cores(), 12);
        members.leave(NodeId(2)).unwrap();
        assert_eq!(members.cores(), 10);
    }

    #[test]
    fn nodes_sit_by_rack_and_number_whatever_order_they_come_in() {
        let mut members = Members::default();
        for name in ["rack1-0", "rack0-10", "rack0-9", "rack10-0", "rack0-0", "rack2-1"] {
            members.join(0, name, address(), machine(), NodeClock::new(false)).unwrap();
        }
        let names: Vec<_> = members.seating().iter().map(|(_, member)| member.name.as_str()).collect();
        assert_eq!(names, ["rack0-0", "rack0-9", "rack0-10", "rack1-0", "rack2-1", "rack10-0"]);
        assert_eq!(members.epoch(), 6);
    }

    #[test]
    fn a_name_is_that_of_one_live_process() {
        let mut members = Members::default();
        let join = |members: &mut Members| members.join(0, "a", address(), machine(), NodeClock::new(false));
        let first = join(&mut members).unwrap();
        let refused = join(&mut members).unwrap_err();
        assert!(refused.may_pass() && refused.to_string().contains("live process"), "{refused}");
        assert_eq!((members.len(), members.epoch()), (1, 1));
        members.leave(first).unwrap();
        let second = join(&mut members).unwrap();
        assert!(members.contains(second) && !members.contains(first));
        assert!(members.leave(first).is_none());
        assert_eq!(members.epoch(), 3);
    }

    #[test]
    fn names_that_would_break_a_line_are_refused() {
        let mut members = Members::default();
        for name in ["", "a\nb", &"x".repeat(256)] {
            assert!(matches!(
                members.join(0, name, address(), machine(), NodeClock::new(false)),
                Err(JoinError::Name(_))
            ));
        }
        assert_eq!(members.epoch(), 0);
    }

    proptest! {
        #[test]
        fn natural_order_is_total(mut names in proptest::collection::vec("[a-b0-2]{0,5}", 3)) {
            let (a, b) = (names[0].clone(), names[1].clone());
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            names.sort_by(|a, b| natural(a, b));
            prop_assert!(natural(&names[0], &names[2]).is_le());
        }
    }
}
