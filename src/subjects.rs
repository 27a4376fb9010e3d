//! What experiments can be about: one line a subject. The first is meant where a file has none of another's tables.

mod layer;

use crate::serve_sources::Files;
use layer::Layers;
use std::sync::LazyLock;
use study::experiment::Subject;
use study::subjects::Serving;

static SERVING: LazyLock<Serving<Files>> = LazyLock::new(Serving::default);

/// All of them.
pub(crate) fn subjects() -> [&'static dyn Subject; 2] {
    [&Layers, &*SERVING]
}
