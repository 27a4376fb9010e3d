//! How fast something goes at what time: at full speed but for spans in which it is slow or stands still.

use crate::Picos;

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Picos,
    until: Picos,
    /// Thousandths of the time that work takes otherwise; 0 where nothing is done.
    permille: u64,
}

/// A speed that changes with time. Work that needs no time still waits where everything stands still.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Apart from each other, ascending.
    spans: Vec<Span>,
}

impl Pace {
    /// Full speed at all times.
    pub const STEADY: Self = Self { spans: Vec::new() };

    /// Slow from one time to another, by thousandths of the time that work takes; 0 for nothing is done. Where several meet, their factors
    /// multiply.
    #[must_use]
    pub fn new(windows: &[(Picos, Picos, u32)]) -> Self {
        let mut edges: Vec<Picos> = windows.iter().flat_map(|&(from, until, _)| [from, until]).collect();
        edges.sort_unstable();
        edges.dedup();
        let span = |edge: &[Picos]| {
            let [from, until] = *edge else { return None };
            let here = windows.iter().filter(|window| window.0 <= from && until <= window.1);
            let factors: Vec<u64> = here.map(|window| u64::from(window.2)).collect();
            let product =
                |permille: u64, more: &u64| (permille.saturating_mul(*more) / 1_000).min(u32::MAX.into());
            let permille = factors.iter().fold(1_000, product);
            (!factors.is_empty() && permille != 1_000).then_some(Span { from, until, permille })
        };
        Self { spans: edges.windows(2).filter_map(span).collect() }
    }

    /// Whether it is full speed at all times.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.spans.is_empty()
    }

    /// When work that needs `work` at full speed is done if it begins at `start`; [`Picos::MAX`] for never.
    #[must_use]
    pub fn end(&self, start: Picos, work: Picos) -> Picos {
        let (mut at, mut left) = (start, work);
        for span in self.spans.iter().filter(|span| span.until > start) {
            let before = Picos(span.from.0.saturating_sub(at.0));
            if left < before || left == before && before > Picos::ZERO {
                break;
            }
            left = Picos(left.0 - before.0);
            at = at.max(span.from);
            let room = u128::from(span.until.0 - at.0);
            if span.permille > 0 {
                let permille = u128::from(span.permille);
                let needed = (u128::from(left.0) * permille).div_ceil(1_000);
                if needed <= room {
                    return Picos(at.0 + u64::try_from(needed).unwrap_or(u64::MAX));
                }
                left = Picos(left.0 - u64::try_from(room * 1_000 / permille).unwrap_or(left.0).min(left.0));
            }
            at = span.until;
        }
        at.saturating_add(left)
    }
}
