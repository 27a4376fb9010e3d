//! The demand as JSON: what a program that places experts is told.

use super::Demand;
use serde::Serialize;
use topology::Cluster;

/// Raised when a key changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;
/// Tokens that stand for the demand.
const TOKENS: usize = 1024;

/// The object; docs/placement.md describes it.
#[derive(Serialize)]
struct Question<'a> {
    schema_version: u32,
    layer: u32,
    num_experts: u32,
    top_k: u32,
    groups: u32,
    slots: u32,
    ranks_per_rack: &'a [u32],
    load: &'a [u64],
    load_by_rack: Vec<Vec<f64>>,
    picks: Picks<'a>,
}

#[derive(Serialize)]
struct Picks<'a> {
    recorded: bool,
    racks: Vec<u32>,
    experts: Vec<&'a [u32]>,
}

impl Demand {
    /// The demand on the ranks of `cluster`, to be placed in `slots` slots, as one line of JSON; equal demands give equal lines.
    ///
    /// # Panics
    /// If the demand is of other racks than the cluster's.
    #[must_use]
    pub fn question(&self, cluster: &Cluster, slots: u32) -> String {
        let sample = self.sample(cluster, TOKENS, 0);
        let question = Question {
            schema_version: SCHEMA_VERSION,
            layer: self.layer(),
            num_experts: self.num_experts(),
            top_k: self.top_k(),
            groups: self.groups(),
            slots,
            ranks_per_rack: cluster.rack_sizes(),
            load: self.load(),
            load_by_rack: self.by_rack(cluster),
            picks: Picks {
                recorded: self.has_picks(),
                racks: sample.racks.iter().map(|rack| rack.0).collect(),
                experts: sample.experts.chunks(sample.top_k).collect(),
            },
        };
        serde_json::to_string(&question).expect("numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_all_that_a_placement_is_made_for() {
        let cluster = Cluster::new(&[2, 1]).unwrap();
        let demand = Demand::new(vec![0; 4], 2).from_racks(vec![vec![5, 1, 0, 0], vec![0, 0, 3, 0]]).unwrap();
        let line = demand.in_groups(2).of_layer(7).question(&cluster, 6);
        let start = "{\"schema_version\":1,\"layer\":7,\"num_experts\":4,\"top_k\":2,\"groups\":2,\"slots\":6,\
                     \"ranks_per_rack\":[2,1],\"load\":[5,1,3,0],\"load_by_rack\":[[5.0,1.0,0.0,0.0],[0.0,0.0,3.0,0.0]],\
                     \"picks\":{\"recorded\":false,\"racks\":[";
        assert!(line.starts_with(start) && !line.contains('\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["picks"]["racks"].as_array().unwrap().len(), TOKENS);
        assert_eq!(value["picks"]["experts"][0].as_array().unwrap().len(), 2);
    }
}
