//! The demand of a measured layer: its counts, and of its picks which experts go together and where they come from.

use super::{ExpertLoad, LayerPicks};
use crate::placement::{Demand, Picks, PlacementError};
use topology::{Cluster, RankId};

impl Demand {
    /// Demand for the experts of a layer of `loads`, on the ranks of `cluster`.
    ///
    /// Where tokens come from counts if the record says it of every token and has as many ranks as the cluster. Tokens with
    /// fewer experts than others count in the loads only. `top_k` is used where there are no picks.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if the picks are not of this many experts.
    ///
    /// # Panics
    /// If `loads` has no such layer.
    pub fn measured(
        cluster: &Cluster,
        loads: &ExpertLoad,
        layer: usize,
        top_k: u32,
    ) -> Result<Self, PlacementError> {
        let counts = loads.layers().nth(layer).expect("a layer of the record");
        let mut demand = Self::new(counts.to_vec(), top_k);
        let Some(picks) = loads.picks(layer) else { return Ok(demand) };
        let racks = racks_of(cluster, picks);
        if let Some(racks) = &racks {
            let mut by_rack = vec![vec![0; counts.len()]; cluster.num_racks() as usize];
            for (experts, &rack) in picks.rows().zip(racks) {
                for &expert in experts {
                    by_rack[rack as usize][expert as usize] += 1;
                }
            }
            demand = demand.from_racks(by_rack)?;
        }
        let k = picks.top_k();
        let whole = |row: &usize| picks.experts(*row).len() == k as usize;
        let rows: Vec<usize> = (0..picks.len()).filter(whole).collect();
        if rows.is_empty() {
            return Ok(demand);
        }
        demand.with_picks(Picks {
            top_k: k,
            experts: rows.iter().flat_map(|&row| picks.experts(row)).copied().collect(),
            racks: racks.map(|racks| rows.iter().map(|&row| racks[row]).collect()),
        })
    }
}

/// The rack of every token, if the record knows all their ranks and has as many as the cluster.
fn racks_of(cluster: &Cluster, picks: &LayerPicks) -> Option<Vec<u32>> {
    let ranks: Vec<u32> = (0..picks.len()).map(|row| picks.rank(row)).collect::<Option<_>>()?;
    let recorded = ranks.iter().max()? + 1;
    (recorded == cluster.num_ranks())
        .then(|| ranks.iter().map(|&rank| cluster.rack_of(RankId(rank)).0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::parse_loads;

    fn megatron(ranks: &[u32]) -> ExpertLoad {
        let line = |rank: &u32| {
            format!(
                r#"{{"step":0,"stage":"pre_dispatch","block":"decoder","layer":3,"rank":{rank},"num_tokens":1,"topk":2,"top_indices":[[{rank},3]]}}"#
            ) + "\n"
        };
        let text: String = ranks.iter().map(line).collect();
        parse_loads(text.as_bytes(), "test").unwrap()
    }

    #[test]
    fn origins_count_where_the_record_has_the_clusters_ranks() {
        let loads = megatron(&[0, 1, 2]);
        let cluster = Cluster::new(&[2, 1]).unwrap();
        let demand = Demand::measured(&cluster, &loads, 0, 1).unwrap();
        assert_eq!((demand.load(), demand.top_k(), demand.has_picks()), (&[1, 1, 1, 3][..], 2, true));
        assert_eq!(demand.by_rack(&cluster), [[1.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 1.0]]);
        let wider = Cluster::new(&[2, 2]).unwrap();
        let demand = Demand::measured(&wider, &loads, 0, 1).unwrap();
        assert_eq!(demand.by_rack(&wider)[0], [0.5, 0.5, 0.5, 1.5], "from all ranks alike");
    }
}
