//! vLLM's `routed_experts`, `[len, moe_layers, topk]` of each request: one JSON document, or a line a request.

use serde::Deserialize;

use super::format::Format;
use super::lines::Lines;
use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError};

const EXPECTED: &str = r#"{"routed_experts": [[[expert, ...] for each layer] for each token]}"#;

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "vLLM's `routed_experts`",
    keys: &["routed_experts"],
    document: Some(parse_document),
    lines: Some(parse),
};

#[derive(Deserialize)]
struct Request {
    routed_experts: Vec<Vec<Vec<i64>>>,
}

/// Reads a line a request; other keys are passed over.
fn parse(mut lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    let mut gathered = Gathered::default();
    while let Some(request) = lines.next::<Request>(EXPECTED)? {
        take(&mut gathered, &request).map_err(|problem| lines.wrong(problem))?;
    }
    gathered.finish(None, lines.origin)
}

/// Reads one request over several lines.
fn parse_document(text: &str, origin: &str) -> Result<ExpertLoad, LoadError> {
    let wrong = |line, problem| LoadError::Line { origin: origin.to_owned(), line, problem };
    let request: Request = serde_json::from_str(text)
        .map_err(|error| wrong(error.line(), format!("{error}; expected {EXPECTED}")))?;
    let mut gathered = Gathered::default();
    take(&mut gathered, &request).map_err(|problem| wrong(1, problem))?;
    gathered.finish(None, origin)
}

fn take(gathered: &mut Gathered, request: &Request) -> Result<(), String> {
    let layers = request.routed_experts.first().map_or(0, Vec::len);
    for (token, of_layers) in request.routed_experts.iter().enumerate() {
        if of_layers.len() != layers {
            let found = of_layers.len();
            return Err(format!(
                "token {token} has {found} layers, the first {layers}; give as many for each"
            ));
        }
        for (layer, experts) in (0..).zip(of_layers) {
            gathered
                .push((0, layer), &PickedRow { experts, ..PickedRow::default() })
                .map_err(|problem| format!("token {token}, layer {layer}: {problem}"))?;
        }
    }
    Ok(())
}
