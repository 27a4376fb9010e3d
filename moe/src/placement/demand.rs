//! What a placement is made for: how many tokens want which expert, where they come from, which experts go together.

use super::PlacementError;
use crate::gate::{Fit, Race, SelectionRule, rarities};
use crate::seed::{Purpose, generator};
use rand::RngExt;
use rand_pcg::Pcg64;
use topology::{Cluster, RackId, RankId};

/// Demand for the experts of one layer.
///
/// Without origins, tokens come from all ranks alike. Without picks, experts are picked independently of each other, or as a gate
/// on drawn scores takes them ([`Demand::under`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Tokens of each expert, `[experts]`.
    load: Vec<u64>,
    /// Tokens from each rack for each expert, `[racks][experts]`.
    by_rack: Option<Vec<Vec<u64>>>,
    picks: Option<Picks>,
    top_k: u32,
    groups: u32,
    /// What picks experts, and the rarities with which they get their loads; `None` for picks that are independent or recorded.
    gate: Option<(SelectionRule, Vec<f64>)>,
    layer: u32,
    known: bool,
}

/// Recorded top-k sets, a sample of the demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Picks {
    /// Experts a token.
    pub top_k: u32,
    /// The experts of each token, `[tokens, top_k]` by rows, distinct within a token.
    pub experts: Vec<u32>,
    /// The rack that each token comes from, `[tokens]`, if known.
    pub racks: Option<Vec<u32>>,
}

/// Tokens of a demand, each with its rack.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) top_k: usize,
    /// `[tokens, top_k]` by rows.
    pub(crate) experts: Vec<u32>,
    /// `[tokens]`
    pub(crate) racks: Vec<RackId>,
}

impl Demand {
    /// `top_k` of the experts a token, `load` tokens for each expert.
    #[must_use]
    pub fn new(load: Vec<u64>, top_k: u32) -> Self {
        Self { load, by_rack: None, picks: None, top_k, groups: 1, gate: None, layer: 0, known: true }
    }

    /// One token of each rank for each of `num_experts` experts: nothing is known of what is asked for.
    #[must_use]
    pub fn even(cluster: &Cluster, num_experts: u32) -> Self {
        let row = |&size: &u32| vec![u64::from(size); num_experts as usize];
        let load = vec![u64::from(cluster.num_ranks()); num_experts as usize];
        let by_rack = Some(cluster.rack_sizes().iter().map(row).collect());
        Self { by_rack, known: false, ..Self::new(load, 1) }
    }

    /// Of a gate that limits a token's experts to some of `groups` runs of equal length; at least 1.
    #[must_use]
    pub fn in_groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// Asked for by a gate of `rule` on drawn scores, whose popularities give each expert its load; its groups are the demand's.
    /// Recorded picks stay. A gate without limits picks experts independently.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] where the gate can't have such loads.
    ///
    /// # Panics
    /// If the rule is for another number of experts.
    pub fn under(mut self, rule: &SelectionRule) -> Result<Self, PlacementError> {
        self.groups = rule.groups;
        if self.picks.is_some() {
            return Ok(self);
        }
        (self.top_k, self.gate) = (rule.top_k, None);
        if !rule.is_plain() {
            let loads: Vec<f64> = self.load.iter().map(|&tokens| tokens as f64).collect();
            let rarity = rarities(rule, &loads, Fit::Rough);
            let rarity = rarity.map_err(|problem| {
                let layer = self.layer;
                PlacementError::refused(
                    "demand",
                    format!(
                        "layer {layer} asks what its gate can't: {problem}; give loads of this model, or uniform routing"
                    ),
                )
            })?;
            self.gate = Some((*rule, rarity));
        }
        Ok(self)
    }

    /// Of the experts of `layer`.
    #[must_use]
    pub fn of_layer(mut self, layer: u32) -> Self {
        self.layer = layer;
        self
    }

    /// From each rack as many tokens for each expert, `[racks][experts]`; replaces the loads by their sums.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if a row has not one number an expert.
    pub fn from_racks(mut self, by_rack: Vec<Vec<u64>>) -> Result<Self, PlacementError> {
        let experts = self.load.len();
        if let Some(row) = by_rack.iter().find(|row| row.len() != experts) {
            return Err(PlacementError::refused(
                "demand",
                format!("{} experts in a rack, {experts} in all", row.len()),
            ));
        }
        self.load = (0..experts).map(|expert| by_rack.iter().map(|row| row[expert]).sum()).collect();
        self.by_rack = Some(by_rack);
        Ok(self)
    }

    /// With recorded picks, whose `top_k` replaces the one given.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if they name an unknown expert or are not whole rows.
    pub fn with_picks(mut self, picks: Picks) -> Result<Self, PlacementError> {
        let refuse = |problem: String| Err(PlacementError::refused("demand", problem));
        let top_k = picks.top_k as usize;
        if top_k == 0 || picks.experts.is_empty() || !picks.experts.len().is_multiple_of(top_k) {
            return refuse(format!("{} picks are no rows of top_k = {top_k}", picks.experts.len()));
        }
        if let Some(expert) = picks.experts.iter().find(|&&expert| expert as usize >= self.load.len()) {
            return refuse(format!("expert {expert} picked, of {}", self.load.len()));
        }
        if let Some(racks) = picks.racks.as_ref().filter(|racks| racks.len() != picks.experts.len() / top_k) {
            return refuse(format!("racks of {} tokens for {}", racks.len(), picks.experts.len() / top_k));
        }
        (self.top_k, self.picks, self.gate) = (picks.top_k, Some(picks), None);
        Ok(self)
    }

    /// Tokens of each expert, `[experts]`.
    #[must_use]
    pub fn load(&self) -> &[u64] {
        &self.load
    }

    /// Logical experts.
    #[must_use]
    pub fn num_experts(&self) -> u32 {
        self.load.len() as u32
    }

    /// Groups of experts that the gate limits; 1 for none.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// False if it is assumed to be even.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The layer, by its number in the model or the record.
    #[must_use]
    pub fn layer(&self) -> u32 {
        self.layer
    }

    /// Experts a token, no more than there are.
    #[must_use]
    pub fn top_k(&self) -> u32 {
        self.top_k.clamp(1, self.load.len().max(1) as u32)
    }

    /// Whether it is known which experts are picked together.
    #[must_use]
    pub fn has_picks(&self) -> bool {
        self.picks.is_some()
    }

    /// Whether a gate is drawn for want of recorded picks.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Groups of the gate that is drawn; 1 where none is.
    pub(crate) fn gate_groups(&self) -> u32 {
        self.gate.as_ref().map_or(1, |(rule, _)| rule.groups)
    }

    /// Whether tokens use some of its groups of experts only, so that racks of whole groups are visited less.
    pub(crate) fn is_in_groups(&self) -> bool {
        let divides = self.groups > 1 && self.num_experts().is_multiple_of(self.groups);
        divides && (self.is_gated() || self.has_picks())
    }

    /// Recorded tokens.
    pub(crate) fn recorded(&self) -> usize {
        self.picks.as_ref().map_or(0, |picks| picks.experts.len() / picks.top_k as usize)
    }

    /// Checks that its racks are those of `cluster`.
    pub(crate) fn check(&self, cluster: &Cluster) -> Result<(), PlacementError> {
        let racks = cluster.num_racks();
        let given = self.by_rack.as_ref().map(Vec::len).filter(|&given| given != racks as usize);
        if let Some(given) = given {
            return Err(PlacementError::refused(
                "demand",
                format!("tokens from {given} racks, the cluster has {racks}"),
            ));
        }
        let from = self.picks.iter().flat_map(|picks| picks.racks.iter().flatten());
        match from.into_iter().find(|&&rack| rack >= racks) {
            Some(rack) => {
                Err(PlacementError::refused("demand", format!("tokens from rack {rack} of {racks}")))
            }
            None => Ok(()),
        }
    }

    /// Tokens from each rack for each expert, `[racks][experts]`.
    #[must_use]
    pub fn by_rack(&self, cluster: &Cluster) -> Vec<Vec<f64>> {
        if let Some(by_rack) = &self.by_rack {
            return by_rack.iter().map(|row| row.iter().map(|&tokens| tokens as f64).collect()).collect();
        }
        let part = |&size: &u32| f64::from(size) / f64::from(cluster.num_ranks());
        let row = |part: f64| self.load.iter().map(|&tokens| tokens as f64 * part).collect();
        cluster.rack_sizes().iter().map(|size| row(part(size))).collect()
    }

    /// `tokens` tokens, the same for a `seed`; recorded ones evenly over the record, or all of it more than once.
    pub(crate) fn sample(&self, cluster: &Cluster, tokens: usize, seed: u64) -> Sample {
        let top_k = self.top_k() as usize;
        let mut sample = Sample { top_k, experts: Vec::with_capacity(tokens * top_k), racks: Vec::new() };
        let mut rng = generator(Purpose::Demand, seed, [0, 0, 0]);
        let turn = |at: usize, round: usize| {
            cluster.rack_of(RankId(((at + round) % cluster.num_ranks() as usize) as u32))
        };
        if let Some(picks) = &self.picks {
            let rows = picks.experts.len() / top_k;
            for at in 0..tokens {
                let row = if rows > tokens { at * rows / tokens } else { at % rows };
                let experts = &picks.experts[row * top_k..][..top_k];
                sample.experts.extend(experts);
                sample.racks.push(match (&picks.racks, &self.by_rack) {
                    (Some(racks), _) => RackId(racks[row]),
                    (None, Some(by_rack)) => self.origin(by_rack, experts, &mut rng),
                    (None, None) => turn(at, at / rows),
                });
            }
            return sample;
        }
        if let Some((rule, rarity)) = &self.gate {
            let mut race = Race::new(rule, rarity);
            for at in 0..tokens {
                let mut rng = generator(Purpose::Demand, seed, [self.layer.into(), at as u64, 1]);
                race.draw(&mut rng, &mut sample.experts);
                sample.racks.push(match &self.by_rack {
                    Some(by_rack) => self.origin(by_rack, &sample.experts[at * top_k..], &mut rng),
                    None => turn(at, 0),
                });
            }
            return sample;
        }
        let by_rack = self.by_rack.as_deref();
        let all: Vec<f64> = self.load.iter().map(|&tokens| tokens as f64).collect();
        let of_rack = by_rack.map(|rows| {
            let row = |row: &Vec<u64>| row.iter().map(|&tokens| tokens as f64).collect::<Vec<f64>>();
            rows.iter().map(row).collect::<Vec<_>>()
        });
        let weights = of_rack.unwrap_or_else(|| vec![all]);
        let sent: Vec<f64> = weights.iter().map(|row| row.iter().sum()).collect();
        let mut draws: Vec<Draw> = weights.iter().map(|row| Draw::new(row, top_k)).collect();
        for at in 0..tokens {
            let rack = match by_rack {
                Some(_) => RackId(pick(&sent, &mut rng) as u32),
                None => turn(at, 0),
            };
            let draw = if by_rack.is_some() { &mut draws[rack.0 as usize] } else { &mut draws[0] };
            draw.token(&mut rng, &mut sample.experts);
            sample.racks.push(rack);
        }
        sample
    }

    /// A rack that sends such tokens: in proportion to its part of the demand for each of their experts.
    fn origin(&self, by_rack: &[Vec<u64>], experts: &[u32], rng: &mut Pcg64) -> RackId {
        let part = |row: &Vec<u64>, expert: u32| {
            row[expert as usize] as f64 / self.load[expert as usize].max(1) as f64
        };
        let weights: Vec<f64> =
            by_rack.iter().map(|row| experts.iter().map(|&expert| part(row, expert)).sum()).collect();
        RackId(pick(&weights, rng) as u32)
    }
}

/// An index in proportion to `weights`; the first where all are 0.
fn pick(weights: &[f64], rng: &mut Pcg64) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
}

/// Draws `top_k` distinct experts, each with a probability in proportion to its load (systematic sampling in random order).
struct Draw {
    /// Probability that a token has the expert; the sum is `top_k`.
    odds: Vec<f64>,
    order: Vec<u32>,
    top_k: usize,
}

impl Draw {
    fn new(load: &[f64], top_k: usize) -> Self {
        let total: f64 = load.iter().sum();
        // Experts without load may be needed to fill a token up.
        let floor = if total > 0.0 { total * 1e-9 } else { 1.0 };
        let weights: Vec<f64> = load.iter().map(|weight| weight + floor).collect();
        let mut odds = vec![0.0; load.len()];
        // An expert can't be picked twice: what is above 1 goes to the others.
        loop {
            let certain = odds.iter().filter(|&&p| p >= 1.0).count();
            let free: f64 =
                weights.iter().zip(&odds).filter(|&(_, &p)| p < 1.0).map(|(weight, _)| weight).sum();
            let mut more = false;
            for (p, weight) in odds.iter_mut().zip(&weights).filter(|(p, _)| **p < 1.0) {
                *p = ((top_k - certain) as f64 * weight / free).min(1.0);
                more |= *p >= 1.0;
            }
            if !more {
                break;
            }
        }
        Self { odds, order: (0..load.len() as u32).collect(), top_k }
    }

    fn token(&mut self, rng: &mut Pcg64, experts: &mut Vec<u32>) {
        let first = experts.len();
        let (mut sum, mut next) = (0.0, rng.random::<f64>());
        for at in 0..self.order.len() {
            let other = rng.random_range(at..self.order.len());
            self.order.swap(at, other);
            sum += self.odds[self.order[at] as usize];
            if sum > next {
                experts.push(self.order[at]);
                next += 1.0;
            }
        }
        experts.truncate(first + self.top_k);
        // Rounding may leave the last one out.
        let mut others = self.order.iter();
        while experts.len() - first < self.top_k {
            let Some(&expert) = others.next() else { break };
            if !experts[first..].contains(&expert) {
                experts.push(expert);
            }
        }
    }
}
