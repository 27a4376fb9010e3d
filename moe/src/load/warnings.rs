//! What a reader should know before a record is trusted.

use super::ExpertLoad;

impl ExpertLoad {
    /// What makes a record doubtful, with the number, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let (layers, experts) = (self.num_layers(), self.num_experts());
        let mut warnings = Vec::new();
        if self.scale > 1.0 {
            warnings.push(format!("counts with fractions: all are taken {} times", self.scale));
        }
        let empty = self.layers().filter(|counts| counts.iter().all(|&count| count == 0)).count();
        if empty > 0 {
            warnings.push(format!(
                "{empty} of {layers} layers without tokens: any placement is as good for them"
            ));
        }
        if let Some((first, last)) = self.one_share() {
            warnings.push(format!(
                "only experts {first} to {last} of {experts} have tokens, in every layer: is it the record of one rank alone?"
            ));
        }
        if let Some(rank) = self.only_rank() {
            warnings.push(format!("every row is of rank {rank}: a record of one rank alone"));
        }
        warnings
    }

    /// The first and last expert where all tokens are within one of the equal shares that ranks would have.
    fn one_share(&self) -> Option<(u32, u32)> {
        let wanted = |expert: &u32| self.layers().any(|counts| counts[*expert as usize] > 0);
        let experts = self.num_experts();
        let first = (0..experts).find(wanted)?;
        let last = (0..experts).rev().find(wanted)?;
        let share = last - first + 1;
        let whole =
            self.layers().all(|counts| counts[first as usize..=last as usize].iter().any(|&count| count > 0));
        (share > 1
            && whole
            && experts > share
            && experts.is_multiple_of(share)
            && first.is_multiple_of(share))
        .then_some((first, last))
    }

    fn only_rank(&self) -> Option<u32> {
        let mut rows = self.picks.iter().flat_map(|picks| (0..picks.len()).map(|row| picks.rank(row)));
        let rank = rows.next()??;
        rows.all(|other| other == Some(rank)).then_some(rank)
    }
}
