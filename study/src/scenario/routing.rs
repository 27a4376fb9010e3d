//! Routing by its name.

use moe::RoutingSpec;
use moe::load::read_trace;
use moe::routing::RoutingChoice;

/// The routing of `name` on `ranks` ranks; reads a trace.
///
/// # Errors
/// What can be given, or what is wrong in the trace.
pub fn named_routing(name: &str, ranks: u32) -> Result<RoutingSpec, String> {
    let choice: RoutingChoice = name.parse()?;
    match &choice {
        RoutingChoice::Trace(path) => {
            read_trace(path).map(|trace| RoutingSpec::Rows(trace.rows)).map_err(|error| error.to_string())
        }
        _ => Ok(choice.spec(ranks).unwrap_or(RoutingSpec::Uniform)),
    }
}
