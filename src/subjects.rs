//! What experiments can be about: one line a subject. The first is meant where a file has none of another's tables.

mod layer;
mod rebalance;
mod roofline;

use crate::serve_sources::Files;
use layer::Layers;
use rebalance::Rebalances;
pub(crate) use roofline::Rooflines;
use std::sync::LazyLock;
use study::experiment::Subject;
use study::subjects::Serving;

static ROOFLINE: LazyLock<Rooflines> = LazyLock::new(Rooflines::default);
static SERVING: LazyLock<Serving<Files>> = LazyLock::new(Serving::default);

/// All of them.
pub(crate) fn subjects() -> [&'static dyn Subject; 4] {
    [&Layers, &*SERVING, &*ROOFLINE, &Rebalances]
}
