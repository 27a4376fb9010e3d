//! Expected copies for any placement: replicas, ragged racks, uneven tokens, gates limited by racks or by groups of experts.

use std::collections::BTreeMap;

use moe::gate::{GroupCounts, SelectionRule};
use moe::{DispatchScheme, ExpertId, GateLimit, Placement};
use topology::{Cluster, RankId};

use super::{CopiesPerToken, misses};
use crate::BlackboardError;

/// The most sets of groups that a rack-limited expectation is summed over.
pub const MAX_GROUP_SETS: u64 = 10_000;
/// How much work and memory one expectation may take.
#[derive(Clone, Copy)]
struct Bounds {
    /// (Set, rank or expert, source) terms of the sum.
    terms: u64,
    /// Numbers that the reaches of earlier sources are kept in.
    kept: u64,
}

/// Some seconds and some hundred megabytes.
const BOUNDS: Bounds = Bounds { terms: 1_000_000_000, kept: 20_000_000 };

/// Expected copies per token of uniform routing (k distinct experts of all, or of the experts of `limit`
/// groups chosen uniformly), exact for every placement; averaged over tokens, of which rank i has
/// `tokens_per_rank[i]`.
///
/// For one source and one point of the replica choice it is fixed which rank serves each expert, so that it
/// reaches m_g experts on rank g; the mean over points is that over shares. By linearity, the expected copies are the sum over the other ranks of the probability that a copy
/// goes there: k m_g / E rows for flat, q(m_g) for dedup. Hierarchical pays q(m_r) to enter each other rack
/// r, and there q(m_g) for each rank but the gateway. Under a limit, m and E count only the chosen groups,
/// and the mean over all sets of groups is taken; sets are equally likely, so this is a plain average.
///
/// Sources: V3 section 3.2.2 for the limited gate and the hierarchical scheme; agrees with
/// [`uniform_copies`](super::uniform_copies) where all racks are alike.
///
/// ```
/// # use blackboard::scale_up::expected_copies;
/// # use moe::{DispatchScheme, Placement};
/// # use topology::Cluster;
/// // 8 of 256 on 12 + 4 ranks: fewer copies cross than between 8 + 8, where it is 4.
/// let cluster = Cluster::new(&[12, 4])?;
/// let placement = Placement::linear(&cluster, 256)?;
/// let copies = expected_copies(DispatchScheme::Flat, &cluster, &placement, 8, None, &[32; 16])?;
/// assert_eq!((copies.intra, copies.inter), (4.5, 3.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`BlackboardError`] if the inputs don't fit each other, no rank has a token, a set of groups has fewer
/// than k experts, or the sum has too many sets (over [`MAX_GROUP_SETS`]) or terms.
pub fn expected_copies(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    top_k: u32,
    limit: Option<&GateLimit>,
    tokens_per_rank: &[u32],
) -> Result<CopiesPerToken, BlackboardError> {
    alike_copies(scheme, cluster, placement, (top_k, 0), limit, tokens_per_rank)
}

/// As [`expected_copies`], `zero` experts that pass a token on as it is beside those that are placed.
fn alike_copies(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    (top_k, zero): (u32, u32),
    limit: Option<&GateLimit>,
    tokens_per_rank: &[u32],
) -> Result<CopiesPerToken, BlackboardError> {
    check(cluster, placement, tokens_per_rank)?;
    let pools = pools(placement.num_experts(), (top_k, zero), limit)?;
    let hits = Hits::new(cluster, placement.num_experts(), &pools, (top_k, zero));
    bounded(scheme, cluster, placement, hits, tokens_per_rank, BOUNDS)
}

/// Expected copies per token under a model's own gate, all experts alike: as [`expected_copies`], with hits from how often the picks
/// of a token spread over groups in which way ([`GroupCounts`], exact for a gate without limits, else of drawn tokens). Given that,
/// the experts of a group are alike, and a set that has s of the S experts of a group with n picks is missed with
/// probability `C(S - s, n) / C(S, n)`.
///
/// # Errors
/// As [`expected_copies`].
pub fn gate_copies(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    rule: &SelectionRule,
    tokens_per_rank: &[u32],
) -> Result<CopiesPerToken, BlackboardError> {
    if rule.is_plain() {
        let picked = (rule.top_k, rule.zero);
        return alike_copies(scheme, cluster, placement, picked, None, tokens_per_rank);
    }
    if placement.num_experts() != rule.experts {
        return Err(BlackboardError::TopK { top_k: rule.top_k, experts: placement.num_experts() });
    }
    let counts = GroupCounts::of(rule);
    let odds = Odds::Groups(&counts, BTreeMap::new());
    let hits = Hits { cluster, odds, num_experts: rule.experts, top_k: rule.top_k, zero: 0 };
    bounded(scheme, cluster, placement, hits, tokens_per_rank, BOUNDS)
}

fn bounded(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    mut hits: Hits<'_>,
    tokens_per_rank: &[u32],
    bounds: Bounds,
) -> Result<CopiesPerToken, BlackboardError> {
    let tokens = check(cluster, placement, tokens_per_rank)?;
    let mut reaches: BTreeMap<Vec<RankId>, Reach> = BTreeMap::new();
    let mut computed: u64 = 0;
    let mut sum = CopiesPerToken::default();
    for rack in cluster.racks() {
        let sources = || cluster.ranks_in(rack).filter(|source| tokens_per_rank[source.0 as usize] > 0);
        if sources().next().is_none() {
            continue;
        }
        for (share, slots) in placement.joint_choices(rack) {
            let hosts: Vec<RankId> = slots.into_iter().map(|slot| placement.rank_of(slot)).collect();
            if !reaches.contains_key(&hosts) {
                computed += 1;
                if computed.saturating_mul(hits.terms()) > bounds.terms {
                    return Err(BlackboardError::Terms { max: bounds.terms });
                }
                if (reaches.len() as u64 + 1) * hits.numbers() > bounds.kept {
                    reaches.clear();
                }
                reaches.insert(hosts.clone(), hits.reach(&hosts));
            }
            for source in sources() {
                let copies = reaches[&hosts].copies(scheme, cluster, source);
                let weight = share * f64::from(tokens_per_rank[source.0 as usize]);
                sum.intra += copies.intra * weight;
                sum.inter += copies.inter * weight;
            }
        }
    }
    Ok(CopiesPerToken { intra: sum.intra / tokens, inter: sum.inter / tokens })
}

/// Checks that cluster, placement and tokens fit each other; returns the number of tokens.
fn check(cluster: &Cluster, placement: &Placement, tokens_per_rank: &[u32]) -> Result<f64, BlackboardError> {
    let ranks = cluster.num_ranks();
    if placement.num_ranks() != ranks {
        return Err(BlackboardError::Placement { placement: placement.num_ranks(), cluster: ranks });
    }
    if tokens_per_rank.len() != ranks as usize {
        return Err(BlackboardError::Tokens { given: tokens_per_rank.len(), ranks });
    }
    match tokens_per_rank.iter().map(|&tokens| f64::from(tokens)).sum::<f64>() {
        0.0 => Err(BlackboardError::NoTokens),
        tokens => Ok(tokens),
    }
}

/// The experts that one token chooses from: all, or those of one set of groups.
type Pool = Vec<ExpertId>;

/// All pools, equally likely.
fn pools(
    num_experts: u32,
    (top_k, zero): (u32, u32),
    limit: Option<&GateLimit>,
) -> Result<Vec<Pool>, BlackboardError> {
    let pools = match limit {
        None => vec![(0..num_experts).map(ExpertId).collect()],
        Some(limit) => limited_pools(num_experts, limit)?,
    };
    let smallest = pools.iter().map(Vec::len).min().unwrap_or(0) as u32 + zero;
    if top_k == 0 || top_k > smallest {
        return Err(BlackboardError::TopK { top_k, experts: smallest });
    }
    Ok(pools)
}

/// One pool per set of `limit` groups, as the router draws them: groups without experts are left out of
/// account, and a limit that doesn't bind is none.
fn limited_pools(num_experts: u32, limit: &GateLimit) -> Result<Vec<Pool>, BlackboardError> {
    let GateLimit { group_of_expert, groups, limit } = limit;
    if group_of_expert.len() != num_experts as usize {
        let given = group_of_expert.len();
        return Err(BlackboardError::Limit(format!("groups are given for {given} of {num_experts} experts")));
    }
    if *limit == 0 {
        return Err(BlackboardError::Limit("limit = 0; give at least 1".to_owned()));
    }
    let mut members: BTreeMap<u32, Pool> = BTreeMap::new();
    for (expert, &group) in (0..).map(ExpertId).zip(group_of_expert) {
        if group >= *groups {
            return Err(BlackboardError::Limit(format!("group {group} is not below the {groups} groups")));
        }
        members.entry(group).or_default().push(expert);
    }
    let members: Vec<Pool> = members.into_values().collect();
    let (groups, limit) = (members.len() as u32, (*limit).min(members.len() as u32));
    let sets = combinations(groups, limit).ok_or(BlackboardError::GroupSets {
        limit,
        groups,
        max: MAX_GROUP_SETS,
    })?;
    Ok(sets
        .iter()
        .map(|set| set.iter().flat_map(|&group| members[group as usize].clone()).collect())
        .collect())
}

/// All ascending selections of `choose` of `0..of`, or `None` if there are more than [`MAX_GROUP_SETS`].
fn combinations(of: u32, choose: u32) -> Option<Vec<Vec<u32>>> {
    let fewer = u64::from(choose.min(of - choose));
    let mut count = 1;
    for i in 0..fewer {
        count = count * (u64::from(of) - i) / (i + 1); // exact: C(of, i + 1)
        if count > MAX_GROUP_SETS {
            return None;
        }
    }
    let mut sets = vec![Vec::new()];
    for chosen in 0..choose {
        let extend = |set: Vec<u32>| {
            let first = set.last().map_or(0, |last| last + 1);
            let end = of - (choose - chosen - 1);
            (first..end).map(move |next| [set.as_slice(), &[next]].concat())
        };
        sets = sets.into_iter().flat_map(extend).collect();
    }
    Some(sets)
}

/// Where a token's picks may be.
enum Odds<'a> {
    /// Any of one pool of several that are equally likely; q(m) for m = 0, 1, ..., by size of the pool.
    Pools(&'a [Pool], BTreeMap<usize, Vec<f64>>),
    /// Spread over groups; hit probabilities by the experts in each group that has any, largest first.
    Groups(&'a GroupCounts, BTreeMap<Vec<u32>, f64>),
}

/// Hit probabilities of sets of experts.
struct Hits<'a> {
    cluster: &'a Cluster,
    odds: Odds<'a>,
    num_experts: u32,
    top_k: u32,
    zero: u32,
}

impl<'a> Hits<'a> {
    fn new(cluster: &'a Cluster, num_experts: u32, pools: &'a [Pool], (top_k, zero): (u32, u32)) -> Self {
        let table = |size: usize| misses(size as u32 + zero, top_k).map(|miss| 1.0 - miss).collect();
        let by_size = pools.iter().map(|pool| (pool.len(), table(pool.len()))).collect();
        Self { cluster, odds: Odds::Pools(pools, by_size), num_experts, top_k, zero }
    }

    /// Terms that one reach sums.
    fn terms(&self) -> u64 {
        let places = u64::from(self.cluster.num_ranks() + self.cluster.num_racks());
        match &self.odds {
            Odds::Pools(pools, _) => {
                pools.iter().map(|pool| pool.len() as u64).sum::<u64>() + pools.len() as u64 * places
            }
            Odds::Groups(counts, _) => {
                u64::from(self.num_experts) + places * u64::from(self.num_experts / counts.group_size())
            }
        }
    }

    /// Numbers that one reach and its key hold.
    fn numbers(&self) -> u64 {
        let (ranks, racks) = (self.cluster.num_ranks(), self.cluster.num_racks());
        u64::from(self.num_experts) + 2 * u64::from(ranks) + 3 * u64::from(racks)
    }

    /// What a source reaches whose experts are served by `hosts`.
    fn reach(&mut self, hosts: &[RankId]) -> Reach {
        let (ranks, racks) = (self.cluster.num_ranks() as usize, self.cluster.num_racks() as usize);
        let mut reach = Reach {
            rank_rows: vec![0.0; ranks],
            rank_hits: vec![0.0; ranks],
            rack_rows: vec![0.0; racks],
            rack_hits: vec![0.0; racks],
            rank_hits_in_rack: vec![0.0; racks],
        };
        match &mut self.odds {
            Odds::Pools(pools, by_size) => {
                let likelihood = 1.0 / pools.len() as f64;
                for pool in *pools {
                    let (mut by_rank, mut by_rack) = (vec![0usize; ranks], vec![0usize; racks]);
                    for expert in pool {
                        let host = hosts[expert.0 as usize];
                        by_rank[host.0 as usize] += 1;
                        by_rack[self.cluster.rack_of(host).0 as usize] += 1;
                    }
                    let q = &by_size[&pool.len()];
                    let rows =
                        likelihood * f64::from(self.top_k) / (pool.len() as f64 + f64::from(self.zero));
                    for (rank, &m) in self.cluster.ranks().zip(&by_rank) {
                        reach.add_rank(self.cluster, rank, rows * m as f64, likelihood * q[m]);
                    }
                    for (rack, &m) in by_rack.iter().enumerate() {
                        reach.rack_rows[rack] += rows * m as f64;
                        reach.rack_hits[rack] += likelihood * q[m];
                    }
                }
            }
            Odds::Groups(counts, known) => {
                let groups = (self.num_experts / counts.group_size()) as usize;
                let (mut by_rank, mut by_rack) = (vec![vec![0; groups]; ranks], vec![vec![0; groups]; racks]);
                for (expert, &host) in (0_u32..).zip(hosts) {
                    let group = (expert / counts.group_size()) as usize;
                    by_rank[host.0 as usize][group] += 1;
                    by_rack[self.cluster.rack_of(host).0 as usize][group] += 1;
                }
                let each = f64::from(self.top_k) / f64::from(self.num_experts);
                let rows = |held: &[u32]| each * f64::from(held.iter().sum::<u32>());
                for (rank, held) in self.cluster.ranks().zip(&by_rank) {
                    reach.add_rank(self.cluster, rank, rows(held), hit(counts, held, known));
                }
                for (rack, held) in by_rack.iter().enumerate() {
                    reach.rack_rows[rack] += rows(held);
                    reach.rack_hits[rack] += hit(counts, held, known);
                }
            }
        }
        reach
    }
}

/// The probability that a token has an expert of a set with `held` experts in each group, looked up in `known`.
pub(crate) fn hit(counts: &GroupCounts, held: &[u32], known: &mut BTreeMap<Vec<u32>, f64>) -> f64 {
    let mut held: Vec<u32> = held.iter().copied().filter(|&held| held > 0).collect();
    held.sort_unstable_by(|a, b| b.cmp(a));
    match known.get(&held) {
        Some(&hit) => hit,
        None => {
            let hit = 1.0 - counts.miss(&held);
            known.insert(held, hit);
            hit
        }
    }
}

/// What the tokens of one source reach, in expectation.
struct Reach {
    /// (token, expert) rows for each rank.
    rank_rows: Vec<f64>,
    /// Probability that a token has an expert on each rank.
    rank_hits: Vec<f64>,
    /// (token, expert) rows for each rack.
    rack_rows: Vec<f64>,
    /// Probability that a token has an expert in each rack.
    rack_hits: Vec<f64>,
    /// Sum of `rank_hits` over each rack: ranks of the rack that a token has an expert on.
    rank_hits_in_rack: Vec<f64>,
}

impl Reach {
    fn add_rank(&mut self, cluster: &Cluster, rank: RankId, rows: f64, hits: f64) {
        self.rank_rows[rank.0 as usize] += rows;
        self.rank_hits[rank.0 as usize] += hits;
        self.rank_hits_in_rack[cluster.rack_of(rank).0 as usize] += hits;
    }

    fn copies(&self, scheme: DispatchScheme, cluster: &Cluster, source: RankId) -> CopiesPerToken {
        let own = cluster.rack_of(source);
        let others = cluster.racks().filter(|&rack| rack != own);
        let sum = |by_rack: &[f64]| others.clone().map(|rack| by_rack[rack.0 as usize]).sum();
        // All but the one rank that needs no copy; the difference of equal sums may be a rounding below zero.
        let except = |by_rack: &[f64], by_rank: &[f64], rank: RankId| {
            (by_rack[cluster.rack_of(rank).0 as usize] - by_rank[rank.0 as usize]).max(0.0)
        };
        match scheme {
            DispatchScheme::Flat => CopiesPerToken {
                intra: except(&self.rack_rows, &self.rank_rows, source),
                inter: sum(&self.rack_rows),
            },
            DispatchScheme::Dedup => CopiesPerToken {
                intra: except(&self.rank_hits_in_rack, &self.rank_hits, source),
                inter: sum(&self.rank_hits_in_rack),
            },
            DispatchScheme::Hierarchical => {
                let entries =
                    std::iter::once(source).chain(others.clone().map(|rack| cluster.gateway(source, rack)));
                CopiesPerToken {
                    intra: entries.map(|entry| except(&self.rank_hits_in_rack, &self.rank_hits, entry)).sum(),
                    inter: sum(&self.rack_hits),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
