//! `railyard topology`: shows or checks a cluster file.

use crate::cli::{TopologyArgs, TopologyCommand};
use crate::failure::Failure;
use crate::output;
use blackboard::text::number;
use serde_json::json;
use std::path::Path;
use study::scenario::cluster_file;
use topology::{ClusterSpec, KernelProfile, LinkSpec};

pub(crate) fn run(args: &TopologyArgs) -> Result<(), Failure> {
    match &args.command {
        TopologyCommand::Show { file, json } => show(file, *json),
        TopologyCommand::Check { file } => {
            let spec = cluster_file(file).map_err(|problem| Failure::Usage(anyhow::anyhow!(problem)))?;
            output::print(&format!("{}: ok\n{}", file.display(), warnings(&spec)))
        }
    }
}

fn show(file: &Path, json: bool) -> Result<(), Failure> {
    let spec = cluster_file(file).map_err(|problem| Failure::Usage(anyhow::anyhow!(problem)))?;
    let ClusterSpec { name, cluster, hardware, fabric, background } = &spec;
    if json {
        let mut described = json!(hardware);
        if let Some(fields) = described.as_object_mut() {
            fields.retain(|key, value| {
                !(["kernels", "layer", "serving"].contains(&key.as_str()) && value.is_null())
                    && key != "oversubscription"
            });
        }
        let link = |link: LinkSpec| json!({"bytes_per_s": link.rate.bytes_per_s(), "latency_us": link.latency.as_micros_f64()});
        let mut object = json!({
            "schema_version": 1,
            "name": name,
            "rack_sizes": cluster.rack_sizes(),
            "ranks": cluster.num_ranks(),
            "hardware": described,
            "scale_up": link(fabric.scale_up),
            "scale_out": link(fabric.scale_out),
            "throttle": fabric.beta(),
        });
        if fabric.oversubscription.blocks() {
            object["oversubscription"] = json!(fabric.oversubscription);
        }
        if *background > 0.0 {
            object["background"] = json!(background);
        }
        return output::print(&format!("{object:#}\n"));
    }
    let link = |link: LinkSpec| {
        format!(
            "{} GB/s a port, {} us",
            number(link.rate.bytes_per_s() as f64 / 1e9),
            link.latency.as_micros_f64()
        )
    };
    let told = |kernels: &KernelProfile| format!("kernels   = {}\n", kernels.provenance.told());
    let kernels = hardware.kernels.as_ref().map_or_else(String::new, told);
    let mut shared = String::new();
    if fabric.oversubscription.blocks() {
        shared += &format!("uplinks   = oversubscribed {} to 1\n", fabric.oversubscription);
    }
    if *background > 0.0 {
        shared += &format!("other job = {} of all links between racks\n", number(*background));
    }
    let text = format!(
        "name      = {name}\n\
         racks     = {:?}, {} ranks\n\
         hardware  = {} ({:?} domain of {} ranks; {}; {:?} confidence)\n\
         scale-up  = {}\n\
         scale-out = {}\n\
         {shared}{}throttle  = {}\n\
         latencies = {}\n{}",
        cluster.rack_sizes(),
        cluster.num_ranks(),
        hardware.name,
        hardware.domain_topology,
        hardware.domain_ranks,
        hardware.source,
        hardware.confidence,
        link(fabric.scale_up),
        link(fabric.scale_out),
        kernels,
        number(fabric.beta()),
        hardware.latency_source,
        warnings(&spec),
    );
    output::print(&output::fitted(&text, 12))
}

fn warnings(spec: &ClusterSpec) -> String {
    let oversized: Vec<String> = spec.oversized_racks().map(|rack| rack.to_string()).collect();
    if oversized.is_empty() {
        return String::new();
    }
    format!(
        "note: {} larger than {}'s scale-up domain of {} ranks\n",
        oversized.join(", "),
        spec.hardware.name,
        spec.hardware.domain_ranks
    )
}
