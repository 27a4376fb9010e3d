//! Layers that were simulated once and are looked up or interpolated afterwards, with their error measured.
//!
//! What a layer takes depends, near enough, on how many tokens a rank has on average and on how many the fullest has. Both are put on
//! a grid; a corner is computed when it is first needed, as the mean of a few layers with different seeds, and what lies between corners is
//! interpolated. Layers that are not alike, with popular experts or a placement of their own, each have a grid of their own: the time of
//! one is not that of another. How far off that is measures [`Checked`](super::Checked).

use super::{AskedLayer, CostError, LayerCost, LayerTimes, RankTokens};
use std::collections::BTreeMap;
use topology::Picos;

/// Grid lines an octave.
const LINES_PER_OCTAVE: f64 = 3.0;
/// Tokens that the layers of one corner have together at least, and most layers: few tokens need many layers for a mean.
const CORNER_TOKENS: u64 = 8_192;
const CORNER_LAYERS_MAX: u64 = 64;

/// A [`LayerCost`] that remembers another.
#[derive(Debug)]
pub struct Memoised<L> {
    inner: L,
    /// Layers with experts, ascending.
    layers: Vec<u32>,
    /// Layers that are alike, `[kinds]`: a corner's are taken from them in turn.
    kinds: Vec<Vec<u32>>,
    /// Of each layer, an index into `kinds`.
    kind_of: BTreeMap<u32, usize>,
    ranks: u32,
    /// By kind, then place on the grid.
    corners: BTreeMap<(usize, u32, u32), Mean>,
    last: Last,
    /// While steps are checked: so many layers, evenly spaced, each stand for those up to the next.
    standing: Option<usize>,
    /// Whether steps are computed in full.
    in_full: bool,
    /// Layers that were asked for in full and are not computed yet.
    asked: BTreeMap<InFull, AskedLayer>,
    /// What such layers took.
    computed: BTreeMap<InFull, LayerTimes>,
}

/// What kinds took for the tokens of all ranks and of the fullest that were last asked for.
#[derive(Debug, Default)]
struct Last {
    tokens: (u64, u32),
    times: BTreeMap<usize, LayerTimes>,
}

/// A layer in full, once a shape: step, layer, tokens in all and tokens of the fullest rank.
type InFull = (u32, u32, u64, u32);

/// Mean times of a corner, ps.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    dispatch: f64,
    experts: f64,
    combine: f64,
}

impl Mean {
    fn add(&mut self, other: Self, weight: f64) {
        self.dispatch += weight * other.dispatch;
        self.experts += weight * other.experts;
        self.combine += weight * other.combine;
    }

    fn times(self) -> LayerTimes {
        let picos = |time: f64| Picos(time.round().max(0.0) as u64);
        LayerTimes {
            dispatch: picos(self.dispatch),
            experts: picos(self.experts),
            combine: picos(self.combine),
        }
    }
}

impl From<LayerTimes> for Mean {
    fn from(times: LayerTimes) -> Self {
        Self {
            dispatch: times.dispatch.0 as f64,
            experts: times.experts.0 as f64,
            combine: times.combine.0 as f64,
        }
    }
}

impl<L: LayerCost> Memoised<L> {
    /// Remembers what `inner` says of layers for stages of `ranks` ranks. `kinds` has the layers that are alike, each layer once.
    ///
    /// # Panics
    /// If there are no layers or ranks, or a kind without layers.
    #[must_use]
    pub fn new(inner: L, kinds: Vec<Vec<u32>>, ranks: u32) -> Self {
        let some = !kinds.is_empty() && kinds.iter().all(|kind| !kind.is_empty());
        assert!(some && ranks > 0, "layers and ranks to remember");
        let numbered = kinds.iter().enumerate();
        let kind_of: BTreeMap<u32, usize> =
            numbered.flat_map(|(index, kind)| kind.iter().map(move |&layer| (layer, index))).collect();
        Self {
            inner,
            layers: kind_of.keys().copied().collect(),
            kinds,
            kind_of,
            ranks,
            corners: BTreeMap::new(),
            last: Last::default(),
            standing: None,
            in_full: false,
            asked: BTreeMap::new(),
            computed: BTreeMap::new(),
        }
    }

    /// Corners that were computed.
    #[must_use]
    pub fn corners(&self) -> usize {
        self.corners.len()
    }

    /// Layers with experts.
    #[must_use]
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// From now on only so many layers are asked for, evenly spaced, each standing for those up to the next.
    pub(super) fn let_stand(&mut self, layers: usize) {
        self.standing = Some(layers.clamp(1, self.layers.len()));
    }

    /// Tells layers in full from now on, each once a shape: those that are computed, and of others that they take nothing as long as
    /// they are only [asked for](Self::compute_asked).
    pub(super) fn tell_in_full(&mut self) {
        self.in_full = true;
    }

    /// Computes what was asked for in full, all at once.
    pub(super) fn compute_asked(&mut self) -> Result<(), CostError> {
        let (keys, asked): (Vec<InFull>, Vec<AskedLayer>) =
            std::mem::take(&mut self.asked).into_iter().unzip();
        self.computed.extend(keys.into_iter().zip(self.inner.layers(&asked)?));
        Ok(())
    }

    /// Looks up each layer again.
    pub(super) fn look_up(&mut self) {
        (self.standing, self.in_full) = (None, false);
    }

    /// The layer that stands for `layer`.
    fn stands_for(&self, layer: u32) -> u32 {
        let Some(most) = self.standing else { return layer };
        let (place, all) = (self.layers.partition_point(|&known| known < layer), self.layers.len());
        self.layers[place * most / all * all / most]
    }

    /// Computes the corners of a kind that are not known, all at once. A corner is where ranks have so many tokens together and the
    /// fullest so many more than the mean one, by grid lines.
    fn compute_corners(&mut self, step: u32, kind: usize, corners: &[(u32, u32)]) -> Result<(), CostError> {
        let unknown = |lines: &&(u32, u32)| !self.corners.contains_key(&(kind, lines.0, lines.1));
        let unknown: Vec<(u32, u32)> = corners.iter().filter(unknown).copied().collect();
        let layers: Vec<Vec<AskedLayer>> = unknown.iter().map(|&lines| self.of_corner(kind, lines)).collect();
        let times = self.inner.layers(&layers.concat()).map_err(|error| CostError { step, ..error })?;
        let mut times = times.into_iter();
        for (lines, layers) in unknown.into_iter().zip(layers) {
            let mut mean = Mean::default();
            for times in times.by_ref().take(layers.len()) {
                mean.add(times.into(), 1.0 / layers.len() as f64);
            }
            self.corners.insert((kind, lines.0, lines.1), mean);
        }
        Ok(())
    }

    /// The layers whose mean a corner is.
    fn of_corner(&self, kind: usize, lines: (u32, u32)) -> Vec<AskedLayer> {
        let tokens = self.tokens_at(lines.0, lines.1);
        let (layers, kinds) = (&self.kinds[kind], self.kinds.len() as u64);
        let mut count = (CORNER_TOKENS / (tokens.total().max(1) * kinds)).clamp(1, CORNER_LAYERS_MAX);
        if self.inner.repeats() {
            count = count.min(layers.len() as u64);
        }
        // Where there are fewer layers than turns, their steps tell turns apart.
        let layer = |turn: u64| layers[(turn as usize * layers.len() / count as usize) % layers.len()];
        let asked = |turn| AskedLayer { layer: layer(turn), step: turn as u32, tokens: tokens.clone() };
        (0..count).map(asked).collect()
    }

    /// One rank has as many tokens as the fullest, the others share the rest.
    fn tokens_at(&self, mean_line: u32, skew_line: u32) -> RankTokens {
        let total = line_total(mean_line);
        let mean = total as f64 / f64::from(self.ranks);
        let max = (mean * line_skew(skew_line)).ceil().min(total as f64) as u64;
        let others = u64::from(self.ranks - 1).max(1);
        let rest = if self.ranks == 1 { 0 } else { total - max };
        let mut ranks = vec![u32::try_from(max.max(total - rest)).unwrap_or(u32::MAX)];
        ranks.extend(
            (0..u64::from(self.ranks) - 1).map(|rank| {
                u32::try_from(rest / others + u64::from(rank < rest % others)).unwrap_or(u32::MAX)
            }),
        );
        RankTokens::new(ranks)
    }

    fn interpolated(&mut self, step: u32, kind: usize, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
        let total = tokens.total() as f64;
        let skew = (f64::from(tokens.max()) / tokens.mean()).max(1.0);
        let lower = total_line_below(tokens.total());
        let totals = [line_total(lower) as f64, line_total(lower + 1) as f64];
        let below = (skew.log2() * LINES_PER_OCTAVE + 1e-9).floor() as u32;
        let skews = [line_skew(below), line_skew(below + 1)];
        let share = |[from, to]: [f64; 2], at: f64| ((at - from) / (to - from)).clamp(0.0, 1.0);
        let (across, up) = (share(totals, total), share(skews, skew));
        let (lines, skews) =
            ([(lower, 1.0 - across), (lower + 1, across)], [(below, 1.0 - up), (below + 1, up)]);
        let corners = lines
            .into_iter()
            .flat_map(|(line, weight)| skews.map(|(skew, part)| ((line, skew), weight * part)));
        let (corners, weights): (Vec<_>, Vec<f64>) = corners.filter(|(_, weight)| *weight > 0.0).unzip();
        self.compute_corners(step, kind, &corners)?;
        let mut sum = Mean::default();
        for ((line, skew), weight) in corners.into_iter().zip(weights) {
            sum.add(self.corners[&(kind, line, skew)], weight);
        }
        Ok(sum.times())
    }
}

impl<L: LayerCost> LayerCost for Memoised<L> {
    fn layer(&mut self, layer: u32, step: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
        if tokens.total() == 0 {
            return Ok(LayerTimes::default());
        }
        let layer = self.stands_for(layer);
        let shape = (tokens.total(), tokens.max());
        if self.in_full {
            let key = (step, layer, shape.0, shape.1);
            let known = self.computed.get(&key).copied();
            if known.is_none() {
                self.asked.entry(key).or_insert_with(|| AskedLayer { layer, step, tokens: tokens.clone() });
            }
            return Ok(known.unwrap_or_default());
        }
        let kind = self.kind_of.get(&layer).copied().unwrap_or(0);
        if self.last.tokens != shape {
            self.last = Last { tokens: shape, times: BTreeMap::new() };
        }
        if let Some(&times) = self.last.times.get(&kind) {
            return Ok(times);
        }
        let times = self.interpolated(step, kind, tokens)?;
        self.last.times.insert(kind, times);
        Ok(times)
    }

    fn name(&self) -> &'static str {
        "memoised"
    }
}

/// Tokens of all ranks on grid line `line`: every number up to 8, then [`LINES_PER_OCTAVE`] an octave.
fn line_total(line: u32) -> u64 {
    if line < 8 {
        return u64::from(line) + 1;
    }
    (8.0 * (f64::from(line - 7) / LINES_PER_OCTAVE).exp2()).round() as u64
}

/// The last grid line with at most `total` tokens.
fn total_line_below(total: u64) -> u32 {
    let mut line = if total <= 8 {
        u32::try_from(total.max(1) - 1).unwrap_or(0)
    } else {
        7 + ((total as f64 / 8.0).log2() * LINES_PER_OCTAVE) as u32
    };
    while line_total(line + 1) <= total {
        line += 1;
    }
    while line > 0 && line_total(line) > total {
        line -= 1;
    }
    line
}

/// Tokens of the fullest rank over those of the mean one on grid line `line`.
fn line_skew(line: u32) -> f64 {
    (f64::from(line) / LINES_PER_OCTAVE).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Start-up, then linear in both; layers differ by 2%.
    struct Kinked {
        calls: u32,
    }

    impl LayerCost for Kinked {
        fn layer(&mut self, layer: u32, _: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
            self.calls += 1;
            let noise = 1.0 + 0.02 * (f64::from(layer % 5) - 2.0) / 2.0;
            let time = |slope: f64, tokens: f64| Picos(((5e6 + slope * tokens) * noise) as u64);
            let dispatch = time(2e5, f64::from(tokens.max()));
            let experts = Picos(time(0.0, 0.0).0.max((3e5 * tokens.mean()) as u64));
            Ok(LayerTimes { dispatch, experts, combine: dispatch })
        }

        fn name(&self) -> &'static str {
            "kinked"
        }
    }

    fn memoised() -> Memoised<Kinked> {
        Memoised::new(Kinked { calls: 0 }, vec![(0..10).collect()], 8)
    }

    #[test]
    fn a_shape_is_computed_once_and_what_lies_between_is_near() {
        let mut memo = memoised();
        for step in 0..2_000_u32 {
            let tokens = RankTokens::new((0..8).map(|rank| (step * 7 + rank * 13) % 90).collect());
            let looked_up = memo.layer(0, step, &tokens).unwrap().total().0 as f64;
            if step % 100 == 0 {
                memo.tell_in_full();
                let of_all = |memo: &mut Memoised<Kinked>| -> u64 {
                    (0..10).map(|layer| memo.layer(layer, step, &tokens).unwrap().total().0).sum()
                };
                assert_eq!(of_all(&mut memo), 0, "asked for, and not computed");
                memo.compute_asked().unwrap();
                let computed = of_all(&mut memo) as f64 / 10.0;
                memo.look_up();
                assert!((looked_up / computed - 1.0).abs() < 0.03, "step {step}: {looked_up} for {computed}");
            }
        }
        assert!(memo.inner.calls < 3_000 && memo.corners() < 200, "{}, {}", memo.inner.calls, memo.corners());
    }

    /// A layer takes as many microseconds a token as its number says, at every step.
    struct Unlike {
        calls: u32,
    }

    impl LayerCost for Unlike {
        fn layer(&mut self, layer: u32, _: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
            self.calls += 1;
            let experts = Picos(u64::from(layer) * tokens.total() * 1_000_000);
            Ok(LayerTimes { experts, ..LayerTimes::default() })
        }

        fn repeats(&self) -> bool {
            true
        }

        fn name(&self) -> &'static str {
            "unlike"
        }
    }

    #[test]
    fn layers_that_are_not_alike_are_remembered_apart() {
        let kinds = vec![vec![3], vec![4, 6], vec![5], vec![9]];
        let mut memo = Memoised::new(Unlike { calls: 0 }, kinds, 4);
        let tokens = RankTokens::new(vec![4; 4]);
        let micros = |memo: &mut Memoised<Unlike>, layer| {
            memo.layer(layer, 1, &tokens).unwrap().total().0 / 1_000_000 / 16
        };
        for _ in 0..2 {
            // 4 and 6 are said to be alike: both take their mean.
            assert_eq!([3, 4, 5, 6, 9].map(|layer| micros(&mut memo, layer)), [3, 5, 5, 5, 9]);
        }
        // Layers that do the same at every step are asked once.
        assert_eq!((memo.corners(), memo.inner.calls), (4, 5));
        // Two layers stand for five when steps are checked, looked up as well as computed.
        memo.let_stand(2);
        assert_eq!([3, 4, 5, 6, 9].map(|layer| micros(&mut memo, layer)), [3, 3, 3, 5, 5]);
        memo.tell_in_full();
        assert_eq!([3, 4, 5, 6, 9].map(|layer| micros(&mut memo, layer)), [0; 5]);
        memo.compute_asked().unwrap();
        assert_eq!([3, 4, 5, 6, 9].map(|layer| micros(&mut memo, layer)), [3, 3, 3, 5, 5]);
        memo.look_up();
        assert_eq!(micros(&mut memo, 9), 9);
    }

    #[test]
    fn no_tokens_take_no_time() {
        let tokens = RankTokens::new(vec![0; 8]);
        assert_eq!(memoised().layer(0, 0, &tokens).unwrap(), LayerTimes::default());
    }

    proptest! {
        #[test]
        fn grid_lines_ascend_and_enclose(total in 1_u64..10_000_000) {
            let line = total_line_below(total);
            prop_assert!(line_total(line) <= total && total < line_total(line + 1));
        }

        #[test]
        fn a_corner_has_the_tokens_it_stands_for(mean in 0_u32..60, skew in 0_u32..13) {
            let memo = memoised();
            let tokens = memo.tokens_at(mean, skew);
            prop_assert_eq!(tokens.total(), line_total(mean));
            prop_assert!(f64::from(tokens.max()) >= tokens.mean());
        }
    }
}
